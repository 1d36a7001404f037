"""Metrics: recall, precision, F1, calibration, bootstrap intervals over speakers, and their summary.

The primary one is the unweighted average recall (UAR; Schuller et al. 2009), because the classes are not equally
frequent.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.core.errors import StoreError, UnknownNameError

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
MIN_SPEAKERS = 5  # speakers for a bootstrap over speakers; with fewer its interval is meaningless


def class_indices(names: Sequence[str], classes: Sequence[str]) -> Counts:
    """Indices of class names in ``classes``.

    Raises:
        UnknownNameError: a name is none of the classes.
    """
    given = pd.Index(names)
    found = pd.Index(classes).get_indexer(given)
    if (found < 0).any():
        raise UnknownNameError("label", given[int(found.argmin())], classes)
    return found.astype(np.int64)


def confusion_matrix(truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> Counts:
    """Confusion matrix. Shape: ``(classes, classes)``, true class by predicted class.

    >>> confusion_matrix(["a", "a", "b"], ["a", "b", "b"], ["a", "b"]).tolist()
    [[1, 1], [0, 1]]
    """
    n, pairs = len(classes), class_indices(truth, classes) * len(classes) + class_indices(predicted, classes)
    return np.bincount(pairs, minlength=n**2).reshape(n, n)


def recall_by_class(matrix: Counts) -> Floats:
    """Recall of each class, NaN for a class without clips. Shape: ``(classes,)``."""
    return _divide(np.diagonal(matrix), matrix.sum(axis=1))


def unweighted_average_recall(matrix: Counts) -> float:
    """Unweighted average recall (UAR): mean recall of the classes that occur.

    >>> unweighted_average_recall(np.array([[3, 1], [0, 2]]))
    0.875
    """
    return float(np.nanmean(recall_by_class(matrix)))


def accuracy(matrix: Counts) -> float:
    """Share of clips whose class was predicted, also called weighted accuracy."""
    return float(np.trace(matrix) / matrix.sum())


def precision_by_class(matrix: Counts) -> Floats:
    """Precision of each class, 0 for a class never predicted. Shape: ``(classes,)``."""
    return np.nan_to_num(_divide(np.diagonal(matrix), matrix.sum(axis=0)))


def f1_by_class(matrix: Counts) -> Floats:
    """F1 score of each class, NaN for a class that neither occurs nor is predicted. Shape: ``(classes,)``."""
    return _divide(2 * np.diagonal(matrix), matrix.sum(axis=0) + matrix.sum(axis=1))


def macro_f1(matrix: Counts) -> float:
    """Mean F1 score of the classes that occur."""
    return float(f1_by_class(matrix)[matrix.sum(axis=1) > 0].mean())


def _divide(part: Counts, whole: Counts) -> Floats:
    """Quotient, NaN where ``whole`` is 0."""
    result: Floats = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return result


def expected_calibration_error(probabilities: npt.NDArray[np.floating], truth: Counts, *, bins: int = 15) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over clips (Guo et al. 2017, eq. 3).

    The confidence is the largest probability; bins are equally wide, open below and closed above.

    Args:
        probabilities: shape ``(clips, classes)``.
        truth: index of the true class. Shape: ``(clips,)``.
        bins: number of bins over (0, 1].
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    gaps = np.bincount(bin_of, weights=right - confidence)  # each bin's clips times (accuracy - confidence)
    return float(np.abs(gaps).sum() / len(truth))


def bootstrap_interval(
    truth: Sequence[str], predicted: Sequence[str], speakers: Sequence[str], *, seed: int, repeats: int = 1000
) -> tuple[float, float] | None:
    """95 % interval of the UAR: percentiles of a bootstrap over speakers.

    Clips of a speaker resemble each other, so an interval from a bootstrap over clips would be too narrow. None with
    fewer than five speakers, or where the speaker of a clip is unknown.
    """
    names = bootstrap_speakers(speakers)
    if not names:
        return None
    matrices = confusion_by_speaker(truth, predicted, class_indices(speakers, names))
    low, high = np.percentile(
        bootstrap_uars(matrices, draw_speakers(len(names), seed=seed, repeats=repeats)), [2.5, 97.5]
    )
    return float(low), float(high)


def bootstrap_speakers(speakers: Sequence[str]) -> list[str]:
    """Speakers to resample; none if they are fewer than five or one is unknown.

    >>> bootstrap_speakers(["e", "d", "c", "b", "a", "a"])
    ['a', 'b', 'c', 'd', 'e']
    >>> bootstrap_speakers(["a", "b"]), bootstrap_speakers(["a", "b", "c", "d", "e", ""])
    ([], [])
    """
    names = sorted(set(speakers))
    return [] if len(names) < MIN_SPEAKERS or "" in names else names


def draw_speakers(speakers: int, *, seed: int, repeats: int) -> Counts:
    """Bootstrap samples of speakers, drawn with replacement: how often each one occurs.

    Shape: ``(repeats, speakers)``.
    """
    return np.random.default_rng(seed).multinomial(speakers, np.full(speakers, 1 / speakers), size=repeats)


def bootstrap_uars(matrices: Counts, draws: Counts) -> Floats:
    """UAR of each bootstrap sample, from the confusion matrices of the speakers. Shape: ``(repeats,)``."""
    hits, clips = draws @ np.diagonal(matrices, axis1=1, axis2=2), draws @ matrices.sum(axis=2)
    uars: Floats = np.nanmean(_divide(hits, clips), axis=1)
    return uars


def confusion_by_speaker(truth: Sequence[str], predicted: Sequence[str], speaker: Counts) -> Counts:
    """Confusion matrix of each speaker, classes in alphabetical order. Shape: ``(speakers, classes, classes)``."""
    classes = sorted({*truth, *predicted})
    n, pairs = len(classes), class_indices(truth, classes) * len(classes) + class_indices(predicted, classes)
    speakers = int(speaker.max()) + 1
    return np.bincount(speaker * n**2 + pairs, minlength=speakers * n**2).reshape(speakers, n, n)


Probabilities = npt.NDArray[np.floating]


def summarize_scores(
    predictions: pd.DataFrame, probabilities: Probabilities, classes: Sequence[str], *, seed: int
) -> dict[str, Any]:
    """Compute all scores: pooled, by fold, corpus, class, sex and speaker.

    Args:
        predictions: a row per test row: ``clip_id fold corpus speaker sex label``.
        probabilities: shape ``(rows, classes)``, in the order of the rows.
        classes: class names in the order of the columns.
        seed: of the bootstrap.

    Returns:
        Nested dicts of numbers rounded to four digits, shares from 0 to 1, None where a score is undefined. SDs are
        those of a sample (n - 1).

    Raises:
        StoreError: the shapes do not fit, or a probability is not finite.
        UnknownNameError: a label is none of the classes.
    """
    _check_probabilities(probabilities, (len(predictions), len(classes)))
    rows = predictions.reset_index(drop=True).fillna({"speaker": "", "sex": ""})
    rows["predicted"] = np.asarray(classes)[probabilities.argmax(axis=1)]
    found: dict[str, Any] = {
        "test": _scores(rows, probabilities, classes, seed=seed),
        "folds": _scores_by_fold(rows, classes),
        "corpus": {
            str(k): _corpus_scores(part, probabilities, classes, seed=seed) for k, part in rows.groupby("corpus")
        },
        "class": _scores_by_class(rows, classes),
        "group": {"sex": _scores_by_sex(rows, classes)},
        "speaker": _extreme_speakers(rows[rows["speaker"] != ""], classes),
    }
    return {name: _rounded(part) for name, part in found.items()}


def headline_scores(figures: Mapping[str, Any]) -> dict[str, float]:
    """Content of ``metrics/eval.json``, flat; without an interval its ends are left out.

    ``svm`` is the UAR of the baseline on the same rows, or of the model if that is the svm; ``leaks`` is the share of
    test rows with a fault.
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


