"""How much of each of the twelve pitch classes a frame holds, as librosa 0.11 defines it.

It has no VERSION of its own: raise ``frontend``'s where this changes its numbers.
"""

from functools import lru_cache

import numpy as np

from pipeline.signal.spectra import Array, Sparse, sparse

CLASSES = ("c", "cs", "d", "ds", "e", "f", "fs", "g", "gs", "a", "as", "b")  # s: sharp


def chroma(power: Array) -> Array:
    """Turn power in `pitch_classes` into shares of the strongest of `CLASSES`. Shape: ``(frames, 12)``, as before.

    The pitch is that of A = 440 Hz in equal temperament, and digital silence is 0 in all classes: the numbers of
    ``librosa.feature.chroma_stft`` with ``tuning=0`` (after Ellis, Chroma feature analysis and synthesis, 2007).

    >>> chroma(np.float32([[2, 1] + 10 * [0]])).round(1).tolist()[0][:3]
    [1.0, 0.5, 0.0]
    """
    peak = power.max(axis=1, keepdims=True)
    return np.asarray(power / np.where(peak < np.finfo(np.float32).tiny, np.float32(1), peak), np.float32)


@lru_cache
def pitch_classes(rate: int, n_fft: int) -> Sparse:
    """Make a bump a semitone wide in each octave, the middle ones higher: 12 filters."""
    from librosa.filters import (
        chroma as filters,
    )  # here, because it takes longer to import than to extract a hundred clips

    weights: Array = filters(sr=rate, n_fft=n_fft, tuning=0.0)
    return sparse(weights)
