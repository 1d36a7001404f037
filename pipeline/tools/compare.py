"""``compare``: which of two runs scores better, by an interval of the difference of their UAR.

If both runs predicted the same clips, a paired bootstrap draws the same speakers for both (Efron & Tibshirani 1993, An
Introduction to the Bootstrap; Bisani & Ney 2004, doi:10.1109/ICASSP.2004.1326009), so that what makes a speaker hard
for both cancels out. Without predictions, the two intervals of ``metrics/details.json`` are taken as independent.
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

SEED, REPEATS = 1993, 10_000  # so many, because with few speakers the interval ends at extreme percentiles
DIGITS = 6

BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference that these data can show"
NOT_COMPARABLE = "not comparable"
PAIRED, UNPAIRED = "paired", "unpaired"

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Score:
    """UAR of both runs and the interval of the second minus the first, as shares; None where unknown."""

    before: float | None
    after: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    half_width: float | None = None  # about the smallest difference that these data can show
    verdict: str = NOT_COMPARABLE


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result of a comparison. The verdict is for all clips together; corpora and accuracy are informative."""

    before: str
    after: str
    verdict: str
    faults: list[str]  # why they are not comparable
    way: str  # paired or unpaired
    lack: str  # why it is not paired; "" if it is
    speakers: int
    pooled: Score
    corpora: dict[str, Score]
    accuracy: tuple[float | None, float | None]
    stamp: str  # warning that must precede any number


def compare_runs(one: Run, two: Run) -> Comparison:
    """Compare the second run with the first.

    There is no verdict if protocols, labels, classes, corpora, test clips or the kind of speech differ, or if test rows
    leak from training.
    """
    one, two = checked(one), checked(two)
    wrong = faults(one, two)
    way = UNPAIRED if one.lack or two.lack else PAIRED
    shared = sorted(set(part(one.figures, "corpus")) & set(part(two.figures, "corpus")))
    compare = beside if wrong else {PAIRED: paired, UNPAIRED: unpaired}[way]
    pooled = compare(one, two, "")
    return Comparison(
        before=one.name,
        after=two.name,
        verdict=pooled.verdict,
        faults=wrong,
        way=way,
        lack=" and ".join(filter(None, (one.lack, two.lack))),
        speakers=int(value(two, "", "speakers") or 0),
        pooled=pooled,
        corpora={name: compare(one, two, name) for name in shared},
        accuracy=(value(one, "", "wa"), value(two, "", "wa")),
        stamp=" · ".join(dict.fromkeys([*warnings(one), *warnings(two)])),
    )


def warnings(run: Run) -> list[str]:
    """Return the warnings that must precede the numbers of one run."""
    own = f"{run.name} is standardised by each speaker's own test clips" if run.figures.get("transductive") else ""
    return [each for each in (str(run.figures.get("stamp") or warning_stamp(run.figures)), own) if each]


def beside(one: Run, two: Run, corpus: str) -> Score:
    """Return two scores without a verdict."""
    return Score(before=value(one, corpus, "uar"), after=value(two, corpus, "uar"))


def paired(one: Run, two: Run, corpus: str) -> Score:
    """Compare two scores by their predictions for the same clips, of a corpus, or of all for ""."""
    first, second = rows(one, corpus), rows(two, corpus)
    return judged(uar(first), uar(second), redrawn(first, second))


def unpaired(one: Run, two: Run, corpus: str) -> Score:
    """Compare two scores by their intervals: independent standard errors add up in squares."""
    score = beside(one, two, corpus)
    intervals = [interval_ends(section(run, corpus).get("uar_ci95")) for run in (one, two)]
    if score.before is None or score.after is None:
        return score
    half = math.hypot(*((ends[1] - ends[0]) / 2 for ends in intervals if ends))  # 1.96 standard errors
    middle = score.after - score.before
    return judged(score.before, score.after, (middle - half, middle + half) if all(intervals) else None)


def judged(before: float, after: float, interval: Interval | None) -> Score:
    """Make a score with the verdict of an interval; without one, no difference is shown."""
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
    """Return the verdict for an interval of a difference.

    >>> verdict(0.01, 0.05), verdict(-0.05, -0.01), verdict(0.0, 0.05)
    ('better', 'worse', 'no difference that these data can show')
    """
    if low is not None and low > 0:
        return BETTER
    return WORSE if high is not None and high < 0 else NO_DIFFERENCE


