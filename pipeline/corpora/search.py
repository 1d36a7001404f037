"""Find the corpora in a heap of files by their names: the originals, mirrors that hold a tree twice, re-sorted ones.

Each corpus is named once, by the smallest folder that holds most of its clips and next to nothing else. A tree with a
folder per emotion is a corpus of its own where it holds clips that are in none of those.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from pipeline.corpora import tables
from pipeline.corpora.clip import Page
from pipeline.corpora.files import is_audio, is_system
from pipeline.corpora.folders import SPLITS, alias
from pipeline.corpora.naming import slug
from pipeline.corpora.registry import KNOWN, recognise
from pipeline.corpora.wholeness import Take, take

FOREIGN = 0.01  # share of other recordings that ingest bears, see ingest.max_bad
SPEAKERS = 3  # so many folders side by side, each with folders of emotions, are the speakers of one corpus


@dataclass(frozen=True, kw_only=True)
class Found:
    """A corpus and where it lies."""

    name: str
    folder: PurePath  # below the one searched
    clips: int  # different recordings by name; of a tree of emotion folders, its files
    published: int = 0  # clips it should have; 0 for a tree of emotion folders
    elsewhere: tuple[PurePath, ...] = ()  # its other files, outside the folder


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a search found."""

    corpora: list[Found]
    copies: dict[PurePath, int]  # trees of emotion folders that hold only what is found elsewhere, and their files
    mixed: dict[str, int]  # corpora whose clips lie among those of others, and how many


Folders = dict[PurePath, list[PurePath]]  # files by the folder that holds them


@dataclass(frozen=True)
class Heap:
    """The recordings that were searched."""

    folders: Folders
    takes: Mapping[PurePath, tuple[str, Take]]  # by file: its corpus, and which of its clips, () for none of them

    def inside(self, folder: PurePath) -> list[PurePath]:
        """List the files below a folder."""
        return [path for top, files in self.folders.items() if folder in lineage(top) for path in files]

    def outside(self, folders: Iterable[PurePath]) -> "Heap":
        """Keep the files below none of the folders."""
        tops = set(folders)
        return Heap({top: files for top, files in self.folders.items() if tops.isdisjoint(lineage(top))}, self.takes)

    def files(self, corpus: str) -> Folders:
        """Gather the files that are named like those of a corpus by every folder above them."""
        below: Folders = {}
        for top, files in self.folders.items():
            mine = [path for path in files if path in self.takes and self.takes[path][0] == corpus]
            for folder in lineage(top) if mine else ():
                below.setdefault(folder, []).extend(mine)
        return below

    def sizes(self) -> Counter[PurePath]:
        """Count the files below each folder."""
        counts: Counter[PurePath] = Counter()
        for top, files in self.folders.items():
            counts.update(dict.fromkeys(lineage(top), len(files)))
        return counts

    def clips(self, files: Iterable[PurePath]) -> set[tuple[str, Take]]:
        """Collect the clips of known corpora among files."""
        return {self.takes[path] for path in files if path in self.takes and self.takes[path][1]}


def lineage(folder: PurePath) -> tuple[PurePath, ...]:
    """Give a folder and those above it."""
    return (folder, *folder.parents)


def search(paths: Iterable[PurePath]) -> Search:
    """Name each corpus among files once. Paths are below the folder searched."""
    found = heap(paths)
    sizes = found.sizes()
    known = [place for page in KNOWN.values() if (place := placed(page, found, sizes))]
    rest = found.outside(place.folder for place in known)
    held = found.clips(path for place in known for path in found.inside(place.folder))
    roots = trees(rest.folders)
    copies = {root: len(files) for root, files in roots.items() if is_copy(files, found, held)}
    own = [tree(root, files) for root, files in roots.items() if root not in copies]
    lost = [path for files in rest.outside(roots).folders.values() for path in files if path in found.takes]
    names = {place.name for place in known}
    mixed = Counter(found.takes[path][0] for path in lost)
    return Search(
        corpora=[*known, *own], copies=copies, mixed={n: mixed[n] for n in KNOWN if n in mixed.keys() - names}
    )


