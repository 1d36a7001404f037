"""Commands ``store verify`` and ``store gc``: find damaged segments, delete what no shard needs.

An extraction may run meanwhile: young files are not deleted, nor files that changed since they were listed.
"""

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from pipeline.core import files
from pipeline.core.errors import StoreError
from pipeline.dataset import table
from pipeline.extract.storage import Storage, filesystem, storage_errors
from pipeline.upkeep import inventory
from pipeline.upkeep.inventory import Item, Notes

HOUR, DAY, WEEK = 3600, 86_400, 604_800  # s
CHECKSUM_MISMATCH = "its bytes do not match the checksum in its name"
USELESS_AFTER = {
    "unfinished": HOUR,
    "lock": DAY,
    "hash": DAY,
    "checkpoint": WEEK,
}  # s after which such a file is useless


@dataclass(frozen=True)
class Checked:
    """A file whose every byte was read, and what is wrong with it; empty if it is intact."""

    item: Item
    fault: str
    closed: bool = False  # whether this user may not read it


@dataclass(frozen=True)
class Garbage:
    """What no shard needs."""

    old: tuple[Item, ...]  # can be deleted
    young: tuple[Item, ...]  # may belong to a running extraction
    unreadable: tuple[str, ...]  # paths of notes; with these, any segment may be needed


@dataclass(frozen=True)
class Deletion:
    """The result of a deletion."""

    items: tuple[Item, ...] = ()  # deleted
    failures: tuple[str, ...] = ()  # a message for each file that could not be deleted
    left: tuple[Item, ...] = ()  # files of other users


def verify_store(storage: Storage) -> list[Checked]:
    """Verify all segments, notes and files unpacked for training, here and in the shared storage.

    Raises:
        StoreError: the shared storage cannot be reached.
    """
    every = [*inventory.local_items(storage), *inventory.shared_items(storage), *inventory.unpacked_items()]
    items = [item for item in every if item.kind in ("segment", "note") or _has_checksum(item)]
    return [result for item in _with_progress(items) if (result := _checked_file(storage, item))]


def _has_checksum(item: Item) -> bool:
    """Say whether it is a file unpacked for training that has a checksum, unlike those of older versions."""
    return item.kind == "unpacked" and "-" in item.name


def _checked_file(storage: Storage, item: Item) -> Checked | None:
    """Verify a file; None if it was deleted meanwhile."""
    try:
        fault = _find_fault(storage, item)
    except PermissionError:
        return Checked(item, "", closed=True)
    return None if fault is None else Checked(item, fault)


def _with_progress(items: Sequence[Item]) -> Iterator[Item]:
    """Iterate over files with a progress bar, on a terminal only."""
    total = sum(item.size for item in items)
    with tqdm(total=total, unit="B", unit_scale=True, leave=False, disable=None, file=sys.stderr) as bar:
        for item in items:
            bar.set_description(item.drawer, refresh=False)
            yield item
            bar.update(item.size)


def _find_fault(storage: Storage, item: Item) -> str | None:
    """Describe what is wrong with a file: empty if it is intact, None if it was deleted meanwhile."""
    pieces = inventory.read_pieces(storage, item)
    try:
        if item.kind == "note":
            return "" if inventory.parse_note(b"".join(pieces)) else "it is no note of a shard"
        if item.kind == "unpacked":
            return "" if table.matches_checksum(item.name, pieces) else CHECKSUM_MISMATCH
        promised = Path(item.name).stem.partition("-")[2]
        return "" if _sha256(pieces).startswith(promised) else CHECKSUM_MISMATCH
    except FileNotFoundError:
        return None
    except PermissionError:
        raise
    except OSError as error:
        return error.strerror or str(error)


