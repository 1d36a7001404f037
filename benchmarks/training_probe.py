"""Train networks on one backend, one round each: ``KERAS_BACKEND=jax python -m benchmarks.training_probe FOLDER``.

Reads the name of a network per line; writes a line of JSON with the seconds of one epoch of ours and of a bare script.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd

from benchmarks import corpus
from benchmarks.timing import seconds
from pipeline.core import config, machine
from pipeline.dataset import inputs, table
from pipeline.dataset.inputs import ModelInputs
from pipeline.signal import extractor
from pipeline.tools import recipes
from pipeline.train import architectures, batches, devices, stage, trainer
from pipeline.train.backend import keras
from pipeline.train.settings import Train

OWN = ("cnn", "crnn")
CLASSES = 7
ROUND = 15e9  # operations of a round, about: seconds on one or two cores
MOST = 1_024  # clips of a round, at most
BATCH = 32  # clips of a batch, at most: a larger one takes half a minute for some networks on a CPU


class Bench:
    """One network, trained as by the stage and by a bare script that does the same."""

    def __init__(self, name: str, folder: Path) -> None:
        params = settings(name)
        own = config.read_section(Train, params, "train")
        self.config = replace(own, epochs=1, batch_size=min(own.batch_size, BATCH))
        layout = extractor.shard_layout(extractor.settings_from_params(params), params["model"]["features"])
        statistics = inputs.neutral_statistics(layout.shape[1])
        keras.utils.set_random_seed(0)

        def build() -> keras.Model:
            return architectures.build_network(params, layout.shape, CLASSES, statistics=statistics)

        self.trained = trainer.build_training_model(build, statistics.mean.shape, self.config)
        self.flops = devices.training_flops(self.trained.network)
        size = self.config.batch_size
        self.rows = size * max(1, int(min(MOST, ROUND / self.flops) / size))
        table = table_of(layout, self.rows, folder / f"{name}-{keras.backend.backend()}.npy")
        numbers, weights = np.arange(self.rows), np.ones(CLASSES, np.float32)
        self.feed = batches.Batches(
            ModelInputs(table, "bins"), numbers, numbers % CLASSES, weights=weights, batch_size=size, shuffle=(0,)
        )
        self.bare = build()
        loss = "categorical_crossentropy"
        self.bare.compile(optimizer=trainer.build_optimizer(self.config), loss=loss, metrics=["accuracy"])
        self.x, self.y = table.gather(numbers), np.eye(CLASSES, dtype=np.float32)[numbers % CLASSES]
        self.weights = np.ones(self.rows, np.float32)
        self.ours(), self.script()

    def ours(self) -> None:
        """Train an epoch as the stage does."""
        trainer.fit_network(self.trained, self.feed, None, self.config, rows=self.rows)

    def script(self) -> None:
        """Train an epoch as a bare script does, on arrays in memory."""
        options: dict[str, Any] = {"sample_weight": self.weights, "batch_size": self.config.batch_size, "verbose": 0}
        self.bare.fit(self.x, self.y, **options)

    def fetch(self) -> None:
        """Make the batches of an epoch without training on them."""
        for number in range(len(self.feed)):
            self.feed[number]

    def round(self) -> dict[str, float]:
        """Time a round."""
        return {"ours": seconds(self.ours), "bare": seconds(self.script), "input": seconds(self.fetch)}


def settings(name: str) -> dict[str, Any]:
    """Return the parameters of one of our networks, or of a published system."""
    params = config.read_params(corpus.ROOT / "params.yaml")
    if name in OWN:
        params["model"] |= {"arch": name, "features": "logmel"}
        return params
    return recipes.apply_recipe(params, name)


def table_of(layout: Any, rows: int, path: Path) -> table.FeatureTable:
    """Memory-map a table of noise; the time of a step does not depend on the values."""
    noise = np.random.default_rng(0).standard_normal((rows, *layout.shape), np.float32)
    np.save(path, noise.astype(layout.dtype))
    array = np.load(path, mmap_mode="r").view(np.ndarray)
    index = pd.Series(range(rows), index=pd.MultiIndex.from_product([map(str, range(rows)), ["original"]]))
    return table.FeatureTable(layout, (array,), np.zeros(1, np.int64), index, np.full(rows, layout.shape[0], np.int32))


def about(bench: Bench) -> dict[str, Any]:
    """Describe a round of a network."""
    return {"rows": bench.rows, "batch": bench.config.batch_size, "flops": bench.flops}


def main() -> None:
    """Run rounds until the input ends; only the last network is kept, to save memory."""
    stage.keep_freed_memory()
    print(json.dumps({"matrix": devices.matmul_rate()}), flush=True)
    name, bench = "", None
    for line in sys.stdin:
        if line.strip() != name or bench is None:
            keras.utils.clear_session()
            name, bench = line.strip(), None
            bench = Bench(name, Path(sys.argv[1]))
        found: Mapping[str, Any] = about(bench) | bench.round()
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    machine.run_stage(main)
