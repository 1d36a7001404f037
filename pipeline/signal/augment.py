"""More clips out of each: noise, pitch, stretch. Draw the numbers first, then apply them; the numbers can be stored.

A copy is named after its steps in order, ``pitch+noise``; ``pitch+noise#2`` is another draw of the same.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from pipeline.errors import SettingError
from pipeline.signal import noise, vocoder
from pipeline.signal.settings import Augment, Strength, bounds, steps
from pipeline.signal.spectra import Array

VERSION = 2  # raise it when the same settings and seed would draw other numbers, or the same numbers give other samples


@dataclass(frozen=True, kw_only=True)
class Step:
    """One drawn step, ready to apply and to store."""

    name: str  # pitch, stretch, noise (by SNR) or noise_share (by share of the peak)
    value: float  # semitones, rate, dB or share
    seed: int = 0  # of the noise


def identity(config: Augment, variant: str) -> dict[str, Any]:
    """Give what decides the samples of a variant: the settings of its own steps and the versions of the code they run.

    >>> identity(Augment(pitch=0.7), "pitch#2")
    {'steps': ['pitch'], 'pitch': 0.7, 'version': 2, 'vocoder': 3}
    >>> identity(Augment(), "original")
    {}
    """
    names = steps(variant)
    if not names:
        return {}
    settings = {name: value for name, value in asdict(config).items() if name in names}
    versions = {"version": VERSION} | ({"vocoder": vocoder.VERSION} if {"pitch", "stretch"} & set(names) else {})
    return {"steps": list(names)} | settings | versions


def generator(seed: int, recording: str, variant: str) -> np.random.Generator:
    """Give each variant of a recording (the hex hash of its samples) its own stream, whatever the order or the worker.

    Raises:
        SettingError: the seed is negative.
    """
    if seed < 0:
        raise SettingError(f"the seed of the augmentation is {seed}, expected a whole number of at least 0.")
    digest = hashlib.sha256(f"{seed} {recording} {variant}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, "<u4"))


def draw(variant: str, config: Augment, rng: np.random.Generator) -> tuple[Step, ...]:
    """Draw the numbers of one variant.

    >>> [step.name for step in draw("pitch+noise", Augment(), generator(0, "c0ffee", "pitch+noise"))]
    ['pitch', 'noise']
    """
    return tuple(draw_step(name, config, rng) for name in steps(variant))


def draw_step(name: str, config: Augment, rng: np.random.Generator) -> Step:
    """Draw one step."""
    if name != "noise":
        return Step(name=name, value=value(getattr(config, name), rng))
    kind = "noise_share" if config.noise.snr_db is None else "noise"
    strength = config.noise.peak_share if config.noise.snr_db is None else config.noise.snr_db
    assert strength is not None  # Noise lets no other pass
    return Step(name=kind, value=value(strength, rng), seed=int(rng.integers(2**32)))


def value(strength: Strength, rng: np.random.Generator) -> float:
    """Draw a number to four decimals that stays in its range; a number alone stays what it is."""
    low, high = bounds(strength)
    return min(max(round(float(rng.uniform(low, high)), 4), low), high)


def apply(signal: Array, drawn: tuple[Step, ...]) -> Array:
    """Take the steps one after the other. Shape ``(samples,)``; a stretch gives ``(round(samples / rate),)``.

    Same signal and steps, same samples; silence stays silence.
    """
    return apply_all(signal, {"": drawn})[""]


def apply_all(signal: Array, drawn: Mapping[str, tuple[Step, ...]]) -> dict[str, Array]:
    """Make several variants of a signal. What they have in common is worked out once: first steps, and spectra."""

    @cache
    def after(steps: tuple[Step, ...]) -> Array:
        return take(after(steps[:-1]), steps[-1], lambda: analysis(steps[:-1])) if steps else signal

    @cache
    def analysis(steps: tuple[Step, ...]) -> vocoder.Analysis:
        return vocoder.analyse(after(steps))

    return {variant: after(steps) for variant, steps in drawn.items()}


def take(signal: Array, step: Step, analysis: Callable[[], vocoder.Analysis]) -> Array:
    """Take one step; ``analysis`` gives the spectrum of the signal where a step needs it."""
    if step.name == "pitch":
        return vocoder.pitch(signal, step.value, analysis=analysis())
    if step.name == "stretch":
        return vocoder.stretch(signal, step.value, analysis=analysis())
    add = {"noise": noise.add_by_snr, "noise_share": noise.add_by_share}[step.name]
    return add(signal, step.value, seed=step.seed)
