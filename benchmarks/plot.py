"""The figure of docs/performance.md: speed-ups, and the shares of the extraction time."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import figures
from benchmarks.corpus import ROOT
from benchmarks.figures import Results, Times
from benchmarks.results import SYNTHETIC
from benchmarks.table import times
from pipeline.core.plotting import Axes, Figure, NullLocator, mpl, to_rgb
from pipeline.report import figures as report_figures
from pipeline.report import style
from pipeline.report.style import AMBER, BLUE, INK, SKY, SOFT, STYLE, VERMILLION

PICTURE = ROOT / "docs/images/performance.png"
ROW = 0.27  # inches per bar
COLOURS = dict(
    zip(figures.STEPS, (BLUE, SKY, "#F0E442", VERMILLION, "#009E73", "#CC79A7", AMBER, "#cccccc"), strict=True)
)
LINE = 48  # characters that fit into the width of the upper panel
READABLE = 0.045  # share of the time from which its number fits
RECIPES = {"params.yaml": "params.yaml", "published": "published settings"}


@mpl.rc_context(STYLE)
def draw(results: Results) -> Figure:
    """Draw the speed-ups above the shares."""
    drawings = {draw_ratios: figures.ratios(results), draw_shares: figures.shares(results)}
    heights = {draw_ratios: 1.1 + ROW * len(figures.ratios(results)), draw_shares: 1.9}
    some = [function for function, values in drawings.items() if values]
    synthetic = any(run["audio"] == SYNTHETIC for run in results["runs"].values())
    figure = style.empty_figure(
        sum(heights[each] for each in some), stamp="DEMO: synthetic speech" if synthetic else ""
    )
    every = figure.subplots(len(some), squeeze=False, height_ratios=[heights[each] for each in some])
    for axes, function in zip(every[:, 0], some, strict=True):
        function(axes, drawings[function])
    return figure


def draw_ratios(axes: Axes, ratios: Sequence[Times]) -> None:
    """Draw a bar for each speed-up, from 1 on a logarithmic axis."""
    for row, each in enumerate(ratios):
        axes.barh(row, each.median - 1, left=1, height=0.62, color=SKY)
        axes.plot([each.lowest] * 2, [row - 0.31, row + 0.31], color=BLUE, lw=1.6)
        if each.wanted:
            axes.plot([each.wanted] * 2, [row - 0.45, row + 0.45], color=VERMILLION, lw=2)
        axes.text(end(each), row, words(each), va="center_baseline")
    axes.set_yticks(range(len(ratios)), [each.label for each in ratios])
    axes.set(ylim=(len(ratios) - 0.5, -0.5), xlabel="dark mark: lowest round · red line: target")
    axes.set_title("How many times as fast as …")
    scale(axes, ratios)


def end(each: Times) -> float:
    """Return where the text next to a bar begins."""
    return 1.12 * max(1, each.median, each.wanted or 1)


def words(each: Times) -> str:
    """Return the text next to a bar."""
    return f"{times(each.median)}  {each.other}"


def scale(axes: Axes, ratios: Sequence[Times]) -> None:
    """Set ticks at powers of ten up to the longest bar, and leave room for the text next to the bars."""
    powers = [10**power for power in range(int(math.log10(max((each.median for each in ratios), default=1))) + 1)]
    right = max((end(each) ** (1 / (1 - len(words(each)) / LINE)) for each in ratios), default=10)
    axes.set(xscale="log", xlim=(0.95, right))
    axes.set_xticks(powers, [f"{power:,} ×" for power in powers])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="y", length=0)
    axes.axvline(1, color=SOFT, lw=0.8)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def draw_shares(axes: Axes, shares: Mapping[str, Mapping[str, float]]) -> None:
    """Draw a stacked bar of the steps of an extraction for each of the settings."""
    for row, each in enumerate(shares.values()):
        left = 0.0
        for step, share in each.items():
            axes.barh(row, share, left=left, height=0.66, color=COLOURS[step], label=step if row == 0 else None)
            if share >= READABLE:
                look = {"ha": "center", "va": "center", "color": on(COLOURS[step])}
                axes.text(left + share / 2, row, f"{100 * share:.0f}", **look)
            left += share
    axes.set_yticks(range(len(shares)), [RECIPES[name] for name in shares])
    axes.set(xlim=(0, 1), ylim=(len(shares) - 0.5, -0.5), xticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title("Where the time of an extraction goes, %")
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, handlelength=1)


def on(colour: str) -> str:
    """Choose the text colour that is most legible on a colour.

    >>> on("#0072B2"), on("#F0E442")
    ('white', '#1a1a1a')
    """
    red, green, blue = to_rgb(colour)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.45 else INK


def save(results: Results, path: Path = PICTURE) -> None:
    """Write the figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    report_figures.save_figure(draw(results), path)
