"""The figure at the top of the README: the same systems, scored with fewer and fewer leaks."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from benchmarks.corpus import ROOT
from benchmarks.ladder_table import BASELINE, RUNGS, SVM, Line, Row, lines
from pipeline.core.plotting import Axes, Figure, PercentFormatter, mpl
from pipeline.report import style
from pipeline.report.style import BLUE, SOFT, STYLE, VERMILLION

PICTURE = ROOT / "docs/images/ladder.png"
COLOURS = (BLUE, VERMILLION, "#00795c", "#a3467c", "#8a6100")
APART = 0.055  # of accuracy, the least between two names at the right
CLAIM = "claimed"
TICKS = {CLAIM: CLAIM} | {rung: words.replace(" ", "\n") for rung, words in RUNGS.items()}
PLACE = {rung: place for place, rung in enumerate(TICKS)}


@mpl.rc_context(STYLE)
def draw(rows: Sequence[Row]) -> Figure:
    """Draw claimed accuracy, accuracy on each rung, and chance level."""
    networks = dict(zip(COLOURS, drawn(rows), strict=False))
    figure = style.empty_figure(4.1, stamp="")
    axes = figure.subplots()
    furnish(axes, chances(rows, {line.recipe for line in networks.values()}))
    for colour, line in networks.items():
        climb(axes, line, colour)
    for rung in PLACE:
        write(axes, rung, {c: points(line)[rung] for c, line in networks.items() if rung in points(line)})
    name_ends(axes, networks)
    return figure


def drawn(rows: Sequence[Row]) -> list[Line]:
    """Choose the published networks that were run on all rungs; if there are none, the SVMs on their rows."""
    whole = [line for line in lines(rows) if len(line.scores) == len(RUNGS) and line.recipe != BASELINE]
    return [line for line in whole if line.model != SVM] or whole


def chances(rows: Sequence[Row], recipes: Container[str]) -> list[float]:
    """Return the accuracies of always predicting the most frequent emotion, one for each set of emotions."""
    found = {each["classes"]: each["baseline"]["chance"]["wa"] for each in rows if each["recipe"] in recipes}
    return sorted(found.values())


def furnish(axes: Axes, chance: Sequence[float]) -> None:
    """Draw axes, title and chance level."""
    axes.set_xticks(list(PLACE.values()), list(TICKS.values()))
    axes.set(xlim=(-0.4, 5.5), ylim=(0, 1.04), ylabel="accuracy on RAVDESS")
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)
    axes.set_title("The same networks, scored with fewer and fewer leaks")
    for value in chance:
        axes.plot([-0.4, PLACE["speaker"]], [value] * 2, color=SOFT, ls=":", lw=1.2)
    if chance:
        words = f"{'–'.join(f'{100 * value:.0f}' for value in sorted({chance[0], chance[-1]}))} %  chance"
        axes.text(PLACE["speaker"] + 0.12, sum(chance) / len(chance), words, va="center", color=SOFT)


def points(line: Line) -> dict[str, float]:
    """Return the accuracy at each place: the claim, if it is for the same corpora, and the rungs."""
    claim = {CLAIM: line.claim} if line.same and line.claim is not None else {}
    return claim | {rung: line.scores[rung]["wa"] for rung in RUNGS}


def climb(axes: Axes, line: Line, colour: str) -> None:
    """Draw one system: a dashed line from the claim, then the measured rungs."""
    values = [line.scores[rung]["wa"] for rung in RUNGS]
    axes.plot(range(1, 1 + len(values)), values, color=colour, lw=2.2, marker="o", ms=6)
    if CLAIM in points(line):
        axes.plot([0, 1], [line.claim, values[0]], color=colour, lw=1.4, ls="--")
        axes.plot(0, line.claim, marker="*", ms=13, mfc="white", mec=colour, mew=1.4)


def write(axes: Axes, rung: str, values: Mapping[str, float]) -> None:
    """Label the points at one place, the largest above, the others below; `name_ends` labels the last."""
    for number, (colour, value) in enumerate(sorted(values.items(), key=lambda pair: -pair[1])):
        if rung != "speaker":
            above: dict[str, Any] = {"xytext": (0, -17 if number else 8), "textcoords": "offset points"}
            axes.annotate(f"{100 * value:.0f} %", (PLACE[rung], value), **above, ha="center", color=colour)


def label(line: Line) -> str:
    """Return the name of a line."""
    return f"svm, {line.recipe}" if line.model == SVM else line.recipe


def name_ends(axes: Axes, networks: Mapping[str, Line]) -> None:
    """Label the lines at their right ends, without overlap."""
    ends = sorted((points(line)["speaker"], colour, label(line)) for colour, line in networks.items())
    height = 0.0
    for value, colour, model in ends:
        height = max(value, height + APART)
        place = PLACE["speaker"] + 0.12
        axes.text(place, height, f"{100 * value:.0f} %  {model}", va="center", weight="bold", color=colour)
