"""Find the same recording twice within a corpus, and say which row stays.

Rows are mappings of the manifest's columns plus ``mono_sha256``; all functions return ``{path: (status, sentence)}``.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Any

from pipeline.corpora.clip import TAKE

Row = Mapping[str, Any]
Verdicts = dict[str, tuple[str, str]]


def find(rows: Iterable[Row], published: Collection[str]) -> Verdicts:
    """Judge usable rows: copies of samples first, then the same name on other bytes.

    ``published`` holds the hashes of the corpus' checksum table; it is empty for a corpus without one, whose names need
    not be unique.
    """
    ordered = sorted(rows, key=lambda row: str(row["path"]))
    verdicts = same_samples(ordered, published)
    rest = [row for row in ordered if row["path"] not in verdicts]
    return verdicts | (same_name(rest, published) if published else {})


def same_samples(rows: Iterable[Row], published: Collection[str]) -> Verdicts:
    """Leave out all but one of equal recordings, and all of those whose labels or speakers disagree."""
    verdicts: Verdicts = {}
    for group in groups(rows, lambda row: (row["mono_sha256"], row["sample_rate"])):
        if len({(row["emotion"], row["speaker"]) for row in group}) > 1:  # whose voice or emotion it is cannot be told
            names = " = ".join(f"{row['path']} ({row['emotion']}, {row['speaker'] or 'no speaker'})" for row in group)
            verdicts |= {
                row["path"]: ("label_conflict", f"The same samples under several labels or speakers: {names}.")
                for row in group
            }
        else:
            verdicts |= all_but_one(group, published, "has the same samples as")
    return verdicts


def same_name(rows: Iterable[Row], published: Collection[str]) -> Verdicts:
    """Leave out edited or re-encoded copies of a take, keeping the one that is as published."""
    verdicts: Verdicts = {}
    for group in groups(rows, lambda row: tuple(row[column] for column in TAKE)):
        verdicts |= all_but_one(group, published, "has other samples, and the name of")
    return verdicts


def groups(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> list[list[Row]]:
    """Gather rows of equal key; only groups of two and more count."""
    gathered: defaultdict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        gathered[key(row)].append(row)
    return [group for group in gathered.values() if len(group) > 1]


def all_but_one(group: list[Row], published: Collection[str], relation: str) -> Verdicts:
    """Keep the row whose bytes or samples are published, else the first."""
    kept = next((row for row in group if {row["sha256"], row["samples_sha256"]} & set(published)), group[0])
    return {
        row["path"]: ("duplicate", f"{row['path']} {relation} {kept['path']}, which stays.")
        for row in group
        if row is not kept
    }
