"""Inventory of the clip cache: every file, partition, shard and unpacked table.

What does not bear a folder and a name of a form that we give is not ours: it is neither listed nor deleted.
"""

import json
import os
import platform
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.core import config, files
from pipeline.core.errors import StoreError
from pipeline.dataset import shards
from pipeline.extract import cache, storage
from pipeline.extract.storage import Place, Reference

UNPACKED, TRAINING = "unpacked", "training"
FORMS = {  # folder and name of each kind of file
    "segment": r"[a-z0-9_]+-[0-9a-f]{16}/[0-9a-f]{32}-[0-9a-f]{32}\.arrow",
    "note": rf"{storage.REFERENCES}/[0-9a-f]{{32}}\.json",
    "unpacked": rf"{UNPACKED}/[0-9a-f]{{64}}(-[0-9a-f]{{32}})?\.npy",  # older versions gave them no checksum
    "hash": rf"{UNPACKED}/[0-9a-f]{{64}}\.sha256",
    "checkpoint": rf"{TRAINING}/[0-9a-f]{{32}}-fold-\d+(-seed-\d+)?\.npz",
    "lock": r"locks/[0-9a-f]{32}\.lock",
}
Notes = dict[str, Reference | None]  # by name; None for one that cannot be read


@dataclass(frozen=True)
class Item:
    """One file."""

    kind: str  # a key of FORMS, or unfinished
    drawer: str
    name: str
    path: str  # absolute, or the URL of what lies in the shared place
    size: int  # bytes
    written: float  # s since 1970
    shared: bool = False


def place(params: Mapping[str, Any]) -> Place:
    """Find the clip cache. Parameters without a section ``store`` leave it to the environment."""
    return config.build(storage.Store, params.get("store", {}), "store").storage


def kind(drawer: str, name: str) -> str:
    """Say what a file is, or nothing if it is not ours.

    >>> kind("references", "271a413bd339c5709fdceaec41f14f11.json"), kind("references", "notes.txt")
    ('note', '')
    """
    path = f"{drawer}/{name}"
    whole = re.sub(r"\.[\w-]+\.tmp\Z", "", path)
    found = next((kind for kind, form in FORMS.items() if re.fullmatch(form, whole)), "")
    return found and ("unfinished" if whole != path else found)


def is_drawer(name: str) -> bool:
    """Say whether a folder is one of a clip cache."""
    return name not in (UNPACKED, TRAINING) and any(
        re.fullmatch(form.partition("/")[0], name) for form in FORMS.values()
    )


def here(place: Place) -> list[Item]:
    """List our files in the folder on this machine."""
    return [item for root in place.roots for path in inside(root) if is_drawer(path.name) for item in scan(path)]


def unpacked_items() -> list[Item]:
    """List what training keeps, which all caches of this machine have in common: unpacked files, and its own states."""
    drawers = [home for drawer in (UNPACKED, TRAINING) for home in files.homes(files.cache_folder() / drawer)]
    return [item for drawer in drawers for item in scan(drawer)]


def scan(drawer: Path) -> list[Item]:
    """List our files in one folder; what vanishes meanwhile is left out."""
    found = []
    for path in inside(drawer):
        if what := kind(drawer.name, path.name):
            with suppress(FileNotFoundError, PermissionError):
                facts = path.stat()
                found.append(Item(what, drawer.name, path.name, str(path), facts.st_size, facts.st_mtime))
    return found


