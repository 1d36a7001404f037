"""What is told of the training of each fold and seed."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.networks.settings import Train, best_epoch

SCORES = ("uar", "accuracy", "val_uar", "val_accuracy", "val_loss")


def figures(history: pd.DataFrame, settings: Train, *, rows: int, judged: int) -> dict[str, Any]:
    """What happened to one network; a model without epochs has none."""
    counts = {"train_rows": rows, "validation_rows": judged}
    if history.empty:
        return counts
    best = best_epoch(history, settings)
    last = history[history["epoch"] == best].iloc[0]
    scores = {name: round(float(last[name]), 4) for name in SCORES if name in history}
    return counts | {"epochs": len(history), "best_epoch": best} | scores


def folds(done: Mapping[tuple[int, int], Mapping[str, Any]]) -> dict[str, Any]:
    """Lay out the figures by fold: those of the first seed and, of several, those of each and their spread.

    >>> folds({(0, 1): {"val_uar": 0.5}, (0, 2): {"val_uar": 0.75}})["0"]["val_uar_sd"]
    0.1768
    """
    found: dict[str, Any] = {}
    for fold in sorted({fold for fold, _ in done}):
        seeds = {seed: dict(each) for (other, seed), each in done.items() if other == fold}
        found[str(fold)] = next(iter(seeds.values()))
        if len(seeds) > 1:
            found[str(fold)] = found[str(fold)] | spread(seeds)
    return found


def headline(figures: Mapping[str, Any]) -> dict[str, float]:
    """Give what ``metrics/train.json`` holds: the validation UAR, its mean over folds; nothing where none was judged.

    >>> headline({"folds": {"0": {"val_uar": 0.5}, "1": {"val_uar": 0.6, "val_uar_mean": 0.7}, "2": {}}})
    {'val_uar': 0.6}
    """
    each = [fold.get("val_uar_mean", fold.get("val_uar")) for fold in figures["folds"].values()]
    known = [value for value in each if value is not None]
    return {"val_uar": round(sum(known) / len(known), 4)} if known else {}


def spread(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and SD of the validation UAR over seeds, where there is one, and the figures of each."""
    values = pd.Series([each["val_uar"] for each in seeds.values() if "val_uar" in each], dtype=float)
    both = {"val_uar_mean": values.mean(), "val_uar_sd": values.std(ddof=1)} if len(values) else {}
    return {name: round(float(value), 4) for name, value in both.items()} | {
        "seeds": {str(seed): each for seed, each in seeds.items()}
    }
