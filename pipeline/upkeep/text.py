"""Output of the ``store`` commands, at most 100 columns wide."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core import config, files
from pipeline.text import table_lines
from pipeline.upkeep.gc import Checked, Deletion, Garbage
from pipeline.upkeep.inventory import Inventory, Item, PartitionSummary, ShardSummary

AGE_UNITS = {"year": 31_557_600, "month": 2_629_800, "week": 604_800, "day": 86_400, "hour": 3600, "minute": 60}  # s
KIND_TEXTS = {
    "segment": "segment{s} of {partition}",
    "note": "note{s} without a shard",
    "unpacked": "file{s} unpacked for training",
    "checkpoint": "checkpoint{s} of an interrupted training",
    "hash": "note{s} of a shard's hash",
    "unfinished": "unfinished file{s}",
    "lock": "lock{s}",
}


def format_verification(checked: Sequence[Checked], deleted: Deletion) -> Iterator[str]:
    """Yield for each partition whether it is intact, and for each damaged file what is wrong and what to do."""
    groups: dict[str, list[Checked]] = {}
    for each in checked:
        name = f"{each.item.drawer} (shared)" if each.item.shared else each.item.drawer
        groups.setdefault(name, []).append(each)
    rows = [("partition", "files", "size", ""), *(_checked_row(name, some) for name, some in groups.items())]
    yield from table_lines(rows, "lrrl") if checked else ["It is empty."]
    for item, fault in ((each.item, each.fault) for each in checked if each.fault):
        how = "Deleted" if item in deleted.items else "Delete it with 'ser-features store verify --repair'"
        yield f"{item.path} is damaged: {fault}. {how}: the next run that needs it makes it again."
    yield from _format_others(
        [each.item for each in checked if each.closed], "read these, so it is unknown whether they are whole"
    )
    yield from _format_others(deleted.left, "delete these, which are of other users")
    yield from deleted.failures


def _checked_row(name: str, some: Sequence[Checked]) -> tuple[str, ...]:
    bad = sum(bool(each.fault) for each in some)
    return (
        name,
        f"{len(some):,}",
        _format_size(sum(each.item.size for each in some)),
        f"{bad} damaged" if bad else "whole",
    )


def _format_others(items: Sequence[Item], verb: str) -> Iterator[str]:
    """Yield what this user may not do with files of other users."""
    if items:
        yield f"You may not {verb}, first {items[0].path}:"
        yield from (f"    {line}" for line in _count_by_kind(items))


def format_garbage(found: Garbage, deleted: Deletion | None) -> Iterator[str]:
    """Yield what was deleted, or would be, and what was left for the time being."""
    items = found.old if deleted is None else deleted.items
    verb = "Would delete" if deleted is None else "Deleted"
    total_size = _format_size(sum(item.size for item in items))
    yield f"{verb} {total_size}:" if items else "There is nothing to delete."
    yield from (f"    {line}" for line in _count_by_kind(items))
    if found.young:
        yield "No shard needs these either, but they are too young to be deleted (--older-than):"
        yield from (f"    {line}" for line in _count_by_kind(found.young))
    for path in found.unreadable:
        reason = _unreadable_reason(path)
        yield f"{path} {reason}, so what its shard needs is unknown: no segment is deleted; see 'store verify'."
    yield from _format_others(deleted.left, "delete these, which are of other users") if deleted else ()
    yield from deleted.failures if deleted else ()


def _unreadable_reason(path: str) -> str:
    """Say why a note cannot be read."""
    return "is damaged" if files.is_readable(Path(path)) else "may not be read by you"


def _count_by_kind(items: Sequence[Item]) -> list[str]:
    """Count files by their kinds, segments by their partitions.

    >>> _count_by_kind([Item("lock", "locks", "x.lock", "/c/locks/x.lock", 0, 0.0)])
    ['1 lock (0.0 MiB)']
    """
    groups: dict[tuple[bool, int, str], list[int]] = {}
    for item in items:
        partition = item.drawer if item.kind == "segment" else ""
        groups.setdefault((item.shared, list(KIND_TEXTS).index(item.kind), partition), []).append(item.size)
    return [_format_count(sizes, *group) for group, sizes in sorted(groups.items())]


def _format_count(sizes: Sequence[int], shared: bool, kind: int, partition: str) -> str:
    """Format the number and size of files of one kind."""
    what = list(KIND_TEXTS.values())[kind].format(s="s" if len(sizes) > 1 else "", partition=partition)
    return f"{len(sizes):,} {what}{' in the shared storage' if shared else ''} ({_format_size(sum(sizes))})"


def _format_size(count: int) -> str:
    """Format a number of bytes.

    >>> _format_size(111_252_096)
    '106.1 MiB'
    """
    return f"{count / 2**20:,.1f} MiB"


def format_age(seconds: float) -> str:
    """Format an age.

    >>> format_age(30), format_age(90_000), format_age(250 * 86_400)
    ('just now', '1 day ago', '8 months ago')
    """
    for unit, length in AGE_UNITS.items():
        if (count := int(seconds // length)) >= 1:
            return f"{count} {unit}{'s' * (count > 1)} ago"
    return "just now"


def _short_path(path: str) -> str:
    """Abbreviate a path relative to the current folder, or to the home folder as ``~/``."""
    for base, sign in ((Path.cwd(), ""), (Path.home(), "~/")):
        if Path(path).is_relative_to(base):
            return sign + str(Path(path).relative_to(base))
    return path


MAX_GONE = 3  # shards that are gone and named at most
Identities = Mapping[str, Mapping[str, Any]]  # by view


def format_inventory(found: Inventory, now: float, current: Identities) -> Iterator[str]:
    """Format an inventory.

    Args:
        found: the inventory.
        now: s since 1970.
        current: identities by the current params.yaml, by view; empty without it.
    """
    yield f"Clip cache {found.folder}" + (f", in front of {found.url}" if found.url else "")
    if not found.drawers:
        yield "It is empty: the first extraction fills it."
    own = [partition for partition in found.drawers if not partition.shared]
    beyond = [partition for partition in found.drawers if partition.shared]
    yield from _format_partitions("", own, found.drawers, now, current)
    yield from _format_partitions(found.url, beyond, found.drawers, now, current)
    yield from _format_training(found, now)
    yield from ["", *_format_total(found)]


def _format_partitions(
    url: str, some: Sequence[PartitionSummary], every: Sequence[PartitionSummary], now: float, current: Identities
) -> Iterator[str]:
    """Format the partitions of one storage with their remarks; those that both storages have get them once."""
    known = {partition.name for partition in every if not partition.shared} if url else set()
    if not some:
        return
    yield from ["", *([f"In {url}"] if url else [])]
    head = ("partition", "rows", "segments", "size", "first written", "last written")
    heading, *lines = table_lines([head, *(_format_figures(partition, now) for partition in some)], "lrrrll")
    yield heading
    for partition, line in zip(some, lines, strict=True):
        yield line
        yield from (
            f"    {remark}" for remark in _format_remarks(partition, every, current) if partition.name not in known
        )


def _format_figures(partition: PartitionSummary, now: float) -> tuple[str, ...]:
    """Format the figures of a partition. In the shared storage rows are not counted."""
    rows = "" if partition.shared else f"{partition.rows:,}"
    first, last = format_age(now - partition.first_written), format_age(now - partition.last_written)
    return partition.name, rows, f"{partition.segments:,}", _format_size(partition.size), first, last


def _format_remarks(
    partition: PartitionSummary, every: Sequence[PartitionSummary], current: Identities
) -> Iterator[str]:
    """Yield the settings, faults and shards of a partition."""
    if settings := _format_differences(partition, every, current):
        yield settings
    if partition.unreadable:
        note = "damaged or not yours to read, their rows are not counted"
        yield f"{partition.unreadable} {note}: 'ser-features store verify' names them"
    yield from _format_shards(partition.shards)
    if partition.unused:
        share = "it" if partition.unused == partition.size else f"{_format_size(partition.unused)} of it"
        yield f"no existing shard needs {share}"


def _format_shards(some: Sequence[ShardSummary]) -> list[str]:
    """List the shards made from a partition, and which of them are gone."""
    gone = [shard for shard in some if not shard.alive]
    named = [
        f"{_format_shard_path(shard)}, {shard.clips:,} clips" if shard.clips else _format_shard_path(shard)
        for shard in some
        if shard.alive
    ]
    named += [f"gone: {_format_shard_path(shard)}" for shard in gone[:MAX_GONE]]
    return named + ([f"gone: {len(gone) - MAX_GONE} more"] if len(gone) > MAX_GONE else [])


def _format_shard_path(shard: ShardSummary) -> str:
    """Format the path of a shard, with its machine if it cannot be read from here."""
    return _short_path(shard.path) if shard.clips is not None or not shard.alive else f"{shard.machine}: {shard.path}"


def _format_differences(partition: PartitionSummary, every: Iterable[PartitionSummary], current: Identities) -> str:
    """List the settings in which a partition differs from params.yaml, or without it from the others of its view."""
    own = _flat_identity(partition.identity)
    if not own:
        return "its settings are unknown here: no whole segment of it is on this machine"
    asked = _flat_identity(current.get(own["view"], {}))
    if asked:
        names = [name for name in own | asked if own.get(name) != asked.get(name)]
        changes = [
            f"{name} {_format_setting(own.get(name))} (now {_format_setting(asked.get(name))})" for name in names
        ]
        return ", ".join(changes) or "as in params.yaml"
    rivals = [_flat_identity(other.identity) for other in every if other.identity.get("view") == own["view"]]
    names = [name for name in own if any(each.get(name) != own[name] for each in rivals)]
    return ", ".join(f"{name} {_format_setting(own[name])}" for name in names)


def _format_setting(value: Any) -> str:
    """Format a setting as in params.yaml."""
    return value if isinstance(value, str) else json.dumps(value)


def _flat_identity(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten the settings of an identity to dotted names as in params.yaml.

    >>> _flat_identity({"dtype": "float16", "settings": {"audio": {"trim_db": None}}, "versions": {"audio": 1}})
    {'dtype': 'float16', 'audio.trim_db': None, 'versions.audio': 1}
    """
    return {name.removeprefix("settings."): value for name, value in config.flatten(values)}