def inside(folder: Path) -> list[Path]:
    """List a folder, in order; nothing if it is none, or if this user may not look into it."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def closed(place: Place) -> list[str]:
    """Name the folders of notes into which this user may not look."""
    folders = [root / storage.REFERENCES for root in place.roots]
    return [str(folder) for folder in folders if folder.exists() and not files.is_allowed(folder, os.R_OK | os.X_OK)]


def shared(place: Place) -> list[Item]:
    """List our files in the shared place; none where there is no such place.

    Raises:
        StoreError: it cannot be reached.
    """
    if not place.remote:
        return []
    with storage.reached(place.url):
        system, root = storage.filesystem(place.url)
        system.invalidate_cache()
        drawers = [entry["name"].rstrip("/") for entry in entries(system, root) if entry["type"] == "directory"]
        ours = [drawer for drawer in drawers if is_drawer(drawer.rpartition("/")[2])]
        found = [item(place, entry) for drawer in ours for entry in entries(system, drawer)]
    return [each for each in found if each.kind]


def entries(system: Any, path: str) -> list[dict[str, Any]]:
    """List a folder of a shared place, in order."""
    try:
        return sorted(system.ls(path, detail=True), key=lambda entry: str(entry["name"]))
    except FileNotFoundError:
        return []


def item(place: Place, entry: dict[str, Any]) -> Item:
    """Read an entry of a listing by fsspec."""
    drawer, name = entry["name"].rsplit("/", 2)[-2:]
    path = f"{place.url.rstrip('/')}/{drawer}/{name}"
    return Item(kind(drawer, name), drawer, name, path, entry["size"] or 0, moment(entry), shared=True)


def moment(entry: dict[str, Any]) -> float:
    """When an entry was written, in s since 1970, or now if nobody knows: each file system has its own word for it.

    >>> moment({"name": "bucket/ser/x", "LastModified": "1970-01-02T00:00:00+00:00"})
    86400.0
    """
    words = ("LastModified", "mtime", "last_modified", "modified", "updated", "created")
    value = next((entry[word] for word in words if entry.get(word)), time.time())
    with suppress(ValueError):
        value = datetime.fromisoformat(value) if isinstance(value, str) else value
        return value.timestamp() if isinstance(value, datetime) else float(value)
    return time.time()


def content(place: Place, item: Item) -> Iterator[bytes]:
    """Read a file, a piece at a time.

    Raises:
        OSError: it is gone or cannot be read.
        StoreError: the shared place cannot be reached.
    """
    if not item.shared:
        with Path(item.path).open("rb") as file:
            yield from iter(partial(file.read, 2**20), b"")
        return
    with storage.reached(place.url):
        system, root = storage.filesystem(place.url)
        with system.open(f"{root}/{item.drawer}/{item.name}", "rb") as file:
            yield from iter(partial(file.read, 2**20), b"")


def read_notes(place: Place, items: Iterable[Item]) -> Notes:
    """Read the notes among these files; of a copy here and one in the shared place the newer one counts."""
    found: Notes = {}
    for each in items:
        if each.kind == "note":
            new, old = note(place, each), found.get(each.name)
            found[each.name] = new if old is None or (new and new.written > old.written) else old
    return found


def note(place: Place, item: Item) -> Reference | None:
    """Read one note, or nothing where that cannot be."""
    with suppress(OSError):
        return parse(b"".join(content(place, item)))
    return None


def parse(text: bytes) -> Reference | None:
    """Read the text of a note, or nothing where it is none."""
    try:
        return Reference(**json.loads(text))
    except (ValueError, TypeError):
        return None


def living(found: Notes) -> list[Reference]:
    """Pick the notes of shards that are still there; what this user may not look at counts as there."""
    return [reference for reference in found.values() if reference and is_alive(reference)]


def dead_owners(found: Notes) -> set[str]:
    """Name the notes of shards that are gone."""
    return {name for name, reference in found.items() if reference and not is_alive(reference)}


def is_alive(reference: Reference) -> bool:
    """Say whether a shard is still there, or may be."""
    try:
        return reference.alive
    except PermissionError:
        return True


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


def take_inventory(place: Place) -> Inventory:
    """Look at everything, without reading tensors.

    Raises:
        StoreError: the shared place cannot be reached.
    """
    own, training = here(place), unpacked_items()
    items = [*own, *shared(place)]
    found = read_notes(place, items)
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
    used = {segment for note in notes if note.drawer == name and is_alive(note) for segment in note.segments}
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
        table = cache.open_segment(Path(item.path))
        about = json.loads(table.schema.metadata[b"ser"])
    except (StoreError, ValueError):
        return None
    return {key: value for key, value in about.items() if key != "shape"}, table.num_rows


def shard(note: Reference) -> Shard:
    """Look at the shard of a note."""
    alive, near = is_alive(note), note.machine == platform.node()
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
    notes = read_notes(place, [item for folder in folders for item in scan(folder / storage.REFERENCES)])
    known = [Path(note.shard) for note in living(notes)]
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
    dead = dead_owners(found)
    return [item for item in items if item.kind in ("unfinished", "lock") or item.name in dead]
