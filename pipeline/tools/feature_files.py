"""``extract``: features of any audio files as Parquet, NPZ or CSV, without manifest or cache."""

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from pipeline import parallel
from pipeline.audio import decode
from pipeline.core import files
from pipeline.core.errors import AudioError, SettingError
from pipeline.core.files import begins
from pipeline.dataset import shards
from pipeline.dataset.shards import Layout, Rows
from pipeline.extract import worker
from pipeline.signal import extractor
from pipeline.tools.find_audio import find_audio_files

HEAD = {"clip_id": pa.string(), "variant": pa.string(), "frame": pa.int32(), "seconds": pa.float64()}  # of the CSV
COLUMNS = ("clip_id", "variant", "key", "valid_frames")


def write_npz(path: Path, layout: Layout, groups: Iterable[Rows]) -> int:
    """Write a new npz file without pickled objects, all rows held at once; return their number.

    Its arrays: x of shape ``(rows, frames, rows of the view)``; clip_id, variant, key and valid_frames of shape
    ``(rows,)``; rows, the names of the view's rows; layout, all that a shard's metadata says, as JSON.
    """
    every = list(groups)
    columns: dict[str, Any] = {
        name: np.concatenate([np.asarray(getattr(rows, name)) for rows in every]) for name in COLUMNS
    }
    x = np.concatenate([rows.tensors for rows in every])
    text = layout.schema().metadata[b"ser"].decode()
    with files.atomic_write(path) as part, part.open("wb") as file:
        np.savez_compressed(file, x=x, **columns, rows=np.array(layout.rows), layout=np.array(text))
    return len(x)


def is_npz(path: Path) -> bool:
    """Say whether a file is one that `write_npz` wrote."""
    try:
        with zipfile.ZipFile(path) as file:
            return set(file.namelist()) == {f"{name}.npy" for name in ("x", *COLUMNS, "rows", "layout")}
    except (zipfile.BadZipFile, OSError):
        return False


def is_csv(path: Path) -> bool:
    """Say whether a file is one that `write_csv` wrote."""
    return begins(path, ",".join(f'"{name}"' for name in HEAD).encode())


def write_csv(path: Path, layout: Layout, groups: Iterable[Rows], times: npt.NDArray[np.float64]) -> int:
    """Write a new CSV file with a line for each frame, a group at a time; return the number of the shard's rows.

    A number is written in the fewest digits that read back to the stored float32, or to the float32 that a stored
    float16 is.

    Args:
        path: where to write.
        layout: what the tensors are.
        groups: the rows.
        times: shape ``(frames,)``, seconds of the frames' centres.
    """
    schema, count = lines_schema(layout), 0
    with files.atomic_write(path) as part, pa.csv.CSVWriter(part, schema) as writer:
        for rows in groups:
            writer.write_table(lines(rows, schema, times))
            count += len(rows.clip_id)
    return count


def lines_schema(layout: Layout) -> pa.Schema:
    """Name the columns of the long form."""
    return pa.schema([*HEAD.items(), *((name, pa.float32()) for name in layout.rows)])


