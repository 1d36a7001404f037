"""How a view changes from frame to frame, as librosa 0.11 defines it.

It has no VERSION of its own: raise ``frontend``'s where this changes its numbers.
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
