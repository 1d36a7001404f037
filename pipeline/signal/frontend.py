"""The views of a signal: log-mel bands, and MFCC with zero crossings and energy, out of one shared STFT.

Definitions are librosa's: centred frames, zeros beyond the ends, periodic Hann, Slaney mel, DCT-II ortho.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache, lru_cache

import numpy as np

from pipeline.signal.cepstrum import mfcc
from pipeline.signal.chroma import CLASSES, chroma, pitch_classes
from pipeline.signal.contours import rms, zcr
from pipeline.signal.deltas import delta
from pipeline.signal.scaling import limit, standardise
from pipeline.signal.settings import Bands, LogMel, Mfcc, check
from pipeline.signal.spectra import Array, Sparse, band_power, decibel, frames, join, mel_filters, sparse_filters

__all__ = [
    "VERSION", "LogMel", "Mfcc", "check", "chroma", "decibel", "delta", "frames", "mel_filters", "mfcc", "rms", "rows",
    "unit", "views", "zcr",
]  # fmt: skip

VERSION = 3  # raise it when the same settings would give other numbers, here or in the modules imported above


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
    made = {each: chroma(some) if isinstance(each, Mfcc) else levels(some, each) for each, some in sums.items()}
    return {name: scale(view(signal, config, made), config) for name, config in configs.items()}


def scale(rows: Array, config: Bands) -> Array:
    """Scale a view by its own clip where its settings say so. Same shape, ``(frames, rows)``."""
    return limit(standardise(rows, config.normalise), config.limit)


def levels(power: Array, config: Bands) -> Array:
    """Turn power into dB re 1, or re the loudest value. Same shape."""
    level = decibel(power, top_db=config.top_db)
    return level - level.max() if config.reference == "max" else level


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
    """Give the log-mel view that a view stands on, before any scaling by the clip."""
    names = {field.name for field in fields(Bands)} - {"normalise", "limit"}
    return LogMel(**{name: getattr(config, name) for name in names})


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

    >>> unit(LogMel()), unit(Mfcc(rms=False)), unit(LogMel(normalise="clip"))
    ('dB re 1', 'zcr: turns per sample; mfcc: dB re 1', 'deviations of the clip')
    """
    if config.normalise is not None:
        return "deviations of the clip" if config.normalise == "clip" else "deviations of the row in the clip"
    decibels = "dB re 1" if config.reference == "one" else "dB re the loudest value of the clip"
    if not isinstance(config, Mfcc):
        return decibels
    units = {
        "zcr": "turns per sample", "rms": "share of full scale", "mfcc": decibels,
        "deltas": "dB per frame, and per frame squared", "chroma": "share of the strongest",
    }  # fmt: skip
    return "; ".join(f"{name}: {text}" for name, text in units.items() if getattr(config, name))
