"""Feature shards: one Parquet file a view and corpus, its layout checked on writing and on reading.

Tensors are FixedSizeLists (frames × rows, time first) under BYTE_STREAM_SPLIT and zstd without a dictionary, which
halves a float16 log-mel; other engines read a plain list, so the shape stands in the metadata as well.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core import files
from pipeline.core.errors import StoreError

Tensors = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a shard's tensors are."""

    view: str
    shape: tuple[int, int]  # frames, rows
    dtype: str  # float16 or float32
    unit: str
    rows: tuple[str, ...]  # names of the rows
    identity: dict[str, Any]  # every setting and version that decides the numbers of an original
    augment: dict[str, Any]  # variant -> the settings that its copies were drawn by

    def schema(self) -> pa.Schema:
        """The Arrow schema, with all of this in its metadata."""
        tensor = pa.list_(pa.from_numpy_dtype(np.dtype(self.dtype)), self.shape[0] * self.shape[1])
        fields = [
            ("clip_id", pa.string()),
            ("variant", pa.string()),
            ("key", pa.string()),
            ("valid_frames", pa.int32()),
        ]
        return pa.schema([*fields, ("x", tensor)], metadata={"ser": json.dumps(vars(self), sort_keys=True)})


@dataclass(frozen=True)
class Rows:
    """Some rows of a shard: columns of equal length, tensors of shape ``(rows, frames, rows of the view)``."""

    clip_id: Sequence[str]
    variant: Sequence[str]
    key: Sequence[str]
    valid_frames: npt.NDArray[np.int32]
    tensors: Tensors


def write(path: Path, layout: Layout, groups: Iterable[Rows]) -> int:
    """Write row groups to a new shard and return the number of rows."""
    schema, count = layout.schema(), 0
    options = {
        "compression": "zstd",
        "use_dictionary": ["clip_id", "variant"],
        "column_encoding": {"x.list.element": "BYTE_STREAM_SPLIT"},
        "write_statistics": ["clip_id"],  # the least and greatest of 50 million numbers help nobody and cost a quarter
    }
    with files.atomic_write(path) as part, pq.ParquetWriter(part, schema, **options) as writer:
        for rows in groups:
            writer.write_table(table(rows, layout, schema))
            count += len(rows.clip_id)
    return count


def table(rows: Rows, layout: Layout, schema: pa.Schema) -> pa.Table:
    """Turn rows into Arrow, refusing tensors that do not fit the layout."""
    if rows.tensors.shape[1:] != layout.shape or rows.tensors.dtype != layout.dtype:
        raise StoreError(
            f"{layout.view}: tensors of {rows.tensors.dtype} {rows.tensors.shape[1:]} do not fit the shard's "
            f"{layout.dtype} {layout.shape}."
        )
    tensor = pa.FixedSizeListArray.from_arrays(pa.array(rows.tensors.reshape(-1)), layout.shape[0] * layout.shape[1])
    columns = [rows.clip_id, rows.variant, rows.key, rows.valid_frames]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=False)]
    return pa.Table.from_arrays([*arrays, tensor], schema=schema)


def is_shard(path: Path) -> bool:
    """Say whether a file is a shard, of whatever layout."""
    try:
        return b"ser" in (pq.read_schema(path).metadata or {})
    except (pa.ArrowInvalid, OSError):
        return False


def open_shard(path: Path) -> tuple[pq.ParquetFile, Layout]:
    """Open a shard and read its layout.

    Raises:
        StoreError: it is missing, damaged or no shard; the sentence names the stage that makes it.
    """
    stage = f"extract@{path.stem}"
    if not path.exists():
        raise files.missing(path, stage)
    try:
        file = pq.ParquetFile(path)
        values = json.loads(file.schema_arrow.metadata[b"ser"])
    except (pa.ArrowInvalid, OSError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is no feature shard ({error}): run 'dvc repro -f {stage}'.") from error
    layout = Layout(**values | {"shape": tuple(values["shape"]), "rows": tuple(values["rows"])})
    if not file.schema_arrow.equals(layout.schema()):
        raise files.other_layout(path, stage)
    return file, layout


def index(file: pq.ParquetFile) -> pa.Table:
    """Read all columns but the tensors."""
    return file.read(columns=["clip_id", "variant", "key", "valid_frames"])


def tensors(file: pq.ParquetFile, layout: Layout) -> Iterable[Tensors]:
    """Read the tensors, a row group at a time. Shape: ``(rows, frames, rows of the view)``."""
    for group in range(file.num_row_groups):
        column = file.read_row_group(group, columns=["x"])["x"].combine_chunks()
        yield column.flatten().to_numpy(zero_copy_only=False).reshape(-1, *layout.shape)
