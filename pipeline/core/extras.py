"""The parts that not everybody installs: every sentence about one that is not there is made here, with the remedy."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.errors import SettingError

PACKAGE = Path(__file__).parents[1]
ROOT = PACKAGE.parent
# By the extra of pyproject.toml: what does not work without it. `gpu` lacks nothing that could be missed.
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
# Libraries of the system that a Python package does not always bring along, and the package of Debian that has them.
LIBRARIES: Mapping[str, str] = {"PortAudio": "libportaudio2", "libsndfile": "libsndfile1"}


def command(extra: str) -> str:
    """Write the command that installs an extra, from wherever it is called."""
    line = f"pip install -c constraints.txt -e '.[{extra}]'"
    elsewhere = (ROOT / "constraints.txt").is_file() and not ROOT.samefile(Path.cwd())
    return f"cd {shlex.quote(str(ROOT))} && {line}" if elsewhere else line


@contextmanager
def needed(extra: str) -> Iterator[None]:
    """Say in a sentence that what the block imports is not installed, and which command installs it.

    Raises:
        SettingError: it is not there, or cannot be loaded.
    """
    try:
        yield
    except ImportError as error:
        if is_ours(error):
            raise
        raise missing(extra, error, by=USES[extra]) from error


def missing(extra: str, error: ImportError, *, by: str) -> SettingError:
    """Say what ``by`` needs and cannot import, and the command that installs it."""
    root = error.__cause__ if isinstance(error.__cause__, ImportError) else error  # fsspec says it in its own words
    if isinstance(root, ModuleNotFoundError):
        return SettingError(
            f"{by} needs {(root.name or '').partition('.')[0]}, which is not installed: {command(extra)}"
        )
    again = command(extra).replace("install", "install --force-reinstall", 1)
    return SettingError(f"{by} needs what is installed and cannot be loaded ({first_line(root)}): {again}")


@contextmanager
def system_library(name: str) -> Iterator[None]:
    """Say in a sentence that a library of the system is missing, without which the block imports nothing.

    Raises:
        SettingError: it cannot be loaded.
    """
    try:
        yield
    except OSError as error:
        raise SettingError(
            f"The system's library {name} is missing ({first_line(error)}): on Debian and Ubuntu, "
            f"sudo apt install {LIBRARIES[name]}"
        ) from error


def is_ours(error: ImportError) -> bool:
    """Say whether a module of this package is missing, which no command brings back."""
    return (error.name or "").partition(".")[0] == PACKAGE.name


def first_line(error: Exception) -> str:
    """Give the first line of what an error says."""
    return str(error).strip().partition("\n")[0]
