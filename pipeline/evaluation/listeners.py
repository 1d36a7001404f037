"""Which emotion a clip counts as: the one that its actor intended, or the one that most listeners chose."""

from collections.abc import Sequence

import pandas as pd

from pipeline.errors import SettingError
from pipeline.labels import VOTED, VOTES, Labels

Choice = tuple[str, ...]  # one emotion, several that are tied, or none where nobody was asked


def winners(votes: Sequence[int] | None) -> Choice:
    """Give the emotions with the most votes.

    >>> winners([0, 0, 0, 1, 10, 0]), winners([4, 0, 4, 1, 0, 0]), winners(None)
    (('neutral',), ('angry', 'fear'), ())
    """
    if votes is None or not any(votes):
        return ()
    return tuple(name for name, count in zip(VOTED, votes, strict=True) if count == max(votes))


def check(clips: pd.DataFrame, labels: Labels) -> None:
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
