"""``data/clips.parquet``: which variant of which clip trains, validates or tests in which fold."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.labels import VOTES
from pipeline.store import files

SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("variant", pa.string()),
        ("fold", pa.int32()),
        ("role", pa.string()),  # train, validation or test
        ("label", pa.string()),  # null: listeners were tied, so the clip trains on their votes alone
        ("corpus", pa.string()),
        ("speaker", pa.string()),
        *((name, pa.list_(pa.int32())) for name in VOTES.values()),
    ]
)


def write(
    frame: pd.DataFrame,
    path: Path,
    *,
    classes: Sequence[str],
    synthetic: Sequence[str],
    split: Mapping[str, Any],
    corpora: Mapping[str, Mapping[str, str]],
) -> None:
    """Write the table, votes null where it has none.

    Metadata tell the classes, the demo's corpora, the settings of the split, and what is to be known of each corpus.
    """
    about = {"classes": list(classes), "synthetic": list(synthetic), "split": dict(split), "corpora": dict(corpora)}
    schema = SCHEMA.with_metadata({"ser": json.dumps(about)})
    whole = frame.assign(**{name: None for name in VOTES.values() if name not in frame})
    with files.aside(path) as part:
        pq.write_table(pa.Table.from_pandas(whole, schema, preserve_index=False), part, compression="zstd")


def read(path: Path) -> pd.DataFrame:
    """Read the table.

    ``frame.attrs`` holds ``classes``, ``synthetic``, ``split`` and ``corpora``, as they were written.

    Raises:
        StoreError: it is missing, damaged or of another layout.
    """
    table = files.read_table(path, stage="split")
    if not table.schema.equals(SCHEMA) or b"ser" not in (table.schema.metadata or {}):
        raise files.other_layout(path, "split")
    about = json.loads(table.schema.metadata[b"ser"])
    if "corpora" not in about:
        raise files.other_layout(path, "split")
    frame: pd.DataFrame = table.replace_schema_metadata().to_pandas()
    frame.attrs = about
    return frame
