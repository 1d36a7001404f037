"""Random access to shards: each is unpacked once, next to the clip cache, and memory-mapped.

Reading random rows from compressed Parquet is a thousand times slower. The name of an unpacked file holds the hash of
its shard and a checksum of its bytes, which is checked before training.
"""

import errno
import hashlib
import io
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core import files
from pipeline.core.errors import StoreError, warn_once
from pipeline.dataset import shards

SUBNORMAL = 2**-14  # float16 below this loses digits and is read as 0, in training as everywhere
CHUNK = 2**20  # bytes read at once
SHORT = 32  # hexadecimal digits of a checksum: 128 bits
SETTLED = 2 * 10**9  # ns after which any change alters the modification time, even on file systems with coarse clocks


@dataclass(frozen=True)
class FeatureTable:
    """The rows of one view over several corpora, found by clip_id and variant."""

    layout: shards.Layout
    arrays: tuple[shards.Tensors, ...]  # per shard, (rows, frames, bins) in the stored dtype
    starts: npt.NDArray[np.int64]  # number of the first row of each shard
    rows: "pd.Series[int]"  # (clip_id, variant) -> number over all shards
    valid_frames: npt.NDArray[np.int32]  # of each row, frames that hold sound

    def find(self, clips: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Look up the numbers of rows, given as a table with ``clip_id`` and ``variant``.

        Raises:
            StoreError: a row is not in the shards; the message names the stage to run.
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
        """Read rows as float32. Shape ``(len(numbers), frames, bins)``."""
        out = self.fill(numbers, np.empty((len(numbers), *self.layout.shape), np.float32))
        if self.layout.dtype == "float16":
            out[np.abs(out) < SUBNORMAL] = 0
        return out

    def stored(self, numbers: npt.NDArray[np.int64]) -> shards.Tensors:
        """Read rows in the stored dtype. Shape ``(len(numbers), frames, bins)``."""
        return self.fill(numbers, np.empty((len(numbers), *self.layout.shape), self.layout.dtype))

    def fill(self, numbers: npt.NDArray[np.int64], out: shards.Tensors) -> shards.Tensors:
        """Copy rows into ``out`` one by one; an index of many rows would copy twice."""
        for number, row in enumerate(self.each(numbers)):
            out[number] = row
        return out

    def each(self, numbers: npt.NDArray[np.int64]) -> Iterator[shards.Tensors]:
        """Yield rows as views into the mapped arrays. Shape ``(frames, bins)`` each."""
        shard = np.searchsorted(self.starts, numbers, side="right") - 1
        for number, row in zip(shard.tolist(), (numbers - self.starts[shard]).tolist(), strict=True):
            yield self.arrays[number][row]


def read_layout(paths: Sequence[Path]) -> shards.Layout:
    """Read the common layout of the shards of one view.

    Raises:
        StoreError: one is missing or damaged, or they were made with different settings.
    """
    layouts = [shards.open_shard(path)[1] for path in paths]
    for path, other in zip(paths, layouts, strict=True):
        if other != layouts[0]:
            raise StoreError(f"{path} and {paths[0]} were made with different settings: run 'dvc repro'.")
    return layouts[0]


def open_table(paths: Sequence[Path], cache: Path) -> FeatureTable:
    """Open the shards of one view.

    Raises:
        StoreError: one is missing or damaged, or they were made with different settings.
    """
    layout = read_layout(paths)
    opened = [shards.open_shard(path) for path in paths]
    arrays = tuple(_map_unpacked(path, *shard, cache) for path, shard in zip(paths, opened, strict=True))
    starts = np.cumsum([0, *map(len, arrays[:-1])])
    index = pd.concat([shards.read_index(file).to_pandas() for file, _ in opened], ignore_index=True)
    rows = pd.Series(range(len(index)), index=pd.MultiIndex.from_frame(index[["clip_id", "variant"]]))
    return FeatureTable(layout, arrays, starts, rows, index["valid_frames"].to_numpy(np.int32))


def _map_unpacked(path: Path, file: pq.ParquetFile, layout: shards.Layout, cache: Path) -> shards.Tensors:
    """Map the unpacked tensors of a shard; they are written on first use, and again if damaged."""
    mapped: shards.Tensors = np.load(_unpacked_file(path, file, layout, cache), mmap_mode="r", allow_pickle=False)
    return mapped.view(np.ndarray)  # indexing a memmap takes ten times as long


def _unpacked_file(path: Path, file: pq.ParquetFile, layout: shards.Layout, cache: Path) -> Path:
    """Find the unpacked file of a shard, or write it into the cache, or into the user's own if the cache is read-only.

    Raises:
        StoreError: no folder is writable, or the shard is damaged.
    """
    shard, own = cached_shard_hash(path, cache), files.user_cache_location(cache)
    for folder in dict.fromkeys([cache, own]):
        if found := next(_intact_files(folder, shard), None):
            return found
        try:
            return _write_unpacked(path, file, layout, folder)
        except StoreError as error:
            failure = error
            if files.error_number(error) not in files.PERMISSION_ERRORS:
                break
        warn_once(str(cache), f"You may not write to {cache}: shards are unpacked for training in {own}.")
    advice = (
        f" To train, {files.write_advice(failure)}, or move the cache (SER_CACHE_DIR)."
        if files.error_number(failure)
        else ""
    )
    raise StoreError(f"{failure}{advice}") from failure


def _intact_files(folder: Path, shard: str) -> Iterator[Path]:
    """Yield the intact unpacked files of a shard and delete damaged ones; unreadable ones are skipped."""
    for path in filter(files.is_readable, files.glob_sorted(folder, f"{shard}-*.npy")):
        if _is_intact(path):
            yield path
            continue
        print(f"{path} is damaged; it is made again.", file=sys.stderr, flush=True)
        with suppress(PermissionError):
            path.unlink(missing_ok=True)


def _is_intact(path: Path) -> bool:
    """Say whether an unpacked file matches the checksum in its name.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return matches_checksum(path.name, iter(partial(file.read, CHUNK), b""))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EIO, errno.ESTALE):
            return False
        raise StoreError(
            f"{path} cannot be read ({error.strerror}): {files.write_advice(error)}, and run again."
        ) from error


def matches_checksum(name: str, pieces: Iterable[bytes]) -> bool:
    """Say whether bytes match the checksum in the name of an unpacked file."""
    shard, _, promised = name.removesuffix(".npy").partition("-")
    found = hashlib.sha256(shard.encode())  # detects the file of another shard under this name, too
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()[:SHORT] == promised


def _write_unpacked(path: Path, file: pq.ParquetFile, layout: shards.Layout, folder: Path) -> Path:
    """Unpack a shard into a folder; return the path of the file."""
    shard = files.file_hash(path)  # not the cached hash, which may belong to another file
    unnamed, checksum = folder / f"{shard}.npy", hashlib.sha256(shard.encode())
    with (
        files.atomic_write(unnamed) as part,
        part.open("wb") as out,
    ):  # not a memory map, where a full disk is a crash
        for piece in _unpacked_bytes(path, file, layout):
            checksum.update(piece)
            out.write(piece)
    named = folder / f"{shard}-{checksum.hexdigest()[:SHORT]}.npy"
    try:
        return unnamed.replace(named)
    except PermissionError as error:  # it exists and belongs to another user
        unnamed.unlink(missing_ok=True)
        raise StoreError(f"{named} could not be written: {error.strerror}.") from error


def _unpacked_bytes(path: Path, file: pq.ParquetFile, layout: shards.Layout) -> Iterator[bytes]:
    """Yield the bytes of the unpacked file of a shard.

    Raises:
        StoreError: the shard is damaged.
    """
    shape, header = (file.metadata.num_rows, *layout.shape), io.BytesIO()
    fields = {"descr": np.dtype(layout.dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    yield header.getvalue()
    try:
        for tensors in shards.read_tensors(file, layout):
            yield np.ascontiguousarray(tensors).tobytes()
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{path} is damaged ({reason}): run 'dvc repro -f extract@{path.stem}'.") from error


def cached_shard_hash(path: Path, cache: Path) -> str:
    """Hash a shard; the hash is cached while inode, size and modification time stay the same, as in Git and DVC."""
    status = path.stat()
    name = files.text_hash(str(path.resolve()), status.st_ino, status.st_size, status.st_mtime_ns)
    note = cache / f"{name}.sha256"
    with suppress(OSError, UnicodeDecodeError):
        if re.fullmatch("[0-9a-f]{64}", known := note.read_text()):
            return known
    found = files.file_hash(path)
    if time.time_ns() - status.st_mtime_ns > SETTLED:
        with suppress(StoreError), files.atomic_write(note) as part:  # the folder may be read-only
            part.write_text(found)
    return found
