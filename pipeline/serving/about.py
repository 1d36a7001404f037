"""What must be read before any answer: one line for a bundle, its honest score and its stamp."""

from typing import Any

from pipeline.evaluation import wording
from pipeline.evaluation.tables import part
from pipeline.serving.card import Card

STRANGERS = {
    "speaker": "on speakers it never heard",
    "corpus": "on corpora it never heard",
    "random": "on clips of speakers it knows",
    "published": "on clips whose copies it knows",
}


def line(card: Card) -> str:
    """Say what a bundle is and how good it is."""
    name = f"{card.arch} on {card.view}, trained on {', '.join(card.corpora)}"
    return " · ".join(filter(None, [name, score(card) or "never evaluated", stamp(card)])).replace("\u00a0", " ")


def sentence(card: Card) -> str:
    """Say in plain words how good a bundle is, on whom that was measured, and what must be read with it."""
    test = part(card.scores, "test")
    if wording.number(test.get("uar")) is None:
        return f"The {card.arch} was never evaluated: run 'dvc repro'."
    span = wording.between(test.get("uar_ci95"))
    known = f", 95 % interval {span}" if span != wording.MISSING else ""
    share = f"{wording.percent(test['uar'])} of the clips of each emotion on average (UAR{known})"
    where = f"{wording.things(test.get('clips'), 'clip')} of {wording.people(test.get('speakers'))}"
    marks = f" {stamp(card)}." if stamp(card) else ""
    text = f"The {card.arch} recognises {share}, {STRANGERS.get(card.split['protocol'], '')}: {where}.{marks}"
    return text.replace("\u00a0", " ")


def score(card: Card) -> str:
    """Say how good a bundle is and how that was measured, "" before evaluation."""
    test = part(card.scores, "test")
    if wording.number(test.get("uar")) is None:
        return ""
    span = wording.between(test.get("uar_ci95"))
    known = f" ({span})" if span != wording.MISSING else ""
    return f"UAR {wording.percent(test['uar'])}{known} {STRANGERS.get(card.split['protocol'], '')}".strip()


def stamp(card: Card) -> str:
    """Give what must be read before any number."""
    return str(card.scores.get("stamp") or card.stamp)


def record(card: Card, *, path: str) -> dict[str, Any]:
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
        "stamp": stamp(card),
    }
