"""Write predictions as a table for people and as JSON and CSV for programs, with the score of the bundle."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import text as core_text
from pipeline.report.tables import subsection
from pipeline.train.bundle import Card

Array = npt.NDArray[np.float32]
NO_PREDICTION = "–"
BAR_WIDTH = 20  # characters
MAX_NAME_WIDTH = 60  # characters to which names are padded at most
MIN_LISTED = 0.005  # probability that is listed


@dataclass(frozen=True)
class SpanPrediction:
    """The prediction for a part of a recording, in s."""

    start: float
    end: float
    probabilities: Array | None  # shape (classes,), None without speech


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction for one recording."""

    name: str
    seconds: float
    labels: Sequence[str]
    probabilities: Array | None  # shape (classes,), None without speech
    timeline: Sequence[SpanPrediction] = ()  # of a recording that was predicted in windows
    notes: Sequence[str] = ()


def likeliest_emotion(labels: Sequence[str], probabilities: Array | None) -> str | None:
    """Name the likeliest emotion.

    >>> likeliest_emotion(["happy", "sad"], np.float32([0.2, 0.8])), likeliest_emotion(["happy", "sad"], None)
    ('sad', None)
    """
    return None if probabilities is None else labels[int(probabilities.argmax())]


def prediction_record(prediction: Prediction) -> dict[str, Any]:
    """Convert a prediction to JSON values: probabilities in six digits, times in s."""
    record = {"path": prediction.name, "seconds": round(prediction.seconds, 3)}
    record |= _probabilities_record(prediction.labels, prediction.probabilities)
    if prediction.timeline:
        record["timeline"] = [span_record(span, prediction.labels) for span in prediction.timeline]
    return record | {"notes": list(prediction.notes)}


def span_record(span: SpanPrediction, labels: Sequence[str]) -> dict[str, Any]:
    """Convert the prediction for a window to JSON values."""
    return {"start": round(span.start, 3), "end": round(span.end, 3)} | _probabilities_record(
        labels, span.probabilities
    )


def _probabilities_record(labels: Sequence[str], probabilities: Array | None) -> dict[str, Any]:
    """Return emotion and probabilities, both None without speech."""
    if probabilities is None:
        return {"emotion": None, "probabilities": None}
    shares = {name: round(float(share), 6) for name, share in zip(labels, probabilities, strict=True)}
    return {"emotion": likeliest_emotion(labels, probabilities), "probabilities": shares}


def _csv_rows(prediction: Prediction) -> Iterator[list[Any]]:
    """Yield the rows of a CSV file: the whole recording, then each of its windows."""
    whole = SpanPrediction(0.0, prediction.seconds, prediction.probabilities)
    for scope, span in [("whole", whole), *(("window", span) for span in prediction.timeline)]:
        shares = (
            [""] * len(prediction.labels) if span.probabilities is None else [f"{p:.6f}" for p in span.probabilities]
        )
        predicted = likeliest_emotion(prediction.labels, span.probabilities) or ""
        notes = "; ".join(prediction.notes) if scope == "whole" else ""
        yield [prediction.name, scope, f"{span.start:.3f}", f"{span.end:.3f}", predicted, *shares, notes]


def predictions_csv(predictions: Iterable[Prediction], labels: Sequence[str]) -> str:
    """Write a CSV table with a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["path", "part", "start", "end", "emotion", *labels, "notes"])
    for prediction in predictions:
        writer.writerows(_csv_rows(prediction))
    return out.getvalue()


def prediction_lines(predictions: Sequence[Prediction]) -> Iterator[str]:
    """Write a line for each recording, followed by its timeline."""
    names = [_escape_control(prediction.name) for prediction in predictions]
    width = min(MAX_NAME_WIDTH, max(map(len, names), default=0))
    for prediction, name in zip(predictions, names, strict=True):
        notes = f"   ({'; '.join(prediction.notes)})" if prediction.notes else ""
        yield f"{name:{width}s}  {_probabilities_text(prediction.labels, prediction.probabilities)}{notes}"
        yield from (timeline_line(span, prediction.labels) for span in prediction.timeline)


def _escape_control(name: str) -> str:
    r"""Escape control characters of a file name, which could change the terminal.

    >>> _escape_control("a\x1b[31mb\nc")
    'a\\x1b[31mb\\nc'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in name)


