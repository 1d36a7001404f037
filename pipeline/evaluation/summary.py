"""Turn a table of predictions into scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import StoreError
from pipeline.evaluation import scores

Probabilities = npt.NDArray[np.floating]


def summary(
    predictions: pd.DataFrame, probabilities: Probabilities, classes: Sequence[str], *, seed: int
) -> dict[str, Any]:
    """Gather all scores: pooled, by fold, corpus, class, sex and speaker.

    Args:
        predictions: a row per tested clip: ``clip_id fold corpus speaker sex label``.
        probabilities: shape ``(rows, classes)``, in the order of the rows.
        classes: class names in the order of the columns.
        seed: of the bootstrap.

    Returns:
        Nested dicts of plain numbers in four digits, shares from 0 to 1, None where a score is undefined. The SD over
        folds divides by one less than their number.

    Raises:
        StoreError: the shapes do not fit, or a probability is not finite.
        UnknownNameError: a label is none of the classes.
    """
    check(probabilities, (len(predictions), len(classes)))
    rows = predictions.reset_index(drop=True).fillna({"speaker": "", "sex": ""})
    rows["predicted"] = np.asarray(classes)[probabilities.argmax(axis=1)]
    found: dict[str, Any] = {
        "test": figures(rows, probabilities, classes, seed=seed),
        "folds": folds(rows, classes),
        "corpus": {str(k): corpus(part, probabilities, classes, seed=seed) for k, part in rows.groupby("corpus")},
        "class": by_class(rows, classes),
        "group": {"sex": by_sex(rows, classes)},
        "speaker": extremes(rows[rows["speaker"] != ""], classes),
    }
    return {name: rounded(part) for name, part in found.items()}


def headline(figures: Mapping[str, Any]) -> dict[str, float]:
    """Give the few figures of ``metrics/eval.json``, flat; an interval that is unknown is left out.

    ``svm`` is the UAR of the baseline on the same rows, which is the model itself where no other stands beside it;
    ``leaks`` is the share of test rows with a fault.
    """
    test = figures["test"]
    found = {
        "uar": test["uar"],
        "uar_low": test["uar_ci95"]["low"],
        "uar_high": test["uar_ci95"]["high"],
        "accuracy": test["wa"],
        "f1": test["macro_f1"],
        "svm": figures["baseline"].get("svm", test)["uar"],
        "leaks": figures["leak"]["contaminated"],
    }
    return {name: value for name, value in found.items() if value is not None}


def check(probabilities: Probabilities, shape: tuple[int, int]) -> None:
    """Refuse probabilities that do not belong to the table, or are no numbers."""
    if probabilities.shape != shape:
        raise StoreError(
            f"the probabilities are {probabilities.shape}, expected {shape} (rows, classes): evaluate again."
        )
    bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if bad:
        raise StoreError(
            f"{bad} of {shape[0]} predictions are not finite, so training diverged: lower train.learning_rate."
        )


def matrix(rows: pd.DataFrame, classes: Sequence[str]) -> scores.Counts:
    """Confusion matrix of some rows. Shape: ``(classes, classes)``."""
    return scores.confusion(list(rows["label"]), list(rows["predicted"]), classes)


def figures(rows: pd.DataFrame, probabilities: Probabilities, classes: Sequence[str], *, seed: int) -> dict[str, Any]:
    """Score some rows; their index points into ``probabilities``."""
    counts = matrix(rows, classes)
    truth = scores.positions(list(rows["label"]), classes)
    span = scores.interval(list(rows["label"]), list(rows["predicted"]), list(rows["speaker"]), seed=seed)
    low, high = span or (None, None)
    return {
        "uar": scores.uar(counts),
        "uar_ci95": {"low": low, "high": high},
        "wa": scores.wa(counts),
        "macro_f1": scores.macro_f1(counts),
        "ece": scores.ece(probabilities[rows.index], truth),
        "chance": 1 / len(set(truth)),
        "rows": len(rows),
        "clips": rows["clip_id"].nunique(),
        "speakers": len(set(rows["speaker"]) - {""}),
    }


def corpus(rows: pd.DataFrame, probabilities: Probabilities, classes: Sequence[str], *, seed: int) -> dict[str, Any]:
    """Score one corpus, the recall of each class too."""
    recall = scores.recalls(matrix(rows, classes)).tolist()
    return {**figures(rows, probabilities, classes, seed=seed), "recall": dict(zip(classes, recall, strict=True))}


def chance(labels: "pd.Series[str]") -> dict[str, float]:
    """Give what guessing is worth: UAR of any guess, accuracy of always saying the most frequent class.

    >>> chance(pd.Series(["sad", "sad", "sad", "happy"]))
    {'uar': 0.5, 'wa': 0.75}
    """
    shares = labels.value_counts(normalize=True)
    return {"uar": round(1 / len(shares), 4), "wa": round(float(shares.iloc[0]), 4)}


def folds(rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """UAR and accuracy of each fold, their means and SDs; the SD of a single fold is undefined."""
    counts = {str(fold): matrix(part, classes) for fold, part in rows.groupby("fold")}
    each = {fold: {"uar": scores.uar(found), "wa": scores.wa(found)} for fold, found in counts.items()}
    values = pd.DataFrame(each).T
    spread = {f"{name}_{word}": value for name in ("uar", "wa") for word, value in middle(values[name]).items()}
    return {"count": len(each), **spread, "each": each}


def spread(
    predictions: pd.DataFrame, probabilities: Mapping[int, Probabilities], classes: Sequence[str]
) -> dict[str, Any]:
    """UAR and accuracy of the networks of each seed alone, their means and SDs; that of a single seed is undefined.

    Args:
        predictions: a row per tested clip, with its ``label``.
        probabilities: of each seed, of shape ``(rows, classes)``.
        classes: class names in the order of the columns.
    """
    each = {}
    for seed, own in probabilities.items():
        counts = matrix(predictions.assign(predicted=np.asarray(classes)[own.argmax(axis=1)]), classes)
        each[str(seed)] = {"uar": scores.uar(counts), "wa": scores.wa(counts)}
    values = pd.DataFrame(each).T
    both = {f"{name}_{word}": value for name in ("uar", "wa") for word, value in middle(values[name]).items()}
    found: dict[str, Any] = rounded({"count": len(each), **both, "each": each})
    return found


def middle(values: "pd.Series[float]") -> dict[str, float]:
    """Give mean and SD."""
    return {"mean": values.mean(), "sd": values.std(ddof=1)}


def by_class(rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Precision, recall, F1 and support of each class."""
    counts = matrix(rows, classes)
    columns = {
        "precision": scores.precision(counts),
        "recall": scores.recalls(counts),
        "f1": scores.f1(counts),
        "support": counts.sum(axis=1),
    }
    return {name: {column: values[k] for column, values in columns.items()} for k, name in enumerate(classes)}


def by_sex(rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """UAR and clips of each sex; speakers whose sex nobody wrote down are ``unknown``."""
    return {
        str(sex or "unknown"): {"uar": scores.uar(matrix(part, classes)), "clips": part["clip_id"].nunique()}
        for sex, part in rows.groupby("sex")
    }


def extremes(rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """The speakers with the lowest and the highest UAR, the first by name of several."""
    each = {str(name): scores.uar(matrix(part, classes)) for name, part in rows.groupby("speaker")}
    names = {
        "worst": min(each, key=lambda name: (each[name], name), default=""),
        "best": min(each, key=lambda name: (-each[name], name), default=""),
    }
    return {end: {"name": name or None, "uar": each.get(name)} for end, name in names.items()}


def rounded(value: Any) -> Any:
    """Make a tree fit for JSON: numpy to plain numbers, floats to four digits, NaN to None.

    >>> rounded({"a": np.float64(0.123456), "b": float("nan"), "c": np.int64(2)})
    {'a': 0.1235, 'b': None, 'c': 2}
    """
    if isinstance(value, dict):
        return {str(name): rounded(item) for name, item in value.items()}
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float):
        return None if np.isnan(value) else round(float(value), 4)
    return value
