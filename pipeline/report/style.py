"""The style of all figures: palette, fonts, empty figures, horizontal bars.

Figures are created without pyplot, which would choose a backend and keep them in memory. Colours: Okabe & Ito (2008),
"Color Universal Design", distinct for readers of any colour vision, and by lightness in grey print.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

from pipeline.core.plotting import DEFAULTS, Axes, Figure, LinearSegmentedColormap, Rectangle

WIDTH = 6.4  # inches; shown at 96 px an inch or little less, so that 10 pt become 9 pt or more
DPI = 160
BAND_LINE = 0.24  # inches
MARGIN = 0.06  # inches above the drawing area
BAND_TEXT = 70  # characters of bold 10 pt on a line of the band
INK, SOFT, BLUE, SKY, AMBER, VERMILLION = "#1a1a1a", "#595959", "#0072B2", "#56B4E9", "#E69F00", "#D55E00"
SHADES = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#8cc3e3", BLUE, "#00304d"])
DARK = 0.62  # share from which white text reads better than black; the contrast is 4.5:1 or more on both sides
STYLE: dict[Any, Any] = DEFAULTS | {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 10,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "white",
    "grid.color": "#e3e3e3",
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "savefig.facecolor": "white",
}


def empty_figure(height: float, *, stamp: str) -> Figure:
    """Create an empty figure ``height`` inches tall, plus a band across the top where there is a stamp."""
    lines = _wrap_stamp(stamp)
    band = BAND_LINE * len(lines) + 0.14 if lines else 0.0
    figure = Figure(figsize=(WIDTH, height + band), facecolor="white")
    bottom = height / (height + band)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, bottom - MARGIN / (height + band)))
    if lines:
        area: dict[str, Any] = {"transform": figure.transFigure, "in_layout": False}
        figure.add_artist(Rectangle((0, bottom), 1, 1 - bottom, color=AMBER, **area))
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": "black", "weight": "bold"}
        figure.text(0.5, (1 + bottom) / 2, "\n".join(lines), in_layout=False, **style)
    return figure


def _wrap_stamp(stamp: str) -> list[str]:
    """Wrap a stamp into lines, one or more for each of its sentences.

    >>> _wrap_stamp("DEMO: synthetic speech, says nothing about people · CONTAMINATED: 99 % of the rows")
    ['DEMO: synthetic speech, says nothing about people', 'CONTAMINATED: 99 % of the rows']
    """
    sentences = [stamp] if len(stamp) <= BAND_TEXT else stamp.split(" · ")
    return [line for sentence in sentences for line in textwrap.wrap(sentence, BAND_TEXT)]


def horizontal_bars(figure: Figure, values: Sequence[float], labels: Sequence[str]) -> Axes:
    """Draw horizontal bars on a scale from 0 to 1, the first one on top."""
    axes = figure.subplots()
    axes.barh(range(len(values)), values, height=0.62, color=SKY)
    axes.set_yticks(range(len(values)), labels)
    axes.set(xlim=(0, 1), ylim=(len(values) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    return axes


def text_figure(sentence: str, *, stamp: str) -> Figure:
    """Create a figure that says why there is nothing to draw."""
    figure = empty_figure(1.0, stamp=stamp)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.5, 0.5, sentence, ha="center", va="center", color=SOFT)
    return figure