def timeline_line(span: SpanPrediction, labels: Sequence[str]) -> str:
    """Write the prediction for one window.

    >>> timeline_line(SpanPrediction(61.0, 64.0, None), ["sad"])
    '    1:01.0 – 1:04.0  –'
    """
    return f"    {format_time(span.start)} – {format_time(span.end)}  {_probabilities_text(labels, span.probabilities)}"


def _probabilities_text(labels: Sequence[str], probabilities: Array | None) -> str:
    """Write the likeliest emotion, a bar, and the two that follow.

    >>> _probabilities_text(["happy", "neutral", "sad"], np.float32([0.25, 0.0, 0.75]))
    'sad       75 %  ███████████████       happy 25 %'
    """
    if probabilities is None:
        return NO_PREDICTION
    first, *others = np.argsort(-probabilities, kind="stable")
    bar = "█" * round(BAR_WIDTH * float(probabilities[first]))
    rest = ", ".join(
        f"{labels[k]} {100 * probabilities[k]:.0f} %" for k in others[:2] if probabilities[k] >= MIN_LISTED
    )
    return f"{labels[first]:8s} {100 * probabilities[first]:3.0f} %  {bar:{BAR_WIDTH}s}  {rest}".rstrip()


def format_time(seconds: float) -> str:
    """Write a position in a recording as minutes and seconds.

    >>> format_time(0.0), format_time(3723.4)
    ('0:00.0', '1:02:03.4')
    """
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


PROTOCOL_TEXT = {
    "speaker": "on unseen speakers",
    "corpus": "on unseen corpora",
    "random": "on clips of speakers seen in training",
    "published": "on clips whose copies were seen in training",
}


def bundle_line(card: Card) -> str:
    """Describe a bundle and its score in one line."""
    name = f"{card.arch} on {card.view}, trained on {', '.join(card.corpora)}"
    return " · ".join(filter(None, [name, bundle_score(card) or "never evaluated", bundle_stamp(card)])).replace(
        "\u00a0", " "
    )


def bundle_sentence(card: Card) -> str:
    """Describe the score of a bundle in a sentence: on which speakers it was measured, and any warning."""
    test = subsection(card.scores, "test")
    if core_text.finite_number(test.get("uar")) is None:
        return f"The {card.arch} was never evaluated: run 'dvc repro'."
    span = core_text.format_interval(test.get("uar_ci95"))
    known = f", 95 % interval {span}" if span != core_text.MISSING else ""
    share = f"{core_text.format_percent(test['uar'])} of the clips of each emotion on average (UAR{known})"
    where = f"{core_text.format_things(test.get('clips'), 'clip')} of {core_text.format_speakers(test.get('speakers'))}"
    marks = f" {bundle_stamp(card)}." if bundle_stamp(card) else ""
    text = f"The {card.arch} recognises {share}, {PROTOCOL_TEXT.get(card.split['protocol'], '')}: {where}.{marks}"
    return text.replace("\u00a0", " ")


def bundle_score(card: Card) -> str:
    """Write the UAR of a bundle and how it was measured; "" before evaluation."""
    test = subsection(card.scores, "test")
    if core_text.finite_number(test.get("uar")) is None:
        return ""
    span = core_text.format_interval(test.get("uar_ci95"))
    known = f" ({span})" if span != core_text.MISSING else ""
    return f"UAR {core_text.format_percent(test['uar'])}{known} {PROTOCOL_TEXT.get(card.split['protocol'], '')}".strip()


def bundle_stamp(card: Card) -> str:
    """Return the warning that must precede any number; "" for none."""
    return str(card.scores.get("stamp") or card.stamp)


def bundle_record(card: Card, *, path: str) -> dict[str, Any]:
    """Describe a bundle in JSON values."""
    test = subsection(card.scores, "test")
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
