"""Train one model a fold and bundle them: ``python -m pipeline.stages.train``."""

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before Keras: TensorFlow's start-up notes are not for our users

import keras
import numpy as np
import pandas as pd

from pipeline import config
from pipeline.corpora import registry as corpora
from pipeline.corpora.clip import Page
from pipeline.networks import training
from pipeline.serving import bundle
from pipeline.serving import card as cards
from pipeline.stages import entry, learning, memory
from pipeline.store import files, mapped, roles
from pipeline.store.statistics import Statistics

PACKAGES = ("ser-features", "keras", "tensorflow", "numpy", "scipy", "scikit-learn", "numba", "soxr", "soundfile")


def run(
    source: Path,
    shards: Sequence[Path],
    audit: Path,
    *,
    output: Path,
    metrics: Path,
    params: Mapping[str, Any],
    cache: Path,
) -> None:
    """Train on the roles of ``source``; write the bundle ``output``, still without scores, and the figures ``metrics``.

    Raises:
        StoreError: the shards lack rows that the split names.
        SettingError: a parameter cannot work.
    """
    clips = roles.read(source)
    settings = config.section(training.Train, params, "train")
    table = mapped.open_table(shards, cache)
    folds = settings.chosen(sorted(clips["fold"].unique().tolist()))
    stamp: str = files.read_json(audit, stage="split")["stamp"]
    print(
        f"{config.get(params, 'model.arch')} on {table.layout.view}, {training.device()}",
        *learning.soft_labels(clips, settings, arch=config.get(params, "model.arch")),
        *([stamp] if stamp else []),
        sep="\n",
    )
    results: dict[str, Any] = {}
    fitted: dict[str, Any] = {}
    with files.aside(output) as part:
        for fold in folds:
            print(f"fold {fold} ({folds.index(fold) + 1} of {len(folds)})", flush=True)
            trained, own, results[str(fold)] = train_fold(clips[clips["fold"] == fold], table, settings, params, fold)
            bundle.write_fold(part, fold, trained)
            fitted[str(fold)] = {"mean": own.mean.tolist(), "variance": own.variance.tolist()}
        cards.write(part, card(part, clips, table, params, fitted, stamp))
        files.write_json(summary(params, trained.model.size, results, stamp), metrics)


def train_fold(
    clips: pd.DataFrame, table: mapped.Table, settings: training.Train, params: Mapping[str, Any], fold: int
) -> tuple[bundle.Fold, Statistics, dict[str, Any]]:
    """Train the model of one fold and the baseline beside it."""
    seed = config.seed(params)
    keras.utils.set_random_seed(seed + fold)
    order = np.random.default_rng([seed, fold])
    classes = len(clips.attrs["classes"])
    task = learning.Task(table=table, clips=clips, classes=classes, settings=settings, order=order)
    trained, fitted = learning.learn(task, params)
    taught, _ = task.taught(config.get(params, "model.arch"))
    return trained, fitted, figures(trained.history, settings, rows=len(taught), judged=len(task.judged[0]))


def figures(history: pd.DataFrame, settings: training.Train, *, rows: int, judged: int) -> dict[str, Any]:
    """What happened in one fold; a model without epochs has none."""
    counts = {"train_rows": rows, "validation_rows": judged}
    if history.empty:
        return counts
    best = training.best_epoch(history, settings)
    last = history[history["epoch"] == best].iloc[0]
    names = ("uar", "accuracy", "val_uar", "val_accuracy", "val_loss")
    scores = {name: round(float(last[name]), 4) for name in names if name in history}
    return counts | {"epochs": len(history), "best_epoch": best} | scores


def card(
    folder: Path,
    clips: pd.DataFrame,
    table: mapped.Table,
    params: Mapping[str, Any],
    fitted: Mapping[str, Any],
    stamp: str,
) -> cards.Card:
    """Describe the bundle."""
    pages = {name: corpora.page(name) for name in sorted(clips["corpus"].unique())}
    return cards.Card(
        arch=config.get(params, "model.arch"),
        view=table.layout.view,
        labels=clips.attrs["classes"],
        folds=[int(fold) for fold in fitted],
        split=clips.attrs["split"],
        synthetic=clips.attrs["synthetic"],
        corpora={name: about(page) for name, page in pages.items()},
        layout=vars(table.layout),
        statistics=fitted,
        stamp=stamp,
        params=told(params),
        versions={name: version(name) for name in PACKAGES} | {"backend": keras.backend.backend()},
        files=cards.checksums(folder),
    )


def about(page: Page) -> dict[str, str]:
    """What must be known of a corpus by whoever gets a model of it."""
    return {name: getattr(page, name) for name in ("title", "language", "licence", "citation")}


def told(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that this stage depends on, and no others: those could be newer than the bundle."""
    arch, view = config.get(params, "model.arch"), config.get(params, "model.features")
    model = {"arch": arch, "features": view, **{name: config.get(params, f"model.{name}") for name in (arch, "svm")}}
    return {"seed": params["seed"], "train": params["train"], "model": model}


def summary(params: Mapping[str, Any], size: int, folds: Mapping[str, Any], stamp: str) -> dict[str, Any]:
    """The figures of all folds, for ``dvc metrics``: no wall-clock, or every run would differ."""
    return {
        "arch": config.get(params, "model.arch"),
        "view": config.get(params, "model.features"),
        "stamp": stamp,
        "backend": keras.backend.backend(),
        "device": training.device(),
        "parameters": size,
        "folds": folds,
    }


def main() -> None:
    """Read params.yaml and train."""
    memory.keep_freed()
    params = config.read()
    view = config.get(params, "model.features")
    run(
        Path("data/clips.parquet"),
        [Path(f"features/{view}/{corpus}.parquet") for corpus in config.corpora(params)],
        Path("metrics/audit.json"),
        output=Path("models/trained"),
        metrics=Path("metrics/train.json"),
        params=params,
        cache=files.cache_folder() / "unpacked",
    )


if __name__ == "__main__":
    entry.stage(main)
