import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from pipeline.report import figures, style

CLASSES = ["angry", "neutral", "sad"]
HEARD = pd.DataFrame(  # angry is taken for sad once in four times, sad never for angry
    {
        "actual": ["angry"] * 4 + ["neutral"] * 2 + ["sad"] * 5,
        "predicted": ["angry", "angry", "angry", "sad", "neutral", "angry", "sad", "sad", "sad", "sad", "neutral"],
    }
)
HISTORY = pd.DataFrame(
    {
        "fold": [0, 0, 0, 3, 3],
        "epoch": [1, 2, 3, 1, 2],
        "loss": [2.0, 1.5, 1.0, 2.1, 1.7],
        "val_loss": [2.2, 1.6, 1.8, 2.3, 2.4],
        "uar": [0.2, 0.4, 0.6, 0.3, 0.5],
        "val_uar": [0.2, 0.5, 0.4, 0.35, 0.3],
        "accuracy": [0.25, 0.45, 0.65, 0.35, 0.55],
        "val_accuracy": [0.22, 0.52, 0.42, 0.37, 0.32],
    }
)
F1 = pd.DataFrame({"class": CLASSES, "f1": [0.4, 0.9, 0.65], "support": [4, 2, 1500]})
UAR = pd.DataFrame(
    [
        ("crema_d", 0.45, 0.4, 0.52, 7442, 91, 1 / 6, np.nan),
        ("pooled", 0.6, 0.5, 0.75, 10242, 93, 1 / 7, 0.47),
        ("tess", 0.9, np.nan, np.nan, 2800, 1, 1 / 7, np.nan),
    ],
    columns=["corpus", "uar", "low", "high", "clips", "speakers", "chance", "svm"],
)
RECALL = pd.DataFrame(  # nobody is neutral in tess; neither corpora nor classes stand in the order of the alphabet
    [
        ("tess", "sad", 0.95, 400), ("tess", "angry", 0.85, 1400), ("tess", "neutral", np.nan, 0),
        ("crema_d", "sad", 0.3, 1271), ("crema_d", "angry", 0.64, 1270), ("crema_d", "neutral", 0.4, 1087),
    ],
    columns=["corpus", "class", "recall", "clips"],
)  # fmt: skip
MEAN = {"crema_d": 0.4467, "pooled": 0.5, "tess": 0.9}
MAKERS = {
    "curves": lambda stamp: figures.draw_curves(HISTORY, stamp=stamp),
    "no_curves": lambda stamp: figures.draw_curves(HISTORY.head(0), stamp=stamp),
    "confusion": lambda stamp: figures.draw_confusion(HEARD, CLASSES, title="Confusion", stamp=stamp),
    "recall_by_corpus": lambda stamp: figures.draw_recall_by_corpus(RECALL, MEAN, title="Recall", stamp=stamp),
    "no_recall": lambda stamp: figures.draw_recall_by_corpus(RECALL.head(0), {}, title="Recall", stamp=stamp),
    "f1_by_class": lambda stamp: figures.draw_f1_by_class(F1, stamp=stamp),
    "uar_by_corpus": lambda stamp: figures.draw_uar_by_corpus(UAR, stamp=stamp),
}


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def lines(axes, **look):
    return [line for line in axes.lines if all(getattr(line, f"get_{key}")() == value for key, value in look.items())]


def drawn(figure):
    figure.draw_without_rendering()
    return figure


def test_confusion_rows_are_what_was_spoken_and_sum_to_one():
    (axes,) = figures.draw_confusion(HEARD, CLASSES, title="Confusion").axes
    share = np.asarray(axes.images[0].get_array())
    assert share.sum(axis=1) == pytest.approx([1, 1, 1])
    assert share[0] == pytest.approx([0.75, 0, 0.25])
    assert share[2] == pytest.approx([0, 0.2, 0.8])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "actual")
    assert labels(axes.xaxis) == labels(axes.yaxis) == CLASSES


def test_confusion_writes_share_above_count_and_leaves_empty_what_never_happened():
    (axes,) = figures.draw_confusion(HEARD, CLASSES, title="Confusion").axes
    written = {}
    for text in sorted(axes.texts, key=lambda text: text.get_position()[1]):
        column, row = (round(value) for value in text.get_position())
        written.setdefault((row, column), []).append(text.get_text())
    assert written[0, 2] == ["25", "1"]
    assert written[2, 2] == ["80", "4"]
    assert (2, 0) not in written
    assert axes.yaxis_inverted()  # the first class on top, as the labels say


