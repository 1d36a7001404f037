"""Whose labels a model learnt and was judged by, in words."""

from collections.abc import Mapping
from typing import Any

LABELS = {
    "voice": "what most listeners heard in the voice",
    "face": "what most viewers saw in the silent face",
    "multimodal": "what most people saw and heard in the film",
}
SOFT = {
    "voice": "shares of listeners to the voice",
    "face": "shares of viewers of the silent face",
    "multimodal": "shares of viewers of the film",
}


def labels(evaluation: Mapping[str, Any]) -> str:
    """Say whose labels were learnt and judged by, "" where it was the actor's intention alone.

    >>> labels({"labels": {"source": "intended", "soft": "voice"}})
    'what the actors intended; trained on shares of listeners to the voice'
    """
    told: Mapping[str, Any] = evaluation.get("labels") or {}
    source, soft = LABELS.get(str(told.get("source")), ""), SOFT.get(str(told.get("soft")), "")
    truth = source or ("what the actors intended" if soft else "")
    return f"{truth}{', in corpora that have votes' if source else ''}{f'; trained on {soft}' if soft else ''}"
