"""A comparison in words: a table of scores and the verdict. A difference is written in points, hundredths of UAR."""

from collections.abc import Iterator, Sequence

from pipeline.evaluation.comparison import NO_DIFFERENCE, NOT_COMPARABLE, PAIRED, Comparison, Score
from pipeline.evaluation.wording import INTERVAL, MISSING, percent, things

GAP = "   "
SHORT = {NO_DIFFERENCE: "no difference shown", NOT_COMPARABLE: ""}


def lines(found: Comparison) -> Iterator[str]:
    """Write a comparison: what must be read first, the table, the verdict and what it rests on."""
    if found.stamp:
        yield from [found.stamp, ""]
    yield from aligned(table(found))
    yield ""
    yield sentence(found)
    if not found.faults:
        yield ground(found)


def table(found: Comparison) -> list[tuple[str, ...]]:
    """Set the scores in rows; of a single corpus the pooled ones say all."""
    head = ("", found.before, found.after, "difference", "95 % interval", "")
    corpora = [row(f"UAR {name}", score) for name, score in found.corpora.items()] if len(found.corpora) > 1 else []
    accuracy = ("accuracy", *map(percent, found.accuracy), "", "", "for information")
    return [head, row("UAR, pooled", found.pooled), *corpora, accuracy]


def row(name: str, score: Score) -> tuple[str, ...]:
    """Set one score in cells."""
    both = percent(score.before), percent(score.after)
    return name, *both, points(score.difference), between(score), SHORT.get(score.verdict, score.verdict)


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Align cells, words to the left and numbers to the right.

    >>> list(aligned([("", "main", ""), ("UAR", "61.7", "better")]))
    ['      main', 'UAR   61.7   better']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers, word in rows:
        cells = [name.ljust(widths[0]), *(cell.rjust(n) for cell, n in zip(numbers, widths[1:], strict=False)), word]
        yield GAP.join(cells).rstrip()


def points(difference: float | None) -> str:
    """Write a difference of shares in points, with the sign of whatever is not 0.

    >>> points(0.0312), points(-0.0004), points(0.0), points(None)
    ('+3.1', '-0.0', '0.0', '–')
    """
    if difference is None:
        return MISSING
    return f"{100 * difference:+.1f}" if difference else "0.0"


def between(score: Score) -> str:
    """Write the interval of a difference."""
    return MISSING if score.low is None else f"{points(score.low)} to {points(score.high)}"


def sentence(found: Comparison) -> str:
    """Say the verdict in a sentence."""
    if found.faults:
        return f"{NOT_COMPARABLE}: {'; '.join(found.faults)}."
    figures = f"{points(found.pooled.difference)} points of UAR"
    if found.pooled.low is not None:
        figures += f", 95 % interval {between(found.pooled)}"
    return f"{found.verdict}: {found.after} against {found.before}, {figures}."


def ground(found: Comparison) -> str:
    """Say how it was judged, and how small a difference could have been shown."""
    if found.pooled.half_width is None:
        return f"There is no interval: {INTERVAL}."
    smallest = f"{100 * found.pooled.half_width:.1f} points is about the smallest difference that these data can show"
    if found.way == PAIRED:
        return f"Paired, the same draws of {things(found.speakers, 'speaker')} for both; {smallest}."
    return f"Unpaired, from the interval of each, because {found.lack}; {smallest}."
