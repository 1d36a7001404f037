"""Faults that are in the corpora as they were published: what a measurement finds is explained by them, never replaced.

A fault that is not listed is news about a copy, or about the corpus; the summary of ingest says so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath


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


def explain(corpus: str, findings: Iterable[tuple[str, str]]) -> list[str]:
    """Tell a reader which findings were published so, and which are new.

    >>> explain("tess", [("clipped", "OAF_pad_ps.wav"), ("clipped", "YAF_pad_ps.wav")])
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
