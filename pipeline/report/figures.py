"""The figures of the report, and the tables that they show."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.plotting import Axes, Figure, Line2D, MaxNLocator, PercentFormatter, Rectangle, mpl
from pipeline.report import style
from pipeline.report.style import BLUE, INK, SOFT, STYLE, VERMILLION
from pipeline.report.tables import Values, subsection
from pipeline.text import MISSING, format_count, format_speakers, format_things

CONFUSION_TITLE = "Confusion matrix: share of each actual emotion, in %"
RECALL_TITLE = "Recall by corpus, in %"
LEFT_OUT_TITLE = "Left-out corpus: recall in %"
POOLED = "pooled"  # the row over all corpora
HISTORY = ("fold", "epoch", "loss", "val_loss", "uar", "val_uar", "accuracy", "val_accuracy", "learning_rate")
CORPUS = ("corpus", "uar", "low", "high", "clips", "speakers", "chance", "svm")


def history_table(folds: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """Concatenate the histories of the folds, a row per fold and epoch."""
    parts = [rows.assign(fold=fold) for fold, rows in folds.items()]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return rows.reindex(columns=list(HISTORY))  # 'dvc plots' needs val_loss even without validation


def confusion_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """True and predicted class of each test row. Columns: actual, predicted."""
    return predictions[["label", "predicted"]].set_axis(["actual", "predicted"], axis="columns")


def f1_table(scores: Values, classes: Sequence[str]) -> pd.DataFrame:
    """Scores of each class, in the order of the classes."""
    columns = ("precision", "recall", "f1", "support")
    named = {name: subsection(scores, "class", name) for name in classes}
    rows = [(name, *(values.get(column) for column in columns)) for name, values in named.items()]
    return pd.DataFrame(rows, columns=["class", *columns]).astype(dict.fromkeys(columns[:3], float))


def uar_table(scores: Values) -> pd.DataFrame:
    """UAR with its interval and chance, pooled and by corpus; the UAR of the baseline is in the pooled row."""
    pooled = subsection(scores, "test") | {"svm": subsection(scores, "baseline", "svm").get("uar")}
    named = {POOLED: pooled} | subsection(scores, "corpus")
    chance = pooled.get("chance")
    rows = [{"corpus": k, "chance": chance, **values, **subsection(values, "uar_ci95")} for k, values in named.items()]
    shares = ("uar", "low", "high", "chance", "svm")
    return pd.DataFrame(rows).reindex(columns=list(CORPUS)).astype(dict.fromkeys(shares, float))


def recall_table(scores: Values, predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Recall and number of clips by corpus and class; recall is NaN for a class without clips.

    Args:
        scores: of the bundle.
        predictions: a row per test row: corpus, clip_id, label.
        classes: in the order of the rows.
    """
    clips = predictions.groupby(["corpus", "label"])["clip_id"].nunique().to_dict()
    names = [(corpus, name) for corpus in subsection(scores, "corpus") for name in classes]
    recall = [subsection(scores, "corpus", corpus, "recall").get(name) for corpus, name in names]
    table = pd.DataFrame(names, columns=["corpus", "class"])
    return table.assign(recall=pd.Series(recall, dtype=float), clips=[clips.get(name, 0) for name in names])


def add_stamp(table: pd.DataFrame, stamp: str) -> pd.DataFrame:
    """Add the stamp, if any, as the last column, so that plots of the data can show it too."""
    return table.assign(stamp=stamp) if stamp else table


SOFTWARE = "ser-features"  # in the metadata of our PNG files, by which `is_own_figure` recognises them

Style = dict[str, Any]  # style of a line or a text
TRAINING: Style = {"color": VERMILLION, "ls": "--", "lw": 1.0}
VALIDATION: Style = {"color": BLUE, "lw": 1.0}
BEST: Style = {"color": BLUE, "ls": "", "marker": "o", "ms": 7, "mfc": "white", "mew": 1.6}
CHANCE: Style = {"color": INK, "ls": "--", "lw": 1.4}
SVM: Style = {"color": VERMILLION, "ls": "", "marker": "^", "ms": 9, "mec": "white", "mew": 0.8}
CURVES = {"loss": "Loss", "uar": "UAR", "accuracy": "Accuracy"}  # by column: the title of its panel