def lines(rows: Rows, schema: pa.Schema, times: npt.NDArray[np.float64]) -> pa.Table:
    """Turn rows of a shard into lines, a line for each frame."""
    count, frames, _ = rows.tensors.shape
    row, frame = np.divmod(np.arange(count * frames), frames)
    values = rows.tensors.reshape(count * frames, -1).T.astype(np.float32, order="C")
    head: list[Any] = [pa.array(rows.clip_id).take(row), pa.array(rows.variant).take(row), frame, times[frame]]
    columns = [pa.array(column, field.type) for column, field in zip([*head, *values], schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


OURS: Mapping[str, Callable[[Path], bool]] = {  # by suffix: what tells that this command wrote a file
    ".parquet": shards.is_shard, ".npz": is_npz, ".csv": is_csv,
}  # fmt: skip
SUFFIXES = tuple(OURS)
GROUP = 16 * 2**20  # bytes of tensors written at once
RUN = 1000  # clips


@dataclass(frozen=True)
class Outcome:
    """How many rows were written, and a sentence for each file that gave none."""

    rows: int
    failures: tuple[str, ...]
    paths: tuple[Path, ...] = field(default=(), compare=False)  # of all files


@dataclass(frozen=True)
class Made:
    """The rows of one clip."""

    clip_id: str
    keys: Mapping[str, str]  # by variant
    entry: extractor.Entry


def export(
    paths: Sequence[str], output: Path, *, settings: extractor.Recipe, view: str, copies: bool, processes: int
) -> Outcome:
    """Write the rows of one view for the recordings that ``paths`` name; a bad file stops nothing but itself.

    Args:
        paths: files, folders and glob patterns.
        output: a feature shard, an npz or a CSV file by its suffix; it is not touched when no file gave a row.
        settings: what decides the numbers.
        view: mfcc or logmel.
        copies: whether to write the augmented variants too, as the store draws them.
        processes: how many to start; they change no byte.

    Raises:
        SettingError: another suffix, or a path that matches nothing.
    """
    if output.suffix not in SUFFIXES:
        raise SettingError(f"{output} has the suffix {output.suffix!r}, expected one of {', '.join(SUFFIXES)}.")
    files.refuse_taken(place := to_write(output))
    wanted = settings if copies else replace(settings, augment=replace(settings.augment, copies=()))
    failures: list[str] = []
    found = list(find_audio_files(paths, failures).items())
    groups = grouped(whole(spread(found, wanted, view, parallel.Crew(processes)), failures), wanted, view)
    first = next(groups, None)
    every = tuple(path for _, path in found)
    if first is None:
        return Outcome(0, tuple(failures), every)
    with files.replacing(place) as part:
        rows = write(part, output.suffix, wanted, view, chain([first], groups))
    return Outcome(rows, tuple(failures), every)


def to_write(output: Path) -> files.Output:
    """Describe the file that is written."""
    return files.Output(path=output, what="a file of features", ours=OURS[output.suffix])


def spread(
    found: Sequence[tuple[str, Path]], settings: extractor.Recipe, view: str, team: parallel.Crew
) -> Iterator[Made | str]:
    """Make clips in runs, so that what is made and not yet written never fills the memory."""
    work = partial(make, settings=settings, view=view)
    for start in range(0, len(found), RUN):
        some = found[start : start + RUN]
        where = f" {start + 1}–{start + len(some)} of {len(found)}" if len(found) > RUN else ""
        yield from parallel.spread(work, some, crew=team, label=f"extract {view}{where}")


def make(named: tuple[str, Path], *, settings: extractor.Recipe, view: str) -> Made | str:
    """Make the rows of one clip, or say why there are none."""
    clip_id, path = named
    if clip_id != clip_id.encode(errors="replace").decode():
        return f"{os.fsencode(path)!r} is no UTF-8 name: rename the file."
    worker.keep_memory()
    try:
        recording = decode.fetch(path)
    except AudioError as error:
        return str(error)
    if not len(recording.samples):
        return f"{path} holds no samples: export it again."
    sha256 = decode.samples_hash(recording.samples)
    (keys,) = extractor.keys(settings, [view], [(sha256, recording.sample_rate)])
    entry = extractor.make(recording, settings, sha256, {view: tuple(keys[view])})[view]
    return Made(clip_id, keys[view], entry)


def whole(results: Iterable[Made | str], failures: list[str]) -> Iterator[Made]:
    """Let through what could be made, and collect the sentences of what could not."""
    for result in results:
        if isinstance(result, str):
            failures.append(result)
        else:
            yield result


def grouped(made: Iterator[Made], settings: extractor.Recipe, view: str) -> Iterator[shards.Rows]:
    """Join clips to groups of rows, as they come."""
    layout = extractor.layout(settings, view)
    a_clip = len(layout.augment) * layout.shape[0] * layout.shape[1] * np.dtype(layout.dtype).itemsize
    size = max(1, GROUP // a_clip)
    while some := list(islice(made, size)):
        yield shards.Rows(
            clip_id=[each.clip_id for each in some for _ in each.keys],
            variant=[variant for each in some for variant in each.keys],
            key=[key for each in some for key in each.keys.values()],
            valid_frames=np.concatenate([each.entry.valid_frames for each in some]),
            tensors=np.concatenate([each.entry.tensors for each in some]),
        )


def write(output: Path, suffix: str, settings: extractor.Recipe, view: str, groups: Iterable[shards.Rows]) -> int:
    """Write rows in the format that the suffix names; return their number."""
    layout = extractor.layout(settings, view)
    if suffix == ".npz":
        return write_npz(output, layout, groups)
    if suffix == ".csv":
        return write_csv(output, layout, groups, times(settings, view))
    return shards.write(output, layout, groups)


def times(settings: extractor.Recipe, view: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Give the seconds of the frames' centres, counted from what trimming kept. Shape ``(frames,)``."""
    frames, _ = extractor.layout(settings, view).shape
    return np.arange(frames) * settings.view(view).hop / settings.audio.sample_rate
