"""What ingest prints of a corpus: what is usable, what is not and why, and which faults are known.

A fault that is not listed is news about a copy, or about the corpus; the summary of ingest says so.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import pandas as pd

from pipeline.core import tables
from pipeline.corpora import known
from pipeline.corpora.info import TAKE


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Files of one corpus in which one thing is found, and why."""

    corpus: str
    finding: str  # a status or a warning of the manifest
    stems: frozenset[str]
    why: str


def fault(corpus: str, finding: str, stems: str, why: str) -> Fault:
    """Write a fault on one line; ``stems`` are parted by blanks."""
    return Fault(corpus=corpus, finding=finding, stems=frozenset(stems.split()), why=why)


EVERYDAY = {"duplicate", "out_of_scope", "unknown_name"}  # of mirrors and mixed folders: nobody asks why

FAULTS = (
    fault(
        "crema_d",
        "label_conflict",
        "1006_TIE_HAP_XX 1006_TIE_NEU_XX 1013_WSI_DIS_XX 1013_WSI_SAD_XX 1017_IWW_ANG_XX 1017_IWW_FEA_XX",
        "three recordings were published under two emotions each, and which is true is unknown",
    ),
    fault("crema_d", "silent", "1076_MTI_SAD_XX", "it was published without sound"),
    fault(
        "ravdess",
        "duplicate",
        "03-01-03-01-02-01-07 03-01-03-01-02-02-07",
        "one take of actor 07 was published as two repetitions",
    ),
    fault(
        "ravdess",
        "stereo",
        "03-01-02-01-01-02-01 03-01-08-01-02-02-01 03-01-02-01-02-02-05 03-01-03-01-02-01-20 03-01-06-01-01-02-20",
        "five clips were published with two equal channels",
    ),
    fault("tess", "other_rate", "OAF_food_fear", "it was published at 96,000 Hz"),
    fault("tess", "misnamed", "YAF_germ_angry YAF_neat_fear", "two clips were published as AIFF under the name .wav"),
    fault("tess", "clipped", "OAF_pad_ps", "it was published with 50 samples at full scale"),
)


def explain_faults(corpus: str, findings: Iterable[tuple[str, str]]) -> list[str]:
    """Tell a reader which findings were published so, and which are new.

    >>> explain_faults("tess", [("clipped", "OAF_pad_ps.wav"), ("clipped", "YAF_pad_ps.wav")])
    ['known of 1 clipped: it was published with 50 samples at full scale', 'not known of 1 clipped: YAF_pad_ps.wav']

    Args:
        corpus: its name.
        findings: a status or a warning, and the path of the file.
    """
    pairs = list(findings)
    rest = [p for p in pairs if p[0] not in EVERYDAY and not any(matches(each, corpus, p) for each in FAULTS)]
    counted = [(each, sum(matches(each, corpus, pair) for pair in pairs)) for each in FAULTS]
    old = [f"known of {count} {each.finding}: {each.why}" for each, count in counted if count]
    return [*old, *(news(finding, [path for word, path in rest if word == finding]) for finding in words(rest))]


def matches(each: Fault, corpus: str, pair: tuple[str, str]) -> bool:
    """Say whether a finding is this fault."""
    finding, path = pair
    return (corpus, finding) == (each.corpus, each.finding) and PurePath(path).stem in each.stems


def words(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """List the findings, each once, in order."""
    return sorted({finding for finding, _ in pairs})


def news(finding: str, paths: Sequence[str]) -> str:
    """Say which files have a fault that was not published."""
    return f"not known of {len(paths)} {finding}: {', '.join(paths[:3])}{', …' * (len(paths) > 3)}"


def ingest_summary(frame: pd.DataFrame, corpus: str, *, system: int, other: Mapping[str, int]) -> str:
    """Say what was found: a line for the corpus and one for each reason.

    Args:
        frame: its manifest.
        corpus: its name.
        system: files that an operating system left there.
        other: by extension, how many files were not read.
    """
    good, rows = tables.usable_clips(frame), tables.manifest_records(frame)
    hours = good["seconds"].sum() / 3600
    head = (
        f"{corpus}: {len(good)} of {len(frame)} clips usable, {people(good['speaker'])}, {hours:.2f} h"
        f"{f', {system} system files ignored' if system else ''}"
    )
    warnings = Counter(word for words in good["warnings"] if words for word in words.split(","))
    odd = [f"  {count:5d}  used, though {word}" for word, count in sorted(warnings.items())]
    unread = [f"  {count:5d}  not read: {suffix or 'no extension'}" for suffix, count in sorted(other.items())]
    published = corpus in known.KNOWN and not frame.attrs["synthetic"]
    why = [*again(rows), *(f"  {line}" for line in explain_faults(corpus, odds(rows)))] if published else []
    return "\n".join(filter(None, [head, rejection_reasons(rows), *odd, *unread, *why]))


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


def rejection_reasons(rows: Sequence[Mapping[str, Any]]) -> str:
    """Count the reasons why rows are left out, with one example each."""
    groups = {reason: [row for row in rows if row["status"] == reason] for reason in tables.REASONS}
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
