"""Inventory of the clip cache: every file, partition, shard and unpacked table.

Files whose folder and name have none of the known forms are neither listed nor deleted.
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
from pipeline.extract import cache
from pipeline.extract.storage import REFERENCES, Place, Reference, Store, filesystem, reached

UNPACKED, TRAINING = "unpacked", "training"
FORMS = {  # folder and name of each kind of file
    "segment": r"[a-z0-9_]+-[0-9a-f]{16}/[0-9a-f]{32}-[0-9a-f]{32}\.arrow",
    "note": rf"{REFERENCES}/[0-9a-f]{{32}}\.json",
    "unpacked": rf"{UNPACKED}/[0-9a-f]{{64}}(-[0-9a-f]{{32}})?\.npy",  # older versions gave them no checksum
    "hash": rf"{UNPACKED}/[0-9a-f]{{64}}\.sha256",
    "checkpoint": rf"{TRAINING}/[0-9a-f]{{32}}-fold-\d+(-seed-\d+)?\.npz",
    "lock": r"locks/[0-9a-f]{32}\.lock",
}
Notes = dict[str, Reference | None]  # by name; None if unreadable


@dataclass(frozen=True)
class Item:
    """One file of the clip cache or of training."""

    kind: str  # a key of FORMS, or unfinished
    drawer: str  # its folder, such as a partition
    name: str
    path: str  # absolute, or a URL in the shared storage
    size: int  # bytes
    written: float  # s since 1970
    shared: bool = False


def place(params: Mapping[str, Any]) -> Place:
    """Return the storage of the clip cache. Without a section ``store`` the environment decides."""
    return config.build(Store, params.get("store", {}), "store").storage


def kind(partition: str, name: str) -> str:
    """Return the kind of a file, empty if it is none of this program.

    >>> kind("references", "271a413bd339c5709fdceaec41f14f11.json"), kind("references", "notes.txt")
    ('note', '')
    """
    path = f"{partition}/{name}"
    whole = re.sub(r"\.[\w-]+\.tmp\Z", "", path)
    found = next((kind for kind, form in FORMS.items() if re.fullmatch(form, whole)), "")
    return found and ("unfinished" if whole != path else found)


def is_drawer(name: str) -> bool:
    """Say whether a folder is one of a clip cache."""
    return name not in (UNPACKED, TRAINING) and any(
        re.fullmatch(form.partition("/")[0], name) for form in FORMS.values()
    )


def here(storage: Place) -> list[Item]:
    """List the files of the clip cache on this machine."""
    return [item for root in storage.roots for path in inside(root) if is_drawer(path.name) for item in scan(path)]


def unpacked_items() -> list[Item]:
    """List the files of training, which all clip caches of this machine share: unpacked shards and checkpoints."""
    folders = [home for name in (UNPACKED, TRAINING) for home in files.homes(files.cache_folder() / name)]
    return [item for folder in folders for item in scan(folder)]


def scan(folder: Path) -> list[Item]:
    """List the files of this program in one folder; files deleted meanwhile are left out."""
    found = []
    for path in inside(folder):
        if what := kind(folder.name, path.name):
            with suppress(FileNotFoundError, PermissionError):
                status = path.stat()
                found.append(Item(what, folder.name, path.name, str(path), status.st_size, status.st_mtime))
    return found


def inside(folder: Path) -> list[Path]:
    """List a folder in order; empty if it does not exist or this user may not read it."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def closed(storage: Place) -> list[str]:
    """List the folders of notes that this user may not read."""
    folders = [root / REFERENCES for root in storage.roots]
    return [str(folder) for folder in folders if folder.exists() and not files.is_allowed(folder, os.R_OK | os.X_OK)]


def shared(storage: Place) -> list[Item]:
    """List the files of the shared storage, if there is one.

    Raises:
        StoreError: it cannot be reached.
    """
    if not storage.remote:
        return []
    with reached(storage.url):
        system, root = filesystem(storage.url)
        system.invalidate_cache()
        folders = [entry["name"].rstrip("/") for entry in entries(system, root) if entry["type"] == "directory"]
        ours = [folder for folder in folders if is_drawer(folder.rpartition("/")[2])]
        found = [item(storage, entry) for folder in ours for entry in entries(system, folder)]
    return [each for each in found if each.kind]


