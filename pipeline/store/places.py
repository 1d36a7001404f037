"""Where segments lie: a folder, and a shared place behind it that fsspec reaches, such as ``s3://bucket/ser``.

Files are read from the folder alone, mapped into memory; what only the shared place has is fetched into it first.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline import paths
from pipeline.errors import SerError, StoreError
from pipeline.store import files

KEPT = "What was finished is kept: make room, or move the clip cache (SER_CACHE_DIR, store.url), and run again."


@dataclass(frozen=True, kw_only=True)
class Store:
    """How features are kept, never what they are: no field of this class may reach a key."""

    url: str | None = None  # a folder or an fsspec URL that several machines share; null for the user's cache folder

    @property
    def place(self) -> "Place":
        """Where the clip cache is: ``SER_STORE_URL`` says it before params.yaml does."""
        url = os.environ.get("SER_STORE_URL") or self.url or ""
        return Place(url if "://" in url or not url else os.path.realpath(paths.named(url)))


@dataclass(frozen=True)
class Place:
    """A folder of folders of files. Without a URL it is the user's cache folder, on each machine its own."""

    url: str = ""

    @property
    def remote(self) -> bool:
        """Whether there is a shared place behind the folder."""
        return "://" in self.url

    @property
    def folder(self) -> Path:
        """The folder on this machine."""
        if self.remote:
            return files.cache_folder() / "mirror" / hashlib.sha256(self.url.encode()).hexdigest()[:16]
        return Path(self.url) if self.url else files.cache_folder() / "clips"

    def names(self, drawer: str) -> set[str]:
        """List the files of a drawer, here and in the shared place."""
        found: set[str] = set()
        with suppress(FileNotFoundError, NotADirectoryError):  # nothing was kept yet, or cleaning up was quicker
            found = {path.name for path in (self.folder / drawer).iterdir()}
        return {name for name in found | self.shared_names(drawer) if not name.endswith(".tmp")}

    def shared_names(self, drawer: str) -> set[str]:
        """List the files of a drawer in the shared place."""
        if not self.remote:
            return set()
        with reached(self.url):
            system, root = filesystem(self.url)
            system.invalidate_cache()
            try:
                return {path.rsplit("/", 1)[-1] for path in system.ls(f"{root}/{drawer}", detail=False)}
            except FileNotFoundError:
                return set()

    def put(self, drawer: str, name: str, data: Any) -> None:
        """Keep a file, whole or not at all: in the folder first, whatever becomes of the shared place.

        Raises:
            StoreError: the disk is full, or the shared place cannot be reached.
        """
        self.write(drawer, name, data)
        self.send(drawer, name)

    def write(self, drawer: str, name: str, data: Any) -> None:
        """Write a file of the folder, whole or not at all.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        try:
            with files.aside(self.folder / drawer / name) as part:
                part.write_bytes(data)
        except StoreError as error:
            raise StoreError(f"{error} {KEPT}") from error

    def send(self, drawer: str, name: str) -> None:
        """Put a file of the folder into the shared place, if there is one.

        Raises:
            StoreError: it cannot be reached.
        """
        if not self.remote:
            return
        try:
            with reached(self.url):
                system, root = filesystem(self.url)
                system.pipe_file(f"{root}/{drawer}/{name}", (self.folder / drawer / name).read_bytes())
        except (StoreError, FileNotFoundError) as error:
            reason = error if isinstance(error, StoreError) else unusable(self.url, error)  # there is no such bucket
            raise StoreError(f"{reason} What was made is in {self.folder}: the next run sends it.") from error

    def share(self, drawer: str, names: Iterable[str]) -> None:
        """Send those of some files of the folder that the shared place lacks.

        Raises:
            StoreError: it cannot be reached.
        """
        wanted = set(names) if self.remote else set()
        for name in sorted(wanted - self.shared_names(drawer)) if wanted else ():
            self.send(drawer, name)

    def path(self, drawer: str, name: str) -> Path:
        """Give the path of a file in the folder, fetched from the shared place where it is not there yet.

        Nothing is there if it is in neither: another process may have deleted it since it was listed.

        Raises:
            StoreError: the shared place cannot be reached, or the disk is full.
        """
        target = self.folder / drawer / name
        if self.remote and not target.exists():
            with suppress(FileNotFoundError):
                self.write(drawer, name, self.fetch(drawer, name))
        return target

    def fetch(self, drawer: str, name: str) -> bytes:
        """Read a file of the shared place."""
        with reached(self.url):
            system, root = filesystem(self.url)
            return bytes(system.cat_file(f"{root}/{drawer}/{name}"))

    def remove(self, drawer: str, name: str, *, shared: bool = False) -> None:
        """Delete a file from the folder, and from the shared place if asked to."""
        (self.folder / drawer / name).unlink(missing_ok=True)
        if self.remote and shared:
            with reached(self.url), suppress(FileNotFoundError):
                system, root = filesystem(self.url)
                system.rm_file(f"{root}/{drawer}/{name}")

    @contextmanager
    def lock(self, name: str, *, patient: bool = True) -> Iterator[bool]:
        """Keep other processes of this machine from making the same thing; it ends with the process, killed or not.

        Where another has it, wait for it, or without patience give False.
        """
        lock = FileLock(self.folder / "locks" / f"{name}.lock", blocking=patient)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        except OSError as error:
            raise StoreError(f"{lock.lock_file} could not be written: {error.strerror or error}. {KEPT}") from error
        with lock:
            lock.release()  # the block's own hold goes on
            yield True


def filesystem(url: str) -> tuple[Any, str]:
    """Give the file system of a URL and the path on it."""
    import fsspec  # here, because most users never need it

    system, root = fsspec.url_to_fs(url)
    return system, str(root).rstrip("/")


@contextmanager
def reached(url: str) -> Iterator[None]:
    """Say in a sentence that a shared place cannot be reached, whatever its library raises.

    Raises:
        StoreError: something went wrong in the block.
        FileNotFoundError: what was asked for is not there.
    """
    try:
        yield
    except (SerError, FileNotFoundError):
        raise
    except ImportError as error:
        raise StoreError(
            f"store.url {url} needs a package that is not installed ({error}): pip install '.[cluster]'."
        ) from error
    except Exception as error:
        raise unusable(url, error) from error


def unusable(url: str, error: Exception) -> StoreError:
    """Say that a shared place cannot be used."""
    return StoreError(
        f"store.url {url} cannot be used ({type(error).__name__}: {error}): check the address and your credentials."
    )
