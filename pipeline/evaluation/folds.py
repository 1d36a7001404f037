"""Decide which clip trains, validates and tests in which fold, so that no speaker is on two sides.

A protocol is a function from clips to roles; more of them join through ``PROTOCOLS``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from pipeline.errors import SettingError, UnknownNameError
from pipeline.evaluation.fold_sets import NAMES, Fold, named
from pipeline.evaluation.speakers import roster, spread, validators
from pipeline.labels import Labels

COLUMNS = ("clip_id", "variant", "fold", "role", "label", "corpus", "speaker")
ORIGINAL = "original"  # the variant without augmentation


@dataclass(frozen=True, kw_only=True)
class Split:
    """How clips become folds: section ``split`` of params.yaml."""

    protocol: str = "speaker"
    folds: int | str = 5  # a number, or a named set of fold_sets.NAMES
    validation: float = 0.2  # share of the training speakers; 0 for none; sets with a fixed validation ignore it
    labels: Labels = field(default_factory=Labels)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UnknownNameError("params.yaml: split.protocol", self.protocol, PROTOCOLS)
        if isinstance(self.folds, str) and self.folds not in NAMES:
            raise UnknownNameError("params.yaml: split.folds", self.folds, NAMES)
        if isinstance(self.folds, int) and self.folds < 2:
            raise SettingError(f"params.yaml: split.folds is {self.folds}, expected 2 or more, or one of {NAMES}.")
        if not 0 <= self.validation < 1:
            raise SettingError(
                f"params.yaml: split.validation is {self.validation}, expected a share from 0 to below 1."
            )


def assign(clips: pd.DataFrame, config: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Give every clip and variant its role in every fold.

    Args:
        clips: a row per usable clip: ``clip_id corpus speaker sex emotion samples_sha256``; ``speaker`` is
            ``<corpus>/<id>`` or empty.
        config: protocol, folds, share of validation, classes.
        variants: names of a clip's versions in the order of the table; ``original`` is one of them.
        seed: of the draw of speakers.

    Returns:
        ``clip_id variant fold role label corpus speaker``, sorted by fold, clip, variant. Folds count from 0;
        validation and test hold the variant ``original`` alone. Clips whose emotion has no class are absent, and so are
        those that ``deduplicate`` drops.

    Raises:
        SettingError: the folds asked for cannot be made of these clips.
    """
    if ORIGINAL not in variants or len(set(variants)) < len(variants):
        raise SettingError(f"the variants are {list(variants)}, expected different names with {ORIGINAL!r} among them.")
    return PROTOCOLS[config.protocol](clips, config, variants=variants, seed=seed)


