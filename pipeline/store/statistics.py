"""Mean and variance of what models are fed, as they standardise by them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.store.mapped import Table

SMALLEST = 1e-6  # what never changes must not divide by zero
Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Statistics:
    """Mean and variance of each row of a view, shape ``(rows,)``, or of each cell, ``(frames, rows)``."""

    mean: Array
    variance: Array

    @property
    def joined(self) -> Array:
        """Both in one array, for comparing. Shape: ``(2 * numbers,)``."""
        return np.concatenate([self.mean.ravel(), self.variance.ravel()])


def neutral(rows: int) -> Statistics:
    """Give statistics that change nothing."""
    return Statistics(np.zeros(rows, np.float32), np.ones(rows, np.float32))


def fit(table: Table, numbers: Numbers, *, cells: bool = False, size: int = 1024) -> Statistics:
    """Fit each row over the frames that hold sound, since the padding behind a short clip says nothing.

    With ``cells`` each frame of each row is fitted by itself, padding and all, as published systems do that flatten
    patches before they standardise. Reads ``size`` clips at a time.
    """
    total = np.zeros((2, *(table.layout.shape if cells else table.layout.shape[1:])))
    count = 0
    frames = np.arange(table.layout.shape[0])
    for start in range(0, len(numbers), size):
        some = numbers[start : start + size]
        patches = table.gather(some).astype(np.float64)
        sound = patches if cells else patches[frames < table.valid_frames[some, None]]
        total += [sound.sum(axis=0), np.square(sound).sum(axis=0)]
        count += len(sound)
    return moments(total / max(count, 1))


def moments(means: npt.NDArray[np.float64]) -> Statistics:
    """Make statistics of the means of values and of their squares. Shape ``(2, ...)``."""
    mean, square = means
    variance = np.maximum(square - np.square(mean), SMALLEST)
    return Statistics(mean.astype(np.float32), variance.astype(np.float32))


def over(values: Array) -> Statistics:
    """Measure vectors as scikit-learn does, which leaves alone what never changes. Shape: ``(clips, numbers)``."""
    from sklearn.preprocessing import StandardScaler  # here, because who loads a model needs no scikit-learn

    scaler = StandardScaler().fit(values.astype(np.float64))
    return Statistics(scaler.mean_.astype(np.float32), np.square(scaler.scale_).astype(np.float32))
