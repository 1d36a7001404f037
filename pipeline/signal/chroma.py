"""How much of each of the twelve pitch classes a frame holds, as librosa 0.11 defines it.

It has no VERSION of its own: raise ``frontend``'s where this changes its numbers.
"""

from functools import lru_cache

import numpy as np

from pipeline.signal.spectra import Array, Bins, Sparse, band_power, sparse

CLASSES = ("c", "cs", "d", "ds", "e", "f", "fs", "g", "gs", "a", "as", "b")  # s: sharp


def chroma(bins: Bins, rate: int, *, n_fft: int) -> Array:
    """Turn a spectrum of shape ``(frames, bins)`` into shares of the strongest of `CLASSES`. Shape ``(frames, 12)``.

    The pitch is that of A = 440 Hz in equal temperament, and digital silence is 0 in all classes: the numbers of
    ``librosa.feature.chroma_stft`` with ``tuning=0`` (after Ellis, Chroma feature analysis and synthesis, 2007).

    >>> bins = np.zeros((1, 2049), complex)
    >>> bins[0, 440] = 1  # at 4096 Hz a bin is a Hz
    >>> CLASSES[chroma(bins, 4096, n_fft=4096).argmax()]
    'a'
    """
    raw = band_power(bins, pitch_classes(rate, n_fft))
    peak = raw.max(axis=1, keepdims=True)
    return np.asarray(raw / np.where(peak < np.finfo(np.float32).tiny, np.float32(1), peak), np.float32)


@lru_cache
def pitch_classes(rate: int, n_fft: int) -> Sparse:
    """Make a bump a semitone wide in each octave, the middle ones higher: 12 filters."""
    from librosa.filters import (
        chroma as filters,
    )  # here, because it takes longer to import than to extract a hundred clips

    weights: Array = filters(sr=rate, n_fft=n_fft, tuning=0.0)
    return sparse(weights)
