"""From a signal to its spectrum, mel bands and decibels: the definitions librosa has, at a fraction of its time.

It has no VERSION of its own: raise those of ``frontend`` and ``conditioning`` where their numbers change.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.signal.compiled import compiled

Array = npt.NDArray[np.float32]
Bins = npt.NDArray[np.complex128]
Stft = Callable[..., Iterable[Bins]]
Whole = npt.NDArray[np.int64]
FLOOR = 1e-10  # power, re 1: what digital silence counts as
BLOCK = 2**21  # bytes of frames worked on at once: three seconds of speech in one go, hours in little memory
LANES = 8  # frames whose bands are summed side by side


def frames(samples: int, hop: int) -> int:
    """Count the centred frames of a signal.

    >>> frames(48_000, 256)
    188
    """
    return 1 + samples // hop


@lru_cache
def taper(n_fft: int) -> npt.NDArray[np.float64]:
    """Give the periodic Hann window. Shape ``(n_fft,)``."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    window.flags.writeable = False
    return window


def framed(signal: Array, *, n_fft: int, hop: int) -> Array:
    """Cut a signal into centred frames, zeros beyond its ends; ``n_fft`` is even. Shape ``(frames, n_fft)``, a view."""
    padded = np.zeros(len(signal) + n_fft, np.float32)
    padded[n_fft // 2 : n_fft // 2 + len(signal)] = signal
    return sliding_window_view(padded, n_fft)[::hop]


@compiled
def cut(signal: Array, taper: npt.NDArray[Any], hop: int, first: int, out: npt.NDArray[Any]) -> None:
    """Write centred frames times the window, from frame ``first`` on, zeros beyond the ends of the signal.

    Shapes: ``(samples,)``, ``(n_fft,)``, ``(frames, n_fft)``.
    """
    size = len(taper)
    for row in range(len(out)):
        start = (first + row) * hop - size // 2
        low = min(size, max(0, -start))
        high = max(low, min(size, len(signal) - start))
        out[row, :low] = 0
        out[row, high:] = 0
        into, piece, part = out[row, low:high], signal[start + low : start + high], taper[low:high]
        for i in range(len(piece)):
            into[i] = piece[i] * part[i]


def stft(signal: Array, *, n_fft: int, hop: int) -> Iterator[Bins]:
    """Give the spectrum, the one STFT all features of a signal share, some frames at a time.

    In float64: in float32 the rounding of a loud vowel drowns its quiet bands, by up to 1.5e-3 dB on real speech.

    Shape: ``(samples,)`` to several ``(frames, 1 + n_fft // 2)``.

    >>> [block.shape for block in stft(np.ones(1000, np.float32), n_fft=512, hop=128)]
    [(8, 257)]
    """
    count, step = frames(len(signal), hop), max(1, BLOCK // (8 * n_fft))
    for first in range(0, count, step):
        pieces = np.empty((min(step, count - first), n_fft))
        cut(signal, taper(n_fft), hop, first, pieces)
        yield np.fft.rfft(pieces)


def once(signal: Array) -> Stft:
    """Give an `stft` that works out the spectrum of this signal once for each setting, and gives it for any signal.

    It serves the signal itself, and what it was before zeros were appended: that has the same frames, though fewer.
    """

    @cache
    def blocks(n_fft: int, hop: int) -> tuple[Bins, ...]:
        return tuple(stft(signal, n_fft=n_fft, hop=hop))

    return lambda _, *, n_fft, hop: blocks(n_fft, hop)


def mel(hertz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Turn Hz into mel: linear up to 1 kHz, logarithmic above (Slaney, Auditory Toolbox, 1998).

    >>> mel([1000.0, 6400.0]).tolist()
    [15.0, 42.0]
    """
    hertz = np.asarray(hertz, np.float64)
    return np.where(hertz < 1000, 3 * hertz / 200, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))


def hertz(mel: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Turn Slaney's mel into Hz, the inverse of `mel`."""
    mel = np.asarray(mel, np.float64)
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp(np.log(6.4) * (mel - 15) / 27))


@lru_cache
def mel_filters(rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None) -> Array:
    """Make triangles evenly spaced in mel, each of area 1 over Hz (Slaney). Shape ``(n_mels, 1 + n_fft // 2)``."""
    top = rate / 2 if fmax is None else fmax
    edges = hertz(np.linspace(mel(fmin), mel(top), n_mels + 2))  # Hz
    rising = (np.fft.rfftfreq(n_fft, 1 / rate) - edges[:, None]) / np.append(np.diff(edges), 1)[:, None]
    falling = 1 - rising
    triangles = np.maximum(0, np.minimum(rising[:-2], falling[1:-1]))
    weights: Array = (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)
    weights.flags.writeable = False
    return weights


@dataclass(frozen=True, eq=False)
class Sparse:
    """Filters without their zeros, which are most of them. Band b has ``weights[starts[b] : starts[b + 1]]``."""

    weights: Array
    starts: Whole  # shape (bands + 1,)
    first: Whole  # the bin that a band's first weight belongs to, shape (bands,)


def sparse(filters: Array) -> Sparse:
    """Keep of filters of shape ``(bands, bins)`` what lies from the first weight of each to its last, maybe nothing."""
    some = filters != 0
    first = np.argmax(some, axis=1)
    ends = np.where(some.any(axis=1), some.shape[1] - np.argmax(some[:, ::-1], axis=1), first)
    weights = [row[low:high] for row, low, high in zip(filters, first, ends, strict=True)]
    return Sparse(np.concatenate(weights), np.append(0, np.cumsum(ends - first)), first)


@lru_cache
def sparse_filters(rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None) -> Sparse:
    """Give `mel_filters` without their zeros; a triangle between two bins has no weight at all."""
    return sparse(mel_filters(rate, n_fft, n_mels, fmin, fmax))


def band_power(bins: Bins, filters: Sparse) -> Array:
    """Sum power into bands. Shape ``(frames, bins)`` to ``(frames, bands)``."""
    out = np.empty((len(bins), len(filters.first)), np.float32)
    sum_bands(bins, filters.weights, filters.starts, filters.first, out)
    return out


@compiled
def sum_bands(bins: Bins, weights: Array, starts: Whole, first: Whole, out: Array) -> None:
    """Write the bands of eight frames side by side: a processor adds eight numbers as fast as one."""
    size = bins.shape[1]
    rows, lanes = np.zeros((LANES, size), np.float32), np.zeros((size, LANES), np.float32)
    for top in range(0, len(bins), LANES):
        count = min(LANES, len(bins) - top)
        for lane in range(count):
            source, row = bins[top + lane], rows[lane]
            for k in range(size):
                value = source[k]
                row[k] = value.real * value.real + value.imag * value.imag
        lanes[:] = rows.T
        for band in range(len(first)):
            some, power = weights[starts[band] : starts[band + 1]], lanes[first[band] :]
            # named sums, since an array of them would go through memory
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0)
            for k in range(len(some)):
                weight, frame = some[k], power[k]
                s0, s1, s2, s3 = (
                    s0 + weight * frame[0],
                    s1 + weight * frame[1],
                    s2 + weight * frame[2],
                    s3 + weight * frame[3],
                )
                s4, s5, s6, s7 = (
                    s4 + weight * frame[4],
                    s5 + weight * frame[5],
                    s6 + weight * frame[6],
                    s7 + weight * frame[7],
                )
            sums = (s0, s1, s2, s3, s4, s5, s6, s7)
            for lane in range(count):
                out[top + lane, band] = sums[lane]


def decibel(power: Array, *, top_db: float | None) -> Array:
    """Turn power into dB re 1, at least -100 dB and at most ``top_db`` below the loudest value of all. Same shape.

    >>> decibel(np.float32([10.0, 1.0, 0.0]), top_db=80.0).tolist()
    [10.0, 0.0, -70.0]
    """
    level = np.maximum(power, np.float32(FLOOR))
    np.log(level, out=level)  # in place, and not log10, which does one number at a time
    level *= np.float32(10 / np.log(10))
    return level if top_db is None else np.maximum(level, level.max() - np.float32(top_db))
