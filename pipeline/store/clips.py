"""The clip cache: the finished tensors of one clip and view, named by everything that decided their numbers.

One file a clip holds all its variants. It is written aside and renamed: a killed extraction leaves whole files or none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.store import files


@dataclass(frozen=True)
class Entry:
    """The rows of one clip: ``tensors`` of shape ``(variants, frames, rows)`` and the frames that hold sound."""

    tensors: npt.NDArray[Any]
    valid_frames: npt.NDArray[np.int32]


def row_key(recording: Mapping[str, Any], view: Mapping[str, Any], variant: Mapping[str, Any]) -> str:
    """Name one row by the recording (samples and rate), the view's identity and the variant with its drawn numbers."""
    return files.text_hash(recording, view, variant)


@dataclass(frozen=True)
class Cache:
    """A folder of entries, safe for many processes at once."""

    folder: Path

    def path(self, keys: Sequence[str]) -> Path:
        """Where the rows of these keys lie."""
        name = files.text_hash(*keys)
        return self.folder / name[:2] / f"{name}.npy"

    def has(self, keys: Sequence[str]) -> bool:
        """Say whether the rows are finished."""
        return self.path(keys).exists()

    def put(self, keys: Sequence[str], entry: Entry) -> None:
        """Keep the rows of one clip."""
        record = np.dtype([("valid_frames", "<i4"), ("x", entry.tensors.dtype, entry.tensors.shape[1:])])
        rows = np.empty(len(keys), record)
        rows["valid_frames"], rows["x"] = entry.valid_frames, entry.tensors
        with files.aside(self.path(keys)) as part, part.open("wb") as file:
            np.save(file, rows, allow_pickle=False)

    def get(self, keys: Sequence[str]) -> Entry | None:
        """Fetch the rows of one clip, or None where they are missing or unreadable."""
        try:
            rows = np.load(self.path(keys), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return Entry(rows["x"], rows["valid_frames"])
