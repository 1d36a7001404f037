"""Atomic writes, outputs that may be replaced, the cache folder, checksums, and kinds of files."""

import errno
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import platformdirs
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core import config, paths
from pipeline.core.errors import SettingError, StoreError

STALE_AFTER = 3600  # s
TEMPORARY_NAME = re.compile(r"\.\d+-[0-9a-f]{8}\.tmp\Z")  # the suffix that `_temporary_path` appends
PERMISSION_ERRORS = {errno.EACCES, errno.EPERM, errno.EROFS}  # missing write permission
DISK_FULL_ERRORS = {errno.ENOSPC, errno.EDQUOT}
WRITE_ADVICE = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "ask its owner for the right to write there"),
    errno.EROFS: "have it mounted for writing",
    **dict.fromkeys(DISK_FULL_ERRORS, "make room"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST, errno.EISDIR), "move what is in its place"),
    errno.EFBIG: "raise the limit on the size of files ('ulimit -f')",
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT), "have that disk or mount repaired"),
}


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path`` that replaces it if the block succeeds.

    Works for files and folders; the old contents stay until the end. ``*.tmp`` is in .dvcignore. A path that is already
    temporary is yielded unchanged.

    Raises:
        StoreError: the disk is full, or the folder is not writable.
    """
    if _is_temporary(path):
        yield path
        return
    part = _temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        replace_path(part, path)
    except OSError as error:
        named = str(error.filename or path)
        if not named.startswith((str(part), str(path))) and not str(path).startswith(named):
            raise  # about another file, opened within the block
        raise StoreError(
            f"{path} could not be written: {error.strerror or error}; what was there is unharmed."
        ) from error
    finally:
        with suppress(PermissionError):  # a folder that cannot be searched holds no temporary file
            remove_path(part)


def error_number(error: BaseException) -> int:
    """Return the ``errno`` of an error or of its cause; 0 if neither has one."""
    return getattr(error, "errno", None) or getattr(error.__cause__, "errno", None) or 0


def write_advice(error: BaseException) -> str:
    """Suggest a remedy for a failed write.

    >>> write_advice(OSError(errno.ENOSPC, "full")), write_advice(PermissionError(errno.EACCES, "denied"))
    ('make room', 'ask its owner for the right to write there')
    """
    return WRITE_ADVICE.get(error_number(error), "fix that")


def remove_stale_files(path: Path) -> None:
    """Delete temporary files of killed processes next to ``path``: those unmodified for an hour."""
    for part in filter(_is_temporary, path.parent.glob(f"{glob.escape(path.name)}.*.tmp")):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > STALE_AFTER:
                remove_path(part)


def replace_path(part: Path, path: Path) -> None:
    """Replace ``path`` by ``part``.

    A folder cannot be replaced in one step: the old one is moved to a temporary name, and back if moving the new one
    fails. Nothing is deleted before the new one is in place.
    """
    if not part.is_dir() or not os.path.lexists(path):
        part.replace(path)
        return
    old = _temporary_path(path)
    path.rename(old)
    try:
        part.rename(path)
    except OSError:
        old.rename(path)
        raise
    remove_path(old)


def _is_temporary(path: Path) -> bool:
    """Check whether a path was made by `_temporary_path`."""
    return TEMPORARY_NAME.search(path.name) is not None


def _temporary_path(path: Path) -> Path:
    """Return an unused temporary path next to another."""
    return path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def remove_path(path: Path) -> None:
    """Delete a file, a folder or a link, if it exists; the target of a link stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink(missing_ok=True)


def write_json(values: Any, path: Path) -> None:
    """Write indented JSON with a final newline. NaN raises ValueError, because it is not valid JSON."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path, *, stage: str) -> Any:
    """Read JSON written by ``stage``.

    Raises:
        StoreError: the file is missing or damaged; the message names the stage to run.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise missing_file_error(path, stage) from None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged ({error}): run 'dvc repro -f {stage}'.") from error


