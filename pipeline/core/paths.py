"""Paths that a person names: what cannot be read becomes one sentence; words quoted for a shell."""

import errno
import os
import shlex
import stat
from pathlib import Path

from pipeline.core.errors import SerError, SettingError

GONE = "The current folder has been deleted: change into one that is there."
LONGEST = 120  # letters of a path in a sentence
REMEDIES = {
    errno.EACCES: "it, or a folder above it, is closed to you: have it opened, or name another",
    errno.EPERM: "the system does not allow it: name another",
    errno.ELOOP: "links lead in a circle: mend or delete them",
    errno.ENAMETOOLONG: "the name is too long: give it a shorter one",
    errno.ENOTDIR: "a file stands where a folder is expected: check the path",
    errno.EROFS: "nothing can be written there: name another place",
    errno.ENOSPC: "the disk is full: make room",
    errno.EDQUOT: "your share of the disk is full: make room",
    errno.EIO: "the disk does not answer: check it",
    errno.ESTALE: "the server of this folder does not answer: mount it again",
}


def named(text: str) -> Path:
    """Make a path of what a person typed: ``~`` is a home folder where there is one and no file of that name.

    >>> named("clips/~take.wav").as_posix()
    'clips/~take.wav'

    Raises:
        SettingError: it is empty, or holds what no path can.
    """
    if not text:
        raise SettingError("An empty path names nothing: give a file, a folder or a pattern.")
    try:
        unusable = b"\0" in os.fsencode(text)
    except UnicodeEncodeError:
        unusable = True
    if unusable:
        raise SettingError(f"{text!r} holds a sign that no path can: check where it comes from.")
    return Path(text if os.path.lexists(text) else os.path.expanduser(text))  # noqa: PTH111 - Path's raises


def look(path: Path) -> os.stat_result | None:
    """Look at what a path leads to, links followed; None where nothing is.

    Raises:
        SettingError: the system cannot look, or the current folder is gone.
    """
    try:
        return path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise refusal(error) or error from error
    if not path.is_absolute():
        here()
    return None


def is_folder(path: Path) -> bool:
    """Say whether a folder is there.

    Raises:
        SettingError: the system cannot look.
    """
    facts = look(path)
    return facts is not None and stat.S_ISDIR(facts.st_mode)


def here() -> Path:
    """Give the current folder.

    Raises:
        SettingError: it has been deleted.
    """
    if is_gone():
        raise SettingError(GONE)
    return Path.cwd()


def is_gone() -> bool:
    """Say whether the current folder has been deleted."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def is_broken_link(path: Path) -> bool:
    """Say whether a path is a link to nothing, or one in a circle."""
    return os.path.islink(path) and not os.path.exists(path)  # noqa: PTH110, PTH114 - Path's raise


def content(path: Path) -> bytes:
    """Read a file, but none that may never end: a pipe with a name, or a device.

    Raises:
        OSError: it cannot be read; ``strerror`` says why, and where a link leads.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        if not path.is_symlink():
            raise
        raise OSError(errno.ENOENT, f"it is a link to {path.readlink()}, which does not exist", str(path)) from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or is_piped(path, mode)):
        raise OSError(errno.EINVAL, f"it is {kind(mode)}, not a file", str(path))
    return path.read_bytes()


def is_piped(path: Path, mode: int) -> bool:
    """Say whether a path is the end of a shell's pipe, as in ``<(sox in.wav -t wav -)``: that has no name on a disk."""
    return stat.S_ISFIFO(mode) and os.path.realpath(path).rpartition("/")[2].startswith("pipe:")


def kind(mode: int) -> str:
    """Name what is neither a file nor a folder.

    >>> kind(stat.S_IFIFO), kind(stat.S_IFCHR)
    ('a pipe', 'a device')
    """
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


def refusal(error: OSError) -> SerError | None:
    """Say in a sentence what the system refused, or nothing where it may be a bug of ours."""
    if error.errno == errno.ENOENT and error.filename is None and is_gone():
        return SettingError(GONE)
    if error.errno not in REMEDIES or error.filename is None:
        return None
    where = short(os.fsdecode(error.filename))
    return SettingError(f"{where} cannot be used ({error.strerror}): {REMEDIES[error.errno]}.")


def short(path: str) -> str:
    """Cut a path in its middle where it is too long for a sentence.

    >>> len(short("x" * 999))
    120
    """
    half = (LONGEST - 5) // 2
    return path if len(path) <= LONGEST else f"{path[: half + 1]} ... {path[-half:]}"


def shell_quote(word: str, *, encoding: str = "utf-8") -> str:
    r"""Quote a word for bash. Letters that nobody can see or copy stand there as the octal numbers of their bytes.

    >>> names = shell_quote("clips"), shell_quote("it's Sprachübung"), shell_quote("a\nb")
    >>> print(*names, shell_quote("ü", encoding="ascii"))
    clips 'it'"'"'s Sprachübung' $'a\012b' $'\303\274'

    Args:
        word: any text without NUL; bytes of a file name that are no UTF-8 come as Python decodes them.
        encoding: what the line is printed in.
    """
    if is_shown(word, encoding):
        return shlex.quote(word)
    return f"$'{''.join(_escaped(letter, encoding) for letter in word)}'"


def is_shown(text: str, encoding: str) -> bool:
    """Say whether all letters of a text can be seen, and written in an encoding."""
    return text.isprintable() and text == text.encode(encoding, "replace").decode(encoding)


def _escaped(letter: str, encoding: str) -> str:
    if letter in "\\'":
        return f"\\{letter}"
    if is_shown(letter, encoding):
        return letter
    return "".join(f"\\{byte:03o}" for byte in letter.encode(errors="surrogateescape"))
