"""Where segments are stored: a local folder, and behind it a shared place such as ``s3://bucket/ser``.

Files are read from the folder alone, mapped into memory; what only the shared place has is fetched into it first.

Each shard leaves a note in the clip cache: where it is, on which machine, and the segments it was read from.
"""

import errno
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline.core import extras, files, paths
from pipeline.core.errors import SerError, StoreError, warn_once, was_warned

S3 = ("s3://", "s3a://")
WAIT = 600  # s for which a lock is waited for: longer than a batch takes, and no holder on a machine that died ends it


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
        if self.url and not self.remote:
            return Path(self.url)
        return self.mirror if self.url else files.cache_folder() / "clips"

    @property
    def mirror(self) -> Path:
        """Where this machine keeps its own part of a shared place."""
        return files.cache_folder() / "mirror" / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    @property
    def roots(self) -> list[Path]:
        """The folder, and behind it those in which this user keeps what may not be written there."""
        if self.url and not self.remote:
            return list(dict.fromkeys([self.folder, *files.homes(self.mirror)]))
        return files.homes(self.folder)

    def names(self, drawer: str) -> set[str]:
        """List the files of a drawer, here and in the shared place."""
        found = {name for root in self.roots for name in self.listed(root / drawer)}
        return {name for name in found | self.shared_names(drawer) if not name.endswith(".tmp")}

    def listed(self, folder: Path) -> list[str]:
        """List a folder; what this user may not look into is passed over."""
        try:
            return [path.name for path in folder.iterdir()]
        except (FileNotFoundError, NotADirectoryError):  # nothing was kept yet, or cleaning up was quicker
            return []
        except OSError as error:
            if error.errno not in files.ADVICE:
                raise
            warn_once(str(folder), f"{folder} is passed over: it cannot be listed ({error.strerror}).")
            return []

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
        """Keep a file, whole or not at all: on this machine first, whatever becomes of the shared place.

        Raises:
            StoreError: the disk is full, or there is no such shared place.
        """
        self.write(drawer, name, data)
        self.send(drawer, name)

    def write(self, drawer: str, name: str, data: Any) -> None:
        """Write a file on this machine, whole or not at all: into the first of the folders that lets it be written.

        Raises:
            StoreError: none does.
        """
        roots = self.roots
        for root, behind in pairwise(roots):
            try:
                write_shared(root / drawer / name, data)
                return
            except StoreError as error:
                if not self.is_spared(error):
                    raise self.stuck(error, root) from error
                self.tell_unshared(root / drawer / name, behind, error)
        try:
            write_shared(roots[-1] / drawer / name, data)
        except StoreError as error:
            raise self.stuck(error, roots[-1]) from error

    def is_spared(self, error: StoreError) -> bool:
        """Say whether a file that cannot be written to a folder of several users may as well be kept elsewhere."""
        shared = self.url and not self.remote
        misplaced = files.error_number(error) in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EFBIG)
        return not misplaced if shared else files.error_number(error) in files.RIGHTS

    def stuck(self, error: StoreError, root: Path) -> StoreError:
        """Say what to do where a file can be written nowhere."""
        setting = "SER_CACHE_DIR" if self.remote or str(root) != self.url else "store.url, SER_STORE_URL"
        return StoreError(
            f"{error} What was finished is kept: {files.write_advice(error)}, or move the clip cache ({setting}), "
            "and run again."
        )

    def tell_unshared(self, path: Path, behind: Path, error: StoreError) -> None:
        """Say once of a folder that it does not take files, where they are instead, and why."""
        reason = getattr(error.__cause__, "strerror", None) or error
        shared = self.url and not self.remote
        where = f"{behind}, for you alone. To share them" if shared else f"{behind}. To have them there"
        then = "; the next run then does" if shared else ""
        sentence = f"such files are kept in {where}, {files.write_advice(error)}{then}."
        warn_once(f"{path.parents[1]} {reason}", f"{path} could not be written ({reason}): {sentence}")

    def send(self, drawer: str, name: str) -> None:
        """Put a file of this machine into the shared place, if there is one and it lets it be written.

        Raises:
            StoreError: there is no such place.
        """
        if not self.remote or was_warned(self.url):
            return
        try:
            with reached(self.url):
                system, root = filesystem(self.url)
                system.pipe_file(f"{root}/{drawer}/{name}", self.path(drawer, name).read_bytes())
        except FileNotFoundError as error:  # there is no such bucket
            raise StoreError(f"{unusable(self.url, error)} {self.waiting}") from error
        except StoreError as error:
            warn_once(self.url, f"{error} {self.waiting}")

    @property
    def waiting(self) -> str:
        """Say that nothing is lost where a shared place takes nothing."""
        return f"What is made is kept in {self.folder}: the next run sends it."

    def share(self, drawer: str, names: Iterable[str]) -> None:
        """Give those of some files of this machine to others that they lack.

        Raises:
            StoreError: the shared place cannot be reached.
        """
        wanted = set(names) if self.url else set()
        lacking = wanted - (self.shared_names(drawer) if self.remote else set(self.listed(self.folder / drawer)))
        for name in sorted(lacking) if wanted else ():
            if self.remote:
                self.send(drawer, name)
            elif not self.hand_over(drawer, name):
                break

    def hand_over(self, drawer: str, name: str) -> bool:
        """Put a copy of what this user kept apart into a folder of several users; say whether it could be written."""
        source = self.path(drawer, name)
        try:
            write_shared(self.folder / drawer / name, source.read_bytes())
        except StoreError as error:
            self.tell_unshared(self.folder / drawer / name, source.parents[1], error)
            return False
        except FileNotFoundError:  # it was deleted since it was listed
            return True
        return True

    def copies(self, drawer: str, name: str) -> list[Path]:
        """Find a file in the folders of this machine, as far as this user may read it."""
        paths = [root / drawer / name for root in self.roots]
        return [path for path in paths if files.is_allowed(path, os.R_OK)]

    def path(self, drawer: str, name: str, *, but: Collection[Path] = ()) -> Path:
        """Give the path of a file on this machine, fetched from the shared place where it is not there yet.

        Nothing is there if it is in neither: another process may have deleted it since it was listed.

        Args:
            drawer: where it lies.
            name: of the file.
            but: copies of it that are no use.

        Raises:
            StoreError: the shared place cannot be reached, or the disk is full.
        """
        for attempt in range(2):
            if found := [path for path in self.copies(drawer, name) if path not in but]:
                return found[0]
            if self.remote and not attempt:
                with suppress(FileNotFoundError):
                    self.write(drawer, name, self.fetch(drawer, name))
        return self.roots[-1] / drawer / name

    def fetch(self, drawer: str, name: str) -> bytes:
        """Read a file of the shared place."""
        with reached(self.url):
            system, root = filesystem(self.url)
            return bytes(system.cat_file(f"{root}/{drawer}/{name}"))

    def remove_shared(self, drawer: str, name: str) -> None:
        """Delete a file from the shared place.

        Raises:
            StoreError: that is not allowed, or it cannot be reached.
        """
        with reached(self.url), suppress(FileNotFoundError):
            system, root = filesystem(self.url)
            system.rm_file(f"{root}/{drawer}/{name}")

    @contextmanager
    def lock(self, name: str, *, patient: bool = True) -> Iterator[bool]:
        """Keep other processes of this machine from making the same thing; it ends with the process, killed or not.

        Where another has it, wait for it, or without patience give False. It only spares work: where there can be no
        lock, and where the wait is too long, go on without.
        """
        held = None
        for root in self.roots:
            lock = FileLock(root / "locks" / f"{name}.lock", timeout=WAIT if patient else 0)
            try:
                held = lock.acquire()
                break
            except Timeout:
                if not patient:
                    yield False
                    return
                warn_once(lock.lock_file, f"{lock.lock_file} was held for {WAIT} s: it is not waited for any longer.")
                break
            except (OSError, NotImplementedError):  # of another user, in a folder of another, on a disk without locks
                continue
        with held or nullcontext():
            yield True


