"""The tables behind the report's pictures, each in the shape of its CSV file."""

from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.evaluation.tables import Values, part

POOLED = "pooled"  # the row over all corpora
HISTORY = ("fold", "epoch", "loss", "val_loss", "uar", "val_uar", "accuracy", "val_accuracy", "learning_rate")
CORPUS = ("corpus", "uar", "low", "high", "clips", "speakers", "chance", "svm")


def history(folds: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """Put the histories of the folds together, a row per fold and epoch."""
    parts = [rows.assign(fold=fold) for fold, rows in folds.items()]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return rows.reindex(columns=list(HISTORY))  # dvc plots asks for val_loss even where nothing was validated


def confusion(heard: pd.DataFrame) -> pd.DataFrame:
    """Keep what each tested row was and what it was taken for: columns actual, predicted."""
    return heard[["label", "predicted"]].set_axis(["actual", "predicted"], axis="columns")


def f1_by_class(scores: Values, classes: Sequence[str]) -> pd.DataFrame:
    """Tabulate the scores of each class, in the order of the classes."""
    columns = ("precision", "recall", "f1", "support")
    named = {name: part(scores, "class", name) for name in classes}
    rows = [(name, *(values.get(column) for column in columns)) for name, values in named.items()]
    return pd.DataFrame(rows, columns=["class", *columns]).astype(dict.fromkeys(columns[:3], float))


def uar_by_corpus(scores: Values) -> pd.DataFrame:
    """Tabulate UAR, its interval and chance, pooled and by corpus; the baseline's UAR stands in the pooled row."""
    pooled = part(scores, "test") | {"svm": part(scores, "baseline", "svm").get("uar")}
    named = {POOLED: pooled} | part(scores, "corpus")
    chance = pooled.get("chance")
    rows = [{"corpus": k, "chance": chance, **values, **part(values, "uar_ci95")} for k, values in named.items()]
    shares = ("uar", "low", "high", "chance", "svm")
    return pd.DataFrame(rows).reindex(columns=list(CORPUS)).astype(dict.fromkeys(shares, float))


def recall_by_corpus(scores: Values, heard: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Tabulate recall by corpus and class, NaN where nobody spoke it, and how many clips it stands for.

    Args:
        scores: those of the bundle.
        heard: a row per tested row: corpus, clip_id, label.
        classes: in the order of the rows.
    """
    clips = heard.groupby(["corpus", "label"])["clip_id"].nunique().to_dict()
    names = [(corpus, name) for corpus in part(scores, "corpus") for name in classes]
    recall = [part(scores, "corpus", corpus, "recall").get(name) for corpus, name in names]
    table = pd.DataFrame(names, columns=["corpus", "class"])
    return table.assign(recall=pd.Series(recall, dtype=float), clips=[clips.get(name, 0) for name in names])


def stamped(table: pd.DataFrame, stamp: str) -> pd.DataFrame:
    """Add the stamp as the last column, so that whoever draws the data reads it too; nothing where there is none."""
    return table.assign(stamp=stamp) if stamp else table