@mpl.rc_context(STYLE)
def draw_curves(history: pd.DataFrame, *, best: Mapping[int, int] | None = None, stamp: str = "") -> Figure:
    """Draw loss, UAR and accuracy over the epochs, one line per fold, with a ring at the best epoch.

    Args:
        history: columns fold, epoch, loss, uar and optionally accuracy, val_loss, val_uar, val_accuracy.
        best: epoch of each fold whose weights were saved; by default the first one of highest val_uar.
        stamp: text of the band above the figure, "" for none.
    """
    if history.empty:
        return style.text_figure("No training history: this model is fitted in one step.", stamp=stamp)
    figure = style.empty_figure(3.5, stamp=stamp)
    best = _best_epochs(history) if best is None else best
    shown = {name: title for name, title in CURVES.items() if _has_metric(history, name)}
    every = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, (name, title) in zip(every, shown.items(), strict=True):
        _draw_folds(axes, history, name, best)
        axes.set(title=title, xlabel="epoch")
    _share_scale(every[1:])
    figure.legend(handles=_legend_handles(history), loc="outside lower center", ncols=3)
    return figure


def _has_metric(history: pd.DataFrame, name: str) -> bool:
    """Check whether any epoch has this metric."""
    return name in history and bool(history[name].notna().any())


def _share_scale(every: Sequence[Axes]) -> None:
    """Give adjacent axes one scale from 0 to 100 %, with tick labels on the first."""
    for axes in every:
        axes.set(ylim=(0, 1))
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.tick_params(axis="y", labelleft=axes is every[0])


def _best_epochs(history: pd.DataFrame) -> dict[int, int]:
    """First epoch of highest validation UAR of each fold; folds without validation are left out.

    >>> _best_epochs(pd.DataFrame({"fold": [0, 0, 1, 1], "epoch": [1, 2, 1, 2], "val_uar": [0.3, 0.4, 0.5, 0.2]}))
    {0: 2, 1: 1}
    """
    if not _has_metric(history, "val_uar"):
        return {}
    rows = history.dropna(subset="val_uar").reset_index(drop=True)
    best = rows.loc[rows.groupby("fold")["val_uar"].idxmax()]
    return {int(fold): int(epoch) for fold, epoch in zip(best["fold"], best["epoch"], strict=True)}


def _draw_folds(axes: Axes, history: pd.DataFrame, name: str, best: Mapping[int, int]) -> None:
    """Draw one metric: training dashed, validation solid, a ring at the best epoch."""
    dot = "." if len(set(history["epoch"])) == 1 else ""  # a line of one point is invisible
    for fold, rows in history.sort_values("epoch").groupby("fold"):
        axes.plot(rows["epoch"], rows[name], marker=dot, **TRAINING)
        if f"val_{name}" in rows:
            axes.plot(rows["epoch"], rows[f"val_{name}"], marker=dot, **VALIDATION)
            ring = rows[rows["epoch"] == best.get(int(str(fold)))]
            axes.plot(ring["epoch"], ring[f"val_{name}"], **BEST)
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def _legend_handles(history: pd.DataFrame) -> list[Line2D]:
    """Handles of the legend."""
    training, validation, best = (Line2D([], [], **look) for look in (TRAINING, VALIDATION, BEST))
    training.set_label("training")
    validation.set_label("validation")
    best.set_label("best epoch")
    return [training, validation, best] if _has_metric(history, "val_uar") else [training]


@mpl.rc_context(STYLE)
def draw_f1_by_class(table: pd.DataFrame, *, unit: str = "clips", stamp: str = "") -> Figure:
    """Draw the F1 score of each class, best on top. Columns: class, f1, support (in ``unit``)."""
    rows = table.sort_values(["f1", "class"], ascending=[False, True])
    labels = [f"{name}  ({format_count(size)})" for name, size in zip(rows["class"], rows["support"], strict=True)]
    figure = style.empty_figure(1.1 + 0.38 * len(rows), stamp=stamp)
    axes = style.horizontal_bars(figure, rows["f1"].to_list(), labels)
    for row, value in enumerate(rows["f1"]):
        axes.text(np.nan_to_num(value) + 0.012, row, MISSING if np.isnan(value) else f"{value:.2f}", va="center")
    axes.set(title="F1 by class", xlabel=f"F1 (in brackets: test {unit} of the class)")
    return figure