def write_shared(path: Path, data: Any) -> None:
    """Write a file, whole or not at all.

    Raises:
        StoreError: it cannot be written; the system's own error is its cause.
    """
    with files.atomic_write(path) as part:
        part.write_bytes(data)


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
        raise lacking(url, error) from error
    except Exception as error:
        raise unusable(url, error) from error


def lacking(url: str, error: ImportError) -> SerError:
    """Say which package a shared place needs."""
    if url.startswith(S3):
        return extras.missing("cluster", error, by=f"store.url {url}")
    return StoreError(f"store.url {url} needs a package that is none of this project's extras: {error}.")


def unusable(url: str, error: Exception) -> StoreError:
    """Say that a shared place cannot be used."""
    return StoreError(
        f"store.url {url} cannot be used ({type(error).__name__}: {error}): check the address and your credentials."
    )


DRAWER = "references"
FOREIGN = 90  # days a note of another machine counts: from here nobody sees whether its shard is still there


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One note."""

    shard: str  # absolute path
    machine: str
    written: float  # s since 1970
    drawer: str
    segments: list[str]

    @property
    def alive(self) -> bool:
        """Whether the shard is still there, or may be, on another machine."""
        if self.machine == platform.node():
            return Path(self.shard).exists()
        return time.time() - self.written < FOREIGN * 86_400


def write_references(place: Place, made: Mapping[Path, tuple[str, Sequence[str]]]) -> None:
    """Note of each shard the drawer and the segments it was made of; a newer note replaces an older.

    A place that can only be read, or is full, makes no shard worse: that there is no note is said, no more.
    """
    for path, (drawer, names) in made.items():
        shard, machine = str(path.absolute()), platform.node()
        note = Reference(shard=shard, machine=machine, written=time.time(), drawer=drawer, segments=list(names))
        name = hashlib.sha256(f"{machine} {shard}".encode()).hexdigest()[:32]
        try:
            place.put(DRAWER, f"{name}.json", json.dumps(asdict(note)).encode())
        except StoreError as error:
            print(f"{path} is whole, but cleaning up will not know what it was made of: {error}", file=sys.stderr)


def read_references(place: Place) -> dict[str, Reference]:
    """All notes by their names; one that cannot be read is left out."""
    found = {}
    for name in sorted(place.names(DRAWER)):
        try:
            found[name] = Reference(**json.loads(place.path(DRAWER, name).read_bytes()))
        except (OSError, ValueError, TypeError):
            continue
    return found