def test_the_diagonal_is_recall_as_scikit_learn_has_it():
    from sklearn.metrics import confusion_matrix

    theirs = confusion_matrix(HEARD["actual"], HEARD["predicted"], labels=CLASSES, normalize="true")
    assert figures.normalise_rows(figures.confusion_counts(HEARD, CLASSES)).to_numpy() == pytest.approx(theirs)


def test_a_class_that_nobody_spoke_is_an_empty_row():
    share = figures.normalise_rows(figures.confusion_counts(HEARD, [*CLASSES, "calm"]))
    assert share.loc["calm"].isna().all()
    figures.draw_confusion(HEARD, [*CLASSES, "calm"], title="Confusion").draw_without_rendering()


@pytest.mark.parametrize("size", [4, 7, 8, 9])
def test_confusion_labels_do_not_run_into_each_other(size):
    names = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "calm", "boredom"][:size]
    heard = pd.DataFrame({"actual": names * 12345, "predicted": names * 12345})
    (axes,) = drawn(figures.draw_confusion(heard, names, title="Confusion")).axes
    boxes = [label.get_window_extent() for label in axes.yaxis.get_ticklabels()]
    boxes += [text.get_window_extent() for text in axes.texts]
    if size < 8:  # from there on the labels below are slanted, and their boxes mean little
        boxes += [label.get_window_extent() for label in axes.xaxis.get_ticklabels()]
    assert not [(a, b) for k, a in enumerate(boxes) for b in boxes[:k] if a.overlaps(b)]


def test_curves_draw_a_line_per_fold_training_apart_from_validation():
    for axes, name in zip(figures.draw_curves(HISTORY).axes, ("loss", "uar", "accuracy"), strict=True):
        training, validation = lines(axes, linestyle="--"), lines(axes, linestyle="-")
        assert [list(line.get_ydata()) for line in training] == [list(HISTORY[name][:3]), list(HISTORY[name][3:])]
        assert [len(line.get_ydata()) for line in validation] == [3, 2]
        assert training[0].get_color() != validation[0].get_color()


def test_curves_ring_the_first_epoch_of_highest_validation_uar_of_each_fold():
    loss, uar, accuracy = figures.draw_curves(HISTORY).axes
    assert [ring.get_xydata().tolist() for ring in lines(uar, marker="o")] == [[[2, 0.5]], [[1, 0.35]]]
    assert [ring.get_xydata().tolist() for ring in lines(accuracy, marker="o")] == [[[2, 0.52]], [[1, 0.37]]]
    assert [ring.get_xydata().tolist() for ring in lines(loss, marker="o")] == [[[2, 1.6]], [[1, 2.3]]]


def test_the_epoch_that_training_kept_goes_before_the_one_of_highest_uar():
    uar = figures.draw_curves(HISTORY, best={0: 3, 3: 2}).axes[1]
    assert [ring.get_xydata().tolist() for ring in lines(uar, marker="o")] == [[[3, 0.4]], [[2, 0.3]]]


@pytest.mark.parametrize(
    "history",
    [HISTORY.drop(columns=["accuracy", "val_accuracy"]), HISTORY.assign(accuracy=np.nan, val_accuracy=np.nan)],
)
def test_a_history_without_accuracy_has_no_panel_for_it(history):
    assert [axes.get_title(loc="left") for axes in drawn(figures.draw_curves(history)).axes] == ["Loss", "UAR"]


def test_uar_and_accuracy_stand_on_one_scale_written_once():
    loss, uar, accuracy = drawn(figures.draw_curves(HISTORY)).axes
    assert uar.get_ylim() == accuracy.get_ylim() == (0, 1)
    assert loss.get_ylim() != (0, 1)
    written = [[label.get_visible() for label in axes.yaxis.get_ticklabels()] for axes in (loss, uar, accuracy)]
    assert [any(labels) for labels in written] == [True, True, False]


@pytest.mark.parametrize("history", [HISTORY.filter(regex="^(?!val_)"), HISTORY.assign(val_uar=np.nan)])
def test_without_validation_nothing_is_said_of_it(history):
    figure = drawn(figures.draw_curves(history))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training"]
    assert not [ring for ring in lines(figure.axes[1], marker="o") if np.isfinite(ring.get_ydata()).any()]


