"""Untrained bundles: time and memory of a model do not depend on its weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.corpora import folders
from pipeline.signal import extractor
from pipeline.train import bundle


def write(
    folder: Path, params: Mapping[str, Any], models: Mapping[int, Any], *, labels: Sequence[str], longest: float
) -> Path:
    """Write a bundle without scores and with the stamp of the demo.

    Args:
        folder: the folder to create.
        params: all settings, as in params.yaml.
        models: by fold.
        labels: the classes.
        longest: longest recording that is predicted whole, in s.
    """
    arch, view = params["model"]["arch"], params["model"]["features"]
    for fold, model in models.items():
        (folder / f"fold-{fold}").mkdir(parents=True)
        model.save(folder / f"fold-{fold}")
    page = folders.corpus_info("ravdess")
    card = bundle.Card(
        arch=arch,
        view=view,
        labels=list(labels),
        folds=list(models),
        seeds=[params["seed"]],
        split={"protocol": "speaker", "folds": 5, "labels": params["split"]["labels"]},
        synthetic=["ravdess"],
        corpora={"ravdess": {name: getattr(page, name) for name in ("title", "language", "licence", "citation")}},
        layout=vars(extractor.shard_layout(extractor.settings_from_params(params), view)),
        statistics={str(fold): {"mean": [], "variance": []} for fold in models},
        stamp="DEMO: synthetic speech, says nothing about people",
        params={name: params[name] for name in ("seed", "train", "model")},
        versions={"ser-features": "0.1.0"},
        files=bundle.file_checksums(folder),
        longest=longest,
    )
    bundle.write_card(folder, card)
    return folder


def network(params: Mapping[str, Any], classes: int, *, seed: int = 0) -> Any:
    """Build the network of ``model.arch`` with random weights and typical statistics."""
    from pipeline.dataset.inputs import Statistics
    from pipeline.train import architectures, models
    from pipeline.train.backend import keras

    keras.utils.set_random_seed(seed)
    shape = extractor.shard_layout(extractor.settings_from_params(params), params["model"]["features"]).shape
    usual = Statistics(np.full(shape[1], -50, np.float32), np.full(shape[1], 400, np.float32))
    return models.NetworkModel(architectures.build_network(params, shape, classes, statistics=usual))
