"""One number per frame, taken from the samples themselves, as librosa 0.11 defines it.

Frames overlap, so each sample is looked at once, in blocks of which every frame is made.

It has no VERSION of its own: raise those of ``frontend`` and ``conditioning`` where this changes their numbers.
"""

from collections.abc import Callable
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.signal.compiled import compiled
from pipeline.signal.spectra import Array, frames

ZERO = np.float32(1e-10)  # a sample within this of zero has no sign of its own, it counts as positive


def zcr(signal: Array, *, n_fft: int, hop: int) -> Array:
    """Give the share of a frame's samples at which the sign turns, as if the outermost went on. Shape ``(frames,)``.

    >>> zcr(np.tile(np.float32([1, 1, -1, -1]), 64), n_fft=64, hop=64)[1].item()  # 31 of 64: a frame begins on a turn
    0.484375
    """
    inside = framewise(count_turns, signal, n_fft=n_fft, hop=hop)
    last = hop * np.arange(len(inside)) + n_fft // 2 - 1  # sample of a frame, whose turn belongs to its neighbour
    last = last[last < len(signal) - 1]
    inside[: len(last)] -= (signal[last] < -ZERO) != (signal[last + 1] < -ZERO)
    return (inside / n_fft).astype(np.float32)


def rms(signal: Array, *, n_fft: int, hop: int) -> Array:
    """Give the root mean square of each frame, zeros beyond the ends, of full scale 1. Shape ``(frames,)``."""
    mean: npt.NDArray[np.float64] = framewise(sum_squares, signal, n_fft=n_fft, hop=hop) / n_fft
    return np.sqrt(mean).astype(np.float32)


def framewise(function: Callable[..., None], signal: Array, *, n_fft: int, hop: int) -> npt.NDArray[np.float64]:
    """Sum up in centred frames what a function writes for blocks of a signal. Shape ``(frames,)``."""
    size = gcd(hop, n_fft // 2)  # the largest blocks at whose edges all frames begin and end
    blocks, sums = np.empty(-(-len(signal) // size)), np.empty(frames(len(signal), hop))
    function(signal, size, blocks)
    sum_frames(blocks, hop // size, n_fft // size, sums)
    return sums


@compiled
def count_turns(signal: Array, size: int, out: npt.NDArray[Any]) -> None:
    """Count of each block of ``size`` samples those that are followed by another sign."""
    for block in range(len(out)):
        here = signal[block * size : (block + 1) * size]
        after = signal[block * size + 1 : (block + 1) * size + 1]
        count = 0
        for i in range(len(after)):
            count += (here[i] < -ZERO) != (after[i] < -ZERO)
        out[block] = count


@compiled
def sum_squares(signal: Array, size: int, out: npt.NDArray[Any]) -> None:
    """Sum the squares of each block of ``size`` samples."""
    for block in range(len(out)):
        piece = signal[block * size : (block + 1) * size]
        even = odd = 0.0  # two sums, since one would wait for itself
        for i in range(len(piece) // 2):
            first, second = np.float64(piece[2 * i]), np.float64(piece[2 * i + 1])
            even, odd = even + first * first, odd + second * second
        if len(piece) % 2:
            even += np.float64(piece[-1]) ** 2
        out[block] = even + odd


@compiled
def sum_frames(blocks: npt.NDArray[Any], step: int, width: int, out: npt.NDArray[Any]) -> None:
    """Sum ``width`` blocks around every ``step``-th; there are zeros beyond the ends."""
    for frame in range(len(out)):
        total = 0.0
        for value in blocks[max(0, frame * step - width // 2) : max(0, frame * step + width // 2)]:
            total += value
        out[frame] = total
