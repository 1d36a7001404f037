"""Checksum tables: every file of a corpus as published.

Columns: ``path`` relative to the folder that contains ``Actor_NN/``, ``AudioWAV/``, the TESS emotion folders, ``DC/``
and so on, or ``wav/``; ``bytes``; ``sha256`` of the file; ``samples_sha256`` of the decoded int16 samples,
little-endian and interleaved, shared by a FLAC copy (empty if unknown). The tables contain no audio.

The checksums of RAVDESS, TESS and 422 clips of EmoDB were computed from the files and agree with independently
published lists. Those of CREMA-D are the publisher's git-lfs object ids. Those of SAVEE and the other 113 clips of
EmoDB come from a single published list. Each table is sorted CSV compressed by ``xz --threads=1 -9e``, which is
deterministic.
"""

import lzma
from functools import cache
from importlib.resources import files

import pandas as pd

from pipeline.core.errors import UnknownNameError

TABLES_FOLDER = files("pipeline.corpora") / "tables"
TABLE_SUFFIX = ".csv.xz"


def table_names() -> frozenset[str]:
    """Return the names of the corpora that have a table."""
    return frozenset(
        file.name.removesuffix(TABLE_SUFFIX) for file in TABLES_FOLDER.iterdir() if file.name.endswith(TABLE_SUFFIX)
    )


def checksum_table(name: str) -> pd.DataFrame:
    """Return the table of a corpus, one row per published file.

    >>> checksum_table("emodb").shape
    (535, 4)

    Raises:
        UnknownNameError: the corpus has no table.
    """
    return _read_table(name).copy()  # callers may modify theirs


@cache
def _read_table(name: str) -> pd.DataFrame:
    """Decompress a table once."""
    if name not in table_names():
        raise UnknownNameError("checksum table", name, table_names())
    with (TABLES_FOLDER / f"{name}{TABLE_SUFFIX}").open("rb") as file, lzma.open(file, "rt", encoding="utf-8") as text:
        return pd.read_csv(text, dtype=str, keep_default_na=False).astype({"bytes": "int64"})


@cache
def published_hashes(name: str) -> frozenset[str]:
    """Collect the checksums of all files and samples of a corpus; empty for a corpus without a table.

    >>> len(published_hashes("emodb")), len(published_hashes("my_corpus"))
    (957, 0)
    """
    if name not in table_names():
        return frozenset()
    return frozenset(_read_table(name)["sha256"]).union(_read_table(name)["samples_sha256"]) - {""}
