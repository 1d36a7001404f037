"""What a file name says of a clip, and what the page of a corpus holds.

A page knows names only: finding, opening and hashing files happens once, in the ingest stage.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from pipeline.core.errors import CorpusError

MANY = 12  # codes; a longer list is shown by its ends
TAKE = ("speaker", "emotion_code", "intensity", "statement", "repetition")  # what one published name says
Status = Literal["unknown_name", "out_of_scope", "label_mismatch"]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What the name of one file says; empty where it says nothing."""

    corpus: str
    path: str  # below the folder of the corpus, with forward slashes
    speaker: str  # "<corpus>/<id>"
    emotion: str  # canonical, see pipeline.core.labels.EMOTIONS
    emotion_code: str  # this and the next three in the words of the corpus
    intensity: str = ""
    statement: str = ""
    repetition: str = ""
    sex: str = ""  # "male" or "female"
    age: int | None = None  # years
    language: str = ""  # ISO 639-1


@dataclass(frozen=True)
class Speaker:
    """What the publisher tells of a speaker."""

    sex: str  # "male" or "female"
    age: int | None = None  # years


class NameRefused(CorpusError):  # noqa: N818  a finding about one file, not a failure of the run
    """A file whose name keeps it out of the corpus. ``status`` is the manifest's word for the reason."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(status, message)  # both, or the way back from a worker process would lose one
        self.status = status

    def __str__(self) -> str:
        return str(self.args[1])


@dataclass(frozen=True, kw_only=True)
class Page:
    """All the house knows of one corpus."""

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
    stem: re.Pattern[str]  # the whole file name but the extension
    parse: Callable[[PurePath], Clip]
    skip_folders: frozenset[str] = frozenset()  # hold other versions of the same clips
    tables: frozenset[str] = frozenset()  # the publisher's own, read where they lie beside the audio

    def skips(self, path: PurePath) -> bool:
        """Say whether a file lies in a folder that is never read."""
        return not self.skip_folders.isdisjoint(path.parts[:-1])

    def split(self, path: PurePath) -> tuple[str, ...]:
        """Split a file name into the groups of ``stem``, empty where an optional one is absent.

        Raises:
            NameRefused: ``unknown_name``, the name has another form.
        """
        match = self.stem.fullmatch(path.stem)
        if match is None:
            form = f"expected a name like {self.example}; emotions: {listing(self.emotions)}"
            raise NameRefused("unknown_name", f"{path.as_posix()} is not named like a clip of {self.title}: {form}.")
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
        """Build a clip from the codes in its name; sex, age and language come from the page.

        Raises:
            NameRefused: ``unknown_name``, the corpus has no such speaker or emotion.
        """
        self.know("emotion", emotion, self.emotions, path)
        self.know("speaker", speaker, self.speakers, path)
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

    def know(self, what: str, code: str, codes: Collection[str], path: PurePath) -> None:
        """Refuse a code that the corpus does not have."""
        if code not in codes:
            remedy = "mend the name or move the file out of the corpus"
            message = f"{path.as_posix()}: {self.title} has no {what} {code!r}, only {listing(codes)}; {remedy}."
            raise NameRefused("unknown_name", message)


def listing(codes: Iterable[str]) -> str:
    """Write codes for a reader.

    >>> listing(["a", "d", "f"]), listing(str(number) for number in range(1001, 1092))
    ('a, d, f', '1001 to 1091')
    """
    names = list(codes)
    return ", ".join(names) if len(names) <= MANY else f"{names[0]} to {names[-1]}"
