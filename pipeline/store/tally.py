"""What was checked and what was deleted, in words: counts, sizes, ages, paths."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.store import files
from pipeline.store.holdings import Item
from pipeline.store.upkeep import Checked, Garbage, Swept

UNITS = {"year": 31_557_600, "month": 2_629_800, "week": 604_800, "day": 86_400, "hour": 3600, "minute": 60}  # s
KINDS = {
    "segment": "segment{s} of {drawer}",
    "note": "note{s} without a shard",
    "unpacked": "file{s} unpacked for training",
    "checkpoint": "state{s} of a training that was stopped",
    "hash": "note{s} of a shard's hash",
    "unfinished": "unfinished file{s}",
    "lock": "lock{s}",
}


def verdict(checked: Sequence[Checked], deleted: Swept) -> Iterator[str]:
    """Say of each drawer whether it is whole, and of each damaged file what is wrong and what to do."""
    if not checked:
        yield "Nothing is in it."
    for shared, drawer in dict.fromkeys((each.item.shared, each.item.drawer) for each in checked):
        some = [each for each in checked if (each.item.shared, each.item.drawer) == (shared, drawer)]
        bad = sum(bool(each.fault) for each in some)
        name, heavy = f"{drawer} (shared)" if shared else drawer, size(sum(each.item.size for each in some))
        files = f"{len(some):,} file{'s' if len(some) > 1 else ' '}"
        yield f"{name:34}{files:>14}{heavy:>13}   {f'{bad} damaged' if bad else 'whole'}"
    for item, fault in ((each.item, each.fault) for each in checked if each.fault):
        how = "Deleted" if item in deleted.items else "Delete it with 'ser-features store verify --repair'"
        yield f"{item.path} is damaged: {fault}. {how}: the next run that needs it makes it again."
    yield from others(
        [each.item for each in checked if each.closed], "read these, so nobody knows whether they are whole"
    )
    yield from others(deleted.left, "delete these, which are of other users")
    yield from deleted.failures


def others(items: Sequence[Item], verb: str) -> Iterator[str]:
    """Say of files of other users what this user may not do with them."""
    if items:
        yield f"You may not {verb}, first {items[0].path}:"
        yield from (f"    {line}" for line in counted(items))


def swept(found: Garbage, deleted: Swept | None) -> Iterator[str]:
    """Say what was deleted, or without that what would be, and what was left for the time being."""
    items = found.old if deleted is None else deleted.items
    verb = "Would delete" if deleted is None else "Deleted"
    heavy = size(sum(item.size for item in items))
    yield f"{verb} {heavy}:" if items else "There is nothing to delete."
    yield from (f"    {line}" for line in counted(items))
    if found.young:
        yield "No shard needs these either, but they are too young to go (--older-than):"
        yield from (f"    {line}" for line in counted(found.young))
    for path in found.unreadable:
        yield f"{path} {unread(path)}, so nobody knows what its shard needs: no segment goes; see 'store verify'."
    yield from others(deleted.left, "delete these, which are of other users") if deleted else ()
    yield from deleted.failures if deleted else ()


def unread(path: str) -> str:
    """Say why a note cannot be read: it is another user's, or it is damaged."""
    return "is damaged" if files.is_readable(Path(path)) else "may not be read by you"


def counted(items: Sequence[Item]) -> list[str]:
    """Count files by their kinds, segments by their drawers.

    >>> counted([Item("lock", "locks", "x.lock", "/c/locks/x.lock", 0, 0.0)])
    ['1 lock (0.0 MiB)']
    """
    groups: dict[tuple[bool, int, str], list[int]] = {}
    for item in items:
        drawer = item.drawer if item.kind == "segment" else ""
        groups.setdefault((item.shared, list(KINDS).index(item.kind), drawer), []).append(item.size)
    return [count(sizes, *group) for group, sizes in sorted(groups.items())]


def count(sizes: Sequence[int], shared: bool, kind: int, drawer: str) -> str:
    """Write how many files of a kind there are."""
    what = list(KINDS.values())[kind].format(s="s" if len(sizes) > 1 else "", drawer=drawer)
    return f"{len(sizes):,} {what}{' in the shared place' if shared else ''} ({size(sum(sizes))})"


def size(count: int) -> str:
    """Write a number of bytes.

    >>> size(111_252_096)
    '106.1 MiB'
    """
    return f"{count / 2**20:,.1f} MiB"


def ago(seconds: float) -> str:
    """Write an age.

    >>> ago(30), ago(90_000), ago(250 * 86_400)
    ('just now', '1 day ago', '8 months ago')
    """
    for unit, length in UNITS.items():
        if (count := int(seconds // length)) >= 1:
            return f"{count} {unit}{'s' * (count > 1)} ago"
    return "just now"


def short(path: str) -> str:
    """Write a path from the current folder or from the home folder on, where it is in one of them."""
    for base, sign in ((Path.cwd(), ""), (Path.home(), "~/")):
        if Path(path).is_relative_to(base):
            return sign + str(Path(path).relative_to(base))
    return path
