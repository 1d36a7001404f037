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
from pipeline.extract.storage import REFERENCES, Reference, Storage, StorageSettings, filesystem, storage_errors

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


def storage_from_params(params: Mapping[str, Any]) -> Storage:
    """Return the storage of the clip cache. Without a section ``store`` the environment decides."""
    return config.build_dataclass(StorageSettings, params.get("store", {}), "store").storage


def file_kind(partition: str, name: str) -> str:
    """Return the kind of a file, empty if it is none of this program.

    >>> file_kind("references", "271a413bd339c5709fdceaec41f14f11.json"), file_kind("references", "notes.txt")
    ('note', '')
    """
    path = f"{partition}/{name}"
    whole = re.sub(r"\.[\w-]+\.tmp\Z", "", path)
    found = next((kind for kind, form in FORMS.items() if re.fullmatch(form, whole)), "")
    return found and ("unfinished" if whole != path else found)


def _is_cache_folder(name: str) -> bool:
    """Say whether a folder is one of a clip cache."""
    return name not in (UNPACKED, TRAINING) and any(
        re.fullmatch(form.partition("/")[0], name) for form in FORMS.values()
    )


def local_items(storage: Storage) -> list[Item]:
    """List the files of the clip cache on this machine."""
    return [
        item
        for root in storage.roots
        for path in _list_folder(root)
        if _is_cache_folder(path.name)
        for item in _scan_folder(path)
    ]


def unpacked_items() -> list[Item]:
    """List the files of training, which all clip caches of this machine share: unpacked shards and checkpoints."""
    folders = [home for name in (UNPACKED, TRAINING) for home in files.cache_locations(files.cache_folder() / name)]
    return [item for folder in folders for item in _scan_folder(folder)]


def _scan_folder(folder: Path) -> list[Item]:
    """List the files of this program in one folder; files deleted meanwhile are left out."""
    found = []
    for path in _list_folder(folder):
        if what := file_kind(folder.name, path.name):
            with suppress(FileNotFoundError, PermissionError):
                status = path.stat()
                found.append(Item(what, folder.name, path.name, str(path), status.st_size, status.st_mtime))
    return found


