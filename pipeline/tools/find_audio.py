"""From the paths that a person types to the recordings they mean and their names."""

import errno
import glob
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from pipeline.audio import formats
from pipeline.core import paths
from pipeline.core.errors import SettingError
from pipeline.core.files import is_audio, is_system

Say = Callable[[str], None]


def find_audio_files(paths: Sequence[str], failures: list[str] | None = None) -> dict[str, Path]:
    """Find the recordings that files, folders and glob patterns name, each one once.

    A folder stands for all audio below it, except behind links to other folders. A file named by itself is taken
    whatever it is called.

    Args:
        paths: what was typed; ``~`` is the home folder.
        failures: gets a sentence for each path and folder that the system cannot look at; the others are found.

    Returns:
        clip_id to absolute path, in order of clip_id: the path, with slashes, from the folder that all ``paths`` share.

    Raises:
        SettingError: a path matches nothing; without ``failures`` also where the system cannot look.
    """
    say = refuse if failures is None else failures.append
    started = [expand(text, say) for text in paths]
    files = {path.parent.resolve() / path.name for _, found in started for path in found}
    if not files:
        return {}
    shared = os.path.commonpath([*(top.resolve() for top, found in started if found), *(path.parent for path in files)])
    return dict(sorted((path.relative_to(shared).as_posix(), path) for path in files))


def expand(text: str, say: Say) -> tuple[Path, list[Path]]:
    """Give the folder that one path starts from, and the recordings it names; ``say`` is told of what cannot be seen.

    Raises:
        SettingError: there are none, and there was nothing to tell.
    """
    path, told = paths.named(text), list[str]()
    try:
        top, found = start(path, told.append)
    except SettingError as error:
        top, found = path, []
        told.append(str(error))
    if not found and not told:
        word = "holds" if path.exists() else "matches"
        raise SettingError(f"{paths.short(text)} {word} no audio file: check the path.")
    for sentence in told:
        say(sentence)
    return top, found


def start(path: Path, say: Say) -> tuple[Path, list[Path]]:
    """Find what a path names: a folder, a file, or a pattern."""
    facts = paths.look(path)
    if facts is None and not path.is_symlink():
        return fixed(path), list(matches(path, say))
    if facts is not None and stat.S_ISDIR(facts.st_mode):
        return path, list(below(path, lambda error: say(unlisted(error))))
    return path.parent, [path]  # before patterns, for a file may be called take[1].wav


def fixed(pattern: Path) -> Path:
    """Give the folder before the first wildcard.

    >>> fixed(Path("clips/2024/take*/**/*.wav")).as_posix()
    'clips/2024'
    """
    return next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))


def matches(pattern: Path, say: Say) -> Iterator[Path]:
    """List the recordings that match, or lie below a folder that does."""
    for folder in closed(pattern):
        say(unlisted(PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))))
    files = []
    for match in expanded(pattern):
        if os.path.isdir(match):  # noqa: PTH112 - Path's raises
            yield from below(match, lambda error: say(unlisted(error)))
        elif is_recording(match):
            files.append(match)
    yield from formats.unconverted(files)


def expanded(pattern: Path) -> Iterator[Path]:
    """List what a pattern matches; ``glob`` passes over folders that it cannot list."""
    return map(Path, glob.iglob(str(pattern), recursive=True))  # noqa: PTH207 - Path.glob raises on '**.wav'


def closed(pattern: Path) -> set[Path]:
    """List the folders that a pattern leads through and that cannot be listed."""
    tops = {fixed(pattern), *pattern.parents} - set(fixed(pattern).parents)
    through = chain.from_iterable(expanded(top) if glob.has_magic(str(top)) else [top] for top in tops)
    return {path for path in through if os.path.isdir(path) and not os.access(path, os.R_OK | os.X_OK)}  # noqa: PTH112 - Path's raises


def below(folder: Path, onerror: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """List the recordings below a folder.

    Raises:
        SettingError: a folder cannot be listed, unless ``onerror`` takes it.
    """
    for top, _, names in os.walk(folder, onerror=onerror or stop):
        yield from formats.unconverted(filter(is_recording, (Path(top, name) for name in names)))


def is_recording(path: Path) -> bool:
    """Say whether a file is worth a look by its name; pipes and devices, which may never end, are not.

    One that cannot be looked at, as a link to nothing, is: to read it fails, and is told. So is sound in a format that
    is not read: it is named instead of passed over.
    """
    named = is_audio(path) or formats.by_name(path) is not None
    return named and not is_system(path) and (os.path.isfile(path) or not os.path.exists(path))  # noqa: PTH110, PTH113 - Path's raise


def stop(error: OSError) -> None:
    """Stop at a folder that cannot be listed, which ``os.walk`` would pass over."""
    refuse(unlisted(error))


def unlisted(error: OSError) -> str:
    """Say that a folder cannot be listed."""
    return f"{error.filename} cannot be listed ({error.strerror}): make it readable."


def refuse(sentence: str) -> None:
    """Stop at what cannot be looked at."""
    raise SettingError(sentence)
