"""Loading a log-mel table, random batches and all of it: ours compared with compressed Parquet and with CSV."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from benchmarks import corpus, extraction
from benchmarks.corpus import Job
from benchmarks.timing import Ratio, milliseconds, quiet, ratio, seconds
from pipeline.dataset import shards
from pipeline.dataset import table as dataset_table
from pipeline.dataset.inputs import ModelInputs

BATCH = 32  # rows
SLOW = 3  # batches from Parquet per round: each reads most of the file
CLASSES = 8
Numbers = npt.NDArray[np.int64]


def measure(job: Job) -> dict[str, Any]:
    """Compare random batches, then the whole table opened and read."""
    source = shard(job)
    long, short = (grow(source, rows, job.scratch / f"loading/{rows}.parquet") for rows in (job.rows, job.csv_rows))
    return {"batch": compare_batches(long, job), "whole": compare_whole(short, job)}


def shard(job: Job) -> Path:
    """Extract the log-mel shard of the first corpus."""
    folder = job.scratch / "loading"
    extraction.run(job.first, folder, settings=corpus.standard(), workers=job.workers)
    return folder / f"features/logmel/{job.first.name}.parquet"


def grow(source: Path, rows: int, target: Path) -> Path:
    """Write a shard of `rows` rows by repeating those of `source`."""
    file, layout = shards.open_shard(source)
    index, tensors = shards.read_index(file).to_pandas(), np.concatenate(list(shards.read_tensors(file, layout)))
    shards.write_shard(target, layout, repeat(index, tensors, rows))
    return target


def repeat(index: pd.DataFrame, tensors: shards.Tensors, rows: int) -> Iterator[shards.FeatureRows]:
    """Yield row groups as large as those of extract."""
    step = max(1, shards.GROUP_BYTES // tensors[0].nbytes)
    for start in range(0, rows, step):
        turn, number = np.divmod(np.arange(start, min(start + step, rows)), len(index))
        some = index.iloc[number]
        names = [f"{clip} {time}" for clip, time in zip(some["clip_id"], turn, strict=True)]
        valid = some["valid_frames"].to_numpy()
        yield shards.FeatureRows(list(some["key"]), tensors[number], valid, names, list(some["variant"]))


def compare_batches(path: Path, job: Job) -> dict[str, Any]:
    """Time batches of random rows: as stored, as float32, as Keras gets them, and from Parquet."""
    with quiet():
        table, (file, layout) = (
            dataset_table.open_table([path], job.scratch / "loading/unpacked"),
            shards.open_shard(path),
        )
    fast = job.batches // job.rounds
    rng = np.random.default_rng(0)
    taken: dict[str, list[float]] = {name: [] for name in ("stored", "float32", "keras", "parquet")}
    for _ in range(job.rounds):
        taken["stored"].append(typical(table.stored, draw(rng, table, fast)))
        taken["float32"].append(typical(table.gather, draw(rng, table, fast)))
        taken["keras"].append(of_keras(table, fast))
        taken["parquet"].append(typical(partial(out_of_parquet, file, layout), draw(rng, table, SLOW)))
    return {
        "parquet_over_stored": ratio(taken["parquet"], taken["stored"]),
        "parquet_over_float32": ratio(taken["parquet"], taken["float32"]),
        "rows": len(table.rows),
        "batches": fast * job.rounds,
        "milliseconds": {name: milliseconds(every) for name, every in taken.items()},
    }


def draw(rng: np.random.Generator, table: dataset_table.FeatureTable, count: int) -> list[Numbers]:
    """Draw the rows of some batches."""
    return [rng.choice(len(table.rows), BATCH) for _ in range(count)]


def typical(fetch: Callable[[Numbers], Any], every: Sequence[Numbers]) -> float:
    """Return the median seconds of a batch, after a warm-up batch."""
    fetch(every[0])
    return statistics.median(seconds(partial(fetch, numbers)) for numbers in every)


def of_keras(table: dataset_table.FeatureTable, count: int) -> float:
    """Return the median seconds of a training batch for Keras: patches, one-hot labels and weights."""
    from pipeline.train import batches  # imported late: it imports Keras

    numbers = np.arange(len(table.rows))
    weights = np.ones(CLASSES, np.float32)
    inputs = ModelInputs(table, "bins")
    feed = batches.Batches(inputs, numbers, numbers % CLASSES, weights=weights, batch_size=BATCH, shuffle=(0,))
    return statistics.median(seconds(partial(feed.__getitem__, turn % len(feed))) for turn in range(count))


def out_of_parquet(file: pq.ParquetFile, layout: shards.Layout, numbers: Numbers) -> shards.Tensors:
    """Read rows from the compressed shard, one row group after the other, as float32."""
    ends = np.cumsum([file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)])
    groups = np.searchsorted(ends, numbers, side="right")
    out = np.empty((len(numbers), *layout.shape), np.float32)
    for group in np.unique(groups):
        here = groups == group
        column = file.read_row_group(group, columns=["x"])["x"].combine_chunks()
        tensors = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, *layout.shape)
        out[here] = tensors[numbers[here] - ends[group] + len(tensors)]
    return out


def compare_whole(path: Path, job: Job) -> dict[str, Any]:
    """Time opening a table and reading every row of it once; in CSV a row is a line and a number a column."""
    file, layout = shards.open_shard(path)
    cache, lines = job.scratch / "loading/unpacked", job.scratch / "loading/table.csv"
    write_csv(np.concatenate(list(shards.read_tensors(file, layout))).astype(np.float32), lines)
    readers: dict[str, Callable[[], Any]] = {
        "stored": lambda: whole(path, cache, dataset_table.FeatureTable.stored),
        "float32": lambda: whole(path, cache, dataset_table.FeatureTable.gather),
        "parquet": lambda: [*shards.read_tensors(*shards.open_shard(path))],
        "csv": lambda: pd.read_csv(lines),
    }
    readers["stored"]()  # unpacks the shard, which happens only once
    taken = {name: [seconds(read) for _ in range(job.rounds)] for name, read in readers.items()}
    return (
        against_csv(taken)
        | {"rows": job.csv_rows, "csv_megabytes": round(lines.stat().st_size / 1e6, 1)}
        | {"milliseconds": {name: milliseconds(every) for name, every in taken.items()}}
    )


def against_csv(taken: dict[str, list[float]]) -> dict[str, Ratio]:
    """Return how many times as long CSV takes as the others."""
    return {f"csv_over_{name}": ratio(taken["csv"], every) for name, every in taken.items() if name != "csv"}


def whole(
    path: Path, cache: Path, fetch: Callable[[dataset_table.FeatureTable, Numbers], shards.Tensors]
) -> shards.Tensors:
    """Open the unpacked table and fetch all rows."""
    table = dataset_table.open_table([path], cache)
    return fetch(table, np.arange(len(table.rows)))


def write_csv(rows: npt.NDArray[np.float32], target: Path) -> None:
    """Write flattened tensors, as the published systems store them. Shape: ``(rows, frames, bins)``."""
    flat = rows.reshape(len(rows), -1)
    pa_csv.write_csv(pa.table({str(column): flat[:, column] for column in range(flat.shape[1])}), target)
