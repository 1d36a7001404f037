"""Deltas of a view over time, and functionals (mean, standard deviation) of a clip for the SVM.

Functionals as in Schuller et al., The INTERSPEECH 2009 Emotion Challenge. `delta` has no VERSION of its own: raise that
of ``signal.views`` if its numbers change.
"""

from functools import lru_cache
from math import factorial

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Array = npt.NDArray[np.float32]  # not imported from signal.stft: train must not depend on the FFT
WIDTH = 9  # frames to which a polynomial is fitted


def delta(view: Array, *, order: int = 1) -> Array:
    """Compute the ``order``-th derivative along time, per frame. Shape ``(frames, bins)``, the same.

    A polynomial of degree ``order`` is fitted to the nine frames around each frame, near an end to the outermost nine
    (Savitzky & Golay, 1964), as in ``librosa.feature.delta``. Of fewer than nine frames, which librosa refuses, the
    largest odd number is used; if that is too small for the polynomial, the derivative is 0.

    >>> delta(np.float32([[0], [3], [6], [9]])).ravel().tolist()
    [3.0, 3.0, 3.0, 3.0]
    """
    width = min(WIDTH, len(view) - 1 + len(view) % 2)
    if width <= order:
        return np.zeros_like(view)
    inside = sliding_window_view(view, width, axis=0) @ _derivative_weights(width, order)
    ends = (width // 2, len(view) - len(inside) - width // 2)
    # repeated at the ends, as the highest derivative of a polynomial is constant
    return np.pad(inside.astype(np.float32), (ends, (0, 0)), mode="edge")


@lru_cache
def _derivative_weights(width: int, order: int) -> npt.NDArray[np.float64]:
    """Return the weights that turn ``width`` values into the derivative of the polynomial fitted to them."""
    powers = np.vander(np.arange(width) - width // 2, order + 1)  # highest first
    weights: npt.NDArray[np.float64] = factorial(order) * np.linalg.pinv(powers)[0]
    weights.flags.writeable = False
    return weights


def clip_functionals(patches: Array, valid_frames: npt.NDArray[np.int32]) -> Array:
    """Compute functionals over frames that hold sound. Shape: ``(clips, frames, bins)`` to ``(clips, 4 * bins)``.

    The columns are means, standard deviations, and those of the deltas, in the units of the view.

    >>> clip_functionals(np.float32([[[0], [2], [9]]]), np.int32([2])).tolist()
    [[1.0, 1.0, 0.0, 0.0]]
    """
    sound = (patch[: max(1, count)] for patch, count in zip(patches, valid_frames, strict=True))
    vectors = [np.concatenate([*_moments(view), *_moments(delta(view))]) for view in sound]
    return np.array(vectors, np.float32).reshape(len(patches), 4 * patches.shape[2])


def _moments(view: Array) -> list[npt.NDArray[np.float64]]:
    """Return mean and standard deviation of each bin. Shape: ``(frames, bins)`` to two of ``(bins,)``."""
    return [view.mean(axis=0, dtype=np.float64), view.std(axis=0, dtype=np.float64)]
