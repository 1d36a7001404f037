"""Predictions as a table for people and as JSON and CSV for programs, with the bundle's honest score."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import text as core_text
from pipeline.report.tables import part
from pipeline.train.bundle import Card

Array = npt.NDArray[np.float32]
NOTHING = "–"
BAR = 20  # characters
WIDEST = 60  # characters of a name that others are aligned with
LEAST = 0.005  # probability worth a word


@dataclass(frozen=True)
class Span:
    """A stretch of a recording, in s; without speech it has no probabilities. Shape ``(classes,)``."""

    start: float
    end: float
    probabilities: Array | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was heard in one recording."""

    name: str
    seconds: float
    labels: Sequence[str]
    probabilities: Array | None  # shape (classes,), None where there is nothing to judge
    timeline: Sequence[Span] = ()  # of a recording that was heard in windows
    notes: Sequence[str] = ()


def emotion(labels: Sequence[str], probabilities: Array | None) -> str | None:
    """Name the likeliest emotion.

    >>> emotion(["happy", "sad"], np.float32([0.2, 0.8])), emotion(["happy", "sad"], None)
    ('sad', None)
    """
    return None if probabilities is None else labels[int(probabilities.argmax())]


def answer_record(answer: Answer) -> dict[str, Any]:
    """Give an answer as JSON has it: probabilities in six digits, times in s."""
    found = {"path": answer.name, "seconds": round(answer.seconds, 3)}
    found |= judged(answer.labels, answer.probabilities)
    if answer.timeline:
        found["timeline"] = [window(span, answer.labels) for span in answer.timeline]
    return found | {"notes": list(answer.notes)}


def window(span: Span, labels: Sequence[str]) -> dict[str, Any]:
    """Give a window as JSON has it."""
    return {"start": round(span.start, 3), "end": round(span.end, 3)} | judged(labels, span.probabilities)


def judged(labels: Sequence[str], probabilities: Array | None) -> dict[str, Any]:
    """Give emotion and probabilities, both null where there is nothing to judge."""
    if probabilities is None:
        return {"emotion": None, "probabilities": None}
    shares = {name: round(float(share), 6) for name, share in zip(labels, probabilities, strict=True)}
    return {"emotion": emotion(labels, probabilities), "probabilities": shares}


def rows(answer: Answer) -> Iterator[list[Any]]:
    """Give the lines of a CSV file: the whole recording, then each window of it."""
    whole = Span(0.0, answer.seconds, answer.probabilities)
    for what, span in [("whole", whole), *(("window", span) for span in answer.timeline)]:
        shares = [""] * len(answer.labels) if span.probabilities is None else [f"{p:.6f}" for p in span.probabilities]
        heard = emotion(answer.labels, span.probabilities) or ""
        notes = "; ".join(answer.notes) if what == "whole" else ""
        yield [answer.name, what, f"{span.start:.3f}", f"{span.end:.3f}", heard, *shares, notes]


def table_csv(answers: Iterable[Answer], labels: Sequence[str]) -> str:
    """Write a CSV table with a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["path", "part", "start", "end", "emotion", *labels, "notes"])
    for answer in answers:
        writer.writerows(rows(answer))
    return out.getvalue()


def answer_lines(answers: Sequence[Answer]) -> Iterator[str]:
    """Write a line for each recording, and its timeline below."""
    names = [printable(answer.name) for answer in answers]
    width = min(WIDEST, max(map(len, names), default=0))
    for answer, name in zip(answers, names, strict=True):
        notes = f"   ({'; '.join(answer.notes)})" if answer.notes else ""
        yield f"{name:{width}s}  {verdict(answer.labels, answer.probabilities)}{notes}"
        yield from (timeline_line(span, answer.labels) for span in answer.timeline)


def printable(name: str) -> str:
    r"""Write a file name so that it can do nothing to a terminal.

    >>> printable("a\x1b[31mb\nc")
    'a\\x1b[31mb\\nc'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in name)


