"""Find audio files by paths, folders and glob patterns."""

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
from pipeline.core.files import is_audio_file, is_system_file

Report = Callable[[str], None]


def find_audio_files(paths: Sequence[str], failures: list[str] | None = None) -> dict[str, Path]:
    """Find the recordings that files, folders and glob patterns name, each once.

    A folder stands for all audio below it; links to other folders are not followed. A file given by its path may have
    any name.

    Args:
        paths: as typed; ``~`` is the home folder.
        failures: gets a message for each path and folder that cannot be read; the others are searched.

    Returns:
        Absolute paths by clip_id, sorted. The clip_id is the path, with slashes, relative to the common folder of
        ``paths``.

    Raises:
        SettingError: a path matches nothing, or without ``failures`` cannot be read.
    """
    report = _raise_setting_error if failures is None else failures.append
    started = [_expand_path(text, report) for text in paths]
    files = {path.parent.resolve() / path.name for _, found in started for path in found}
    if not files:
        return {}
    shared = os.path.commonpath([*(top.resolve() for top, found in started if found), *(path.parent for path in files)])
    return dict(sorted((path.relative_to(shared).as_posix(), path) for path in files))


def _expand_path(text: str, report: Report) -> tuple[Path, list[Path]]:
    """Return the folder from which a path starts and the recordings it names; ``report`` gets what cannot be read.

    Raises:
        SettingError: there are none, and all folders could be read.
    """
    path, messages = paths.parse_path(text), list[str]()
    try:
        top, found = _expand_existing(path, messages.append)
    except SettingError as error:
        top, found = path, []
        messages.append(str(error))
    if not found and not messages:
        word = "holds" if path.exists() else "matches"
        raise SettingError(f"{paths.shorten_path(text)} {word} no audio file: check the path.")
    for message in messages:
        report(message)
    return top, found


def _expand_existing(path: Path, report: Report) -> tuple[Path, list[Path]]:
    """Find the recordings that a path names: a folder, a file, or a pattern."""
    status = paths.stat_path(path)
    if status is None and not path.is_symlink():
        return _folder_before_wildcard(path), list(_pattern_matches(path, report))
    if status is not None and stat.S_ISDIR(status.st_mode):
        return path, list(recordings_below(path, lambda error: report(_unlistable(error))))
    return path.parent, [path]  # not a pattern: a file may be called take[1].wav


def _folder_before_wildcard(pattern: Path) -> Path:
    """Return the folder before the first wildcard.

    >>> _folder_before_wildcard(Path("clips/2024/take*/**/*.wav")).as_posix()
    'clips/2024'
    """
    return next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))


def _pattern_matches(pattern: Path, report: Report) -> Iterator[Path]:
    """Yield the recordings that match a pattern, or are below a folder that does."""
    for folder in _unreadable_folders(pattern):
        report(_unlistable(PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))))
    files = []
    for match in _glob(pattern):
        if os.path.isdir(match):  # noqa: PTH112 - Path's raises
            yield from recordings_below(match, lambda error: report(_unlistable(error)))
        elif _may_be_recording(match):
            files.append(match)
    yield from formats.drop_converted(files)


def _glob(pattern: Path) -> Iterator[Path]:
    """Yield the paths that match a pattern; ``glob`` skips folders that it cannot list."""
    return map(Path, glob.iglob(str(pattern), recursive=True))  # noqa: PTH207 - Path.glob raises on '**.wav'


def _unreadable_folders(pattern: Path) -> set[Path]:
    """Return the folders on the way of a pattern that cannot be listed."""
    tops = {_folder_before_wildcard(pattern), *pattern.parents} - set(_folder_before_wildcard(pattern).parents)
    through = chain.from_iterable(_glob(top) if glob.has_magic(str(top)) else [top] for top in tops)
    return {path for path in through if os.path.isdir(path) and not os.access(path, os.R_OK | os.X_OK)}  # noqa: PTH112 - Path's raises


def recordings_below(folder: Path, onerror: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Yield the recordings below a folder.

    Raises:
        SettingError: a folder cannot be listed, unless ``onerror`` takes it.
    """
    for top, _, names in os.walk(folder, onerror=onerror or _raise_unlistable):
        yield from formats.drop_converted(filter(_may_be_recording, (Path(top, name) for name in names)))


def _may_be_recording(path: Path) -> bool:
    """Say whether a file may be a recording by its name; pipes and devices, which may never end, are not.

    Unreadable files such as broken links count, so that they are reported, as do files in unsupported formats.
    """
    named = is_audio_file(path) or formats.format_by_name(path) is not None
    return named and not is_system_file(path) and (os.path.isfile(path) or not os.path.exists(path))  # noqa: PTH110, PTH113 - Path's raise


def _raise_unlistable(error: OSError) -> None:
    """Raise the error for a folder that cannot be listed, which ``os.walk`` would skip."""
    _raise_setting_error(_unlistable(error))


def _unlistable(error: OSError) -> str:
    """Return the message that a folder cannot be listed."""
    return f"{error.filename} cannot be listed ({error.strerror}): make it readable."


def _raise_setting_error(message: str) -> None:
    raise SettingError(message)
