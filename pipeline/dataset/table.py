"""Random access to shards: each is unpacked once beside the clip cache and memory-mapped.

Reading rows at random from compressed Parquet is a thousand times slower. The name of an unpacked file holds the hash
of its shard and a checksum of its bytes: all of them are read before anything is learnt from them.
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

PIECE = 2**20  # bytes that are read at once
SHORT = 32  # hexadecimal digits of a checksum: 128 bits
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
        return self.fill(numbers, np.empty((len(numbers), *self.layout.shape), np.float32))

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
    """Map the unpacked tensors of a shard, making them on first use and where they are not whole any more."""
    mapped: shards.Tensors = np.load(unpacked(path, file, layout, cache), mmap_mode="r", allow_pickle=False)
    return mapped.view(np.ndarray)  # a memmap takes ten times as long to find a row


def unpacked(path: Path, file: pq.ParquetFile, layout: shards.Layout, cache: Path) -> Path:
    """Find the unpacked file of a shard or make it: in the cache, or where that is another user's, in one's own.

    Raises:
        StoreError: it can be written nowhere, or the shard is damaged.
    """
    shard, own = shard_hash(path, cache), files.own_home(cache)
    for home in dict.fromkeys([cache, own]):
        if found := next(whole(home, shard), None):
            return found
        try:
            return write(path, file, layout, home)
        except StoreError as error:
            failure = error
            if files.error_number(error) not in files.RIGHTS:
                break
        warn_once(str(cache), f"{cache} may not be written by you: what is unpacked for training is in {own}.")
    advice = (
        f" To train, {files.write_advice(failure)}, or move the cache (SER_CACHE_DIR)."
        if files.error_number(failure)
        else ""
    )
    raise StoreError(f"{failure}{advice}") from failure


def whole(folder: Path, shard: str) -> Iterator[Path]:
    """Find the unpacked files of a shard that are whole, and delete the others; what may not be read is passed over."""
    for path in filter(files.is_readable, files.matching(folder, f"{shard}-*.npy")):
        if is_whole(path):
            yield path
            continue
        print(f"{path} is damaged; it is made again.", file=sys.stderr, flush=True)
        with suppress(PermissionError):
            path.unlink(missing_ok=True)


def is_whole(path: Path) -> bool:
    """Say whether an unpacked file holds the bytes that its name promises, of the shard that its name names.

    Raises:
        StoreError: that cannot be said, because the system does not let it be read.
    """
    try:
        with path.open("rb") as file:
            return is_promised(path.name, iter(partial(file.read, PIECE), b""))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EIO, errno.ESTALE):
            return False
        raise StoreError(
            f"{path} cannot be read ({error.strerror}): {files.write_advice(error)}, and run again."
        ) from error


def is_promised(name: str, pieces: Iterable[bytes]) -> bool:
    """Say whether bytes are those that the name of an unpacked file promises."""
    shard, _, promised = name.removesuffix(".npy").partition("-")
    found = hashlib.sha256(shard.encode())  # so that the file of another shard under this one's name shows too
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()[:SHORT] == promised


def write(path: Path, file: pq.ParquetFile, layout: shards.Layout, folder: Path) -> Path:
    """Unpack a shard into a folder; give the file."""
    shard = files.file_hash(path)  # read anew: what is remembered of it may be of another file
    unsealed, seal = folder / f"{shard}.npy", hashlib.sha256(shard.encode())
    with (
        files.atomic_write(unsealed) as part,
        part.open("wb") as out,
    ):  # plain writes: a full disk is an error, not a crash
        for piece in contents(path, file, layout):
            seal.update(piece)
            out.write(piece)
    sealed = folder / f"{shard}-{seal.hexdigest()[:SHORT]}.npy"
    try:
        return unsealed.replace(sealed)
    except PermissionError as error:  # it is there, and another user's
        unsealed.unlink(missing_ok=True)
        raise StoreError(f"{sealed} could not be written: {error.strerror}.") from error


def contents(path: Path, file: pq.ParquetFile, layout: shards.Layout) -> Iterator[bytes]:
    """Give the bytes of the unpacked file of a shard.

    Raises:
        StoreError: the shard is damaged.
    """
    shape, begin = (file.metadata.num_rows, *layout.shape), io.BytesIO()
    header = {"descr": np.dtype(layout.dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(begin, header)
    yield begin.getvalue()
    try:
        for some in shards.tensors(file, layout):
            yield np.ascontiguousarray(some).tobytes()
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{path} is damaged ({reason}): run 'dvc repro -f extract@{path.stem}'.") from error


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
        with suppress(StoreError), files.atomic_write(note) as part:  # a folder that can only be read may still serve
            part.write_text(found)
    return found
