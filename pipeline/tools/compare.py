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
from pipeline.report.tables import subsection
from pipeline.report.wording import INTERVAL
from pipeline.split.leakage import warning_stamp
from pipeline.text import MISSING, format_percent, format_things, interval_ends, table_lines
from pipeline.tools.runs import (
    Run,
    corpus_predictions,
    corpus_score,
    corpus_scores,
    drop_foreign_predictions,
    incomparable_reasons,
    predictions_uar,
)

SEED, REPEATS = 1993, 10_000  # so many, because with few speakers the interval ends at extreme percentiles
DIGITS = 6

BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference that these data can show"
NOT_COMPARABLE = "not comparable"
PAIRED, UNPAIRED = "paired", "unpaired"

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class ScoreDifference:
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
    pooled: ScoreDifference
    corpora: dict[str, ScoreDifference]
    accuracy: tuple[float | None, float | None]
    stamp: str  # warning that must precede any number


def compare_runs(one: Run, two: Run) -> Comparison:
    """Compare the second run with the first.

    There is no verdict if protocols, labels, classes, corpora, test clips or the kind of speech differ, or if test rows
    leak from training.
    """
    one, two = drop_foreign_predictions(one), drop_foreign_predictions(two)
    wrong = incomparable_reasons(one, two)
    way = UNPAIRED if one.lack or two.lack else PAIRED
    shared = sorted(set(subsection(one.figures, "corpus")) & set(subsection(two.figures, "corpus")))
    compare = _scores_only if wrong else {PAIRED: _paired_score, UNPAIRED: _unpaired_score}[way]
    pooled = compare(one, two, "")
    return Comparison(
        before=one.name,
        after=two.name,
        verdict=pooled.verdict,
        faults=wrong,
        way=way,
        lack=" and ".join(filter(None, (one.lack, two.lack))),
        speakers=int(corpus_score(two, "", "speakers") or 0),
        pooled=pooled,
        corpora={name: compare(one, two, name) for name in shared},
        accuracy=(corpus_score(one, "", "wa"), corpus_score(two, "", "wa")),
        stamp=" · ".join(dict.fromkeys([*_run_warnings(one), *_run_warnings(two)])),
    )


def _run_warnings(run: Run) -> list[str]:
    """Return the warnings that must precede the numbers of one run."""
    own = f"{run.name} is standardised by each speaker's own test clips" if run.figures.get("transductive") else ""
    return [each for each in (str(run.figures.get("stamp") or warning_stamp(run.figures)), own) if each]


def _scores_only(one: Run, two: Run, corpus: str) -> ScoreDifference:
    """Return two scores without a verdict."""
    return ScoreDifference(before=corpus_score(one, corpus, "uar"), after=corpus_score(two, corpus, "uar"))


def _paired_score(one: Run, two: Run, corpus: str) -> ScoreDifference:
    """Compare two scores by their predictions for the same clips, of a corpus, or of all for ""."""
    first, second = corpus_predictions(one, corpus), corpus_predictions(two, corpus)
    return _score_with_verdict(
        predictions_uar(first), predictions_uar(second), paired_bootstrap_interval(first, second)
    )


def _unpaired_score(one: Run, two: Run, corpus: str) -> ScoreDifference:
    """Compare two scores by their intervals: independent standard errors add up in squares."""
    score = _scores_only(one, two, corpus)
    intervals = [interval_ends(corpus_scores(run, corpus).get("uar_ci95")) for run in (one, two)]
    if score.before is None or score.after is None:
        return score
    half = math.hypot(*((ends[1] - ends[0]) / 2 for ends in intervals if ends))  # 1.96 standard errors
    middle = score.after - score.before
    return _score_with_verdict(score.before, score.after, (middle - half, middle + half) if all(intervals) else None)


def _score_with_verdict(before: float, after: float, interval: Interval | None) -> ScoreDifference:
    """Make a score with the verdict of an interval; without one, no difference is shown."""
    low, high = (round(end, DIGITS) for end in interval) if interval else (None, None)
    half_width = None if low is None or high is None else round((high - low) / 2, DIGITS)
    return ScoreDifference(
        before=before,
        after=after,
        difference=round(after - before, DIGITS),
        low=low,
        high=high,
        half_width=half_width,
        verdict=_interval_verdict(low, high),
    )


def _interval_verdict(low: float | None, high: float | None) -> str:
    """Return the verdict for an interval of a difference.

    >>> _interval_verdict(0.01, 0.05), _interval_verdict(-0.05, -0.01), _interval_verdict(0.0, 0.05)
    ('better', 'worse', 'no difference that these data can show')
    """
    if low is not None and low > 0:
        return BETTER
    return WORSE if high is not None and high < 0 else NO_DIFFERENCE


