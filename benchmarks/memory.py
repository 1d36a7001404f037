"""Peak memory of an extraction: the largest resident set of a worker and of the main process, by corpus size.

Large corpora are made by altering one sample of each copy of a clip. The real command runs in a new process and is
sampled many times a second from outside, because a worker inherits ``ru_maxrss`` from its parent.
"""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow.parquet as pq
import soundfile

from benchmarks import corpus, extraction
from benchmarks.corpus import Corpus, Job
from benchmarks.workspace import Workspace, furnish
from pipeline.audio import decode
from pipeline.core import errors, files, tables

with errors.require_extra("dev"):
    import psutil

PAUSE = 0.02  # s between two samples
Row = dict[str, Any]


def measure(job: Job) -> dict[str, Any]:
    """Return the peaks at each size in MB, and the ratio of largest to smallest corpus."""
    crowd = multiply(job.first, max(job.sizes), job)
    peaks = {str(size): at_size(crowd, size, job) for size in job.sizes}
    small, large = peaks[str(min(job.sizes))], peaks[str(max(job.sizes))]
    growth = {name: round(large[name] / small[name], 2) for name in small}
    return {"growth": growth, "megabytes": peaks, "workers": job.workers}


def multiply(source: Corpus, count: int, job: Job) -> Corpus:
    """Write ``count`` distinct FLAC files and their manifest."""
    folder = job.scratch / "memory/clips"
    folder.mkdir(parents=True)
    originals = extraction.records(source)
    turns = [range(first, count, len(originals)) for first in range(min(count, len(originals)))]
    with joblib.parallel_config(backend="loky", n_jobs=job.workers):
        rows = joblib.Parallel()(
            joblib.delayed(copies)(source.folder / row["path"], turn, folder, source.name)
            for row, turn in zip(originals, turns, strict=False)
        )
    target = job.scratch / f"memory/{source.name}.parquet"
    tables.write_manifest([row for some in rows for row in some], target, synthetic=True, about={})
    return Corpus(source.name, folder, target)


def copies(path: Path, numbers: range, folder: Path, name: str) -> list[Row]:
    """Write several copies of a clip; all but the first differ in the last bit of one sample."""
    samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    return list(write(samples, rate, numbers, folder, name))


def write(samples: Any, rate: int, numbers: range, folder: Path, name: str) -> Iterator[Row]:
    """Write the files and yield the manifest rows that extract reads."""
    for turn, number in enumerate(numbers):
        altered = samples.copy()
        altered[turn - 1] ^= np.int16(turn > 0)
        path = folder / f"{number:05}.flac"
        soundfile.write(path, altered, rate, compression_level=0)
        yield {
            "clip_id": f"{name}/{path.name}",
            "corpus": name,
            "path": path.name,
            "sha256": files.file_hash(path),
            "samples_sha256": decode.hash_samples(altered),
            "sample_rate": rate,
            "status": "ok",
        }


def at_size(crowd: Corpus, size: int, job: Job) -> dict[str, float]:
    """Extract the first `size` clips in a new process and return its peaks in MB."""
    space = furnish(job.scratch / f"memory/{size}", crowd, workers=job.workers)
    target = job.scratch / f"memory/{size}.parquet"
    space.use(corpus.write(pq.read_table(crowd.manifest), np.arange(size), target))
    return watch(space)


def watch(space: Workspace) -> dict[str, float]:
    """Run the command and return its peaks in MB."""
    peaks: dict[str, float] = {}
    with subprocess.Popen(space.command, cwd=space.folder, env=space.environment, stdout=subprocess.DEVNULL) as running:
        main = psutil.Process(running.pid)
        while running.poll() is None:
            for name, value in look(main):
                peaks[name] = max(peaks.get(name, 0.0), round(value / 1e6, 1))
            time.sleep(PAUSE)
    if running.returncode:
        raise SystemExit(f"'{' '.join(space.command)}' failed: see above.")
    return peaks


def look(main: psutil.Process) -> Iterator[tuple[str, int]]:
    """Yield the resident bytes of the main process and of each worker, with and without shared memory."""
    try:
        every = [("main", main.memory_info())]
        every += [("worker", child.memory_info()) for child in main.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for name, held in every:
        yield name, held.rss
        yield f"{name}_unshared", held.rss - getattr(held, "shared", 0)  # only Linux reports it
