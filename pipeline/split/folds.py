"""Split protocols: speaker-independent, by corpus, by clip, and as in published systems.

A protocol is a function from clips to roles in folds. docs/results.md compares their scores; the audit counts the leaks
of those that put a speaker on both sides.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from pipeline.core.errors import SettingError, SplitError, UnknownNameError
from pipeline.core.labels import ORIGINAL, VOTE_COLUMNS, Labels
from pipeline.split import rows
from pipeline.split.published_folds import FOLD_SET_NAMES, Fold, named_folds
from pipeline.split.rows import (
    SPLIT_COLUMNS,
    add_tied_clips,
    add_variants,
    add_votes,
    check_training_rows,
    deduplicate_clips,
    join_classes,
    label_clips,
)

N_DRAWS = 32  # random assignments to choose the most balanced from: balanced folds that still depend on the seed
MIN_SPEAKERS = 3  # speakers of a corpus with validation: at least one each for test, validation and training


def _speaker_table(clips: pd.DataFrame) -> pd.DataFrame:
    """List the named speakers: ``speaker corpus sex clips``, sorted by speaker."""
    named = clips[clips["speaker"] != ""]
    parts = {"corpus": ("corpus", "min"), "sex": ("sex", "min"), "clips": ("clip_id", "size")}
    return named.groupby("speaker", as_index=False).agg(**parts)


def _seeded_rng(seed: int, *words: str | int) -> np.random.Generator:
    """Return an independent random generator for each purpose."""
    return np.random.default_rng([seed, *"/".join(map(str, words)).encode()])


def _draw_test_groups(speakers: pd.DataFrame, folds: int, *, seed: int) -> list[frozenset[str]]:
    """Divide the speakers into test groups, one per fold.

    Each corpus is divided separately, so its groups do not depend on other corpora; its largest group then goes to the
    fold with the fewest clips so far. No fold is empty if there are at least as many speakers as folds.
    """
    clips = speakers.set_index("speaker")["clips"].to_dict()
    tests: list[set[str]] = [set() for _ in range(folds)]
    order = _seeded_rng(seed, "order").permutation(folds)
    for corpus in sorted(set(speakers["corpus"])):
        groups = _draw_balanced_groups(speakers[speakers["corpus"] == corpus], folds, rng=_seeded_rng(seed, corpus))
        groups.sort(key=lambda group: -sum(clips[name] for name in group))
        lightest = sorted(order, key=lambda fold: sum(clips[name] for name in tests[fold]))
        for fold, group in zip(lightest, groups, strict=True):
            tests[fold].update(group)
    return [frozenset(test) for test in tests]


def _draw_balanced_groups(speakers: pd.DataFrame, folds: int, *, rng: np.random.Generator) -> list[list[str]]:
    """Divide the speakers at random several times, and return the groups that differ least in clips."""
    clips = speakers.set_index("speaker")["clips"].to_dict()

    def imbalance(groups: list[list[str]]) -> int:
        sums = [sum(int(clips[name]) for name in group) for group in groups]
        return max(sums) - min(sums)

    return min((_draw_groups(speakers, folds, rng=rng) for _ in range(N_DRAWS)), key=imbalance)


def _draw_groups(speakers: pd.DataFrame, folds: int, *, rng: np.random.Generator) -> list[list[str]]:
    """Assign shuffled speakers, sex by sex, each to the group with the fewest speakers, then of the sex, then clips."""
    groups: list[list[str]] = [[] for _ in range(folds)]
    sexes, sums = [Counter[str]() for _ in groups], [0] * folds
    shuffled = speakers.iloc[rng.permutation(len(speakers))].sort_values("sex", kind="stable")
    for name, sex, clips in zip(shuffled["speaker"], shuffled["sex"], shuffled["clips"], strict=True):
        group = min(range(folds), key=lambda k: (len(groups[k]), sexes[k][sex], sums[k]))
        groups[group].append(name)
        sexes[group][sex] += 1
        sums[group] += clips
    return groups


def _draw_validation_speakers(
    speakers: pd.DataFrame, test: frozenset[str], *, share: float, seed: int, fold: int
) -> frozenset[str]:
    """Draw the validation speakers of a fold from those who do not test it.

    Each corpus with three or more speakers contributes ``share`` of its training speakers, but at least one, and keeps
    at least one in training; smaller corpora contribute none. With a share of 0 there are no validation speakers.
    """
    chosen: set[str] = set()
    for corpus, group in speakers.groupby("corpus"):
        rest = group[~group["speaker"].isin(test)]
        if share and len(group) >= MIN_SPEAKERS:
            count = min(max(round(share * len(rest)), 1), len(rest) - 1)
            chosen.update(_draw_speakers(rest, max(count, 0), rng=_seeded_rng(seed, fold, str(corpus))))
    return frozenset(chosen)


def _draw_speakers(speakers: pd.DataFrame, count: int, *, rng: np.random.Generator) -> list[str]:
    """Draw speakers stratified by sex."""
    shuffled = speakers.iloc[rng.permutation(len(speakers))]
    sexes = shuffled.groupby("sex")["speaker"]
    position = (sexes.cumcount() + 0.5) / sexes.transform("size")  # spaces each sex evenly over (0, 1)
    return list(shuffled["speaker"].iloc[np.argsort(position, kind="stable")[:count]])


MIN_VALIDATION = 0.001  # smallest positive share for validation; less is a typing error
MAX_MIRRORS = 100  # largest number of times that a file can count


@dataclass(frozen=True, kw_only=True)
class Split:
    """Section ``split`` of params.yaml: how clips are assigned to folds."""

    protocol: str = "speaker"
    folds: int | str = 5  # a number, or one of fold_sets.FOLD_SET_NAMES; ignored by protocol corpus
    validation: float = 0.2  # share of the training speakers; 0 for none; sets with a fixed validation ignore it
    mirrors: int = 1  # how often protocol published counts a file; 0: each recording once, without duplicates
    shuffle: bool = False  # whether to shuffle the labels: a control, whose scores must be at chance
    labels: Labels = field(default_factory=Labels)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UnknownNameError("params.yaml: split.protocol", self.protocol, PROTOCOLS)
        if isinstance(self.folds, str) and self.folds not in FOLD_SET_NAMES:
            raise UnknownNameError("params.yaml: split.folds", self.folds, FOLD_SET_NAMES)
        if isinstance(self.folds, int) and self.folds < 2:
            raise SettingError(
                f"params.yaml: split.folds is {self.folds}, expected 2 or more, or one of {FOLD_SET_NAMES}."
            )
        if not 0 <= self.mirrors <= MAX_MIRRORS:
            raise SettingError(
                f"params.yaml: split.mirrors is {self.mirrors}, expected 0 or more, up to {MAX_MIRRORS}."
            )
        if self.protocol in NUMBERED_PROTOCOLS and isinstance(self.folds, str):
            raise SettingError(
                f"params.yaml: split.folds is {self.folds!r}, a set of speakers, and split.protocol is "
                f"{self.protocol!r}, which does not use one: set split.folds to a number."
            )
        self.check_validation()

    def check_validation(self) -> None:
        """Check the share of validation."""
        if not (self.validation == 0 or MIN_VALIDATION <= self.validation < 1):
            raise SettingError(
                f"params.yaml: split.validation is {self.validation}, expected a share from 0 to below 1, and none "
                f"between 0 and {MIN_VALIDATION}."
            )
        if self.protocol == "random" and self.validation > MAX_VALIDATION:
            raise SettingError(
                f"params.yaml: split.validation is {self.validation}, and split.protocol 'random' holds out "
                f"{MAX_VALIDATION} of what is left to train at most: set that or less."
            )


def assign_splits(clips: pd.DataFrame, config: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Assign a role to every clip and variant in every fold.

    Args:
        clips: one row per usable clip: ``clip_id corpus speaker sex emotion samples_sha256``; ``speaker`` is
            ``<corpus>/<id>`` or empty; ``votes_voice votes_face votes_multimodal`` if there are votes.
        config: the settings of the split.
        variants: names of the variants of a clip in the order of the table, including ``original``.
        seed: for drawing speakers and clips.

    Returns:
        ``clip_id variant fold role label corpus speaker``, sorted by fold, clip, variant. Folds count from 0;
        validation and test contain only the variant ``original``. Clips whose emotion has no class are absent, and so
        are those that `rows.deduplicate_clips` drops. The columns of votes follow, if ``clips`` has them. A tied vote
        has no label; such clips are included only for training, with ``labels.ties`` soft.

    Raises:
        SplitError: the requested folds are impossible with these clips.
    """
    if ORIGINAL not in variants or len(set(variants)) < len(variants):
        raise SettingError(f"the variants are {list(variants)}, expected different names with {ORIGINAL!r} among them.")
    rows.check_vote_source(clips, config.labels)
    table = PROTOCOLS[config.protocol](clips, config, variants=variants, seed=seed)
    if config.labels.ties == "soft":
        table = add_tied_clips(table, clips, config.labels, variants)
    table = add_votes(table, clips)
    return _shuffle_labels(table, seed=seed) if config.shuffle else table


