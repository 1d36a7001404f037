"""Repeated extraction: from an empty cache, with everything cached, and after adding one clip to the corpus."""

import shutil
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks import corpus, extraction
from benchmarks.corpus import Corpus, Job
from benchmarks.timing import clocked, ratio, seconds
from benchmarks.workspace import Workspace, furnish

ROUNDS = 3
Taken = dict[str, float]


def measure(job: Job) -> dict[str, Any]:
    """Extract cold, cached and with one more clip, with params.yaml, as a function call and as the whole command.

    The cold run is for all clips but one; the workers of the call are running already.
    """
    less = without_one(job)
    extraction.run(extraction.warm(job), job.scratch / "resuming/warm", settings=corpus.standard(), workers=job.workers)
    rounds = [(as_call(job, less), as_command(job, less)) for _ in range(min(ROUNDS, job.rounds))]
    calls, commands = zip(*rounds, strict=True)
    return {"call": summary(calls), "command": summary(commands), "clips": corpus.count(job.first)}


def without_one(job: Job) -> Corpus:
    """Return the corpus without its middle clip."""
    table = pq.read_table(job.first.manifest)
    rows = np.delete(np.arange(len(table)), len(table) // 2)
    path = corpus.write(table, rows, job.scratch / "resuming/less.parquet")
    return Corpus(job.first.name, job.first.folder, path)


def as_call(job: Job, less: Corpus) -> Taken:
    """Time ``extract.stage.run``, and check that it decodes only new clips."""
    folder, whole = job.scratch / "resuming/call", corpus.count(job.first)
    shutil.rmtree(folder, ignore_errors=True)
    runs = {"cold": (less, whole - 1), "cached": (less, 0), "one_added": (job.first, 1)}
    return {name: call(group, folder, new, job) for name, (group, new) in runs.items()}


def call(group: Corpus, folder: Path, new: int, job: Job) -> float:
    """Time a call that must decode `new` clips."""
    settings = corpus.standard()
    taken, decoded = clocked(lambda: extraction.run(group, folder, settings=settings, workers=job.workers))
    assert decoded == new, f"{decoded} clips were decoded, {new} were new"
    return taken


def as_command(job: Job, less: Corpus) -> Taken:
    """Time the command, including start-up."""
    folder = job.scratch / "resuming/command"
    shutil.rmtree(folder, ignore_errors=True)
    space = furnish(folder, less, workers=job.workers)
    cold, cached = command(space), command(space)
    space.use(job.first.manifest)
    return {"cold": cold, "cached": cached, "one_added": command(space)}


def command(space: Workspace) -> float:
    """Time the command."""
    options: dict[str, Any] = {"cwd": space.folder, "env": space.environment, "stdout": subprocess.DEVNULL}
    return seconds(lambda: subprocess.run(space.command, check=True, **options))


def summary(rounds: Sequence[Taken]) -> dict[str, Any]:
    """Return how many times as long a cold run takes, and the median seconds of each."""
    taken = {name: [each[name] for each in rounds] for name in rounds[0]}
    return {
        "cold_over_cached": ratio(taken["cold"], taken["cached"]),
        "cold_over_one_added": ratio(taken["cold"], taken["one_added"]),
        "seconds": {name: round(statistics.median(every), 2) for name, every in taken.items()},
    }
