"""More clips out of each: noise, pitch, stretch. Draw the numbers first, then apply them; the numbers can be stored.

A copy is named after its steps in order, ``pitch+noise``; ``pitch+noise#2`` is another draw of the same.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from pipeline.errors import SettingError, UnknownNameError
from pipeline.signal import noise, vocoder
from pipeline.signal.ranges import expect
from pipeline.signal.spectra import Array

VERSION = 2  # raise it when the same settings and seed would draw other numbers, or the same numbers give other samples
ORIGINAL = "original"
STEPS = ("noise", "pitch", "stretch")
REPEAT = re.compile(r"#([2-9]|[1-9]\d+)$")
Strength = float | tuple[float, float]  # a number, or the range to draw it from


def bounds(strength: Strength) -> tuple[float, float]:
    """Give the range of a strength.

    >>> bounds(0.9), bounds((0.85, 1.15))
    ((0.9, 0.9), (0.85, 1.15))
    """
    return strength if isinstance(strength, tuple) else (strength, strength)


def within(strength: Strength | None, low: float, high: float) -> tuple[bool, str]:
    """Say whether a strength lies from ``low`` to ``high``, and what was expected."""
    first, last = bounds(low if strength is None else strength)
    return low <= first <= last <= high, f"a number or [low, high] from {low:g} to {high:g}"


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How loud white noise is: by its distance to the signal, or by its share of the peak. One of them is None."""

    snr_db: Strength | None = (15.0, 30.0)  # dB, mean power of the signal over that of the noise
    peak_share: Strength | None = None  # standard deviation of the noise over the largest sample, as published

    def __post_init__(self) -> None:
        if (self.snr_db is None) == (self.peak_share is None):
            raise SettingError(
                f"params.yaml: augment.noise.snr_db is {self.snr_db} and peak_share is {self.peak_share}: "
                "give one of them a strength and set the other to null."
            )
        rules = {"snr_db": within(self.snr_db, -60, 120), "peak_share": within(self.peak_share, 0, 1)}
        expect(self, "augment.noise", rules)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Which copies are made of a clip, and how strong their steps are. Every field is in the key of what it shapes."""

    copies: tuple[str, ...] = ("noise", "pitch", "pitch+noise")
    noise: Noise = Noise()
    pitch: Strength = (-2.0, 2.0)  # semitones
    stretch: Strength = (0.85, 1.15)  # rate, above 1 is faster and shorter

    def __post_init__(self) -> None:
        for name in self.copies:
            steps(name)
        once = len({ORIGINAL, *self.copies}) == 1 + len(self.copies)
        rules = {
            "copies": (once, f"each name once, without {ORIGINAL!r}; 'noise#2' is another draw of 'noise'"),
            "pitch": within(self.pitch, -24, 24),
            "stretch": within(self.stretch, 0.25, 4),
        }
        expect(self, "augment", rules)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One drawn step, ready to apply and to store."""

    name: str  # pitch, stretch, noise (by SNR) or noise_share (by share of the peak)
    value: float  # semitones, rate, dB or share
    seed: int = 0  # of the noise


def steps(variant: str) -> tuple[str, ...]:
    """Split a variant's name into its steps.

    >>> steps("pitch+noise#2"), steps("original")
    (('pitch', 'noise'), ())

    Raises:
        UnknownNameError: a step that does not exist.
    """
    if variant == ORIGINAL:
        return ()
    names = tuple(REPEAT.sub("", variant).split("+"))
    for name in names:
        if name not in STEPS:
            raise UnknownNameError(f"params.yaml: augment.copies: {variant!r}: step", name, STEPS)
    return names


def variants(config: Augment) -> tuple[str, ...]:
    """Name all signals made of a clip, itself first.

    >>> variants(Augment(copies=("noise",)))
    ('original', 'noise')
    """
    return (ORIGINAL, *config.copies)


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