def _shuffle_labels(table: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Shuffle the labels and votes among the clips, ties only among ties; all rows of a clip share one label."""
    names = [name for name in ("label", *VOTE_COLUMNS.values()) if name in table]
    clips = table.drop_duplicates("clip_id").sort_values("clip_id").set_index("clip_id")[names]
    rng, tied = _seeded_rng(seed, "shuffle"), clips["label"].isna()
    parts = [part for part in (clips[~tied], clips[tied]) if len(part)]
    permuted = pd.concat([part.iloc[rng.permutation(len(part))].set_axis(part.index) for part in parts])
    return table.assign(**{name: permuted[name].reindex(table["clip_id"]).to_numpy() for name in names})


def _split_by_speaker(clips: pd.DataFrame, config: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Split by speaker: train, validation and test are disjoint; clips without a named speaker only train."""
    usable = label_clips(deduplicate_clips(clips)[0], config.labels)
    folds = _speaker_folds(usable, config, seed=seed)
    parts = [
        usable.assign(fold=np.int32(k), role=_assign_roles(usable["speaker"], fold)) for k, fold in enumerate(folds)
    ]
    for k, part in enumerate(parts):
        check_training_rows(k, part)
    return add_variants(pd.concat(parts, ignore_index=True), variants)


def _speaker_folds(clips: pd.DataFrame, config: Split, *, seed: int) -> list[Fold]:
    """Determine the test and validation speakers of every fold."""
    speakers = _speaker_table(clips)
    if speakers.empty:
        raise SplitError(
            f"none of the {len(clips)} clips names its speaker, so a split by speaker has nobody to test on",
            "put the files of each speaker into a folder of their own, <emotion>/<speaker>/",
        )
    corpora = set(clips["corpus"])
    requested = config.folds
    if isinstance(requested, str):
        folds = named_folds(requested, speakers, corpora)
    else:
        folds = _draw_folds(requested, clips, speakers, seed)
    return [
        _add_validation(fold, speakers, share=config.validation, seed=seed, number=k) for k, fold in enumerate(folds)
    ]


def _add_validation(fold: Fold, speakers: pd.DataFrame, *, share: float, seed: int, number: int) -> Fold:
    """Draw validation speakers for a fold without fixed ones."""
    if fold.validation is not None:
        return fold
    return replace(fold, validation=_draw_validation_speakers(speakers, fold.test, share=share, seed=seed, fold=number))


def _draw_folds(count: int, clips: pd.DataFrame, speakers: pd.DataFrame, seed: int) -> list[Fold]:
    """Draw a number of folds at random."""
    if count > len(speakers):
        named = "1 speaker" if len(speakers) == 1 else f"{len(speakers)} speakers"
        raise SplitError(
            f"split.folds is {count}, and the clips name {named}, of whom every fold tests one at least",
            f"add speakers who say {join_classes(clips['label'])}",
        )
    return [Fold(test=test) for test in _draw_test_groups(speakers, count, seed=seed)]


def _assign_roles(speakers: "pd.Series[str]", fold: Fold) -> "np.ndarray[tuple[int], np.dtype[np.object_]]":
    """Return the role of each row by its speaker. Shape: ``(rows,)``."""
    validation = speakers.isin(fold.validation or ())
    return np.select([speakers.isin(fold.test), validation], ["test", "validation"], "train").astype(object)


def _split_by_corpus(clips: pd.DataFrame, config: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Leave one corpus out in each fold; only classes that all corpora have are used."""
    usable = label_clips(deduplicate_clips(clips)[0], config.labels)
    speakers, corpora = _speaker_table(usable), sorted(set(usable["corpus"]))
    if len(corpora) < 2:
        raise SplitError(
            f"split.protocol is 'corpus', and the data hold {', '.join(corpora)} alone", "add a corpus to data.corpora"
        )
    usable = _select_common_classes(usable)
    parts = []
    for number, corpus in enumerate(corpora):
        own = frozenset(speakers.loc[speakers["corpus"] == corpus, "speaker"])
        validation = _draw_validation_speakers(speakers, own, share=config.validation, seed=seed, fold=number)
        fold = Fold(test=own, validation=validation)
        role = np.where(usable["corpus"] == corpus, "test", _assign_roles(usable["speaker"], fold))
        parts.append(usable.assign(fold=np.int32(number), role=role))
        check_training_rows(number, parts[-1])
    return add_variants(pd.concat(parts, ignore_index=True), variants)


def _select_common_classes(clips: pd.DataFrame) -> pd.DataFrame:
    """Select the clips of classes that all corpora have.

    Raises:
        SplitError: there are fewer than two.
    """
    present = {str(corpus): set(labels) for corpus, labels in clips.groupby("corpus")["label"]}
    common = set.intersection(*present.values())
    if len(common) < 2:
        count = f"{join_classes(common)} alone" if common else "no class"
        each = "; ".join(f"{corpus} has {join_classes(labels)}" for corpus, labels in present.items())
        raise SplitError(
            f"split.protocol is 'corpus', and the corpora share {count} ({each})",
            f"add to each corpus clips of the classes that another has ({join_classes(clips['label'])})",
        )
    return clips[clips["label"].isin(common)]


NUMBERED_PROTOCOLS = ("random", "published")  # protocols that need a number of folds
MAX_VALIDATION = 0.5  # the largest share of validation with equal parts


def _split_by_clip(clips: pd.DataFrame, config: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Split clips at random, stratified by class, without duplicates; augmented copies only train."""
    usable = label_clips(deduplicate_clips(clips)[0], config.labels)
    parts = []
    for number, test in enumerate(_stratified_parts(usable["label"], int(config.folds), "split.folds", seed=seed)):
        role = np.where(test, "test", "train").astype(object)
        rest = np.flatnonzero(~test)
        if config.validation:
            setting, count = f"split.validation of fold {number}", max(2, round(1 / config.validation))
            validation = next(
                iter(_stratified_parts(usable["label"].iloc[rest], count, setting, seed=seed + 1 + number))
            )
            role[rest[validation]] = "validation"
        parts.append(usable.assign(fold=np.int32(number), role=role))
        check_training_rows(number, parts[-1])
    return add_variants(pd.concat(parts, ignore_index=True), variants)


def _split_as_published(clips: pd.DataFrame, config: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Split as published systems do: keep duplicates, augment, then split rows at random; test rows also validate.

    The column ``times`` is the number of copies of a recording in the corpus. Copies of a row may be in both train and
    test. With ``mirrors`` 0 each recording is used once.
    """
    usable = label_clips(clips if config.mirrors else deduplicate_clips(clips)[0], config.labels)
    counts = usable.get("times", pd.Series(1, index=usable.index)) * config.mirrors if config.mirrors else 1
    names = pd.DataFrame({"variant": variants, "turn": range(len(variants))})
    rows = usable.loc[usable.index.repeat(counts)].merge(names, how="cross")
    rows = rows.sort_values(["clip_id", "turn"], kind="stable", ignore_index=True)
    parts = []
    for number, test in enumerate(_stratified_parts(rows["label"], int(config.folds), "split.folds", seed=seed)):
        part = rows.assign(fold=np.int32(number), role=np.where(test, "test", "train"))
        parts += [part, part[test].assign(role="validation")]
        check_training_rows(number, part)
    table = pd.concat(parts, ignore_index=True)
    return table.sort_values(["fold", "clip_id", "turn"], kind="stable", ignore_index=True)[list(SPLIT_COLUMNS)]


def _stratified_parts(
    labels: "pd.Series[str]", parts: int, setting: str, *, seed: int
) -> "list[np.ndarray[tuple[int], np.dtype[np.bool_]]]":
    """Divide rows into parts, stratified by label; return the mask of the test rows of each part. Shape: ``(rows,)``.

    Raises:
        SplitError: a class has fewer rows than the parts that ``setting`` requests.
    """
    from sklearn.model_selection import StratifiedKFold  # late, because most protocols do not need it

    rare = labels.value_counts().sort_values(kind="stable")[lambda counts: counts < parts]
    if len(rare):
        rows = "1 row" if rare.iloc[0] == 1 else f"{rare.iloc[0]} rows"
        raise SplitError(
            f"{setting} asks for {parts} parts, and {rare.index[0]} has {rows} to cut into as many",
            f"add clips of {join_classes(rare.index)} until there are {parts} rows of each",
        )
    splitter = StratifiedKFold(parts, shuffle=True, random_state=seed % 2**32)
    tests = [test for _, test in splitter.split(np.zeros(len(labels)), labels)]
    return [np.isin(np.arange(len(labels)), test) for test in tests]


PROTOCOLS: dict[str, Callable[..., pd.DataFrame]] = {
    "speaker": _split_by_speaker,
    "corpus": _split_by_corpus,
    "random": _split_by_clip,
    "published": _split_as_published,
}
