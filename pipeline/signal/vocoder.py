"""Change duration without pitch, and pitch without duration: a phase vocoder (Flanagan & Golden 1966, D. Ellis 2002).

The sound is that of ``librosa.effects`` within 1 % of the peak on speech, not bit-equal: its phases grow to 1e5 rad
in float32, whose step is 0.01 rad there; here each bin keeps a phasor of length 1.

What a signal's spectrum says is worked out once by `analyse`, however many copies are made of it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import soxr

from pipeline.core.errors import SettingError
from pipeline.signal.compiled import compiled
from pipeline.signal.preprocess import fit_length
from pipeline.signal.stft import Array, frames, planes, taper

VERSION = 3  # raise it when the same rate or interval would give other samples
SMALLEST = np.finfo(np.float32).tiny  # what can be divided by
N_FFT = 2048  # samples of a frame; frames lie a quarter of it apart
Spectrum = npt.NDArray[np.complex64]
Positions = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Analysis:
    """The STFT of a signal as levels and turns: everything but the rate. One frame of silence follows the last."""

    samples: int
    level: Array  # shape (frames + 1, bins)
    turn_real: Array  # from each frame to the next, a phasor of length 1, shape (frames, bins)
    turn_imag: Array
    start_real: Array  # the phasor of the first frame, shape (bins,)
    start_imag: Array


@lru_cache
def window(n_fft: int) -> Array:
    """Give the window of synthesis in float32, which is enough here. Shape ``(n_fft,)``."""
    narrow = taper(n_fft).astype(np.float32)
    narrow.flags.writeable = False
    return narrow


def analyse(signal: Array, *, n_fft: int = N_FFT) -> Analysis:
    """Work out levels and turns of a signal of shape ``(samples,)``."""
    count, size = frames(len(signal), n_fft // 4), 1 + n_fft // 2
    real, imag = planes(signal, n_fft=n_fft, hop=n_fft // 4)
    level, turn, start = (np.empty(shape, np.float32) for shape in ((count + 1, size), (2, count, size), (2, size)))
    take_turns(real, imag, level, turn[0], turn[1], start[0], start[1])
    return Analysis(len(signal), level, turn[0], turn[1], start[0], start[1])


@compiled
def take_turns(
    real: Array, imag: Array, level: Array, turn_real: Array, turn_imag: Array, start_real: Array, start_imag: Array
) -> None:
    """Write the fields of an `Analysis`.

    A turn is the quotient of two unit phasors: no arctan. The phasor of zero is 1, since numpy has its angle as 0.
    """
    one, zero, size = np.float32(1), np.float32(0), real.shape[1]
    units, silence = np.empty((2, 2, size), np.float32), np.zeros(size, np.float32)
    for row in range(len(real) + 1):
        here, here_i = units[row % 2, 0], units[row % 2, 1]
        before, before_i = units[1 - row % 2, 0], units[1 - row % 2, 1]
        some, some_i = (real[row], imag[row]) if row < len(real) else (silence, silence)
        sizes = level[row]
        for f in range(len(some)):
            x, y = some[f], some_i[f]
            loud = np.sqrt(x * x + y * y)
            share = one / max(loud, SMALLEST)
            sizes[f] = loud
            here[f] = x * share if loud > SMALLEST else one
            here_i[f] = y * share if loud > SMALLEST else zero
        if row == 0:
            start_real[:] = here
            start_imag[:] = here_i
        else:
            across, along = turn_real[row - 1], turn_imag[row - 1]
            for f in range(len(some)):
                across[f] = here[f] * before[f] + here_i[f] * before_i[f]
                along[f] = here_i[f] * before[f] - here[f] * before_i[f]


@compiled
def walk(
    level: Array, turn_real: Array, turn_imag: Array, real: Array, imag: Array, steps: Positions, out: Spectrum
) -> None:
    """Write one frame per step, its level interpolated and its phase carried on.

    Args:
        level: as in `Analysis`, like both turns.
        turn_real: of the turns.
        turn_imag: of the turns.
        real: ``(bins,)``, of the running phasors of length 1; moved on in place, like ``imag``.
        imag: of the running phasors.
        steps: ``(rows,)``, positions in frames.
        out: ``(rows, bins)``.
    """
    for row in range(len(steps)):
        i = int(steps[row])
        share = np.float32(steps[row] - i)
        for f in range(len(real)):
            size = level[i, f] + share * (level[i + 1, f] - level[i, f])
            x, y = real[f], imag[f]
            out[row, f] = complex(size * x, size * y)
            real[f] = x * turn_real[i, f] - y * turn_imag[i, f]
            imag[f] = x * turn_imag[i, f] + y * turn_real[i, f]


@compiled
def overlap(waves: Array, taper: Array, sound: Array, weight: Array) -> None:
    """Add centred, windowed frames, a quarter apart, to ``sound``, and divide it by the sum of the windows' squares.

    ``weight`` is that sum; it and ``sound`` begin as zeros.
    """
    for row in range(len(waves)):
        first = row * (len(taper) // 4) - len(taper) // 2
        low = max(0, -first)
        high = max(low, min(len(taper), len(sound) - first))  # a frame may lie beyond the end
        wave, part = waves[row, low:high], taper[low:high]
        into, norm = sound[first + low : first + high], weight[first + low : first + high]
        for i in range(len(part)):
            into[i] += wave[i] * part[i]
            norm[i] += part[i] * part[i]
    for i in range(len(sound)):
        sound[i] = sound[i] / weight[i] if weight[i] > SMALLEST else sound[i]


def check(rate: float) -> None:
    """Refuse a rate that is not above 0.

    Raises:
        SettingError: it is not.
    """
    if not 0 < rate < np.inf:
        raise SettingError(f"stretch rate is {rate}, expected a number above 0, such as 0.9 (slower) or 1.1 (faster).")


def play(analysis: Analysis, rate: float) -> Array:
    """Play an analysed signal ``rate`` times as fast. Shape ``(round(samples / rate),)``, at least 1.

    Raises:
        SettingError: the rate is not above 0.
    """
    check(rate)
    count, n_fft = len(analysis.turn_real), 2 * (analysis.level.shape[1] - 1)
    size = max(1, round(analysis.samples / rate))
    steps = np.arange(0, count, rate, dtype=np.float64)[: -(-(size + n_fft) // (n_fft // 4))]
    bins = np.empty((len(steps), analysis.level.shape[1]), np.complex64)
    real, imag = analysis.start_real.copy(), analysis.start_imag.copy()
    walk(analysis.level, analysis.turn_real, analysis.turn_imag, real, imag, steps, bins)
    waves = np.asarray(np.fft.irfft(bins, n_fft), np.float32)  # which it is already, as bins are complex64
    sound, weight = np.zeros(size, np.float32), np.zeros(size, np.float32)
    overlap(waves, window(n_fft), sound, weight)
    return sound


def stretch(signal: Array, rate: float, *, n_fft: int = N_FFT, analysis: Analysis | None = None) -> Array:
    """Play ``rate`` times as fast at the same pitch. Shape ``(samples,)`` to ``(round(samples / rate),)``, at least 1.

    An ``analysis`` of the same signal spares making another.

    Raises:
        SettingError: the rate is not above 0.
    """
    check(rate)
    return signal.copy() if rate == 1 else play(analysis or analyse(signal, n_fft=n_fft), rate)


def pitch(signal: Array, semitones: float, *, n_fft: int = N_FFT, analysis: Analysis | None = None) -> Array:
    """Raise the pitch by ``semitones`` at the same duration. Shape ``(samples,)`` to ``(samples,)``."""
    if semitones == 0:
        return signal.copy()
    rate = 2 ** (-semitones / 12)
    slow = play(analysis or analyse(signal, n_fft=n_fft), rate)
    return fit_length(soxr.resample(slow, 1 / rate, 1, quality="HQ"), len(signal))