def entries(system: Any, path: str) -> list[dict[str, Any]]:
    """List a folder of a shared storage, in order."""
    try:
        return sorted(system.ls(path, detail=True), key=lambda entry: str(entry["name"]))
    except FileNotFoundError:
        return []


def item(storage: Place, entry: dict[str, Any]) -> Item:
    """Convert an entry of an fsspec listing."""
    folder, name = entry["name"].rsplit("/", 2)[-2:]
    path = f"{storage.url.rstrip('/')}/{folder}/{name}"
    return Item(kind(folder, name), folder, name, path, entry["size"] or 0, moment(entry), shared=True)


def moment(entry: dict[str, Any]) -> float:
    """Return when an entry was written, in s since 1970, or now if unknown; file systems have different keys for it.

    >>> moment({"name": "bucket/ser/x", "LastModified": "1970-01-02T00:00:00+00:00"})
    86400.0
    """
    keys = ("LastModified", "mtime", "last_modified", "modified", "updated", "created")
    value = next((entry[key] for key in keys if entry.get(key)), time.time())
    with suppress(ValueError):
        value = datetime.fromisoformat(value) if isinstance(value, str) else value
        return value.timestamp() if isinstance(value, datetime) else float(value)
    return time.time()


def content(storage: Place, item: Item) -> Iterator[bytes]:
    """Yield the bytes of a file in pieces.

    Raises:
        OSError: it is gone or cannot be read.
        StoreError: the shared storage cannot be reached.
    """
    if not item.shared:
        with Path(item.path).open("rb") as file:
            yield from iter(partial(file.read, 2**20), b"")
        return
    with reached(storage.url):
        system, root = filesystem(storage.url)
        with system.open(f"{root}/{item.drawer}/{item.name}", "rb") as file:
            yield from iter(partial(file.read, 2**20), b"")


def read_notes(storage: Place, items: Iterable[Item]) -> Notes:
    """Read the notes among these files; of a local copy and one in the shared storage the newer one counts."""
    found: Notes = {}
    for item in items:
        if item.kind == "note":
            new, old = note(storage, item), found.get(item.name)
            found[item.name] = new if old is None or (new and new.written > old.written) else old
    return found


def note(storage: Place, item: Item) -> Reference | None:
    """Read one note; None if it is unreadable."""
    with suppress(OSError):
        return parse(b"".join(content(storage, item)))
    return None


def parse(text: bytes) -> Reference | None:
    """Parse a note; None if it is invalid."""
    try:
        return Reference(**json.loads(text))
    except (ValueError, TypeError):
        return None


def living(found: Notes) -> list[Reference]:
    """Return the notes of shards that exist; a shard that this user may not see counts as existing."""
    return [reference for reference in found.values() if reference and is_alive(reference)]


def dead_owners(found: Notes) -> set[str]:
    """Return the names of notes of shards that are gone."""
    return {name for name, reference in found.items() if reference and not is_alive(reference)}


def is_alive(reference: Reference) -> bool:
    """Say whether a shard exists, or may exist."""
    try:
        return reference.alive
    except PermissionError:
        return True


WORKSPACE = "features/*/*.parquet"  # shards in the folder that holds params.yaml


@dataclass(frozen=True)
class Shard:
    """A shard made from a partition."""

    path: str
    machine: str
    written: float  # s since 1970
    alive: bool  # whether it exists, or may exist on another machine
    clips: int | None  # None if it cannot be read from here


@dataclass(frozen=True)
class Drawer:
    """Summary of the segments of one view and identity, on this machine or in the shared storage. Sizes in bytes."""

    name: str
    shared: bool
    identity: dict[str, Any]  # empty if no segment can be read on this machine
    rows: int
    segments: int
    unreadable: int  # segments that cannot be opened; those in the shared storage are not opened
    size: int
    unused: int  # bytes of segments from which no existing shard was made
    first_written: float  # s since 1970
    last_written: float
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class Unpacked:
    """A file unpacked for training."""

    path: str
    size: int  # bytes
    written: float  # s since 1970
    shard: str | None  # None if it is gone


