"""From a signal to power, mel bands and decibels: the definitions librosa has, at a fraction of its time.

It has no VERSION of its own: raise those of ``frontend``, ``conditioning`` and ``vocoder`` where their numbers change.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.sparse
from numpy.lib.stride_tricks import sliding_window_view

Array = npt.NDArray[np.float32]
FLOOR = 1e-10  # power, re 1: what digital silence counts as
BLOCK = 2**17  # bytes worked on at once: fits the cache of a core, and malloc does not map it afresh each time


def frames(samples: int, hop: int) -> int:
    """Count the centred frames of a signal.

    >>> frames(48_000, 256)
    188
    """
    return 1 + samples // hop


@lru_cache
def taper(n_fft: int) -> npt.NDArray[np.float64]:
    """Give the periodic Hann window. Shape ``(n_fft,)``."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    window.flags.writeable = False
    return window


def framed(signal: Array, *, n_fft: int, hop: int) -> Array:
    """Cut a signal into centred frames, zeros beyond its ends; ``n_fft`` is even. Shape ``(frames, n_fft)``, a view."""
    padded = np.zeros(len(signal) + n_fft, np.float32)
    padded[n_fft // 2 : n_fft // 2 + len(signal)] = signal
    return sliding_window_view(padded, n_fft)[::hop]


def power(signal: Array, *, n_fft: int, hop: int) -> Array:
    """Give the power spectrum, the one STFT all features of a signal share. Shape ``(frames, 1 + n_fft // 2)``.

    >>> power(np.ones(1000, np.float32), n_fft=512, hop=128).shape
    (8, 257)
    """
    pieces = framed(signal, n_fft=n_fft, hop=hop)
    result = np.empty((len(pieces), 1 + n_fft // 2), np.float32)
    step = max(1, BLOCK // (8 * n_fft))
    for first in range(0, len(pieces), step):
        # in float64: in float32 the rounding of a loud vowel drowns its quiet bands, by up to 1e-3 dB on real speech
        bins = scipy.fft.rfft(pieces[first : first + step] * taper(n_fft), overwrite_x=True)
        parts = bins.view(np.float64)
        np.square(parts, out=parts)
        np.add(parts[:, ::2], parts[:, 1::2], out=result[first : first + step])
    return result


def mel(hertz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Turn Hz into mel: linear up to 1 kHz, logarithmic above (Slaney, Auditory Toolbox, 1998).

    >>> mel([1000.0, 6400.0]).tolist()
    [15.0, 42.0]
    """
    hertz = np.asarray(hertz, np.float64)
    return np.where(hertz < 1000, 3 * hertz / 200, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))


def hertz(mel: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Turn Slaney's mel into Hz, the inverse of `mel`."""
    mel = np.asarray(mel, np.float64)
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp(np.log(6.4) * (mel - 15) / 27))


@lru_cache
def mel_filters(rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None) -> Array:
    """Make triangles evenly spaced in mel, each of area 1 over Hz (Slaney). Shape ``(n_mels, 1 + n_fft // 2)``."""
    top = rate / 2 if fmax is None else fmax
    edges = hertz(np.linspace(mel(fmin), mel(top), n_mels + 2))  # Hz
    rising = (np.fft.rfftfreq(n_fft, 1 / rate) - edges[:, None]) / np.append(np.diff(edges), 1)[:, None]
    falling = 1 - rising
    triangles = np.maximum(0, np.minimum(rising[:-2], falling[1:-1]))
    weights: Array = (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)
    weights.flags.writeable = False
    return weights


@lru_cache
def sparse_filters(rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None) -> Any:
    """Keep of `mel_filters` what is not zero, a few per cent."""
    return scipy.sparse.csr_array(mel_filters(rate, n_fft, n_mels, fmin, fmax))


def decibel(power: Array, *, top_db: float | None) -> Array:
    """Turn power into dB re 1, at least -100 dB and at most ``top_db`` below the loudest value of all. Same shape.

    >>> decibel(np.float32([10.0, 1.0, 0.0]), top_db=80.0).tolist()
    [10.0, 0.0, -70.0]
    """
    level: Array = 10 * np.log10(np.maximum(power, np.float32(FLOOR)))
    return level if top_db is None else np.maximum(level, level.max() - np.float32(top_db))
