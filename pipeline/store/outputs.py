"""Places that a person names for results: only what we wrote there before is replaced, and never what is being read."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline import paths
from pipeline.errors import SettingError
from pipeline.store import files


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
    paths.look(files.beside(path.absolute()))  # its name may be too long


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
    with files.aside(output.path) as part:
        yield part
        refuse_taken(output, sources)


def begins(path: Path, start: bytes) -> bool:
    """Say whether a file begins with some bytes."""
    with path.open("rb") as file:
        return file.read(len(start)) == start