@mpl.rc_context(STYLE)
def draw_uar_by_corpus(table: pd.DataFrame, *, stamp: str = "") -> Figure:
    """Draw the UAR of each corpus with its 95 % interval and chance, pooled on top.

    Columns: corpus, uar, low, high (NaN with too few speakers for an interval), clips, speakers, chance, svm (UAR of
    the baseline, in the pooled row only).
    """
    single = len(table) == 2  # with one corpus the pooled row is the same
    rows = table.tail(1).assign(svm=table["svm"].max()) if single else table
    rows = rows.sort_values("corpus", key=lambda names: names != POOLED, kind="stable")
    records = rows.to_dict("records")
    figure = style.empty_figure(1.3 + 0.55 * len(rows), stamp=stamp)
    axes = style.horizontal_bars(figure, rows["uar"].to_list(), [_corpus_label(record) for record in records])
    for row, record in enumerate(records):
        _draw_interval(axes, row, record)
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    svm = "; triangle: svm" if rows["svm"].notna().any() else ""
    axes.set(title="UAR by corpus", xlabel=f"UAR with 95 % interval; dashed: chance{svm}")
    return figure


def _corpus_label(record: Mapping[Hashable, Any]) -> str:
    """Label of a bar: the corpus and, on a second line, its size."""
    return f"{record['corpus']}\n{format_speakers(record['speakers'])}, {format_things(record['clips'], 'clip')}"


def _draw_interval(axes: Axes, row: int, record: Mapping[Hashable, Any]) -> None:
    """Draw the interval of a bar, if any, write its UAR, and mark chance and the svm."""
    uar, chance, svm, *ends = (record[name] for name in ("uar", "chance", "svm", "low", "high"))
    ends = [end for end in ends if np.isfinite(end)]
    if ends:
        axes.plot(ends, [row, row], color=INK, lw=1.6, marker="|", ms=9, mew=1.6)
    if np.isfinite(uar):
        axes.text(max([uar, *ends]) + 0.015, row, f"{100 * uar:.1f} %", va="center")
    axes.plot([chance, chance], [row - 0.5, row + 0.5], **CHANCE)
    axes.plot([svm], [row + 0.31], **SVM)  # at the lower edge of the bar, so that it covers no text


def is_own_figure(path: Path) -> bool:
    """Check whether a file is a PNG that `save_figure` wrote."""
    with path.open("rb") as file:
        return b"tEXtSoftware\0" + SOFTWARE.encode() in file.read(512)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG of 160 dpi atomically; the same figure gives the same bytes."""
    part = path.with_name(f"{path.name}.tmp")
    with mpl.rc_context(STYLE):
        figure.savefig(part, format="png", dpi=style.DPI, metadata={"Software": SOFTWARE})
    part.replace(path)


FRAME = "#cccccc"
APART = -1.25  # position of the UAR column; those of the emotions are 0, 1, ...


@mpl.rc_context(STYLE)
def draw_confusion(table: pd.DataFrame, classes: Sequence[str], *, title: str, stamp: str = "") -> Figure:
    """Draw the confusion matrix, true class by predicted class; rows sum to 100 %, so the diagonal is recall.

    Args:
        table: a row per test row, columns actual and predicted.
        classes: order of rows and columns.
        title: heading of the figure.
        stamp: text of the band above the figure, "" for none.
    """
    clips = confusion_counts(table, classes)
    figure = style.empty_figure(1.25 + 0.52 * len(classes), stamp=stamp)
    axes = figure.subplots()
    axes.imshow(normalise_rows(clips), cmap=style.SHADES, vmin=0, vmax=1, aspect="auto")
    _write_cells(axes, clips)
    axes.set_xticks(range(len(classes)), classes, **_tick_label_style(len(classes)))
    axes.set_yticks(range(len(classes)), classes)
    axes.set(title=title, xlabel="predicted", ylabel="actual")
    axes.tick_params(length=0)
    axes.spines[:].set(visible=True, color=FRAME)
    return figure


def confusion_counts(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Confusion matrix. Shape: ``(classes, classes)``, true class by predicted class.

    >>> predictions = pd.DataFrame({"actual": ["sad", "sad"], "predicted": ["fear", "sad"]})
    >>> confusion_counts(predictions, ["fear", "sad"]).to_numpy().tolist()
    [[0, 0], [1, 1]]
    """
    crossed = pd.crosstab(table["actual"], table["predicted"])
    return crossed.reindex(index=list(classes), columns=list(classes), fill_value=0)


