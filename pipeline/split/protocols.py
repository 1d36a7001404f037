"""Assign clips to folds: speaker-independent, by corpus, by clip, and as published.

A protocol is a function from clips to roles; those that let speakers in on both sides are in ``protocols``.

What they are worth is in docs/results.md; the audit counts what leaks.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from pipeline.core.errors import SettingError, SplitError, UnknownNameError
from pipeline.core.labels import ORIGINAL, VOTES, Labels
from pipeline.split import rows
from pipeline.split.fold_sets import NAMES, Fold, named
from pipeline.split.rows import COLUMNS, check_training, deduplicate, labelled, several, versions, with_ties, with_votes

DEALS = 32  # random deals of which the most even one is taken: even folds, and still another cut for another seed
FEWEST = 3  # speakers of a corpus that can give one to validation: one tests, one validates, one trains


def roster(clips: pd.DataFrame) -> pd.DataFrame:
    """List the named speakers: ``speaker corpus sex clips``, sorted by speaker."""
    named = clips[clips["speaker"] != ""]
    parts = {"corpus": ("corpus", "min"), "sex": ("sex", "min"), "clips": ("clip_id", "size")}
    return named.groupby("speaker", as_index=False).agg(**parts)


def stream(seed: int, *words: str | int) -> np.random.Generator:
    """Give each purpose its own random stream, untouched by what else is drawn."""
    return np.random.default_rng([seed, *"/".join(map(str, words)).encode()])


def spread(people: pd.DataFrame, folds: int, *, seed: int) -> list[frozenset[str]]:
    """Cut the speakers of a roster into test groups, one per fold.

    Each corpus is dealt by itself, so its groups do not depend on the corpora beside it; its largest group then goes to
    the fold with the fewest clips so far. No fold is empty as long as there are as many speakers as folds.
    """
    clips = people.set_index("speaker")["clips"].to_dict()
    tests: list[set[str]] = [set() for _ in range(folds)]
    order = stream(seed, "order").permutation(folds)
    for corpus in sorted(set(people["corpus"])):
        hands = most_even(people[people["corpus"] == corpus], folds, rng=stream(seed, corpus))
        hands.sort(key=lambda hand: -sum(clips[name] for name in hand))
        lightest = sorted(order, key=lambda fold: sum(clips[name] for name in tests[fold]))
        for fold, hand in zip(lightest, hands, strict=True):
            tests[fold].update(hand)
    return [frozenset(test) for test in tests]


def most_even(people: pd.DataFrame, folds: int, *, rng: np.random.Generator) -> list[list[str]]:
    """Deal several times and keep the deal whose hands differ least in clips."""
    clips = people.set_index("speaker")["clips"].to_dict()

    def unevenness(hands: list[list[str]]) -> int:
        sums = [sum(int(clips[name]) for name in hand) for hand in hands]
        return max(sums) - min(sums)

    return min((deal(people, folds, rng=rng) for _ in range(DEALS)), key=unevenness)


def deal(people: pd.DataFrame, folds: int, *, rng: np.random.Generator) -> list[list[str]]:
    """Deal shuffled speakers, sex by sex, each to the hand with the fewest speakers, then of the sex, then clips."""
    hands: list[list[str]] = [[] for _ in range(folds)]
    sexes, sums = [Counter[str]() for _ in hands], [0] * folds
    shuffled = people.iloc[rng.permutation(len(people))].sort_values("sex", kind="stable")
    for name, sex, clips in zip(shuffled["speaker"], shuffled["sex"], shuffled["clips"], strict=True):
        hand = min(range(folds), key=lambda h: (len(hands[h]), sexes[h][sex], sums[h]))
        hands[hand].append(name)
        sexes[hand][sex] += 1
        sums[hand] += clips
    return hands


def validators(people: pd.DataFrame, test: frozenset[str], *, share: float, seed: int, fold: int) -> frozenset[str]:
    """Pick the speakers who validate a fold from those who do not test it.

    Every corpus of three or more speakers gives ``share`` of its training speakers, at least one, and keeps at least
    one; smaller corpora give none. With a share of 0 nobody validates.
    """
    chosen: set[str] = set()
    for corpus, group in people.groupby("corpus"):
        rest = group[~group["speaker"].isin(test)]
        if share and len(group) >= FEWEST:
            count = min(max(round(share * len(rest)), 1), len(rest) - 1)
            chosen.update(sample(rest, max(count, 0), rng=stream(seed, fold, str(corpus))))
    return frozenset(chosen)


def sample(people: pd.DataFrame, count: int, *, rng: np.random.Generator) -> list[str]:
    """Draw speakers so that the sexes are drawn in proportion."""
    shuffled = people.iloc[rng.permutation(len(people))]
    sexes = shuffled.groupby("sex")["speaker"]
    turn = (sexes.cumcount() + 0.5) / sexes.transform("size")  # spaces each sex evenly over (0, 1)
    return list(shuffled["speaker"].iloc[np.argsort(turn, kind="stable")[:count]])


SMALLEST = 0.001  # share of anybody to validate; what is smaller is a slip of the pen
MIRRORS = 100  # times that a file can count


@dataclass(frozen=True, kw_only=True)
class Split:
    """How clips become folds: section ``split`` of params.yaml."""

    protocol: str = "speaker"
    folds: int | str = 5  # a number, or a named set of fold_sets.NAMES; protocol corpus has one a corpus
    validation: float = 0.2  # share of the training speakers; 0 for none; sets with a fixed validation ignore it
    mirrors: int = 1  # how often protocol published counts a file; 0: each recording once, however often it is there
    shuffle: bool = False  # whether labels are dealt anew at random: a control, which must end at chance
    labels: Labels = field(default_factory=Labels)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UnknownNameError("params.yaml: split.protocol", self.protocol, PROTOCOLS)
        if isinstance(self.folds, str) and self.folds not in NAMES:
            raise UnknownNameError("params.yaml: split.folds", self.folds, NAMES)
        if isinstance(self.folds, int) and self.folds < 2:
            raise SettingError(f"params.yaml: split.folds is {self.folds}, expected 2 or more, or one of {NAMES}.")
        if not 0 <= self.mirrors <= MIRRORS:
            raise SettingError(f"params.yaml: split.mirrors is {self.mirrors}, expected 0 or more, up to {MIRRORS}.")
        if self.protocol in BY_NUMBER and isinstance(self.folds, str):
            raise SettingError(
                f"params.yaml: split.folds is {self.folds!r}, a set of speakers, and split.protocol is "
                f"{self.protocol!r}, which asks for none: set split.folds to a number."
            )
        self.check_validation()

    def check_validation(self) -> None:
        """Refuse a share that cannot be cut off."""
        if not (self.validation == 0 or SMALLEST <= self.validation < 1):
            raise SettingError(
                f"params.yaml: split.validation is {self.validation}, expected a share from 0 to below 1, and none "
                f"between 0 and {SMALLEST}."
            )
        if self.protocol == "random" and self.validation > HALF:
            raise SettingError(
                f"params.yaml: split.validation is {self.validation}, and split.protocol 'random' holds out "
                f"{HALF} of what is left to train at most: set that or less."
            )


def assign_splits(clips: pd.DataFrame, config: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Give every clip and variant its role in every fold.

    Args:
        clips: a row per usable clip: ``clip_id corpus speaker sex emotion samples_sha256``; ``speaker`` is
            ``<corpus>/<id>`` or empty; ``votes_voice votes_face votes_multimodal`` where listeners were asked.
        config: protocol, folds, share of validation, classes.
        variants: names of a clip's versions in the order of the table; ``original`` is one of them.
        seed: of the draw of speakers.

    Returns:
        ``clip_id variant fold role label corpus speaker``, sorted by fold, clip, variant. Folds count from 0;
        validation and test hold the variant ``original`` alone. Clips whose emotion has no class are absent, and so are
        those that ``deduplicate`` drops. The columns of votes follow, where ``clips`` has them. A tie of listeners has
        no label and is there only under ``labels.ties`` soft, to train.

    Raises:
        SplitError: the folds asked for cannot be made of these clips.
    """
    if ORIGINAL not in variants or len(set(variants)) < len(variants):
        raise SettingError(f"the variants are {list(variants)}, expected different names with {ORIGINAL!r} among them.")
    rows.check_labels(clips, config.labels)
    table = PROTOCOLS[config.protocol](clips, config, variants=variants, seed=seed)
    if config.labels.ties == "soft":
        table = with_ties(table, clips, config.labels, variants)
    table = with_votes(table, clips)
    return shuffled(table, seed=seed) if config.shuffle else table