def _format_training(found: Inventory, now: float) -> Iterator[str]:
    """Format the files unpacked for training."""
    if not found.unpacked:
        return
    yield from ["", f"Unpacked for training, in {_short_path(str(Path(found.unpacked[0].path).parent))}"]
    rows = [
        (
            f"{Path(each.path).name[:16]}….npy",
            _format_size(each.size),
            format_age(now - each.written),
            _owner(each.shard),
        )
        for each in found.unpacked
    ]
    yield from table_lines(rows, "lrll")


def _owner(shard: str | None) -> str:
    return _short_path(shard) if shard else "for a shard that is gone"


def _format_total(found: Inventory) -> Iterator[str]:
    """Format the total size on this machine, and how much of it no shard needs."""
    if found.leftovers:
        yield "Left over: " + ", ".join(_count_by_kind(found.leftovers))
    own = [partition for partition in found.drawers if not partition.shared]
    weights = [sum(each.size for each in some) for some in (own, found.unpacked, found.leftovers)]
    idle = [partition.unused for partition in own] + [each.size for each in found.unpacked if not each.shard]
    free = _format_size(sum(idle) + weights[2])
    training = f", {_format_size(weights[1])} of it unpacked for training" if found.unpacked else ""
    remedy = f"; no shard needs {free} of it: ser-features store gc" if free != _format_size(0) else ""
    yield f"On this machine {_format_size(sum(weights))}{training}{remedy}"
