"""Prepare the rows of a split: drop duplicates, choose labels, add augmented copies."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from pipeline.core.errors import SettingError, SplitError
from pipeline.core.labels import EMOTIONS, ORIGINAL, VOTE_COLUMNS, VOTED_EMOTIONS, Labels

MajorityEmotions = tuple[str, ...]  # one emotion, several in a tie, or none without votes


def _majority_emotions(votes: Sequence[int] | None) -> MajorityEmotions:
    """Return the emotions with the most votes.

    >>> _majority_emotions([0, 0, 0, 1, 10, 0]), _majority_emotions([4, 0, 4, 1, 0, 0]), _majority_emotions(None)
    (('neutral',), ('angry', 'fear'), ())
    """
    if votes is None or not any(votes):
        return ()
    return tuple(name for name, count in zip(VOTED_EMOTIONS, votes, strict=True) if count == max(votes))


def check_vote_source(clips: pd.DataFrame, labels: Labels) -> None:
    """Check that a corpus has votes if the labels come from listeners.

    Raises:
        SettingError: no corpus has them.
    """
    if labels.source != "intended" and not corpora_with_votes(clips, labels):
        raise SettingError(
            f"params.yaml: split.labels.source is {labels.source!r}, and no corpus has votes of listeners: get the "
            "tables of CREMA-D with 'ser-features corpora fetch crema_d', or set it to intended."
        )


def corpora_with_votes(clips: pd.DataFrame, labels: Labels) -> set[str]:
    """Return the corpora with votes of the selected modality; none for ``intended``."""
    column = VOTE_COLUMNS.get(labels.source)
    return set(clips.loc[clips[column].notna(), "corpus"]) if column in clips else set()


def perceived_emotions(clips: pd.DataFrame, labels: Labels) -> list[MajorityEmotions]:
    """Return the majority emotions of each clip or, in a corpus without votes, the intended one."""
    corpora = corpora_with_votes(clips, labels)
    votes = clips[VOTE_COLUMNS[labels.source]] if corpora else clips["emotion"]
    rows = zip(clips["corpus"], clips["emotion"], votes, strict=True)
    return [_majority_emotions(counts) if corpus in corpora else (emotion,) for corpus, emotion, counts in rows]


def resolve_emotions(clips: pd.DataFrame, labels: Labels) -> "pd.Series[str]":
    """Return the emotion of each clip after resolving ties; ``""`` if there is none."""
    tie = clips["emotion"] if labels.ties == "intended" else [""] * len(clips)
    rows = zip(perceived_emotions(clips, labels), tie, strict=True)
    return pd.Series([intended if len(choice) > 1 else "".join(choice) for choice, intended in rows], index=clips.index)


def _is_usable_tie(choice: MajorityEmotions, labels: Labels) -> bool:
    """Check whether a choice is a tie between emotions that all have a class."""
    return len(choice) > 1 and all(labels.label(emotion) for emotion in choice)


SPLIT_COLUMNS = ("clip_id", "variant", "fold", "role", "label", "corpus", "speaker")


def deduplicate_clips(clips: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep one clip per recording (``samples_sha256``): the first by ``clip_id``, preferably with a named speaker.

    Recordings whose clips have different emotions, or speakers with different ids after the ``<corpus>/``, are dropped
    completely, because the true one is unknown.

    Returns:
        The remaining clips, and those dropped with a column ``reason``: ``duplicate``, ``label_conflict`` or
        ``speaker_conflict``; both sorted by ``clip_id``.
    """
    rows = clips.assign(speaker=clips["speaker"].fillna(""), sex=clips["sex"].fillna(""))
    rows = rows.sort_values("clip_id", kind="stable", ignore_index=True)
    reason = _drop_reasons(rows)
    return rows[reason == ""].reset_index(drop=True), rows.assign(reason=reason)[reason != ""].reset_index(drop=True)


def _drop_reasons(rows: pd.DataFrame) -> "pd.Series[str]":
    """Return the reason to drop each row; ``""`` to keep it."""
    hashes = rows["samples_sha256"].fillna("")
    recording = hashes.where(hashes != "", rows["clip_id"])  # a clip without a hash equals no other
    person = rows["speaker"].str.split("/", n=1).str[-1]
    labels = rows.groupby(recording)["emotion"].transform("nunique")
    people = person.where(person != "").groupby(recording).transform("nunique")
    first = recording[(rows["speaker"] == "").sort_values(kind="stable").index].drop_duplicates().index
    found = pd.Series(np.where(rows.index.isin(first), "", "duplicate"), index=rows.index)
    return found.mask(people > 1, "speaker_conflict").mask(labels > 1, "label_conflict")