def heap(paths: Iterable[PurePath]) -> Heap:
    """Keep the recordings, and say of each what its name says."""
    skips = [page.skips for page in KNOWN.values() if page.skip_folders]
    folders: Folders = {}
    for path in sorted(path for path in paths if is_audio(path) and not is_system(path)):
        if not any(skip(path) for skip in skips):
            folders.setdefault(path.parent, []).append(path)
    names = {path: name for files in folders.values() for path in files if (name := recognise(path))}
    return Heap(folders, {path: (name, take(KNOWN[name], path.as_posix())) for path, name in names.items()})


def placed(page: Page, found: Heap, sizes: Mapping[PurePath, int]) -> Found | None:
    """Find the folder of a corpus: with most of its clips, least besides, laid out as published."""
    below = found.files(page.name)
    clean = [folder for folder, files in below.items() if sizes[folder] - len(files) <= FOREIGN * sizes[folder]]
    clips = {folder: len(found.clips(below[folder])) for folder in clean}
    ranks = {folder: (-clips[folder], sizes[folder]) for folder in clean if clips[folder]}
    if not ranks:
        return None
    equals = {folder: alike(page, folder, below[folder]) for folder in ranks if ranks[folder] == min(ranks.values())}
    folder = innermost(folder for folder, likeness in equals.items() if likeness == max(equals.values()))
    every = {path for files in below.values() for path in files}
    spare = tuple(sorted(every.difference(below[folder])))
    return Found(name=page.name, folder=folder, clips=clips[folder], published=page.clips, elsewhere=spare)


def innermost(folders: Iterable[PurePath]) -> PurePath:
    """Take the folder nearest to the one searched, and of those that lie in it the last.

    >>> innermost(map(PurePath, ["kaggle/R/speech", "kaggle/R", "own", "own/R"])).as_posix()
    'own/R'
    """
    ordered = sorted(folders, key=lambda folder: (len(folder.parts), folder))
    return [folder for folder in ordered if ordered[0] in lineage(folder)][-1]


def alike(page: Page, folder: PurePath, files: Iterable[PurePath]) -> int:
    """Count the files that lie below a folder as in the published corpus, whatever their extension."""
    if page.name not in tables.names():
        return 0
    published = {path.rpartition(".")[0] for path in tables.table(page.name)["path"]}
    return sum(path.relative_to(folder).with_suffix("").as_posix() in published for path in files)


def trees(folders: Folders) -> Folders:
    """Gather files below folders of emotions by the root of their tree."""
    tops = {folder: top for folder in folders if (top := root(folder)) is not None}
    beside = Counter(top.parent for top in set(tops.values()) if top.name)
    grouped: Folders = {}
    for folder, top in tops.items():
        several = top.parent.name and beside[top.parent] >= SPEAKERS
        grouped.setdefault(unsplit(top.parent) if several else top, []).extend(folders[folder])
    return grouped


def root(folder: PurePath) -> PurePath | None:
    """Give the folder in which the folders of emotions lie, above a train or test folder; None where none is.

    >>> root(PurePath("mine/train/Angry/anna")).as_posix()
    'mine'
    """
    depth = next((depth for depth, name in enumerate(folder.parts) if alias(name)), None)
    return None if depth is None else unsplit(PurePath(*folder.parts[:depth]))


def unsplit(folder: PurePath) -> PurePath:
    """Step out of a folder that is called train, test or alike."""
    return folder.parent if folder.name.casefold() in SPLITS else folder


def is_copy(files: Iterable[PurePath], found: Heap, held: set[tuple[str, Take]]) -> bool:
    """Say whether a tree holds only what is found elsewhere, or takes that are no clips of its corpus."""
    return all(path in found.takes and (found.takes[path] in held or not found.takes[path][1]) for path in files)


def tree(folder: PurePath, files: Sequence[PurePath]) -> Found:
    """Describe a tree of emotion folders."""
    return Found(name=slug(folder.name), folder=folder, clips=len(files))
