"""``models/predictions.parquet``: what the networks said of clips they had not been trained on."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store import files

TEXT = ("clip_id", "variant", "corpus", "speaker", "sex", "label", "predicted")


def schema(labels: Sequence[str]) -> pa.Schema:
    """The layout: probabilities stand in the order of the labels in the metadata."""
    fields = [("clip_id", pa.string()), ("fold", pa.int32()), *((name, pa.string()) for name in TEXT[1:])]
    fields.append(("probabilities", pa.list_(pa.float32(), len(labels))))
    return pa.schema(fields, metadata={"labels": json.dumps(list(labels))})


def write(frame: pd.DataFrame, probabilities: npt.NDArray[np.float32], labels: Sequence[str], path: Path) -> None:
    """Write a row a tested clip. Shape of the probabilities: ``(rows, classes)``."""
    layout = schema(labels)
    columns = [pa.array(frame[name], layout.field(name).type) for name in layout.names[:-1]]
    tensor = pa.FixedSizeListArray.from_arrays(pa.array(probabilities.reshape(-1)), len(labels))
    with files.aside(path) as part:
        pq.write_table(pa.Table.from_arrays([*columns, tensor], schema=layout), part, compression="zstd")


def read(path: Path) -> tuple[pd.DataFrame, npt.NDArray[np.float32], list[str]]:
    """Read rows, probabilities and labels.

    Raises:
        StoreError: the file is missing, damaged or of another layout.
    """
    table = files.read_table(path, stage="evaluate")
    labels = json.loads((table.schema.metadata or {}).get(b"labels", b"[]"))
    if not labels or not table.schema.equals(schema(labels)):
        raise files.other_layout(path, "evaluate")
    flat = table["probabilities"].combine_chunks().flatten().to_numpy()
    return table.drop(["probabilities"]).to_pandas(), flat.reshape(-1, len(labels)), labels
