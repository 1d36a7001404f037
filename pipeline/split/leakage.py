"""Audit a split for leakage: test rows that also occur in training or validation.

The audit examines rows, whatever the protocol, so it finds in a ``published`` split what a ``speaker`` split excludes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.core.errors import StoreError
from pipeline.core.labels import ORIGINAL
from pipeline.text import finite_number, format_percent

LEAK_FAULTS = {
    "same_samples": "are recordings that train under another name, or the very same row: drop the duplicates.",
    "same_clip": "have a version of the same clip in training: split first, then augment the training side.",
    "same_name": "have a file of the same name, speaker and class in training: the corpus tree is there twice.",
    "seen_speaker": "come from a speaker heard in training: split by speaker.",
    "augmented_test": "are augmented copies: test on the original recordings alone.",
    "validation_is_test": "also validate, so the best epoch was chosen on them: cut the validation from training.",
    "validation_speaker": "come from a speaker who also validates: cut the validation by speaker.",
}
LEAK_NOTES = ("seen_statement", "unknown_speaker")  # information, not faults
INFORMATION = (*LEAK_NOTES, "own_statistics")  # the last one is known of a model, not of a split
LEAK_KEYS = {
    "clip": ("clip_id",),
    "row": ("variant", "clip_id"),
    "recording": ("samples_sha256",),
    "file": ("corpus", "speaker", "label", "name"),  # SAVEE calls a file of each of its four speakers a01.wav
    "speaker": ("speaker",),
    "statement": ("corpus", "statement"),
}


def audit_leakage(clips: pd.DataFrame, *, protocol: str) -> dict[str, object]:
    """Count the rows of a split, and compute the shares of its test rows that leak.

    Args:
        clips: the table of `folds.assign_splits` joined with ``samples_sha256``, ``statement`` and ``name``, the
            file stem in lower case.
        protocol: the protocol of the split, copied to the result.

    Returns:
        ``protocol``, ``count``, ``leak`` for all folds together, and ``fold.<k>.{count,leak}``. A leak is a share of
        the test rows, rounded to four digits but never to 0. ``contaminated`` is the share with at least one fault;
        ``seen_statement`` and ``unknown_speaker`` are no faults.

    Raises:
        StoreError: a fold has no test rows.
    """
    text = sorted({name for names in LEAK_KEYS.values() for name in names})
    rows = clips.reset_index(drop=True).fillna(dict.fromkeys(text, ""))
    parts = {str(fold): rows[rows["fold"] == fold] for fold in sorted(set(rows["fold"].tolist()))}
    coded = _encode_keys(rows)
    marked = {fold: _mark_leaks(part, coded.loc[part.index]) for fold, part in parts.items()}
    each = {fold: {"count": _count_rows(part), "leak": _leak_shares(marked[fold])} for fold, part in parts.items()}
    total = {"folds": len(parts), **_count_rows(rows)}
    return {"protocol": protocol, "count": total, "leak": _leak_shares(pd.concat(marked.values())), "fold": each}


def _count_rows(rows: pd.DataFrame) -> dict[str, int]:
    """Count speakers and clips, and speakers and rows by role."""
    roles = ("train", "validation", "test")
    named = rows["speaker"][rows["speaker"] != ""]
    return {
        "speakers": named.nunique(),
        "clips": rows["clip_id"].nunique(),
        **{f"{role}_speakers": named[rows["role"] == role].nunique() for role in roles},
        **{f"{role}_rows": int((rows["role"] == role).sum()) for role in roles},
    }


def _encode_keys(rows: pd.DataFrame) -> pd.DataFrame:
    """Encode the values of each of ``KEYS`` as integers; -1 if its last column is empty, which equals nothing."""
    found = {}
    for key, names in LEAK_KEYS.items():
        joined = rows[names[0]]
        for name in names[1:]:
            joined = joined + "\0" + rows[name]
        found[key] = pd.factorize(joined.where(rows[names[-1]] != ""))[0]
    return pd.DataFrame(found, index=rows.index)


def _mark_leaks(rows: pd.DataFrame, coded: pd.DataFrame) -> pd.DataFrame:
    """Mark the leaks of the test rows of one fold. Shape: ``(test rows, faults and information)``, boolean."""
    test, train, validation = (coded[rows["role"] == role] for role in ("test", "train", "validation"))
    if test.empty:
        raise StoreError(
            f"fold {rows['fold'].iloc[0]} of the clips table has no test rows: run `dvc repro split` again."
        )
    return pd.DataFrame(
        {
            "same_samples": _shares_key_with_other_clip(test, train, "recording") | _shares_key(test, train, "row"),
            "same_clip": _shares_key(test, train, "clip"),
            "same_name": _shares_key_with_other_clip(test, train, "file"),
            "seen_speaker": _shares_key(test, train, "speaker"),
            "augmented_test": rows["variant"][test.index] != ORIGINAL,
            "validation_is_test": _shares_key(test, validation, "clip") | _shares_key(test, validation, "recording"),
            "validation_speaker": _shares_key(test, validation, "speaker"),
            "seen_statement": _shares_key(test, train, "statement"),
            "unknown_speaker": test["speaker"] < 0,
        }
    )


def _shares_key(test: pd.DataFrame, other: pd.DataFrame, name: str) -> "pd.Series[bool]":
    """Mark the test rows that share a key with any of the other rows. Shape: ``(test rows,)``."""
    return test[name].isin(other[name]) & (test[name] >= 0)


def _shares_key_with_other_clip(test: pd.DataFrame, other: pd.DataFrame, name: str) -> "pd.Series[bool]":
    """Mark the test rows that share a key with another clip among the other rows. Shape: ``(test rows,)``."""
    pairs = other[[name, "clip"]].drop_duplicates()
    holders = test[name].map(pairs[name].value_counts()).fillna(0)
    own = pd.MultiIndex.from_frame(test[[name, "clip"]]).isin(pd.MultiIndex.from_frame(pairs))
    return (holders > own) & (test[name] >= 0)


def _leak_shares(marked: pd.DataFrame) -> dict[str, float]:
    """Compute the share of each mark, and ``contaminated``, the share of rows with any fault."""
    columns = marked[[*LEAK_FAULTS, *LEAK_NOTES]].assign(contaminated=marked[list(LEAK_FAULTS)].any(axis=1))
    return {str(name): _round_share(float(column.mean())) for name, column in columns.items()}


def _round_share(share: float) -> float:
    """Round a share to four digits, a positive one to at least 0.0001.

    >>> _round_share(1 / 50_000), _round_share(0.0)
    (0.0001, 0.0)
    """
    return max(round(share, 4), 1e-4) if share > 0 else 0.0


def average_leaks(figures: Mapping[str, Any], folds: Sequence[int]) -> dict[str, float]:
    """Average the leaks of some folds, weighted by test rows; used if not all folds were trained.

    >>> one, two = ({"leak": {"same_clip": s}, "count": {"test_rows": n}} for s, n in ((0.0, 30), (0.4, 10)))
    >>> average_leaks({"fold": {"0": one, "1": two}}, [0, 1]), average_leaks({"fold": {"0": one, "1": two}}, [0])
    ({'same_clip': 0.1}, {'same_clip': 0.0})
    """
    parts = [figures["fold"][str(fold)] for fold in folds]
    rows = np.array([part["count"]["test_rows"] for part in parts])
    leak = {name: np.array([part["leak"][name] for part in parts]) for name in parts[0]["leak"]}
    return {name: _round_share(float(shares @ rows / rows.sum())) for name, shares in leak.items()}


def identify_fitted_rows(
    stored: npt.ArrayLike, training: npt.ArrayLike, everything: npt.ArrayLike, *, tolerance: float = 1e-3
) -> str:
    """Identify the rows on which the statistics of a model were fitted: ``training``, ``everything`` or ``neither``.

    Args:
        stored: mean, standard deviation or both in one array, as saved with the model. Shape: ``(n,)``.
        training: the same statistics recomputed on the training rows of the fold.
        everything: the same on all rows of the fold, including test rows.
        tolerance: largest absolute difference relative to the largest recomputed value; allows for another order of
            summation.

    If both are within the tolerance, the nearer one is returned, and ``training`` in a tie.

    >>> identify_fitted_rows([1.0, 2.0], [1.0, 2.0], [1.5, 2.5])
    'training'
    """
    saved, clean, leaky = (np.asarray(values, np.float64) for values in (stored, training, everything))
    if not saved.shape == clean.shape == leaky.shape:
        return "neither"
    distance = {
        name: float(np.abs(saved - values).max()) for name, values in (("training", clean), ("everything", leaky))
    }
    best = min(distance, key=distance.__getitem__)
    return best if distance[best] <= tolerance * np.abs([clean, leaky]).max() else "neither"


def synthetic_corpora(evaluation: Mapping[str, Any]) -> list[str]:
    """Return the corpora made by the demo."""
    marks: Mapping[str, Any] = evaluation.get("synthetic") or {}
    return sorted(name for name, mark in marks.items() if mark)


def score_warnings(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the warnings about all scores, each a short stamp for figures and a sentence."""
    return [*_shuffled_warning(evaluation), *_demo_warning(evaluation), *contamination_warning(evaluation)]


