"""The description of a corpus, and the clips parsed from its file names.

Only names are handled here: the ingest stage finds, opens and hashes the files.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from pipeline.core.errors import CorpusError

MAX_LISTED = 12  # codes; of a longer list only the ends are shown
TAKE_COLUMNS = ("speaker", "emotion_code", "intensity", "statement", "repetition")  # identify a recording
Status = Literal["unknown_name", "out_of_scope", "label_mismatch"]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What a file name states about a clip; ``""`` for what it does not state."""

    corpus: str
    path: str  # relative to the folder of the corpus, with forward slashes
    speaker: str  # "<corpus>/<id>"
    emotion: str  # canonical, see pipeline.core.labels.EMOTIONS
    emotion_code: str  # this and the next three as written in the corpus
    intensity: str = ""
    statement: str = ""
    repetition: str = ""
    sex: str = ""  # "male" or "female"
    age: int | None = None  # years
    language: str = ""  # ISO 639-1


@dataclass(frozen=True)
class Speaker:
    """Published facts about a speaker."""

    sex: str  # "male" or "female"
    age: int | None = None  # years


class FileNameError(CorpusError):
    """A file rejected because of its name. ``status`` is the reason as recorded in the manifest."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(status, message)  # both, so that the error can be pickled
        self.status = status

    def __str__(self) -> str:
        return str(self.args[1])


@dataclass(frozen=True, kw_only=True)
class CorpusInfo:
    """Description of one corpus: its facts as published, and how to parse its file names."""

    name: str
    title: str
    language: str  # ISO 639-1
    sample_rate: int  # Hz, as published
    licence: str
    citation: str
    source: str  # the publisher's page
    example: str  # a file name, for messages
    clips: int  # files, as published
    hours: float  # of all clips, as published
    emotions: Mapping[str, str]  # code in the file name to canonical emotion
    speakers: Mapping[str, Speaker]  # by the id in the file name
    stem: re.Pattern[str]  # the complete file name without the extension
    parse: Callable[[PurePath], Clip]
    skip_folders: frozenset[str] = frozenset()  # folders with other versions of the same clips
    tables: frozenset[str] = frozenset()  # names of the publisher's tables, read if present

    def skips(self, path: PurePath) -> bool:
        """Check whether a file is in a folder to skip."""
        return not self.skip_folders.isdisjoint(path.parts[:-1])

    def split(self, path: PurePath) -> tuple[str, ...]:
        """Split a file name into the groups of ``stem``; ``""`` for an absent optional group.

        Raises:
            NameRefused: ``unknown_name`` for a name of another form.
        """
        match = self.stem.fullmatch(path.stem)
        if match is None:
            form = f"expected a name like {self.example}; emotions: {_list_codes(self.emotions)}"
            raise FileNameError("unknown_name", f"{path.as_posix()} is not named like a clip of {self.title}: {form}.")
        return match.groups("")

    def clip(
        self,
        path: PurePath,
        *,
        speaker: str,
        emotion: str,
        intensity: str = "",
        statement: str = "",
        repetition: str = "",
    ) -> Clip:
        """Build a clip from the codes in its name; sex, age and language come from this description.

        Raises:
            NameRefused: ``unknown_name`` for an unknown speaker or emotion.
        """
        self._check_code("emotion", emotion, self.emotions, path)
        self._check_code("speaker", speaker, self.speakers, path)
        return Clip(
            corpus=self.name,
            path=path.as_posix(),
            speaker=f"{self.name}/{speaker}",
            emotion=self.emotions[emotion],
            emotion_code=emotion,
            sex=self.speakers[speaker].sex,
            age=self.speakers[speaker].age,
            intensity=intensity,
            statement=statement,
            repetition=repetition,
            language=self.language,
        )

    def _check_code(self, what: str, code: str, codes: Collection[str], path: PurePath) -> None:
        if code not in codes:
            remedy = "correct the name or move the file out of the corpus"
            message = f"{path.as_posix()}: {self.title} has no {what} {code!r}, only {_list_codes(codes)}; {remedy}."
            raise FileNameError("unknown_name", message)


def _list_codes(codes: Iterable[str]) -> str:
    """Format codes for a message.

    >>> _list_codes(["a", "d", "f"]), _list_codes(str(number) for number in range(1001, 1092))
    ('a, d, f', '1001 to 1091')
    """
    names = list(codes)
    return ", ".join(names) if len(names) <= MAX_LISTED else f"{names[0]} to {names[-1]}"
