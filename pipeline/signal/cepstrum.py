"""From log-mel bands to cepstral coefficients.

It has no VERSION of its own: raise ``frontend``'s where this changes its numbers.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pipeline.signal.compiled import compiled
from pipeline.signal.spectra import Array


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
