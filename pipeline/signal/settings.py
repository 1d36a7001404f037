"""The settings of the views: sections features.mfcc and features.logmel of params.yaml."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.errors import SettingError
from pipeline.signal.ranges import expect
from pipeline.signal.scaling import SCALES

REFERENCES = ("one", "max")
SAMPLES = 2**16  # of the longest frame
MELS = 1024  # bands
NARROWEST = 1.0  # Hz from fmin to fmax


@dataclass(frozen=True, kw_only=True)
class Bands:
    """What both views share: waveform to mel bands in dB."""

    section: ClassVar[str]
    n_fft: int = 1024  # samples of a frame, even
    hop: int = 256  # samples from frame to frame
    n_mels: int = 64  # bands
    fmin: float = 0.0  # Hz
    fmax: float | None = None  # Hz, None = half the sample rate
    top_db: float | None = 80.0  # dB kept below the loudest value of the signal, None = down to -100 dB re 1
    reference: str = "one"  # what 0 dB is: power 1, or the loudest value of the signal
    normalise: str | None = None  # by the clip's own mean and deviation: of all its numbers, or of each of its rows
    limit: float | None = None  # deviations beyond which numbers are cut off, None = no limit

    def __post_init__(self) -> None:
        top = np.inf if self.fmax is None else self.fmax
        rules = {
            "n_fft": (
                2 <= self.n_fft <= SAMPLES and self.n_fft % 2 == 0,
                f"an even whole number, such as 1024, up to {SAMPLES}",
            ),
            "hop": (0 < self.hop <= self.n_fft, f"a whole number from 1 to n_fft ({self.n_fft})"),
            "n_mels": (
                0 < self.n_mels <= min(self.n_fft // 2, MELS),
                f"a whole number from 1 to n_fft / 2 ({self.n_fft // 2}), at most {MELS}",
            ),
            "fmin": (0 <= self.fmin < np.inf, "Hz, at least 0"),
            "fmax": (
                self.fmin + NARROWEST <= top and self.fmax != np.inf,
                f"null or Hz above fmin ({self.fmin}), by {NARROWEST} at least",
            ),
            "reference": (self.reference in REFERENCES, f"one of {', '.join(REFERENCES)}"),
            "normalise": (self.normalise in (None, *SCALES), f"null or one of {', '.join(SCALES)}"),
            "limit": (self.limit is None or 0.001 <= self.limit <= 1e6, "null or a number above 0, from 0.001 to 1e6"),
            "top_db": (self.top_db is None or 0.1 <= self.top_db <= 1000, "null or dB above 0, from 0.1 to 1000"),
        }
        expect(self, self.section, rules)


@dataclass(frozen=True, kw_only=True)
class LogMel(Bands):
    """Waveform to log-mel bands. Every field changes the values, so every field is in the key."""

    section: ClassVar[str] = "features.logmel"


@dataclass(frozen=True, kw_only=True)
class Mfcc(Bands):
    """Waveform to rows of ZCR, RMS, MFCC, deltas and chroma, each switched by itself. Every field is in the key."""

    section: ClassVar[str] = "features.mfcc"
    n_mfcc: int = 20  # coefficients, from the zeroth on
    mfcc: bool = True
    zcr: bool = True
    rms: bool = True
    deltas: int = 0  # how many derivatives of the MFCC follow them
    chroma: bool = False  # whether twelve pitch classes come last

    def __post_init__(self) -> None:
        super().__post_init__()
        some = self.mfcc or self.zcr or self.rms or self.chroma
        rules = {
            "n_mfcc": (0 < self.n_mfcc <= self.n_mels, f"a whole number from 1 to n_mels ({self.n_mels})"),
            "mfcc": (some, "true, since zcr, rms and chroma are false too and no row would be left"),
            "deltas": (self.deltas in (0, 1, 2) if self.mfcc else not self.deltas, "0, 1 or 2, and 0 without mfcc"),
        }
        expect(self, self.section, rules)


def check(config: Bands, rate: int) -> None:
    """Refuse bands that reach beyond half the sample rate in Hz.

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
