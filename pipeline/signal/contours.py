"""One number per frame, taken from the samples themselves, as librosa 0.11 defines it.

It has no VERSION of its own: raise those of ``frontend`` and ``conditioning`` where this changes their numbers.
"""

import numpy as np

from pipeline.signal.spectra import Array, framed, frames

ZERO = np.float32(1e-10)  # a sample within this of zero has no sign of its own, it counts as positive


def zcr(signal: Array, *, n_fft: int, hop: int) -> Array:
    """Give the share of a frame's samples at which the sign turns, as if the outermost went on. Shape ``(frames,)``.

    >>> zcr(np.tile(np.float32([1, 1, -1, -1]), 64), n_fft=64, hop=64)[1].item()  # 31 of 64: a frame begins on a turn
    0.484375
    """
    negative = signal < -ZERO
    turns = np.flatnonzero(negative[1:] != negative[:-1])  # the sample before each
    first = hop * np.arange(frames(len(signal), hop)) - n_fft // 2
    inside = np.searchsorted(turns, first + n_fft - 1) - np.searchsorted(turns, np.maximum(first, 0))
    return inside.astype(np.float32) / np.float32(n_fft)


def rms(signal: Array, *, n_fft: int, hop: int) -> Array:
    """Give the root mean square of each frame, zeros beyond the ends, of full scale 1. Shape ``(frames,)``."""
    pieces = framed(signal, n_fft=n_fft, hop=hop)
    mean: Array = np.vecdot(pieces, pieces) / np.float32(n_fft)
    return np.sqrt(mean)
