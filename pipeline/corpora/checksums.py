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

FOLDER = files("pipeline.corpora") / "tables"
END = ".csv.xz"


def names() -> frozenset[str]:
    """Return the names of the corpora that have a table."""
    return frozenset(file.name.removesuffix(END) for file in FOLDER.iterdir() if file.name.endswith(END))


def table(name: str) -> pd.DataFrame:
    """Return the table of a corpus, one row per published file.

    >>> table("emodb").shape
    (535, 4)

    Raises:
        UnknownNameError: the corpus has no table.
    """
    return read(name).copy()  # callers may modify theirs


@cache
def read(name: str) -> pd.DataFrame:
    """Decompress a table once."""
    if name not in names():
        raise UnknownNameError("checksum table", name, names())
    with (FOLDER / f"{name}{END}").open("rb") as file, lzma.open(file, "rt", encoding="utf-8") as text:
        return pd.read_csv(text, dtype=str, keep_default_na=False).astype({"bytes": "int64"})


@cache
def hashes(name: str) -> frozenset[str]:
    """Collect the checksums of all files and samples of a corpus; empty for a corpus without a table.

    >>> len(hashes("emodb")), len(hashes("my_corpus"))
    (957, 0)
    """
    if name not in names():
        return frozenset()
    return frozenset(read(name)["sha256"]).union(read(name)["samples_sha256"]) - {""}
