"""Augmentation: noise, pitch shift and time stretch. Random numbers are drawn first, then applied.

Speech differs from that of ``librosa.effects`` by up to 1 % of the peak: there, phases grow to 1e5 rad in float32,
whose resolution is then 0.01 rad; here, each bin has a phasor of length 1.

`analyse_signal` computes the spectrum of a signal once for all its copies.

A copy is named after its steps in order, such as ``pitch+noise``; ``pitch+noise#2`` is a second draw of the same steps.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from pipeline.core.errors import SettingError
from pipeline.signal.fft import compiled
from pipeline.signal.preprocess import fix_length
from pipeline.signal.settings import Augment, Strength, strength_range, variant_steps
from pipeline.signal.stft import Array, frame_count, hann_window, stft_planes

VOCODER_VERSION = 3  # raise it if the same rate or interval gives other samples
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
            for f in range(size):
                start_real[f], start_imag[f] = phasor_real[f], phasor_imag[f]
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


LEVELS = 2**16  # values a noise sample can take: one for each 16 random bits


@lru_cache
def _normal_quantiles() -> Array:
    """Return equally likely normal values of mean 0 and variance 1, up to 4.3. Shape ``(LEVELS,)``."""
    from scipy.special import ndtri  # late: features from the clip cache don't need it

    values = ndtri((np.arange(LEVELS) + 0.5) / LEVELS)
    normal: Array = (values / values.std()).astype(np.float32)
    normal.flags.writeable = False
    return normal


def white_noise(size: int, *, seed: int) -> Array:
    """Generate white Gaussian noise of standard deviation 1. Shape ``(size,)``.

    Raw random bits index a table, which takes a fifth of the time of ``standard_normal``. The kurtosis is 2.999.
    """
    bits = np.random.default_rng(seed).bit_generator.random_raw(-(-size // 4)).astype("<u8", copy=False)
    return _normal_quantiles().take(bits.view("<u2")[:size])


def add_noise_at_snr(signal: Array, snr_db: float, *, seed: int) -> Array:
    """Add white noise ``snr_db`` dB below the mean power of the whole signal. Same shape."""
    power = float(np.mean(np.square(signal), dtype=np.float64)) / 10 ** (snr_db / 10)
    return signal + np.float32(math.sqrt(power)) * white_noise(len(signal), seed=seed)


def add_noise_at_peak_share(signal: Array, share: float, *, seed: int) -> Array:
    """Add white noise whose standard deviation is ``share`` of the largest sample. Same shape."""
    return signal + np.float32(share * float(signal.max())) * white_noise(len(signal), seed=seed)


VERSION = 2  # raise it if the same settings and seed draw other numbers, or the same numbers give other samples


@dataclass(frozen=True, kw_only=True)
class Step:
    """One augmentation step with the numbers drawn for it, ready to apply and to store."""

    name: str  # pitch, stretch, noise (by SNR) or noise_share (by share of the peak)
    value: float  # semitones, rate, dB or share
    seed: int = 0  # of the noise


def variant_identity(config: Augment, variant: str) -> dict[str, Any]:
    """Return what decides the samples of a variant: the settings of its steps and the versions of the code they run.

    >>> variant_identity(Augment(pitch=0.7), "pitch#2")
    {'steps': ['pitch'], 'pitch': 0.7, 'version': 2, 'vocoder': 3}
    >>> variant_identity(Augment(), "original")
    {}
    """
    names = variant_steps(variant)
    if not names:
        return {}
    settings = {name: value for name, value in asdict(config).items() if name in names}
    versions = {"version": VERSION} | ({"vocoder": VOCODER_VERSION} if {"pitch", "stretch"} & set(names) else {})
    return {"steps": list(names)} | settings | versions


def random_generator(seed: int, recording: str, variant: str) -> np.random.Generator:
    """Return the random generator of one variant of a recording (the hex hash of its samples), for any order or worker.

    Raises:
        SettingError: the seed is negative.
    """
    if seed < 0:
        raise SettingError(f"the seed of the augmentation is {seed}, expected a whole number of at least 0.")
    digest = hashlib.sha256(f"{seed} {recording} {variant}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, "<u4"))


def draw_steps(variant: str, config: Augment, rng: np.random.Generator) -> tuple[Step, ...]:
    """Draw the numbers of one variant.

    >>> [step.name for step in draw_steps("pitch+noise", Augment(), random_generator(0, "c0ffee", "pitch+noise"))]
    ['pitch', 'noise']
    """
    return tuple(_draw_step(name, config, rng) for name in variant_steps(variant))


def _draw_step(name: str, config: Augment, rng: np.random.Generator) -> Step:
    if name != "noise":
        return Step(name=name, value=_draw_value(getattr(config, name), rng))
    kind = "noise_share" if config.noise.snr_db is None else "noise"
    strength = config.noise.peak_share if config.noise.snr_db is None else config.noise.snr_db
    assert strength is not None  # `Noise` checks it
    return Step(name=kind, value=_draw_value(strength, rng), seed=int(rng.integers(2**32)))


def _draw_value(strength: Strength, rng: np.random.Generator) -> float:
    """Draw a number to four decimals, clipped to its range; a single number is returned as it is."""
    low, high = strength_range(strength)
    return min(max(round(float(rng.uniform(low, high)), 4), low), high)


def apply_steps(signal: Array, drawn: tuple[Step, ...]) -> Array:
    """Apply steps in order. Shape ``(samples,)``; a stretch gives ``(round(samples / rate),)``.

    The result depends on signal and steps alone; silence stays silence.
    """
    return make_variants(signal, {"": drawn})[""]


def make_variants(signal: Array, drawn: Mapping[str, tuple[Step, ...]]) -> dict[str, Array]:
    """Make several variants of a signal; leading steps and spectra that they share are computed once."""

    @cache
    def augmented(steps: tuple[Step, ...]) -> Array:
        return _apply_step(augmented(steps[:-1]), steps[-1], lambda: analysis(steps[:-1])) if steps else signal

    @cache
    def analysis(steps: tuple[Step, ...]) -> Analysis:
        return analyse_signal(augmented(steps))

    return {variant: augmented(steps) for variant, steps in drawn.items()}


def _apply_step(signal: Array, step: Step, analysis: Callable[[], Analysis]) -> Array:
    """Apply one step; ``analysis`` returns the phase vocoder analysis of the signal if the step needs it."""
    if step.name == "pitch":
        return pitch_shift(signal, step.value, analysis=analysis())
    if step.name == "stretch":
        return time_stretch(signal, step.value, analysis=analysis())
    add = {"noise": add_noise_at_snr, "noise_share": add_noise_at_peak_share}[step.name]
    return add(signal, step.value, seed=step.seed)
