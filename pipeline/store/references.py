"""Which shards were made of which segments, so that cleaning up knows what is in use.

Each shard leaves a note in the clip cache: where it is, on which machine, and the segments it was read from.
"""

import hashlib
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.errors import StoreError
from pipeline.store.places import Place

DRAWER = "references"
FOREIGN = 90  # days a note of another machine counts: from here nobody sees whether its shard is still there


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One note."""

    shard: str  # absolute path
    machine: str
    written: float  # s since 1970
    drawer: str
    segments: list[str]

    @property
    def alive(self) -> bool:
        """Whether the shard is still there, or may be, on another machine."""
        if self.machine == platform.node():
            return Path(self.shard).exists()
        return time.time() - self.written < FOREIGN * 86_400


def write(place: Place, made: Mapping[Path, tuple[str, Sequence[str]]]) -> None:
    """Note of each shard the drawer and the segments it was made of; a newer note replaces an older.

    A place that can only be read, or is full, makes no shard worse: that there is no note is said, no more.
    """
    for path, (drawer, names) in made.items():
        shard, machine = str(path.absolute()), platform.node()
        note = Reference(shard=shard, machine=machine, written=time.time(), drawer=drawer, segments=list(names))
        name = hashlib.sha256(f"{machine} {shard}".encode()).hexdigest()[:32]
        try:
            place.put(DRAWER, f"{name}.json", json.dumps(asdict(note)).encode())
        except StoreError as error:
            print(f"{path} is whole, but cleaning up will not know what it was made of: {error}", file=sys.stderr)


def read(place: Place) -> dict[str, Reference]:
    """All notes by their names; one that cannot be read is left out."""
    found = {}
    for name in sorted(place.names(DRAWER)):
        try:
            found[name] = Reference(**json.loads(place.path(DRAWER, name).read_bytes()))
        except (OSError, ValueError, TypeError):
            continue
    return found