def redrawn(first: pd.DataFrame, second: pd.DataFrame) -> Interval | None:
    """95 % interval of the second UAR minus the first, from a paired bootstrap over speakers.

    None with fewer than five speakers, or if the speaker of a clip is unknown.
    """
    speakers = metrics.cast(list(first["speaker"]))
    if not speakers:
        return None
    draws = metrics.draw(len(speakers), seed=SEED, repeats=REPEATS)
    uars = [metrics.redrawn(matrices(table, speakers), draws) for table in (first, second)]
    end = tail(len(speakers))
    low, high = np.percentile(uars[1] - uars[0], [end, 100 - end])
    return float(low), float(high)


def matrices(table: pd.DataFrame, speakers: list[str]) -> metrics.Counts:
    """One confusion matrix per speaker. Shape: ``(speakers, classes, classes)``."""
    positions = metrics.positions(list(table["speaker"]), speakers)
    return metrics.by_speaker(list(table["label"]), list(table["predicted"]), positions)


def tail(speakers: int) -> float:
    """Lower percentile of the expanded percentile interval of Hesterberg 2015, doi:10.1080/00031305.2015.1089789.

    It is below 2.5, which makes the interval too narrow for few speakers: 2.5 finds a difference where there is none in
    15 of 100 cases with five speakers, and in 6 of 100 with 24 speakers.

    >>> [round(tail(speakers), 2) for speakers in (5, 24, 1000)]
    [0.1, 1.73, 2.48]
    """
    z = math.sqrt(speakers / (speakers - 1)) * special.stdtrit(speakers - 1, 0.025)
    return float(100 * special.ndtr(z))


def exit_code(found: Comparison, *, strict: bool) -> int:
    """Return the exit code: 0 to pass, 1 for worse (if `strict`, for not better), 2 for not comparable."""
    if found.verdict == NOT_COMPARABLE:
        return 2
    return int(found.verdict == WORSE or (strict and found.verdict != BETTER))


SHORT = {NO_DIFFERENCE: "no difference shown", NOT_COMPARABLE: ""}


def comparison_lines(found: Comparison) -> Iterator[str]:
    """Write a comparison: warnings, the table, the verdict and the method."""
    if found.stamp:
        yield from [found.stamp, ""]
    yield from table_lines(comparison_table(found), "lrrrrl")
    yield ""
    yield sentence(found)
    if not found.faults:
        yield ground(found)


def comparison_table(found: Comparison) -> list[tuple[str, ...]]:
    """Lay out the scores in rows; a single corpus has the pooled scores."""
    head = ("", found.before, found.after, "difference", "95 % interval", "")
    corpora = [row(f"UAR {name}", score) for name, score in found.corpora.items()] if len(found.corpora) > 1 else []
    accuracy = ("accuracy", *map(format_percent, found.accuracy), "", "", "for information")
    return [head, row("UAR, pooled", found.pooled), *corpora, accuracy]


def row(name: str, score: Score) -> tuple[str, ...]:
    """Write one score as table cells."""
    both = format_percent(score.before), format_percent(score.after)
    return name, *both, points(score.difference), between(score), SHORT.get(score.verdict, score.verdict)


def points(difference: float | None) -> str:
    """Write a difference of shares in percentage points, with its sign.

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
    """Write the verdict as a sentence."""
    if found.faults:
        return f"{NOT_COMPARABLE}: {'; '.join(found.faults)}."
    figures = f"{points(found.pooled.difference)} points of UAR"
    if found.pooled.low is not None:
        figures += f", 95 % interval {between(found.pooled)}"
    return f"{found.verdict}: {found.after} against {found.before}, {figures}."


def ground(found: Comparison) -> str:
    """Write how the interval was computed, and about how small a difference it can show."""
    if found.pooled.half_width is None:
        return f"There is no interval: {INTERVAL}."
    smallest = f"{100 * found.pooled.half_width:.1f} points is about the smallest difference that these data can show"
    if found.way == PAIRED:
        return f"Paired bootstrap over {format_things(found.speakers, 'speaker')}; {smallest}."
    return f"Unpaired, from the interval of each, because {found.lack}; {smallest}."
