"""Draw the report's matrices: shares in cells, the same shades in each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.evaluation import canvas
from pipeline.evaluation.canvas import SOFT, STYLE
from pipeline.evaluation.drawing import Axes, Figure, Rectangle, mpl
from pipeline.evaluation.wording import MISSING

Look = dict[str, Any]  # of a text
FRAME = "#cccccc"
APART = -1.25  # middle of the column of UAR; the emotions stand at 0, 1, ...


@mpl.rc_context(STYLE)
def confusion(table: pd.DataFrame, classes: Sequence[str], *, title: str, stamp: str = "") -> Figure:
    """Draw which class was taken for which: rows are what was spoken and sum to 100 %, so recall is the diagonal.

    Args:
        table: a row per test clip, columns actual and predicted.
        classes: order of rows and columns.
        title: heading of the picture.
        stamp: text of the band above the picture, "" for none.
    """
    clips = counts(table, classes)
    figure = canvas.sheet(1.25 + 0.52 * len(classes), stamp=stamp)
    axes = figure.subplots()
    axes.imshow(shares(clips), cmap=canvas.SHADES, vmin=0, vmax=1, aspect="auto")
    write_cells(axes, clips)
    axes.set_xticks(range(len(classes)), classes, **slant(len(classes)))
    axes.set_yticks(range(len(classes)), classes)
    axes.set(title=title, xlabel="predicted", ylabel="spoken")
    axes.tick_params(length=0)
    axes.spines[:].set(visible=True, color=FRAME)
    return figure


def counts(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Count clips. Shape: ``(classes, classes)``, rows spoken, columns predicted.

    >>> heard = pd.DataFrame({"actual": ["sad", "sad"], "predicted": ["fear", "sad"]})
    >>> counts(heard, ["fear", "sad"]).to_numpy().tolist()
    [[0, 0], [1, 1]]
    """
    crossed = pd.crosstab(table["actual"], table["predicted"])
    return crossed.reindex(index=list(classes), columns=list(classes), fill_value=0)


def shares(clips: pd.DataFrame) -> pd.DataFrame:
    """Divide counts by the sum of their row; a class that was never spoken has NaN."""
    return clips.div(clips.sum(axis=1).replace(0, np.nan), axis=0)


def write_cells(axes: Axes, clips: pd.DataFrame) -> None:
    """Write each share in %, and its count below; what never happened stays empty."""
    number, share = clips.to_numpy(), shares(clips).to_numpy()
    for row, column in np.argwhere(number):
        write_cell(axes, (column, row), share[row, column], number[row, column])


def write_cell(axes: Axes, place: tuple[float, float], share: float, clips: int, *, weight: str = "normal") -> None:
    """Write a share in %, and how many clips it stands for below, in the ink that reads on its shade."""
    (x, y), ink = place, "white" if share > canvas.DARK else "black"
    look: Look = {"ha": "center", "va": "center", "color": ink, "weight": weight}
    axes.text(x, y - 0.14, f"{100 * share:.0f}", fontsize=11, **look)
    axes.text(x, y + 0.26, f"{clips:,}", fontsize=9, **look | {"weight": "normal"})


def slant(columns: int) -> Look:
    """Turn the names below the columns where they would run into each other."""
    return {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if columns > 7 else {}


@mpl.rc_context(STYLE)
def recall_by_corpus(table: pd.DataFrame, uar: Mapping[str, float], *, title: str, stamp: str = "") -> Figure:
    """Draw the recall of each emotion in each corpus, and UAR set apart before them.

    Args:
        table: a row per corpus and class, in the order to draw: corpus, class, recall (NaN: nobody spoke it), clips.
        uar: by corpus.
        title: heading of the picture.
        stamp: text of the band above the picture, "" for none.
    """
    if table.empty:
        return canvas.notice("No corpus was scored by itself.", stamp=stamp)
    recall, clips = wide(table, "recall"), wide(table, "clips")
    mean = pd.DataFrame({"UAR": [uar[corpus] for corpus in recall.index]}, index=recall.index, dtype=float)
    figure = canvas.sheet(1.25 + 0.52 * len(recall), stamp=stamp)
    axes = figure.subplots()
    block(axes, mean, clips.sum(axis=1).to_frame("UAR"), left=APART, weight="bold")
    block(axes, recall, clips, left=0)
    names = [*mean.columns, *recall.columns]
    axes.set_xticks([APART, *range(len(recall.columns))], names, **slant(len(names)))
    axes.set_yticks(range(len(recall)), recall.index)
    axes.set(
        title=title,
        xlabel="recall of each spoken emotion; below it: clips",
        xlim=(APART - 0.52, len(recall.columns) - 0.48),
    )
    axes.tick_params(length=0)
    axes.spines[:].set(visible=False)
    return figure


def wide(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Spread a column over corpora and classes, in the order they come in. Shape: ``(corpora, classes)``."""
    crossed = table.pivot_table(index="corpus", columns="class", values=name)
    return crossed.reindex(index=table["corpus"].unique(), columns=table["class"].unique())


def block(axes: Axes, values: pd.DataFrame, clips: pd.DataFrame, *, left: float, weight: str = "normal") -> None:
    """Draw a matrix whose first column stands at ``left``; a dash where there is no value."""
    shown, number = values.to_numpy(), clips.to_numpy()
    height, width = shown.shape
    edges = (left - 0.5, left + width - 0.5, height - 0.5, -0.5)
    axes.imshow(values, cmap=canvas.SHADES, vmin=0, vmax=1, aspect="auto", extent=edges)
    axes.add_patch(Rectangle((left - 0.5, -0.5), width, height, fill=False, edgecolor=FRAME))
    for row, column in np.ndindex(height, width):
        share, place = shown[row, column], (left + column, row)
        if np.isnan(share):
            axes.text(*place, MISSING, ha="center", va="center", color=SOFT)
        else:
            write_cell(axes, place, float(share), int(number[row, column]), weight=weight)
