"""The leakage audit: what of the test rows was already in training or validation.

The audit trusts no protocol: it looks at rows, so it finds in a ``published`` split what a ``speaker`` split rules out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.core.errors import StoreError
from pipeline.core.labels import ORIGINAL
from pipeline.text import finite_number, format_percent

FAULTS = {
    "same_samples": "are recordings that train under another name, or the very same row: drop the duplicates.",
    "same_clip": "have a version of the same clip in training: split first, then augment the training side.",
    "same_name": "have a file of the same name, speaker and class in training: the corpus tree is there twice.",
    "seen_speaker": "come from a speaker heard in training: split by speaker.",
    "augmented_test": "are augmented copies: test on the original recordings alone.",
    "validation_is_test": "also validate, so the best epoch was chosen on them: cut the validation from training.",
    "validation_speaker": "come from a speaker who also validates: cut the validation by speaker.",
}
SEEN = ("seen_statement", "unknown_speaker")  # worth knowing, no fault
INFORMATION = (*SEEN, "own_statistics")  # the last one can be told of a model, not of a split
KEYS = {
    "clip": ("clip_id",),
    "row": ("variant", "clip_id"),
    "recording": ("samples_sha256",),
    "file": ("corpus", "speaker", "label", "name"),  # SAVEE calls a file of each of its four speakers a01.wav
    "speaker": ("speaker",),
    "statement": ("corpus", "statement"),
}


def audit(clips: pd.DataFrame, *, protocol: str) -> dict[str, object]:
    """Count a split and give the shares of its test rows that are not as unheard as they should be.

    Args:
        clips: the table of ``folds.assign`` joined with ``samples_sha256``, ``statement`` and ``name`` (file stem in
            lower case).
        protocol: the split's protocol, passed on.

    Returns:
        ``protocol``, ``count``, ``leak`` for all folds together, and ``fold.<k>.{count,leak}``. A leak is a share of
        test rows from 0 to 1 in four digits, and never 0 while there is one such row. ``contaminated`` is the share
        with at least one of ``FAULTS``; ``SEEN`` does not count.

    Raises:
        StoreError: a fold has no test rows.
    """
    text = sorted({name for names in KEYS.values() for name in names})
    rows = clips.reset_index(drop=True).fillna(dict.fromkeys(text, ""))
    parts = {str(fold): rows[rows["fold"] == fold] for fold in sorted(set(rows["fold"].tolist()))}
    coded = codes(rows)
    marked = {fold: marks(part, coded.loc[part.index]) for fold, part in parts.items()}
    each = {fold: {"count": counts(part), "leak": shares(marked[fold])} for fold, part in parts.items()}
    total = {"folds": len(parts), **counts(rows)}
    return {"protocol": protocol, "count": total, "leak": shares(pd.concat(marked.values())), "fold": each}


def counts(rows: pd.DataFrame) -> dict[str, int]:
    """Count what there is, by role too."""
    roles = ("train", "validation", "test")
    named = rows["speaker"][rows["speaker"] != ""]
    return {
        "speakers": named.nunique(),
        "clips": rows["clip_id"].nunique(),
        **{f"{role}_speakers": named[rows["role"] == role].nunique() for role in roles},
        **{f"{role}_rows": int((rows["role"] == role).sum()) for role in roles},
    }


def codes(rows: pd.DataFrame) -> pd.DataFrame:
    """Number the different values of each of ``KEYS``; -1 where its last column is empty: nothing equals nothing."""
    found = {}
    for key, names in KEYS.items():
        joined = rows[names[0]]
        for name in names[1:]:
            joined = joined + "\0" + rows[name]
        found[key] = pd.factorize(joined.where(rows[names[-1]] != ""))[0]
    return pd.DataFrame(found, index=rows.index)


def marks(rows: pd.DataFrame, coded: pd.DataFrame) -> pd.DataFrame:
    """Mark the test rows of one fold. Shape: ``(test rows, faults and information)``, boolean."""
    test, train, validation = (coded[rows["role"] == role] for role in ("test", "train", "validation"))
    if test.empty:
        raise StoreError(
            f"fold {rows['fold'].iloc[0]} of the clips table has no test rows: run `dvc repro split` again."
        )
    return pd.DataFrame(
        {
            "same_samples": elsewhere(test, train, "recording") | within(test, train, "row"),
            "same_clip": within(test, train, "clip"),
            "same_name": elsewhere(test, train, "file"),
            "seen_speaker": within(test, train, "speaker"),
            "augmented_test": rows["variant"][test.index] != ORIGINAL,
            "validation_is_test": within(test, validation, "clip") | within(test, validation, "recording"),
            "validation_speaker": within(test, validation, "speaker"),
            "seen_statement": within(test, train, "statement"),
            "unknown_speaker": test["speaker"] < 0,
        }
    )


def within(test: pd.DataFrame, other: pd.DataFrame, name: str) -> "pd.Series[bool]":
    """Say which test rows share a key with one of the other rows."""
    return test[name].isin(other[name]) & (test[name] >= 0)


def elsewhere(test: pd.DataFrame, other: pd.DataFrame, name: str) -> "pd.Series[bool]":
    """Say which test rows share a key with one of the other rows that is another clip."""
    pairs = other[[name, "clip"]].drop_duplicates()
    holders = test[name].map(pairs[name].value_counts()).fillna(0)
    own = pd.MultiIndex.from_frame(test[[name, "clip"]]).isin(pd.MultiIndex.from_frame(pairs))
    return (holders > own) & (test[name] >= 0)


def shares(marked: pd.DataFrame) -> dict[str, float]:
    """Turn marks into shares of the rows, with ``contaminated`` last."""
    found = {name: share(marked[name]) for name in (*FAULTS, *SEEN)}
    return {**found, "contaminated": share(marked[list(FAULTS)].any(axis=1))}


def share(marked: "pd.Series[bool]") -> float:
    """Give the share that is marked."""
    return visible(float(marked.mean()))


def visible(share: float) -> float:
    """Round a share to four digits without rounding a leak away.

    >>> visible(1 / 50_000), visible(0.0)
    (0.0001, 0.0)
    """
    return max(round(share, 4), 1e-4) if share > 0 else 0.0


def over(figures: Mapping[str, Any], folds: Sequence[int]) -> dict[str, float]:
    """Give the leaks of some folds together: shares weighted by test rows, since not every fold need be trained.

    >>> one, two = ({"leak": {"same_clip": s}, "count": {"test_rows": n}} for s, n in ((0.0, 30), (0.4, 10)))
    >>> over({"fold": {"0": one, "1": two}}, [0, 1]), over({"fold": {"0": one, "1": two}}, [0])
    ({'same_clip': 0.1}, {'same_clip': 0.0})
    """
    parts = [figures["fold"][str(fold)] for fold in folds]
    rows = np.array([part["count"]["test_rows"] for part in parts])
    leak = {name: np.array([part["leak"][name] for part in parts]) for name in parts[0]["leak"]}
    return {name: visible(float(shares @ rows / rows.sum())) for name, shares in leak.items()}


def fitted_on(
    stored: npt.ArrayLike, training: npt.ArrayLike, everything: npt.ArrayLike, *, tolerance: float = 1e-3
) -> str:
    """Say on which rows the statistics of a model were fitted: ``training``, ``everything`` or ``neither``.

    Args:
        stored: mean, standard deviation or both in one array, as kept with the model. Shape: ``(numbers,)``.
        training: the same numbers computed again on the fold's training rows.
        everything: the same on all rows of the fold, test rows too.
        tolerance: largest distance to be called equal, as a share of the largest of the recomputed numbers; room for
            another order of summation.

    Where both are within the tolerance the nearer one is named, and ``training`` if they are equally near.

    >>> fitted_on([1.0, 2.0], [1.0, 2.0], [1.5, 2.5])
    'training'
    """
    target, clean, leaky = (np.asarray(values, np.float64) for values in (stored, training, everything))
    if not target.shape == clean.shape == leaky.shape:
        return "neither"
    near = {name: float(np.abs(target - values).max()) for name, values in (("training", clean), ("everything", leaky))}
    best = min(near, key=near.__getitem__)
    return best if near[best] <= tolerance * np.abs([clean, leaky]).max() else "neither"


def synthetic_corpora(evaluation: Mapping[str, Any]) -> list[str]:
    """Name the corpora that the demo made."""
    marks: Mapping[str, Any] = evaluation.get("synthetic") or {}
    return sorted(name for name, mark in marks.items() if mark)


def score_warnings(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give what must be read before any number: a short stamp for the pictures, and the sentence behind it."""
    return [*shuffled_warning(evaluation), *demo_warning(evaluation), *contamination_warning(evaluation)]


