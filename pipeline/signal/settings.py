"""Settings of signals and views: the sections audio, augment, features.mfcc and features.logmel of params.yaml.

It imports no signal processing: a stage that needs only the names of the copies must not depend on the FFT.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.core import files
from pipeline.core.config import check_fields
from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.core.labels import ORIGINAL

MAX_SECONDS = 3_600  # s that can be analysed of a clip, or skipped
PADS = ("signal", "features")
STEPS = ("noise", "pitch", "stretch")
REFERENCES = ("one", "max")
SCALES = ("clip", "bins")  # over all values of a clip, or for each bin
MAX_N_FFT = 2**16  # samples
MAX_MELS = 1024  # bands
MIN_BANDWIDTH = 1.0  # Hz, least distance of fmin and fmax
_REPEAT = re.compile(r"#([2-9]|[1-9]\d+)$")
Strength = float | tuple[float, float]  # a number, or the range from which it is drawn


@dataclass(frozen=True, kw_only=True)
class Audio:
    """From file to signal, and its length. Every field changes what is stored, so every field is in the key."""

    sample_rate: int = 16_000  # Hz
    trim_db: float | None = 30.0  # dB below the loudest frame that count as silence, None = no trimming
    wiener: bool = False  # whether a Wiener filter follows
    offset: float = 0.0  # s skipped after trimming
    seconds: float = 3.0  # s kept
    pad: str = "signal"  # what is padded with zeros to that length: the signal, or its views

    def __post_init__(self) -> None:
        low, high = files.SAMPLE_RATE_RANGE
        rules = {
            "sample_rate": (low <= self.sample_rate <= high, f"Hz from {low} to {high}"),
            "trim_db": (self.trim_db is None or 0.1 <= self.trim_db <= 1000, "null or dB above 0, from 0.1 to 1000"),
            "offset": (0 <= self.offset <= MAX_SECONDS, f"seconds, at least 0 and at most {MAX_SECONDS}"),
            "pad": (self.pad in PADS, f"one of {', '.join(PADS)}"),
            "seconds": (
                self.seconds * self.sample_rate >= 1 and self.seconds <= MAX_SECONDS,
                f"seconds that make at least one sample, at most {MAX_SECONDS}",
            ),
        }
        check_fields(self, "audio", rules)


def strength_range(strength: Strength) -> tuple[float, float]:
    """Return the range of a strength.

    >>> strength_range(0.9), strength_range((0.85, 1.15))
    ((0.9, 0.9), (0.85, 1.15))
    """
    return strength if isinstance(strength, tuple) else (strength, strength)


def _check_strength(strength: Strength | None, low: float, high: float) -> tuple[bool, str]:
    """Check that a strength lies from ``low`` to ``high``; return the result and what was expected."""
    first, last = strength_range(low if strength is None else strength)
    return low <= first <= last <= high, f"a number or [low, high] from {low:g} to {high:g}"


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How loud white noise is, by its SNR or by its share of the peak. One of them is None."""

    snr_db: Strength | None = (15.0, 30.0)  # dB, mean power of the signal over that of the noise
    peak_share: Strength | None = None  # standard deviation of the noise over the largest sample, as published

    def __post_init__(self) -> None:
        if (self.snr_db is None) == (self.peak_share is None):
            raise SettingError(
                f"params.yaml: augment.noise.snr_db is {self.snr_db} and peak_share is {self.peak_share}: "
                "give one of them a strength and set the other to null."
            )
        rules = {"snr_db": _check_strength(self.snr_db, -60, 120), "peak_share": _check_strength(self.peak_share, 0, 1)}
        check_fields(self, "augment.noise", rules)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Which augmented copies are made of a clip, and how strong. Every field is in the key of the copies it affects."""

    copies: tuple[str, ...] = ("noise", "pitch", "pitch+noise")
    noise: Noise = Noise()
    pitch: Strength = (-2.0, 2.0)  # semitones
    stretch: Strength = (0.85, 1.15)  # rate, above 1 is faster and shorter

    def __post_init__(self) -> None:
        for name in self.copies:
            variant_steps(name)
        once = len({ORIGINAL, *self.copies}) == 1 + len(self.copies)
        rules = {
            "copies": (once, f"each name once, without {ORIGINAL!r}; 'noise#2' is another draw of 'noise'"),
            "pitch": _check_strength(self.pitch, -24, 24),
            "stretch": _check_strength(self.stretch, 0.25, 4),
        }
        check_fields(self, "augment", rules)


def variant_steps(variant: str) -> tuple[str, ...]:
    """Split the name of a variant into its steps.

    >>> variant_steps("pitch+noise#2"), variant_steps("original")
    (('pitch', 'noise'), ())

    Raises:
        UnknownNameError: a step does not exist.
    """
    if variant == ORIGINAL:
        return ()
    names = tuple(_REPEAT.sub("", variant).split("+"))
    for name in names:
        if name not in STEPS:
            raise UnknownNameError(f"params.yaml: augment.copies: {variant!r}: step", name, STEPS)
    return names


def variant_names(config: Augment) -> tuple[str, ...]:
    """Return the names of all variants of a clip, the original first.

    >>> variant_names(Augment(copies=("noise",)))
    ('original', 'noise')
    """
    return (ORIGINAL, *config.copies)


@dataclass(frozen=True, kw_only=True)
class MelBands:
    """Settings that both views share, from waveform to mel bands in dB."""

    section: ClassVar[str]
    n_fft: int = 1024  # samples in a frame, even
    hop: int = 256  # samples between frames
    n_mels: int = 64  # bands
    fmin: float = 0.0  # Hz
    fmax: float | None = None  # Hz, None = half the sample rate
    top_db: float | None = 80.0  # dB below the loudest value of the signal, None = down to -100 dB re 1
    reference: str = "one"  # what 0 dB is: power 1, or the loudest value of the signal
    normalise: str | None = None  # by mean and standard deviation of the clip: over all values, or for each bin
    limit: float | None = None  # standard deviations at which values are clipped, None = no clipping

    def __post_init__(self) -> None:
        top = np.inf if self.fmax is None else self.fmax
        rules = {
            "n_fft": (
                2 <= self.n_fft <= MAX_N_FFT and self.n_fft % 2 == 0,
                f"an even whole number, such as 1024, up to {MAX_N_FFT}",
            ),
            "hop": (0 < self.hop <= self.n_fft, f"a whole number from 1 to n_fft ({self.n_fft})"),
            "n_mels": (
                0 < self.n_mels <= min(self.n_fft // 2, MAX_MELS),
                f"a whole number from 1 to n_fft / 2 ({self.n_fft // 2}), at most {MAX_MELS}",
            ),
            "fmin": (0 <= self.fmin < np.inf, "Hz, at least 0"),
            "fmax": (
                self.fmin + MIN_BANDWIDTH <= top and self.fmax != np.inf,
                f"null or Hz above fmin ({self.fmin}), by {MIN_BANDWIDTH} at least",
            ),
            "reference": (self.reference in REFERENCES, f"one of {', '.join(REFERENCES)}"),
            "normalise": (self.normalise in (None, *SCALES), f"null or one of {', '.join(SCALES)}"),
            "limit": (self.limit is None or 0.001 <= self.limit <= 1e6, "null or a number above 0, from 0.001 to 1e6"),
            "top_db": (self.top_db is None or 0.1 <= self.top_db <= 1000, "null or dB above 0, from 0.1 to 1000"),
        }
        check_fields(self, self.section, rules)


@dataclass(frozen=True, kw_only=True)
class LogMel(MelBands):
    """Settings of the log-mel view. Every field changes the values, so every field is in the key."""

    section: ClassVar[str] = "features.logmel"


@dataclass(frozen=True, kw_only=True)
class Mfcc(MelBands):
    """Settings of ZCR, RMS, MFCC, deltas and chroma, each of which can be switched off. Every field is in the key."""

    section: ClassVar[str] = "features.mfcc"
    n_mfcc: int = 20  # coefficients, from the zeroth on
    mfcc: bool = True
    zcr: bool = True
    rms: bool = True
    deltas: int = 0  # orders of derivatives of the MFCC that follow them
    chroma: bool = False  # whether twelve pitch classes follow

    def __post_init__(self) -> None:
        super().__post_init__()
        any_part = self.mfcc or self.zcr or self.rms or self.chroma
        rules = {
            "n_mfcc": (0 < self.n_mfcc <= self.n_mels, f"a whole number from 1 to n_mels ({self.n_mels})"),
            "mfcc": (any_part, "true, since zcr, rms and chroma are false too and the view would be empty"),
            "deltas": (self.deltas in (0, 1, 2) if self.mfcc else not self.deltas, "0, 1 or 2, and 0 without mfcc"),
        }
        check_fields(self, self.section, rules)


def check_band_limits(config: MelBands, rate: int) -> None:
    """Check that the bands do not reach beyond half the sample rate in Hz.

    Raises:
        SettingError: ``fmax``, or ``fmin`` where there is no ``fmax``, lies too high.
    """
    name = "fmin" if config.fmax is None else "fmax"
    limit, value = rate / 2, getattr(config, name)
    if value > limit or (name == "fmin" and value == limit):
        raise SettingError(
            f"params.yaml: {config.section}.{name} is {value} Hz, but a signal at {rate} Hz ends at {limit} Hz: "
            "lower it or raise audio.sample_rate."
        )
