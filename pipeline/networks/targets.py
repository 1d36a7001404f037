"""What a network is taught of each clip: one class, or the shares of the votes that listeners gave."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.labels import VOTED

NOBODY = (0,) * len(VOTED)
UNLABELLED = -1  # the class of a clip whose listeners were tied
Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32]  # a class, shape (rows,), or shares, shape (rows, classes)


def tally(votes: Iterable[Sequence[int] | None], classes: Sequence[str]) -> npt.NDArray[np.float64]:
    """Count the votes for each class; those for an emotion that is none are left out, zeros where nobody voted.

    Shape: ``(rows, classes)``.

    >>> tally([[4, 0, 2, 0, 4, 0], None], ["angry", "neutral", "surprise"]).tolist()
    [[4.0, 4.0, 0.0], [0.0, 0.0, 0.0]]
    """
    counts = np.array([NOBODY if each is None else each for each in votes], np.float64).reshape(-1, len(VOTED))
    return np.asarray(counts @ (np.array(VOTED)[:, None] == np.array(classes)))


def soft(labels: npt.NDArray[np.int64], votes: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Turn votes into shares that sum to 1; the class alone where nobody voted for any.

    Args:
        labels: the class of each row, ``UNLABELLED`` where it has none. Shape ``(rows,)``.
        votes: for each class. Shape ``(rows, classes)``.

    Returns:
        Shape ``(rows, classes)``; a row without votes and without a class is zeros.

    >>> soft(np.array([1, 1]), np.array([[3.0, 1.0], [0.0, 0.0]])).tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """
    known = (labels != UNLABELLED)[:, None]
    classes = known * np.eye(votes.shape[1])[labels]
    cast = votes.sum(axis=1, keepdims=True)
    return np.asarray(np.where(cast > 0, votes / np.maximum(cast, 1), classes), np.float32)


def weights(labels: Labels, classes: int, *, balanced: bool) -> npt.NDArray[np.float32]:
    """Weigh classes by the inverse of their share. Shape: ``(rows,)`` or ``(rows, classes)`` to ``(classes,)``.

    >>> [f"{weight:.2f}" for weight in weights(np.array([0, 0, 0, 1]), 2, balanced=True)]
    ['0.67', '2.00']
    """
    if not balanced:
        return np.ones(classes, np.float32)
    counts = labels.sum(axis=0, dtype=np.float64) if labels.ndim > 1 else np.bincount(labels, minlength=classes)
    return np.asarray(len(labels) / (classes * np.maximum(counts, 1)), np.float32)
