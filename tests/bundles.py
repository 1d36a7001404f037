"""Bundles for tests: small networks that nobody trained, whose answers differ from clip to clip all the same."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import untrained
from pipeline.core import config
from pipeline.train.settings import SVM
from tests.paths import ROOT

LABELS = ("angry", "happy", "neutral", "sad")
SMALL: dict[str, dict[str, Any]] = {  # settings that make a network of each kind tiny
    "cnn": {"filters": [4, 4]},
    "crnn": {"filters": [4, 4], "units": 4},
    "conv1d": {"filters": [4] * 5, "units": 4},
    "crnn1d": {"filters": [4, 4], "units": 4},
    "conv2d": {"filters": [4] * 4, "units": [4, 4]},
    "crnn2d": {"filters": [4] * 4, "units": 4},
    SVM: {},
}


def make_bundle(
    folder: Path,
    *,
    arch: str = "cnn",
    view: str = "logmel",
    labels: tuple[str, ...] = LABELS,
    folds: tuple[int, ...] = (0,),
    longest: float = 5.0,
    seed: int = 0,
    **audio_settings: Any,
) -> Path:
    """Write the bundle ``folder`` of models with random weights, without scores; the same arguments, the same models.

    Args:
        folder: to make.
        arch: of the models.
        view: that they take.
        labels: the classes.
        folds: a model each.
        longest: s, of what counts as a clip.
        seed: of the weights.
        **audio_settings: what differs from the section ``audio`` of params.yaml.
    """
    params = told(arch, view, audio_settings)
    models = {fold: model(params, len(labels), seed=100 * seed + fold) for fold in folds}
    return untrained.write(folder, params, models, labels=labels, longest=longest)


def told(arch: str, view: str, audio_settings: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the repository with a tiny model in them."""
    params = config.read_params(ROOT / "params.yaml")
    params["audio"] |= audio_settings
    own = params["model"][arch] | SMALL[arch]
    params["model"] = {"arch": arch, "features": view, arch: own, SVM: params["model"][SVM]}
    return params


def model(params: dict[str, Any], classes: int, *, seed: int) -> Any:
    """Make a model with random weights."""
    from pipeline.dataset.inputs import Statistics
    from pipeline.signal import extractor
    from pipeline.train import models, svm

    shape = extractor.shard_layout(extractor.settings_from_params(params), params["model"]["features"]).shape
    rng = np.random.default_rng(seed)
    if params["model"]["arch"] == SVM:
        values = rng.normal(-20, 20, (40 * classes, 4 * shape[1])).astype(np.float32)
        own = Statistics(values.mean(axis=0), values.var(axis=0))
        settings = svm.svm_settings(params)
        machine = svm.fit_svm(
            values, np.arange(len(values)) % classes, classes, settings, balanced=True, statistics=own
        )
        return models.SvmModel(machine)
    network = untrained.network(params, classes, seed=seed).network
    return models.NetworkModel(
        spread(network, rng.normal(-50, 20, (16, *shape)) + rng.normal(0, 15, (16, 1, shape[1])))
    )


def spread(network: Any, patches: np.ndarray) -> Any:
    """Move the last layer so that over these patches every class comes out on top now and then.

    Shape: ``(b, frames, rows)``.
    """
    import keras

    last = network.layers[-1]
    before = keras.Model(network.input, last.input).predict_on_batch(patches.astype(np.float32))
    kernel = last.get_weights()[0]
    scores = before @ kernel
    size = scores.std(axis=0) + 1e-6
    last.set_weights([kernel / size, -scores.mean(axis=0) / size])
    return network