def normalise_rows(clips: pd.DataFrame) -> pd.DataFrame:
    """Normalise a confusion matrix by row; a class without clips has NaN."""
    return clips.div(clips.sum(axis=1).replace(0, np.nan), axis=0)


def _write_cells(axes: Axes, clips: pd.DataFrame) -> None:
    """Write share and count into each cell whose count is not 0."""
    number, share = clips.to_numpy(), normalise_rows(clips).to_numpy()
    for row, column in np.argwhere(number):
        _write_cell(axes, (column, row), share[row, column], number[row, column])


def _write_cell(axes: Axes, position: tuple[float, float], share: float, clips: int, *, weight: str = "normal") -> None:
    """Write a share in %, and below it the number of clips, in a colour that contrasts with its shade."""
    (x, y), ink = position, "white" if share > style.DARK else "black"
    look: Style = {"ha": "center", "va": "center", "color": ink, "weight": weight}
    axes.text(x, y - 0.14, f"{100 * share:.0f}", fontsize=11, **look)
    axes.text(x, y + 0.26, f"{clips:,}", fontsize=9, **look | {"weight": "normal"})


def _tick_label_style(columns: int) -> Style:
    """Text settings that rotate the labels of many columns, which would overlap."""
    return {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if columns > 7 else {}


@mpl.rc_context(STYLE)
def draw_recall_by_corpus(table: pd.DataFrame, uar: Mapping[str, float], *, title: str, stamp: str = "") -> Figure:
    """Draw the recall of each emotion in each corpus, and to the left its UAR.

    Args:
        table: a row per corpus and class, in the order to draw: corpus, class, recall (NaN without clips), clips.
        uar: by corpus.
        title: heading of the figure.
        stamp: text of the band above the figure, "" for none.
    """
    if table.empty:
        return style.text_figure("No scores by corpus.", stamp=stamp)
    recall, clips = _pivot_table(table, "recall"), _pivot_table(table, "clips")
    mean = pd.DataFrame({"UAR": [uar[corpus] for corpus in recall.index]}, index=recall.index, dtype=float)
    figure = style.empty_figure(1.25 + 0.52 * len(recall), stamp=stamp)
    axes = figure.subplots()
    _draw_heat_map(axes, mean, clips.sum(axis=1).to_frame("UAR"), left=APART, weight="bold")
    _draw_heat_map(axes, recall, clips, left=0)
    names = [*mean.columns, *recall.columns]
    axes.set_xticks([APART, *range(len(recall.columns))], names, **_tick_label_style(len(names)))
    axes.set_yticks(range(len(recall)), recall.index)
    axes.set(
        title=title,
        xlabel="recall of each emotion; below it: clips",
        xlim=(APART - 0.52, len(recall.columns) - 0.48),
    )
    axes.tick_params(length=0)
    axes.spines[:].set(visible=False)
    return figure


def _pivot_table(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Pivot a column to corpora by classes, in the order of the table. Shape: ``(corpora, classes)``."""
    crossed = table.pivot_table(index="corpus", columns="class", values=name)
    return crossed.reindex(index=table["corpus"].unique(), columns=table["class"].unique())


def _draw_heat_map(
    axes: Axes, values: pd.DataFrame, clips: pd.DataFrame, *, left: float, weight: str = "normal"
) -> None:
    """Draw a heat map whose first column is at ``left``, with a dash where there is no value."""
    shown, number = values.to_numpy(), clips.to_numpy()
    height, width = shown.shape
    edges = (left - 0.5, left + width - 0.5, height - 0.5, -0.5)
    axes.imshow(values, cmap=style.SHADES, vmin=0, vmax=1, aspect="auto", extent=edges)
    axes.add_patch(Rectangle((left - 0.5, -0.5), width, height, fill=False, edgecolor=FRAME))
    for row, column in np.ndindex(height, width):
        share, position = shown[row, column], (left + column, row)
        if np.isnan(share):
            axes.text(*position, MISSING, ha="center", va="center", color=SOFT)
        else:
            _write_cell(axes, position, float(share), int(number[row, column]), weight=weight)
