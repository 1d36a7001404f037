"""Preprocessing of signals: trimming of silence, noise reduction, fixed length."""

import numpy as np

from pipeline.signal.settings import Audio
from pipeline.signal.stft import POWER_FLOOR, Array
from pipeline.signal.views import rms

VERSION = 1  # raise it if the same settings give another signal
N_FFT, HOP = 2048, 512  # samples: the frames in which silence is detected at any sample rate, as in librosa


def trim_silence(signal: Array, *, top_db: float) -> Array:
    """Remove what is ``top_db`` or more below the loudest frame from both ends; a silent signal is returned whole.

    Same result as ``librosa.effects.trim``.

    >>> trim_silence(np.repeat(np.float32([0, 1, 0]), 8192), top_db=30).shape
    (9728,)
    """
    level = np.maximum(rms(signal, n_fft=N_FFT, hop=HOP) ** 2, np.float32(POWER_FLOOR))
    loud = np.flatnonzero(10 * np.log10(level / level.max()) > -top_db)
    return signal[HOP * loud[0] : HOP * (loud[-1] + 1)]


def wiener_filter(signal: Array) -> Array:
    """Reduce noise by the mean and variance of each sample and its two neighbours, as `scipy.signal.wiener` does.

    After Lim, Two-Dimensional Signal and Image Processing (1990). Same shape. A constant signal, for which SciPy
    divides by zero, is returned as it is.
    """
    if len(signal) < 2 or np.ptp(signal) == 0:
        return signal
    from scipy.signal import wiener as scipy_wiener  # late: SciPy takes long to import, and few settings need it

    with np.errstate(divide="ignore", invalid="ignore"):  # in silence, which becomes its mean
        return np.asarray(scipy_wiener(signal.astype(np.float64)), np.float32)


def fix_length(signal: Array, size: int) -> Array:
    """Truncate, or append zeros, to shape ``(size,)``.

    >>> fix_length(np.float32([1, 2]), 3).tolist()
    [1.0, 2.0, 0.0]
    """
    if len(signal) >= size:
        return signal[:size]
    out = np.zeros(size, np.float32)
    out[: len(signal)] = signal
    return out


def preprocess_signal(signal: Array, config: Audio) -> Array:
    """Trim, filter, skip the offset and keep at most ``seconds``; the result has at least one sample, a zero."""
    if config.trim_db is not None and len(signal):
        signal = trim_silence(signal, top_db=config.trim_db)
    if config.wiener:
        signal = wiener_filter(signal)
    start = round(config.offset * config.sample_rate)
    kept = signal[start : start + round(config.seconds * config.sample_rate)]
    return kept if len(kept) else np.zeros(1, np.float32)
