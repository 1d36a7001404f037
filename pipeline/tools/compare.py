"""``compare``: which of two runs scores better, by an interval of the difference of their UAR.

Where both predicted the same clips, a bootstrap draws the same speakers for both (Efron & Tibshirani 1993, An
Introduction to the Bootstrap; Bisani & Ney 2004, doi:10.1109/ICASSP.2004.1326009): what makes a speaker hard for both
cancels out. Without predictions there are only the two intervals of ``metrics/details.json``, taken as independent.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from pipeline.evaluate import metrics
from pipeline.report.tables import part
from pipeline.report.wording import INTERVAL
from pipeline.split.leakage import warning_stamp
from pipeline.text import MISSING, format_percent, format_things, interval_ends
from pipeline.text_table import table_lines
from pipeline.tools.runs import Run, checked, faults, rows, section, uar, value

SEED, REPEATS = 1993, 10_000  # so many, because for few speakers the interval ends far out
DIGITS = 6

BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference that these data can show"
NOT_COMPARABLE = "not comparable"
PAIRED, UNPAIRED = "paired", "unpaired"

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Score:
    """UAR of both, as shares, and the interval of the second less the first; None where it cannot be judged."""

    before: float | None
    after: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    half_width: float | None = None  # about the smallest difference that these data could have shown
    verdict: str = NOT_COMPARABLE


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of it. The verdict is on all clips together; corpora and accuracy are for information."""

    before: str
    after: str
    verdict: str
    faults: list[str]  # why they are not comparable
    way: str  # paired or unpaired
    lack: str  # why it is not paired
    speakers: int
    pooled: Score
    corpora: dict[str, Score]
    accuracy: tuple[float | None, float | None]
    stamp: str  # what must be read before any number


def compare_runs(one: Run, two: Run) -> Comparison:
    """Say whether the second side is better than the first, where that can be said.

    Nothing is judged if protocols, classes, test clips or the kind of speech differ, or test rows leak from training.
    """
    one, two = checked(one), checked(two)
    wrong = faults(one, two)
    way = UNPAIRED if one.lack or two.lack else PAIRED
    shared = sorted(set(part(one.figures, "corpus")) & set(part(two.figures, "corpus")))
    judge = beside if wrong else {PAIRED: paired, UNPAIRED: unpaired}[way]
    pooled = judge(one, two, "")
    return Comparison(
        before=one.name,
        after=two.name,
        verdict=pooled.verdict,
        faults=wrong,
        way=way,
        lack=" and ".join(filter(None, (one.lack, two.lack))),
        speakers=int(value(two, "", "speakers") or 0),
        pooled=pooled,
        corpora={name: judge(one, two, name) for name in shared},
        accuracy=(value(one, "", "wa"), value(two, "", "wa")),
        stamp=" · ".join(dict.fromkeys([*warnings(one), *warnings(two)])),
    )


def warnings(side: Run) -> list[str]:
    """Give what must be read before the numbers of one side."""
    own = f"{side.name} is standardised by each speaker's own test clips" if side.figures.get("transductive") else ""
    return [mark for mark in (str(side.figures.get("stamp") or warning_stamp(side.figures)), own) if mark]


def beside(one: Run, two: Run, corpus: str) -> Score:
    """Put two scores side by side without judging them."""
    return Score(before=value(one, corpus, "uar"), after=value(two, corpus, "uar"))


def paired(one: Run, two: Run, corpus: str) -> Score:
    """Judge two scores by their predictions for the same clips, of a corpus or of all for ""."""
    first, second = rows(one, corpus), rows(two, corpus)
    return judged(uar(first), uar(second), redrawn(first, second))


def unpaired(one: Run, two: Run, corpus: str) -> Score:
    """Judge two scores by their own intervals: the standard error of a difference is the root of the sum of squares."""
    score = beside(one, two, corpus)
    spans = [interval_ends(section(side, corpus).get("uar_ci95")) for side in (one, two)]
    if score.before is None or score.after is None:
        return score
    half = math.hypot(*((span[1] - span[0]) / 2 for span in spans if span))  # 1.96 standard errors
    middle = score.after - score.before
    return judged(score.before, score.after, (middle - half, middle + half) if all(spans) else None)


