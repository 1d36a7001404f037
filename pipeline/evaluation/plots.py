"""Draw the report's lines and bars: one table in, one figure out, each table in the shape of its CSV file."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.evaluation import canvas
from pipeline.evaluation.canvas import BLUE, INK, STYLE, VERMILLION
from pipeline.evaluation.drawing import Axes, Figure, Line2D, MaxNLocator, PercentFormatter, mpl
from pipeline.evaluation.frames import POOLED
from pipeline.evaluation.wording import MISSING, count, people, things

SOFTWARE = "ser-features"  # in the metadata of a picture, by which it is known as ours

Look = dict[str, Any]  # of a line or a text
TRAINING: Look = {"color": VERMILLION, "ls": "--", "lw": 1.0}
VALIDATION: Look = {"color": BLUE, "lw": 1.0}
KEPT: Look = {"color": BLUE, "ls": "", "marker": "o", "ms": 7, "mfc": "white", "mew": 1.6}
CHANCE: Look = {"color": INK, "ls": "--", "lw": 1.4}
SVM: Look = {"color": VERMILLION, "ls": "", "marker": "^", "ms": 9, "mec": "white", "mew": 0.8}
CURVES = {"loss": "Loss", "uar": "UAR", "accuracy": "Accuracy"}  # by column: the title of its panel


@mpl.rc_context(STYLE)
def curves(history: pd.DataFrame, *, best: Mapping[int, int] | None = None, stamp: str = "") -> Figure:
    """Draw loss, UAR and accuracy over the epochs, one thin line per fold, and ring the epoch that was kept.

    Args:
        history: columns fold, epoch, loss, uar and, where they were noted, accuracy, val_loss, val_uar, val_accuracy.
        best: the kept epoch of each fold, in the numbers of ``epoch``; else the first one of highest val_uar.
        stamp: text of the band above the picture, "" for none.
    """
    if history.empty:
        return canvas.notice("No training history: this model is fitted in one step.", stamp=stamp)
    figure = canvas.sheet(3.5, stamp=stamp)
    kept = best_epochs(history) if best is None else best
    shown = {name: title for name, title in CURVES.items() if noted(history, name)}
    every = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, (name, title) in zip(every, shown.items(), strict=True):
        draw_folds(axes, history, name, kept)
        axes.set(title=title, xlabel="epoch")
    share_scale(every[1:])
    figure.legend(handles=legend(history), loc="outside lower center", ncols=3)
    return figure


def noted(history: pd.DataFrame, name: str) -> bool:
    """Say whether any epoch has this figure."""
    return name in history and bool(history[name].notna().any())


def share_scale(every: Sequence[Axes]) -> None:
    """Put shares side by side on one scale from 0 to 100 %, written once."""
    for axes in every:
        axes.set(ylim=(0, 1))
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.tick_params(axis="y", labelleft=axes is every[0])


def best_epochs(history: pd.DataFrame) -> dict[int, int]:
    """Find each fold's first epoch of highest validation UAR; folds without validation have none.

    >>> best_epochs(pd.DataFrame({"fold": [0, 0, 1, 1], "epoch": [1, 2, 1, 2], "val_uar": [0.3, 0.4, 0.5, 0.2]}))
    {0: 2, 1: 1}
    """
    if not noted(history, "val_uar"):
        return {}
    rows = history.dropna(subset="val_uar").reset_index(drop=True)
    kept = rows.loc[rows.groupby("fold")["val_uar"].idxmax()]
    return {int(fold): int(epoch) for fold, epoch in zip(kept["fold"], kept["epoch"], strict=True)}


def draw_folds(axes: Axes, history: pd.DataFrame, name: str, kept: Mapping[int, int]) -> None:
    """Draw one quantity: training dashed, validation solid, a ring at the kept epoch."""
    dot = "." if len(set(history["epoch"])) == 1 else ""  # a line of one point is invisible
    for fold, rows in history.sort_values("epoch").groupby("fold"):
        axes.plot(rows["epoch"], rows[name], marker=dot, **TRAINING)
        if f"val_{name}" in rows:
            axes.plot(rows["epoch"], rows[f"val_{name}"], marker=dot, **VALIDATION)
            ring = rows[rows["epoch"] == kept.get(int(str(fold)))]
            axes.plot(ring["epoch"], ring[f"val_{name}"], **KEPT)
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def legend(history: pd.DataFrame) -> list[Line2D]:
    """Name what was drawn."""
    training, validation, kept = (Line2D([], [], **look) for look in (TRAINING, VALIDATION, KEPT))
    training.set_label("training")
    validation.set_label("validation")
    kept.set_label("epoch kept")
    return [training, validation, kept] if noted(history, "val_uar") else [training]


@mpl.rc_context(STYLE)
def f1_by_class(table: pd.DataFrame, *, unit: str = "clips", stamp: str = "") -> Figure:
    """Draw F1 per class, best on top. Columns: class, f1, support (in ``unit``)."""
    rows = table.sort_values(["f1", "class"], ascending=[False, True])
    labels = [f"{name}  ({count(size)})" for name, size in zip(rows["class"], rows["support"], strict=True)]
    figure = canvas.sheet(1.1 + 0.38 * len(rows), stamp=stamp)
    axes = canvas.bars(figure, rows["f1"].to_list(), labels)
    for row, value in enumerate(rows["f1"]):
        axes.text(np.nan_to_num(value) + 0.012, row, MISSING if np.isnan(value) else f"{value:.2f}", va="center")
    axes.set(title="F1 by class", xlabel=f"F1 (in brackets: test {unit} of the class)")
    return figure


@mpl.rc_context(STYLE)
def uar_by_corpus(table: pd.DataFrame, *, stamp: str = "") -> Figure:
    """Draw UAR per corpus with its 95 % interval and chance, pooled on top.

    Columns: corpus, uar, low, high (NaN where too few speakers allow no interval), clips, speakers, chance, svm (UAR of
    the baseline, in the pooled row alone).
    """
    rows = (
        table.tail(1).assign(svm=table["svm"].max()) if len(table) == 2 else table
    )  # of one corpus, pooled says the same
    rows = rows.sort_values("corpus", key=lambda names: names != POOLED, kind="stable")
    records = rows.to_dict("records")
    figure = canvas.sheet(1.3 + 0.55 * len(rows), stamp=stamp)
    axes = canvas.bars(figure, rows["uar"].to_list(), [corpus_label(record) for record in records])
    for row, record in enumerate(records):
        draw_interval(axes, row, record)
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    svm = "; triangle: svm" if rows["svm"].notna().any() else ""
    axes.set(title="UAR by corpus", xlabel=f"UAR with 95 % interval; dashed: chance{svm}")
    return figure


def corpus_label(record: Mapping[Hashable, Any]) -> str:
    """Name a corpus and, on a second line, its size."""
    return f"{record['corpus']}\n{people(record['speakers'])}, {things(record['clips'], 'clip')}"


def draw_interval(axes: Axes, row: int, record: Mapping[Hashable, Any]) -> None:
    """Draw a whisker where there is an interval, write the number beside it, and mark chance and the svm."""
    uar, chance, svm, *ends = (record[name] for name in ("uar", "chance", "svm", "low", "high"))
    ends = [end for end in ends if np.isfinite(end)]
    if ends:
        axes.plot(ends, [row, row], color=INK, lw=1.6, marker="|", ms=9, mew=1.6)
    if np.isfinite(uar):
        axes.text(max([uar, *ends]) + 0.015, row, f"{100 * uar:.1f} %", va="center")
    axes.plot([chance, chance], [row - 0.5, row + 0.5], **CHANCE)
    axes.plot([svm], [row + 0.31], **SVM)  # at the lower edge of the bar, so that it covers no number


def is_ours(path: Path) -> bool:
    """Say whether a file is a picture that `save` wrote."""
    with path.open("rb") as file:
        return b"tEXtSoftware\0" + SOFTWARE.encode() in file.read(512)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG of 160 dots an inch, the same bytes each time, aside first and then renamed."""
    part = path.with_name(f"{path.name}.tmp")
    with mpl.rc_context(STYLE):
        figure.savefig(part, format="png", dpi=canvas.DPI, metadata={"Software": SOFTWARE})
    part.replace(path)
