"""Decide which clip trains, validates and tests in which fold, so that no speaker is on two sides.

A protocol is a function from clips to roles; those that let speakers in on both sides are in ``protocols``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from pipeline.errors import SettingError, SplitError, UnknownNameError
from pipeline.evaluation import listeners, protocols
from pipeline.evaluation.fold_sets import NAMES, Fold, named
from pipeline.evaluation.rows import (
    check_training,
    deduplicate,
    labelled,
    several,
    versions,
    with_ties,
    with_votes,
)
from pipeline.evaluation.speakers import roster, spread, stream, validators
from pipeline.labels import ORIGINAL, VOTES, Labels

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
        if self.protocol in protocols.BY_NUMBER and isinstance(self.folds, str):
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
        if self.protocol == "random" and self.validation > protocols.HALF:
            raise SettingError(
                f"params.yaml: split.validation is {self.validation}, and split.protocol 'random' holds out "
                f"{protocols.HALF} of what is left to train at most: set that or less."
            )


def assign(clips: pd.DataFrame, config: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
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
    listeners.check(clips, config.labels)
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


PROTOCOLS: dict[str, Callable[..., pd.DataFrame]] = {
    "speaker": by_speaker,
    "corpus": by_corpus,
    "random": protocols.by_clip,
    "published": protocols.as_published,
}
