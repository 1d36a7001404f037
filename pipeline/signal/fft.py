"""The FFT of many frames at once, compiled by numba, and the decorator that compiles loops.

Stockham's FFT of radix 4, which needs no sorting (C. Van Loan, Computational Frameworks for the FFT, 1992, 1.7), of
half the size, since even and odd samples of a real frame fit one complex number (Press et al., Numerical Recipes,
12.3). In float64: in float32 the rounding of a loud vowel drowns its quiet bands, by up to 1.5e-3 dB on real speech.
What a group of eight needs fits the processor's cache, where the spectra of a whole clip would not.
"""

from collections.abc import Callable
from functools import cache, lru_cache, partial, wraps
from types import FunctionType
from typing import Any, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def compiled(function: Function) -> Function: ...
@overload
def compiled(*, apart: bool) -> Callable[[Function], Function]: ...
def compiled(function: Any = None, *, apart: bool = False) -> Any:
    """Compile a function with numba at its first call; the machine code is cached on disk where that is possible.

    Compiled late because numba takes as long to import as all else together, and features from the clip cache don't
    need it. Division by zero gives infinity, as in NumPy: a check would prevent vectorisation. No ``fastmath``: results
    would depend on the processor.

    Args:
        function: what to compile; it may call other compiled functions of its module.
        apart: whether no two array arguments overlap (``noalias``), which lets loops over several arrays be vectorised.
    """
    if function is None:
        return partial(compiled, apart=apart)

    @cache
    def machine() -> Callable[..., Any]:
        import numba

        options = {"pipeline_class": _noalias_compiler()} if apart else {}
        try:
            return cast(
                "Callable[..., Any]", numba.njit(cache=True, error_model="numpy", **options)(_link_compiled(function))
            )
        except RuntimeError:  # neither the folder of this file nor the user's cache folder is writable
            return cast("Callable[..., Any]", numba.njit(error_model="numpy", **options)(_link_compiled(function)))

    @wraps(function)
    def call(*args: Any) -> Any:
        return machine()(*args)

    call.machine = machine  # type: ignore[attr-defined]
    return call


def _link_compiled(function: FunctionType) -> FunctionType:
    """Make a function call the machine code of the compiled functions that it names."""
    known: dict[str, Any] = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    machines = {name: each.machine() for name, each in known.items() if hasattr(each, "machine")}
    twin = FunctionType(function.__code__, function.__globals__ | machines, function.__name__, function.__defaults__)
    return cast("FunctionType", wraps(function)(twin)) if machines else function


@cache
def _noalias_compiler() -> type:
    """Return the compiler that assumes arrays do not overlap (numba: "Customizing the Compiler")."""
    from numba.core.compiler import CompilerBase, DefaultPassBuilder

    class Apart(CompilerBase):  # type: ignore[misc]
        def define_pipelines(self) -> list[Any]:
            self.state.flags.noalias = True
            return [DefaultPassBuilder.define_nopython_pipeline(self.state)]

    return Apart


Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
LANES = 8  # frames side by side
TILE = 64  # samples put in place for all lanes before the next: what stays in the nearest cache
APART = 128  # float64 between working arrays: at a distance of whole pages they would drive each other out of the cache