def _shuffled_warning(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Warn that the labels were shuffled."""
    if not evaluation.get("shuffled"):
        return []
    sentence = "The labels were shuffled, so there was nothing to learn: a score above chance, beyond luck, is a leak."
    return [("SHUFFLED labels: a control, must be chance", sentence)]


def _demo_warning(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Warn that the speech is synthetic."""
    names = synthetic_corpora(evaluation)
    if not names:
        return []
    sentence = "The speech was synthesised so that the pipeline can be tried without a corpus."
    if set(evaluation.get("corpus") or names) - set(names):
        sentence = f"{', '.join(names)}: synthesised by the demo, and scored here beside recorded speech."
    return [("DEMO: synthetic speech, says nothing about people", sentence)]


def contamination_warning(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Warn that test rows leak from training."""
    share = finite_number((evaluation.get("leak") or {}).get("contaminated"))
    if not share and evaluation.get("protocol") != "published":
        return []
    size = f" {format_percent(share, digits=0)}" if share else ""
    of_rows = f"{format_percent(share)} of the test rows are" if share else "The split is"
    sentence = f"{of_rows} known to the model in a way that a stranger's voice is not: these numbers are too high."
    return [(f"CONTAMINATED{size}", sentence)]


def warning_stamp(evaluation: Mapping[str, Any]) -> str:
    """Join the short warnings into one line for figures; ``""`` for none."""
    return " · ".join(short for short, _ in score_warnings(evaluation))
