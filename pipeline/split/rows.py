"""The rows of a split: duplicates left out, labels chosen, augmented copies added."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from pipeline.core.errors import SettingError, SplitError
from pipeline.core.labels import EMOTIONS, ORIGINAL, VOTED, VOTES, Labels

Choice = tuple[str, ...]  # one emotion, several that are tied, or none where nobody was asked


def winners(votes: Sequence[int] | None) -> Choice:
    """Give the emotions with the most votes.

    >>> winners([0, 0, 0, 1, 10, 0]), winners([4, 0, 4, 1, 0, 0]), winners(None)
    (('neutral',), ('angry', 'fear'), ())
    """
    if votes is None or not any(votes):
        return ()
    return tuple(name for name, count in zip(VOTED, votes, strict=True) if count == max(votes))


def check_labels(clips: pd.DataFrame, labels: Labels) -> None:
    """Refuse to ask listeners where no corpus brings their votes.

    Raises:
        SettingError: there are none.
    """
    if labels.source != "intended" and not judged(clips, labels):
        raise SettingError(
            f"params.yaml: split.labels.source is {labels.source!r}, and no corpus brings votes of listeners: get the "
            "tables of CREMA-D with 'ser-features corpora fetch crema_d', or set it to intended."
        )


def judged(clips: pd.DataFrame, labels: Labels) -> set[str]:
    """Name the corpora that have votes of the listeners who are asked; none for ``intended``."""
    column = VOTES.get(labels.source)
    return set(clips.loc[clips[column].notna(), "corpus"]) if column in clips else set()


def choices(clips: pd.DataFrame, labels: Labels) -> list[Choice]:
    """Say what each clip was heard as, by its listeners, or in a corpus without votes by its actor."""
    corpora = judged(clips, labels)
    votes = clips[VOTES[labels.source]] if corpora else clips["emotion"]
    rows = zip(clips["corpus"], clips["emotion"], votes, strict=True)
    return [winners(cast) if corpus in corpora else (emotion,) for corpus, emotion, cast in rows]


def heard(clips: pd.DataFrame, labels: Labels) -> "pd.Series[str]":
    """Give the emotion that each clip counts as, empty where there is none."""
    tie = clips["emotion"] if labels.ties == "intended" else [""] * len(clips)
    rows = zip(choices(clips, labels), tie, strict=True)
    return pd.Series([actor if len(choice) > 1 else "".join(choice) for choice, actor in rows], index=clips.index)


def usable(choice: Choice, labels: Labels) -> bool:
    """Say whether a choice is a tie between classes."""
    return len(choice) > 1 and all(labels.label(emotion) for emotion in choice)


COLUMNS = ("clip_id", "variant", "fold", "role", "label", "corpus", "speaker")


def deduplicate(clips: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep one clip per recording (``samples_sha256``): the first by ``clip_id`` among those that name the speaker.

    Recordings to which two clips give different emotions, or speakers with different ids after the ``<corpus>/``, are
    left out altogether: which clip tells the truth is unknown.

    Returns:
        The clips kept, and those dropped with a column ``reason``: ``duplicate``, ``label_conflict`` or
        ``speaker_conflict``; both sorted by ``clip_id``.
    """
    rows = clips.assign(speaker=clips["speaker"].fillna(""), sex=clips["sex"].fillna(""))
    rows = rows.sort_values("clip_id", kind="stable", ignore_index=True)
    reason = reasons(rows)
    return rows[reason == ""].reset_index(drop=True), rows.assign(reason=reason)[reason != ""].reset_index(drop=True)


def reasons(rows: pd.DataFrame) -> "pd.Series[str]":
    """Say for each row why it is left out; empty where it stays."""
    hashes = rows["samples_sha256"].fillna("")
    recording = hashes.where(hashes != "", rows["clip_id"])  # without a hash a clip equals no other
    person = rows["speaker"].str.split("/", n=1).str[-1]
    labels = rows.groupby(recording)["emotion"].transform("nunique")
    people = person.where(person != "").groupby(recording).transform("nunique")
    first = recording[(rows["speaker"] == "").sort_values(kind="stable").index].drop_duplicates().index
    found = pd.Series(np.where(rows.index.isin(first), "", "duplicate"), index=rows.index)
    return found.mask(people > 1, "speaker_conflict").mask(labels > 1, "label_conflict")


