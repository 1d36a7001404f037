"""The views of a signal: log-mel bands, and MFCC with zero crossings and energy, out of one shared STFT.

Definitions are librosa's: centred frames, zeros beyond the ends, periodic Hann, Slaney mel, DCT-II ortho.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from pipeline.errors import SettingError
from pipeline.signal.chroma import CLASSES, chroma, pitch_classes
from pipeline.signal.compiled import compiled
from pipeline.signal.contours import rms, zcr
from pipeline.signal.deltas import delta
from pipeline.signal.ranges import expect
from pipeline.signal.spectra import Array, Sparse, band_power, decibel, frames, join, mel_filters, sparse_filters

__all__ = [
    "VERSION", "LogMel", "Mfcc", "check", "chroma", "decibel", "delta", "frames", "mel_filters", "mfcc", "rms", "rows",
    "unit", "views", "zcr",
]  # fmt: skip

VERSION = 3  # raise it when the same settings would give other numbers, here or in the modules imported above


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

    def __post_init__(self) -> None:
        top = np.inf if self.fmax is None else self.fmax
        rules = {
            "n_fft": (self.n_fft >= 2 and self.n_fft % 2 == 0, "an even whole number, such as 1024"),
            "hop": (0 < self.hop <= self.n_fft, f"a whole number from 1 to n_fft ({self.n_fft})"),
            "n_mels": (0 < self.n_mels <= self.n_fft // 2, f"a whole number from 1 to n_fft / 2 ({self.n_fft // 2})"),
            "fmin": (0 <= self.fmin < np.inf, "Hz, at least 0"),
            "fmax": (self.fmin < top and self.fmax != np.inf, f"null or Hz above fmin ({self.fmin})"),
            "top_db": (self.top_db is None or 0 < self.top_db < np.inf, "null or dB above 0"),
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


def mfcc(levels: Array, *, n_mfcc: int) -> Array:
    """Turn log-mel bands of shape ``(frames, n_mels)`` into cepstral coefficients in dB. Shape ``(frames, n_mfcc)``.

    Only those are worked out; and SciPy, whose DCT makes all, takes longer to import than a hundred clips to extract.
    """
    out = np.empty((len(levels), n_mfcc), np.float32)
    sum_cosines(levels, cosines(levels.shape[1], n_mfcc), out)
    return out


@lru_cache
def cosines(n_mels: int, n_mfcc: int) -> npt.NDArray[np.float64]:
    """Give the basis of the orthonormal DCT-II, a coefficient a column. Shape ``(n_mels, n_mfcc)``."""
    basis: npt.NDArray[np.float64] = np.sqrt(2 / n_mels) * np.cos(
        np.pi / n_mels * np.outer(np.arange(n_mels) + 0.5, np.arange(n_mfcc))
    )
    basis[:, 0] = np.sqrt(1 / n_mels)
    basis.flags.writeable = False
    return basis


@compiled(apart=True)
def sum_cosines(levels: Array, basis: npt.NDArray[np.float64], out: Array) -> None:
    """Write the product of both: BLAS would round differently from one processor to the next."""
    sums = np.empty(basis.shape[1])
    for row in range(len(levels)):
        sums[:] = 0
        for band in range(len(basis)):
            level, part = levels[row, band], basis[band]
            for k in range(len(part)):
                sums[k] += level * part[k]
        out[row] = sums


def views(signal: Array, rate: int, configs: Mapping[str, Bands]) -> dict[str, Array]:
    """Make all views of one signal at ``rate`` Hz, time first, out of one STFT for all that share its settings.

    >>> out = views(np.ones(48_000, np.float32), 16_000, {"logmel": LogMel(), "mfcc": Mfcc()})
    >>> {name: view.shape for name, view in out.items()}
    {'logmel': (188, 64), 'mfcc': (188, 22)}

    Raises:
        SettingError: a view reaches beyond half the sample rate.
    """
    for config in configs.values():
        check(config, rate)
    sums = summed(signal, rate, configs.values())
    made = {
        each: chroma(some) if isinstance(each, Mfcc) else decibel(some, top_db=each.top_db)
        for each, some in sums.items()
    }
    return {name: view(signal, config, made) for name, config in configs.items()}


def summed(signal: Array, rate: int, configs: Iterable[Bands]) -> dict[Bands, Array]:
    """Sum the spectrum as the views need it: mel power under their `LogMel`, pitch classes under their `Mfcc`."""
    wanted: dict[tuple[int, int], dict[Bands, None]] = {}
    for config in configs:
        wanted.setdefault((config.n_fft, config.hop), {}).update(dict.fromkeys(reductions(config)))
    result: dict[Bands, Array] = {}
    for (n_fft, hop), some in wanted.items():
        if some:
            filters, ends = joint_filters(tuple(some), rate)
            power = band_power(signal, filters, n_fft=n_fft, hop=hop)
            result |= dict(zip(some, np.split(power, ends, axis=1), strict=True))
    return result


def reductions(config: Bands) -> list[Bands]:
    """Say what sums of the spectrum a view needs: those of a log-mel view, and as an `Mfcc` with chroma its own."""
    mel: list[Bands] = [bands(config)] if not isinstance(config, Mfcc) or config.mfcc else []
    return [*mel, config] if isinstance(config, Mfcc) and config.chroma else mel


@lru_cache
def joint_filters(wanted: tuple[Bands, ...], rate: int) -> tuple[Sparse, tuple[int, ...]]:
    """Give the filters of several sums at once, and where all but the first begin."""
    parts = [
        pitch_classes(rate, each.n_fft)
        if isinstance(each, Mfcc)
        else sparse_filters(rate, each.n_fft, each.n_mels, each.fmin, each.fmax)
        for each in wanted
    ]
    return join(parts), tuple(int(end) for end in np.cumsum([len(each.first) for each in parts])[:-1])


def view(signal: Array, config: Bands, made: Mapping[Bands, Array]) -> Array:
    """Put one view together out of log-mel bands and chroma. Shape ``(frames, rows)``."""
    if not isinstance(config, Mfcc):
        return made[bands(config)]
    blocks = contours(signal, config)
    if config.mfcc:
        cepstrum = mfcc(made[bands(config)], n_mfcc=config.n_mfcc)
        blocks += [cepstrum, *(delta(cepstrum, order=order) for order in range(1, config.deltas + 1))]
    if config.chroma:
        blocks.append(made[config])
    return np.concatenate(blocks, axis=1)


@cache
def bands(config: Bands) -> LogMel:
    """Give the log-mel view that a view stands on."""
    return LogMel(**{field.name: getattr(config, field.name) for field in fields(Bands)})


def contours(signal: Array, config: Mfcc) -> list[Array]:
    """Give the columns before the MFCC, each of shape ``(frames, 1)``."""
    wanted = [function for function, on in ((zcr, config.zcr), (rms, config.rms)) if on]
    return [function(signal, n_fft=config.n_fft, hop=config.hop)[:, None] for function in wanted]


def rows(config: Bands) -> tuple[str, ...]:
    """Name the rows of a view, the second axis of its array.

    >>> rows(Mfcc(n_mfcc=2, deltas=1)), rows(LogMel())[:2]
    (('zcr', 'rms', 'mfcc_01', 'mfcc_02', 'delta_01', 'delta_02'), ('mel_001', 'mel_002'))
    """
    if not isinstance(config, Mfcc):
        return tuple(f"mel_{band:03d}" for band in range(1, config.n_mels + 1))
    head = tuple(name for name in ("zcr", "rms") if getattr(config, name))
    kinds = ("mfcc", "delta", "delta2")[: config.deltas + 1] if config.mfcc else ()
    cepstral = tuple(f"{kind}_{k:02d}" for kind in kinds for k in range(1, config.n_mfcc + 1))
    return head + cepstral + tuple(f"chroma_{name}" for name in CLASSES if config.chroma)


def unit(config: Bands) -> str:
    """Say what the numbers of a view are.

    >>> unit(LogMel()), unit(Mfcc(rms=False))
    ('dB re 1', 'zcr: turns per sample; mfcc: dB re 1')
    """
    if not isinstance(config, Mfcc):
        return "dB re 1"
    units = {
        "zcr": "turns per sample", "rms": "share of full scale", "mfcc": "dB re 1",
        "deltas": "dB per frame, and per frame squared", "chroma": "share of the strongest",
    }  # fmt: skip
    return "; ".join(f"{name}: {text}" for name, text in units.items() if getattr(config, name))