@dataclass(frozen=True)
class Inventory:
    """All files of a clip cache and of training."""

    url: str  # of the shared storage; empty if there is none
    folder: str
    drawers: tuple[Drawer, ...]
    unpacked: tuple[Unpacked, ...]
    leftovers: tuple[Item, ...]  # on this machine: unfinished files, locks, notes of shards that are gone


def take_inventory(storage: Place) -> Inventory:
    """List and summarise everything, without reading tensors.

    Raises:
        StoreError: the shared storage cannot be reached.
    """
    own, training = here(storage), unpacked_items()
    items = [*own, *shared(storage)]
    found = read_notes(storage, items)
    return Inventory(
        url=storage.url if storage.remote else "",
        folder=str(storage.folder),
        drawers=tuple(drawers(items, found)),
        unpacked=tuple(unpacked(training, storage)),
        leftovers=tuple(leftovers([*own, *training], found)),
    )


def drawers(items: Sequence[Item], found: Notes) -> list[Drawer]:
    """Summarise the segments by partition, those of this machine first."""
    grouped: dict[tuple[bool, str], list[Item]] = {}
    for item in items:
        if item.kind == "segment":
            grouped.setdefault((item.shared, item.drawer), []).append(item)
    notes = [note for note in found.values() if note]
    return [drawer(group, notes) for _, group in sorted(grouped.items())]


def drawer(items: Sequence[Item], notes: Sequence[Reference]) -> Drawer:
    """Summarise one partition."""
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
    """Read identity and number of rows of a segment; None if it is damaged."""
    try:
        table = cache.open_segment(Path(item.path))
        about = json.loads(table.schema.metadata[b"ser"])
    except (StoreError, ValueError):
        return None
    return {key: value for key, value in about.items() if key != "shape"}, table.num_rows


def shard(note: Reference) -> Shard:
    """Describe the shard of a note."""
    alive, local = is_alive(note), note.machine == platform.node()
    return Shard(note.shard, note.machine, note.written, alive, clips(Path(note.shard)) if alive and local else None)


def clips(path: Path) -> int | None:
    """Count the clips of a shard; None if it cannot be read from here."""
    try:
        file, layout = shards.open_shard(path)
    except (StoreError, OSError):
        return None
    return int(file.metadata.num_rows) // max(1, len(layout.augment))


def unpacked(items: Sequence[Item], storage: Place) -> list[Unpacked]:
    """Find the shards to which unpacked files belong."""
    found = [item for item in items if item.kind == "unpacked"]
    owners = hashes(storage) if found else {}
    return [Unpacked(item.path, item.size, item.written, owners.get(item.name.partition("-")[0])) for item in found]


def hashes(storage: Place) -> dict[str, str]:
    """Hash all shards known on this machine: those below the current folder, and those with notes.

    All clip caches of this machine are searched for notes, because their shards are unpacked into one folder.
    """
    caches = [home.parent for home in files.homes(files.cache_folder() / "clips")]
    own = [folder for cache in caches for folder in (cache / "clips", *sorted(cache.glob("mirror/*")))]
    folders = dict.fromkeys([*storage.roots, *own])
    notes = read_notes(storage, [item for folder in folders for item in scan(folder / REFERENCES)])
    known = [Path(note.shard) for note in living(notes)]
    paths = dict.fromkeys([*(path.absolute() for path in Path().glob(WORKSPACE)), *known])
    return {found: str(path) for path in paths if (found := shard_hash(path))}


def shard_hash(path: Path) -> str:
    """Hash a shard; empty if it does not exist."""
    try:
        return files.file_hash(path)
    except OSError:
        return ""


def leftovers(items: Iterable[Item], found: Notes) -> list[Item]:
    """List what nobody needs any more, or only while an extraction runs."""
    dead = dead_owners(found)
    return [item for item in items if item.kind in ("unfinished", "lock") or item.name in dead]
