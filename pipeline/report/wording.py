"""Words that all outputs share: how numbers are written, what a protocol means, what to beware of."""

from collections.abc import Mapping
from typing import Any

from pipeline.split.leakage import FAULTS, contamination_warning, synthetic_corpora
from pipeline.text import finite_number, format_percent, interval_ends

MISSED = "The interval misses chance: with random labels that is luck, once in twenty times, or a leak."
INTERVAL = "it takes five test speakers or more, and the name of each"
PROTOCOLS = {
    "speaker": "Test speakers were never heard in training: this is what a stranger can expect.",
    "corpus": "Each corpus was tested by a model that never heard any of it: this is what another one can expect.",
    "random": "Clips were split at random, so test speakers were heard in training: a stranger gets less than this.",
    "published": "Split as the published systems did it, with copies of test clips in training: good for comparing "
    "with their numbers, worthless as a forecast.",
}
LEAKS = FAULTS | {
    "statistics": "were among the rows on which mean and deviation were fitted: fit them on training rows alone.",
    "seen_statement": "say a sentence that was heard in training.",
    "unknown_speaker": "have no known speaker, so nobody can tell whether the speaker was heard in training.",
    "own_statistics": "were standardised by mean and deviation of their own speaker's test clips.",
}
STRANGERS = ("speaker", "corpus")  # the protocols that promise something of a stranger
NORMALISED = {"train": "by the training rows", "speaker": "each speaker apart", "none": "not at all"}


def protocol(evaluation: Mapping[str, Any]) -> str:
    """Say what the protocol promises, and no more of it than the leak audit and the kind of speech allow."""
    name = evaluation.get("protocol", "")
    sentence = PROTOCOLS.get(name, "")
    if name in STRANGERS and contamination_warning(evaluation):
        return ""
    own = name in STRANGERS and evaluation.get("transductive")
    less = synthetic_corpora(evaluation) or evaluation.get("shuffled") or own
    return f"{sentence.split(':')[0]}." if sentence and less else sentence


def transductive(evaluation: Mapping[str, Any]) -> str:
    """Say that the model was given all clips of a test speaker before it judged one of them, "" where it was not."""
    if not evaluation.get("transductive"):
        return ""
    return (
        "Transductive: each test speaker was normalised by mean and deviation of all their own test clips, without "
        "their labels. This is no forecast for a single clip of a stranger."
    )


def counted(evaluation: Mapping[str, Any]) -> str:
    """Name what the scores count: rows where a test clip stands in more than one, as published systems have it.

    >>> counted({"test": {"rows": 576, "clips": 520}})
    'rows'
    """
    test = evaluation.get("test", {})
    return "rows" if (finite_number(test.get("rows")) or 0) > (finite_number(test.get("clips")) or 0) else "clips"


def verdict(test: Mapping[str, Any], *, control: bool = False) -> str:
    """Say what the number and its interval amount to; in a control, whose labels are random, chance is right."""
    uar, chance, pair = (
        finite_number(test.get("uar")),
        finite_number(test.get("chance")),
        interval_ends(test.get("uar_ci95")),
    )
    if uar is None or chance is None:
        return ""
    if pair is None:
        return f"No interval: {INTERVAL}, to show how far the number would move with others."
    if control:
        return "The interval holds chance, as it must." if pair[0] <= chance <= pair[1] else MISSED
    if pair[0] <= chance:
        return "The interval reaches down to chance: these data do not show that it recognises anything."
    return f"{100 * (uar - chance):.1f} points above chance. The interval shows how far other speakers would move it."


def several(evaluation: Mapping[str, Any]) -> str:
    """Say that several networks answered together, and what one alone gets; nothing of a single one.

    >>> several({"seeds": {"count": 3, "uar_mean": 0.681, "uar_sd": 0.012}}).replace("\u00a0", " ")
    'by the mean of 3 seeds; one alone 68.1 % ± 1.2'
    """
    seeds = evaluation.get("seeds") or {}
    if seeds.get("count", 1) < 2:
        return ""
    alone = f"{format_percent(seeds['uar_mean'])} ± {100 * seeds['uar_sd']:.1f}"
    return f"by the mean of {seeds['count']} seeds; one alone {alone}"


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


def label_source(evaluation: Mapping[str, Any]) -> str:
    """Say whose labels were learnt and judged by, "" where it was the actor's intention alone.

    >>> label_source({"labels": {"source": "intended", "soft": "voice"}})
    'what the actors intended; trained on shares of listeners to the voice'
    """
    told: Mapping[str, Any] = evaluation.get("labels") or {}
    source, soft = LABELS.get(str(told.get("source")), ""), SOFT.get(str(told.get("soft")), "")
    truth = source or ("what the actors intended" if soft else "")
    return f"{truth}{', in corpora that have votes' if source else ''}{f'; trained on {soft}' if soft else ''}"
