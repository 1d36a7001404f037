"""The manifest: a row per file found, the good and the bad, as one Parquet file a corpus."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.labels import VOTES
from pipeline.store import files

REASONS = (
    "lfs_pointer", "empty", "unreadable", "silent", "too_short", "too_long", "truncated", "unread_sound",
    "not_finite",
    "duplicate", "label_conflict", "label_mismatch", "out_of_scope", "unknown_name",
)  # fmt: skip
NOT_BAD = {"ok", "duplicate", "out_of_scope"}  # not counted against ingest.max_bad
TEXT = (
    "clip_id", "corpus", "path", "sha256", "samples_sha256", "emotion", "emotion_code", "intensity", "speaker", "sex",
)  # fmt: skip
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in TEXT),
        ("age", pa.int32()),  # years
        *((name, pa.string()) for name in ("statement", "repetition", "language")),
        *((name, pa.list_(pa.int32())) for name in VOTES.values()),  # listeners who chose each of labels.VOTED
        ("sample_rate", pa.int32()),  # Hz
        ("channels", pa.int32()),
        ("frames", pa.int64()),
        ("seconds", pa.float64()),
        ("peak_dbfs", pa.float32()),
        ("rms_dbfs", pa.float32()),
        ("status", pa.string()),
        ("warnings", pa.string()),  # joined by commas
        ("detail", pa.string()),  # the sentence behind a status
    ]
)

_METADATA = {b"about", b"synthetic"}


def write(rows: Iterable[Mapping[str, Any]], path: Path, *, synthetic: bool, about: Mapping[str, str]) -> None:
    """Write the rows sorted by path.

    Args:
        rows: a mapping a file.
        path: the Parquet file.
        synthetic: whether the demo made the corpus.
        about: what must be known of the corpus by whoever gets a model of it: title, language, licence, citation.
    """
    ordered = sorted(rows, key=lambda row: row["path"])
    columns = {name: [row.get(name) for row in ordered] for name in SCHEMA.names}
    schema = SCHEMA.with_metadata({"synthetic": json.dumps(synthetic), "about": json.dumps(dict(about))})
    with files.aside(path) as part:
        pq.write_table(pa.table(columns, schema=schema), part, compression="zstd")


def read(path: Path) -> pd.DataFrame:
    """Read a manifest; ``frame.attrs`` holds ``synthetic`` and ``about``, as they were written.

    Raises:
        StoreError: it is missing, damaged or of another layout.
    """
    stage = f"ingest@{path.stem}"
    table = files.read_table(path, stage=stage)
    told = table.schema.metadata or {}
    if not table.schema.equals(SCHEMA) or not set(told) >= _METADATA:
        raise files.other_layout(path, stage)
    frame: pd.DataFrame = table.to_pandas()
    frame.attrs = {name.decode(): json.loads(told[name]) for name in sorted(_METADATA)}
    return frame


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as mappings."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def usable(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that may be trained on and tested with."""
    return frame[frame["status"] == "ok"].reset_index(drop=True)
