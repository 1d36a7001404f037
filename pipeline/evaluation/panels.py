"""From the rows of the views, named as in a shard, to the panels of a sheet."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.sheet import Heat, Line
from pipeline.signal import spectra
from pipeline.signal.settings import Bands

Array = npt.NDArray[Any]
Rows = Mapping[str, Array]  # name -> shape (frames,)
OCTAVES = (32_000, 16_000, 8_000, 4_000, 2_000, 1_000, 500, 250, 125)  # Hz
APART = 0.12  # of the height of a spectrogram, between two numbers beside it
SILENCE = 1e-6  # amplitude that stands for silence on an axis in dB: -120 dB
CONTRAST = 98  # per cent of the coefficients above the first that have a colour of their own


def spectrogram(rows: Rows, config: Bands, rate: int) -> Heat:
    """Draw mel bands in dB over Hz."""
    return Heat(
        label="log-mel, Hz",
        unit="dB",
        values=block(rows, "mel_"),
        step=config.hop / rate,
        ticks=hertz_ticks(config, rate),
    )


def cepstral(rows: Rows, config: Bands, rate: int) -> list[Heat | Line]:
    """Draw what there is of MFCC, chroma, RMS and ZCR."""
    step = config.hop / rate
    makers: dict[str, Callable[[Array, float], Heat | Line]] = {
        "mfcc_": coefficients, "chroma_": pitch_classes, "rms": level, "zcr": crossings,
    }  # fmt: skip
    found = {name: block(rows, name) for name in makers}
    return [make(found[name], step) for name, make in makers.items() if found[name].size]


def block(rows: Rows, start: str) -> Array:
    """Put together the rows whose names begin so. Shape ``(frames, rows)``, empty where there are none."""
    return np.array([values for name, values in rows.items() if name.startswith(start)]).T


def coefficients(values: Array, step: float) -> Heat:
    """Draw MFCC. The first one is the level, many times the others: it goes beyond the colours."""
    others = np.abs(values[:, 1:] if values.shape[1] > 1 else values)
    count = values.shape[1]
    numbers = {1, *range(max(2, round(count / 4)), count + 1, max(2, round(count / 4)))}
    return Heat(
        label="MFCC",
        unit="dB",
        values=values,
        step=step,
        ticks={str(number): number - 1 for number in sorted(numbers & set(range(1, count + 1)))},
        limit=float(np.percentile(others, CONTRAST)) or 1.0,
    )


def pitch_classes(values: Array, step: float) -> Heat:
    """Draw chroma."""
    naturals = {"C": 0, "E": 4, "G": 7, "B": 11}
    return Heat(label="chroma", unit="share", values=values, step=step, ticks=naturals)


def level(values: Array, step: float) -> Line:
    """Draw RMS in dB re full scale."""
    return Line(label="RMS, dB", values=20 * np.log10(np.maximum(values[:, 0], SILENCE)), step=step)


def crossings(values: Array, step: float) -> Line:
    """Draw how often the sign turns."""
    return Line(label="ZCR", values=values[:, 0], step=step, write=lambda share: f"{100 * share:g} %", low=0)


def hertz_ticks(config: Bands, rate: int) -> dict[str, float]:
    """Say at which band some round frequencies stand, those left out that would come too near to others.

    >>> from pipeline.signal.frontend import LogMel
    >>> list(hertz_ticks(LogMel(), 16_000))
    ['0', '8k', '4k', '2k', '1k', '500']
    """
    low, top = config.fmin, rate / 2 if config.fmax is None else config.fmax
    bottom, height = spectra.mel(low), spectra.mel(top) - spectra.mel(low)
    ticks: dict[str, float] = {}
    for hertz in (low, *(octave for octave in OCTAVES if low < octave <= top)):
        share = float((spectra.mel(hertz) - bottom) / height)
        row = np.clip(share * (config.n_mels + 1) - 1, -0.5, config.n_mels - 0.5)
        if all(abs(row - other) > APART * config.n_mels for other in ticks.values()):
            ticks[f"{hertz / 1000:g}k" if hertz >= 1000 else f"{hertz:g}"] = float(row)
    return ticks