def paired_bootstrap_interval(first: pd.DataFrame, second: pd.DataFrame) -> Interval | None:
    """95 % interval of the second UAR minus the first, from a paired bootstrap over speakers.

    None with fewer than five speakers, or if the speaker of a clip is unknown.
    """
    speakers = metrics.bootstrap_speakers(list(first["speaker"]))
    if not speakers:
        return None
    draws = metrics.draw_speakers(len(speakers), seed=SEED, repeats=REPEATS)
    uars = [metrics.bootstrap_uars(_speaker_matrices(table, speakers), draws) for table in (first, second)]
    end = _expanded_percentile(len(speakers))
    low, high = np.percentile(uars[1] - uars[0], [end, 100 - end])
    return float(low), float(high)


def _speaker_matrices(table: pd.DataFrame, speakers: list[str]) -> metrics.Counts:
    """One confusion matrix per speaker. Shape: ``(speakers, classes, classes)``."""
    positions = metrics.class_indices(list(table["speaker"]), speakers)
    return metrics.confusion_by_speaker(list(table["label"]), list(table["predicted"]), positions)


def _expanded_percentile(speakers: int) -> float:
    """Lower percentile of the expanded percentile interval of Hesterberg 2015, doi:10.1080/00031305.2015.1089789.

    It is below 2.5, which makes the interval too narrow for few speakers: 2.5 finds a difference where there is none in
    15 of 100 cases with five speakers, and in 6 of 100 with 24 speakers.

    >>> [round(_expanded_percentile(speakers), 2) for speakers in (5, 24, 1000)]
    [0.1, 1.73, 2.48]
    """
    z = math.sqrt(speakers / (speakers - 1)) * special.stdtrit(speakers - 1, 0.025)
    return float(100 * special.ndtr(z))


def comparison_exit_code(found: Comparison, *, strict: bool) -> int:
    """Return the exit code: 0 to pass, 1 for worse (if `strict`, for not better), 2 for not comparable."""
    if found.verdict == NOT_COMPARABLE:
        return 2
    return int(found.verdict == WORSE or (strict and found.verdict != BETTER))


SHORT_VERDICTS = {NO_DIFFERENCE: "no difference shown", NOT_COMPARABLE: ""}


def comparison_lines(found: Comparison) -> Iterator[str]:
    """Write a comparison: warnings, the table, the verdict and the method."""
    if found.stamp:
        yield from [found.stamp, ""]
    yield from table_lines(_comparison_table(found), "lrrrrl")
    yield ""
    yield _verdict_sentence(found)
    if not found.faults:
        yield _method_sentence(found)


def _comparison_table(found: Comparison) -> list[tuple[str, ...]]:
    """Lay out the scores in rows; a single corpus has the pooled scores."""
    head = ("", found.before, found.after, "difference", "95 % interval", "")
    corpora = (
        [_score_row(f"UAR {name}", score) for name, score in found.corpora.items()] if len(found.corpora) > 1 else []
    )
    accuracy = ("accuracy", *map(format_percent, found.accuracy), "", "", "for information")
    return [head, _score_row("UAR, pooled", found.pooled), *corpora, accuracy]


def _score_row(name: str, score: ScoreDifference) -> tuple[str, ...]:
    """Write one score as table cells."""
    both = format_percent(score.before), format_percent(score.after)
    return (
        name,
        *both,
        _format_points(score.difference),
        _format_interval(score),
        SHORT_VERDICTS.get(score.verdict, score.verdict),
    )


def _format_points(difference: float | None) -> str:
    """Write a difference of shares in percentage points, with its sign.

    >>> _format_points(0.0312), _format_points(-0.0004), _format_points(0.0), _format_points(None)
    ('+3.1', '-0.0', '0.0', '–')
    """
    if difference is None:
        return MISSING
    return f"{100 * difference:+.1f}" if difference else "0.0"


def _format_interval(score: ScoreDifference) -> str:
    """Write the interval of a difference."""
    return MISSING if score.low is None else f"{_format_points(score.low)} to {_format_points(score.high)}"


def _verdict_sentence(found: Comparison) -> str:
    """Write the verdict as a sentence."""
    if found.faults:
        return f"{NOT_COMPARABLE}: {'; '.join(found.faults)}."
    figures = f"{_format_points(found.pooled.difference)} points of UAR"
    if found.pooled.low is not None:
        figures += f", 95 % interval {_format_interval(found.pooled)}"
    return f"{found.verdict}: {found.after} against {found.before}, {figures}."


def _method_sentence(found: Comparison) -> str:
    """Write how the interval was computed, and about how small a difference it can show."""
    if found.pooled.half_width is None:
        return f"There is no interval: {INTERVAL}."
    smallest = f"{100 * found.pooled.half_width:.1f} points is about the smallest difference that these data can show"
    if found.way == PAIRED:
        return f"Paired bootstrap over {format_things(found.speakers, 'speaker')}; {smallest}."
    return f"Unpaired, from the interval of each, because {found.lack}; {smallest}."
