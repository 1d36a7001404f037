"""How outputs write numbers and tables: counts, shares, scores, intervals, columns."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from tabulate import tabulate

MISSING = "–"
PERCENT = "\u00a0%"  # a no-break space, so that the sign never starts a line


def finite_number(value: Any) -> float | None:
    """Return a finite number as float; None for anything else, such as null and NaN.

    >>> finite_number(0.5), finite_number(None), finite_number(float("nan")), finite_number("text")
    (0.5, None, None, None)
    """
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def format_count(value: Any) -> str:
    """Format a count.

    >>> format_count(12697), format_count(None)
    ('12,697', '–')
    """
    return MISSING if finite_number(value) is None else f"{value:,.0f}"


def format_things(value: Any, name: str) -> str:
    """Format a count with its noun.

    >>> format_things(1, "fold"), format_things(1440, "clip")
    ('1 fold', '1,440 clips')
    """
    return f"{format_count(value)} {name}{'' if finite_number(value) == 1 else 's'}"


def format_speakers(value: Any) -> str:
    """Format a count of speakers; clips need not name any.

    >>> format_speakers(24), format_speakers(1), format_speakers(0), format_speakers(None)
    ('24 speakers', '1 speaker', 'no named speaker', '– speakers')
    """
    return "no named speaker" if finite_number(value) == 0 else format_things(value, "speaker")


def format_score(value: Any) -> str:
    """Format a score that is not a share, such as F1.

    >>> format_score(0.61), format_score(None)
    ('0.610', '–')
    """
    return MISSING if finite_number(value) is None else f"{value:.3f}"


def format_percent(value: Any, *, digits: int = 1) -> str:
    """Format a share in %, never rounding a positive share to 0 or one below 1 to 100.

    >>> [format_percent(share).replace(PERCENT, "%") for share in (0.6174, 0, 0.0004, 0.99999, 1, None)]
    ['61.7%', '0%', '< 0.1%', '> 99.9%', '100%', '–']
    """
    share, step = finite_number(value), 10**-digits
    if share is None:
        return MISSING
    if share in (0, 1):
        return f"{100 * share:.0f}{PERCENT}"
    if 0 < 100 * share < step / 2 or 0 < 100 - 100 * share < step / 2:
        return f"< {step:.{digits}f}{PERCENT}" if share < 0.5 else f"> {100 - step:.{digits}f}{PERCENT}"
    return f"{100 * share:.{digits}f}{PERCENT}"


def interval_ends(interval: Any) -> tuple[float, float] | None:
    """Return the two ends of an interval, or None if there is none.

    >>> interval_ends({"low": 0.5, "high": 0.6}), interval_ends({"low": None, "high": None}), interval_ends(None)
    ((0.5, 0.6), None, None)
    """
    values = interval if isinstance(interval, Mapping) else {}
    low, high = finite_number(values.get("low")), finite_number(values.get("high"))
    return None if low is None or high is None else (low, high)


def format_interval(interval: Any) -> str:
    """Format an interval in %.

    >>> format_interval({"low": 0.5712, "high": 0.6}).replace(PERCENT, "%")
    '57.1 to 60.0%'
    """
    ends = interval_ends(interval)
    return MISSING if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}{PERCENT}"


ALIGN = {"l": "left", "r": "right"}


def table_lines(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Lay out rows of cells in columns, ``l`` for words and ``r`` for numbers; the last column of words as it is.

    >>> table_lines([("", "main", ""), ("UAR", "61.7", "better")], "lrl")
    ['     main', 'UAR  61.7  better']
    """
    columns = [ALIGN[letter] for letter in align]
    last = None if align.endswith("l") else "right"  # None: no padding, and spaces in paths stay
    text = tabulate(rows, tablefmt="plain", colalign=[*columns[:-1], last], disable_numparse=True)
    return [line.rstrip() for line in text.splitlines()]
