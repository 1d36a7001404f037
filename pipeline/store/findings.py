"""What a manifest tells of a corpus, in words: what is usable, what is not and why, and what was published so."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.corpora import known, registry
from pipeline.corpora.clip import TAKE
from pipeline.store import manifest


def summary(frame: pd.DataFrame, corpus: str, *, system: int, other: Mapping[str, int]) -> str:
    """Say what was found: a line for the corpus and one for each reason.

    Args:
        frame: its manifest.
        corpus: its name.
        system: files that an operating system left there.
        other: by extension, how many files were not read.
    """
    good, rows = manifest.usable(frame), manifest.records(frame)
    hours = good["seconds"].sum() / 3600
    head = (
        f"{corpus}: {len(good)} of {len(frame)} clips usable, {people(good['speaker'])}, {hours:.2f} h"
        f"{f', {system} system files ignored' if system else ''}"
    )
    warnings = Counter(word for words in good["warnings"] if words for word in words.split(","))
    odd = [f"  {count:5d}  used, though {word}" for word, count in sorted(warnings.items())]
    unread = [f"  {count:5d}  not read: {suffix or 'no extension'}" for suffix, count in sorted(other.items())]
    published = corpus in registry.KNOWN and not frame.attrs["synthetic"]
    why = [*again(rows), *(f"  {line}" for line in known.explain(corpus, odds(rows)))] if published else []
    return "\n".join(filter(None, [head, reasons(rows), *odd, *unread, *why]))


def people(speakers: "pd.Series[str]") -> str:
    """Count the speakers, and the clips that name none.

    >>> people(pd.Series(["a/1", "a/2", ""])), people(pd.Series(["", None]))
    ('2 speakers (1 clip names none)', 'no speaker is named')
    """
    named = speakers[speakers.fillna("") != ""]
    if named.empty:
        return "no speaker is named"
    nameless = len(speakers) - len(named)
    rest = f" ({nameless} clip{'s name' if nameless > 1 else ' names'} none)" if nameless else ""
    count = len(set(named))
    return f"{count} speaker{'s' if count > 1 else ''}{rest}"


def reasons(rows: Sequence[Mapping[str, Any]]) -> str:
    """Count the reasons why rows are left out, with one example each."""
    groups = {reason: [row for row in rows if row["status"] == reason] for reason in manifest.REASONS}
    return "\n".join(
        f"  {len(group):5d}  {reason:15s} {group[0]['detail']}" for reason, group in groups.items() if group
    )


def again(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say how many duplicates are clips under their own name once more, as in mirrors that hold the tree twice."""
    takes = [tuple(row[name] for name in TAKE) for row in rows if row["status"] in ("ok", "duplicate")]
    more = len(takes) - len(set(takes))
    return [f"  {more} of the duplicates are the same clips once more: the corpus is there more than once"] * bool(more)


def odds(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """List what is odd about each file: why it is left out, or else what it is used with."""
    found = ((row["status"].replace("ok", row["warnings"] or ""), row["path"]) for row in rows)
    return [(word, path) for words, path in found for word in words.split(",") if word]
