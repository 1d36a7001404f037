"""Random access to shards: each is unpacked once into an uncompressed file beside the clip cache and memory-mapped.

Reading rows at random from compressed Parquet is a thousand times slower.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from pipeline.errors import StoreError
from pipeline.store import files, halves, shards

SETTLED = 2 * 10**9  # ns after which a change would show in a file's time, however coarse the file system's clock


@dataclass(frozen=True)
class Table:
    """The rows of one view over several corpora; a row is found by clip_id and variant, never by position."""

    layout: shards.Layout
    arrays: tuple[shards.Tensors, ...]  # one a shard, (rows, frames, rows of the view) in the stored dtype
    starts: npt.NDArray[np.int64]  # of each shard in the numbering over all of them
    rows: "pd.Series[int]"  # (clip_id, variant) -> number over all shards
    valid_frames: npt.NDArray[np.int32]  # of each row

    def find(self, clips: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Number the rows of a table with ``clip_id`` and ``variant``.

        Raises:
            StoreError: a row is not in the shards; the sentence names the stage to run.
        """
        numbers = self.rows.reindex(pd.MultiIndex.from_frame(clips[["clip_id", "variant"]]))
        if numbers.isna().any():
            clip, variant = numbers.index[numbers.isna()][0]
            corpus = clip.partition("/")[0]
            raise StoreError(
                f"{int(numbers.isna().sum())} rows of data/clips.parquet are not in the {self.layout.view} shards, "
                f"first {clip} ({variant}): run 'dvc repro extract@{corpus}'."
            )
        return np.asarray(numbers, np.int64)

    def gather(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Fetch rows as float32. Shape: ``(len(numbers), frames, rows)``."""
        out = np.empty((len(numbers), *self.layout.shape), np.float32)
        if self.layout.dtype != "float16":
            return self.fill(numbers, out)
        for into, row in zip(out, self.each(numbers), strict=True):
            halves.widen(row.reshape(-1), into.reshape(-1))
        return out

    def stored(self, numbers: npt.NDArray[np.int64]) -> shards.Tensors:
        """Fetch rows as they are stored. Shape: ``(len(numbers), frames, rows)``."""
        return self.fill(numbers, np.empty((len(numbers), *self.layout.shape), self.layout.dtype))

    def fill(self, numbers: npt.NDArray[np.int64], out: shards.Tensors) -> shards.Tensors:
        """Copy rows into ``out``, one by one: an index of many would make a copy of its own first."""
        for number, row in enumerate(self.each(numbers)):
            out[number] = row
        return out

    def each(self, numbers: npt.NDArray[np.int64]) -> Iterator[shards.Tensors]:
        """Give rows as they lie in memory. Shape: ``(frames, rows)`` each."""
        shard = np.searchsorted(self.starts, numbers, side="right") - 1
        for number, row in zip(shard.tolist(), (numbers - self.starts[shard]).tolist(), strict=True):
            yield self.arrays[number][row]


def layout_of(paths: Sequence[Path]) -> shards.Layout:
    """Read how the rows of the shards of one view are laid out, and nothing else of them.

    Raises:
        StoreError: one is missing or damaged, or they were made with different settings.
    """
    layouts = [shards.open_shard(path)[1] for path in paths]
    for path, other in zip(paths, layouts, strict=True):
        if other != layouts[0]:
            raise StoreError(f"{path} and {paths[0]} were made with different settings: run 'dvc repro'.")
    return layouts[0]


def open_table(paths: Sequence[Path], cache: Path) -> Table:
    """Open the shards of one view.

    Raises:
        StoreError: one is missing or damaged, or they were made with different settings.
    """
    layout = layout_of(paths)
    opened = [shards.open_shard(path) for path in paths]
    arrays = tuple(unpack(path, *shard, cache) for path, shard in zip(paths, opened, strict=True))
    starts = np.cumsum([0, *map(len, arrays[:-1])])
    index = pd.concat([shards.index(file).to_pandas() for file, _ in opened], ignore_index=True)
    rows = pd.Series(range(len(index)), index=pd.MultiIndex.from_frame(index[["clip_id", "variant"]]))
    return Table(layout, arrays, starts, rows, index["valid_frames"].to_numpy(np.int32))


def unpack(path: Path, file: pq.ParquetFile, layout: shards.Layout, cache: Path) -> shards.Tensors:
    """Map the unpacked tensors of a shard, making them on first use; the name is the shard's hash."""
    target = cache / f"{shard_hash(path, cache)}.npy"
    shape = (file.metadata.num_rows, *layout.shape)
    if not target.exists():
        header = {"descr": np.dtype(layout.dtype).str, "fortran_order": False, "shape": shape}
        with files.aside(target) as part, part.open("wb") as out:  # plain writes: a full disk is an error, not a crash
            np.lib.format.write_array_header_1_0(out, header)
            for some in shards.tensors(file, layout):
                out.write(np.ascontiguousarray(some).tobytes())
    mapped: shards.Tensors = np.load(target, mmap_mode="r", allow_pickle=False)
    return mapped.view(np.ndarray)  # a memmap takes ten times as long to find a row


def shard_hash(path: Path, cache: Path) -> str:
    """Hash a shard, or know it from last time: while inode, size and time of change are the same, so are the bytes.

    Git and DVC take the same for granted.
    """
    facts = path.stat()
    seen = files.text_hash(str(path.resolve()), facts.st_ino, facts.st_size, facts.st_mtime_ns)
    note = cache / f"{seen}.sha256"
    with suppress(OSError, UnicodeDecodeError):
        if re.fullmatch("[0-9a-f]{64}", known := note.read_text()):
            return known
    found = files.file_hash(path)
    if time.time_ns() - facts.st_mtime_ns > SETTLED:
        with suppress(StoreError), files.aside(note) as part:  # a folder that can only be read may still serve
            part.write_text(found)
    return found
