"""Training speed of the networks on each backend, compared with a bare Keras script on arrays in memory."""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.corpus import ROOT, Job
from benchmarks.timing import ratio

BACKENDS = ("tensorflow", "jax", "torch")
NETWORKS = ("cnn", "crnn", "conv1d_mfcc", "conv2d_logmel", "conv2d_mfcc", "crnn_logmel", "crnn_mfcc")
ROUNDS = 3  # of each network on each backend, alternately
EPOCHS = 12  # of crnn, ours and the bare script's alternately
Round = dict[str, Any]


class Backend:
    """A process that trains networks on one backend on request."""

    def __init__(self, name: str, folder: Path) -> None:
        words = [sys.executable, "-m", "benchmarks.training_probe", str(folder)]
        environment = os.environ | {"KERAS_BACKEND": name}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(words, cwd=ROOT, env=environment, text=True, **pipes)
        self.matrix = self.read()["matrix"]

    def round(self, network: str) -> Round:
        """Train a round of a network."""
        self.process.stdin.write(f"{network}\n")
        self.process.stdin.flush()
        return self.read()

    def read(self) -> Round:
        """Wait for a line of JSON and skip what libraries print."""
        for line in self.process.stdout:
            if line.startswith("{"):
                found: Round = json.loads(line)
                return found
        raise SystemExit(f"python {' '.join(self.process.args[1:])} ended: run it by hand to see why.")

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def measure(job: Job) -> dict[str, Any]:
    """Train each network for a few rounds on each installed backend."""
    folder = job.scratch / "training"
    folder.mkdir()
    running = {name: Backend(name, folder) for name in BACKENDS if importlib.util.find_spec(name)}
    networks = {}
    for network in NETWORKS:
        rounds: dict[str, list[Round]] = {name: [] for name in running}
        for _ in range(ROUNDS):
            for name, backend in running.items():
                rounds[name].append(backend.round(network))
        networks[network] = {name: summary(each, running[name].matrix) for name, each in rounds.items()}
    epochs = [running["tensorflow"].round("crnn") for _ in range(EPOCHS)]
    for backend in running.values():
        backend.close()
    return {
        "networks": networks,
        "matrix_gigaflops": {name: round(each.matrix / 1e9, 1) for name, each in running.items()},
        "ours_over_bare": ratio([each["ours"] for each in epochs], [each["bare"] for each in epochs]),
    }


def summary(rounds: Sequence[Round], matrix: float) -> dict[str, float]:
    """Summarise the rounds of one network on one backend."""
    first = rounds[0]
    taken = statistics.median(each["ours"] for each in rounds)
    return {
        "batch": first["batch"],
        "gigaflops": round(first["flops"] / 1e9, 3),
        "clips_per_second": float(f"{first['rows'] / taken:.3g}"),
        "milliseconds": float(f"{1000 * taken / first['rows']:.3g}"),
        "share_of_peak": round(first["flops"] * first["rows"] / taken / matrix, 3),
        "input_share": round(statistics.median(each["input"] / each["ours"] for each in rounds), 4),
        "over_bare": round(statistics.median(each["ours"] / each["bare"] for each in rounds), 3),
    }