def label_clips(clips: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    """Add the column ``label``, and drop clips without a class: emotion outside the scheme, no votes, or a tie."""
    emotions = resolve_emotions(clips, labels)
    found = {emotion: labels.label(emotion) for emotion in sorted(set(emotions) - {""})}
    wanted = [emotion for emotion, label in found.items() if label is not None]
    if not wanted:
        present = f"; they have {', '.join(found)}" if found else ""
        raise SplitError(
            f"none of the {len(clips)} clips has an emotion of the classes {', '.join(labels.classes)}{present}",
            "add clips of two of these classes",
        )
    selected = emotions[emotions.isin(wanted)]
    return clips.loc[selected.index].assign(label=selected.map(found))


def add_tied_clips(table: pd.DataFrame, clips: pd.DataFrame, labels: Labels, variants: Sequence[str]) -> pd.DataFrame:
    """Add tied clips without a label, trained by their votes alone, in the folds where their speaker already trains.

    A tied clip is added if each of its emotions has a class.
    """
    single, _ = deduplicate_clips(clips)
    tied = single[[_is_usable_tie(choice, labels) for choice in perceived_emotions(single, labels)]]
    training = table.loc[(table["role"] == "train") & (table["speaker"] != ""), ["fold", "speaker", "role"]]
    rows = tied.merge(training.drop_duplicates(), on="speaker").assign(label=None)
    both = (
        pd.concat([table, add_variants(rows, variants)]).astype({"label": table["label"].dtype}) if len(rows) else table
    )
    return both.sort_values(["fold", "clip_id"], kind="stable", ignore_index=True)


def add_votes(table: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """Add the columns of votes, if the clips have them."""
    names = [name for name in VOTE_COLUMNS.values() if name in clips]
    votes = clips.set_index("clip_id")[names]
    return table.assign(**{name: votes[name].reindex(table["clip_id"]).to_numpy() for name in names})


def check_training_rows(number: int, rows: pd.DataFrame) -> None:
    """Check that a fold has training rows.

    Raises:
        SplitError: it has none.
    """
    if not (rows["role"] == "train").any():
        raise SplitError(
            f"fold {number} leaves no clip to train on, since all speakers test or validate",
            f"add speakers who say {join_classes(rows['label'])}",
        )


def check_class_counts(table: pd.DataFrame) -> None:
    """Check that there are two or more classes, overall and in the training rows of every fold.

    Args:
        table: the result of `folds.assign_splits`.

    Raises:
        SplitError: there is only one class.
    """
    classes = set(table["label"].dropna())
    if len(classes) < 2:
        raise SplitError(
            f"only {join_classes(classes)} is left by split.labels, and a model takes two classes or more",
            "add clips of another class",
        )
    training = table[(table["role"] == "train") & table["label"].notna()]
    for number in sorted(set(table["fold"])):
        own = set(training.loc[training["fold"] == number, "label"])
        if len(own) < 2:
            names = join_classes(own) or "nothing"
            raise SplitError(
                f"fold {number} trains on {names} alone, and a model takes two classes or more",
                f"add speakers who say {join_classes(classes)}",
            )


def join_classes(classes: Iterable[str]) -> str:
    """List classes in canonical order.

    >>> join_classes(["sad", "angry", "sad", "happy"])
    'angry, happy and sad'
    """
    names = [name for name in EMOTIONS if name in set(classes)]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def add_variants(rows: pd.DataFrame, variants: Sequence[str]) -> pd.DataFrame:
    """Repeat training rows for every variant; other rows only have the variant ``original``."""
    names = pd.DataFrame({"variant": variants, "turn": range(len(variants))})
    table = rows.merge(names, how="cross")
    table = table[(table["role"] == "train") | (table["variant"] == ORIGINAL)]
    return table.sort_values(["fold", "clip_id", "turn"], ignore_index=True)[list(SPLIT_COLUMNS)]