def test_one_epoch_is_a_dot_and_none_is_a_sentence():
    loss, *_ = drawn(figures.draw_curves(HISTORY[HISTORY["epoch"] == 1])).axes
    assert {line.get_marker() for line in lines(loss, linestyle="--")} == {"."}
    low, high = loss.get_xlim()
    assert [tick for tick in loss.get_xticks() if low <= tick <= high] == [1]
    (axes,) = figures.draw_curves(HISTORY.head(0)).axes
    assert "fitted in one step" in axes.texts[0].get_text()


def test_f1_bars_are_sorted_with_the_best_on_top():
    (axes,) = figures.draw_f1_by_class(F1).axes
    assert labels(axes.yaxis) == ["neutral  (2)", "sad  (1,500)", "angry  (4)"]
    assert [bar.get_width() for bar in axes.patches] == [0.9, 0.65, 0.4]
    assert axes.yaxis_inverted()


def test_a_class_without_f1_comes_last_and_says_so():
    (axes,) = drawn(figures.draw_f1_by_class(F1.assign(f1=[0.4, np.nan, 0.65]))).axes
    assert [text.get_text() for text in axes.texts] == ["0.65", "0.40", "–"]
    assert labels(axes.yaxis)[2] == "neutral  (2)"


def test_corpora_come_pooled_first_with_their_sizes():
    (axes,) = figures.draw_uar_by_corpus(UAR).axes
    expected = [
        "pooled\n93 speakers, 10,242 clips",
        "crema_d\n91 speakers, 7,442 clips",
        "tess\n1 speaker, 2,800 clips",
    ]
    assert labels(axes.yaxis) == expected
    assert [bar.get_width() for bar in axes.patches] == [0.6, 0.45, 0.9]
    assert [text.get_text() for text in axes.texts] == ["60.0 %", "45.0 %", "90.0 %"]


def test_whiskers_span_the_interval_and_chance_is_dashed_on_each_row():
    (axes,) = figures.draw_uar_by_corpus(UAR).axes
    assert [whisker.get_xydata().tolist() for whisker in lines(axes, marker="|")] == [
        [[0.5, 0], [0.75, 0]],
        [[0.4, 1], [0.52, 1]],
    ]
    dashes = lines(axes, linestyle="--")
    assert [set(line.get_xdata()) for line in dashes] == [{1 / 7}, {1 / 6}, {1 / 7}]
    assert [np.mean(line.get_ydata()) for line in dashes] == [0, 1, 2]


def test_of_a_single_corpus_pooled_is_not_drawn_again():
    (axes,) = figures.draw_uar_by_corpus(UAR.iloc[[1, 0]]).axes
    assert labels(axes.yaxis) == ["crema_d\n91 speakers, 7,442 clips"]
    assert [mark.get_xdata().tolist() for mark in lines(axes, marker="^")] == [[0.47]]  # the pooled svm is its svm


def test_the_svm_is_a_mark_on_the_pooled_bar_that_covers_no_number():
    (axes,) = drawn(
        figures.draw_uar_by_corpus(UAR.assign(svm=[np.nan, 0.8, np.nan]))
    ).axes  # where the number is written
    (mark,) = [mark for mark in lines(axes, marker="^") if np.isfinite(mark.get_xdata()).all()]
    assert (mark.get_xdata().tolist(), round(mark.get_ydata()[0])) == ([0.8], 0)
    assert not [text for text in axes.texts if text.get_window_extent().overlaps(mark.get_tightbbox())]
    assert "svm" in axes.get_xlabel()


def test_without_an_svm_none_is_spoken_of():
    (axes,) = drawn(figures.draw_uar_by_corpus(UAR.assign(svm=np.nan))).axes
    assert "svm" not in axes.get_xlabel()


def cells(axes):
    """What is written at each (row, column), the upper text first."""
    written = {}
    for text in sorted(axes.texts, key=lambda text: text.get_position()[1]):
        column, row = text.get_position()
        written.setdefault((round(row), round(column, 2)), []).append(text.get_text())
    return written


