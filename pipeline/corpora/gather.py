"""From the paths that a person types to recordings and their names."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.corpora import formats
from pipeline.corpora.files import is_audio, is_system
from pipeline.errors import SettingError


def gather(paths: Sequence[str]) -> dict[str, Path]:
    """Find the recordings that files, folders and glob patterns name, each one once.

    A folder stands for all audio below it, except behind links to other folders. A file named by itself is taken
    whatever it is called.

    Returns:
        clip_id to absolute path, in order of clip_id: the path, with slashes, from the folder that all ``paths`` share.

    Raises:
        SettingError: a path matches nothing, or a folder cannot be listed.
    """
    tops, found = zip(*map(expand, paths), strict=True)
    files = {path.parent.resolve() / path.name for some in found for path in some}
    shared = os.path.commonpath([*(top.resolve() for top in tops), *(path.parent for path in files)])
    return dict(sorted((path.relative_to(shared).as_posix(), path) for path in files))


def expand(text: str) -> tuple[Path, list[Path]]:
    """Give the folder that one path starts from, and the recordings it names."""
    if not text:
        raise SettingError("An empty path names nothing: give a file, a folder or a pattern.")
    path = Path(text).expanduser()
    if path.is_dir():
        top, found = path, list(below(path))
    elif path.exists():  # before patterns, for a file may be called take[1].wav
        top, found = path.parent, [path]
    else:
        top, found = fixed(path), list(matches(path))
    if not found:
        raise SettingError(f"{text} {'holds' if path.exists() else 'matches'} no audio file: check the path.")
    return top, found


def fixed(pattern: Path) -> Path:
    """Give the folder before the first wildcard.

    >>> fixed(Path("clips/2024/take*/**/*.wav")).as_posix()
    'clips/2024'
    """
    return next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))


def matches(pattern: Path) -> Iterator[Path]:
    """List the recordings that match, or lie below a folder that does."""
    files = []
    for match in map(Path, glob.iglob(str(pattern), recursive=True)):  # noqa: PTH207 - Path.glob raises on '**.wav'
        if match.is_dir():
            yield from below(match)
        elif is_recording(match):
            files.append(match)
    yield from formats.unconverted(files)


def below(folder: Path) -> Iterator[Path]:
    """List the recordings below a folder."""
    for top, _, names in os.walk(folder, onerror=refuse):
        yield from formats.unconverted(filter(is_recording, (Path(top, name) for name in names)))


def is_recording(path: Path) -> bool:
    """Say whether a file is worth a look by its name; pipes and devices, which may never end, are not.

    Sound in a format that is not read is: it is named instead of passed over.
    """
    named = is_audio(path) or formats.by_name(path) is not None
    return named and not is_system(path) and (path.is_file() or not path.exists())


def refuse(error: OSError) -> None:
    """Stop at a folder that cannot be read, which ``os.walk`` would pass over."""
    raise SettingError(f"{error.filename} cannot be listed ({error.strerror}): make it readable.")
