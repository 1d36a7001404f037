"""Summarise the ingestion of a corpus: usable clips, reasons for rejection, and known faults.

Faults that are not listed here are reported as unknown: they belong to this copy, or nobody has noticed them before.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import pandas as pd

from pipeline.core import tables
from pipeline.corpora import registry
from pipeline.corpora.info import TAKE_COLUMNS


@dataclass(frozen=True, kw_only=True)
class KnownFault:
    """A fault in some published files of one corpus."""

    corpus: str
    finding: str  # a status or a warning of the manifest
    stems: frozenset[str]  # of the affected files
    reason: str


def _known_fault(corpus: str, finding: str, stems: str, reason: str) -> KnownFault:
    """Build a fault from ``stems`` separated by spaces."""
    return KnownFault(corpus=corpus, finding=finding, stems=frozenset(stems.split()), reason=reason)


EXPECTED_FINDINGS = {"duplicate", "out_of_scope", "unknown_name"}  # expected in mirrors and mixed folders

KNOWN_FAULTS = (
    _known_fault(
        "crema_d",
        "label_conflict",
        "1006_TIE_HAP_XX 1006_TIE_NEU_XX 1013_WSI_DIS_XX 1013_WSI_SAD_XX 1017_IWW_ANG_XX 1017_IWW_FEA_XX",
        "three recordings were published under two emotions each, and which is true is unknown",
    ),
    _known_fault("crema_d", "silent", "1076_MTI_SAD_XX", "it was published without sound"),
    _known_fault(
        "ravdess",
        "duplicate",
        "03-01-03-01-02-01-07 03-01-03-01-02-02-07",
        "one take of actor 07 was published as two repetitions",
    ),
    _known_fault(
        "ravdess",
        "stereo",
        "03-01-02-01-01-02-01 03-01-08-01-02-02-01 03-01-02-01-02-02-05 03-01-03-01-02-01-20 03-01-06-01-01-02-20",
        "five clips were published with two equal channels",
    ),
    _known_fault("tess", "other_rate", "OAF_food_fear", "it was published at 96,000 Hz"),
    _known_fault(
        "tess", "misnamed", "YAF_germ_angry YAF_neat_fear", "two clips were published as AIFF under the name .wav"
    ),
    _known_fault("tess", "clipped", "OAF_pad_ps", "it was published with 50 samples at full scale"),
)


def _explain_faults(corpus: str, findings: Iterable[tuple[str, str]]) -> list[str]:
    """Explain which findings are known faults of the published corpus, and which are new.

    >>> _explain_faults("tess", [("clipped", "OAF_pad_ps.wav"), ("clipped", "YAF_pad_ps.wav")])
    ['known of 1 clipped: it was published with 50 samples at full scale', 'not known of 1 clipped: YAF_pad_ps.wav']

    Args:
        corpus: the name of the corpus.
        findings: pairs of a status or a warning and the path of a file.
    """
    pairs = list(findings)
    unknown = [
        p
        for p in pairs
        if p[0] not in EXPECTED_FINDINGS and not any(_matches_fault(each, corpus, p) for each in KNOWN_FAULTS)
    ]
    counts = [(each, sum(_matches_fault(each, corpus, pair) for pair in pairs)) for each in KNOWN_FAULTS]
    old = [f"known of {count} {each.finding}: {each.reason}" for each, count in counts if count]
    words = sorted({finding for finding, _ in unknown})
    return [*old, *(_describe_unknown(word, [path for finding, path in unknown if finding == word]) for word in words)]


def _matches_fault(each: KnownFault, corpus: str, pair: tuple[str, str]) -> bool:
    """Check whether a finding is this fault."""
    finding, path = pair
    return (corpus, finding) == (each.corpus, each.finding) and PurePath(path).stem in each.stems


def _describe_unknown(finding: str, paths: Sequence[str]) -> str:
    """Report the files with a fault that is not known."""
    return f"not known of {len(paths)} {finding}: {', '.join(paths[:3])}{', …' * (len(paths) > 3)}"


def ingest_summary(frame: pd.DataFrame, corpus: str, *, system: int, other: Mapping[str, int]) -> str:
    """Summarise a manifest: a line for the corpus and one for each reason for rejection.

    Args:
        frame: the manifest.
        corpus: the name of the corpus.
        system: number of files left by operating systems.
        other: number of files that were not read, by extension.
    """
    usable, rows = tables.usable_clips(frame), tables.manifest_records(frame)
    hours = usable["seconds"].sum() / 3600
    head = (
        f"{corpus}: {len(usable)} of {len(frame)} clips usable, {_count_speakers(usable['speaker'])}, {hours:.2f} h"
        f"{f', {system} system files ignored' if system else ''}"
    )
    warnings = Counter(word for words in usable["warnings"] if words for word in words.split(","))
    warned = [f"  {count:5d}  used, though {word}" for word, count in sorted(warnings.items())]
    unread = [f"  {count:5d}  not read: {suffix or 'no extension'}" for suffix, count in sorted(other.items())]
    published = corpus in registry.KNOWN_CORPORA and not frame.attrs["synthetic"]
    faults = (
        [*_count_repeated(rows), *(f"  {line}" for line in _explain_faults(corpus, _list_findings(rows)))]
        if published
        else []
    )
    return "\n".join(filter(None, [head, rejection_reasons(rows), *warned, *unread, *faults]))


def _count_speakers(speakers: "pd.Series[str]") -> str:
    """Count the speakers, and the clips without a named speaker.

    >>> _count_speakers(pd.Series(["a/1", "a/2", ""])), _count_speakers(pd.Series(["", None]))
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
    """Count the rejected rows by reason, with one example each."""
    groups = {reason: [row for row in rows if row["status"] == reason] for reason in tables.REJECTION_REASONS}
    return "\n".join(
        f"  {len(group):5d}  {reason:15s} {group[0]['detail']}" for reason, group in groups.items() if group
    )


def _count_repeated(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Count the duplicates with the same name as their original, as in mirrors that contain the corpus twice."""
    takes = [tuple(row[name] for name in TAKE_COLUMNS) for row in rows if row["status"] in ("ok", "duplicate")]
    more = len(takes) - len(set(takes))
    return [
        f"  {more} of the duplicates repeat a clip under the same name: the folder contains the corpus more than once"
    ] * bool(more)


def _list_findings(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """List the findings of each file: its reason for rejection, or its warnings."""
    found = ((row["status"].replace("ok", row["warnings"] or ""), row["path"]) for row in rows)
    return [(word, path) for words, path in found for word in words.split(",") if word]
