"""The clip cache: finished rows, found by a key that names everything that decided their numbers.

A key is a hash of the recording (its samples and their rate), the view's identity, the variant with its drawn numbers,
and the versions of the code. Rows of one view and identity lie in one drawer, in immutable segments.
"""

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import StoreError
from pipeline.store import files, segments
from pipeline.store.places import Place


@dataclass(frozen=True)
class Entry:
    """The rows of one clip: ``tensors`` of shape ``(variants, frames, rows)`` and the frames that hold sound."""

    tensors: npt.NDArray[Any]
    valid_frames: npt.NDArray[np.int32]


def row_key(samples_sha256: str, sample_rate: int, view: str, variant: str) -> str:
    """Name one row: the recording by its samples and their rate in Hz, view and variant by the hashes of theirs."""
    return hashlib.sha256(f"{samples_sha256} {sample_rate} {view} {variant}".encode()).hexdigest()


def drawer_name(identity: Mapping[str, Any]) -> str:
    """Name the folder of a view's rows.

    >>> drawer_name({"view": "logmel", "dtype": "float16"})
    'logmel-a33e81ddba6e0d0e'
    """
    return f"{identity['view']}-{files.text_hash(identity)[:16]}"


@dataclass
class Drawer:
    """The rows of one view under one identity. It knows the segments that were there when it last looked."""

    place: Place
    identity: Mapping[str, Any]
    name: str = field(init=False)
    index: dict[str, tuple[str, int]] = field(default_factory=dict)  # key -> segment and row
    open: dict[str, segments.Rows] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)  # segments whose bytes are what their names promise
    damaged: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.name = drawer_name(self.identity)

    def look(self, keys: Iterable[str]) -> None:
        """Take in the segments that have come since, and read every byte of those that hold these rows.

        What is damaged counts as missing from then on; a shared place may have a whole copy of it.
        """
        wanted = list(keys)
        self.take_in()
        if self.discard_damaged(wanted) and self.place.remote:
            self.take_in()
            self.discard_damaged(wanted)

    def take_in(self) -> None:
        """Open the segments that are not open yet."""
        for name in sorted(self.place.names(self.name) - set(self.open)):
            if not name.endswith(segments.SUFFIX):
                continue
            try:
                self.open[name] = segments.read(self.place.path(self.name, name))
            except StoreError:
                self.discard(name)
                continue
            self.index |= {key: (name, row) for row, key in enumerate(self.open[name].keys) if key not in self.index}

    def discard_damaged(self, keys: Iterable[str]) -> bool:
        """Check each segment once that holds one of these rows; say whether any was damaged."""
        new = sorted({self.index[key][0] for key in keys if key in self.index} - self.checked)
        bad = [name for name in new if not segments.is_whole(self.place.folder / self.name / name)]
        self.checked |= set(new) - set(bad)
        for name in bad:
            self.discard(name)
        return bool(bad)

    def discard(self, name: str) -> None:
        """Report a damaged segment and delete it, in the shared place too if what came from there is damaged."""
        twice = name in self.damaged
        self.damaged.add(name)
        self.open.pop(name, None)
        self.index = {key: place for key, place in self.index.items() if place[0] != name}
        path = self.place.folder / self.name / name
        print(f"{path} is damaged and was deleted; its clips are made again.", file=sys.stderr, flush=True)
        self.place.remove(self.name, name, shared=twice)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Which of these rows are not there."""
        return [key for key in keys if key not in self.index]

    def get(self, keys: Sequence[str]) -> Entry:
        """Fetch rows, all of which must be there. Shape ``(len(keys), frames, rows of the view)``."""
        places = [self.index[key] for key in keys]
        rows = [(self.open[name], row) for name, row in places]
        valid = np.array([some.valid_frames[row] for some, row in rows], np.int32)
        return Entry(np.stack([some.tensors[row] for some, row in rows]), valid)

    def used(self, keys: Iterable[str]) -> list[str]:
        """The segments that hold these rows."""
        return sorted({self.index[key][0] for key in keys})


def put(place: Place, identity: Mapping[str, Any], rows: segments.Rows) -> None:
    """Keep finished rows as one segment.

    Raises:
        StoreError: the disk is full, or the shared place cannot be reached.
    """
    name, data = segments.encode(rows, dict(identity))
    place.put(drawer_name(identity), name, data)


def is_there(place: Place, identity: Mapping[str, Any], keys: Sequence[str]) -> bool:
    """Say whether a segment of just these rows is finished, without opening it."""
    start = segments.prefix(keys)
    return any(name.startswith(start) for name in place.names(drawer_name(identity)))


def path(place: Place, identity: Mapping[str, Any]) -> Path:
    """Where the rows of an identity lie on this machine."""
    return place.folder / drawer_name(identity)