def _check_probabilities(probabilities: Probabilities, shape: tuple[int, int]) -> None:
    """Refuse probabilities of another shape, or that are not finite."""
    if probabilities.shape != shape:
        raise StoreError(
            f"the probabilities are {probabilities.shape}, expected {shape} (rows, classes): evaluate again."
        )
    bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if bad:
        raise StoreError(
            f"{bad} of {shape[0]} predictions are not finite, so training diverged: lower train.learning_rate."
        )


def _confusion(rows: pd.DataFrame, classes: Sequence[str]) -> Counts:
    return confusion_matrix(list(rows["label"]), list(rows["predicted"]), classes)


def _scores(rows: pd.DataFrame, probabilities: Probabilities, classes: Sequence[str], *, seed: int) -> dict[str, Any]:
    """Scores of some rows; their index selects rows of ``probabilities``."""
    counts = _confusion(rows, classes)
    truth = class_indices(list(rows["label"]), classes)
    span = bootstrap_interval(list(rows["label"]), list(rows["predicted"]), list(rows["speaker"]), seed=seed)
    low, high = span or (None, None)
    return {
        "uar": unweighted_average_recall(counts),
        "uar_ci95": {"low": low, "high": high},
        "wa": accuracy(counts),
        "macro_f1": macro_f1(counts),
        "ece": expected_calibration_error(probabilities[rows.index], truth),
        "chance": 1 / len(set(truth)),
        "rows": len(rows),
        "clips": rows["clip_id"].nunique(),
        "speakers": len(set(rows["speaker"]) - {""}),
    }


