"""Train one network a fold and bundle them: ``python -m pipeline.stages.train``."""

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before Keras: TensorFlow's start-up notes are not for our users

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline import config
from pipeline.corpora import registry as corpora
from pipeline.networks import registry, training
from pipeline.serving import bundle
from pipeline.stages import entry
from pipeline.store import batches, files, mapped, roles, statistics

PACKAGES = ("ser-features", "keras", "tensorflow", "numpy", "scipy", "numba", "soxr", "soundfile")
Numbers = npt.NDArray[np.int64]


def run(
    source: Path, shards: Sequence[Path], output: Path, metrics: Path, *, params: Mapping[str, Any], cache: Path
) -> None:
    """Train on the roles of ``source`` and write the bundle ``output`` and the figures ``metrics``.

    Raises:
        StoreError: the shards lack rows that the split names.
        SettingError: a parameter cannot work.
    """
    clips = roles.read(source)
    settings = config.section(training.Train, params, "train")
    table = mapped.open_table(shards, cache)
    folds = settings.chosen(sorted(clips["fold"].unique().tolist()))
    print(f"{config.get(params, 'model.arch')} on {table.layout.view}, {training.device()}", flush=True)
    results: dict[str, Any] = {}
    fitted: dict[str, Any] = {}
    with files.aside(output) as part:
        for fold in folds:
            print(f"fold {fold} ({folds.index(fold) + 1} of {len(folds)})", flush=True)
            trained, own, results[str(fold)] = train_fold(clips[clips["fold"] == fold], table, settings, params, fold)
            bundle.write_fold(part, fold, trained)
            fitted[str(fold)] = {"mean": own.mean.tolist(), "variance": own.variance.tolist()}
        bundle.write_card(part, card(part, clips, table, params, fitted))
        files.write_json(summary(params, trained.model, results), metrics)


def train_fold(
    clips: pd.DataFrame, table: mapped.Table, settings: training.Train, params: Mapping[str, Any], fold: int
) -> tuple[bundle.Fold, statistics.Statistics, dict[str, Any]]:
    """Train the network of one fold; nothing of its test rows is looked at."""
    seed = config.seed(params)
    keras.utils.set_random_seed(seed + fold)
    classes = clips.attrs["classes"]
    rows, labels = pick(clips, "train", table)
    judged, truth = pick(clips, "validation", table)
    fitted = statistics.fit(table, rows)
    model = registry.build(params, table.layout.shape, len(classes), statistics=fitted)
    weights = training.weights(labels, len(classes), balanced=settings.class_weights)
    order = np.random.default_rng([seed, fold])
    feed = batches.Batches(table, rows, labels, weights=weights, batch_size=settings.batch_size, shuffle=order)
    even = np.ones(len(classes), np.float32)
    check = batches.Batches(table, judged, truth, weights=even, batch_size=128) if len(judged) else None
    history = training.fit(model, feed, check, settings)
    return bundle.Fold(model, history), fitted, figures(history, settings, rows, judged)


def pick(clips: pd.DataFrame, role: str, table: mapped.Table) -> tuple[Numbers, Numbers]:
    """Number the rows of a role, and their classes."""
    chosen = clips[clips["role"] == role]
    codes = pd.Categorical(chosen["label"], categories=clips.attrs["classes"]).codes
    return table.find(chosen), np.asarray(codes, np.int64)


def figures(history: pd.DataFrame, settings: training.Train, rows: Numbers, judged: Numbers) -> dict[str, Any]:
    """What happened in one fold."""
    best = training.best_epoch(history, settings)
    last = history[history["epoch"] == best].iloc[0]
    scores = {name: round(float(last[name]), 4) for name in ("uar", "val_uar", "val_loss") if name in history}
    counts = {"train_rows": len(rows), "validation_rows": len(judged), "epochs": len(history), "best_epoch": best}
    return counts | scores


def card(
    folder: Path,
    clips: pd.DataFrame,
    table: mapped.Table,
    params: Mapping[str, Any],
    fitted: Mapping[str, Any],
) -> bundle.Card:
    """Describe the bundle."""
    pages = {name: corpora.page(name) for name in sorted(clips["corpus"].unique())}
    return bundle.Card(
        arch=config.get(params, "model.arch"),
        view=table.layout.view,
        labels=clips.attrs["classes"],
        folds=[int(fold) for fold in fitted],
        split=clips.attrs["split"],
        synthetic=clips.attrs["synthetic"],
        corpora={name: {"licence": page.licence, "citation": page.citation} for name, page in pages.items()},
        layout=vars(table.layout),
        statistics=fitted,
        params=told(params),
        versions={name: version(name) for name in PACKAGES} | {"backend": keras.backend.backend()},
        files=bundle.checksums(folder),
    )


def told(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that this stage depends on, and no others: those could be newer than the bundle."""
    arch, view = config.get(params, "model.arch"), config.get(params, "model.features")
    model = {"arch": arch, "features": view, arch: config.get(params, f"model.{arch}")}
    return {"seed": params["seed"], "train": params["train"], "model": model}


def summary(params: Mapping[str, Any], model: keras.Model, folds: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of all folds, for ``dvc metrics``: no wall-clock, or every run would differ."""
    return {
        "arch": config.get(params, "model.arch"),
        "view": config.get(params, "model.features"),
        "backend": keras.backend.backend(),
        "device": training.device(),
        "parameters": model.count_params(),
        "folds": folds,
    }


def main() -> None:
    """Read params.yaml and train."""
    params = config.read()
    view = config.get(params, "model.features")
    run(
        Path("data/clips.parquet"),
        [Path(f"features/{view}/{corpus}.parquet") for corpus in config.corpora(params)],
        Path("models/bundle"),
        Path("metrics/train.json"),
        params=params,
        cache=files.cache_folder() / "unpacked",
    )


if __name__ == "__main__":
    entry.stage(main)
