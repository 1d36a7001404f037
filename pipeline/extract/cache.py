"""The clip cache: segments of finished rows, found by a key that names all that decided their numbers.

Its name holds a hash of the keys of its rows and the hash of its bytes: whoever means to make the same rows finds them
there, and a flipped bit shows. Arrow's file format lies uncompressed on disk, so it is read by mapping it into memory.

A key is a hash of the recording (its samples and their rate), the view's identity, the variant with its drawn numbers,
and the versions of the code. Rows of one view and identity lie in one drawer, in immutable segments.
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
import numpy.typing as npt
import pyarrow as pa

from pipeline.core import files
from pipeline.core.errors import StoreError
from pipeline.extract.storage import Place
from pipeline.signal.extractor import Entry

SUFFIX = ".arrow"
SHORT = 32  # hexadecimal digits of a hash in a name: 128 bits


@dataclass(frozen=True)
class Rows:
    """Finished rows: keys in hexadecimal, tensors of shape ``(rows, frames, rows of the view)``, frames with sound."""

    keys: Sequence[str]
    tensors: npt.NDArray[Any]
    valid_frames: npt.NDArray[np.int32]


def encode_segment(rows: Rows, about: dict[str, Any]) -> tuple[str, pa.Buffer]:
    """Give name and bytes of a segment; ``about`` says for people and `describe_segment` what the rows are."""
    size = int(np.prod(rows.tensors.shape[1:]))
    flat = np.ascontiguousarray(rows.tensors).reshape(-1)
    arrays = {
        "key": pa.array([bytes.fromhex(key) for key in rows.keys], pa.binary(32)),
        "valid_frames": pa.array(rows.valid_frames, pa.int32()),
        "x": pa.FixedSizeListArray.from_arrays(pa.array(flat), size),
    }
    shape = list(rows.tensors.shape[1:])
    table = pa.table(arrays).replace_schema_metadata({"ser": json.dumps(about | {"shape": shape}, sort_keys=True)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    return f"{prefix(rows.keys)}-{hashlib.sha256(data).hexdigest()[:SHORT]}{SUFFIX}", data


def prefix(keys: Sequence[str]) -> str:
    """Begin the name of the segment that holds just these rows.

    >>> prefix(["ab" * 32])
    '271a413bd339c5709fdceaec41f14f11'
    """
    return hashlib.sha256("".join(keys).encode()).hexdigest()[:SHORT]


def is_whole_segment(path: Path) -> bool:
    """Say whether the bytes are those that the name promises; what is gone is not.

    Raises:
        StoreError: that cannot be said, because the system does not let it be read.
    """
    promised = path.stem.partition("-")[2]
    try:
        return files.file_hash(path)[:SHORT] == promised
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read ({error.strerror or error}): mend that, or delete it and its clips are made again."
        ) from error


def describe_segment(path: Path) -> dict[str, Any]:
    """What a segment says of its rows: view, identity, dtype, shape.

    Raises:
        StoreError: it is damaged or gone.
    """
    with legible(path):
        about: dict[str, Any] = json.loads(open_segment(path).schema.metadata[b"ser"])
        return about


def read_segment(path: Path) -> Rows:
    """Map a segment into memory.

    Raises:
        StoreError: it is damaged or gone. What lies within the tensors is not looked at: see `is_whole_segment`.
    """
    with legible(path):
        table = open_segment(path)
        shape = json.loads(table.schema.metadata[b"ser"])["shape"]
        keys = [key.hex() for key in table["key"].to_pylist()]
        if not path.name.startswith(prefix(keys)):
            raise ValueError("its keys are not those that its name promises")
        tensors = table["x"].chunk(0).values.to_numpy().reshape(-1, *shape)  # combine_chunks would copy
        return Rows(keys, tensors, table["valid_frames"].to_numpy())


def open_segment(path: Path) -> pa.Table:
    """Open a segment as an Arrow table.

    Raises:
        StoreError: it is damaged or gone.
    """
    with legible(path):
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        table.validate()
        return table


@contextmanager
def legible(path: Path) -> Iterator[None]:
    """Take whatever goes wrong in reading for damage: a flipped bit may make text that is none, or shapes that misfit.

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


def drawer_name(identity: Mapping[str, Any]) -> str:
    """Name the folder of a view's rows.

    >>> drawer_name({"view": "logmel", "dtype": "float16"})
    'logmel-7a6dd73630934bfb'
    """
    return f"{identity['view']}-{files.text_hash(identity)[:16]}"


