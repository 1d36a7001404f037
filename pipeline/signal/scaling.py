"""Scale a view by its own clip, as some published systems do: by its mean and deviation, within limits.

Loudness carries emotion and is lost by this, so nothing is scaled unless asked for. It has no VERSION of its own: raise
``frontend``'s where this changes its numbers.
"""

import numpy as np

from pipeline.signal.spectra import Array

SMALLEST = 1e-8  # added to the deviation, so that what never changes becomes zero


def standardise(view: Array, by: str | None) -> Array:
    """Give a view mean 0 and deviation 1. Same shape, ``(frames, rows)``.

    >>> standardise(np.float32([[0, 10], [2, 30]]), "rows").tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """
    if by is None:
        return view
    axis = 0 if by == "rows" else None
    exact = view.astype(np.float64)  # the sums of float32 would depend on the processor
    centred = exact - exact.mean(axis=axis, keepdims=True)
    return np.asarray(centred / (exact.std(axis=axis, keepdims=True) + SMALLEST), np.float32)


def limit(view: Array, largest: float | None) -> Array:
    """Cut off what lies beyond ``largest`` on either side of zero. Same shape.

    >>> limit(np.float32([-7, 0, 6]), 5.0).tolist()
    [-5.0, 0.0, 5.0]
    """
    return view if largest is None else np.clip(view, -np.float32(largest), np.float32(largest))


def lengthen(view: Array, frames: int) -> Array:
    """Append frames of zeros, to shape ``(frames, rows)``."""
    return np.pad(view, ((0, frames - len(view)), (0, 0))) if len(view) < frames else view
