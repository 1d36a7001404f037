"""Suggest settings with which the available clips can be split, if the requested ones fail."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from typing import Any

import pandas as pd

from pipeline.core import config
from pipeline.core.errors import SettingError, SplitError
from pipeline.core.labels import ORIGINAL, SCHEMES, Labels
from pipeline.split.folds import Split, assign_splits
from pipeline.split.rows import check_class_counts, deduplicate_clips, label_clips

MAX_FOLDS = 10  # largest number of folds to try
CHANGE_COST = {
    "validation": 1,
    "folds": 2,
    "shuffle": 3,
    "labels": 5,
    "protocol": 9,
}  # how strongly a change affects the result
OVERLAP_NOTE = ", where the test speakers are heard in training"


def split_or_suggest(clips: pd.DataFrame, settings: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Assign roles as `folds.assign_splits` does, and check that a model can be trained in every fold.

    Raises:
        SettingError: the requested folds are impossible or leave nothing to train on. The message names what the clips
            lack and, if possible, settings with which they can be split.
    """
    try:
        return _assign_trainable(clips, settings, variants=variants, seed=seed)
    except SplitError as error:
        cause = _single_class_message(clips, settings) or str(error)
    other = _nearest_settings(clips, settings, variants=variants, seed=seed)
    if other is None:
        raise SettingError(cause)
    overlap = OVERLAP_NOTE if other.protocol == "random" != settings.protocol else ""
    raise SettingError(f"{cause} As they are, they can be split by '{_dvc_command(settings, other)}'{overlap}.")


def _single_class_message(clips: pd.DataFrame, settings: Split) -> str:
    """Return the message that all clips have one class, which takes precedence over other causes; else ``""``."""
    try:
        check_class_counts(label_clips(deduplicate_clips(clips)[0], settings.labels).assign(fold=0, role="train"))
    except SplitError as error:
        return str(error)
    return ""


def _assign_trainable(clips: pd.DataFrame, settings: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Assign roles and check that a model can be trained on them."""
    table = assign_splits(clips, settings, variants=variants, seed=seed)
    check_class_counts(table)
    return table


def _nearest_settings(clips: pd.DataFrame, settings: Split, *, variants: Sequence[str], seed: int) -> Split | None:
    """Find the settings closest to the requested ones that can split the clips."""
    if settings.labels.source == "intended" and clips["emotion"].nunique() < 2:
        return None  # no setting adds a second class
    names = (
        variants if settings.protocol == "published" else (ORIGINAL,)
    )  # augmented copies never affect the other protocols
    for other in _candidate_settings(settings, clips, versions=len(names)):
        try:
            _assign_trainable(clips, other, variants=names, seed=seed)
        except SplitError:
            continue
        return other
    return None


def _candidate_settings(settings: Split, clips: pd.DataFrame, *, versions: int) -> Iterator[Split]:
    """Yield other settings that could split the clips, in order of the cost of the changes."""
    parts = _alternative_values(settings, clips, versions=versions)
    changes = [dict(pair for part in combination for pair in part.items()) for combination in product(*parts)]
    for change in sorted(changes, key=lambda change: sum(CHANGE_COST[name] for name in change)):
        try:
            yield replace(settings, **change)
        except SettingError:  # settings that exclude each other
            continue


def _alternative_values(settings: Split, clips: pd.DataFrame, *, versions: int) -> list[list[Mapping[str, Any]]]:
    """Return for each setting no change and its other values; ``versions`` is the number of rows per clip."""
    speakers = clips["speaker"][clips["speaker"].fillna("") != ""].nunique()
    others: dict[str, Sequence[Any]] = {
        "validation": [0.0],
        "folds": _fold_counts(settings, most=max(speakers, versions * int(clips["emotion"].value_counts().max()))),
        "shuffle": [False],
        "labels": _label_settings(settings.labels, clips),
        "protocol": ["speaker", "random"] if speakers > 1 else ["random"],
    }
    return [
        [{}, *({name: value} for value in values if value != getattr(settings, name))]
        for name, values in others.items()
    ]


def _fold_counts(settings: Split, *, most: int) -> list[int]:
    """Return the numbers of folds to try, nearest to the requested one first."""
    requested = settings.folds if isinstance(settings.folds, int) else MAX_FOLDS
    return sorted(range(2, min(most, MAX_FOLDS) + 1), key=lambda number: abs(number - requested))


def _label_settings(labels: Labels, clips: pd.DataFrame) -> list[Labels]:
    """Return the label settings to try: one for each different labelling by scheme, and the intended emotions."""
    emotions = sorted(clips["emotion"].unique())
    wider = sorted(SCHEMES, key=lambda scheme: -len(SCHEMES[scheme]))
    schemes = [labels, *(replace(labels, scheme=scheme) for scheme in wider)]
    different = {tuple(each.label(emotion) for emotion in emotions): each for each in reversed(schemes)}
    found = [each for each in reversed(different.values()) if each != labels]
    return found + ([replace(labels, source="intended", ties="drop")] if labels.source != "intended" else [])


def _dvc_command(settings: Split, other: Split) -> str:
    """Return the command that changes settings into others.

    >>> _dvc_command(Split(), Split(folds=2, validation=0.0))
    'dvc exp run -S split.folds=2 -S split.validation=0.0'
    """
    before, after = (dict(config.flatten({"split": asdict(each)})) for each in (settings, other))
    changed = {name: value for name, value in after.items() if value != before[name]}
    return " ".join(["dvc exp run", *(f"-S {name}={str(value).lower()}" for name, value in changed.items())])
