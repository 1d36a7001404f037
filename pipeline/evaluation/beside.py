"""What stands beside the headline number: a baseline on the same view, chance, and their places on its scale."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.evaluation.tables import Table, Values, part
from pipeline.evaluation.wording import between, number, percent

SVM = "The svm was given mean and SD of each row of the same view."
GUESS = "Chance: guessing evenly for UAR, always naming the most frequent emotion for accuracy."
ROOM = 28  # % of the scale, on a narrow screen, that two texts below it need from middle to middle
END = 76  # % of the scale from which a text would run into its last number


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A number on the scale of the headline, and its text below. Places are in % of the scale."""

    name: str
    text: str
    at: float
    middle: float  # of the text, which must not leave the scale
    low: bool = False  # the text stands on a second line, out of the way of others


def table(evaluation: Values, bundle: Values) -> Table:
    """Compare the model with the baseline and with chance."""
    chance = {"uar": part(evaluation, "test").get("chance")} | part(evaluation, "baseline", "chance")
    svm = part(evaluation, "baseline", "svm")
    scores = {f"{bundle.get('arch', '?')}, this page": part(evaluation, "test"), "svm": svm, "chance": chance}
    return Table(
        caption="Beside it",
        head=("model", "UAR", "95 % interval", "accuracy"),
        align="lrrr",
        rows=[
            (name, percent(s.get("uar")), between(s.get("uar_ci95")), percent(s.get("wa")))
            for name, s in scores.items()
            if number(s.get("uar")) is not None
        ],
        note=" ".join([SVM] * bool(svm) + [GUESS] * ("wa" in chance)),
    )


def verdict(evaluation: Values) -> str:
    """Say how far the model is above the svm, "" where there is none or nothing to learn."""
    ours, theirs = (number(part(evaluation, *names).get("uar")) for names in (("test",), ("baseline", "svm")))
    if ours is None or theirs is None or evaluation.get("shuffled"):
        return ""
    points = round(100 * (ours - theirs), 1)
    return f"{points} points above the svm." if points > 0 else "The svm does as well or better."


def marks(evaluation: Values) -> list[Mark]:
    """Place chance and the svm on the scale, and their texts so that none runs into another."""
    chance = number(part(evaluation, "test").get("chance"))
    svm = number(part(evaluation, "baseline", "svm").get("uar"))
    first = [] if chance is None else [mark("chance", chance)]
    return first if svm is None else [*first, mark("svm", svm, sign="▲ ", others=first)]


def mark(name: str, value: float, *, sign: str = "", others: Sequence[Mark] = ()) -> Mark:
    """Place one number.

    >>> mark("svm", 0.45).middle, mark("svm", 0.02).middle, mark("svm", 0.9).low
    (45.0, 14, True)
    """
    middle = min(max(14, 100 * value), 86)
    low = middle > END or any(abs(middle - other.middle) < ROOM for other in others)
    return Mark(name=name, text=f"{sign}{name} {percent(value)}", at=100 * value, middle=middle, low=low)
