"""Where the corpora are published: addresses, sizes, checksums, and the layout of their files.

They were written down from the publishers' pages. None has been called from where this was written, which has no
internet: the tests put a local server in their place. Not verified are the address of single files of CREMA-D, the
layout of the archives of EmoDB, and whether the list of files of TESS names them as the table does.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath, PurePosixPath

from pipeline.core.errors import CorpusError
from pipeline.core.files import is_system

GITHUB = "CheyneyComputerScience/CREMA-D/master/"


class SourceError(CorpusError):
    """What one source gave, or did not give, is no use; another source may do."""


@dataclass(frozen=True, kw_only=True)
class File:
    """One file at one address."""

    url: str
    bytes: int = 0  # 0 where nobody has published it
    checksum: str = ""  # "<algorithm>:<hexadecimal>"; empty where nobody has published it


@dataclass(frozen=True)
class Zip:
    """The corpus in one archive, at one address or several, in the order to try them."""

    addresses: tuple[File, ...]


@dataclass(frozen=True)
class Tree:
    """Every file of the table at an address of its own: this, and its path."""

    url: str


@dataclass(frozen=True, kw_only=True)
class Dataverse:
    """A dataset in a Dataverse, which lists its files with an id and an MD5 each."""

    server: str
    dataset: str  # persistent id


@dataclass(frozen=True, kw_only=True)
class Registration:
    """An archive that a person has to ask for."""

    page: str
    archive: str  # its file name


@dataclass(frozen=True, kw_only=True)
class Source:
    """How a corpus is got."""

    way: Zip | Tree | Dataverse | Registration
    kaggle: str = ""  # a copy by somebody else, as owner/name
    beside: Mapping[str, tuple[File, ...]] = field(default_factory=dict)  # tables to bring too: path, addresses
    texts: frozenset[str] = frozenset()  # names of tables and terms to take out of an archive, in small letters


def table_of_crema_d(path: str, size: int, sha256: str) -> tuple[File, ...]:
    """Give both addresses of a file of the repository: plain git serves the first, git-lfs the second."""
    hosts = ("https://raw.githubusercontent.com/", "https://media.githubusercontent.com/media/")
    return tuple(File(url=f"{host}{GITHUB}{path}", bytes=size, checksum=f"sha256:{sha256}") for host in hosts)


SOURCES: Mapping[str, Source] = {
    "ravdess": Source(
        way=Zip(
            (
                File(
                    url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
                    bytes=208_468_073,
                    checksum="md5:bc696df654c87fed845eb13823edef8a",
                ),
            )
        ),
        kaggle="uwrfkaggler/ravdess-emotional-speech-audio",
    ),
    "crema_d": Source(
        way=Tree(f"https://media.githubusercontent.com/media/{GITHUB}"),
        kaggle="ejlok1/cremad",
        beside={
            "VideoDemographics.csv": table_of_crema_d(
                "VideoDemographics.csv", 4_033, "e33ddc8b60bedf98541735801127cbb67098b5957271adbdd5dea8a44294eec3"
            ),
            "SentenceFilenames.csv": table_of_crema_d(
                "SentenceFilenames.csv", 170_087, "d88cb50e84bbc30b2e159cdfc25e1cf87777ad97c7c41d6ab8f75d3383b8f740"
            ),
            "processedResults/summaryTable.csv": table_of_crema_d(
                "processedResults/summaryTable.csv",
                449_048,
                "fb0e382700d32c0d9adc0c6815292215a36bcf912f2657048862c91e3bd2b317",
            ),
            "processedResults/tabulatedVotes.csv": table_of_crema_d(
                "processedResults/tabulatedVotes.csv",
                4_057_953,
                "774d9d759cb5caf2542758a39eca8c0f1d2777f9987ff5d5adf8066d192f377b",
            ),
        },
    ),
    "tess": Source(
        way=Dataverse(server="https://borealisdata.ca", dataset="doi:10.5683/SP2/E8H2MF"),
        kaggle="ejlok1/toronto-emotional-speech-set-tess",
    ),
    "savee": Source(
        way=Registration(
            page="http://personal.ee.surrey.ac.uk/Personal/P.Jackson/SAVEE/Register.html", archive="AudioData.zip"
        ),
        kaggle="ejlok1/surrey-audiovisual-expressed-emotion-savee",
        texts=frozenset({"info.txt"}),
    ),
    "emodb": Source(
        way=Zip(
            (
                File(url="http://emodb.bilderbar.info/download/download.zip"),
                File(url="https://zenodo.org/records/7447302/files/emodb.zip?download=1"),
            )
        ),
        kaggle="piyushagni5/berlin-database-of-emotional-speech-emodb",
        texts=frozenset({"erkennung.txt", "erklaerung.txt"}),
    ),
}


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
