"""The picture that opens the README: the same systems, scored more and more honestly."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks.corpus import ROOT
from benchmarks.ladder_table import RUNGS, SVM, Line, Row, lines
from pipeline.evaluation import canvas
from pipeline.evaluation.canvas import AMBER, BLUE, INK, SOFT, STYLE, VERMILLION

PICTURE = ROOT / "docs/images/ladder.png"
COLOURS = (BLUE, VERMILLION, "#009E73", "#CC79A7", AMBER)
APART = 0.045  # of accuracy, between two names at the right
TICKS = tuple(words.replace(" ", "\n", 1) for words in RUNGS.values())


@mpl.rc_context(STYLE)
def draw(rows: Sequence[Row]) -> Figure:
    """Draw the accuracy of each network on each rung, chance, and what was claimed."""
    networks = [line for line in lines(rows) if line.model != SVM and len(line.scores) == len(RUNGS)]
    figure = canvas.sheet(3.9, stamp="")
    axes = figure.subplots()
    for line, colour in zip(networks, COLOURS, strict=False):
        climb(axes, line, colour)
    name_ends(axes, networks)
    chance = rows[0]["baseline"]["chance"]["wa"]
    axes.axhline(chance, color=SOFT, ls=":", lw=1.2)
    axes.text(3.05, chance, "chance", va="center", color=SOFT)
    axes.set_xticks(range(len(RUNGS)), TICKS)
    axes.set(xlim=(-0.35, 4.15), ylim=(0, 1), ylabel="accuracy on RAVDESS, 8 emotions")
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)
    axes.set_title("The same networks, scored ever more honestly")
    return figure


def climb(axes: Axes, line: Line, colour: str) -> None:
    """Draw one system, its scores written beside the points."""
    values = [line.scores[rung]["wa"] for rung in RUNGS]
    axes.plot(range(len(values)), values, color=colour, lw=2.2, marker="o", ms=6)
    if line.claim is not None:
        look: dict[str, Any] = {"marker": "*", "ms": 13, "mfc": "white", "mec": colour, "mew": 1.4, "ls": ""}
        axes.plot(-0.2, line.claim, **look)
    for place, value in enumerate(values[:-1]):
        axes.annotate(
            f"{100 * value:.0f} %", (place, value), (0, 7), textcoords="offset points", ha="center", color=INK
        )


def name_ends(axes: Axes, networks: Sequence[Line]) -> None:
    """Name the lines at their honest end, none over another."""
    ends = sorted((line.scores["speaker"]["wa"], line.model) for line in networks)
    height = 0.0
    for value, model in ends:
        height = max(value, height + APART)
        axes.text(3.08, height, f"{100 * value:.0f} %  {model}", va="center", weight="bold")
