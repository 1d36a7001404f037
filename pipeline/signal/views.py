"""The views of a signal: log-mel bands, and MFCC with zero-crossing rate, RMS and chroma, from one STFT.

Definitions are librosa's: centred frames, zeros beyond the ends, periodic Hann, Slaney mel, orthonormal DCT-II.
Zero crossings and RMS are summed over blocks, since overlapping frames would visit each sample several times. Views are
not standardised by default: loudness carries emotion.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import cache, lru_cache
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.dataset.functionals import delta
from pipeline.signal.fft import compiled
from pipeline.signal.settings import LogMel, MelBands, Mfcc, check_band_limits
from pipeline.signal.stft import (
    Array,
    SparseFilters,
    band_power,
    frame_count,
    join_filters,
    power_to_db,
    sparse_mel_filters,
    to_sparse,
)


def _mfcc_from_log_mel(levels: Array, *, n_mfcc: int) -> Array:
    """Compute cepstral coefficients in dB from log-mel bands. Shape: ``(frames, n_mels)`` to ``(frames, n_mfcc)``.

    SciPy's DCT would compute all coefficients, and takes longer to import than a hundred clips to extract.
    """
    out = np.empty((len(levels), n_mfcc), np.float32)
    _write_dct(levels, _dct_basis(levels.shape[1], n_mfcc), out)
    return out


@lru_cache
def _dct_basis(n_mels: int, n_mfcc: int) -> npt.NDArray[np.float64]:
    """Return the basis of the orthonormal DCT-II, one coefficient per column. Shape ``(n_mels, n_mfcc)``."""
    basis: npt.NDArray[np.float64] = np.sqrt(2 / n_mels) * np.cos(
        np.pi / n_mels * np.outer(np.arange(n_mels) + 0.5, np.arange(n_mfcc))
    )
    basis[:, 0] = np.sqrt(1 / n_mels)
    basis.flags.writeable = False
    return basis


@compiled(apart=True)
def _write_dct(levels: Array, basis: npt.NDArray[np.float64], out: Array) -> None:
    """Write the matrix product of levels and basis; BLAS would round differently on another processor."""
    sums = np.empty(basis.shape[1])
    for frame in range(len(levels)):
        for k in range(len(sums)):
            sums[k] = 0
        for band in range(len(basis)):
            level, cosines = levels[frame, band], basis[band]
            for k in range(len(cosines)):
                sums[k] += level * cosines[k]
        for k in range(len(sums)):  # assigning arrays would compile numba's message about unequal shapes, for 3 s
            out[frame, k] = sums[k]


PITCH_CLASSES = ("c", "cs", "d", "ds", "e", "f", "fs", "g", "gs", "a", "as", "b")  # s: sharp


def chroma_from_power(power: Array) -> Array:
    """Scale the power in `chroma_filters` by the strongest of `PITCH_CLASSES`. Shape ``(frames, 12)``, the same.

    Equal temperament with A = 440 Hz; digital silence is 0 in all classes. Same numbers as
    ``librosa.feature.chroma_stft`` with ``tuning=0`` (after Ellis, Chroma feature analysis and synthesis, 2007).

    >>> chroma_from_power(np.float32([[2, 1] + 10 * [0]])).round(1).tolist()[0][:3]
    [1.0, 0.5, 0.0]
    """
    peak = power.max(axis=1, keepdims=True)
    return np.asarray(power / np.where(peak < np.finfo(np.float32).tiny, np.float32(1), peak), np.float32)


@lru_cache
def chroma_filters(rate: int, n_fft: int) -> SparseFilters:
    """Make the chroma filters: a semitone wide in each octave, middle octaves weighted more."""
    from librosa.filters import chroma as filters

    weights: Array = filters(sr=rate, n_fft=n_fft, tuning=0.0)
    return to_sparse(weights)


ZERO_THRESHOLD = np.float32(1e-10)  # samples from minus this on count as positive


def zero_crossing_rate(signal: Array, *, n_fft: int, hop: int) -> Array:
    """Compute the share of a frame's samples at which the sign changes, ends repeated. Shape ``(frames,)``.

    >>> signal = np.tile(np.float32([1, 1, -1, -1]), 64)
    >>> zero_crossing_rate(signal, n_fft=64, hop=64)[1].item()  # 31 of 64: the frame begins at a change
    0.484375
    """
    inside = _sum_per_frame(_count_sign_changes, signal, n_fft=n_fft, hop=hop)
    last = hop * np.arange(len(inside)) + n_fft // 2 - 1  # last sample of a frame: a change after it does not count
    last = last[last < len(signal) - 1]
    inside[: len(last)] -= (signal[last] < -ZERO_THRESHOLD) != (signal[last + 1] < -ZERO_THRESHOLD)
    return (inside / n_fft).astype(np.float32)


def rms(signal: Array, *, n_fft: int, hop: int) -> Array:
    """Compute the root mean square of each frame re full scale 1, zeros beyond the ends. Shape ``(frames,)``."""
    mean: npt.NDArray[np.float64] = _sum_per_frame(_sum_squares, signal, n_fft=n_fft, hop=hop) / n_fft
    return np.sqrt(mean).astype(np.float32)


def _sum_per_frame(function: Callable[..., None], signal: Array, *, n_fft: int, hop: int) -> npt.NDArray[np.float64]:
    """Sum over centred frames what ``function`` writes for blocks of the signal. Shape ``(frames,)``."""
    size = gcd(hop, n_fft // 2)  # the largest blocks at whose edges all frames begin and end
    blocks, sums = np.empty(-(-len(signal) // size)), np.empty(frame_count(len(signal), hop))
    function(signal, size, blocks)
    _sum_blocks_per_frame(blocks, hop // size, n_fft // size, sums)
    return sums


@compiled
def _count_sign_changes(signal: Array, size: int, out: npt.NDArray[Any]) -> None:
    """Count the sign changes from one sample to the next in each block of ``size`` samples."""
    for block in range(len(out)):
        here = signal[block * size : (block + 1) * size]
        after = signal[block * size + 1 : (block + 1) * size + 1]
        count = 0
        for i in range(len(after)):
            count += (here[i] < -ZERO_THRESHOLD) != (after[i] < -ZERO_THRESHOLD)
        out[block] = count


@compiled
def _sum_squares(signal: Array, size: int, out: npt.NDArray[Any]) -> None:
    """Sum the squares of each block of ``size`` samples."""
    for block in range(len(out)):
        piece = signal[block * size : (block + 1) * size]
        even = odd = 0.0  # two independent sums run in parallel
        for i in range(len(piece) // 2):
            first, second = np.float64(piece[2 * i]), np.float64(piece[2 * i + 1])
            even, odd = even + first * first, odd + second * second
        if len(piece) % 2:
            even += np.float64(piece[-1]) ** 2
        out[block] = even + odd


@compiled
def _sum_blocks_per_frame(blocks: npt.NDArray[Any], step: int, width: int, out: npt.NDArray[Any]) -> None:
    """Sum ``width`` blocks around every ``step``-th one, zeros beyond the ends."""
    for frame in range(len(out)):
        total = 0.0
        for value in blocks[max(0, frame * step - width // 2) : max(0, frame * step + width // 2)]:
            total += value
        out[frame] = total


EPSILON = 1e-8  # added to the standard deviation, so that constant values become zero


def _standardise_view(view: Array, by: str | None) -> Array:
    """Scale a view to mean 0 and standard deviation 1. Same shape, ``(frames, bins)``.

    >>> _standardise_view(np.float32([[0, 10], [2, 30]]), "bins").tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """
    if by is None:
        return view
    axis = 0 if by == "bins" else None
    exact = view.astype(np.float64)  # float32 sums would depend on the processor
    centred = exact - exact.mean(axis=axis, keepdims=True)
    return np.asarray(centred / (exact.std(axis=axis, keepdims=True) + EPSILON), np.float32)


def _clip_values(view: Array, largest: float | None) -> Array:
    """Clip to ±``largest``. Same shape.

    >>> _clip_values(np.float32([-7, 0, 6]), 5.0).tolist()
    [-5.0, 0.0, 5.0]
    """
    return view if largest is None else np.clip(view, -np.float32(largest), np.float32(largest))


def pad_frames(view: Array, frames: int) -> Array:
    """Append frames of zeros, to shape ``(frames, bins)``."""
    return np.pad(view, ((0, frames - len(view)), (0, 0))) if len(view) < frames else view


VERSION = 3  # raise it if the same settings give other numbers, also in stft, fft and functionals.delta


def compute_views(signal: Array, rate: int, configs: Mapping[str, MelBands]) -> dict[str, Array]:
    """Compute all views of a signal at ``rate`` Hz; views with equal settings share one STFT.

    >>> out = compute_views(np.ones(48_000, np.float32), 16_000, {"logmel": LogMel(), "mfcc": Mfcc()})
    >>> {name: tensor.shape for name, tensor in out.items()}
    {'logmel': (188, 64), 'mfcc': (188, 22)}

    Raises:
        SettingError: a view reaches beyond half the sample rate.
    """
    for config in configs.values():
        check_band_limits(config, rate)
    powers = _band_powers(signal, rate, configs.values())
    parts = {
        config: chroma_from_power(power) if isinstance(config, Mfcc) else _power_levels(power, config)
        for config, power in powers.items()
    }
    return {name: _scale_view(_assemble_view(signal, config, parts), config) for name, config in configs.items()}


def _scale_view(view: Array, config: MelBands) -> Array:
    """Standardise and clip a view as its settings say. Same shape, ``(frames, bins)``."""
    return _clip_values(_standardise_view(view, config.normalise), config.limit)


def _power_levels(power: Array, config: MelBands) -> Array:
    """Convert power to dB re 1, or re the loudest value. Same shape."""
    level = power_to_db(power, top_db=config.top_db)
    return level - level.max() if config.reference == "max" else level


def _band_powers(signal: Array, rate: int, configs: Iterable[MelBands]) -> dict[MelBands, Array]:
    """Compute the band powers that views need: mel bands by their `LogMel`, pitch classes by their `Mfcc`."""
    wanted: dict[tuple[int, int], dict[MelBands, None]] = {}
    for config in configs:
        wanted.setdefault((config.n_fft, config.hop), {}).update(dict.fromkeys(_needed_powers(config)))
    result: dict[MelBands, Array] = {}
    for (n_fft, hop), needed in wanted.items():
        if needed:
            filters, ends = _joint_filters(tuple(needed), rate)
            power = band_power(signal, filters, n_fft=n_fft, hop=hop)
            result |= dict(zip(needed, np.split(power, ends, axis=1), strict=True))
    return result


def _needed_powers(config: MelBands) -> list[MelBands]:
    """Return what the view needs of `_band_powers`: its mel bands, and with chroma the view itself."""
    mel: list[MelBands] = [_log_mel_of(config)] if not isinstance(config, Mfcc) or config.mfcc else []
    return [*mel, config] if isinstance(config, Mfcc) and config.chroma else mel


@lru_cache
def _joint_filters(wanted: tuple[MelBands, ...], rate: int) -> tuple[SparseFilters, tuple[int, ...]]:
    """Join the filters of several band powers; return where each but the first begins, too."""
    banks = [
        chroma_filters(rate, each.n_fft)
        if isinstance(each, Mfcc)
        else sparse_mel_filters(rate, each.n_fft, each.n_mels, each.fmin, each.fmax)
        for each in wanted
    ]
    return join_filters(banks), tuple(int(end) for end in np.cumsum([len(each.first) for each in banks])[:-1])


def _assemble_view(signal: Array, config: MelBands, parts: Mapping[MelBands, Array]) -> Array:
    """Assemble one view from log-mel bands and chroma. Shape ``(frames, bins)``."""
    if not isinstance(config, Mfcc):
        return parts[_log_mel_of(config)]
    blocks = _zcr_and_rms(signal, config)
    if config.mfcc:
        cepstrum = _mfcc_from_log_mel(parts[_log_mel_of(config)], n_mfcc=config.n_mfcc)
        blocks += [cepstrum, *(delta(cepstrum, order=order) for order in range(1, config.deltas + 1))]
    if config.chroma:
        blocks.append(parts[config])
    return np.concatenate(blocks, axis=1)


@cache
def _log_mel_of(config: MelBands) -> LogMel:
    """Return the log-mel view on which a view is based, before any scaling by the clip."""
    names = {field.name for field in fields(MelBands)} - {"normalise", "limit"}
    return LogMel(**{name: getattr(config, name) for name in names})


def _zcr_and_rms(signal: Array, config: Mfcc) -> list[Array]:
    """Compute the columns before the MFCC, each of shape ``(frames, 1)``."""
    wanted = [function for function, on in ((zero_crossing_rate, config.zcr), (rms, config.rms)) if on]
    return [function(signal, n_fft=config.n_fft, hop=config.hop)[:, None] for function in wanted]


def bin_names(config: MelBands) -> tuple[str, ...]:
    """Name the bins of a view, the second axis of its array.

    >>> bin_names(Mfcc(n_mfcc=2, deltas=1)), bin_names(LogMel())[:2]
    (('zcr', 'rms', 'mfcc_01', 'mfcc_02', 'delta_01', 'delta_02'), ('mel_001', 'mel_002'))
    """
    if not isinstance(config, Mfcc):
        return tuple(f"mel_{band:03d}" for band in range(1, config.n_mels + 1))
    head = tuple(name for name in ("zcr", "rms") if getattr(config, name))
    kinds = ("mfcc", "delta", "delta2")[: config.deltas + 1] if config.mfcc else ()
    cepstral = tuple(f"{kind}_{k:02d}" for kind in kinds for k in range(1, config.n_mfcc + 1))
    return head + cepstral + tuple(f"chroma_{name}" for name in PITCH_CLASSES if config.chroma)


def view_unit(config: MelBands) -> str:
    """Describe the unit of a view.

    >>> view_unit(LogMel()), view_unit(Mfcc(rms=False)), view_unit(LogMel(normalise="clip"))
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
