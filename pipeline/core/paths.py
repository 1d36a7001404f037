"""Paths typed by a user: validation, messages for system errors, and quoting for a shell."""

import errno
import os
import shlex
import stat
from pathlib import Path

from pipeline.core.errors import SerError, SettingError

FOLDER_DELETED = "The current folder has been deleted: change to an existing one."
MAX_PATH_LENGTH = 120  # characters of a path in a message
REMEDIES = {
    errno.EACCES: "you have no permission for it or for a folder above it: get permission, or name another",
    errno.EPERM: "the system does not allow it: name another",
    errno.ELOOP: "its links form a cycle: fix or delete them",
    errno.ENAMETOOLONG: "the name is too long: give it a shorter one",
    errno.ENOTDIR: "there is a file in place of a folder: check the path",
    errno.EROFS: "the file system is read-only: name another place",
    errno.ENOSPC: "the disk is full: make room",
    errno.EDQUOT: "your disk quota is used up: make room",
    errno.EIO: "the disk does not respond: check it",
    errno.ESTALE: "the server of this folder does not respond: mount it again",
}


def parse_path(text: str) -> Path:
    """Convert a path typed by a user, expanding ``~`` unless a file has that very name.

    >>> parse_path("clips/~take.wav").as_posix()
    'clips/~take.wav'

    Raises:
        SettingError: it is empty, or contains a character that is invalid in a path.
    """
    if not text:
        raise SettingError("An empty path names nothing: give a file, a folder or a pattern.")
    try:
        unusable = b"\0" in os.fsencode(text)
    except UnicodeEncodeError:
        unusable = True
    if unusable:
        raise SettingError(f"{text!r} contains a character that is invalid in a path: check where it comes from.")
    return Path(text if os.path.lexists(text) else os.path.expanduser(text))  # noqa: PTH111 - that of Path raises


def stat_path(path: Path) -> os.stat_result | None:
    """Return the status of a path, following links; None if it does not exist.

    Raises:
        SettingError: the system refuses access, or the current folder was deleted.
    """
    try:
        return path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise explain_os_error(error) or error from error
    if not path.is_absolute():
        current_folder()
    return None


def is_folder(path: Path) -> bool:
    """Check whether a path is an existing folder.

    Raises:
        SettingError: the system refuses access.
    """
    status = stat_path(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def current_folder() -> Path:
    """Return the current folder.

    Raises:
        SettingError: it was deleted.
    """
    if _is_current_folder_deleted():
        raise SettingError(FOLDER_DELETED)
    return Path.cwd()


def _is_current_folder_deleted() -> bool:
    """Check whether the current folder was deleted."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def is_broken_link(path: Path) -> bool:
    """Check whether a path is a link whose target is missing or that is part of a cycle."""
    return os.path.islink(path) and not os.path.exists(path)  # noqa: PTH110, PTH114 - those of Path raise


def read_file(path: Path) -> bytes:
    """Read a file or a shell's pipe, but no named pipe or device, which may never end.

    Raises:
        OSError: it cannot be read; ``strerror`` gives the reason and the target of a broken link.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        if not path.is_symlink():
            raise
        raise OSError(errno.ENOENT, f"it is a link to {path.readlink()}, which does not exist", str(path)) from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or _is_shell_pipe(path, mode)):
        raise OSError(errno.EINVAL, f"it is {describe_file_kind(mode)}, not a file", str(path))
    return path.read_bytes()


def _is_shell_pipe(path: Path, mode: int) -> bool:
    """Check whether a path is a shell's unnamed pipe, as in ``<(sox in.wav -t wav -)``."""
    return stat.S_ISFIFO(mode) and os.path.realpath(path).rpartition("/")[2].startswith("pipe:")


def describe_file_kind(mode: int) -> str:
    """Describe what is neither a file nor a folder.

    >>> describe_file_kind(stat.S_IFIFO), describe_file_kind(stat.S_IFCHR)
    ('a pipe', 'a device')
    """
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


def explain_os_error(error: OSError) -> SerError | None:
    """Convert a system error into one with a remedy; None if it may be a bug of this package."""
    if error.errno == errno.ENOENT and error.filename is None and _is_current_folder_deleted():
        return SettingError(FOLDER_DELETED)
    if error.errno not in REMEDIES or error.filename is None:
        return None
    where = shorten_path(os.fsdecode(error.filename))
    return SettingError(f"{where} cannot be used ({error.strerror}): {REMEDIES[error.errno]}.")


def shorten_path(path: str) -> str:
    """Shorten a path in its middle if it is too long for a message.

    >>> len(shorten_path("x" * 999))
    120
    """
    half = (MAX_PATH_LENGTH - 5) // 2
    return path if len(path) <= MAX_PATH_LENGTH else f"{path[: half + 1]} ... {path[-half:]}"


def shell_quote(word: str, *, encoding: str = "utf-8") -> str:
    r"""Quote a word for bash. Characters that are invisible or not encodable are written as octal escapes.

    >>> names = shell_quote("clips"), shell_quote("it's Sprachübung"), shell_quote("a\nb")
    >>> print(*names, shell_quote("ü", encoding="ascii"))
    clips 'it'"'"'s Sprachübung' $'a\012b' $'\303\274'

    Args:
        word: any text without NUL, with ``surrogateescape`` for bytes that are not UTF-8.
        encoding: of the output.
    """
    if _is_printable(word, encoding):
        return shlex.quote(word)
    return f"$'{''.join(_escape_character(letter, encoding) for letter in word)}'"


def _is_printable(text: str, encoding: str) -> bool:
    """Check whether all characters of a text are visible and encodable."""
    return text.isprintable() and text == text.encode(encoding, "replace").decode(encoding)


def _escape_character(letter: str, encoding: str) -> str:
    if letter in "\\'":
        return f"\\{letter}"
    if _is_printable(letter, encoding):
        return letter
    return "".join(f"\\{byte:03o}" for byte in letter.encode(errors="surrogateescape"))
