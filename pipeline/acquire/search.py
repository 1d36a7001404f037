"""``corpora find``: recognise corpora on a disk by their file names, and name the folders.

Each corpus is named once, by the smallest folder that holds most of its clips and next to nothing else. A tree with a
folder per emotion is a corpus of its own where it holds clips that are in none of those.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import PurePath

from pipeline.acquire.verify import Take, take
from pipeline.core.errors import SettingError
from pipeline.core.files import is_audio_file, is_system_file
from pipeline.corpora import checksums
from pipeline.corpora.folders import SPLIT_FOLDERS, emotion_of_folder
from pipeline.corpora.info import CorpusInfo
from pipeline.corpora.registry import KNOWN_CORPORA, recognise_corpus

LONGEST = 40  # letters; names stand in tables, and a number may follow
YAML_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"})


@dataclass(frozen=True, kw_only=True)
class Place:
    """A corpus that was found, before it is named for good."""

    name: str  # of a known corpus, or as the folder would have it
    folder: str  # as params.yaml should have it
    known: bool  # whether the name is that of a published corpus, which reads its file names and has no other


@dataclass(frozen=True, kw_only=True)
class Named:
    """What becomes of it: its name, the folder that params.yaml has from now on, and what a person has to know."""

    name: str
    folder: str
    note: str = ""


def slug(folder: str) -> str:
    """Make a name for a corpus of the name of a folder.

    >>> slug("My Corpus (2024)"), slug("2024"), slug("Sprachübung"), slug("ravdess"), slug("")
    ('my_corpus_2024', 'corpus_2024', 'sprachubung', 'ravdess_by_emotion', 'corpus')
    """
    plain = unicodedata.normalize("NFKD", folder.casefold())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:LONGEST].rstrip("_")
    if name in KNOWN_CORPORA:
        return f"{name}_by_emotion"
    return name if name[:1].isalpha() and name not in YAML_WORDS else f"corpus_{name}".rstrip("_")


def settle(
    found: Sequence[Place],
    taken: Mapping[str, str],
    *,
    same: Callable[[str, str], bool],
    gone: Collection[str] = (),
    replacing: bool = False,
    name: str = "",
) -> list[Named]:
    """Name corpora so that no name which params.yaml has for another folder is pointed anew unasked.

    Args:
        found: what was found.
        taken: ``data.corpora`` of params.yaml.
        same: says whether two texts mean one folder.
        gone: names in ``taken`` whose folder is not there, or holds nothing but the demo: free to be pointed anew.
        replacing: point names anew all the same.
        name: for the one folder among ``found`` that is no published corpus.

    Raises:
        SettingError: ``name`` cannot be given.
    """
    places = _renamed(found, name) if name else found
    held = {each: folder for each, folder in taken.items() if each not in gone and not replacing}
    owned = {place: own for place in places if (own := _own(place, taken, same)) is not None}
    held |= {own: place.folder for place, own in owned.items()}
    named = []
    for place in places:
        if place in owned:
            named.append(Named(name=owned[place], folder=taken[owned[place]]))
        else:
            named.append(_known(place, held) if place.known else _new(place, held))
            held.setdefault(named[-1].name, place.folder)
    if name and name not in {each.name for each in named}:
        raise SettingError(_refusal(name, next(place for place in places if not place.known), owned, held))
    return [_with_note(each, taken, gone) for each in named]


def _renamed(found: Sequence[Place], name: str) -> list[Place]:
    """Give the one folder that is no published corpus the name that a person chose."""
    own = [place.folder for place in found if not place.known]
    if len(own) != 1:
        listed = f": {', '.join(own)}" if own else ""
        raise SettingError(f"--name names one tree of emotion folders, and {len(own)} are here{listed}.")
    if name in KNOWN_CORPORA:
        raise SettingError(
            f"--name {name} is {KNOWN_CORPORA[name].title}, read by its file names: choose another name."
        )
    return [place if place.known else replace(place, name=name) for place in found]


def _own(place: Place, taken: Mapping[str, str], same: Callable[[str, str], bool]) -> str | None:
    """Give the name under which params.yaml has this very folder."""
    names = [place.name] if place.known else [name for name in taken if name not in KNOWN_CORPORA]
    return next((name for name in names if name in taken and same(taken[name], place.folder)), None)


def _known(place: Place, held: Mapping[str, str]) -> Named:
    """Leave a published corpus where params.yaml has it."""
    name = place.name
    if name not in held:
        return Named(name=name, folder=place.folder)
    note = f"{name} stays at {held[name]}, where params.yaml has it: --replace points it at {place.folder}."
    return Named(name=name, folder=held[name], note=note)


def _new(place: Place, held: Mapping[str, str]) -> Named:
    """Give a folder its own name, or with a number where another folder has that."""
    numbered = chain([place.name], (f"{place.name}_{number}" for number in count(2)))
    name = next(each for each in numbered if each not in held)
    note = "" if name == place.name else f"{place.folder} is called {name}, for {place.name} is {held[place.name]}."
    return Named(name=name, folder=place.folder, note=note)


def _refusal(name: str, place: Place, owned: Mapping[Place, str], held: Mapping[str, str]) -> str:
    """Say why a folder cannot have the name that was chosen for it."""
    if place in owned:
        return f"--name {name}: params.yaml calls {place.folder} {owned[place]} already: change the name there."
    return f"--name {name}: params.yaml has it for {held[name]}: choose another name, or add --replace."


def _with_note(each: Named, taken: Mapping[str, str], gone: Collection[str]) -> Named:
    """Say what a name stood for until now, where that is still there."""
    if each.name in gone or taken.get(each.name, each.folder) == each.folder:
        return each
    return replace(each, note=f"{each.name} was {taken[each.name]} in params.yaml until now.")


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
    known = [place for page in KNOWN_CORPORA.values() if (place := placed(page, found, sizes))]
    rest = found.outside(place.folder for place in known)
    held = found.clips(path for place in known for path in found.inside(place.folder))
    roots = trees(rest.folders)
    copies = {root: len(files) for root, files in roots.items() if is_copy(files, found, held)}
    own = [tree(root, files) for root, files in roots.items() if root not in copies]
    lost = [path for files in rest.outside(roots).folders.values() for path in files if path in found.takes]
    names = {place.name for place in known}
    mixed = Counter(found.takes[path][0] for path in lost)
    return Search(
        corpora=[*known, *own], copies=copies, mixed={n: mixed[n] for n in KNOWN_CORPORA if n in mixed.keys() - names}
    )


def heap(paths: Iterable[PurePath]) -> Heap:
    """Keep the recordings, and say of each what its name says."""
    skips = [page.skips for page in KNOWN_CORPORA.values() if page.skip_folders]
    folders: Folders = {}
    for path in sorted(path for path in paths if is_audio_file(path) and not is_system_file(path)):
        if not any(skip(path) for skip in skips):
            folders.setdefault(path.parent, []).append(path)
    names = {path: name for files in folders.values() for path in files if (name := recognise_corpus(path))}
    return Heap(folders, {path: (name, take(KNOWN_CORPORA[name], path.as_posix())) for path, name in names.items()})


def placed(page: CorpusInfo, found: Heap, sizes: Mapping[PurePath, int]) -> Found | None:
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


def alike(page: CorpusInfo, folder: PurePath, files: Iterable[PurePath]) -> int:
    """Count the files that lie below a folder as in the published corpus, whatever their extension."""
    if page.name not in checksums.table_names():
        return 0
    published = {path.rpartition(".")[0] for path in checksums.checksum_table(page.name)["path"]}
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
    depth = next((depth for depth, name in enumerate(folder.parts) if emotion_of_folder(name)), None)
    return None if depth is None else unsplit(PurePath(*folder.parts[:depth]))


def unsplit(folder: PurePath) -> PurePath:
    """Step out of a folder that is called train, test or alike."""
    return folder.parent if folder.name.casefold() in SPLIT_FOLDERS else folder


def is_copy(files: Iterable[PurePath], found: Heap, held: set[tuple[str, Take]]) -> bool:
    """Say whether a tree holds only what is found elsewhere, or takes that are no clips of its corpus."""
    return all(path in found.takes and (found.takes[path] in held or not found.takes[path][1]) for path in files)


def tree(folder: PurePath, files: Sequence[PurePath]) -> Found:
    """Describe a tree of emotion folders."""
    return Found(name=slug(folder.name), folder=folder, clips=len(files))