def missing_file_error(path: Path, stage: str) -> StoreError:
    """Report a missing file, with the stage that writes it or the way to the project folder."""
    remedy = config.project_folder_hint(path) or f"run 'dvc repro {stage}'."
    return StoreError(f"{path} does not exist: {remedy}")


def read_parquet(path: Path, *, stage: str) -> pa.Table:
    """Read a Parquet table written by ``stage``.

    Raises:
        StoreError: the file is missing or damaged; the message names the stage to run.
    """
    if not path.exists():
        raise missing_file_error(path, stage)
    try:
        return pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(f"{path} is damaged ({error}): run 'dvc repro -f {stage}'.") from error


def schema_error(path: Path, stage: str) -> StoreError:
    """Report that an artefact was written by another version."""
    return StoreError(f"{path} has another layout than this version writes: run 'dvc repro -f {stage}'.")


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_hash(*parts: Any) -> str:
    """Return the SHA-256 of JSON-serialisable values, in hexadecimal, independent of the order of keys.

    >>> text_hash({"a": 1, "b": 2}) == text_hash({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def cache_folder() -> Path:
    """Return the folder of derived data that can be recomputed: ``SER_CACHE_DIR``, or the user's cache folder."""
    chosen = os.environ.get("SER_CACHE_DIR")
    return paths.parse_path(chosen) if chosen else _user_cache_folder()


def _user_cache_folder() -> Path:
    """Return the cache folder of this user alone."""
    return Path(platformdirs.user_cache_dir("ser-features"))


def cache_locations(folder: Path) -> list[Path]:
    """Return the locations of a cache folder: itself and, unless it is writable, one in the user's own cache.

    The second is for caches created by another user.
    """
    return [folder] if _is_tree_writable(folder) else list(dict.fromkeys([folder, user_cache_location(folder)]))


def user_cache_location(folder: Path) -> Path:
    """Return the location in the user's own cache that corresponds to a folder of the cache."""
    base = cache_folder()
    return _user_cache_folder() / (folder.relative_to(base) if folder.is_relative_to(base) else folder.name)


def _is_tree_writable(folder: Path) -> bool:
    """Check write permission for a folder and its immediate subfolders or, if it is missing, for creating it."""
    if not has_access(folder, os.F_OK):
        above = next(each for each in folder.absolute().parents if has_access(each, os.F_OK))
        return has_access(above, os.W_OK | os.X_OK)
    if not has_access(folder, os.R_OK | os.W_OK | os.X_OK):
        return not folder.is_dir()  # a file here is no matter of permissions
    with os.scandir(folder) as inside:
        return all(has_access(each.path, os.W_OK | os.X_OK) for each in inside if each.is_dir())


def glob_sorted(folder: Path, pattern: str) -> list[Path]:
    """List the files of a folder that match a pattern, sorted; none if the folder is not readable."""
    return sorted(folder.glob(pattern)) if has_access(folder, os.R_OK | os.X_OK) else []


def is_readable(path: Path) -> bool:
    """Check read permission for a file; True for a missing one, which its reader reports."""
    return has_access(path, os.R_OK) or not has_access(path, os.F_OK)


