"""``corpora list`` and ``corpora find``: which corpora there are, where, and how complete; write params.yaml."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from ruamel.yaml import YAML

from pipeline.acquire.search import Found, Named, Place, Search, settle, slug
from pipeline.acquire.verify import take
from pipeline.audio import formats
from pipeline.core import config, files, paths, yaml_reader
from pipeline.core.errors import SettingError
from pipeline.core.files import SYNTHETIC_MARKER, is_audio_file, is_system_file
from pipeline.corpora.info import CorpusInfo
from pipeline.corpora.registry import KNOWN_CORPORA
from pipeline.text import table_lines

HEAD = ("corpus", "clips", "speakers", "hours", "where params.yaml has it", "what is there", "licence")


def overview(pages: Sequence[CorpusInfo], places: Mapping[str, str]) -> list[str]:
    """Write a table of the corpora.

    Args:
        pages: of the corpora.
        places: the folder of each that params.yaml names.
    """
    rows = [HEAD, *(entry(page, places.get(page.name, "")) for page in pages)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    right = {1, 2, 3}  # numbers
    cells = [[f"{cell:{'>' if n in right else '<'}{widths[n]}}" for n, cell in enumerate(row)] for row in rows]
    return ["  ".join(row).rstrip() for row in cells]


def entry(page: CorpusInfo, place: str) -> tuple[str, ...]:
    """Describe one corpus."""
    facts = (f"{page.clips:,}", f"{len(page.speakers)}", f"{page.hours:.2f}") if page.clips else ("", "", "")
    return (page.name, *facts, place or "-", state(page, Path(place)) if place else "-", page.licence)


def state(page: CorpusInfo, folder: Path) -> str:
    """Say how much of a corpus a folder holds."""
    try:
        if not paths.is_folder(folder):
            return "not there"
    except SettingError:
        return "closed to you"
    if (folder / SYNTHETIC_MARKER).exists():
        return "the demo, synthetic"
    every = [path for path in walk(folder) if not is_system_file(path) and not page.skips(path)]
    files = [path for path in every if is_audio_file(path)]
    if not page.clips:
        more = len(formats.list_unsupported(every))
        return f"{len(files):,} files{f', {more:,} in formats that are not read' if more else ''}"
    return f"{len({take(page, path.as_posix()) for path in files} - {()}):,} of {page.clips:,} by name"


def walk(folder: Path, *, say: Callable[[OSError], None] | None = None) -> Iterator[PurePath]:
    """List the files below a folder, but not the demo's.

    ``say`` is told of folders that cannot be listed, and of links to nothing.
    """
    for top, below, names in os.walk(folder, onerror=say):
        if SYNTHETIC_MARKER in names:
            below.clear()
            continue
        for name in names:
            if not paths.is_broken_link(path := Path(top, name)):
                yield PurePath(path).relative_to(folder)
            elif say:
                say(FileNotFoundError(errno.ENOENT, "a link to what does not exist", str(path)))


def unread(files: Iterable[PurePath]) -> list[PurePath]:
    """List the sound among files that is in formats which are not read, outside the folders that no corpus reads."""
    ours = [
        path
        for path in files
        if not is_system_file(path) and not any(page.skips(path) for page in KNOWN_CORPORA.values())
    ]
    return formats.list_unsupported(ours)


def told(found: Search, names: Sequence[str], folder: Path) -> Iterator[str]:
    """Say what a search of a folder found, a line each, under the names that the corpora got."""
    rows: list[tuple[str, str, str]] = []
    for name, each in zip(names, found.corpora, strict=True):
        rows.append((name, size(each), located(folder, each.folder)))
        if each.elsewhere:
            more = f"{len(each.elsewhere):,} more files of it left aside, such as {folder / each.elsewhere[0]}"
            rows.append(("", "", more))
    yield from table_lines(rows, "lll")
    for root, count in found.copies.items():
        yield f"{folder / root}: {count:,} files by emotion, all of them copies of what is found above: left aside"
    for name, count in found.mixed.items():
        yield f"{name}: {count:,} clips lie in one folder with those of other corpora: give it a folder of its own"


def size(each: Found) -> str:
    """Say how much of a corpus is there.

    >>> size(Found(name="tess", folder=PurePath("x"), clips=2800, published=2800))
    '2,800 of 2,800 clips'
    """
    return f"{each.clips:,} of {each.published:,} clips" if each.published else f"{each.clips:,} files by emotion"


def located(folder: Path, below: PurePath) -> str:
    """Write a folder as params.yaml should have it: relative where it lies in the project, else absolute."""
    where, here = (folder / below).resolve(), Path.cwd()
    return where.relative_to(here).as_posix() if where.is_relative_to(here) else str(where)


def unreal(places: Mapping[str, str]) -> dict[str, str]:
    """Name the corpora whose folder is not there, or is the demo's, and say which of the two."""
    states = {name: absence(Path(place)) for name, place in places.items()}
    return {name: state for name, state in states.items() if state}


