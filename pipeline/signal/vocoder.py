"""Time stretching and pitch shifting with a phase vocoder (Flanagan & Golden 1966, D. Ellis 2002).

Speech differs from that of ``librosa.effects`` by up to 1 % of the peak: there, phases grow to 1e5 rad in float32,
whose resolution is then 0.01 rad; here, each bin has a phasor of length 1.

`analyse_signal` computes the spectrum of a signal once for all its copies.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import soxr

from pipeline.core.errors import SettingError
from pipeline.signal.fft import compiled
from pipeline.signal.preprocess import fix_length
from pipeline.signal.stft import Array, frame_count, hann_window, stft_planes

VERSION = 3  # raise it if the same rate or interval gives other samples
TINY = np.finfo(np.float32).tiny  # smallest divisor
N_FFT = 2048  # samples in a frame; the hop is a quarter of it
Spectrum = npt.NDArray[np.complex64]
Positions = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Analysis:
    """The STFT of a signal as magnitudes and phase advances, for any rate. One frame of silence follows the last."""

    samples: int
    magnitude: Array  # shape (frames + 1, bins)
    advance_real: Array  # phasors of length 1 from each frame to the next, shape (frames, bins)
    advance_imag: Array
    start_real: Array  # phasors of the first frame, shape (bins,)
    start_imag: Array


@lru_cache
def _synthesis_window(n_fft: int) -> Array:
    """Return the synthesis window in float32, which is precise enough here. Shape ``(n_fft,)``."""
    narrow = hann_window(n_fft).astype(np.float32)
    narrow.flags.writeable = False
    return narrow


def analyse_signal(signal: Array, *, n_fft: int = N_FFT) -> Analysis:
    """Compute magnitudes and phase advances of a signal of shape ``(samples,)``."""
    count, size = frame_count(len(signal), n_fft // 4), 1 + n_fft // 2
    real, imag = stft_planes(signal, n_fft=n_fft, hop=n_fft // 4)
    magnitude, advance, start = (
        np.empty(shape, np.float32) for shape in ((count + 1, size), (2, count, size), (2, size))
    )
    _write_analysis(real, imag, magnitude, advance[0], advance[1], start[0], start[1])
    return Analysis(len(signal), magnitude, advance[0], advance[1], start[0], start[1])


@compiled
def _write_analysis(
    real: Array, imag: Array, magnitude: Array, advance_real: Array, advance_imag: Array,
    start_real: Array, start_imag: Array,
) -> None:  # fmt: skip
    """Write the fields of an `Analysis`.

    A phase advance is the quotient of two unit phasors: no arctan. The phasor of zero is 1, as NumPy's angle of 0 is 0.
    """
    one, zero, size = np.float32(1), np.float32(0), real.shape[1]
    units, silence = np.empty((2, 2, size), np.float32), np.zeros(size, np.float32)
    for frame in range(len(real) + 1):
        phasor_real, phasor_imag = units[frame % 2, 0], units[frame % 2, 1]
        last_real, last_imag = units[1 - frame % 2, 0], units[1 - frame % 2, 1]
        bins_real, bins_imag = (real[frame], imag[frame]) if frame < len(real) else (silence, silence)
        sizes = magnitude[frame]
        for f in range(len(bins_real)):
            x, y = bins_real[f], bins_imag[f]
            loud = np.sqrt(x * x + y * y)
            share = one / max(loud, TINY)
            sizes[f] = loud
            phasor_real[f] = x * share if loud > TINY else one
            phasor_imag[f] = y * share if loud > TINY else zero
        if frame == 0:
            start_real[:] = phasor_real
            start_imag[:] = phasor_imag
        else:
            out_real, out_imag = advance_real[frame - 1], advance_imag[frame - 1]
            for f in range(len(bins_real)):
                out_real[f] = phasor_real[f] * last_real[f] + phasor_imag[f] * last_imag[f]
                out_imag[f] = phasor_imag[f] * last_real[f] - phasor_real[f] * last_imag[f]


@compiled
def _write_frames(
    magnitude: Array, advance_real: Array, advance_imag: Array, real: Array, imag: Array,
    steps: Positions, out: Spectrum,
) -> None:  # fmt: skip
    """Write one frame per step: its magnitude is interpolated, its phase accumulated.

    Args:
        magnitude: see `Analysis`.
        advance_real: see `Analysis`.
        advance_imag: see `Analysis`.
        real: ``(bins,)``, real part of the current phasors, updated in place.
        imag: ``(bins,)``, their imaginary part, updated in place.
        steps: ``(output frames,)``, positions in input frames.
        out: ``(output frames, bins)``.
    """
    for frame in range(len(steps)):
        i = int(steps[frame])
        share = np.float32(steps[frame] - i)
        for f in range(len(real)):
            size = magnitude[i, f] + share * (magnitude[i + 1, f] - magnitude[i, f])
            x, y = real[f], imag[f]
            out[frame, f] = complex(size * x, size * y)
            real[f] = x * advance_real[i, f] - y * advance_imag[i, f]
            imag[f] = x * advance_imag[i, f] + y * advance_real[i, f]


@compiled
def _overlap_add(waves: Array, taper: Array, sound: Array, weight: Array) -> None:
    """Overlap-add windowed frames, a quarter apart, into ``sound``, and divide it by the sum of squared windows.

    ``weight`` becomes that sum; it and ``sound`` must be zeros.
    """
    for frame in range(len(waves)):
        first = frame * (len(taper) // 4) - len(taper) // 2
        low = max(0, -first)
        high = max(low, min(len(taper), len(sound) - first))  # a frame may lie beyond the end
        wave, part = waves[frame, low:high], taper[low:high]
        into, norm = sound[first + low : first + high], weight[first + low : first + high]
        for i in range(len(part)):
            into[i] += wave[i] * part[i]
            norm[i] += part[i] * part[i]
    for i in range(len(sound)):
        sound[i] = sound[i] / weight[i] if weight[i] > TINY else sound[i]


def _check_rate(rate: float) -> None:
    """Check that a stretch rate is above 0.

    Raises:
        SettingError: it is not.
    """
    if not 0 < rate < np.inf:
        raise SettingError(f"stretch rate is {rate}, expected a number above 0, such as 0.9 (slower) or 1.1 (faster).")


def _synthesise(analysis: Analysis, rate: float) -> Array:
    """Synthesise an analysed signal ``rate`` times as fast. Shape ``(round(samples / rate),)``, at least 1.

    Raises:
        SettingError: the rate is not above 0.
    """
    _check_rate(rate)
    count, n_fft = len(analysis.advance_real), 2 * (analysis.magnitude.shape[1] - 1)
    size = max(1, round(analysis.samples / rate))
    steps = np.arange(0, count, rate, dtype=np.float64)[: -(-(size + n_fft) // (n_fft // 4))]
    bins = np.empty((len(steps), analysis.magnitude.shape[1]), np.complex64)
    real, imag = analysis.start_real.copy(), analysis.start_imag.copy()
    _write_frames(analysis.magnitude, analysis.advance_real, analysis.advance_imag, real, imag, steps, bins)
    waves = np.asarray(np.fft.irfft(bins, n_fft), np.float32)  # float32 already, as bins are complex64
    sound, weight = np.zeros(size, np.float32), np.zeros(size, np.float32)
    _overlap_add(waves, _synthesis_window(n_fft), sound, weight)
    return sound


def time_stretch(signal: Array, rate: float, *, n_fft: int = N_FFT, analysis: Analysis | None = None) -> Array:
    """Change tempo ``rate`` times at the same pitch. Shape ``(samples,)`` to ``(round(samples / rate),)``, at least 1.

    An existing ``analysis`` of the signal saves time.

    Raises:
        SettingError: the rate is not above 0.
    """
    _check_rate(rate)
    return signal.copy() if rate == 1 else _synthesise(analysis or analyse_signal(signal, n_fft=n_fft), rate)


def pitch_shift(signal: Array, semitones: float, *, n_fft: int = N_FFT, analysis: Analysis | None = None) -> Array:
    """Shift the pitch by ``semitones`` at the same duration. Shape ``(samples,)``, the same."""
    if semitones == 0:
        return signal.copy()
    rate = 2 ** (-semitones / 12)
    slow = _synthesise(analysis or analyse_signal(signal, n_fft=n_fft), rate)
    return fix_length(soxr.resample(slow, 1 / rate, 1, quality="HQ"), len(signal))
