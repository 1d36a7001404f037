"""Short-time Fourier transform, mel filters and decibels, by librosa's definitions.

Frames are centred, the signal is padded with zeros, and the window is a periodic Hann. Frames of 2^n samples are
transformed by `fft`, others by NumPy.

This module has no VERSION: raise those of ``views`` and ``preprocess`` if their numbers change.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice, takewhile

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.core.errors import SettingError
from pipeline.signal import fft
from pipeline.signal.settings import MAX_N_FFT, LogMel, MelBands, Mfcc, check_band_limits

Array = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]
POWER_FLOOR = 1e-10  # power re 1 of digital silence
BLOCK_BYTES = 2**21  # bytes of frames that NumPy transforms at once


def frame_count(samples: int, hop: int) -> int:
    """Return the number of centred frames of a signal.

    >>> frame_count(48_000, 256)
    188
    """
    return 1 + samples // hop


@lru_cache
def hann_window(n_fft: int) -> npt.NDArray[np.float64]:
    """Return the periodic Hann window. Shape ``(n_fft,)``."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    window.flags.writeable = False
    return window


def stft_planes(signal: Array, *, n_fft: int, hop: int) -> tuple[Array, Array]:
    """Compute real and imaginary part of the STFT. Shape: ``(samples,)`` to two of ``(frames, 1 + n_fft // 2)``.

    >>> [plane.shape for plane in stft_planes(np.ones(1000, np.float32), n_fft=512, hop=128)]
    [(8, 257), (8, 257)]
    """
    count = frame_count(len(signal), hop)
    samples = fft.padded(signal, n_fft, hop, count)
    if not _is_power_of_two(n_fft):
        bins = np.concatenate([*frame_spectra(samples, n_fft, hop, count)])
        return bins.real.astype(np.float32), bins.imag.astype(np.float32)
    real, imag = np.empty((2, count, 1 + n_fft // 2), np.float32)
    fft.write_planes(samples, hann_window(n_fft), hop, *fft.turns(n_fft), real, imag)
    return real, imag


def _is_power_of_two(n_fft: int) -> bool:
    """Say whether `fft` can transform frames of this length.

    >>> _is_power_of_two(1024), _is_power_of_two(400)
    (True, False)
    """
    return n_fft >= 4 and n_fft & (n_fft - 1) == 0


def frame_spectra(samples: Array, n_fft: int, hop: int, count: int) -> Iterator[npt.NDArray[np.complex128]]:
    """Yield the spectra of frames of any length in blocks of shape ``(frames, 1 + n_fft // 2)``."""
    pieces = sliding_window_view(samples, n_fft)[::hop][:count]
    step = max(1, BLOCK_BYTES // (8 * n_fft))
    for first in range(0, count, step):
        yield np.fft.rfft(pieces[first : first + step] * hann_window(n_fft))


def hz_to_mel(hertz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Convert Hz to mel: linear up to 1 kHz, logarithmic above (Slaney, Auditory Toolbox, 1998).

    >>> hz_to_mel([1000.0, 6400.0]).tolist()
    [15.0, 42.0]
    """
    hertz = np.asarray(hertz, np.float64)
    return np.where(hertz < 1000, 3 * hertz / 200, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))


def _mel_to_hz(mel: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Convert Slaney's mel to Hz, the inverse of `hz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp(np.log(6.4) * (mel - 15) / 27))


@lru_cache
def mel_filters(rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None) -> Array:
    """Make triangles evenly spaced in mel, each of area 1 over Hz (Slaney). Shape ``(n_mels, 1 + n_fft // 2)``."""
    top = rate / 2 if fmax is None else fmax
    edges = _mel_to_hz(np.linspace(hz_to_mel(fmin), hz_to_mel(top), n_mels + 2))  # Hz
    rising = (np.fft.rfftfreq(n_fft, 1 / rate) - edges[:, None]) / np.append(np.diff(edges), 1)[:, None]
    falling = 1 - rising
    triangles = np.maximum(0, np.minimum(rising[:-2], falling[1:-1]))
    weights: Array = (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)
    weights.flags.writeable = False
    return weights


@dataclass(frozen=True, eq=False)
class SparseFilters:
    """A filter bank without its zeros. Band b has ``weights[starts[b] : starts[b + 1]]``."""

    weights: Array
    starts: Whole  # shape (bands + 1,)
    first: Whole  # the bin of the first weight of each band, shape (bands,)


def to_sparse(filters: Array) -> SparseFilters:
    """Keep each filter of a bank of shape ``(bands, bins)`` from its first to its last weight; it may have none."""
    nonzero = filters != 0
    first = np.argmax(nonzero, axis=1)
    ends = np.where(nonzero.any(axis=1), nonzero.shape[1] - np.argmax(nonzero[:, ::-1], axis=1), first)
    weights = [each[low:high] for each, low, high in zip(filters, first, ends, strict=True)]
    return SparseFilters(np.concatenate(weights), np.append(0, np.cumsum(ends - first)), first)


@lru_cache
def sparse_mel_filters(rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None) -> SparseFilters:
    """Return `mel_filters` without their zeros; a triangle between two bins has no weight at all."""
    return to_sparse(mel_filters(rate, n_fft, n_mels, fmin, fmax))


def join_filters(filters: Sequence[SparseFilters]) -> SparseFilters:
    """Concatenate several filter banks."""
    sizes = np.concatenate([np.diff(each.starts) for each in filters])
    weights, first = (np.concatenate([getattr(each, name) for each in filters]) for name in ("weights", "first"))
    return SparseFilters(weights, np.append(0, np.cumsum(sizes)), first)


def band_power(signal: Array, filters: SparseFilters, *, n_fft: int, hop: int) -> Array:
    """Sum the power of each frame into bands; all views of a signal share this STFT.

    Shape: ``(samples,)`` to ``(frames, bands)``.
    """
    count = frame_count(len(signal), hop)
    samples = fft.padded(signal, n_fft, hop, count)
    if not _is_power_of_two(n_fft):
        return np.concatenate([power_in_bands(bins, filters) for bins in frame_spectra(samples, n_fft, hop, count)])
    out = np.empty((count, len(filters.first)), np.float32)
    passes, fold = fft.turns(n_fft)
    fft.write_bands(samples, hann_window(n_fft), hop, passes, fold, filters.weights, filters.starts, filters.first, out)
    return out


def power_in_bands(bins: npt.NDArray[np.complex128], filters: SparseFilters) -> Array:
    """Sum power into bands. Shape: ``(frames, bins)`` to ``(frames, bands)``."""
    power = np.square(bins.real) + np.square(bins.imag)
    pieces = np.split(filters.weights, filters.starts[1:-1])
    sums = [power[:, k : k + len(some)] @ some for k, some in zip(filters.first, pieces, strict=True)]
    return np.stack(sums, axis=1).astype(np.float32)


def power_to_db(power: Array, *, top_db: float | None) -> Array:
    """Convert power to dB re 1, at least -100 dB and at most ``top_db`` below the loudest value. Same shape.

    >>> power_to_db(np.float32([10.0, 1.0, 0.0]), top_db=80.0).tolist()
    [10.0, 0.0, -70.0]
    """
    level = np.maximum(power, np.float32(POWER_FLOOR))
    np.log(level, out=level)  # in place; log10 is not vectorised
    level *= np.float32(10 / np.log(10))
    return level if top_db is None else np.maximum(level, level.max() - np.float32(top_db))


def count_empty_bands(config: MelBands, rate: int) -> int:
    """Count the mel bands of a view at ``rate`` Hz whose filter has no weight.

    >>> [count_empty_bands(LogMel(n_fft=512, n_mels=n_mels), 16_000) for n_mels in (200, 64)]
    [3, 0]
    """
    bank = mel_filters(rate, config.n_fft, config.n_mels, config.fmin, config.fmax)
    return int((~bank.any(axis=1)).sum())


def empty_band_notes(configs: Iterable[MelBands], rate: int) -> list[str]:
    """Describe the views that have bands without an FFT bin, and the remedies; views with the same bands together.

    Raises:
        SettingError: all bands of a view are empty, or a view reaches beyond half the sample rate.
    """
    found: dict[tuple[object, ...], list[MelBands]] = {}
    for config in configs:
        check_band_limits(config, rate)
        if not isinstance(config, Mfcc) or config.mfcc:
            found.setdefault((config.n_fft, config.n_mels, config.fmin, config.fmax), []).append(config)
    return [
        _empty_band_note(views, empty, rate) for views in found.values() if (empty := count_empty_bands(views[0], rate))
    ]


def _empty_band_note(views: list[MelBands], empty: int, rate: int) -> str:
    config, names = views[0], " and ".join(view.section for view in views)
    remedies = _fewer_bands_remedy(config, rate) + _longer_frame_remedy(config, rate)
    if empty == config.n_mels:
        raise SettingError(
            f"params.yaml: {names}: none of the {empty} mel bands from {config.fmin} Hz on holds a bin of the FFT, so "
            f"all would be constant: {' or '.join(remedies or ['set fmin and fmax farther apart'])}."
        )
    note = f"{names}: {empty} of {config.n_mels} mel bands hold no bin of the FFT and are constant:"
    return f"{note}\n  {' or '.join(remedies or ['set fmin and fmax farther apart'])}"


def _fewer_bands_remedy(config: MelBands, rate: int) -> list[str]:
    """Suggest the largest ``n_mels`` found by bisection that leaves no band empty."""
    good, bad = 0, config.n_mels
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (good, middle) if count_empty_bands(_with_changes(config, n_mels=middle), rate) else (middle, bad)
    return [f"lower n_mels to {good}"] if good else []


def _longer_frame_remedy(config: MelBands, rate: int) -> list[str]:
    """Suggest the first doubling of ``n_fft`` that leaves no band empty."""
    doubled = takewhile(lambda n_fft: n_fft <= MAX_N_FFT, (config.n_fft * 2**power for power in count(1)))
    filled = (n_fft for n_fft in doubled if not count_empty_bands(_with_changes(config, n_fft=n_fft), rate))
    return [f"raise n_fft to {n_fft}" for n_fft in islice(filled, 1)]


def _with_changes(config: MelBands, **changed: int) -> LogMel:
    """Return the mel bands of a view with some settings changed."""
    names = ("n_fft", "hop", "n_mels", "fmin", "fmax")
    return LogMel(**{name: getattr(config, name) for name in names} | changed)
