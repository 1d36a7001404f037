"""The Parquet tables passed between stages: manifest, splits and predictions, each with its schema."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core import files
from pipeline.core.labels import VOTE_COLUMNS

REJECTION_REASONS = (
    "lfs_pointer", "empty", "unreadable", "silent", "too_short", "too_long", "truncated", "unread_sound",
    "not_finite",
    "duplicate", "label_conflict", "label_mismatch", "out_of_scope", "unknown_name",
)  # fmt: skip
TOLERATED_STATUSES = {"ok", "duplicate", "out_of_scope"}  # not counted against ingest.max_bad
MANIFEST_TEXT_COLUMNS = (
    "clip_id", "corpus", "path", "sha256", "samples_sha256", "emotion", "emotion_code", "intensity", "speaker", "sex",
)  # fmt: skip
MANIFEST_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in MANIFEST_TEXT_COLUMNS),
        ("age", pa.int32()),  # years
        *((name, pa.string()) for name in ("statement", "repetition", "language")),
        *((name, pa.list_(pa.int32())) for name in VOTE_COLUMNS.values()),  # votes for each of labels.VOTED_EMOTIONS
        ("sample_rate", pa.int32()),  # Hz
        ("channels", pa.int32()),
        ("frames", pa.int64()),
        ("seconds", pa.float64()),
        ("peak_dbfs", pa.float32()),
        ("rms_dbfs", pa.float32()),
        ("status", pa.string()),
        ("warnings", pa.string()),  # joined by commas
        ("detail", pa.string()),  # the message that explains a status
    ]
)

_METADATA = {b"about", b"synthetic"}


def write_manifest(rows: Iterable[Mapping[str, Any]], path: Path, *, synthetic: bool, about: Mapping[str, str]) -> None:
    """Write the rows sorted by path.

    Args:
        rows: one mapping per file.
        path: the Parquet file.
        synthetic: whether the corpus was made by the demo.
        about: title, language, licence and citation of the corpus, for the cards of its models.
    """
    ordered = sorted(rows, key=lambda row: row["path"])
    columns = {name: [row.get(name) for row in ordered] for name in MANIFEST_SCHEMA.names}
    schema = MANIFEST_SCHEMA.with_metadata({"synthetic": json.dumps(synthetic), "about": json.dumps(dict(about))})
    with files.atomic_write(path) as part:
        pq.write_table(pa.table(columns, schema=schema), part, compression="zstd")


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest; ``frame.attrs`` holds ``synthetic`` and ``about`` as passed to `write_manifest`.

    Raises:
        StoreError: the file is missing, damaged or has another layout.
    """
    stage = f"ingest@{path.stem}"
    table = files.read_parquet(path, stage=stage)
    metadata = table.schema.metadata or {}
    if not table.schema.equals(MANIFEST_SCHEMA) or not set(metadata) >= _METADATA:
        raise files.schema_error(path, stage)
    frame: pd.DataFrame = table.to_pandas()
    frame.attrs = {name.decode(): json.loads(metadata[name]) for name in sorted(_METADATA)}
    return frame


def manifest_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Convert the rows to mappings."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def usable_clips(frame: pd.DataFrame) -> pd.DataFrame:
    """Select the rows that may be used for training and testing."""
    return frame[frame["status"] == "ok"].reset_index(drop=True)


SPLITS_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("variant", pa.string()),
        ("fold", pa.int32()),
        ("role", pa.string()),  # train, validation or test
        ("label", pa.string()),  # null for a tied vote: the clip is trained on its votes alone
        ("corpus", pa.string()),
        ("speaker", pa.string()),
        *((name, pa.list_(pa.int32())) for name in VOTE_COLUMNS.values()),
    ]
)


def write_splits(
    frame: pd.DataFrame,
    path: Path,
    *,
    classes: Sequence[str],
    synthetic: Sequence[str],
    split: Mapping[str, Any],
    corpora: Mapping[str, Mapping[str, str]],
) -> None:
    """Write the splits; missing columns of votes are null.

    The metadata hold the classes, the corpora made by the demo, the settings of the split, and the title, language,
    licence and citation of each corpus.
    """
    about = {"classes": list(classes), "synthetic": list(synthetic), "split": dict(split), "corpora": dict(corpora)}
    schema = SPLITS_SCHEMA.with_metadata({"ser": json.dumps(about)})
    whole = frame.assign(**{name: None for name in VOTE_COLUMNS.values() if name not in frame})
    with files.atomic_write(path) as part:
        pq.write_table(pa.Table.from_pandas(whole, schema, preserve_index=False), part, compression="zstd")


def read_splits(path: Path) -> pd.DataFrame:
    """Read the splits.

    ``frame.attrs`` holds ``classes``, ``synthetic``, ``split`` and ``corpora`` as passed to `write_splits`.

    Raises:
        StoreError: the file is missing, damaged or has another layout.
    """
    table = files.read_parquet(path, stage="split")
    if not table.schema.equals(SPLITS_SCHEMA) or b"ser" not in (table.schema.metadata or {}):
        raise files.schema_error(path, "split")
    about = json.loads(table.schema.metadata[b"ser"])
    if "corpora" not in about:
        raise files.schema_error(path, "split")
    frame: pd.DataFrame = table.replace_schema_metadata().to_pandas()
    frame.attrs = about
    return frame


PREDICTIONS_TEXT_COLUMNS = ("clip_id", "variant", "corpus", "speaker", "sex", "label", "predicted")


def _predictions_schema(labels: Sequence[str]) -> pa.Schema:
    """Build the schema; the probabilities are in the order of the labels in the metadata."""
    fields = [
        ("clip_id", pa.string()),
        ("fold", pa.int32()),
        *((name, pa.string()) for name in PREDICTIONS_TEXT_COLUMNS[1:]),
    ]
    fields.append(("probabilities", pa.list_(pa.float32(), len(labels))))
    return pa.schema(fields, metadata={"labels": json.dumps(list(labels))})


def write_predictions(
    frame: pd.DataFrame, probabilities: npt.NDArray[np.float32], labels: Sequence[str], path: Path
) -> None:
    """Write one row per tested clip. Shape of the probabilities: ``(rows, classes)``."""
    layout = _predictions_schema(labels)
    columns = [pa.array(frame[name], layout.field(name).type) for name in layout.names[:-1]]
    tensor = pa.FixedSizeListArray.from_arrays(pa.array(probabilities.reshape(-1)), len(labels))
    with files.atomic_write(path) as part:
        pq.write_table(pa.Table.from_arrays([*columns, tensor], schema=layout), part, compression="zstd")


def read_predictions(path: Path) -> tuple[pd.DataFrame, npt.NDArray[np.float32], list[str]]:
    """Read the rows, the probabilities of shape ``(rows, classes)`` and the labels.

    Raises:
        StoreError: the file is missing, damaged or has another layout.
    """
    table = files.read_parquet(path, stage="evaluate")
    labels = json.loads((table.schema.metadata or {}).get(b"labels", b"[]"))
    if not labels or not table.schema.equals(_predictions_schema(labels)):
        raise files.schema_error(path, "evaluate")
    flat = table["probabilities"].combine_chunks().flatten().to_numpy()
    return table.drop(["probabilities"]).to_pandas(), flat.reshape(-1, len(labels)), labels