def _corpus_scores(
    rows: pd.DataFrame, probabilities: Probabilities, classes: Sequence[str], *, seed: int
) -> dict[str, Any]:
    """Scores of one corpus, with the recall of each class."""
    recall = recall_by_class(_confusion(rows, classes)).tolist()
    return {**_scores(rows, probabilities, classes, seed=seed), "recall": dict(zip(classes, recall, strict=True))}


def chance_scores(labels: "pd.Series[str]") -> dict[str, float]:
    """Scores by chance: UAR of any constant or random guess, accuracy of always predicting the most frequent class.

    >>> chance_scores(pd.Series(["sad", "sad", "sad", "happy"]))
    {'uar': 0.5, 'wa': 0.75}
    """
    shares = labels.value_counts(normalize=True)
    return {"uar": round(1 / len(shares), 4), "wa": round(float(shares.iloc[0]), 4)}


def _scores_by_fold(rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """UAR and accuracy of each fold, their means and SDs; the SD of a single fold is undefined."""
    return _with_means({str(fold): _confusion(part, classes) for fold, part in rows.groupby("fold")})


def scores_by_seed(
    predictions: pd.DataFrame, probabilities: Mapping[int, Probabilities], classes: Sequence[str]
) -> dict[str, Any]:
    """UAR and accuracy of the networks of each seed, their means and SDs; the SD of a single seed is undefined.

    Args:
        predictions: a row per test row, with its ``label``.
        probabilities: of each seed, of shape ``(rows, classes)``.
        classes: class names in the order of the columns.
    """
    predicted = {str(seed): np.asarray(classes)[own.argmax(axis=1)] for seed, own in probabilities.items()}
    found: dict[str, Any] = _rounded(
        _with_means({seed: _confusion(predictions.assign(predicted=own), classes) for seed, own in predicted.items()})
    )
    return found


def _with_means(matrices: Mapping[str, Counts]) -> dict[str, Any]:
    """UAR and accuracy of each confusion matrix, their means and SDs."""
    each = {
        name: {"uar": unweighted_average_recall(counts), "wa": accuracy(counts)} for name, counts in matrices.items()
    }
    values = pd.DataFrame(each).T
    found: dict[str, Any] = {"count": len(each)}
    for name in ("uar", "wa"):
        found |= {f"{name}_mean": values[name].mean(), f"{name}_sd": values[name].std(ddof=1)}
    return found | {"each": each}


def _scores_by_class(rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Precision, recall, F1 and support of each class."""
    counts = _confusion(rows, classes)
    columns = {
        "precision": precision_by_class(counts),
        "recall": recall_by_class(counts),
        "f1": f1_by_class(counts),
        "support": counts.sum(axis=1),
    }
    return {name: {column: values[k] for column, values in columns.items()} for k, name in enumerate(classes)}


def _scores_by_sex(rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """UAR and clips of each sex, ``unknown`` where the corpus does not state it."""
    return {
        str(sex or "unknown"): {
            "uar": unweighted_average_recall(_confusion(part, classes)),
            "clips": part["clip_id"].nunique(),
        }
        for sex, part in rows.groupby("sex")
    }


def _extreme_speakers(rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Speakers with the lowest and the highest UAR; of several the first by name."""
    each = {str(name): unweighted_average_recall(_confusion(part, classes)) for name, part in rows.groupby("speaker")}
    names = {
        "worst": min(each, key=lambda name: (each[name], name), default=""),
        "best": min(each, key=lambda name: (-each[name], name), default=""),
    }
    return {end: {"name": name or None, "uar": each.get(name)} for end, name in names.items()}


def _rounded(value: Any) -> Any:
    """Convert nested scores for JSON: numpy scalars to numbers, floats to four digits, NaN to None.

    >>> _rounded({"a": np.float64(0.123456), "b": float("nan"), "c": np.int64(2)})
    {'a': 0.1235, 'b': None, 'c': 2}
    """
    if isinstance(value, dict):
        return {str(name): _rounded(item) for name, item in value.items()}
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float):
        return None if np.isnan(value) else round(float(value), 4)
    return value
