"""What the ``store`` commands print: tables within 100 columns."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core import config, files
from pipeline.text_table import table_lines
from pipeline.upkeep.gc import Checked, Garbage, Swept
from pipeline.upkeep.inventory import Drawer, Inventory, Item, Shard

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


def verify_text(checked: Sequence[Checked], deleted: Swept) -> Iterator[str]:
    """Say of each drawer whether it is whole, and of each damaged file what is wrong and what to do."""
    groups: dict[str, list[Checked]] = {}
    for each in checked:
        name = f"{each.item.drawer} (shared)" if each.item.shared else each.item.drawer
        groups.setdefault(name, []).append(each)
    rows = [("drawer", "files", "size", ""), *(_checked_row(name, some) for name, some in groups.items())]
    yield from table_lines(rows, "lrrl") if checked else ["Nothing is in it."]
    for item, fault in ((each.item, each.fault) for each in checked if each.fault):
        how = "Deleted" if item in deleted.items else "Delete it with 'ser-features store verify --repair'"
        yield f"{item.path} is damaged: {fault}. {how}: the next run that needs it makes it again."
    yield from others(
        [each.item for each in checked if each.closed], "read these, so nobody knows whether they are whole"
    )
    yield from others(deleted.left, "delete these, which are of other users")
    yield from deleted.failures


def _checked_row(name: str, some: Sequence[Checked]) -> tuple[str, ...]:
    bad = sum(bool(each.fault) for each in some)
    return name, f"{len(some):,}", size(sum(each.item.size for each in some)), f"{bad} damaged" if bad else "whole"


def others(items: Sequence[Item], verb: str) -> Iterator[str]:
    """Say of files of other users what this user may not do with them."""
    if items:
        yield f"You may not {verb}, first {items[0].path}:"
        yield from (f"    {line}" for line in counted(items))


def gc_text(found: Garbage, deleted: Swept | None) -> Iterator[str]:
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


GONE = 3  # so many of the shards that are gone are named
Identities = Mapping[str, Mapping[str, Any]]  # by view


def inventory_text(found: Inventory, now: float, current: Identities) -> Iterator[str]:
    """Write an inventory.

    Args:
        found: what is there.
        now: s since 1970.
        current: what params.yaml asks for, by view; empty without it.
    """
    yield f"Clip cache {found.folder}" + (f", in front of {found.url}" if found.url else "")
    if not found.drawers:
        yield "Nothing is in it: the first extraction fills it."
    own = [drawer for drawer in found.drawers if not drawer.shared]
    beyond = [drawer for drawer in found.drawers if drawer.shared]
    yield from table("", own, found.drawers, now, current)
    yield from table(found.url, beyond, found.drawers, now, current)
    yield from training(found, now)
    yield from ["", *total(found)]


def table(url: str, some: Sequence[Drawer], every: Sequence[Drawer], now: float, current: Identities) -> Iterator[str]:
    """Write the drawers of one place, each with its remarks, once for those that both places have."""
    known = {drawer.name for drawer in every if not drawer.shared} if url else set()
    if not some:
        return
    yield from ["", *([f"In {url}"] if url else [])]
    head = ("drawer", "rows", "segments", "size", "first written", "last written")
    heading, *lines = table_lines([head, *(figures(drawer, now) for drawer in some)], "lrrrll")
    yield heading
    for drawer, line in zip(some, lines, strict=True):
        yield line
        yield from (f"    {remark}" for remark in remarks(drawer, every, current) if drawer.name not in known)


def figures(drawer: Drawer, now: float) -> tuple[str, ...]:
    """Write the figures of a drawer. In the shared place rows are not counted."""
    rows = "" if drawer.shared else f"{drawer.rows:,}"
    first, last = ago(now - drawer.first_written), ago(now - drawer.last_written)
    return drawer.name, rows, f"{drawer.segments:,}", size(drawer.size), first, last


def remarks(drawer: Drawer, every: Sequence[Drawer], current: Identities) -> Iterator[str]:
    """Say of a drawer its settings, its faults and its shards."""
    if settings := differences(drawer, every, current):
        yield settings
    if drawer.unreadable:
        word = "damaged or not yours to read, their rows are not counted"
        yield f"{drawer.unreadable} {word}: 'ser-features store verify' names them"
    yield from shards(drawer.shards)
    if drawer.unused:
        share = "it" if drawer.unused == drawer.size else f"{size(drawer.unused)} of it"
        yield f"no shard that is still there needs {share}"


def shards(some: Sequence[Shard]) -> list[str]:
    """Say which shards were made of a drawer, and which of them are gone."""
    gone = [shard for shard in some if not shard.alive]
    named = [f"{place(shard)}, {shard.clips:,} clips" if shard.clips else place(shard) for shard in some if shard.alive]
    named += [f"gone: {place(shard)}" for shard in gone[:GONE]]
    return named + ([f"gone: {len(gone) - GONE} more"] if len(gone) > GONE else [])


def place(shard: Shard) -> str:
    """Say where a shard is; what cannot be read from here is on another machine, or another user's."""
    return short(shard.path) if shard.clips is not None or not shard.alive else f"{shard.machine}: {shard.path}"