def shuffled_warning(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Warn of labels dealt at random."""
    if not evaluation.get("shuffled"):
        return []
    sentence = (
        "The labels were dealt at random, so there was nothing to learn: what is above chance, beyond luck, is a leak."
    )
    return [("SHUFFLED labels: a control, must be chance", sentence)]


def demo_warning(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Warn of synthetic speech."""
    names = synthetic_corpora(evaluation)
    if not names:
        return []
    sentence = "The speech was synthesised so that the pipeline can be tried without a corpus."
    if set(evaluation.get("corpus") or names) - set(names):
        sentence = f"{', '.join(names)}: synthesised by the demo, and scored here beside recorded speech."
    return [("DEMO: synthetic speech, says nothing about people", sentence)]


def contamination_warning(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Warn of test rows that leak from training."""
    share = finite_number((evaluation.get("leak") or {}).get("contaminated"))
    if not share and evaluation.get("protocol") != "published":
        return []
    size = f" {format_percent(share, digits=0)}" if share else ""
    of_rows = f"{format_percent(share)} of the test rows are" if share else "The split is"
    sentence = f"{of_rows} known to the model in a way that a stranger's voice is not: these numbers are too high."
    return [(f"CONTAMINATED{size}", sentence)]


def warning_stamp(evaluation: Mapping[str, Any]) -> str:
    """Join the short warnings into one line for the pictures, "" for none."""
    return " · ".join(short for short, _ in score_warnings(evaluation))
