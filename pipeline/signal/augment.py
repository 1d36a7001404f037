"""Augmentation by noise, pitch shift and time stretch. Random numbers are drawn first, then applied.

A copy is named after its steps in order, such as ``pitch+noise``; ``pitch+noise#2`` is a second draw of the same steps.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

from pipeline.core.errors import SettingError
from pipeline.signal import vocoder
from pipeline.signal.settings import Augment, Strength, strength_range, variant_steps
from pipeline.signal.stft import Array

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
    versions = {"version": VERSION} | ({"vocoder": vocoder.VERSION} if {"pitch", "stretch"} & set(names) else {})
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
    def analysis(steps: tuple[Step, ...]) -> vocoder.Analysis:
        return vocoder.analyse_signal(augmented(steps))

    return {variant: augmented(steps) for variant, steps in drawn.items()}


def _apply_step(signal: Array, step: Step, analysis: Callable[[], vocoder.Analysis]) -> Array:
    """Apply one step; ``analysis`` returns the phase vocoder analysis of the signal if the step needs it."""
    if step.name == "pitch":
        return vocoder.pitch_shift(signal, step.value, analysis=analysis())
    if step.name == "stretch":
        return vocoder.time_stretch(signal, step.value, analysis=analysis())
    add = {"noise": add_noise_at_snr, "noise_share": add_noise_at_peak_share}[step.name]
    return add(signal, step.value, seed=step.seed)