@dataclass
class Drawer:
    """The rows of one view under one identity. It knows the segments that were there when it last looked."""

    place: Place
    identity: Mapping[str, Any]
    name: str = field(init=False)
    index: dict[str, tuple[str, int]] = field(default_factory=dict)  # key -> segment and row
    known: dict[str, Sequence[str]] = field(default_factory=dict)  # segment -> the keys of its rows
    recent: dict[str, Rows] = field(default_factory=dict)  # a few segments that stay mapped
    checked: set[str] = field(default_factory=set)  # segments whose bytes are what their names promise
    where: dict[str, Path] = field(default_factory=dict)  # of the segments that are known
    damaged: set[str] = field(default_factory=set)
    passed_over: set[Path] = field(default_factory=set)  # damaged, and this user may not delete them

    @property
    def folder(self) -> Path:
        """Where its segments lie on this machine."""
        return self.place.folder / self.name

    def __post_init__(self) -> None:
        self.name = drawer_name(self.identity)

    def look(self, keys: Iterable[str]) -> None:
        """Take in the segments that have come since, and read every byte of those that hold these rows.

        What is damaged counts as missing from then on, unless the shared place has a whole copy of it; and the shared
        place gets what it lacks, because it could not be reached when that was made.

        Raises:
            StoreError: a file cannot be read, the disk is full, or the shared place cannot be reached.
        """
        wanted = list(keys)
        for _ in range(3):  # damaged here, damaged in the shared place too, made by nobody yet
            if all([*self.take_in(), *self.check(wanted)]):
                break
        self.place.share(self.name, self.checked)

    def take_in(self) -> list[bool]:
        """Open the segments that are not open yet; say of each whether that went well."""
        new = sorted(self.place.names(self.name) - set(self.known))
        return [self.take(name) for name in new if name.endswith(SUFFIX)]

    def take(self, name: str) -> bool:
        """Open a segment and index its rows, or discard it."""
        path = self.where[name] = self.place.path(self.name, name, but=self.passed_over)
        if path in self.passed_over or not files.is_readable(path):
            return True
        try:
            self.known[name] = read_segment(path).keys
        except StoreError:
            if is_whole_segment(path):  # then it is something else that ails, not the segment
                raise
            return self.discard(name)
        self.index |= rows_of(name, self.known[name])
        return True

    def check(self, keys: Iterable[str]) -> list[bool]:
        """Read every byte of the segments that hold these rows, each once; say of each whether it is whole."""
        new = sorted({self.index[key][0] for key in keys if key in self.index} - self.checked)
        return [self.verify(name) for name in new]

    def verify(self, name: str) -> bool:
        """Read every byte of a segment, and discard it if it is damaged."""
        if not is_whole_segment(self.where[name]):
            return self.discard(name)
        self.checked.add(name)
        return True

    def discard(self, name: str) -> bool:
        """Report a damaged segment and delete it, in the shared place too if what came from there is damaged."""
        self.known.pop(name, None)
        self.index = {}
        for other, keys in self.known.items():  # some of its rows may be in another segment too
            self.index |= rows_of(other, keys)
        path = self.where.pop(name)
        if path.exists():
            twice = name in self.damaged
            self.damaged.add(name)
            remedy = "it is fetched or made again" if self.place.remote and not twice else "its clips are made again"
            print(f"{path} is damaged and {self.delete(path, shared=twice)}; {remedy}.", file=sys.stderr, flush=True)
        return False

    def delete(self, path: Path, *, shared: bool) -> str:
        """Delete a damaged segment, also in the shared place if asked to; say what became of it.

        What this user may not delete is passed over.
        """
        try:
            path.unlink(missing_ok=True)
            if shared and self.place.remote:
                self.place.remove_shared(self.name, path.name)
        except (PermissionError, StoreError) as error:
            self.passed_over |= {path} if path.exists() else set()
            return f"could not be deleted ({getattr(error, 'strerror', None) or error})"
        return "was deleted"

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Which of these rows are not there, as far as `look` has read every byte."""
        return [key for key in keys if key not in self.index or self.index[key][0] not in self.checked]

    def get(self, keys: Sequence[str]) -> Entry:
        """Fetch rows, all of which must be there. Shape ``(len(keys), frames, rows of the view)``."""
        rows = [(self.rows(name), row) for name, row in (self.index[key] for key in keys)]
        valid = np.array([some.valid_frames[row] for some, row in rows], np.int32)
        return Entry(np.stack([some.tensors[row] for some, row in rows]), valid)

    def rows(self, name: str) -> Rows:
        """Map a segment; one that was not used of late is let go, or a large corpus would fill the memory.

        Raises:
            StoreError: it was deleted or damaged since `look`.
        """
        if name not in self.recent:
            if len(self.recent) >= RECENT:
                del self.recent[next(iter(self.recent))]
            try:
                self.recent[name] = read_segment(self.where[name])
            except StoreError as error:
                raise StoreError(f"{error} It was whole a moment ago: run the same command again.") from error
        return self.recent[name]

    def used(self, keys: Iterable[str]) -> list[str]:
        """The segments that hold these rows."""
        return sorted({self.index[key][0] for key in keys})


def put(place: Place, identity: Mapping[str, Any], rows: Rows) -> None:
    """Keep finished rows as one segment.

    Raises:
        StoreError: the disk is full, or the shared place cannot be reached.
    """
    place.send(*write(place, identity, rows))


def write(place: Place, identity: Mapping[str, Any], rows: Rows) -> tuple[str, str]:
    """Keep finished rows on this machine alone; give drawer and name of the segment, for `Place.send`.

    Raises:
        StoreError: the disk is full.
    """
    name, data = encode_segment(rows, dict(identity))
    place.write(drawer_name(identity), name, data)
    return drawer_name(identity), name


def rows_of(name: str, keys: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Say of each row of a segment where it is."""
    return {key: (name, number) for number, key in enumerate(keys)}


def is_there(place: Place, identity: Mapping[str, Any], keys: Sequence[str]) -> bool:
    """Say whether a whole segment of just these rows is finished; see to it that the shared place has it too.

    Raises:
        StoreError: it cannot be read, or the shared place cannot be reached.
    """
    drawer, start = drawer_name(identity), prefix(keys)
    found = [name for name in place.names(drawer) if name.startswith(start)]
    paths = {name: place.copies(drawer, name) or [place.path(drawer, name)] for name in found}
    whole = [name for name in found if any(files.is_readable(each) and is_whole_segment(each) for each in paths[name])]
    place.share(drawer, whole)
    return bool(whole)


def path(place: Place, identity: Mapping[str, Any]) -> Path:
    """Where the rows of an identity lie on this machine."""
    return place.folder / drawer_name(identity)