def labelled(clips: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    """Add the class and leave out clips that have none: an emotion outside the scheme, no votes, or a tie of them."""
    emotions = heard(clips, labels)
    found = {emotion: labels.label(emotion) for emotion in sorted(set(emotions) - {""})}
    wanted = [emotion for emotion, label in found.items() if label is not None]
    if not wanted:
        held = f"; they hold {', '.join(found)}" if found else ""
        raise SplitError(
            f"none of the {len(clips)} clips has an emotion of the classes {', '.join(labels.classes)}{held}",
            "add clips of two of these classes",
        )
    kept = emotions[emotions.isin(wanted)]
    return clips.loc[kept.index].assign(label=kept.map(found))


def with_ties(table: pd.DataFrame, clips: pd.DataFrame, labels: Labels, variants: Sequence[str]) -> pd.DataFrame:
    """Add the tied clips where their speaker trains, without a label: they are learnt from by their votes alone.

    So nobody comes to train in a fold who did not before. A tie trains if each of its emotions has a class.
    """
    single, _ = deduplicate(clips)
    tied = single[[usable(choice, labels) for choice in choices(single, labels)]]
    training = table.loc[(table["role"] == "train") & (table["speaker"] != ""), ["fold", "speaker", "role"]]
    rows = tied.merge(training.drop_duplicates(), on="speaker").assign(label=None)
    both = pd.concat([table, versions(rows, variants)]).astype({"label": table["label"].dtype}) if len(rows) else table
    return both.sort_values(["fold", "clip_id"], kind="stable", ignore_index=True)


def with_votes(table: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """Add the votes of each clip, where the clips have such columns."""
    names = [name for name in VOTES.values() if name in clips]
    votes = clips.set_index("clip_id")[names]
    return table.assign(**{name: votes[name].reindex(table["clip_id"]).to_numpy() for name in names})


def check_training(number: int, rows: pd.DataFrame) -> None:
    """Refuse a fold that leaves nothing to learn from.

    Raises:
        SplitError: no clip trains.
    """
    if not (rows["role"] == "train").any():
        raise SplitError(
            f"fold {number} leaves no clip to train on, since all speakers test or validate",
            f"add speakers who say {several(rows['label'])}",
        )


def check_classes(table: pd.DataFrame) -> None:
    """Refuse a split that is no task: one class alone, in all folds or in what one of them trains on.

    Args:
        table: what ``folds.assign`` gives.

    Raises:
        SplitError: training, or the svm beside the network, would find one class.
    """
    classes = set(table["label"].dropna())
    if len(classes) < 2:
        raise SplitError(
            f"only {several(classes)} is left by split.labels, and a model takes two classes or more",
            "add clips of another class",
        )
    taught = table[(table["role"] == "train") & table["label"].notna()]
    for number in sorted(set(table["fold"])):
        own = set(taught.loc[taught["fold"] == number, "label"])
        if len(own) < 2:
            raise SplitError(
                f"fold {number} trains on {several(own) or 'nothing'} alone, and a model takes two classes or more",
                f"add speakers who say {several(classes)}",
            )


def several(classes: Iterable[str]) -> str:
    """Name classes in canonical order.

    >>> several(["sad", "angry", "sad", "happy"])
    'angry, happy and sad'
    """
    names = [name for name in EMOTIONS if name in set(classes)]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def versions(rows: pd.DataFrame, variants: Sequence[str]) -> pd.DataFrame:
    """Repeat training rows for every variant; the others appear as they were recorded."""
    names = pd.DataFrame({"variant": variants, "turn": range(len(variants))})
    table = rows.merge(names, how="cross")
    table = table[(table["role"] == "train") | (table["variant"] == ORIGINAL)]
    return table.sort_values(["fold", "clip_id", "turn"], ignore_index=True)[list(COLUMNS)]
