"""Files written whole or not at all, folders of results that are ours to replace, the cache folder, checksums."""

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

HOUR = 3600  # s
ASIDE = re.compile(r"\.\d+-[0-9a-f]{8}\.tmp\Z")  # the end of a name that `temporary_path` made up
RIGHTS = {errno.EACCES, errno.EPERM, errno.EROFS}  # for want of which this user may not write
FULL = {errno.ENOSPC, errno.EDQUOT}
ADVICE = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "ask its owner for the right to write there"),
    errno.EROFS: "have it mounted for writing",
    **dict.fromkeys(FULL, "make room"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST, errno.EISDIR), "move what is in its place"),
    errno.EFBIG: "raise the limit on the size of files ('ulimit -f')",
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT), "have that disk or mount mended"),
}


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place when the block ends without an error.

    Folders and files alike; what stood there before stays until the very end. ``*.tmp`` is in .dvcignore. A path that
    stands aside already is given as it is.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    if is_aside(path):
        yield path
        return
    part = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        replace_path(part, path)
    except OSError as error:
        named = str(error.filename or path)
        if not named.startswith((str(part), str(path))) and not str(path).startswith(named):
            raise  # it is about another file, opened within the block
        raise StoreError(
            f"{path} could not be written: {error.strerror or error}; what was there is unharmed."
        ) from error
    finally:
        with suppress(PermissionError):  # where nothing may be looked at, nothing was left
            remove_path(part)


def error_number(error: BaseException) -> int:
    """Give the system's number of an error, or of the error that it was raised from; 0 if it has none."""
    return getattr(error, "errno", None) or getattr(error.__cause__, "errno", None) or 0


def write_advice(error: BaseException) -> str:
    """Say what lets the system write after all.

    >>> write_advice(OSError(errno.ENOSPC, "full")), write_advice(PermissionError(errno.EACCES, "denied"))
    ('make room', 'ask its owner for the right to write there')
    """
    return ADVICE.get(error_number(error), "mend that")


def remove_leftovers(path: Path) -> None:
    """Delete what killed processes left of a file that is written aside: what nobody has written to for an hour."""
    for part in filter(is_aside, path.parent.glob(f"{glob.escape(path.name)}.*.tmp")):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > HOUR:
                remove_path(part)


def replace_path(part: Path, path: Path) -> None:
    """Put ``part`` in the place of ``path``.

    A folder cannot be replaced in one step: the old one steps aside, the new one into its place, and where that fails
    the old one steps back. Nothing is deleted before the new one stands.
    """
    if not part.is_dir() or not os.path.lexists(path):
        part.replace(path)
        return
    old = temporary_path(path)
    path.rename(old)
    try:
        part.rename(path)
    except OSError:
        old.rename(path)
        raise
    remove_path(old)


def is_aside(path: Path) -> bool:
    """Say whether a name is one that `temporary_path` made up."""
    return ASIDE.search(path.name) is not None


