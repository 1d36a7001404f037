"""A segment: the finished rows of some clips in one view, as an Arrow file that never changes again.

Its name holds a hash of the keys of its rows and the hash of its bytes: whoever means to make the same rows finds them
there, and a flipped bit shows. Arrow's file format lies uncompressed on disk, so it is read by mapping it into memory.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import StoreError
from pipeline.store import files

SUFFIX = ".arrow"
SHORT = 32  # hexadecimal digits of a hash in a name: 128 bits


@dataclass(frozen=True)
class Rows:
    """Finished rows: keys in hexadecimal, tensors of shape ``(rows, frames, rows of the view)``, frames with sound."""

    keys: Sequence[str]
    tensors: npt.NDArray[Any]
    valid_frames: npt.NDArray[np.int32]


def encode(rows: Rows, about: dict[str, Any]) -> tuple[str, pa.Buffer]:
    """Give name and bytes of a segment; ``about`` says for people and `describe` what the rows are."""
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


def is_whole(path: Path) -> bool:
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


def describe(path: Path) -> dict[str, Any]:
    """What a segment says of its rows: view, identity, dtype, shape.

    Raises:
        StoreError: it is damaged or gone.
    """
    with legible(path):
        about: dict[str, Any] = json.loads(opened(path).schema.metadata[b"ser"])
        return about


def read(path: Path) -> Rows:
    """Map a segment into memory.

    Raises:
        StoreError: it is damaged or gone. What lies within the tensors is not looked at: see `is_whole`.
    """
    with legible(path):
        table = opened(path)
        shape = json.loads(table.schema.metadata[b"ser"])["shape"]
        keys = [key.hex() for key in table["key"].to_pylist()]
        if not path.name.startswith(prefix(keys)):
            raise ValueError("its keys are not those that its name promises")
        tensors = table["x"].chunk(0).values.to_numpy().reshape(-1, *shape)  # combine_chunks would copy
        return Rows(keys, tensors, table["valid_frames"].to_numpy())


def opened(path: Path) -> pa.Table:
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