def _sha256(pieces: Iterable[bytes]) -> str:
    """Return the SHA-256 of pieces of bytes as hexadecimal text."""
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def find_garbage(storage: Storage, *, days: float = 1, shared: bool = False) -> Garbage:
    """Find what no existing shard needs.

    Args:
        storage: of the clip cache.
        days: least age of files to delete; unfinished files and locks have an age of their own.
        shared: search the shared storage too, where notes of other machines count.

    Raises:
        StoreError: the shared storage cannot be reached.
    """
    training = _idle_training_items(storage)
    items, beyond = inventory.local_items(storage), inventory.shared_items(storage)
    found = inventory.read_notes(storage, [*items, *beyond])
    candidates = [*items, *beyond] if shared else [item for item in items if item.kind != "note" or not storage.remote]
    blind = None in found.values() or bool(inventory.unreadable_note_folders(storage))
    useless = [*_unneeded_items(candidates, found, blind=blind), *training]
    now = time.time()
    is_old = [now - item.written > USELESS_AFTER.get(item.kind, days * DAY) for item in useless]
    old = [item for item, old in zip(useless, is_old, strict=True) if old]
    young = [item for item, old in zip(useless, is_old, strict=True) if not old and item.kind not in USELESS_AFTER]
    unreadable = [item.path for item in [*items, *beyond] if item.kind == "note" and found[item.name] is None]
    unreadable += inventory.unreadable_note_folders(storage)
    return Garbage(tuple(old), tuple(young), tuple(unreadable))


def _unneeded_items(items: Iterable[Item], found: Notes, *, blind: bool) -> list[Item]:
    """Return what no existing shard needs. If some notes are unreadable, ``blind``, any segment may be needed."""
    used = {(note.drawer, name) for note in inventory.existing_shards(found) for name in note.segments}
    dead = inventory.notes_of_gone_shards(found)

    def useless(item: Item) -> bool:
        if item.kind == "segment":
            return not blind and (item.drawer, item.name) not in used
        return item.name in dead if item.kind == "note" else item.kind in USELESS_AFTER

    return [item for item in items if useless(item)]


def _idle_training_items(storage: Storage) -> list[Item]:
    """List files unpacked for training whose shards are gone, checkpoints, and unfinished files."""
    items = inventory.unpacked_items()
    owned = {each.path for each in inventory.unpacked_files(items, storage) if each.shard}
    return [item for item in items if item.path not in owned]


def delete_garbage(storage: Storage, items: Iterable[Item]) -> Deletion:
    """Delete files, and partitions that are then empty; what this user may not delete stays."""
    deleted, left, failures = list[Item](), list[Item](), list[str]()
    for item in items:
        try:
            if _delete_item(storage, item):
                deleted.append(item)
        except (OSError, StoreError, Timeout) as error:
            if _is_of_other_user(item, error):
                left.append(item)
                continue
            failures.append(f"{item.path} could not be deleted: {getattr(error, 'strerror', None) or error}.")
    for partition in {item.drawer for item in deleted if item.kind in ("segment", "unfinished")}:
        for root in storage.roots:
            with suppress(OSError):  # it is not empty, or does not exist
                (root / partition).rmdir()
    return Deletion(tuple(deleted), tuple(failures), tuple(left))


def _is_of_other_user(item: Item, error: BaseException) -> bool:
    """Say whether a file could not be deleted because it is another user's; otherwise it is a failure."""
    if item.shared:
        return isinstance(error.__cause__, PermissionError)
    with suppress(OSError):
        return files.error_number(error) in files.PERMISSION_ERRORS and Path(item.path).stat().st_uid != os.geteuid()
    return False


def _delete_item(storage: Storage, item: Item) -> bool:
    """Delete a file, unless it has changed or disappeared since it was listed."""
    with suppress(FileNotFoundError):
        if item.shared:
            return _delete_shared(storage, item)
        path = Path(item.path)
        if item.kind == "lock":
            return remove_lock(path)
        if path.stat().st_mtime == item.written:
            path.unlink()
            return True
    return False


def _delete_shared(storage: Storage, item: Item) -> bool:
    """Delete a file of the shared storage."""
    with storage_errors(storage.url):
        system, root = filesystem(storage.url)
        system.rm_file(f"{root}/{item.drawer}/{item.name}")
    return True


def remove_lock(path: Path) -> bool:
    """Delete a lock that nobody holds; a process waiting for it makes a new one."""
    try:
        with FileLock(path, timeout=0):
            path.unlink(missing_ok=True)
    except Timeout:
        return False
    return True