def temporary_path(path: Path) -> Path:
    """Make up a temporary path beside another."""
    return path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def remove_path(path: Path) -> None:
    """Delete a file, a folder or a link, if it is there; what a link leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink(missing_ok=True)


def write_json(values: Any, path: Path) -> None:
    """Write indented JSON with a final newline. NaN is refused: no other reader knows it."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path, *, stage: str) -> Any:
    """Read JSON that ``stage`` made.

    Raises:
        StoreError: it is missing or damaged; the sentence names the stage to run.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise missing(path, stage) from None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged ({error}): run 'dvc repro -f {stage}'.") from error


def missing(path: Path, stage: str) -> StoreError:
    """Say which stage makes what is not there, or that the project is elsewhere."""
    remedy = config.elsewhere(path) or f"run 'dvc repro {stage}'."
    return StoreError(f"{path} does not exist: {remedy}")


def read_table(path: Path, *, stage: str) -> pa.Table:
    """Read a Parquet table that ``stage`` made.

    Raises:
        StoreError: it is missing or damaged; the sentence names the stage to run.
    """
    if not path.exists():
        raise missing(path, stage)
    try:
        return pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(f"{path} is damaged ({error}): run 'dvc repro -f {stage}'.") from error


def other_layout(path: Path, stage: str) -> StoreError:
    """Say that an artefact was written by another version."""
    return StoreError(f"{path} has another layout than this version writes: run 'dvc repro -f {stage}'.")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_hash(*parts: Any) -> str:
    """SHA-256 of anything JSON can hold, independent of the order of keys.

    >>> text_hash({"a": 1, "b": 2}) == text_hash({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def cache_folder() -> Path:
    """Where derived data lives that can be made again: ``SER_CACHE_DIR``, else the user's cache folder."""
    chosen = os.environ.get("SER_CACHE_DIR")
    return paths.named(chosen) if chosen else own_cache_folder()


def own_cache_folder() -> Path:
    """Where this user alone keeps such data."""
    return Path(platformdirs.user_cache_dir("ser-features"))


def homes(folder: Path) -> list[Path]:
    """Where this user keeps what belongs into a folder of the cache: there, and in the user's own cache folder.

    The second is left out where all of the first may be written. It is for caches that another user has made.
    """
    return [folder] if may_write_all(folder) else list(dict.fromkeys([folder, own_home(folder)]))


def own_home(folder: Path) -> Path:
    """Where this user alone keeps what belongs into a folder of the cache."""
    base = cache_folder()
    return own_cache_folder() / (folder.relative_to(base) if folder.is_relative_to(base) else folder.name)


def may_write_all(folder: Path) -> bool:
    """Say whether this user may write into a folder and all those right in it; where it is not there, make it."""
    if not is_allowed(folder, os.F_OK):
        above = next(each for each in folder.absolute().parents if is_allowed(each, os.F_OK))
        return is_allowed(above, os.W_OK | os.X_OK)
    if not is_allowed(folder, os.R_OK | os.W_OK | os.X_OK):
        return not folder.is_dir()  # what is no folder is another matter than rights
    with os.scandir(folder) as inside:
        return all(is_allowed(each.path, os.W_OK | os.X_OK) for each in inside if each.is_dir())


def matching(folder: Path, pattern: str) -> list[Path]:
    """Find files of a folder by a pattern, in order; nothing where this user may not look into it."""
    return sorted(folder.glob(pattern)) if is_allowed(folder, os.R_OK | os.X_OK) else []


def is_readable(path: Path) -> bool:
    """Say whether this user may read a file; what is not there will be said by whoever reads it."""
    return is_allowed(path, os.R_OK) or not is_allowed(path, os.F_OK)


def is_allowed(path: Path | str, mode: int) -> bool:
    """Say whether the system lets this process do something with a file, by the rights that hold for writing it."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


@dataclass(frozen=True, kw_only=True)
class Output:
    """A file, or a folder, that a command writes."""

    path: Path
    ours: Callable[[Path], bool]  # whether what is there was written by this command before
    what: str  # the command writes, such as 'a bundle'
    folder: bool = False

    @property
    def kind(self) -> str:
        """Name what it has to be."""
        return "folder" if self.folder else "file"


def refuse_taken(output: Output, sources: Iterable[Path] = ()) -> None:
    """Stop where writing would destroy what is not ours, or what is read, or is impossible.

    Raises:
        SettingError: something else is there, or nothing can be written there.
    """
    path = output.path
    if os.path.islink(path):  # noqa: PTH114 - Path's raises
        raise SettingError(f"{path} is a link to {path.readlink()}, which is not replaced: name the place itself.")
    for source in sources:
        refuse_source(output, source)  # which may be a bundle as well
    facts = paths.look(path)
    if facts is not None:
        refuse_other_kind(output, facts.st_mode)
    refuse_closed(path)
    if facts is not None and not is_empty(path) and not output.ours(path):
        raise SettingError(
            f"{path} is there and is not {output.what} that this command wrote, so it stays as it is: move it away, "
            "or name another place."
        )


def refuse_source(output: Output, source: Path) -> None:
    """Refuse a place that is what is read, or in it, or around it."""
    one, other = (Path(os.path.realpath(path)) for path in (output.path, source))
    same = one == other or (output.path.exists() and source.exists() and output.path.samefile(source))
    if same or (output.folder and (one.is_relative_to(other) or other.is_relative_to(one))):
        raise SettingError(f"{output.path} would be written over {source}, which is read: name another place.")


def refuse_other_kind(output: Output, mode: int) -> None:
    """Refuse a folder where a file is to be, and the reverse; what is neither; and the folders a system stands on."""
    found = "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else paths.kind(mode)
    if found != output.kind:
        article = "" if found.startswith("a ") else "a "
        raise SettingError(
            f"{output.path} is {article}{found}, expected the {output.kind} to write: name another place."
        )
    current = output.path.samefile(paths.here()) and not is_empty(output.path)
    if output.folder and (current or os.path.ismount(output.path)):
        raise SettingError(
            f"{output.path} is the current folder or a disk, which is not replaced: name a folder in it."
        )


def refuse_closed(path: Path) -> None:
    """Refuse a place in which nothing can be written, before hours of work are."""
    above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not paths.is_folder(above):
        raise SettingError(f"{path} cannot be written, for {above} is no folder: name another place.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise SettingError(f"{path} cannot be written, for {above} is closed to you: name another place.")
    paths.look(temporary_path(path.absolute()))  # its name may be too long


def is_empty(path: Path) -> bool:
    """Say whether nothing is lost with what is there."""
    return not any(path.iterdir()) if path.is_dir() else path.stat().st_size == 0


@contextmanager
def replacing(output: Output, sources: Iterable[Path] = ()) -> Iterator[Path]:
    """Give a temporary path that takes the place of an output when the block ends without an error.

    Raises:
        SettingError: what is there must not be replaced; it is asked before the block and again after it.
        StoreError: the disk is full or the folder cannot be written.
    """
    refuse_taken(output, sources)
    with atomic_write(output.path) as part:
        yield part
        refuse_taken(output, sources)


def begins(path: Path, start: bytes) -> bool:
    """Say whether a file begins with some bytes."""
    with path.open("rb") as file:
        return file.read(len(start)) == start


SYSTEM = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
MARKER = "SYNTHETIC.txt"  # the demo puts it into the folders of its corpora
AUDIO = frozenset(  # by the names of what libsndfile reads
    {
        ".wav", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".flac", ".ogg", ".oga",
        ".opus", ".mp3", ".mp2",
    }
)  # fmt: skip
SAMPLE_RATES = (1_000, 768_000)  # Hz, of recordings and of the signals made of them


def is_system(path: PurePath) -> bool:
    """Say whether an operating system, not a person, left the file there.

    >>> is_system(PurePath("__MACOSX/Actor_01/x.wav")), is_system(PurePath("._x.wav"))
    (True, True)
    """
    return path.name.startswith("._") or path.name.casefold() in SYSTEM or "__MACOSX" in path.parts


def is_audio(path: PurePath) -> bool:
    """Say whether the extension is that of a recording, in any case.

    >>> is_audio(PurePath("a.WAV")), is_audio(PurePath("a.txt"))
    (True, False)
    """
    return path.suffix.casefold() in AUDIO
