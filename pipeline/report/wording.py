"""Words that all outputs share: how numbers are written, what a protocol means, what to beware of."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from pipeline.split.leakage import FAULTS

MISSING = "–"
PERCENT = "\u00a0%"  # a no-break space: the sign never starts a line
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


def number(value: Any) -> float | None:
    """Give a finite number, or None for what JSON writes as null and Python as NaN.

    >>> number(0.5), number(None), number(float("nan")), number("text")
    (0.5, None, None, None)
    """
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def count(value: Any) -> str:
    """Write a number of things.

    >>> count(12697), count(None)
    ('12,697', '–')
    """
    return MISSING if number(value) is None else f"{value:,.0f}"


def things(value: Any, name: str) -> str:
    """Count things in words.

    >>> things(1, "fold"), things(1440, "clip")
    ('1 fold', '1,440 clips')
    """
    return f"{count(value)} {name}{'' if number(value) == 1 else 's'}"


def people(value: Any) -> str:
    """Count speakers, of whom clips need not name any.

    >>> people(24), people(1), people(0), people(None)
    ('24 speakers', '1 speaker', 'no named speaker', '– speakers')
    """
    return "no named speaker" if number(value) == 0 else things(value, "speaker")


def score(value: Any) -> str:
    """Write a score that is no share, such as F1.

    >>> score(0.61), score(None)
    ('0.610', '–')
    """
    return MISSING if number(value) is None else f"{value:.3f}"


def percent(value: Any, *, digits: int = 1) -> str:
    """Write a share in %, never rounding something to nothing or nearly all to all.

    >>> [percent(share).replace(PERCENT, "%") for share in (0.6174, 0, 0.0004, 0.99999, 1, None)]
    ['61.7%', '0%', '< 0.1%', '> 99.9%', '100%', '–']
    """
    share, step = number(value), 10**-digits
    if share is None:
        return MISSING
    if share in (0, 1):
        return f"{100 * share:.0f}{PERCENT}"
    if 0 < 100 * share < step / 2 or 0 < 100 - 100 * share < step / 2:
        return f"< {step:.{digits}f}{PERCENT}" if share < 0.5 else f"> {100 - step:.{digits}f}{PERCENT}"
    return f"{100 * share:.{digits}f}{PERCENT}"


def ends(interval: Any) -> tuple[float, float] | None:
    """Give the two ends of an interval, or None where there is none.

    >>> ends({"low": 0.5, "high": 0.6}), ends({"low": None, "high": None}), ends(None)
    ((0.5, 0.6), None, None)
    """
    values = interval if isinstance(interval, Mapping) else {}
    low, high = number(values.get("low")), number(values.get("high"))
    return None if low is None or high is None else (low, high)


def between(interval: Any) -> str:
    """Write an interval in %.

    >>> between({"low": 0.5712, "high": 0.6}).replace(PERCENT, "%")
    '57.1 to 60.0%'
    """
    pair = ends(interval)
    return MISSING if pair is None else f"{100 * pair[0]:.1f} to {100 * pair[1]:.1f}{PERCENT}"


def synthetic(evaluation: Mapping[str, Any]) -> list[str]:
    """Name the corpora that the demo made."""
    marks: Mapping[str, Any] = evaluation.get("synthetic") or {}
    return sorted(name for name, mark in marks.items() if mark)


def warnings(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give what must be read before any number: a short stamp for the pictures, and the sentence behind it."""
    return [*shuffled(evaluation), *demo(evaluation), *contaminated(evaluation)]


def shuffled(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Warn of labels dealt at random."""
    if not evaluation.get("shuffled"):
        return []
    sentence = (
        "The labels were dealt at random, so there was nothing to learn: what is above chance, beyond luck, is a leak."
    )
    return [("SHUFFLED labels: a control, must be chance", sentence)]


def demo(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Warn of synthetic speech."""
    names = synthetic(evaluation)
    if not names:
        return []
    sentence = "The speech was synthesised so that the pipeline can be tried without a corpus."
    if set(evaluation.get("corpus") or names) - set(names):
        sentence = f"{', '.join(names)}: synthesised by the demo, and scored here beside recorded speech."
    return [("DEMO: synthetic speech, says nothing about people", sentence)]


def contaminated(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Warn of test rows that leak from training."""
    share = number((evaluation.get("leak") or {}).get("contaminated"))
    if not share and evaluation.get("protocol") != "published":
        return []
    size = f" {percent(share, digits=0)}" if share else ""
    of_rows = f"{percent(share)} of the test rows are" if share else "The split is"
    sentence = f"{of_rows} known to the model in a way that a stranger's voice is not: these numbers are too high."
    return [(f"CONTAMINATED{size}", sentence)]


def protocol(evaluation: Mapping[str, Any]) -> str:
    """Say what the protocol promises, and no more of it than the leak audit and the kind of speech allow."""
    name = evaluation.get("protocol", "")
    sentence = PROTOCOLS.get(name, "")
    if name in STRANGERS and contaminated(evaluation):
        return ""
    own = name in STRANGERS and evaluation.get("transductive")
    less = synthetic(evaluation) or evaluation.get("shuffled") or own
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
    return "rows" if (number(test.get("rows")) or 0) > (number(test.get("clips")) or 0) else "clips"


def stamp(evaluation: Mapping[str, Any]) -> str:
    """Join the short warnings into one line for the pictures, "" for none."""
    return " · ".join(short for short, _ in warnings(evaluation))


def verdict(test: Mapping[str, Any], *, control: bool = False) -> str:
    """Say what the number and its interval amount to; in a control, whose labels are random, chance is right."""
    uar, chance, pair = number(test.get("uar")), number(test.get("chance")), ends(test.get("uar_ci95"))
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

    >>> several({"seeds": {"count": 3, "uar_mean": 0.681, "uar_sd": 0.012}}).replace(PERCENT, " %")
    'by the mean of 3 seeds; one alone 68.1 % ± 1.2'
    """
    seeds = evaluation.get("seeds") or {}
    if seeds.get("count", 1) < 2:
        return ""
    alone = f"{percent(seeds['uar_mean'])} ± {100 * seeds['uar_sd']:.1f}"
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

    >>> labels({"labels": {"source": "intended", "soft": "voice"}})
    'what the actors intended; trained on shares of listeners to the voice'
    """
    told: Mapping[str, Any] = evaluation.get("labels") or {}
    source, soft = LABELS.get(str(told.get("source")), ""), SOFT.get(str(told.get("soft")), "")
    truth = source or ("what the actors intended" if soft else "")
    return f"{truth}{', in corpora that have votes' if source else ''}{f'; trained on {soft}' if soft else ''}"