def absence(folder: Path) -> str:
    """Say why a folder holds no recordings of people; nothing where it may."""
    if not folder.is_dir():
        return "is not there"
    return "holds the demo" if (folder / SYNTHETIC_MARKER).exists() else ""


def named(found: Search, folder: Path, known: Mapping[str, str], *, replacing: bool, name: str) -> list[Named]:
    """Name the corpora of a search beside those that params.yaml has, see `search.settle`.

    Raises:
        SettingError: ``name`` cannot be given, or params.yaml has all of them elsewhere and keeps them there.
    """
    places = [
        Place(
            name=each.name if each.published else slug((folder / each.folder).resolve().name),
            folder=located(folder, each.folder),
            known=bool(each.published),
        )
        for each in found.corpora
    ]
    named = settle(places, known, same=same_folder, gone=unreal(known), replacing=replacing, name=name)
    if named and not any(same_folder(a.folder, b.folder) for a, b in zip(named, places, strict=True)):
        raise SettingError("\n".join(each.note for each in named))
    return named


def same_folder(one: str, other: str) -> bool:
    """Say whether two paths lead to one folder, whatever links and letter case do on the way."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    return Path(one).is_dir() and Path(other).is_dir() and Path(one).samefile(other)


def write_corpora(wanted: Mapping[str, str], *, drop: Iterable[str] = (), path: Path = config.PARAMS) -> None:
    """Set the folder of corpora in ``data.corpora``, and take others out.

    Raises:
        SettingError: the file is missing, is no YAML, or would hold no corpus afterwards; it stays as it was.
    """
    known = config.corpus_folders(config.read_params(path))  # refuses what is no params.yaml
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1_000  # lines stay as they are
    yaml.indent(mapping=2, sequence=2, offset=0)
    tree = yaml.load(yaml_reader.decode_settings(yaml_reader.read_settings_bytes(path), path))
    corpora = tree["data"]["corpora"]
    gone = set(drop) & set(known)
    meant = {name: place for name, place in known.items() if name not in gone} | dict(wanted)
    for name in gone:
        del corpora[name]
    corpora.update(wanted)
    if not corpora:
        raise SettingError(f"{path}: data.corpora would be empty: name at least one corpus.")
    with files.atomic_write(path.resolve()) as part, part.open("w", encoding="utf-8") as file:
        yaml.dump(tree, file)
        file.flush()
        refuse_other(config.corpus_folders(config.read_params(part)), meant, path)


def refuse_other(written: Mapping[str, str], meant: Mapping[str, str], path: Path) -> None:
    """Stop where a file would say something else than was meant, for a letter in a name or an alias."""
    wrong = sorted(dict(written.items() ^ meant.items()))
    if not wrong:
        return
    name, place = wrong[0], meant.get(wrong[0], "")
    if not place.isprintable():
        raise SettingError(f"{path}: data.corpora.{name} cannot hold {place!r}: give the folder another name.")
    raise SettingError(
        f"{path}: data.corpora.{name} cannot be changed where it comes in by '<<' or an alias: do it by hand."
    )