def differences(drawer: Drawer, every: Iterable[Drawer], current: Identities) -> str:
    """Say by which settings a drawer differs: from params.yaml, or without it from the other drawers of its view."""
    own = flat(drawer.identity)
    if not own:
        return "its settings are unknown here: no whole segment of it is on this machine"
    asked = flat(current.get(own["view"], {}))
    if asked:
        names = [name for name in own | asked if own.get(name) != asked.get(name)]
        changes = [f"{name} {word(own.get(name))} (now {word(asked.get(name))})" for name in names]
        return ", ".join(changes) or "as in params.yaml"
    rivals = [flat(other.identity) for other in every if other.identity.get("view") == own["view"]]
    names = [name for name in own if any(each.get(name) != own[name] for each in rivals)]
    return ", ".join(f"{name} {word(own[name])}" for name in names)


def word(value: Any) -> str:
    """Write a setting as params.yaml does."""
    return value if isinstance(value, str) else json.dumps(value)


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Name the settings of an identity by their dotted names, as params.yaml has them.

    >>> flat({"dtype": "float16", "settings": {"audio": {"trim_db": None}}, "versions": {"audio": 1}})
    {'dtype': 'float16', 'audio.trim_db': None, 'versions.audio': 1}
    """
    return {name.removeprefix("settings."): value for name, value in config.flat(values)}


def training(found: Inventory, now: float) -> Iterator[str]:
    """Write the files unpacked for training."""
    if not found.unpacked:
        return
    yield from ["", f"Unpacked for training, in {short(str(Path(found.unpacked[0].path).parent))}"]
    rows = [
        (f"{Path(each.path).name[:16]}….npy", size(each.size), ago(now - each.written), _owner(each.shard))
        for each in found.unpacked
    ]
    yield from table_lines(rows, "lrll")


def _owner(shard: str | None) -> str:
    return short(shard) if shard else "for a shard that is gone"


def total(found: Inventory) -> Iterator[str]:
    """Sum up what is on this machine, and what of it no shard needs."""
    if found.leftovers:
        yield "Left over: " + ", ".join(counted(found.leftovers))
    own = [drawer for drawer in found.drawers if not drawer.shared]
    weights = [sum(each.size for each in some) for some in (own, found.unpacked, found.leftovers)]
    idle = [drawer.unused for drawer in own] + [each.size for each in found.unpacked if not each.shard]
    free = size(sum(idle) + weights[2])
    training = f", {size(weights[1])} of it unpacked for training" if found.unpacked else ""
    remedy = f"; no shard needs {free} of it: ser-features store gc" if free != size(0) else ""
    yield f"On this machine {size(sum(weights))}{training}{remedy}"
