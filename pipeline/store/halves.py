"""Between float32 and float16, bit for bit what NumPy does with finite numbers, in a tenth of its time."""

import numpy as np
import numpy.typing as npt

from pipeline.signal.compiled import compiled

Bits = npt.NDArray[np.uint32]
Singles = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
SCALE = np.float32(2**112)  # between the exponents that the two count from


def widen(halves: Halves, out: Singles) -> None:
    """Write finite float16 as float32, exactly. Shapes ``(n,)``."""
    move(halves.view(np.uint16), out.view(np.uint32))
    out *= SCALE


@compiled
def move(halves: npt.NDArray[np.uint16], out: Bits) -> None:
    """Move sign, exponent and fraction to where float32 has them."""
    for i in range(len(halves)):
        bits = np.uint32(halves[i])
        out[i] = (bits & np.uint32(0x8000)) << np.uint32(16) | (bits & np.uint32(0x7FFF)) << np.uint32(13)


def narrow(singles: Singles) -> Halves:
    """Round float32 to the nearest float16, halfway to the even one. Any shape; all must lie within ±65504.

    >>> narrow(np.float32([-80.01, 2049])).tolist()
    [-80.0, 2048.0]
    """
    out = np.empty(singles.shape, np.float16)
    round_to_even(np.ascontiguousarray(singles).reshape(-1).view(np.uint32), out.reshape(-1).view(np.uint16))
    return out


@compiled
def round_to_even(singles: Bits, out: npt.NDArray[np.uint16]) -> None:
    """Write the upper bits, rounded: half of the last one kept is added before the rest is cut off."""
    least = np.uint32(0x38800000)  # 2**-14, below which float16 has a fixed exponent
    for i in range(len(singles)):
        sign, bits = singles[i] >> np.uint32(16) & np.uint32(0x8000), singles[i] & np.uint32(0x7FFFFFFF)
        odd = bits >> np.uint32(13) & np.uint32(1)
        large = (bits - np.uint32(0x38000000) + np.uint32(0xFFF) + odd) >> np.uint32(13)
        shift = min(np.uint32(126) - (bits >> np.uint32(23)), np.uint32(31)) if bits < least else np.uint32(0)
        fraction = bits & np.uint32(0x7FFFFF) | np.uint32(0x800000)
        small = (
            fraction + (np.uint32(1) << shift >> np.uint32(1)) - np.uint32(1) + (fraction >> shift & np.uint32(1))
        ) >> shift
        out[i] = sign | (small if bits < least else large)
