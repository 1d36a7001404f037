"""When a split cannot be made: find settings that can, by trying them on the clips at hand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from typing import Any

import pandas as pd

from pipeline.core import config
from pipeline.core.errors import SettingError, SplitError
from pipeline.core.labels import ORIGINAL, SCHEMES, Labels
from pipeline.split.protocols import Split, assign_splits
from pipeline.split.rows import check_classes, deduplicate, labelled

MOST = 10  # folds that are tried
COST = {"validation": 1, "folds": 2, "shuffle": 3, "labels": 5, "protocol": 9}  # how much a change changes the result
HEARD = ", where the test speakers are heard in training"


def split_or_suggest(clips: pd.DataFrame, settings: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Give every clip its roles as `folds.assign` does, in folds that each can be trained and tested.

    Raises:
        SettingError: the folds asked for cannot be made, or give nothing to learn. The sentence names what the clips
            lack and, where there are any, settings with which these clips can be split.
    """
    try:
        return learnable(clips, settings, variants=variants, seed=seed)
    except SplitError as error:
        cause = single_class(clips, settings) or str(error)
    other = nearest(clips, settings, variants=variants, seed=seed)
    if other is None:
        raise SettingError(cause)
    heard = HEARD if other.protocol == "random" != settings.protocol else ""
    raise SettingError(f"{cause} As they are, they can be split by '{command(settings, other)}'{heard}.")


def single_class(clips: pd.DataFrame, settings: Split) -> str:
    """Say that all clips are of one class, which is the cause wherever it is so; else nothing."""
    try:
        check_classes(labelled(deduplicate(clips)[0], settings.labels).assign(fold=0, role="train"))
    except SplitError as error:
        return str(error)
    return ""


def learnable(clips: pd.DataFrame, settings: Split, *, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Assign roles and see that a model can be trained on them."""
    table = assign_splits(clips, settings, variants=variants, seed=seed)
    check_classes(table)
    return table


def nearest(clips: pd.DataFrame, settings: Split, *, variants: Sequence[str], seed: int) -> Split | None:
    """Find the settings closest to those asked for that split these clips."""
    if settings.labels.source == "intended" and clips["emotion"].nunique() < 2:
        return None  # no setting makes a second class
    names = variants if settings.protocol == "published" else (ORIGINAL,)  # copies never decide the other protocols
    for other in candidates(settings, clips, versions=len(names)):
        try:
            learnable(clips, other, variants=names, seed=seed)
        except SplitError:
            continue
        return other
    return None


def candidates(settings: Split, clips: pd.DataFrame, *, versions: int) -> Iterator[Split]:
    """Give other settings that could split these clips, those first that change least."""
    parts = alternatives(settings, clips, versions=versions)
    ways = [dict(pair for part in way for pair in part.items()) for way in product(*parts)]
    for way in sorted(ways, key=lambda way: sum(COST[name] for name in way)):
        try:
            yield replace(settings, **way)
        except SettingError:  # a pair of settings that exclude each other
            continue


def alternatives(settings: Split, clips: pd.DataFrame, *, versions: int) -> list[list[Mapping[str, Any]]]:
    """Give for each setting what it could be instead, first of all what it is; a clip has ``versions`` rows."""
    people = clips["speaker"][clips["speaker"].fillna("") != ""].nunique()
    others: dict[str, Sequence[Any]] = {
        "validation": [0.0],
        "folds": numbers(settings, most=max(people, versions * int(clips["emotion"].value_counts().max()))),
        "shuffle": [False],
        "labels": labellings(settings.labels, clips),
        "protocol": ["speaker", "random"] if people > 1 else ["random"],
    }
    return [
        [{}, *({name: value} for value in values if value != getattr(settings, name))]
        for name, values in others.items()
    ]


def numbers(settings: Split, *, most: int) -> list[int]:
    """Give the numbers of folds to try, the nearest to that asked for first."""
    asked = settings.folds if isinstance(settings.folds, int) else MOST
    return sorted(range(2, min(most, MOST) + 1), key=lambda number: abs(number - asked))


def labellings(labels: Labels, clips: pd.DataFrame) -> list[Labels]:
    """Give the labels to try: other schemes, of those that come to the same one, and the actor's emotions."""
    emotions = sorted(clips["emotion"].unique())
    wider = sorted(SCHEMES, key=lambda scheme: -len(SCHEMES[scheme]))
    schemes = [labels, *(replace(labels, scheme=scheme) for scheme in wider)]
    different = {tuple(each.label(emotion) for emotion in emotions): each for each in reversed(schemes)}
    found = [each for each in reversed(different.values()) if each != labels]
    return found + ([replace(labels, source="intended", ties="drop")] if labels.source != "intended" else [])


def command(settings: Split, other: Split) -> str:
    """Write the line that changes settings into others.

    >>> command(Split(), Split(folds=2, validation=0.0))
    'dvc exp run -S split.folds=2 -S split.validation=0.0'
    """
    before, after = (dict(config.flat({"split": asdict(each)})) for each in (settings, other))
    changed = {name: value for name, value in after.items() if value != before[name]}
    return " ".join(["dvc exp run", *(f"-S {name}={str(value).lower()}" for name, value in changed.items())])