def test_recall_has_a_row_per_corpus_and_a_column_per_emotion_in_the_order_of_the_table():
    (axes,) = figures.draw_recall_by_corpus(RECALL, MEAN, title="Recall by corpus").axes
    assert labels(axes.yaxis) == ["tess", "crema_d"]
    assert labels(axes.xaxis) == ["UAR", "sad", "angry", "neutral"]
    mean, recall = (np.asarray(image.get_array().filled(-1)) for image in axes.images)
    assert mean.tolist() == [[0.9], [0.4467]]
    assert recall.tolist() == [[0.95, 0.85, -1], [0.3, 0.64, 0.4]]
    assert axes.yaxis_inverted()  # the first corpus on top, as the labels say
    assert axes.get_title(loc="left") == "Recall by corpus"


def test_recall_is_written_above_the_clips_it_stands_for_and_a_dash_where_nobody_spoke():
    (axes,) = figures.draw_recall_by_corpus(RECALL, MEAN, title="Recall").axes
    written, left = cells(axes), round(axes.get_xticks()[0], 2)
    assert written[0, 0] == ["95", "400"]
    assert written[1, 1] == ["64", "1,270"]
    assert written[0, 2] == ["–"]
    assert written[0, left] == ["90", "1,800"]
    assert written[1, left] == ["45", "3,628"]


def test_uar_stands_apart_from_the_emotions_and_bold():
    (axes,) = figures.draw_recall_by_corpus(RECALL, MEAN, title="Recall").axes
    (_, right, *_), (left, *_) = (image.get_extent() for image in axes.images)
    assert left - right > 0.1
    bold = {text.get_position()[0] for text in axes.texts if text.get_weight() == "bold"}
    assert bold == {axes.get_xticks()[0]}


@pytest.mark.parametrize("size", [4, 7, 9])
def test_names_below_recall_do_not_run_into_each_other(size):
    names = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "calm", "boredom"][:size]
    table = pd.DataFrame([("crema_d", name, 0.5, 12345) for name in names], columns=RECALL.columns)
    (axes,) = drawn(figures.draw_recall_by_corpus(table, {"crema_d": 0.5}, title="Recall")).axes
    boxes = [text.get_window_extent() for text in axes.texts]
    if size < 7:  # from there on the labels below are slanted, and their boxes mean little
        boxes += [label.get_window_extent() for label in axes.xaxis.get_ticklabels()]
    assert not [(a, b) for k, a in enumerate(boxes) for b in boxes[:k] if a.overlaps(b)]


@pytest.mark.parametrize("name", MAKERS)
def test_a_stamp_is_a_band_above_the_drawing(name):
    stamp = "DEMO: synthetic speech, says nothing about people · CONTAMINATED: 99 % of the test rows"
    plain, stamped = drawn(MAKERS[name]("")), drawn(MAKERS[name](stamp))
    (band,) = stamped.artists
    (text,) = stamped.texts
    assert text.get_text().replace("\n", " · ") == stamp
    assert stamped.get_figheight() > plain.get_figheight()
    assert not plain.texts
    ground = band.get_window_extent()
    assert (ground.x0, ground.x1, ground.y1) == (0, stamped.bbox.x1, stamped.bbox.y1)
    assert ground.containsx(text.get_window_extent().x0)
    assert ground.containsx(text.get_window_extent().x1)
    assert all(axes.get_tightbbox().y1 < ground.y0 <= text.get_window_extent().y0 for axes in stamped.axes)


@pytest.mark.parametrize("name", MAKERS)
def test_no_text_is_smaller_than_nine_points_or_outside_the_picture(name):
    figure = drawn(MAKERS[name]("DEMO"))
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 9
    ink = figure.get_tightbbox()  # inches
    assert min(ink.x0, ink.y0) >= 0
    assert ink.x1 <= figure.get_figwidth()
    assert ink.y1 <= figure.get_figheight()


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_table_gives_the_same_bytes_whatever_the_users_style(name, tmp_path):
    figures.save_figure(MAKERS[name]("DEMO"), tmp_path / "a.png")
    with mpl.rc_context({"font.size": 30, "axes.grid": False, "savefig.facecolor": "red", "savefig.dpi": 50}):
        figures.save_figure(MAKERS[name]("DEMO"), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == style.WIDTH * 160
        assert 150 < image.height < 1600
        assert image.info["Software"] == "ser-features"


def test_a_style_is_not_left_behind():
    before = dict(mpl.rcParams)
    MAKERS["confusion"]("DEMO")
    assert dict(mpl.rcParams) == before


def test_pyplot_is_never_imported():
    script = "import sys, pipeline.report.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
