"""The two sides of a comparison: what each tells, and why they may not be comparable."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from pipeline.evaluation import scores
from pipeline.evaluation.tables import part
from pipeline.evaluation.wording import contaminated, number, percent, synthetic, things

ROUNDING = 1e-4  # metrics/details.json keeps four digits
TRUTH = ["clip_id", "corpus", "speaker", "label"]


@dataclass(frozen=True, kw_only=True)
class Side:
    """A revision: what ``metrics/details.json`` says, and its predictions or why they are not there."""

    name: str
    figures: Mapping[str, Any]
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)  # one per tested clip: TRUTH and predicted
    lack: str = ""  # why there are no rows


def section(side: Side, corpus: str) -> dict[str, Any]:
    """Give the scores of a corpus, or of all clips for ""."""
    return part(side.figures, "corpus", corpus) if corpus else part(side.figures, "test")


def value(side: Side, corpus: str, name: str) -> float | None:
    """Give one of these scores, None where there is none."""
    return number(section(side, corpus).get(name))


def rows(side: Side, corpus: str) -> pd.DataFrame:
    """Give the predictions for a corpus, or all of them for ""."""
    return side.rows[side.rows["corpus"] == corpus] if corpus else side.rows


def uar(table: pd.DataFrame) -> float:
    """UAR of predictions."""
    spoken, predicted = list(table["label"]), list(table["predicted"])
    return scores.uar(scores.confusion(spoken, predicted, sorted({*spoken, *predicted})))


def checked(side: Side) -> Side:
    """Leave out predictions that do not give the UAR of ``metrics/details.json``: they are of another run."""
    known = value(side, "", "uar")
    if side.lack or (known is not None and abs(uar(side.rows) - known) <= ROUNDING):
        return side
    return replace(side, lack=f"the predictions of {side.name} do not give the UAR of its metrics/details.json")


def faults(one: Side, two: Side) -> list[str]:
    """Say why the two are not comparable; nothing where they are."""
    apart = [*protocols(one, two), *labels(one, two), *names(one, two)]
    return [*apart, *([] if apart else clips(one, two)), *leaks(one), *leaks(two)]


def protocols(one: Side, two: Side) -> Iterator[str]:
    """Say that they were split in different ways."""
    first, second = (str(side.figures.get("protocol")) for side in (one, two))
    if first != second:
        yield f"{one.name} has the protocol {first}, {two.name} has {second}"


def labels(one: Side, two: Side) -> Iterator[str]:
    """Say that others decided what was spoken."""
    first, second = (str(part(side.figures, "labels").get("source", "intended")) for side in (one, two))
    if first != second:
        yield f"{one.name} is judged by the labels {first}, {two.name} by {second}"


def names(one: Side, two: Side) -> Iterator[str]:
    """Name the classes and corpora that only one side was tested on, or only one side synthesised."""
    named = {
        "classes of only one": [set(part(side.figures, "class")) for side in (one, two)],
        "corpora of only one": [set(part(side.figures, "corpus")) for side in (one, two)],
        "synthetic speech in only one": [set(synthetic(side.figures)) for side in (one, two)],
    }
    for what, (first, second) in named.items():
        if odd := first ^ second:
            yield f"{what}: {', '.join(sorted(odd))}"


def clips(one: Side, two: Side) -> Iterator[str]:
    """Say how the tested clips differ, by the predictions, or without them by what metrics/details.json counts."""
    if not (one.lack or two.lack):
        first, second = (Counter(map(tuple, side.rows[TRUTH].to_numpy().tolist())) for side in (one, two))
        if first != second:
            ours, theirs = ((mine - other).total() for mine, other in ((first, second), (second, first)))
            yield f"test clips or their labels: {things(ours, 'row')} only in {one.name}, {theirs} only in {two.name}"
    elif counts(one) != counts(two):
        sizes = [things(value(side, "", "clips"), "test clip") for side in (one, two)]
        yield f"other test clips by corpus, speaker or class: {sizes[0]} in {one.name}, {sizes[1]} in {two.name}"


def counts(side: Side) -> list[float | None]:
    """List what metrics/details.json counts: clips and speakers, of all and of each corpus, and rows of each class."""
    sections = ["", *sorted(part(side.figures, "corpus"))]
    classes = sorted(part(side.figures, "class"))
    sizes = [value(side, name, what) for name in sections for what in ("clips", "speakers")]
    return sizes + [number(part(side.figures, "class", name).get("support")) for name in classes]


def leaks(side: Side) -> Iterator[str]:
    """Say that test rows were known to the model."""
    if contaminated(side.figures):
        share = percent(part(side.figures, "leak").get("contaminated"))
        yield f"test rows of {side.name} leak from training ({share})"
