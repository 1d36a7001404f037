"""The clip cache: rows of features under keys that depend on all that decides their values.

A key is a hash of the recording (its samples and their rate), the view's identity, the variant with its drawn numbers,
and the versions of the code. The rows of one view and identity are in one partition, a folder of immutable segments.

The name of a segment holds a hash of its keys, by which other processes find it, and a hash of its bytes, which reveals
damage. It is an uncompressed Arrow file, which is memory-mapped.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.core import files
from pipeline.core.errors import StoreError
from pipeline.dataset.shards import FeatureRows
from pipeline.extract.storage import Storage

SUFFIX = ".arrow"
SHORT = 32  # hexadecimal digits of a hash in a name: 128 bits


def _encode_segment(rows: FeatureRows, about: dict[str, Any]) -> tuple[str, pa.Buffer]:
    """Return name and bytes of a segment; its metadata ``about`` describes the rows, see `describe_segment`."""
    size = int(np.prod(rows.tensors.shape[1:]))
    flat = np.ascontiguousarray(rows.tensors).reshape(-1)
    arrays = {
        "key": pa.array([bytes.fromhex(key) for key in rows.key], pa.binary(32)),
        "valid_frames": pa.array(rows.valid_frames, pa.int32()),
        "x": pa.FixedSizeListArray.from_arrays(pa.array(flat), size),
    }
    shape = list(rows.tensors.shape[1:])
    table = pa.table(arrays).replace_schema_metadata({"ser": json.dumps(about | {"shape": shape}, sort_keys=True)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    return f"{segment_prefix(rows.key)}-{hashlib.sha256(data).hexdigest()[:SHORT]}{SUFFIX}", data


def segment_prefix(keys: Sequence[str]) -> str:
    """Return the beginning of the name of the segment that holds exactly these rows.

    >>> segment_prefix(["ab" * 32])
    '271a413bd339c5709fdceaec41f14f11'
    """
    return hashlib.sha256("".join(keys).encode()).hexdigest()[:SHORT]


def is_whole_segment(path: Path) -> bool:
    """Say whether a segment exists and its bytes match the hash in its name.

    Raises:
        StoreError: it cannot be read.
    """
    promised = path.stem.partition("-")[2]
    try:
        return files.file_hash(path)[:SHORT] == promised
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read ({error.strerror or error}): fix that, or delete it and its clips are made again."
        ) from error


def describe_segment(path: Path) -> dict[str, Any]:
    """Read the metadata of a segment: view, identity, dtype, shape.

    Raises:
        StoreError: it is damaged or gone.
    """
    with _damage_as_error(path):
        about: dict[str, Any] = json.loads(open_segment_table(path).schema.metadata[b"ser"])
        return about


def read_segment(path: Path) -> FeatureRows:
    """Map a segment into memory.

    Raises:
        StoreError: it is damaged or gone. The tensors are not checked, see `is_whole_segment`.
    """
    with _damage_as_error(path):
        table = open_segment_table(path)
        shape = json.loads(table.schema.metadata[b"ser"])["shape"]
        keys = [key.hex() for key in table["key"].to_pylist()]
        if not path.name.startswith(segment_prefix(keys)):
            raise ValueError("its keys do not match its name")
        tensors = table["x"].chunk(0).values.to_numpy().reshape(-1, *shape)  # combine_chunks would copy
        return FeatureRows(keys, tensors, table["valid_frames"].to_numpy())


def open_segment_table(path: Path) -> pa.Table:
    """Open a segment as an Arrow table.

    Raises:
        StoreError: it is damaged or gone.
    """
    with _damage_as_error(path):
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        table.validate()
        return table


@contextmanager
def _damage_as_error(path: Path) -> Iterator[None]:
    """Convert any error while reading to `StoreError`: a flipped bit may yield invalid text or shapes.

    Raises:
        StoreError: something went wrong in the block.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise StoreError(f"{path} is damaged ({error}).") from error


RECENT = 8  # segments


def partition_name(identity: Mapping[str, Any]) -> str:
    """Return the name of the folder of a view's rows.

    >>> partition_name({"view": "logmel", "dtype": "float16"})
    'logmel-7a6dd73630934bfb'
    """
    return f"{identity['view']}-{files.text_hash(identity)[:16]}"


