"""A shard for readers without Parquet: NumPy's npz, and CSV in the long form, a line for each frame."""

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from pipeline.store import files
from pipeline.store.outputs import begins
from pipeline.store.shards import Layout, Rows

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
    with files.aside(path) as part, part.open("wb") as file:
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
    with files.aside(path) as part, pa.csv.CSVWriter(part, schema) as writer:
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
