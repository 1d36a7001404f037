"""Where the corpora are published: addresses, sizes and checksums.

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
from pipeline.core.files import is_system_file

CREMA_D = "CheyneyComputerScience/CREMA-D/master/"


class SourceError(CorpusError):
    """What one source gave, or did not give, is no use; another source may do."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file at one address."""

    url: str
    bytes: int = 0  # 0 where nobody has published it
    checksum: str = ""  # "<algorithm>:<hexadecimal>"; empty where nobody has published it


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a corpus is published: one of the first four fields says it."""

    archives: tuple[RemoteFile, ...] = ()  # one zip, at one address or several, in the order to try them
    tree: str = ""  # address of a folder, below which every file of the table has its path
    dataverse: str = ""  # address of the list of a dataset in a Dataverse: an id and an MD5 for each file
    registration: str = ""  # what a person has to do who wants the archive
    kaggle: str = ""  # a copy by somebody else, as owner/name
    tables: Mapping[str, tuple[RemoteFile, ...]] = field(default_factory=dict)  # wanted as well: path to addresses
    texts: frozenset[str] = frozenset()  # names of tables and terms to take out of an archive, in small letters


def _crema_d_table(path: str, size: int, sha256: str) -> tuple[RemoteFile, ...]:
    """Give both addresses of a file of the repository: plain git serves the first, git-lfs the second."""
    hosts = ("https://raw.githubusercontent.com/", "https://media.githubusercontent.com/media/")
    return tuple(RemoteFile(url=f"{host}{CREMA_D}{path}", bytes=size, checksum=f"sha256:{sha256}") for host in hosts)


_CREMA_D_TABLES = (
    ("VideoDemographics.csv", 4_033, "e33ddc8b60bedf98541735801127cbb67098b5957271adbdd5dea8a44294eec3"),
    ("SentenceFilenames.csv", 170_087, "d88cb50e84bbc30b2e159cdfc25e1cf87777ad97c7c41d6ab8f75d3383b8f740"),
    ("processedResults/summaryTable.csv", 449_048, "fb0e382700d32c0d9adc0c6815292215a36bcf912f2657048862c91e3bd2b317"),
    (
        "processedResults/tabulatedVotes.csv",
        4_057_953,
        "774d9d759cb5caf2542758a39eca8c0f1d2777f9987ff5d5adf8066d192f377b",
    ),
)

_RAVDESS = RemoteFile(
    url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
    bytes=208_468_073,
    checksum="md5:bc696df654c87fed845eb13823edef8a",
)
_EMODB = (
    RemoteFile(url="http://emodb.bilderbar.info/download/download.zip"),
    RemoteFile(url="https://zenodo.org/records/7447302/files/emodb.zip?download=1"),
)

SOURCES: Mapping[str, Source] = {
    "ravdess": Source(archives=(_RAVDESS,), kaggle="uwrfkaggler/ravdess-emotional-speech-audio"),
    "crema_d": Source(
        tree=f"https://media.githubusercontent.com/media/{CREMA_D}",
        kaggle="ejlok1/cremad",
        tables={row[0]: _crema_d_table(*row) for row in _CREMA_D_TABLES},
    ),
    "tess": Source(
        dataverse="https://borealisdata.ca/api/datasets/:persistentId/?persistentId=doi:10.5683/SP2/E8H2MF",
        kaggle="ejlok1/toronto-emotional-speech-set-tess",
    ),
    "savee": Source(
        registration="register at http://personal.ee.surrey.ac.uk/Personal/P.Jackson/SAVEE/Register.html, download "
        "AudioData.zip, and call again with --from /path/to/AudioData.zip",
        kaggle="ejlok1/surrey-audiovisual-expressed-emotion-savee",
        texts=frozenset({"info.txt"}),
    ),
    "emodb": Source(
        archives=_EMODB,
        kaggle="piyushagni5/berlin-database-of-emotional-speech-emodb",
        texts=frozenset({"erkennung.txt", "erklaerung.txt"}),
    ),
}


TEXT_BYTES = 2**20  # that a text among the recordings may have


@dataclass(frozen=True)
class Layout:
    """The files that a corpus consists of."""

    sizes: Mapping[str, int]  # path below the corpus folder to bytes, as published
    texts: frozenset[str] = frozenset()  # names, in small letters, of texts that go into the corpus folder

    @cached_property
    def _paths(self) -> dict[str, str]:
        return _paths_by_ending(self.sizes)

    def published_path(self, path: PurePath) -> str | None:
        """Say which published file a file of a copy is, by its name and folder; None if it is none of them.

        >>> layout = Layout({"DC/a01.wav": 9, "JE/a01.wav": 9})
        >>> layout.published_path(PurePath("AudioData/DC/a01.wav")), layout.published_path(PurePath("ALL/JE_a01.wav"))
        ('DC/a01.wav', 'JE/a01.wav')
        >>> layout.published_path(PurePath("a01.wav"))
        """
        if is_system_file(path):
            return None
        if path.name.casefold() in self.texts:
            return path.name
        return self._paths.get("/".join(path.parts[-2:]).casefold()) or self._paths.get(path.name.casefold())

    def max_bytes(self, published: str) -> int:
        """Give the number of bytes that a file may have."""
        return self.sizes.get(published, TEXT_BYTES)

    def choose(self, found: Iterable[tuple[PurePath, int]]) -> dict[str, PurePath]:
        """Choose one of the found paths, with their bytes, for each published file.

        Of several copies it is the first of the published size, or the first.

        >>> Layout({"wav/a.wav": 9}).choose([(PurePath("old/wav/a.wav"), 8), (PurePath("wav/a.wav"), 9)])
        {'wav/a.wav': PurePosixPath('wav/a.wav')}
        """
        candidates = [(self.published_path(path), path, size) for path, size in found]
        candidates.sort(key=lambda each: self.sizes.get(each[0] or "") != each[2])  # stable: else in the given order
        chosen: dict[str, PurePath] = {}
        for published, path, _ in candidates:
            if published:
                chosen.setdefault(published, path)
        return chosen


def _paths_by_ending(paths: Iterable[str]) -> dict[str, str]:
    """Map to each path: folder/name, folder_name, and the name alone where no other file has it.

    >>> _paths_by_ending(["DC/a01.wav"])
    {'dc/a01.wav': 'DC/a01.wav', 'dc_a01.wav': 'DC/a01.wav', 'a01.wav': 'DC/a01.wav'}
    """
    published = [PurePosixPath(path) for path in paths]
    counts = Counter(path.name.casefold() for path in published)
    found: dict[str, str] = {}
    for path in published:
        endings = [path.as_posix(), f"{path.parent.name}_{path.name}"]
        endings += [path.name] * (counts[path.name.casefold()] == 1)
        found |= {ending.casefold(): path.as_posix() for ending in endings}
    return found
