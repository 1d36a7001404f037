"""White noise, as loud as asked. It has no VERSION of its own: raise ``augment``'s where its numbers change."""

import math

import numpy as np

from pipeline.signal.spectra import Array


def white(size: int, *, seed: int) -> Array:
    """Make white noise of standard deviation 1. Shape ``(size,)``."""
    noise: Array = np.random.default_rng(seed).standard_normal(size, np.float32)
    return noise


def add_by_snr(signal: Array, snr_db: float, *, seed: int) -> Array:
    """Add noise ``snr_db`` dB below the mean power of the whole signal. Same shape."""
    power = float(np.mean(np.square(signal), dtype=np.float64)) / 10 ** (snr_db / 10)
    return signal + np.float32(math.sqrt(power)) * white(len(signal), seed=seed)


def add_by_share(signal: Array, share: float, *, seed: int) -> Array:
    """Add noise whose standard deviation is a share of the largest sample. Same shape."""
    return signal + np.float32(share * float(signal.max())) * white(len(signal), seed=seed)