def has_access(path: Path | str, mode: int) -> bool:
    """Check access as `os.access` does, by the effective user id if the system supports that."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


@dataclass(frozen=True, kw_only=True)
class Output:
    """A file or folder that a command writes."""

    path: Path
    ours: Callable[[Path], bool]  # whether an existing path was written by this command
    what: str  # description for messages, such as 'a bundle'
    folder: bool = False

    @property
    def kind(self) -> str:
        """``"folder"`` or ``"file"``."""
        return "folder" if self.folder else "file"


def check_output(output: Output, sources: Iterable[Path] = ()) -> None:
    """Check that an output can be written without destroying an input or anything this command did not write.

    Raises:
        SettingError: the path is taken, or it cannot be written.
    """
    path = output.path
    if os.path.islink(path):  # noqa: PTH114 - Path's raises
        raise SettingError(f"{path} is a link to {path.readlink()}, which is not replaced: name the place itself.")
    for source in sources:
        _check_not_source(output, source)
    facts = paths.stat_path(path)
    if facts is not None:
        _check_output_kind(output, facts.st_mode)
    _check_creatable(path)
    if facts is not None and not _is_empty(path) and not output.ours(path):
        raise SettingError(
            f"{path} is there and is not {output.what} that this command wrote, so it stays as it is: move it away, "
            "or name another place."
        )


def _check_not_source(output: Output, source: Path) -> None:
    """Check that the output neither equals nor overlaps an input."""
    target, origin = (Path(os.path.realpath(path)) for path in (output.path, source))
    same = target == origin or (output.path.exists() and source.exists() and output.path.samefile(source))
    if same or (output.folder and (target.is_relative_to(origin) or origin.is_relative_to(target))):
        raise SettingError(f"{output.path} would be written over {source}, which is read: name another place.")


def _check_output_kind(output: Output, mode: int) -> None:
    """Check that an existing output is of the right kind, and not the current folder or a mount point."""
    found = "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else paths.describe_file_kind(mode)
    if found != output.kind:
        article = "" if found.startswith("a ") else "a "
        raise SettingError(
            f"{output.path} is {article}{found}, expected the {output.kind} to write: name another place."
        )
    current = output.path.samefile(paths.current_folder()) and not _is_empty(output.path)
    if output.folder and (current or os.path.ismount(output.path)):
        raise SettingError(
            f"{output.path} is the current folder or a disk, which is not replaced: name a folder in it."
        )


def _check_creatable(path: Path) -> None:
    """Check that a path can be created, before hours of work are done for it."""
    above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not paths.is_folder(above):
        raise SettingError(f"{path} cannot be written, because {above} is not a folder: name another place.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise SettingError(f"{path} cannot be written, because you have no permission for {above}: name another place.")
    paths.stat_path(_temporary_path(path.absolute()))  # raises if the name is too long


def _is_empty(path: Path) -> bool:
    """Check whether a folder or file is empty."""
    return not any(path.iterdir()) if path.is_dir() else path.stat().st_size == 0


@contextmanager
def replace_output(output: Output, sources: Iterable[Path] = ()) -> Iterator[Path]:
    """Yield a temporary path that replaces an output if the block succeeds.

    Raises:
        SettingError: the existing path must not be replaced; checked before the block and again after it.
        StoreError: the disk is full, or the folder is not writable.
    """
    check_output(output, sources)
    with atomic_write(output.path) as part:
        yield part
        check_output(output, sources)


def starts_with(path: Path, start: bytes) -> bool:
    """Check whether a file starts with some bytes."""
    with path.open("rb") as file:
        return file.read(len(start)) == start


SYSTEM_FILES = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
SYNTHETIC_MARKER = "SYNTHETIC.txt"  # the demo writes it into the folders of its corpora
AUDIO_SUFFIXES = frozenset(  # suffixes of the formats that libsndfile reads
    {
        ".wav", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".flac", ".ogg", ".oga",
        ".opus", ".mp3", ".mp2",
    }
)  # fmt: skip
LFS_POINTER = b"version https://git-lfs"  # how a file begins that git-lfs has not fetched
SAMPLE_RATE_RANGE = (1_000, 768_000)  # Hz, of recordings and of the signals made of them


def is_system_file(path: PurePath) -> bool:
    """Check whether a file was left by an operating system rather than a person.

    >>> is_system_file(PurePath("__MACOSX/Actor_01/x.wav")), is_system_file(PurePath("._x.wav"))
    (True, True)
    """
    return path.name.startswith("._") or path.name.casefold() in SYSTEM_FILES or "__MACOSX" in path.parts


def is_audio_file(path: PurePath) -> bool:
    """Check whether a file has the extension of an audio format, upper or lower case.

    >>> is_audio_file(PurePath("a.WAV")), is_audio_file(PurePath("a.txt"))
    (True, False)
    """
    return path.suffix.casefold() in AUDIO_SUFFIXES
