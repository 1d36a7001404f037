"""The published layout of a corpus, and which of its files a file of a copy is."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath, PurePosixPath

from pipeline.core.files import is_system_file

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
