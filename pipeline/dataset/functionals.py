"""Deltas of a view over time, and the functionals (mean and deviation) of a clip, for the SVM.

It has no VERSION of its own: raise ``frontend``'s where this changes its numbers.

Schuller et al., The INTERSPEECH 2009 Emotion Challenge, describe clips by such functionals.
"""

from functools import lru_cache
from math import factorial

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Array = npt.NDArray[np.float32]  # not imported from spectra: train reaches this module and must not reach the FFT
WIDTH = 9  # frames a polynomial is fitted to


def delta(rows: Array, *, order: int = 1) -> Array:
    """Give the ``order``-th derivative along time, per frame, of shape ``(frames, rows)`` to the same.

    Around each frame a polynomial of degree ``order`` is fitted to nine frames (Savitzky & Golay, 1964), within four
    frames of an end to the outermost nine, which is ``librosa.feature.delta``. There librosa refuses fewer than nine
    frames; here the largest odd number is taken that fits, and what is too short for a polynomial does not change: 0.

    >>> delta(np.float32([[0], [3], [6], [9]])).ravel().tolist()
    [3.0, 3.0, 3.0, 3.0]
    """
    width = min(WIDTH, len(rows) - 1 + len(rows) % 2)
    if width <= order:
        return np.zeros_like(rows)
    inside = sliding_window_view(rows, width, axis=0) @ slope(width, order)
    ends = (width // 2, len(rows) - len(inside) - width // 2)
    # at the ends: the fitted polynomial's highest derivative is the same everywhere
    return np.pad(inside.astype(np.float32), (ends, (0, 0)), mode="edge")


@lru_cache
def slope(width: int, order: int) -> npt.NDArray[np.float64]:
    """Give the weights that turn ``width`` values into the derivative of the polynomial fitted to them."""
    powers = np.vander(np.arange(width) - width // 2, order + 1)  # highest first
    weights: npt.NDArray[np.float64] = factorial(order) * np.linalg.pinv(powers)[0]
    weights.flags.writeable = False
    return weights


def functionals(patches: Array, valid_frames: npt.NDArray[np.int32]) -> Array:
    """Describe clips by the frames that hold sound. Shape: ``(clips, frames, rows)`` to ``(clips, 4 * rows)``.

    The columns are means, deviations, means of the deltas, deviations of the deltas, in the units of the view.

    >>> functionals(np.float32([[[0], [2], [9]]]), np.int32([2])).tolist()
    [[1.0, 1.0, 0.0, 0.0]]
    """
    sound = (patch[: max(1, count)] for patch, count in zip(patches, valid_frames, strict=True))
    found = [np.concatenate([*moments(rows), *moments(delta(rows))]) for rows in sound]
    return np.array(found, np.float32).reshape(len(patches), 4 * patches.shape[2])


def moments(rows: Array) -> list[npt.NDArray[np.float64]]:
    """Give mean and deviation of each row over the frames. Shape: ``(frames, rows)`` to two of ``(rows,)``."""
    return [rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)]
