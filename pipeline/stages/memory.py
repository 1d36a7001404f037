"""Keep what is freed: each step of a training frees and asks for the same large tensors.

The C library of Linux gives large blocks back to the system at once and takes them anew, each page cleared and mapped
by the kernel, which costs a convolution on a CPU a good part of its time.
"""

import ctypes

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8  # of mallopt(3)
ALL = 2**31 - 1  # bytes
STEP = 2**26  # bytes taken from the system at once


def keep_freed() -> bool:
    """Tell the C library of this process to hold on to freed memory; say whether it could be told.

    Only glibc can be. Call it before threads are made, or they have pools of their own.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    wanted = {ARENA_MAX: 1, MMAP_MAX: 0, TRIM_THRESHOLD: ALL, TOP_PAD: STEP}
    return all(library.mallopt(name, value) == 1 for name, value in wanted.items())
