"""The picture that opens the README: the same systems, scored more and more honestly."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks.corpus import ROOT
from benchmarks.ladder_table import RUNGS, SVM, Line, Row, lines
from pipeline.evaluation import canvas
from pipeline.evaluation.canvas import BLUE, SOFT, STYLE, VERMILLION

PICTURE = ROOT / "docs/images/ladder.png"
COLOURS = (BLUE, VERMILLION, "#00795c", "#a3467c", "#8a6100")
APART = 0.055  # of accuracy, between two names at the right
CLAIM = "claimed"
TICKS = {CLAIM: CLAIM} | {rung: words.replace(" ", "\n") for rung, words in RUNGS.items()}
PLACE = {rung: place for place, rung in enumerate(TICKS)}


@mpl.rc_context(STYLE)
def draw(rows: Sequence[Row]) -> Figure:
    """Draw the accuracy of each network on each rung, chance, and what was claimed."""
    whole = [line for line in lines(rows) if line.model != SVM and len(line.scores) == len(RUNGS) and line.claim]
    networks = dict(zip(COLOURS, whole, strict=False))
    figure = canvas.sheet(4.1, stamp="")
    axes = figure.subplots()
    furnish(axes, rows[0]["baseline"]["chance"]["wa"])
    for colour, line in networks.items():
        climb(axes, line, colour)
    for rung in PLACE:
        write(axes, rung, {colour: points(line)[rung] for colour, line in networks.items()})
    name_ends(axes, networks)
    return figure


def furnish(axes: Axes, chance: float) -> None:
    """Draw what does not depend on a network."""
    axes.set_xticks(list(PLACE.values()), list(TICKS.values()))
    axes.set(xlim=(-0.4, 5.5), ylim=(0, 1.04), ylabel="accuracy on RAVDESS, 8 emotions")
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)
    axes.set_title("The same networks, scored ever more honestly")
    axes.plot([-0.4, PLACE["speaker"]], [chance] * 2, color=SOFT, ls=":", lw=1.2)
    axes.text(PLACE["speaker"] + 0.12, chance, f"{100 * chance:.0f} %  chance", va="center", color=SOFT)


def points(line: Line) -> dict[str, float]:
    """Give the accuracy at each place, the claim first."""
    assert line.claim is not None  # such lines alone are drawn
    return {CLAIM: line.claim} | {rung: line.scores[rung]["wa"] for rung in RUNGS}


def climb(axes: Axes, line: Line, colour: str) -> None:
    """Draw one system: from the claim dashed, from there what was measured."""
    values = list(points(line).values())
    axes.plot([0, 1], values[:2], color=colour, lw=1.4, ls="--")
    axes.plot(0, values[0], marker="*", ms=13, mfc="white", mec=colour, mew=1.4)
    axes.plot(range(1, len(values)), values[1:], color=colour, lw=2.2, marker="o", ms=6)


def write(axes: Axes, rung: str, values: Mapping[str, float]) -> None:
    """Write the numbers of one place, the largest above its point, the others below; the last are in the names."""
    for number, (colour, value) in enumerate(sorted(values.items(), key=lambda pair: -pair[1])):
        if rung != "speaker":
            above: dict[str, Any] = {"xytext": (0, -17 if number else 8), "textcoords": "offset points"}
            axes.annotate(f"{100 * value:.0f} %", (PLACE[rung], value), **above, ha="center", color=colour)


def name_ends(axes: Axes, networks: Mapping[str, Line]) -> None:
    """Name the lines at their honest end, none over another."""
    ends = sorted((points(line)["speaker"], colour, line.model) for colour, line in networks.items())
    height = 0.0
    for value, colour, model in ends:
        height = max(value - APART / 2 * (len(ends) > 1), height + APART)
        place = PLACE["speaker"] + 0.12
        axes.text(place, height, f"{100 * value:.0f} %  {model}", va="center", weight="bold", color=colour)