def _list_folder(folder: Path) -> list[Path]:
    """List a folder in order; empty if it does not exist or this user may not read it."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def unreadable_note_folders(storage: Storage) -> list[str]:
    """List the folders of notes that this user may not read."""
    folders = [root / REFERENCES for root in storage.roots]
    return [str(folder) for folder in folders if folder.exists() and not files.has_access(folder, os.R_OK | os.X_OK)]


def shared_items(storage: Storage) -> list[Item]:
    """List the files of the shared storage, if there is one.

    Raises:
        StoreError: it cannot be reached.
    """
    if not storage.remote:
        return []
    with storage_errors(storage.url):
        system, root = filesystem(storage.url)
        system.invalidate_cache()
        folders = [entry["name"].rstrip("/") for entry in _list_shared(system, root) if entry["type"] == "directory"]
        ours = [folder for folder in folders if _is_cache_folder(folder.rpartition("/")[2])]
        found = [_shared_item(storage, entry) for folder in ours for entry in _list_shared(system, folder)]
    return [each for each in found if each.kind]


def _list_shared(system: Any, path: str) -> list[dict[str, Any]]:
    """List a folder of a shared storage, in order."""
    try:
        return sorted(system.ls(path, detail=True), key=lambda entry: str(entry["name"]))
    except FileNotFoundError:
        return []


def _shared_item(storage: Storage, entry: dict[str, Any]) -> Item:
    """Convert an entry of an fsspec listing."""
    folder, name = entry["name"].rsplit("/", 2)[-2:]
    path = f"{storage.url.rstrip('/')}/{folder}/{name}"
    return Item(file_kind(folder, name), folder, name, path, entry["size"] or 0, written_time(entry), shared=True)


def written_time(entry: dict[str, Any]) -> float:
    """Return when an entry was written, in s since 1970, or now if unknown; file systems have different keys for it.

    >>> written_time({"name": "bucket/ser/x", "LastModified": "1970-01-02T00:00:00+00:00"})
    86400.0
    """
    keys = ("LastModified", "mtime", "last_modified", "modified", "updated", "created")
    value = next((entry[key] for key in keys if entry.get(key)), time.time())
    with suppress(ValueError):
        value = datetime.fromisoformat(value) if isinstance(value, str) else value
        return value.timestamp() if isinstance(value, datetime) else float(value)
    return time.time()


def read_pieces(storage: Storage, item: Item) -> Iterator[bytes]:
    """Yield the bytes of a file in pieces.

    Raises:
        OSError: it is gone or cannot be read.
        StoreError: the shared storage cannot be reached.
    """
    if not item.shared:
        with Path(item.path).open("rb") as file:
            yield from iter(partial(file.read, 2**20), b"")
        return
    with storage_errors(storage.url):
        system, root = filesystem(storage.url)
        with system.open(f"{root}/{item.drawer}/{item.name}", "rb") as file:
            yield from iter(partial(file.read, 2**20), b"")


def read_notes(storage: Storage, items: Iterable[Item]) -> Notes:
    """Read the notes among these files; of a local copy and one in the shared storage the newer one counts."""
    found: Notes = {}
    for item in items:
        if item.kind == "note":
            new, old = _read_note(storage, item), found.get(item.name)
            found[item.name] = new if old is None or (new and new.written > old.written) else old
    return found


def _read_note(storage: Storage, item: Item) -> Reference | None:
    """Read one note; None if it is unreadable."""
    with suppress(OSError):
        return parse_note(b"".join(read_pieces(storage, item)))
    return None


def parse_note(text: bytes) -> Reference | None:
    """Parse a note; None if it is invalid."""
    try:
        return Reference(**json.loads(text))
    except (ValueError, TypeError):
        return None


def existing_shards(found: Notes) -> list[Reference]:
    """Return the notes of shards that exist; a shard that this user may not see counts as existing."""
    return [reference for reference in found.values() if reference and _may_exist(reference)]


def notes_of_gone_shards(found: Notes) -> set[str]:
    """Return the names of notes of shards that are gone."""
    return {name for name, reference in found.items() if reference and not _may_exist(reference)}


def _may_exist(reference: Reference) -> bool:
    """Say whether a shard exists, or may exist."""
    try:
        return reference.alive
    except PermissionError:
        return True


WORKSPACE_SHARDS = "features/*/*.parquet"  # shards in the folder that holds params.yaml


@dataclass(frozen=True)
class ShardSummary:
    """A shard made from a partition."""

    path: str
    machine: str
    written: float  # s since 1970
    alive: bool  # whether it exists, or may exist on another machine
    clips: int | None  # None if it cannot be read from here


@dataclass(frozen=True)
class PartitionSummary:
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
    shards: tuple[ShardSummary, ...]


@dataclass(frozen=True)
class UnpackedFile:
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
    drawers: tuple[PartitionSummary, ...]
    unpacked: tuple[UnpackedFile, ...]
    leftovers: tuple[Item, ...]  # on this machine: unfinished files, locks, notes of shards that are gone


def take_inventory(storage: Storage) -> Inventory:
    """List and summarise everything, without reading tensors.

    Raises:
        StoreError: the shared storage cannot be reached.
    """
    own, training = local_items(storage), unpacked_items()
    items = [*own, *shared_items(storage)]
    found = read_notes(storage, items)
    return Inventory(
        url=storage.url if storage.remote else "",
        folder=str(storage.folder),
        drawers=tuple(_summarise_partitions(items, found)),
        unpacked=tuple(unpacked_files(training, storage)),
        leftovers=tuple(_leftover_items([*own, *training], found)),
    )


def _summarise_partitions(items: Sequence[Item], found: Notes) -> list[PartitionSummary]:
    """Summarise the segments by partition, those of this machine first."""
    grouped: dict[tuple[bool, str], list[Item]] = {}
    for item in items:
        if item.kind == "segment":
            grouped.setdefault((item.shared, item.drawer), []).append(item)
    notes = [note for note in found.values() if note]
    return [_summarise_partition(group, notes) for _, group in sorted(grouped.items())]


def _summarise_partition(items: Sequence[Item], notes: Sequence[Reference]) -> PartitionSummary:
    """Summarise one partition."""
    name, shared = items[0].drawer, items[0].shared
    opened = [] if shared else [_segment_identity(item) for item in items]
    own = [_summarise_shard(note) for note in notes if note.drawer == name]
    used = {segment for note in notes if note.drawer == name and _may_exist(note) for segment in note.segments}
    return PartitionSummary(
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


def _segment_identity(item: Item) -> tuple[dict[str, Any], int] | None:
    """Read identity and number of rows of a segment; None if it is damaged."""
    try:
        table = cache.open_segment_table(Path(item.path))
        about = json.loads(table.schema.metadata[b"ser"])
    except (StoreError, ValueError):
        return None
    return {key: value for key, value in about.items() if key != "shape"}, table.num_rows


def _summarise_shard(note: Reference) -> ShardSummary:
    """Describe the shard of a note."""
    alive, local = _may_exist(note), note.machine == platform.node()
    return ShardSummary(
        note.shard, note.machine, note.written, alive, _count_clips(Path(note.shard)) if alive and local else None
    )


def _count_clips(path: Path) -> int | None:
    """Count the clips of a shard; None if it cannot be read from here."""
    try:
        file, layout = shards.open_shard(path)
    except (StoreError, OSError):
        return None
    return int(file.metadata.num_rows) // max(1, len(layout.augment))


def unpacked_files(items: Sequence[Item], storage: Storage) -> list[UnpackedFile]:
    """Find the shards to which unpacked files belong."""
    found = [item for item in items if item.kind == "unpacked"]
    owners = _known_shard_hashes(storage) if found else {}
    return [UnpackedFile(item.path, item.size, item.written, owners.get(item.name.partition("-")[0])) for item in found]


def _known_shard_hashes(storage: Storage) -> dict[str, str]:
    """Hash all shards known on this machine: those below the current folder, and those with notes.

    All clip caches of this machine are searched for notes, because their shards are unpacked into one folder.
    """
    caches = [home.parent for home in files.cache_locations(files.cache_folder() / "clips")]
    own = [folder for cache in caches for folder in (cache / "clips", *sorted(cache.glob("mirror/*")))]
    folders = dict.fromkeys([*storage.roots, *own])
    notes = read_notes(storage, [item for folder in folders for item in _scan_folder(folder / REFERENCES)])
    known = [Path(note.shard) for note in existing_shards(notes)]
    paths = dict.fromkeys([*(path.absolute() for path in Path().glob(WORKSPACE_SHARDS)), *known])
    return {found: str(path) for path in paths if (found := _shard_hash(path))}


def _shard_hash(path: Path) -> str:
    """Hash a shard; empty if it does not exist."""
    try:
        return files.file_hash(path)
    except OSError:
        return ""


def _leftover_items(items: Iterable[Item], found: Notes) -> list[Item]:
    """List what nobody needs any more, or only while an extraction runs."""
    dead = notes_of_gone_shards(found)
    return [item for item in items if item.kind in ("unfinished", "lock") or item.name in dead]