def shuffled(table: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Deal the labels anew among the clips, votes with them, and those of ties among ties; a clip keeps one label."""
    names = [name for name in ("label", *VOTES.values()) if name in table]
    clips = table.drop_duplicates("clip_id").sort_values("clip_id").set_index("clip_id")[names]
    rng, tied = stream(seed, "shuffle"), clips["label"].isna()
    parts = [part for part in (clips[~tied], clips[tied]) if len(part)]
    dealt = pd.concat([part.iloc[rng.permutation(len(part))].set_axis(part.index) for part in parts])
    return table.assign(**{name: dealt[name].reindex(table["clip_id"]).to_numpy() for name in names})


def by_speaker(clips: pd.DataFrame, config: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Keep speakers disjoint between train, validation and test; clips without speaker only train."""
    kept, _ = deduplicate(clips)
    usable = labelled(kept, config.labels)
    folds = cut(usable, config, seed=seed)
    parts = [usable.assign(fold=np.int32(k), role=roles(usable["speaker"], fold)) for k, fold in enumerate(folds)]
    for k, part in enumerate(parts):
        check_training(k, part)
    return versions(pd.concat(parts, ignore_index=True), variants)


def cut(clips: pd.DataFrame, config: Split, *, seed: int) -> list[Fold]:
    """Name the test and validation speakers of every fold."""
    people = roster(clips)
    if people.empty:
        raise SplitError(
            f"none of the {len(clips)} clips names its speaker, so a split by speaker has nobody to test on",
            "put the files of each speaker into a folder of their own, <emotion>/<speaker>/",
        )
    corpora = set(clips["corpus"])
    asked = config.folds
    folds = named(asked, people, corpora) if isinstance(asked, str) else drawn(asked, clips, people, seed)
    return [validated(fold, people, share=config.validation, seed=seed, number=k) for k, fold in enumerate(folds)]


def validated(fold: Fold, people: pd.DataFrame, *, share: float, seed: int, number: int) -> Fold:
    """Add validation speakers to a fold that brings none."""
    if fold.validation is not None:
        return fold
    return replace(fold, validation=validators(people, fold.test, share=share, seed=seed, fold=number))


def drawn(count: int, clips: pd.DataFrame, people: pd.DataFrame, seed: int) -> list[Fold]:
    """Draw folds by number."""
    if count > len(people):
        named = "1 speaker" if len(people) == 1 else f"{len(people)} speakers"
        raise SplitError(
            f"split.folds is {count}, and the clips name {named}, of whom every fold tests one at least",
            f"add speakers who say {several(clips['label'])}",
        )
    return [Fold(test=test) for test in spread(people, count, seed=seed)]


def roles(speakers: "pd.Series[str]", fold: Fold) -> "np.ndarray[tuple[int], np.dtype[np.object_]]":
    """Look up the role of each row's speaker. Shape: ``(rows,)``."""
    held = speakers.isin(fold.validation or ())
    return np.select([speakers.isin(fold.test), held], ["test", "validation"], "train").astype(object)


def by_corpus(clips: pd.DataFrame, config: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Test each corpus once, on a network that has not heard it; the classes are those that all corpora have."""
    usable = labelled(deduplicate(clips)[0], config.labels)
    people, corpora = roster(usable), sorted(set(usable["corpus"]))
    if len(corpora) < 2:
        raise SplitError(
            f"split.protocol is 'corpus', and the data hold {', '.join(corpora)} alone", "add a corpus to data.corpora"
        )
    usable = shared(usable)
    parts = []
    for number, corpus in enumerate(corpora):
        own = frozenset(people.loc[people["corpus"] == corpus, "speaker"])
        held = validators(people, own, share=config.validation, seed=seed, fold=number)
        role = np.where(usable["corpus"] == corpus, "test", roles(usable["speaker"], Fold(test=own, validation=held)))
        parts.append(usable.assign(fold=np.int32(number), role=role))
        check_training(number, parts[-1])
    return versions(pd.concat(parts, ignore_index=True), variants)


def shared(clips: pd.DataFrame) -> pd.DataFrame:
    """Leave the classes that all corpora have.

    Raises:
        SplitError: there are fewer than two.
    """
    held = {str(corpus): set(labels) for corpus, labels in clips.groupby("corpus")["label"]}
    common = set.intersection(*held.values())
    if len(common) < 2:
        count = f"{several(common)} alone" if common else "no class"
        each = "; ".join(f"{corpus} has {several(labels)}" for corpus, labels in held.items())
        raise SplitError(
            f"split.protocol is 'corpus', and the corpora share {count} ({each})",
            f"add to each corpus clips of the classes that another has ({several(clips['label'])})",
        )
    return clips[clips["label"].isin(common)]


BY_NUMBER = ("random", "published")  # protocols whose folds are cut by number
HALF = 0.5  # the largest share that cutting into even parts can hold out


def by_clip(clips: pd.DataFrame, config: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Cut clips by chance, each class evenly; a recording is there once, its copies stay with it, in training."""
    usable = labelled(deduplicate(clips)[0], config.labels)
    parts = []
    for number, test in enumerate(strata(usable["label"], int(config.folds), "split.folds", seed=seed)):
        role = np.where(test, "test", "train").astype(object)
        rest = np.flatnonzero(~test)
        if config.validation:
            setting, parts_of = f"split.validation of fold {number}", max(2, round(1 / config.validation))
            held = next(iter(strata(usable["label"].iloc[rest], parts_of, setting, seed=seed + 1 + number)))
            role[rest[held]] = "validation"
        parts.append(usable.assign(fold=np.int32(number), role=role))
        check_training(number, parts[-1])
    return versions(pd.concat(parts, ignore_index=True), variants)


def as_published(clips: pd.DataFrame, config: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Do what published systems do: count mirrors and duplicates, augment, then cut rows by chance; test validates.

    A column ``times`` says how often the corpus holds a recording. A row that is there twice may train and test. With
    ``mirrors`` 0 each recording is there once.
    """
    usable = labelled(clips if config.mirrors else deduplicate(clips)[0], config.labels)
    counts = usable.get("times", pd.Series(1, index=usable.index)) * config.mirrors if config.mirrors else 1
    names = pd.DataFrame({"variant": variants, "turn": range(len(variants))})
    rows = usable.loc[usable.index.repeat(counts)].merge(names, how="cross")
    rows = rows.sort_values(["clip_id", "turn"], kind="stable", ignore_index=True)
    parts = []
    for number, test in enumerate(strata(rows["label"], int(config.folds), "split.folds", seed=seed)):
        part = rows.assign(fold=np.int32(number), role=np.where(test, "test", "train"))
        parts += [part, part[test].assign(role="validation")]
        check_training(number, part)
    table = pd.concat(parts, ignore_index=True)
    return table.sort_values(["fold", "clip_id", "turn"], kind="stable", ignore_index=True)[list(COLUMNS)]


def strata(
    labels: "pd.Series[str]", parts: int, setting: str, *, seed: int
) -> "list[np.ndarray[tuple[int], np.dtype[np.bool_]]]":
    """Cut rows into parts, each class evenly; say for each part which rows it tests.

    Raises:
        SplitError: a class has fewer rows than ``setting`` asks for parts.
    """
    from sklearn.model_selection import StratifiedKFold  # here, because most splits need none

    rare = labels.value_counts().sort_values(kind="stable")[lambda counts: counts < parts]
    if len(rare):
        rows = "1 row" if rare.iloc[0] == 1 else f"{rare.iloc[0]} rows"
        raise SplitError(
            f"{setting} asks for {parts} parts, and {rare.index[0]} has {rows} to cut into as many",
            f"add clips of {several(rare.index)} until there are {parts} rows of each",
        )
    cutter = StratifiedKFold(parts, shuffle=True, random_state=seed % 2**32)
    tests = [test for _, test in cutter.split(np.zeros(len(labels)), labels)]
    return [np.isin(np.arange(len(labels)), test) for test in tests]


PROTOCOLS: dict[str, Callable[..., pd.DataFrame]] = {
    "speaker": by_speaker,
    "corpus": by_corpus,
    "random": by_clip,
    "published": as_published,
}
