"""Protocols under which the same speakers train and test: by clip, for comparison with papers, and as published.

What they are worth is in docs/results.md; the audit counts what leaks.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.errors import SplitError
from pipeline.evaluation.rows import COLUMNS, check_training, deduplicate, labelled, several, versions

if TYPE_CHECKING:
    from pipeline.evaluation.folds import Split

BY_NUMBER = ("random", "published")  # protocols whose folds are cut by number
HALF = 0.5  # the largest share that cutting into even parts can hold out


def by_clip(clips: pd.DataFrame, config: "Split", *, variants: Sequence[str], seed: int) -> pd.DataFrame:
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


def as_published(clips: pd.DataFrame, config: "Split", *, variants: Sequence[str], seed: int) -> pd.DataFrame:
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
