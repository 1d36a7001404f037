"""Put the files of any copy of a corpus where the published table has them, told by their names alone."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath, PurePosixPath

from pipeline.corpora.files import is_system

TEXT = 2**20  # bytes that a text beside the audio may have


@dataclass(frozen=True)
class Shelf:
    """The places that a corpus has."""

    room: Mapping[str, int]  # path below the corpus folder to bytes, as published
    texts: frozenset[str] = frozenset()  # names, in small letters, that go beside the folders of audio

    @cached_property
    def signs(self) -> dict[str, str]:
        """What the end of a path tells a place by."""
        return signs(self.room)

    def place(self, path: PurePath) -> str | None:
        """Say where a file of a copy goes, nowhere if it is not of the table.

        >>> shelf = Shelf({"DC/a01.wav": 9, "JE/a01.wav": 9})
        >>> shelf.place(PurePath("AudioData/DC/a01.wav")), shelf.place(PurePath("ALL/JE_a01.wav"))
        ('DC/a01.wav', 'JE/a01.wav')
        >>> shelf.place(PurePath("a01.wav"))
        """
        if is_system(path):
            return None
        if path.name.casefold() in self.texts:
            return path.name
        return self.signs.get("/".join(path.parts[-2:]).casefold()) or self.signs.get(path.name.casefold())

    def limit(self, place: str) -> int:
        """Give the number of bytes that fit in a place."""
        return self.room.get(place, TEXT)

    def choose(self, found: Iterable[tuple[PurePath, int]]) -> dict[str, PurePath]:
        """Choose a file for each place from paths and sizes: of several copies one of the published size, or the first.

        >>> Shelf({"wav/a.wav": 9}).choose([(PurePath("old/wav/a.wav"), 8), (PurePath("wav/a.wav"), 9)])
        {'wav/a.wav': PurePosixPath('wav/a.wav')}
        """
        placed = [(self.place(path), path, size) for path, size in found]
        fitting = sorted(placed, key=lambda each: self.room.get(each[0] or "") != each[2])  # it keeps the order else
        chosen: dict[str, PurePath] = {}
        for place, path, _ in fitting:
            if place:
                chosen.setdefault(place, path)
        return chosen


def signs(places: Iterable[str]) -> dict[str, str]:
    """Give what a place is told by: folder and name; name behind the folder's; the name alone where it is the only one.

    >>> signs(["DC/a01.wav"])
    {'dc/a01.wav': 'DC/a01.wav', 'dc_a01.wav': 'DC/a01.wav', 'a01.wav': 'DC/a01.wav'}
    """
    paths = [PurePosixPath(place) for place in places]
    names = Counter(path.name.casefold() for path in paths)
    told: dict[str, str] = {}
    for path in paths:
        told[path.as_posix().casefold()] = path.as_posix()
        told[f"{path.parent.name}_{path.name}".casefold()] = path.as_posix()
        if names[path.name.casefold()] == 1:
            told[path.name.casefold()] = path.as_posix()
    return told
