"""Optional dependencies: if one is missing, the message names the command that installs it."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.errors import SettingError

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
