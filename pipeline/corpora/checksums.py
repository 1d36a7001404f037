"""Published checksum tables: every file of a corpus as its publisher distributes it.

Columns: ``path`` below the folder that holds ``Actor_NN/``, ``AudioWAV/``, the TESS emotion folders, ``DC/`` and so on,
or ``wav/``; ``bytes``; ``sha256`` of the file; ``samples_sha256`` of the decoded int16 samples, little-endian, channels
interleaved, which a FLAC copy shares (empty where nobody has measured it). Only facts about the corpora, no audio.

RAVDESS, TESS and 422 clips of EmoDB were computed from the files and agree with independently published lists; CREMA-D
is the list of the publisher's own git-lfs object ids; SAVEE and the other 113 clips of EmoDB stand in one published
list only. Each table is sorted CSV packed by ``xz --threads=1 -9e``, which writes the same bytes every time.
"""

import lzma
from functools import cache
from importlib.resources import files

import pandas as pd

from pipeline.core.errors import UnknownNameError

FOLDER = files("pipeline.corpora") / "tables"
END = ".csv.xz"


def names() -> frozenset[str]:
    """Name the corpora that have a table."""
    return frozenset(file.name.removesuffix(END) for file in FOLDER.iterdir() if file.name.endswith(END))


def table(name: str) -> pd.DataFrame:
    """Give the table of a corpus, a row per published file.

    >>> table("emodb").shape
    (535, 4)

    Raises:
        UnknownNameError: the corpus has no table.
    """
    return read(name).copy()  # callers may write in theirs


@cache
def read(name: str) -> pd.DataFrame:
    """Unpack a table once."""
    if name not in names():
        raise UnknownNameError("checksum table", name, names())
    with (FOLDER / f"{name}{END}").open("rb") as packed, lzma.open(packed, "rt", encoding="utf-8") as text:
        return pd.read_csv(text, dtype=str, keep_default_na=False).astype({"bytes": "int64"})


@cache
def hashes(name: str) -> frozenset[str]:
    """Collect both kinds of checksum of a corpus; none for a corpus without a table.

    >>> len(hashes("emodb")), len(hashes("my_corpus"))
    (957, 0)
    """
    if name not in names():
        return frozenset()
    return frozenset(read(name)["sha256"]).union(read(name)["samples_sha256"]) - {""}