@lru_cache
def turns(size: int) -> tuple[Doubles, Doubles]:
    """Give the cosines and sines that transforms of ``size`` samples turn by: of the passes, and of the real frame.

    Shapes: ``(rows, 6)``, the rows of one pass after those of another, and ``(size // 2, 2)``.
    """
    passes, n = [np.empty((0, 6))], size // 2
    while n >= 4:
        angle = 2 * np.pi / n * np.outer(np.arange(n // 4), (1, 2, 3))
        passes.append(np.stack([np.cos(angle), np.sin(angle)], axis=2).reshape(-1, 6))
        n //= 4
    angle = 2 * np.pi / size * np.arange(size // 2)
    tables = np.concatenate(passes), np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for table in tables:
        table.flags.writeable = False
    return tables


def padded(signal: Array, size: int, hop: int, count: int) -> Array:
    """Put zeros before and after a signal, so that ``count`` centred frames and the rest of their group lie within."""
    groups = -(-count // LANES)
    out = np.zeros(max((groups * LANES - 1) * hop, len(signal)) + size, np.float32)
    out[size // 2 : size // 2 + len(signal)] = signal
    return out


@compiled
def write_bands(
    samples: Array, taper: Doubles, hop: int, passes: Doubles, fold: Doubles,
    weights: Array, starts: Whole, first: Whole, out: Array,
) -> None:  # fmt: skip
    """Write the power in bands of frames that begin at 0, ``hop``, 2 ``hop`` and so on.

    Args:
        samples: as `padded` gives them.
        taper: ``(size,)``, the window; ``size`` is a power of 2.
        hop: samples.
        passes: of `turns`, like ``fold``.
        fold: of `turns`.
        weights: those of band b are ``weights[starts[b] : starts[b + 1]]``.
        starts: ``(bands + 1,)``.
        first: ``(bands,)``, the bin that a band's first weight belongs to.
        out: ``(frames, bands)``.
    """
    half, room = len(taper) // 2, np.empty(2 * len(taper) * LANES + 4 * APART)
    lanes, sums = np.empty((2, half + 1, LANES), np.float32), np.empty((len(first), LANES), np.float32)
    for top in range(0, len(out), LANES):
        real, imag = spectrum(samples[top * hop :], taper, hop, passes, room)
        unfold(real, imag, fold, lanes[0], lanes[1], lanes[0], lanes[1])
        square(lanes[0].reshape(-1), lanes[1].reshape(-1))
        sum_bands(lanes[0], weights, starts, first, sums)
        for lane in range(min(LANES, len(out) - top)):
            row = out[top + lane]
            for band in range(len(row)):
                row[band] = sums[band, lane]


@compiled
def write_planes(
    samples: Array, taper: Doubles, hop: int, passes: Doubles, fold: Doubles, real_out: Array, imag_out: Array
) -> None:
    """Write the spectra themselves, rounded to float32. Shapes: ``(frames, size // 2 + 1)``; else as `write_bands`."""
    half, room = len(taper) // 2, np.empty(2 * len(taper) * LANES + 4 * APART)
    lanes = np.empty((2, half + 1, LANES), np.float32)
    for top in range(0, len(real_out), LANES):
        real, imag = spectrum(samples[top * hop :], taper, hop, passes, room)
        unfold(real, imag, fold, lanes[0], lanes[1], lanes[0], lanes[1])
        for lane in range(min(LANES, len(real_out) - top)):
            row, row_i = real_out[top + lane], imag_out[top + lane]
            for k in range(len(row)):
                row[k], row_i[k] = lanes[0, k, lane], lanes[1, k, lane]


@compiled
def spectrum(samples: Array, taper: Doubles, hop: int, passes: Doubles, room: Doubles) -> tuple[Doubles, Doubles]:
    """Transform eight frames; give real and imaginary part, of which `unfold` makes spectra. Shapes ``(half, 8)``."""
    half = len(taper) // 2
    size = half * LANES
    real, imag = room[:size], room[size + APART : 2 * size + APART]
    real_2, imag_2 = room[2 * (size + APART) : 3 * size + 2 * APART], room[3 * (size + APART) : 4 * size + 3 * APART]
    place(samples, taper, hop, real.reshape(half, LANES), imag.reshape(half, LANES))
    n, length, done = half, LANES, 0  # series, numbers in each
    while n >= 4:
        n //= 4
        a, b = real.reshape(4, n, length), imag.reshape(4, n, length)
        c, d = real_2.reshape(4 * n, length), imag_2.reshape(4 * n, length)
        quarter(
            a[0], b[0], a[1], b[1], a[2], b[2], a[3], b[3],
            c, d, c[1:], d[1:], c[2:], d[2:], c[3:], d[3:], passes[done : done + n],
        )  # fmt: skip
        done += n
        length *= 4
        real, real_2 = real_2, real
        imag, imag_2 = imag_2, imag
    if n == 2:
        halve(
            real[:length], imag[:length], real[length:], imag[length:],
            real_2[:length], imag_2[:length], real_2[length:], imag_2[length:],
        )  # fmt: skip
        real, imag = real_2, imag_2
    return real.reshape(half, LANES), imag.reshape(half, LANES)


@compiled(apart=True)
def place(samples: Array, taper: Doubles, hop: int, real: Doubles, imag: Doubles) -> None:
    """Put even samples times the window into the real part, odd ones into the imaginary part."""
    for first in range(0, len(real), TILE):
        count = min(TILE, len(real) - first)
        window, rest = taper[2 * first : 2 * (first + count)], samples[2 * first :]
        a, b, c, d = rest, rest[hop:], rest[2 * hop :], rest[3 * hop :]
        e, f, g, h = rest[4 * hop :], rest[5 * hop :], rest[6 * hop :], rest[7 * hop :]
        for i in range(count):
            row, even, odd = real[first + i], window[2 * i], window[2 * i + 1]
            row[0], row[1], row[2], row[3] = a[2 * i] * even, b[2 * i] * even, c[2 * i] * even, d[2 * i] * even
            row[4], row[5], row[6], row[7] = e[2 * i] * even, f[2 * i] * even, g[2 * i] * even, h[2 * i] * even
            row, j = imag[first + i], 2 * i + 1
            row[0], row[1], row[2], row[3] = a[j] * odd, b[j] * odd, c[j] * odd, d[j] * odd
            row[4], row[5], row[6], row[7] = e[j] * odd, f[j] * odd, g[j] * odd, h[j] * odd


@compiled(apart=True)
def quarter(
    a: Doubles, a_: Doubles, b: Doubles, b_: Doubles, c: Doubles, c_: Doubles, d: Doubles, d_: Doubles,
    w: Doubles, w_: Doubles, x: Doubles, x_: Doubles, y: Doubles, y_: Doubles, z: Doubles, z_: Doubles, turns: Doubles,
) -> None:  # fmt: skip
    """Pass from ``n`` series to ``n / 4`` of four times the length; the imaginary part of ``a`` is ``a_``.

    ``a`` to ``d`` are the quarters of what is read; ``w`` to ``z`` begin at the first four rows of what is written, of
    which each takes every fourth.
    """
    for p in range(len(turns)):
        cos, sin, cos_2, sin_2 = turns[p, 0], turns[p, 1], turns[p, 2], turns[p, 3]
        cos_3, sin_3 = turns[p, 4], turns[p, 5]
        ar, ai, br, bi, cr, ci, dr, di = a[p], a_[p], b[p], b_[p], c[p], c_[p], d[p], d_[p]
        wr, wi, xr, xi = w[4 * p], w_[4 * p], x[4 * p], x_[4 * p]
        yr, yi, zr, zi = y[4 * p], y_[4 * p], z[4 * p], z_[4 * p]
        for q in range(len(ar)):
            even, even_i, odd, odd_i = ar[q] + cr[q], ai[q] + ci[q], br[q] + dr[q], bi[q] + di[q]
            wr[q], wi[q] = even + odd, even_i + odd_i
            t, t_i = even - odd, even_i - odd_i
            yr[q], yi[q] = t * cos_2 + t_i * sin_2, t_i * cos_2 - t * sin_2
            even, even_i, odd, odd_i = ar[q] - cr[q], ai[q] - ci[q], br[q] - dr[q], bi[q] - di[q]
            t, t_i = even + odd_i, even_i - odd
            xr[q], xi[q] = t * cos + t_i * sin, t_i * cos - t * sin
            t, t_i = even - odd_i, even_i + odd
            zr[q], zi[q] = t * cos_3 + t_i * sin_3, t_i * cos_3 - t * sin_3


@compiled(apart=True)
def halve(a: Doubles, a_: Doubles, b: Doubles, b_: Doubles, y: Doubles, y_: Doubles, z: Doubles, z_: Doubles) -> None:
    """Do the last pass where half the size is an odd power of 2."""
    for q in range(len(a)):
        y[q], y_[q], z[q], z_[q] = a[q] + b[q], a_[q] + b_[q], a[q] - b[q], a_[q] - b_[q]


@compiled(apart=True)
def unfold(real: Doubles, imag: Doubles, turns: Doubles, low: Array, low_i: Array, high: Array, high_i: Array) -> None:
    """Tell the spectra of even and odd samples apart and put them together; ``high`` is ``low``, from its end."""
    half = len(real)
    for q in range(LANES):
        low[0, q], low_i[0, q] = real[0, q] + imag[0, q], 0
        low[half // 2, q], low_i[half // 2, q] = real[half // 2, q], -imag[half // 2, q]
        high[half, q], high_i[half, q] = real[0, q] - imag[0, q], 0
    for k in range(1, half // 2):
        cos, sin = turns[k, 0], turns[k, 1]
        ar, ai, br, bi = real[k], imag[k], real[half - k], imag[half - k]
        lr, li, hr, hi = low[k], low_i[k], high[half - k], high_i[half - k]
        for q in range(len(ar)):
            even, even_i, odd, odd_i = ar[q] + br[q], ai[q] - bi[q], ai[q] + bi[q], br[q] - ar[q]
            t, t_i = odd * cos + odd_i * sin, odd_i * cos - odd * sin
            lr[q], li[q] = 0.5 * (even + t), 0.5 * (even_i + t_i)
            hr[q], hi[q] = 0.5 * (even - t), 0.5 * (t_i - even_i)


@compiled(apart=True)
def square(real: Array, imag: Array) -> None:
    """Put the power where the real part was."""
    for i in range(len(real)):
        real[i] = real[i] * real[i] + imag[i] * imag[i]


@compiled(apart=True)
def sum_bands(power: Array, weights: Array, starts: Whole, first: Whole, out: Array) -> None:
    """Sum power of shape ``(bins, 8)`` into bands of shape ``(bands, 8)``."""
    for band in range(len(first)):
        into, before = out[band], first[band] - starts[band]
        for q in range(len(into)):
            into[q] = 0
        for k in range(starts[band], starts[band + 1]):
            weight, row = weights[k], power[before + k]
            for q in range(len(into)):
                into[q] += weight * row[q]
