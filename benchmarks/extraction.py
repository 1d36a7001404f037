"""Extraction with the pipeline and as in the published systems: two views of four rows per clip, 2.5 s at 22,050 Hz.

Each side has a main process with workers of its own, so that neither profits from memory that the other has set up.
Rounds over all clips alternate between the sides.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow.parquet as pq
from joblib.externals.loky import get_reusable_executor

from benchmarks import corpus, published_way
from benchmarks.corpus import SAME, Corpus, Job
from benchmarks.timing import milliseconds, quiet, ratio, seconds
from pipeline import parallel
from pipeline.core import machine, tables
from pipeline.extract import stage, storage, worker
from pipeline.signal import extractor

ROUNDS = 3  # of all clips
WARM = 16  # clips before the first round, for compilation and late imports
Block = Callable[[], float]


def measure(job: Job) -> dict[str, Any]:
    """Compare the published way, whose result is arrays in memory, with ours up to arrays and up to shards."""
    rounds = min(ROUNDS, job.rounds)
    taken: dict[str, list[float]] = {"published": [], "arrays": [], "shards": []}
    with drivers() as do:
        for way in taken:
            do(way, warm(job), job)
        for turn in range(rounds):
            for way in rotate(list(taken), turn):
                taken[way].append(do(way, job.first, job))
    clips = corpus.count(job.first)
    return {
        "shards": ratio(taken["published"], taken["shards"]),
        "arrays": ratio(taken["published"], taken["arrays"]),
        "clips": clips,
        "workers": job.workers,
        "rounds": rounds,
        "milliseconds_a_clip": {way: milliseconds(every, clips) for way, every in taken.items()},
    }


@contextmanager
def drivers() -> Iterator[Callable[[str, Corpus, Job], float]]:
    """Start a process for the published way and one for ours; yield a function that times a round in them."""
    with ExitStack() as stack:
        own, other = (stack.enter_context(driver()) for _ in ("own", "other"))
        blocks = {"published": (other, published), "arrays": (own, arrays), "shards": (own, to_shards)}
        yield lambda way, group, job: blocks[way][0].submit(blocks[way][1], group, job).result()


@contextmanager
def driver() -> Iterator[ProcessPoolExecutor]:
    """Start a process that starts workers, and end both: joblib's workers would idle for five minutes."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        yield process
        process.submit(dismiss).result()


def dismiss() -> None:
    """End the workers of this process."""
    get_reusable_executor().shutdown()


def rotate(ways: list[str], turn: int) -> list[str]:
    """Rotate the order from round to round.

    >>> rotate(["a", "b", "c"], 4)
    ['b', 'c', 'a']
    """
    first = turn % len(ways)
    return ways[first:] + ways[:first]


def warm(job: Job) -> Corpus:
    """Return a few clips for the warm-up of the workers."""
    table = pq.read_table(job.first.manifest)
    path = job.scratch / "extraction/warm.parquet"
    return Corpus(job.first.name, job.first.folder, corpus.write(table, corpus.spread(len(table), WARM), path))


def published(group: Corpus, job: Job) -> float:
    """Time the published way up to its arrays, in the workers of this process."""
    return spread(theirs, [group.folder / row["path"] for row in records(group)], job)


def arrays(group: Corpus, job: Job) -> float:
    """Time ours up to the arrays, which stay in the workers, as in a run."""
    do = partial(ours, folder=group.folder, settings=SAME)
    return spread(do, stage.make_batches(pieces(group, SAME)), job)


def to_shards(group: Corpus, job: Job) -> float:
    """Time ours from an empty cache to the written shards of both views."""
    folder = job.scratch / "extraction/shards"
    shutil.rmtree(folder, ignore_errors=True)
    return seconds(partial(run, group, folder, settings=SAME, workers=job.workers))


def spread(function: Callable[[Any], Any], items: Sequence[Any], job: Job) -> float:
    """Time a map over joblib's processes with one native thread each, including the transfer of the results."""
    with joblib.parallel_config(backend="loky", n_jobs=job.workers, inner_max_num_threads=1):
        return seconds(lambda: joblib.Parallel()(joblib.delayed(function)(item) for item in items))


def theirs(path: Path) -> Any:
    """Compute the rows of a clip in the published way."""
    return published_way.clip(path, np.random.default_rng(0))


def ours(work: worker.Batch, *, folder: Path, settings: extractor.ExtractorSettings) -> int:
    """Compute the rows of a batch as our workers do, and return their number."""
    machine.keep_freed_memory()
    made = [worker.extract_clip(piece, folder, settings) for piece in work.tasks]
    failures = [each for each in made if isinstance(each, str)]
    if failures:
        raise RuntimeError(failures[0])
    return sum(len(entry.tensors) for rows in made for entry in rows.values())


def records(group: Corpus) -> list[dict[str, Any]]:
    """Read the rows of a manifest."""
    return tables.manifest_records(tables.read_manifest(group.manifest))


def pieces(group: Corpus, settings: extractor.ExtractorSettings) -> list[worker.ClipTask]:
    """List all clips with the keys of their rows."""
    rows = records(group)
    every = stage.clip_keys(rows, settings, dict.fromkeys(extractor.DTYPES, group.manifest))
    return [
        worker.ClipTask(row["path"], row["sha256"], row["samples_sha256"], keys)
        for row, keys in zip(rows, every, strict=True)
    ]


def run(
    group: Corpus, folder: Path, *, settings: extractor.ExtractorSettings, workers: int, out: str = "features"
) -> int:
    """Run the stage with cache and shards in a folder; return the number of decoded clips."""
    with quiet():
        return stage.run(
            group.folder,
            group.manifest,
            {view: folder / out / view / f"{group.name}.parquet" for view in extractor.DTYPES},
            settings=settings,
            storage=storage.Storage(str(folder / "cache")),
            executor=parallel.Executor(workers),
        )