@dataclass
class Partition:
    """The rows of one view under one identity, as of its last `refresh`."""

    storage: Storage
    identity: Mapping[str, Any]
    name: str = field(init=False)
    index: dict[str, tuple[str, int]] = field(default_factory=dict)  # key -> segment and index in it
    known: dict[str, Sequence[str]] = field(default_factory=dict)  # segment -> the keys of its rows
    recent: dict[str, FeatureRows] = field(default_factory=dict)  # the segments mapped last
    verified: set[str] = field(default_factory=set)  # segments whose bytes match their names
    paths: dict[str, Path] = field(default_factory=dict)  # of the known segments
    damaged: set[str] = field(default_factory=set)
    skipped: set[Path] = field(default_factory=set)  # damaged, and this user may not delete them

    @property
    def folder(self) -> Path:
        """The folder of its segments on this machine."""
        return self.storage.folder / self.name

    def __post_init__(self) -> None:
        self.name = partition_name(self.identity)

    def refresh(self, keys: Iterable[str]) -> None:
        """Index new segments, and read every byte of those that hold these rows.

        Damaged rows then count as missing, unless the shared storage has an intact copy. Segments that the shared
        storage lacks, because it was unreachable when they were made, are copied to it.

        Raises:
            StoreError: a file cannot be read, the disk is full, or the shared storage is unreachable.
        """
        wanted = list(keys)
        for _ in range(3):  # the copy here may be damaged, then the one in the shared storage, then there is none
            if all([*self.index_segments(), *self.verify_segments(wanted)]):
                break
        self.storage.share(self.name, self.verified)

    def index_segments(self) -> list[bool]:
        """Index new segments; return for each whether it is intact."""
        new = sorted(self.storage.names(self.name) - set(self.known))
        return [self.index_segment(name) for name in new if name.endswith(SUFFIX)]

    def index_segment(self, name: str) -> bool:
        """Index the rows of a segment; discard it and return False if it is damaged."""
        path = self.paths[name] = self.storage.path(self.name, name, excluding=self.skipped)
        if path in self.skipped or not files.is_readable(path):
            return True
        try:
            self.known[name] = read_segment(path).key
        except StoreError:
            if is_whole_segment(path):  # then the error is not due to damage
                raise
            return self.discard(name)
        self.index |= _row_index(name, self.known[name])
        return True

    def verify_segments(self, keys: Iterable[str]) -> list[bool]:
        """Verify the segments that hold these rows, each once; return for each whether it is intact."""
        new = sorted({self.index[key][0] for key in keys if key in self.index} - self.verified)
        return [self.verify_segment(name) for name in new]

    def verify_segment(self, name: str) -> bool:
        """Read every byte of a segment; discard it and return False if it is damaged."""
        if not is_whole_segment(self.paths[name]):
            return self.discard(name)
        self.verified.add(name)
        return True

    def discard(self, name: str) -> bool:
        """Report and delete a damaged segment, also in the shared storage if its copy there is damaged, too."""
        self.known.pop(name, None)
        self.index = {}
        for other, keys in self.known.items():  # other segments may hold some of its rows, too
            self.index |= _row_index(other, keys)
        path = self.paths.pop(name)
        if path.exists():
            twice = name in self.damaged
            self.damaged.add(name)
            remedy = "it is fetched or made again" if self.storage.remote and not twice else "its clips are made again"
            print(f"{path} is damaged and {self.delete(path, shared=twice)}; {remedy}.", file=sys.stderr, flush=True)
        return False

    def delete(self, path: Path, *, shared: bool) -> str:
        """Delete a damaged segment, optionally in the shared storage too; return the outcome in words.

        Segments that this user may not delete are skipped from then on.
        """
        try:
            path.unlink(missing_ok=True)
            if shared and self.storage.remote:
                self.storage.remove_shared(self.name, path.name)
        except (PermissionError, StoreError) as error:
            self.skipped |= {path} if path.exists() else set()
            return f"could not be deleted ({getattr(error, 'strerror', None) or error})"
        return "was deleted"

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return those of the keys that are in no verified segment, as of the last `refresh`."""
        return [key for key in keys if key not in self.index or self.index[key][0] not in self.verified]

    def get(self, keys: Sequence[str]) -> FeatureRows:
        """Read rows, all of which must be there."""
        found = [(self.segment(name), index) for name, index in (self.index[key] for key in keys)]
        return FeatureRows(
            key=keys,
            tensors=np.stack([rows.tensors[index] for rows, index in found]),
            valid_frames=np.array([rows.valid_frames[index] for rows, index in found], np.int32),
        )

    def segment(self, name: str) -> FeatureRows:
        """Map a segment; the least recently mapped one is released, or a large corpus would fill the memory.

        Raises:
            StoreError: it was deleted or damaged since `refresh`.
        """
        if name not in self.recent:
            if len(self.recent) >= RECENT:
                del self.recent[next(iter(self.recent))]
            try:
                self.recent[name] = read_segment(self.paths[name])
            except StoreError as error:
                raise StoreError(f"{error} It was whole a moment ago: run the same command again.") from error
        return self.recent[name]

    def segments_of(self, keys: Iterable[str]) -> list[str]:
        """Return the names of the segments that hold these rows."""
        return sorted({self.index[key][0] for key in keys})


def store_rows(storage: Storage, identity: Mapping[str, Any], rows: FeatureRows) -> None:
    """Store rows as one segment, also in the shared storage.

    Raises:
        StoreError: the disk is full, or the shared storage is unreachable.
    """
    storage.upload(*write_rows(storage, identity, rows))


def write_rows(storage: Storage, identity: Mapping[str, Any], rows: FeatureRows) -> tuple[str, str]:
    """Store rows as one segment on this machine; return its partition and name, for `Place.upload`.

    Raises:
        StoreError: the disk is full.
    """
    name, data = _encode_segment(rows, dict(identity))
    storage.write(partition_name(identity), name, data)
    return partition_name(identity), name


def _row_index(name: str, keys: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return segment and index of each row of a segment."""
    return {key: (name, number) for number, key in enumerate(keys)}


def has_segment(storage: Storage, identity: Mapping[str, Any], keys: Sequence[str]) -> bool:
    """Say whether there is an intact segment of exactly these rows; copy it to the shared storage if it lacks it.

    Raises:
        StoreError: it cannot be read, or the shared storage cannot be reached.
    """
    partition, start = partition_name(identity), segment_prefix(keys)
    found = [name for name in storage.names(partition) if name.startswith(start)]
    paths = {name: storage.copies(partition, name) or [storage.path(partition, name)] for name in found}
    whole = [name for name in found if any(files.is_readable(each) and is_whole_segment(each) for each in paths[name])]
    storage.share(partition, whole)
    return bool(whole)


def partition_folder(storage: Storage, identity: Mapping[str, Any]) -> Path:
    """Return the folder of the rows of an identity on this machine."""
    return storage.folder / partition_name(identity)
