"""Sentences that all outputs share: what a protocol, a score and its labels mean."""

from collections.abc import Mapping
from typing import Any

from pipeline.split.leakage import LEAK_FAULTS, contamination_warning, synthetic_corpora
from pipeline.text import finite_number, format_percent, interval_ends

MISSED = "The interval misses chance: with random labels that happens by chance once in twenty times, or by a leak."
INTERVAL = "it takes five test speakers or more, and the name of each"
PROTOCOLS = {
    "speaker": "Test speakers are not in the training data: expect this UAR for new speakers.",
    "corpus": "Each corpus was tested by a model trained on the others: expect this UAR for another corpus.",
    "random": "Clips were split at random, so test speakers are in the training data: expect less for new speakers.",
    "published": "Split as in the published systems, with copies of test clips in the training data: comparable with "
    "their numbers, but no estimate for new recordings.",
}
LEAKS = LEAK_FAULTS | {
    "statistics": "were among the rows on which mean and SD were fitted: fit them on training rows alone.",
    "seen_statement": "say a sentence that is in the training data.",
    "unknown_speaker": "have no known speaker, who may be in the training data.",
    "own_statistics": "were standardised by mean and SD of their own speaker's test clips.",
}
STRANGERS = ("speaker", "corpus")  # protocols whose scores hold for unseen speakers
NORMALISED = {"train": "by the training rows", "speaker": "each speaker apart", "none": "not at all"}


def explain_protocol(evaluation: Mapping[str, Any]) -> str:
    """Explain what the protocol allows to conclude, as far as the leak audit and the corpora support it."""
    name = evaluation.get("protocol", "")
    sentence = PROTOCOLS.get(name, "")
    if name in STRANGERS and contamination_warning(evaluation):
        return ""
    own = name in STRANGERS and evaluation.get("transductive")
    weaker = synthetic_corpora(evaluation) or evaluation.get("shuffled") or own
    return f"{sentence.split(':')[0]}." if sentence and weaker else sentence


def explain_transductive(evaluation: Mapping[str, Any]) -> str:
    """Explain that all clips of a test speaker were used to normalise each of them; "" otherwise."""
    if not evaluation.get("transductive"):
        return ""
    return (
        "Transductive: each test speaker was normalised by mean and SD of all their own test clips, without their "
        "labels. This is no estimate for a single clip of a new speaker."
    )


def counted_unit(evaluation: Mapping[str, Any]) -> str:
    """Unit of the counts: ``rows`` where a test clip has several, as in published systems, else ``clips``.

    >>> counted_unit({"test": {"rows": 576, "clips": 520}})
    'rows'
    """
    test = evaluation.get("test", {})
    return "rows" if (finite_number(test.get("rows")) or 0) > (finite_number(test.get("clips")) or 0) else "clips"


def interpret_uar(test: Mapping[str, Any], *, control: bool = False) -> str:
    """Interpret UAR and interval; in a ``control``, whose labels are shuffled, UAR should be at chance."""
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


def describe_ensemble(evaluation: Mapping[str, Any]) -> str:
    """Describe an ensemble of several seeds, and the UAR of a single one; "" with one seed.

    >>> describe_ensemble({"seeds": {"count": 3, "uar_mean": 0.681, "uar_sd": 0.012}}).replace("\u00a0", " ")
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


def describe_label_source(evaluation: Mapping[str, Any]) -> str:
    """Describe the source of the labels, "" where it is the actors' intention alone.

    >>> describe_label_source({"labels": {"source": "intended", "soft": "voice"}})
    'what the actors intended; trained on shares of listeners to the voice'
    """
    labels: Mapping[str, Any] = evaluation.get("labels") or {}
    source, soft = LABELS.get(str(labels.get("source")), ""), SOFT.get(str(labels.get("soft")), "")
    truth = source or ("what the actors intended" if soft else "")
    return f"{truth}{', in corpora that have votes' if source else ''}{f'; trained on {soft}' if soft else ''}"