def deduplicate(clips: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep one clip per recording (``samples_sha256``): the first by ``clip_id`` among those that name the speaker.

    Recordings to which two clips give different emotions, or speakers with different ids after the ``<corpus>/``, are
    left out altogether: which clip tells the truth is unknown.

    Returns:
        The clips kept, and those dropped with a column ``reason``: ``duplicate``, ``label_conflict`` or
        ``speaker_conflict``; both sorted by ``clip_id``.
    """
    rows = clips.assign(speaker=clips["speaker"].fillna(""), sex=clips["sex"].fillna(""))
    rows = rows.sort_values("clip_id", kind="stable", ignore_index=True)
    reason = reasons(rows)
    return rows[reason == ""].reset_index(drop=True), rows.assign(reason=reason)[reason != ""].reset_index(drop=True)


def reasons(rows: pd.DataFrame) -> "pd.Series[str]":
    """Say for each row why it is left out; empty where it stays."""
    hashes = rows["samples_sha256"].fillna("")
    recording = hashes.where(hashes != "", rows["clip_id"])  # without a hash a clip equals no other
    person = rows["speaker"].str.split("/", n=1).str[-1]
    labels = rows.groupby(recording)["emotion"].transform("nunique")
    people = person.where(person != "").groupby(recording).transform("nunique")
    first = recording[(rows["speaker"] == "").sort_values(kind="stable").index].drop_duplicates().index
    found = pd.Series(np.where(rows.index.isin(first), "", "duplicate"), index=rows.index)
    return found.mask(people > 1, "speaker_conflict").mask(labels > 1, "label_conflict")


def by_speaker(clips: pd.DataFrame, config: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Keep speakers disjoint between train, validation and test; clips without speaker only train."""
    kept, _ = deduplicate(clips)
    usable = labelled(kept, config.labels)
    folds = cut(usable, config, seed=seed)
    parts = [usable.assign(fold=np.int32(k), role=roles(usable["speaker"], fold)) for k, fold in enumerate(folds)]
    for k, part in enumerate(parts):
        check_training(k, part)
    return versions(pd.concat(parts, ignore_index=True), variants)


def labelled(clips: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    """Add the class and leave out clips that have none."""
    found = {emotion: labels.label(emotion) for emotion in sorted(set(clips["emotion"]))}
    wanted = [emotion for emotion, label in found.items() if label is not None]
    if not wanted:
        raise SettingError(
            f"none of the {len(clips)} clips has an emotion of the classes {', '.join(labels.classes)}: "
            f"set split.labels.scheme to 'all', they hold {', '.join(found)}."
        )
    rows = clips[clips["emotion"].isin(wanted)]
    return rows.assign(label=rows["emotion"].map(found))


def cut(clips: pd.DataFrame, config: Split, *, seed: int) -> list[Fold]:
    """Name the test and validation speakers of every fold."""
    people = roster(clips)
    if people.empty:
        raise SettingError(
            f"none of the {len(clips)} clips names its speaker, so a split by speaker has nobody to test on: "
            "put the files of each speaker into a folder of their own, <emotion>/<speaker>/."
        )
    corpora = set(clips["corpus"])
    folds = named(config.folds, people, corpora) if isinstance(config.folds, str) else drawn(config.folds, people, seed)
    return [validated(fold, people, share=config.validation, seed=seed, number=k) for k, fold in enumerate(folds)]


def validated(fold: Fold, people: pd.DataFrame, *, share: float, seed: int, number: int) -> Fold:
    """Add validation speakers to a fold that brings none."""
    if fold.validation is not None:
        return fold
    return replace(fold, validation=validators(people, fold.test, share=share, seed=seed, fold=number))


def drawn(count: int, people: pd.DataFrame, seed: int) -> list[Fold]:
    """Draw folds by number."""
    if count > len(people):
        raise SettingError(
            f"split.folds is {count}, and the data hold {len(people)} speakers: "
            f"every fold needs a speaker to test, so set it to {len(people)} or less."
        )
    return [Fold(test=test) for test in spread(people, count, seed=seed)]


def roles(speakers: "pd.Series[str]", fold: Fold) -> "np.ndarray[tuple[int], np.dtype[np.object_]]":
    """Look up the role of each row's speaker. Shape: ``(rows,)``."""
    held = speakers.isin(fold.validation or ())
    return np.select([speakers.isin(fold.test), held], ["test", "validation"], "train").astype(object)


def check_training(number: int, rows: pd.DataFrame) -> None:
    """Refuse a fold that leaves nothing to learn from."""
    if not (rows["role"] == "train").any():
        raise SettingError(
            f"fold {number} leaves no clip to train on: all {rows['speaker'].nunique()} speakers test or validate; "
            "add speakers, or set split.folds to a number that they can fill."
        )


def versions(rows: pd.DataFrame, variants: Sequence[str]) -> pd.DataFrame:
    """Repeat training rows for every variant; the others appear as they were recorded."""
    names = pd.DataFrame({"variant": variants, "turn": range(len(variants))})
    table = rows.merge(names, how="cross")
    table = table[(table["role"] == "train") | (table["variant"] == ORIGINAL)]
    return table.sort_values(["fold", "clip_id", "turn"], ignore_index=True)[list(COLUMNS)]


PROTOCOLS: dict[str, Callable[..., pd.DataFrame]] = {"speaker": by_speaker}
