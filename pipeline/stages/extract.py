"""Make the feature shards of one corpus, all views in one pass: ``python -m pipeline.stages.extract ravdess``."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import config
from pipeline.errors import AudioError, SerError, StoreError
from pipeline.signal import augment
from pipeline.stages import crew
from pipeline.store import audio, clips, files, manifest, recipe, shards

GROUP = 16 * 2**20  # bytes of tensors in a row group: large enough to compress, small enough to hold


@dataclass(frozen=True)
class Task:
    """What a worker needs to know of one clip: where it is, what it is, and which views are missing."""

    path: str
    sha256: str
    samples_sha256: str
    sample_rate: int
    views: tuple[str, ...]


def run(
    folder: Path,
    source: Path,
    outputs: Mapping[str, Path],
    *,
    settings: recipe.Recipe,
    cache: clips.Cache,
    processes: int,
) -> int:
    """Write one shard a view for the usable clips of the manifest ``source``; return how many clips were decoded.

    Raises:
        SerError: some files could not be read any more; the others are in the cache by then.
    """
    rows = manifest.usable(manifest.read(source)).sort_values("clip_id")
    tasks = [task(row, tuple(outputs), settings, cache) for row in manifest.records(rows)]
    todo = [each for each in tasks if each.views]
    print(forecast(source.stem, rows, todo, settings, outputs))
    fill(todo, folder, settings, cache, processes=processes, label=f"extract {source.stem}")
    for view, path in outputs.items():
        shards.write(path, recipe.layout(settings, view), groups(rows, view, folder, settings, cache))
    return len(todo)


def task(row: Mapping[str, Any], views: Sequence[str], settings: recipe.Recipe, cache: clips.Cache) -> Task:
    """Say what is missing of one clip."""
    missing = tuple(view for view in views if not cache.has(keys(row, view, settings)))
    return Task(row["path"], row["sha256"], row["samples_sha256"], int(row["sample_rate"]), missing)


def keys(row: Mapping[str, Any], view: str, settings: recipe.Recipe) -> list[str]:
    """The keys of a clip's rows in one view."""
    return recipe.keys(settings, view, samples_sha256=row["samples_sha256"], sample_rate=int(row["sample_rate"]))


def fill(
    todo: Sequence[Task], folder: Path, settings: recipe.Recipe, cache: clips.Cache, *, processes: int, label: str
) -> None:
    """Put what is missing into the cache; a bad file stops nothing but itself."""
    work = partial(store, folder=folder, settings=settings, cache=cache)
    failures = [error for error in crew.spread(work, todo, processes=processes, label=label) if error]
    if failures:
        raise SerError(f"{len(failures)} of {len(todo)} clips could not be read, first: {failures[0]}")


def store(each: Task, *, folder: Path, settings: recipe.Recipe, cache: clips.Cache) -> str:
    """Decode one clip, make its missing views and keep them; return what went wrong, else an empty text."""
    try:
        signal = audio.load(folder / each.path, settings.audio.sample_rate, sha256=each.sha256)
    except AudioError as error:
        return str(error)
    for view, entry in recipe.make(signal, settings, each.samples_sha256, each.views).items():
        names = recipe.keys(settings, view, samples_sha256=each.samples_sha256, sample_rate=each.sample_rate)
        cache.put(names, entry)
    return ""


def groups(
    rows: pd.DataFrame, view: str, folder: Path, settings: recipe.Recipe, cache: clips.Cache
) -> Iterator[shards.Rows]:
    """Read the cache in the order of the manifest, a row group at a time."""
    layout = recipe.layout(settings, view)
    variants = augment.variants(settings.augment)
    bytes_a_clip = len(variants) * layout.shape[0] * layout.shape[1] * np.dtype(layout.dtype).itemsize
    step = max(1, GROUP // bytes_a_clip)
    records = manifest.records(rows)
    for start in range(0, len(records), step):
        some = records[start : start + step]
        entries = [fetch(row, view, folder, settings, cache) for row in some]
        yield shards.Rows(
            clip_id=[row["clip_id"] for row in some for _ in variants],
            variant=[variant for _ in some for variant in variants],
            key=[key for row in some for key in keys(row, view, settings)],
            valid_frames=np.concatenate([entry.valid_frames for entry in entries]),
            tensors=np.concatenate([entry.tensors for entry in entries]),
        )


def fetch(row: Mapping[str, Any], view: str, folder: Path, settings: recipe.Recipe, cache: clips.Cache) -> clips.Entry:
    """Read one clip from the cache; a damaged entry is made again."""
    names = keys(row, view, settings)
    entry = cache.get(names)
    if entry is not None:
        return entry
    each = Task(row["path"], row["sha256"], row["samples_sha256"], int(row["sample_rate"]), (view,))
    failure = store(each, folder=folder, settings=settings, cache=cache)
    entry = cache.get(names)
    if entry is None:
        raise StoreError(failure or f"{cache.path(names)} cannot be read back: check the disk of the clip cache.")
    return entry


def forecast(
    corpus: str, rows: pd.DataFrame, todo: Sequence[Task], settings: recipe.Recipe, views: Mapping[str, Path]
) -> str:
    """Say before the work what there is to do."""
    layouts = [recipe.layout(settings, view) for view in views]
    a_row = sum(layout.shape[0] * layout.shape[1] * np.dtype(layout.dtype).itemsize for layout in layouts)
    variants = len(augment.variants(settings.augment))
    size = len(todo) * variants * a_row / 2**20
    work = f"{len(todo)} to extract (at most {size:.0f} MiB)"
    return f"{corpus}: {len(rows)} clips × {variants} rows, {len(rows) - len(todo)} from the clip cache, {work}"


def main() -> None:
    """Read params.yaml and extract the corpus named on the command line."""
    params = config.read()
    (corpus,) = sys.argv[1:]
    run(
        Path(config.get(config.corpora(params), corpus)),
        Path(f"data/manifest/{corpus}.parquet"),
        {view: Path(f"features/{view}/{corpus}.parquet") for view in recipe.DTYPES},
        settings=recipe.from_params(params),
        cache=clips.Cache(files.cache_folder() / "clips"),
        processes=config.section(crew.Execute, params, "execute").processes,
    )


if __name__ == "__main__":
    crew.stage(main)
