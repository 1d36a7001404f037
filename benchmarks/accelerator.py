"""Train the published Conv1D system at full size on one device: ``python -m benchmarks.accelerator``.

38,918 rows of 2,376 numbers, 20 epochs of batches of 128: 9.5 PFLOP. The rows are noise, because the time does not
depend on their values. On a CPU use fewer: ``--rows 256 --epochs 2``.
"""

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.training_probe import CLASSES, settings, table_of
from pipeline.core import config, machine
from pipeline.dataset import inputs as dataset_inputs
from pipeline.dataset.inputs import ModelInputs
from pipeline.signal import extractor
from pipeline.train import architectures, batches, devices, trainer
from pipeline.train.backend import keras
from pipeline.train.settings import Device, Train


def main() -> None:
    """Parse the command line, measure, and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accelerator", description=__doc__)
    parser.add_argument("--network", default="conv1d_mfcc", help="a recipe, cnn or crnn (%(default)s)")
    parser.add_argument("--rows", type=int, default=38_918, help="%(default)s")
    parser.add_argument("--epochs", type=int, default=20, help="%(default)s")
    parser.add_argument("--batch", type=int, default=128, help="%(default)s")
    parser.add_argument("--precision", default="mixed_bfloat16", help="%(default)s")
    parser.add_argument(
        "--mapped", action="store_true", help="feed memory-mapped batches instead of rows on the device"
    )
    with tempfile.TemporaryDirectory(prefix="ser-bench-") as folder:
        print(json.dumps(measure(parser.parse_args(), Path(folder)), indent=2))


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train; the first epoch, which compiles, is not counted."""
    params = settings(options.network)
    own = replace(
        config.read_section(Train, params, "train"),
        epochs=options.epochs + 1,
        batch_size=options.batch,
        precision=options.precision,
    )
    layout = extractor.shard_layout(extractor.settings_from_params(params), params["model"]["features"])
    statistics = dataset_inputs.neutral_statistics(layout.shape[1])
    keras.utils.set_random_seed(0)
    inputs = ModelInputs(table_of(layout, options.rows, folder / "rows.npy"), "bins")
    trained = trainer.build_training_model(
        lambda: architectures.build_network(params, layout.shape, CLASSES, statistics=statistics),
        statistics.mean.shape,
        own,
        table=None if options.mapped else inputs.everything(),
        steps=devices.steps_per_call(Device()),
    )
    numbers, weights = np.arange(options.rows), np.ones(CLASSES, np.float32)
    feed = batches.Batches(
        inputs, numbers, numbers % CLASSES, weights=weights, batch_size=options.batch, shuffle=(0,),
        resident=not options.mapped,
    )  # fmt: skip
    history = trainer.fit_network(
        trained, feed, None, own, rows=options.rows, write=lambda line: print(line, flush=True)
    )
    flops = devices.training_flops(trained.network)
    peak = devices.matmul_rate(options.precision.removeprefix("mixed_"))
    rate = history.rate or float("nan")
    return {
        "backend": keras.backend.backend(),
        "device": devices.device_name(),
        "precision": options.precision,
        "seconds": round(options.rows * options.epochs / rate, 2),
        "clips_per_second": round(rate, 1),
        "petaflops_of_all": round(flops * options.rows * options.epochs / 1e15, 3),
        "matrix_teraflops_per_second": round(peak / 1e12, 2),
        "share_of_peak": round(rate * flops / peak, 4),
        "peak_memory_gigabytes": devices.peak_memory(),
    }


if __name__ == "__main__":
    machine.run_stage(main)