def judged(before: float, after: float, interval: Interval | None) -> Score:
    """Turn the interval of a difference into a verdict; without one the data can show nothing."""
    low, high = (round(end, DIGITS) for end in interval) if interval else (None, None)
    half_width = None if low is None or high is None else round((high - low) / 2, DIGITS)
    return Score(
        before=before,
        after=after,
        difference=round(after - before, DIGITS),
        low=low,
        high=high,
        half_width=half_width,
        verdict=verdict(low, high),
    )


def verdict(low: float | None, high: float | None) -> str:
    """Say on which side of 0 an interval lies.

    >>> verdict(0.01, 0.05), verdict(-0.05, -0.01), verdict(0.0, 0.05)
    ('better', 'worse', 'no difference that these data can show')
    """
    if low is not None and low > 0:
        return BETTER
    return WORSE if high is not None and high < 0 else NO_DIFFERENCE


def redrawn(first: pd.DataFrame, second: pd.DataFrame) -> Interval | None:
    """95 % interval of the second UAR less the first, from the same draws of speakers for both.

    None with fewer than five speakers, or where the speaker of a clip is unknown.
    """
    people = metrics.cast(list(first["speaker"]))
    if not people:
        return None
    draws = metrics.draw(len(people), seed=SEED, repeats=REPEATS)
    uars = [metrics.redrawn(matrices(table, people), draws) for table in (first, second)]
    end = tail(len(people))
    low, high = np.percentile(uars[1] - uars[0], [end, 100 - end])
    return float(low), float(high)


def matrices(table: pd.DataFrame, people: list[str]) -> metrics.Counts:
    """One confusion matrix per speaker. Shape: ``(speakers, classes, classes)``."""
    speaker = metrics.positions(list(table["speaker"]), people)
    return metrics.by_speaker(list(table["label"]), list(table["predicted"]), speaker)


def tail(speakers: int) -> float:
    """Percentile at which the interval begins: less than 2.5, because for few speakers that would be too narrow.

    The expanded percentile interval of Hesterberg 2015, doi:10.1080/00031305.2015.1089789: with five speakers 2.5 would
    find a difference where there is none 15 times in 100, with 24 speakers 6 times.

    >>> [round(tail(speakers), 2) for speakers in (5, 24, 1000)]
    [0.1, 1.73, 2.48]
    """
    spread = math.sqrt(speakers / (speakers - 1)) * special.stdtrit(speakers - 1, 0.025)
    return float(100 * special.ndtr(spread))


def exit_code(found: Comparison, *, strict: bool) -> int:
    """Say how a gate ends: 0 lets pass, 1 is worse (or, if ``strict``, not better), 2 not comparable."""
    if found.verdict == NOT_COMPARABLE:
        return 2
    return int(found.verdict == WORSE or (strict and found.verdict != BETTER))


SHORT = {NO_DIFFERENCE: "no difference shown", NOT_COMPARABLE: ""}


def comparison_lines(found: Comparison) -> Iterator[str]:
    """Write a comparison: what must be read first, the table, the verdict and what it rests on."""
    if found.stamp:
        yield from [found.stamp, ""]
    yield from table_lines(comparison_table(found), "lrrrrl")
    yield ""
    yield sentence(found)
    if not found.faults:
        yield ground(found)


def comparison_table(found: Comparison) -> list[tuple[str, ...]]:
    """Set the scores in rows; of a single corpus the pooled ones say all."""
    head = ("", found.before, found.after, "difference", "95 % interval", "")
    corpora = [row(f"UAR {name}", score) for name, score in found.corpora.items()] if len(found.corpora) > 1 else []
    accuracy = ("accuracy", *map(format_percent, found.accuracy), "", "", "for information")
    return [head, row("UAR, pooled", found.pooled), *corpora, accuracy]


def row(name: str, score: Score) -> tuple[str, ...]:
    """Set one score in cells."""
    both = format_percent(score.before), format_percent(score.after)
    return name, *both, points(score.difference), between(score), SHORT.get(score.verdict, score.verdict)


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
        return f"Paired, the same draws of {format_things(found.speakers, 'speaker')} for both; {smallest}."
    return f"Unpaired, from the interval of each, because {found.lack}; {smallest}."
