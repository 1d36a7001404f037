"""``store verify`` and ``store gc``: find damaged segments, delete what no shard needs.

An extraction may run meanwhile: nothing young is deleted, and nothing that changed since it was looked at.
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
from pipeline.extract import storage
from pipeline.extract.storage import Place
from pipeline.upkeep import inventory
from pipeline.upkeep.inventory import Item, Notes

HOUR, DAY, WEEK = 3600, 86_400, 604_800  # s
ALTERED = "its bytes are not those that its name promises"
PATIENCE = {
    "unfinished": HOUR,
    "lock": DAY,
    "hash": DAY,
    "checkpoint": WEEK,
}  # s after which such a file is of no use to anybody


@dataclass(frozen=True)
class Checked:
    """A file whose every byte was read, and what is wrong with it; nothing if it is whole."""

    item: Item
    fault: str
    closed: bool = False  # this user may not read it, so that nobody knows


@dataclass(frozen=True)
class Garbage:
    """What no shard needs: what may go, and what is too young to tell; and notes that forbid to tell."""

    old: tuple[Item, ...]
    young: tuple[Item, ...]
    unreadable: tuple[str, ...]  # paths


@dataclass(frozen=True)
class Swept:
    """What was deleted, what belongs to others and stays, and a sentence for each file that could not be deleted."""

    items: tuple[Item, ...] = ()
    failures: tuple[str, ...] = ()
    left: tuple[Item, ...] = ()


def verify_store(place: Place) -> list[Checked]:
    """Read every byte of all segments, notes and files unpacked for training, here and in the shared place.

    Raises:
        StoreError: the shared place cannot be reached.
    """
    every = [*inventory.here(place), *inventory.shared(place), *inventory.unpacked_items()]
    items = [item for item in every if item.kind in ("segment", "note") or is_sealed(item)]
    found = [checked(place, item) for item in watched(items)]
    return [each for each in found if each]


def is_sealed(item: Item) -> bool:
    """Say whether it is a file unpacked for training that has a checksum: nobody reads those of older versions."""
    return item.kind == "unpacked" and "-" in item.name


def checked(place: Place, item: Item) -> Checked | None:
    """Read a file; nothing if it has gone meanwhile."""
    try:
        fault = check(place, item)
    except PermissionError:
        return Checked(item, "", closed=True)
    return None if fault is None else Checked(item, fault)


def watched(items: Sequence[Item]) -> Iterator[Item]:
    """Go through files with a progress bar, on a terminal only."""
    total = sum(item.size for item in items)
    with tqdm(total=total, unit="B", unit_scale=True, leave=False, disable=None, file=sys.stderr) as bar:
        for item in items:
            bar.set_description(item.drawer, refresh=False)
            yield item
            bar.update(item.size)


def check(place: Place, item: Item) -> str | None:
    """Say what is wrong with a file: nothing if it is whole, None if it has gone meanwhile."""
    pieces = inventory.content(place, item)
    try:
        if item.kind == "note":
            return "" if inventory.parse(b"".join(pieces)) else "it is no note of a shard"
        if item.kind == "unpacked":
            return "" if table.is_promised(item.name, pieces) else ALTERED
        promised = Path(item.name).stem.partition("-")[2]
        return "" if digest(pieces).startswith(promised) else ALTERED
    except FileNotFoundError:
        return None
    except PermissionError:
        raise
    except OSError as error:
        return error.strerror or str(error)


def digest(pieces: Iterable[bytes]) -> str:
    """SHA-256 of bytes that come in pieces, as hexadecimal text."""
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def find_garbage(place: Place, *, days: float = 1, shared: bool = False) -> Garbage:
    """Find what no living shard needs.

    Args:
        place: the clip cache.
        days: how old a file must be to go; unfinished files and locks have an age of their own.
        shared: look through the shared place too, where notes of other machines count.

    Raises:
        StoreError: the shared place cannot be reached.
    """
    training = idle(place)
    items, beyond = inventory.here(place), inventory.shared(place)
    found = inventory.read_notes(place, [*items, *beyond])
    candidates = [*items, *beyond] if shared else [item for item in items if item.kind != "note" or not place.remote]
    blind = None in found.values() or bool(inventory.closed(place))
    useless = [*unneeded(candidates, found, blind=blind), *training]
    now = time.time()
    is_old = [now - item.written > PATIENCE.get(item.kind, days * DAY) for item in useless]
    old = [item for item, old in zip(useless, is_old, strict=True) if old]
    young = [item for item, old in zip(useless, is_old, strict=True) if not old and item.kind not in PATIENCE]
    unreadable = [item.path for item in [*items, *beyond] if item.kind == "note" and found[item.name] is None]
    unreadable += inventory.closed(place)
    return Garbage(tuple(old), tuple(young), tuple(unreadable))


def unneeded(items: Iterable[Item], found: Notes, *, blind: bool) -> list[Item]:
    """Pick what no living shard needs; while a note cannot be read, ``blind``, nobody knows of any segment."""
    used = {(note.drawer, name) for note in inventory.living(found) for name in note.segments}
    dead = inventory.dead_owners(found)

    def useless(item: Item) -> bool:
        if item.kind == "segment":
            return not blind and (item.drawer, item.name) not in used
        return item.name in dead if item.kind == "note" else item.kind in PATIENCE

    return [item for item in items if useless(item)]


def idle(place: Place) -> list[Item]:
    """Pick the files unpacked for training whose shards are gone, states of trainings, and unfinished ones."""
    items = inventory.unpacked_items()
    owned = {each.path for each in inventory.unpacked(items, place) if each.shard}
    return [item for item in items if item.path not in owned]


def delete_garbage(place: Place, items: Iterable[Item]) -> Swept:
    """Delete files, and drawers that become empty by it; what this user may not delete stays."""
    gone, left, failures = list[Item](), list[Item](), list[str]()
    for item in items:
        try:
            if remove(place, item):
                gone.append(item)
        except (OSError, StoreError, Timeout) as error:
            if is_of_others(item, error):
                left.append(item)
                continue
            failures.append(f"{item.path} could not be deleted: {getattr(error, 'strerror', None) or error}.")
    for drawer in {item.drawer for item in gone if item.kind in ("segment", "unfinished")}:
        for root in place.roots:
            with suppress(OSError):  # there is more in it, or nothing
                (root / drawer).rmdir()
    return Swept(tuple(gone), tuple(failures), tuple(left))


def is_of_others(item: Item, error: BaseException) -> bool:
    """Say whether a file could not be deleted because it is not this user's; one's own that stays is a failure."""
    if item.shared:
        return isinstance(error.__cause__, PermissionError)
    with suppress(OSError):
        return files.error_number(error) in files.RIGHTS and Path(item.path).stat().st_uid != os.geteuid()
    return False


def remove(place: Place, item: Item) -> bool:
    """Delete a file, unless it has changed or gone since it was listed."""
    with suppress(FileNotFoundError):
        if item.shared:
            return remove_shared(place, item)
        path = Path(item.path)
        if item.kind == "lock":
            return remove_lock(path)
        if path.stat().st_mtime == item.written:
            path.unlink()
            return True
    return False


def remove_shared(place: Place, item: Item) -> bool:
    """Delete a file of the shared place."""
    with storage.reached(place.url):
        system, root = storage.filesystem(place.url)
        system.rm_file(f"{root}/{item.drawer}/{item.name}")
    return True


def remove_lock(path: Path) -> bool:
    """Delete a lock that nobody holds: who waits for it meanwhile finds that it is gone and makes a new one."""
    try:
        with FileLock(path, timeout=0):
            path.unlink(missing_ok=True)
    except Timeout:
        return False
    return True
