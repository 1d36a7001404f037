"""Change duration without pitch, and pitch without duration: a phase vocoder (Flanagan & Golden 1966, D. Ellis 2002).

The sound is that of ``librosa.effects`` within 1 % of the peak on speech, not bit-equal: its phases grow to 1e5 rad
in float32, whose step is 0.01 rad there; here each bin keeps a phasor of length 1.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
import scipy.fft
import soxr

from pipeline.errors import SettingError
from pipeline.signal.conditioning import fit
from pipeline.signal.spectra import BLOCK, Array, framed, taper

VERSION = 1  # raise it when the same rate or interval would give other samples
Spectrum = npt.NDArray[np.complex64]
Positions = npt.NDArray[np.float64]
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile to machine code, kept on disk for the next process where a folder for it can be had.

    No ``fastmath``: it gains nothing here and would let processors round differently.
    """
    try:
        return cast("Function", numba.njit(cache=True)(function))
    except RuntimeError:  # neither the folder of this file nor the user's cache can be written
        return cast("Function", numba.njit(function))


@compiled
def turn(bins: Spectrum, steps: Positions, phasor: Spectrum, out: Spectrum) -> None:
    """Write one frame per step, its level interpolated and its phase carried on.

    Args:
        bins: ``(frames, bins)``, one frame more than the last step needs.
        steps: ``(rows,)``, positions in ``bins``, in frames.
        phasor: ``(bins,)``, the running phasors of length 1; moved on in place.
        out: ``(rows, bins)``.
    """
    one, zero = np.float32(1), np.float32(0)
    for row in range(len(steps)):
        i = int(steps[row])
        share = np.float32(steps[row] - i)
        here, there, frame = bins[i], bins[i + 1], out[row]
        for f in range(len(phasor)):
            a, b, c, d = here[f].real, here[f].imag, there[f].real, there[f].imag
            m, n = np.sqrt(a * a + b * b), np.sqrt(c * c + d * d)
            frame[f] = (m + share * (n - m)) * phasor[f]
            # the turn is a quotient of unit phasors: no arctan; the phasor of zero is 1, since numpy has its angle as 0
            back = complex(a / m if m > 0 else one, -b / m if m > 0 else zero)
            ahead = complex(c / n if n > 0 else one, d / n if n > 0 else zero)
            phasor[f] *= ahead * back


@compiled
def overlap(waves: Array, taper: Array, start: int, sound: Array, weight: Array) -> None:
    """Add windowed frames, a quarter apart, to ``sound`` from ``start`` on, and the windows' squares to ``weight``."""
    for row in range(len(waves)):
        first = start + row * (len(taper) // 4)
        low = max(0, -first)
        high = max(low, min(len(taper), len(sound) - first))  # a frame may lie beyond the end
        wave, part = waves[row, low:high], taper[low:high]
        into, norm = sound[first + low : first + high], weight[first + low : first + high]
        for i in range(len(part)):
            into[i] += wave[i] * part[i]
            norm[i] += part[i] * part[i]


def phasors(bins: Spectrum) -> Spectrum:
    """Give bins the length 1, and zeros the value 1. Same shape."""
    level = np.abs(bins)
    return np.divide(bins, level, out=np.ones_like(bins), where=level > 0)


@lru_cache
def window(n_fft: int) -> Array:
    """Give the window of analysis and synthesis in float32, which is enough here. Shape ``(n_fft,)``."""
    narrow = taper(n_fft).astype(np.float32)
    narrow.flags.writeable = False
    return narrow


def spectrum(pieces: Array, first: int, count: int) -> Spectrum:
    """Give the STFT of ``count`` frames from ``first`` on, zero beyond the last. Shape ``(count, bins)``."""
    some = pieces[first : first + count]
    bins: Spectrum = scipy.fft.rfft(some * window(pieces.shape[1]), overwrite_x=True)
    return bins if len(bins) == count else np.pad(bins, ((0, count - len(bins)), (0, 0)))


def waves(pieces: Array, steps: Positions) -> Iterator[Array]:
    """Give the frames of the new signal, block by block. Shape ``(frames, n_fft)`` to some ``(rows, n_fft)``."""
    n_fft = pieces.shape[1]
    phasor = phasors(spectrum(pieces, 0, 1)[0])
    size = max(1, BLOCK // (4 * n_fft))
    for start in range(0, len(steps), size):
        block = steps[start : start + size]
        first = int(block[0])
        bins = spectrum(pieces, first, int(block[-1]) - first + 2)
        out = np.empty((len(block), bins.shape[1]), np.complex64)
        turn(bins, block - first, phasor, out)
        yield scipy.fft.irfft(out, n_fft, overwrite_x=True)


def stretch(signal: Array, rate: float, *, n_fft: int = 2048) -> Array:
    """Play ``rate`` times as fast at the same pitch. Shape ``(samples,)`` to ``(round(samples / rate),)``, at least 1.

    Raises:
        SettingError: the rate is not above 0.
    """
    if not 0 < rate < np.inf:
        raise SettingError(f"stretch rate is {rate}, expected a number above 0, such as 0.9 (slower) or 1.1 (faster).")
    if rate == 1:
        return signal.copy()
    hop, size = n_fft // 4, max(1, round(len(signal) / rate))
    pieces = framed(signal, n_fft=n_fft, hop=hop)
    steps = np.arange(0, len(pieces), rate, dtype=np.float64)[: -(-(size + n_fft) // hop)]
    sound, weight, start = np.zeros(size, np.float32), np.zeros(size, np.float32), -n_fft // 2
    for block in waves(pieces, steps):
        overlap(block, window(n_fft), start, sound, weight)
        start += hop * len(block)
    return np.divide(sound, weight, out=sound, where=weight > np.finfo(np.float32).tiny)


def pitch(signal: Array, semitones: float, *, n_fft: int = 2048) -> Array:
    """Raise the pitch by ``semitones`` at the same duration. Shape ``(samples,)`` to ``(samples,)``."""
    if semitones == 0:
        return signal.copy()
    rate = 2 ** (-semitones / 12)
    slow = stretch(signal, rate, n_fft=n_fft)
    return fit(soxr.resample(slow, 1 / rate, 1, quality="HQ"), len(signal))