def timeline_line(span: Span, labels: Sequence[str]) -> str:
    """Write one window.

    >>> timeline_line(Span(61.0, 64.0, None), ["sad"])
    '    1:01.0 – 1:04.0  –'
    """
    return f"    {clock(span.start)} – {clock(span.end)}  {verdict(labels, span.probabilities)}"


def verdict(labels: Sequence[str], probabilities: Array | None) -> str:
    """Write the likeliest emotion, a bar, and what else it may be.

    >>> verdict(["happy", "neutral", "sad"], np.float32([0.25, 0.0, 0.75]))
    'sad       75 %  ███████████████       happy 25 %'
    """
    if probabilities is None:
        return NOTHING
    first, *others = np.argsort(-probabilities, kind="stable")
    bar = "█" * round(BAR * float(probabilities[first]))
    rest = ", ".join(f"{labels[k]} {100 * probabilities[k]:.0f} %" for k in others[:2] if probabilities[k] >= LEAST)
    return f"{labels[first]:8s} {100 * probabilities[first]:3.0f} %  {bar:{BAR}s}  {rest}".rstrip()


def clock(seconds: float) -> str:
    """Write a time of a recording.

    >>> clock(0.0), clock(3723.4)
    ('0:00.0', '1:02:03.4')
    """
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


STRANGERS = {
    "speaker": "on speakers it never heard",
    "corpus": "on corpora it never heard",
    "random": "on clips of speakers it knows",
    "published": "on clips whose copies it knows",
}


def bundle_line(card: Card) -> str:
    """Say what a bundle is and how good it is."""
    name = f"{card.arch} on {card.view}, trained on {', '.join(card.corpora)}"
    return " · ".join(filter(None, [name, bundle_score(card) or "never evaluated", bundle_stamp(card)])).replace(
        "\u00a0", " "
    )


def bundle_sentence(card: Card) -> str:
    """Say in plain words how good a bundle is, on whom that was measured, and what must be read with it."""
    test = part(card.scores, "test")
    if core_text.finite_number(test.get("uar")) is None:
        return f"The {card.arch} was never evaluated: run 'dvc repro'."
    span = core_text.format_interval(test.get("uar_ci95"))
    known = f", 95 % interval {span}" if span != core_text.MISSING else ""
    share = f"{core_text.format_percent(test['uar'])} of the clips of each emotion on average (UAR{known})"
    where = f"{core_text.format_things(test.get('clips'), 'clip')} of {core_text.format_speakers(test.get('speakers'))}"
    marks = f" {bundle_stamp(card)}." if bundle_stamp(card) else ""
    text = f"The {card.arch} recognises {share}, {STRANGERS.get(card.split['protocol'], '')}: {where}.{marks}"
    return text.replace("\u00a0", " ")


def bundle_score(card: Card) -> str:
    """Say how good a bundle is and how that was measured, "" before evaluation."""
    test = part(card.scores, "test")
    if core_text.finite_number(test.get("uar")) is None:
        return ""
    span = core_text.format_interval(test.get("uar_ci95"))
    known = f" ({span})" if span != core_text.MISSING else ""
    return f"UAR {core_text.format_percent(test['uar'])}{known} {STRANGERS.get(card.split['protocol'], '')}".strip()


def bundle_stamp(card: Card) -> str:
    """Give what must be read before any number."""
    return str(card.scores.get("stamp") or card.stamp)


def bundle_record(card: Card, *, path: str) -> dict[str, Any]:
    """Describe a bundle as JSON has it."""
    test = part(card.scores, "test")
    return {
        "path": path,
        "arch": card.arch,
        "view": card.view,
        "runtime": card.runtime,
        "labels": list(card.labels),
        "corpora": list(card.corpora),
        "protocol": card.split["protocol"],
        "uar": test.get("uar"),
        "uar_ci95": test.get("uar_ci95"),
        "stamp": bundle_stamp(card),
    }
