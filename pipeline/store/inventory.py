"""An inventory of the clip cache: its drawers, the shards made of them, and the files unpacked for training."""

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError
from pipeline.store import files, holdings, references, segments, shards
from pipeline.store.holdings import Item, Notes
from pipeline.store.places import Place
from pipeline.store.references import Reference

WORKSPACE = "features/*/*.parquet"  # shards in the folder that holds params.yaml


@dataclass(frozen=True)
class Shard:
    """A shard that was made of a drawer."""

    path: str
    machine: str
    written: float  # s since 1970
    alive: bool  # whether it is there, or may be, on another machine
    clips: int | None  # None where it cannot be read from here


@dataclass(frozen=True)
class Drawer:
    """The segments of one view under one identity, on this machine or in the shared place. Sizes in bytes."""

    name: str
    shared: bool
    identity: dict[str, Any]  # empty where no segment of it can be read on this machine
    rows: int
    segments: int
    unreadable: int  # segments that cannot be opened; in the shared place none is opened
    size: int
    unused: int  # bytes of those segments that no living shard was made of
    first_written: float  # s since 1970
    last_written: float
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class Unpacked:
    """A file unpacked for training, and the shard that it belongs to, if that is still there."""

    path: str
    size: int  # bytes
    written: float  # s since 1970
    shard: str | None


@dataclass(frozen=True)
class Inventory:
    """All that is there."""

    url: str  # of the shared place; empty where there is none
    folder: str
    drawers: tuple[Drawer, ...]
    unpacked: tuple[Unpacked, ...]
    leftovers: tuple[Item, ...]  # on this machine: unfinished files, locks, notes of shards that are gone


def take(place: Place) -> Inventory:
    """Look at everything, without reading tensors.

    Raises:
        StoreError: the shared place cannot be reached.
    """
    own, training = holdings.here(place), holdings.unpacked()
    items = [*own, *holdings.shared(place)]
    found = holdings.notes(place, items)
    return Inventory(
        url=place.url if place.remote else "",
        folder=str(place.folder),
        drawers=tuple(drawers(items, found)),
        unpacked=tuple(unpacked(training, place)),
        leftovers=tuple(leftovers([*own, *training], found)),
    )


def drawers(items: Sequence[Item], found: Notes) -> list[Drawer]:
    """Sum up the segments, drawer by drawer, those of this machine first."""
    grouped: dict[tuple[bool, str], list[Item]] = {}
    for item in items:
        if item.kind == "segment":
            grouped.setdefault((item.shared, item.drawer), []).append(item)
    return [drawer(some, [note for note in found.values() if note]) for _, some in sorted(grouped.items())]


def drawer(items: Sequence[Item], notes: Sequence[Reference]) -> Drawer:
    """Sum up one drawer."""
    name, shared = items[0].drawer, items[0].shared
    opened = [] if shared else [open_segment(item) for item in items]
    own = [shard(note) for note in notes if note.drawer == name]
    used = {segment for note in notes if note.drawer == name and holdings.is_alive(note) for segment in note.segments}
    return Drawer(
        name=name,
        shared=shared,
        identity=next((identity for identity, _ in filter(None, opened)), {}),
        rows=sum(rows for _, rows in filter(None, opened)),
        segments=len(items),
        unreadable=opened.count(None),
        size=sum(item.size for item in items),
        unused=sum(item.size for item in items if item.name not in used),
        first_written=min(item.written for item in items),
        last_written=max(item.written for item in items),
        shards=tuple(sorted(own, key=lambda shard: (not shard.alive, shard.path))),
    )


def open_segment(item: Item) -> tuple[dict[str, Any], int] | None:
    """Read identity and number of rows of a segment, or nothing where it is damaged."""
    try:
        table = segments.opened(Path(item.path))
        about = json.loads(table.schema.metadata[b"ser"])
    except (StoreError, ValueError):
        return None
    return {key: value for key, value in about.items() if key != "shape"}, table.num_rows


def shard(note: Reference) -> Shard:
    """Look at the shard of a note."""
    alive, near = holdings.is_alive(note), note.machine == platform.node()
    return Shard(note.shard, note.machine, note.written, alive, clips(Path(note.shard)) if alive and near else None)


def clips(path: Path) -> int | None:
    """Count the clips of a shard, if it can be read from here."""
    try:
        file, layout = shards.open_shard(path)
    except (StoreError, OSError):
        return None
    return int(file.metadata.num_rows) // max(1, len(layout.augment))


def unpacked(items: Sequence[Item], place: Place) -> list[Unpacked]:
    """Find the shards that unpacked files belong to."""
    whole = [item for item in items if item.kind == "unpacked"]
    owners = hashes(place) if whole else {}
    return [Unpacked(item.path, item.size, item.written, owners.get(item.name.partition("-")[0])) for item in whole]


def hashes(place: Place) -> dict[str, str]:
    """Hash all shards known on this machine: those of the current folder, which DVC may have brought, and by the notes.

    The notes are those of all clip caches of this machine, because their shards unpack into one folder.
    """
    caches = [home.parent for home in files.homes(files.cache_folder() / "clips")]
    own = [folder for cache in caches for folder in (cache / "clips", *sorted(cache.glob("mirror/*")))]
    folders = dict.fromkeys([*place.roots, *own])
    notes = holdings.notes(place, [item for folder in folders for item in holdings.scan(folder / references.DRAWER)])
    known = [Path(note.shard) for note in holdings.living(notes)]
    paths = dict.fromkeys([*(path.absolute() for path in Path().glob(WORKSPACE)), *known])
    return {found: str(path) for path in paths if (found := shard_hash(path))}


def shard_hash(path: Path) -> str:
    """Hash a shard, or give nothing where it is not there."""
    try:
        return files.file_hash(path)
    except OSError:
        return ""


def leftovers(items: Iterable[Item], found: Notes) -> list[Item]:
    """Pick what nobody needs any more, or only while an extraction runs."""
    dead = holdings.dead(found)
    return [item for item in items if item.kind in ("unfinished", "lock") or item.name in dead]
