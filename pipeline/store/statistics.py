"""Mean and variance of a view's rows over some clips, as networks standardise by them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.store.mapped import Table

SMALLEST = 1e-6  # a row that never changes must not divide by zero
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Statistics:
    """Mean and variance of each row. Shape: ``(rows of the view,)`` each."""

    mean: Array
    variance: Array

    @property
    def joined(self) -> Array:
        """Both in one array, for comparing. Shape: ``(2 * rows of the view,)``."""
        return np.concatenate([self.mean, self.variance])


def fit(table: Table, numbers: npt.NDArray[np.int64], *, size: int = 1024) -> Statistics:
    """Fit over the frames that hold sound; the padding behind a short clip says nothing.

    Reads ``size`` clips at a time.
    """
    total = np.zeros((2, table.layout.shape[1]))
    count = 0
    frames = np.arange(table.layout.shape[0])
    for start in range(0, len(numbers), size):
        some = numbers[start : start + size]
        sound = table.gather(some)[frames < table.valid_frames[some, None]].astype(np.float64)
        total += [sound.sum(axis=0), np.square(sound).sum(axis=0)]
        count += len(sound)
    mean, square = total / max(count, 1)
    variance = np.maximum(square - np.square(mean), SMALLEST)
    return Statistics(mean.astype(np.float32), variance.astype(np.float32))
