"""Hold a folder against the published table of its corpus, file by file."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.corpora.sources import SourceError
from pipeline.store import files

POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class State:
    """What a folder lacks of the published corpus."""

    count: int  # files of the table
    missing: tuple[str, ...]
    other: tuple[str, ...]  # there, with other bytes

    @property
    def whole(self) -> bool:
        """Say whether nothing is missing and nothing is different."""
        return not self.missing and not self.other

    def __str__(self) -> str:
        """Say how many files are missing or different, and name the first.

        >>> print(State(9, ("a.wav", "b.wav"), ("c.wav",)))
        2 of 9 files are missing, first a.wav, and 1 is not as published, first c.wav
        """
        missing = f"{len(self.missing):,} of {self.count:,} files {be(self.missing)} missing"
        missing = f"{missing}, first {self.missing[0]}" if self.missing else f"of {self.count:,} files none is missing"
        if not self.other:
            return missing
        return f"{missing}, and {len(self.other):,} {be(self.other)} not as published, first {self.other[0]}"


def be(some: tuple[str, ...]) -> str:
    """Give the verb for so many."""
    return "is" if len(some) == 1 else "are"


def compare(folder: Path, table: pd.DataFrame) -> State:
    """Compare sizes and SHA-256 of all files that the table lists; files that it does not list are nothing to it."""
    missing, other = [], []
    for path, size, sha256 in zip(table["path"], table["bytes"], table["sha256"], strict=True):
        file = folder / path
        if not file.is_file():
            missing.append(path)
        elif file.stat().st_size != size or files.file_hash(file) != sha256:
            other.append(path)
    return State(len(table), tuple(missing), tuple(other))


def refuse(folder: Path, table: pd.DataFrame, origin: str) -> None:
    """Stop if what came from ``origin`` is not the published corpus, whole.

    Raises:
        SourceError: the sentence says how many files are missing or different, and names the first.
    """
    state = compare(folder, table)
    if not state.whole:
        raise SourceError(f"{origin} is not the published corpus: {state}{hint(folder, state)}.")


def hint(folder: Path, state: State) -> str:
    """Explain the commonest of wrong files: names of recordings on the notes that git-lfs leaves in their place."""
    if not state.other:
        return ""
    with (folder / state.other[0]).open("rb") as file:
        pointer = file.read(len(POINTER)) == POINTER
    return " (a note of git-lfs, not the recording: fetch it without --from)" if pointer else ""
