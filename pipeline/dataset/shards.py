"""Feature shards: one Parquet file per view and corpus, whose layout is checked on writing and reading.

Tensors are FixedSizeLists (frames × bins, time first), encoded with BYTE_STREAM_SPLIT and zstd without a dictionary,
which halves a float16 log-mel. Other engines read plain lists, so the shape is in the metadata as well.
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
GROUP_BYTES = 16 * 2**20  # bytes of tensors in a row group: large enough to compress, small enough for memory


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the tensors of a shard are."""

    view: str
    shape: tuple[int, int]  # frames, bins
    dtype: str  # float16 or float32
    unit: str
    rows: tuple[str, ...]  # names of the bins
    identity: dict[str, Any]  # every setting and version that decides the values of an original
    augment: dict[str, Any]  # variant -> what decides its samples

    @property
    def clip_bytes(self) -> int:
        """Bytes of the tensors of one clip, all variants together."""
        return len(self.augment) * self.shape[0] * self.shape[1] * np.dtype(self.dtype).itemsize

    @property
    def clips_per_group(self) -> int:
        """Clips in a row group, at least one."""
        return max(1, GROUP_BYTES // self.clip_bytes)

    def schema(self) -> pa.Schema:
        """Return the Arrow schema, with all fields in its metadata."""
        tensor = pa.list_(pa.from_numpy_dtype(np.dtype(self.dtype)), self.shape[0] * self.shape[1])
        fields = [
            ("clip_id", pa.string()),
            ("variant", pa.string()),
            ("key", pa.string()),
            ("valid_frames", pa.int32()),
        ]
        return pa.schema([*fields, ("x", tensor)], metadata={"ser": json.dumps(vars(self), sort_keys=True)})


@dataclass(frozen=True)
class FeatureRows:
    """A block of rows: columns of equal length, and tensors of shape ``(rows, frames, bins)``."""

    key: Sequence[str]
    tensors: Tensors
    valid_frames: npt.NDArray[np.int32]  # frames that hold sound
    clip_id: Sequence[str] = ()  # empty in the clip cache, which knows rows by their keys alone
    variant: Sequence[str] = ()


def concatenate_rows(blocks: Sequence[FeatureRows]) -> FeatureRows:
    """Join blocks of rows of one view."""
    return FeatureRows(
        key=[key for block in blocks for key in block.key],
        tensors=np.concatenate([block.tensors for block in blocks]),
        valid_frames=np.concatenate([block.valid_frames for block in blocks]),
        clip_id=[clip_id for block in blocks for clip_id in block.clip_id],
        variant=[variant for block in blocks for variant in block.variant],
    )


def write_shard(path: Path, layout: Layout, groups: Iterable[FeatureRows]) -> int:
    """Write row groups to a new shard and return the number of rows."""
    schema, count = layout.schema(), 0
    options = {
        "compression": "zstd",
        "use_dictionary": ["clip_id", "variant"],
        "column_encoding": {"x.list.element": "BYTE_STREAM_SPLIT"},
        "write_statistics": [
            "clip_id"
        ],  # minimum and maximum of 50 million values are useless and cost a quarter of the time
    }
    with files.atomic_write(path) as part, pq.ParquetWriter(part, schema, **options) as writer:
        for rows in groups:
            writer.write_table(rows_to_arrow(rows, layout, schema))
            count += len(rows.clip_id)
    return count


def rows_to_arrow(rows: FeatureRows, layout: Layout, schema: pa.Schema) -> pa.Table:
    """Convert rows to Arrow; tensors that do not fit the layout are refused."""
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
    """Say whether a file is a feature shard, of any layout."""
    try:
        return b"ser" in (pq.read_schema(path).metadata or {})
    except (pa.ArrowInvalid, OSError):
        return False


def open_shard(path: Path) -> tuple[pq.ParquetFile, Layout]:
    """Open a shard and read its layout.

    Raises:
        StoreError: it is missing, damaged or no shard; the message names the stage that makes it.
    """
    stage = f"extract@{path.stem}"
    if not path.exists():
        raise files.missing_file_error(path, stage)
    try:
        file = pq.ParquetFile(path)
        values = json.loads(file.schema_arrow.metadata[b"ser"])
    except (pa.ArrowInvalid, OSError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is no feature shard ({error}): run 'dvc repro -f {stage}'.") from error
    layout = Layout(**values | {"shape": tuple(values["shape"]), "rows": tuple(values["rows"])})
    if not file.schema_arrow.equals(layout.schema()):
        raise files.schema_error(path, stage)
    return file, layout


def read_index(file: pq.ParquetFile) -> pa.Table:
    """Read all columns but the tensors."""
    return file.read(columns=["clip_id", "variant", "key", "valid_frames"])


def read_tensors(file: pq.ParquetFile, layout: Layout) -> Iterable[Tensors]:
    """Yield the tensors, one row group at a time. Shape ``(rows, frames, bins)``."""
    for group in range(file.num_row_groups):
        column = file.read_row_group(group, columns=["x"])["x"].combine_chunks()
        yield column.flatten().to_numpy(zero_copy_only=False).reshape(-1, *layout.shape)
