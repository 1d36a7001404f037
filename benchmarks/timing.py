"""Measure times and their ratios; the machine cancels out if both sides run alternately."""

import contextlib
import io
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")
Ratio = dict[str, float]


def seconds(function: Callable[[], Any]) -> float:
    """Time one call."""
    return clocked(function)[0]


def clocked(function: Callable[[], Result]) -> tuple[float, Result]:
    """Time one call and return its result too."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Return how many times as long theirs takes as ours, from the seconds of rounds with the same work.

    >>> ratio([3.0, 8.0, 4.0], [1.0, 2.0, 2.0])
    {'median': 3.0, 'lowest': 2.0}
    """
    every = [other / own for other, own in zip(theirs, ours, strict=True)]
    return {"median": round(statistics.median(every), 2), "lowest": round(min(every), 2)}


def milliseconds(every: Sequence[float], count: int = 1) -> float:
    """Return the median of some seconds as milliseconds for each of `count` items."""
    return round(1000 * statistics.median(every) / count, 3)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what stages print."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
