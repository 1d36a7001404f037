"""Freed memory is kept: the kernel need not clear the same pages for every step of a training."""

import ctypes
import subprocess
import sys

import pytest

LOOP = """
import resource, sys, threading
import numpy as np
from pipeline.train.stage import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones(10_000_000, np.float32)  # 40 MB, ten thousand pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

found = []
thread = threading.Thread(target=lambda: (faults(), found.append(faults())))
thread.start()
thread.join()
print(found[0])
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_pages_are_touched_once_and_not_at_every_step():
    """In a thread, since TensorFlow computes in threads."""
    counts = {
        word: int(subprocess.run([sys.executable, "-c", LOOP, word], capture_output=True, text=True, check=True).stdout)
        for word in ("plain", "keep")
    }
    assert counts["plain"] > 50 * max(1, counts["keep"]), counts
