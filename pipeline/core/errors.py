"""The errors a user can mend, each one sentence with the value and the remedy; missing extras; warnings given once.

The command line and the stages print these errors in one line. Bugs are not wrapped: they keep their traceback.
"""

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class SerError(Exception):
    """Base class of all errors that the user, not the programmer, can fix."""


class SettingError(SerError):
    """An invalid value in params.yaml or on the command line."""


class UnknownNameError(SettingError):
    """A name that is not among the known ones.

    >>> print(UnknownNameError("model.arch", "cnm", {"cnn", "crnn"}))
    model.arch 'cnm' is unknown, did you mean 'cnn'? Known: cnn, crnn.
    """

    def __init__(self, what: str, name: object, known: Iterable[str], remedy: str = "") -> None:
        super().__init__(what, str(name), sorted(known), remedy)  # all arguments, so that the error can be pickled

    def __str__(self) -> str:
        what, name, known, remedy = self.args
        close = get_close_matches(name, known, n=1)
        hint = f", did you mean {close[0]!r}?" if close else "."
        return f"{what} {name!r} is unknown{hint} Known: {', '.join(known)}. {remedy}".rstrip()


class SplitError(SettingError):
    """Clips that cannot be split as requested: ``cause`` says what is missing, ``remedy`` which clips to add.

    >>> print(SplitError("the data hold 1 speaker", "add another"))
    the data hold 1 speaker: add another.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)  # both, so that the error can be pickled

    def __str__(self) -> str:
        cause, remedy = self.args
        return f"{cause}: {remedy}."


class CorpusError(SerError):
    """A corpus folder that is missing, empty or too damaged to use."""


class AudioError(SerError):
    """A file without usable audio. ``status`` is the reason as recorded in the manifest."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(status, message)  # both, so that the error can be pickled
        self.status = status

    def __str__(self) -> str:
        return str(self.args[1])


class StoreError(SerError):
    """An artefact on disk that is missing, damaged or inconsistent with the others."""


_warned: set[str] = set()
_collected: list[dict[str, str]] = []


def warn_once(subject: str, message: str) -> None:
    """Print a warning to standard error, once per process for each subject."""
    if was_warned(subject):
        return
    if _collected:
        _collected[-1][subject] = message
    else:
        _warned.add(subject)
        print(message, file=sys.stderr, flush=True)


def was_warned(subject: str) -> bool:
    """Check whether a warning was already given for a subject."""
    return subject in (_collected[-1] if _collected else _warned)


@contextmanager
def collect_warnings() -> Iterator[dict[str, str]]:
    """Collect the warnings of a block instead of printing them: a worker returns them to the main process."""
    _collected.append({})
    try:
        yield _collected[-1]
    finally:
        _collected.pop()


ROOT = Path(__file__).parents[2]
# What does not work without each extra of pyproject.toml. `gpu` is absent: nothing fails without it.
USES: Mapping[str, str] = {
    "jax": "KERAS_BACKEND=jax",
    "torch": "KERAS_BACKEND=torch",
    "serve": "The web page",
    "export": "An exported bundle",
    "listen": "Listening to a microphone",
    "kaggle": "--source kaggle",
    "cluster": "A cluster, and a store on S3,",
    "dev": "The benchmark",
}
# System libraries that a Python package does not always include, and the Debian package of each.
SYSTEM_LIBRARIES: Mapping[str, str] = {"PortAudio": "libportaudio2", "libsndfile": "libsndfile1"}


def install_command(extra: str) -> str:
    """Return the command that installs an extra from the current folder."""
    line = f"pip install -c constraints.txt -e '.[{extra}]'"
    elsewhere = (ROOT / "constraints.txt").is_file() and not ROOT.samefile(Path.cwd())
    return f"cd {shlex.quote(str(ROOT))} && {line}" if elsewhere else line


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """Replace the ImportError of a block by a message with the command that installs the extra.

    Raises:
        SettingError: the package is missing or cannot be loaded.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] == __name__.partition(".")[0]:  # a bug here: no command helps
            raise
        raise missing_extra_error(extra, error, by=USES[extra]) from error


def missing_extra_error(extra: str, error: ImportError, *, by: str) -> SettingError:
    """Report that ``by`` needs a package that cannot be imported, and the command that installs it."""
    root = error.__cause__ if isinstance(error.__cause__, ImportError) else error  # fsspec wraps it
    if isinstance(root, ModuleNotFoundError):
        return SettingError(
            f"{by} needs {(root.name or '').partition('.')[0]}, which is not installed: {install_command(extra)}"
        )
    again = install_command(extra).replace("install", "install --force-reinstall", 1)
    return SettingError(f"{by} needs what is installed and cannot be loaded ({_first_line(root)}): {again}")


@contextmanager
def require_system_library(name: str) -> Iterator[None]:
    """Replace the OSError of an import whose system library is missing by a message with the remedy.

    Raises:
        SettingError: the library cannot be loaded.
    """
    try:
        yield
    except OSError as error:
        raise SettingError(
            f"The system's library {name} is missing ({_first_line(error)}): on Debian and Ubuntu, "
            f"sudo apt install {SYSTEM_LIBRARIES[name]}"
        ) from error


def _first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return str(error).strip().partition("\n")[0]
