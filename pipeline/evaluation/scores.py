"""Scores as mathematics: one function per metric, nearly all of them over a confusion matrix ``(spoken, predicted)``.

The primary one is UAR, the mean of the recalls (Schuller et al. 2009), because the classes are not equally frequent.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import UnknownNameError

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
FEWEST = 5  # speakers below which a bootstrap over speakers says nothing


def positions(names: Sequence[str], classes: Sequence[str]) -> Counts:
    """Number class names by their place in ``classes``.

    Raises:
        UnknownNameError: a name is none of the classes.
    """
    given = pd.Index(names)
    found = pd.Index(classes).get_indexer(given)
    if (found < 0).any():
        raise UnknownNameError("label", given[int(found.argmin())], classes)
    return found.astype(np.int64)


def confusion(truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> Counts:
    """Count clips by spoken and predicted class. Shape: ``(classes, classes)``, rows are what was spoken.

    >>> confusion(["a", "a", "b"], ["a", "b", "b"], ["a", "b"]).tolist()
    [[1, 1], [0, 1]]
    """
    return tally(positions(truth, classes), positions(predicted, classes), len(classes))


def tally(truth: Counts, predicted: Counts, classes: int) -> Counts:
    """Count pairs of class numbers. Shape: ``(classes, classes)``."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def recalls(matrix: Counts) -> Floats:
    """Share of each class' clips that were recognised; NaN for a class that nobody spoke. Shape: ``(classes,)``."""
    return ratio(np.diagonal(matrix), matrix.sum(axis=1))


def uar(matrix: Counts) -> float:
    """Mean of the recalls of the classes that occur.

    >>> uar(np.array([[3, 1], [0, 2]]))
    0.875
    """
    return float(np.nanmean(recalls(matrix)))


def wa(matrix: Counts) -> float:
    """Weighted accuracy: the share of clips that were recognised."""
    return float(np.trace(matrix) / matrix.sum())


def precision(matrix: Counts) -> Floats:
    """Share of each class' predictions that were right; 0 for a class never predicted. Shape: ``(classes,)``."""
    return np.nan_to_num(ratio(np.diagonal(matrix), matrix.sum(axis=0)))


def f1(matrix: Counts) -> Floats:
    """Harmonic mean of precision and recall; NaN for a class neither spoken nor predicted. Shape: ``(classes,)``."""
    return ratio(2 * np.diagonal(matrix), matrix.sum(axis=0) + matrix.sum(axis=1))


def macro_f1(matrix: Counts) -> float:
    """Mean F1 of the classes that occur."""
    return float(f1(matrix)[matrix.sum(axis=1) > 0].mean())


def ratio(part: Counts, whole: Counts) -> Floats:
    """Divide, with NaN for 0 by 0."""
    result: Floats = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return result


def ece(probabilities: npt.NDArray[np.floating], truth: Counts, *, bins: int = 15) -> float:
    """Expected calibration error: how far confidence is from accuracy, averaged over clips (Guo et al. 2017, eq. 3).

    The confidence is the largest probability; bins are equally wide, open below and closed above.

    Args:
        probabilities: shape ``(clips, classes)``, rows sum to 1.
        truth: the column of the spoken class. Shape: ``(clips,)``.
        bins: number of bins over (0, 1].
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    gaps = np.bincount(bin_of, weights=right - confidence)  # each bin's clips times (accuracy - confidence)
    return float(np.abs(gaps).sum() / len(truth))


def interval(
    truth: Sequence[str], predicted: Sequence[str], speakers: Sequence[str], *, seed: int, repeats: int = 1000
) -> tuple[float, float] | None:
    """95 % interval of the UAR: percentiles of a bootstrap that draws whole speakers with replacement.

    Clips of one speaker resemble each other, so drawing clips would promise too much. None with fewer than five
    speakers, or where the speaker of a clip is unknown.
    """
    names = cast(speakers)
    if not names:
        return None
    matrices = by_speaker(truth, predicted, positions(speakers, names))
    low, high = np.percentile(redrawn(matrices, draw(len(names), seed=seed, repeats=repeats)), [2.5, 97.5])
    return float(low), float(high)


def cast(speakers: Sequence[str]) -> list[str]:
    """Name the speakers that a bootstrap draws from; none where it would say nothing.

    >>> cast(["e", "d", "c", "b", "a", "a"]), cast(["a", "b"]), cast(["a", "b", "c", "d", "e", ""])
    (['a', 'b', 'c', 'd', 'e'], [], [])
    """
    names = sorted(set(speakers))
    return [] if len(names) < FEWEST or "" in names else names


def draw(people: int, *, seed: int, repeats: int) -> Counts:
    """Say how often each speaker is taken when as many as there are are drawn with replacement.

    Shape: ``(repeats, people)``.
    """
    return np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=repeats)


def redrawn(matrices: Counts, draws: Counts) -> Floats:
    """UAR of each draw of speakers, from one confusion matrix a speaker. Shape: ``(repeats,)``."""
    hits, spoken = draws @ np.diagonal(matrices, axis1=1, axis2=2), draws @ matrices.sum(axis=2)
    uars: Floats = np.nanmean(ratio(hits, spoken), axis=1)
    return uars


def by_speaker(truth: Sequence[str], predicted: Sequence[str], speaker: Counts) -> Counts:
    """One confusion matrix per speaker, classes in alphabetical order. Shape: ``(speakers, classes, classes)``."""
    classes = sorted({*truth, *predicted})
    n, pair = len(classes), positions(truth, classes) * len(classes) + positions(predicted, classes)
    people = int(speaker.max()) + 1
    return np.bincount(speaker * n**2 + pair, minlength=people * n**2).reshape(people, n, n)
