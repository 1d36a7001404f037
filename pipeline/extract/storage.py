"""Where segments are stored: a local folder, and optionally a shared storage such as ``s3://bucket/ser``.

Files are memory-mapped from the folder; those that only the shared storage has are downloaded to it first.

For each shard there is a note in the clip cache: where it is, on which machine, and from which segments it was read.
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

from pipeline.core import errors, files, paths
from pipeline.core.errors import SerError, StoreError, warn_once, was_warned

S3 = ("s3://", "s3a://")
LOCK_SECONDS = 600  # s to wait for a lock: longer than a batch takes; the lock of a machine that died is never released


@dataclass(frozen=True)
class Storage:
    """A folder of partitions, each a folder of files. Without a URL it is in the cache folder of the user."""

    url: str = ""

    @property
    def remote(self) -> bool:
        """Whether there is a shared storage besides the local folder."""
        return "://" in self.url

    @property
    def folder(self) -> Path:
        """The folder on this machine."""
        if self.url and not self.remote:
            return Path(self.url)
        return self.mirror if self.url else files.cache_folder() / "clips"

    @property
    def mirror(self) -> Path:
        """The folder in which this machine keeps its own part of a shared storage."""
        return files.cache_folder() / "mirror" / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    @property
    def roots(self) -> list[Path]:
        """The folder, followed by those in which this user keeps what may not be written there."""
        if self.url and not self.remote:
            return list(dict.fromkeys([self.folder, *files.cache_locations(self.mirror)]))
        return files.cache_locations(self.folder)

    def names(self, partition: str) -> set[str]:
        """List the files of a partition, here and in the shared storage."""
        found = {name for root in self.roots for name in self.listed(root / partition)}
        return {name for name in found | self.shared_names(partition) if not name.endswith(".tmp")}

    def listed(self, folder: Path) -> list[str]:
        """List a folder; if this user may not read it, it is skipped with a warning."""
        try:
            return [path.name for path in folder.iterdir()]
        except (FileNotFoundError, NotADirectoryError):  # nothing is stored yet, or it was deleted meanwhile
            return []
        except OSError as error:
            if error.errno not in files.WRITE_ADVICE:
                raise
            warn_once(str(folder), f"{folder} is skipped: it cannot be listed ({error.strerror}).")
            return []

    def shared_names(self, partition: str) -> set[str]:
        """List the files of a partition in the shared storage."""
        if not self.remote:
            return set()
        with storage_errors(self.url):
            system, root = filesystem(self.url)
            system.invalidate_cache()
            try:
                return {path.rsplit("/", 1)[-1] for path in system.ls(f"{root}/{partition}", detail=False)}
            except FileNotFoundError:
                return set()

    def put(self, partition: str, name: str, data: Any) -> None:
        """Write a file atomically on this machine, then to the shared storage.

        Raises:
            StoreError: the disk is full, or the shared storage does not exist.
        """
        self.write(partition, name, data)
        self.upload(partition, name)

    def write(self, partition: str, name: str, data: Any) -> None:
        """Write a file on this machine atomically, into the first folder that is writable.

        Raises:
            StoreError: none is.
        """
        roots = self.roots
        for root, fallback in pairwise(roots):
            try:
                _write_file(root / partition / name, data)
                return
            except StoreError as error:
                if not self.is_spared(error):
                    raise self.stuck(error, root) from error
                self.tell_unshared(root / partition / name, fallback, error)
        try:
            _write_file(roots[-1] / partition / name, data)
        except StoreError as error:
            raise self.stuck(error, roots[-1]) from error

    def is_spared(self, error: StoreError) -> bool:
        """Say whether a file that cannot be written to a folder of several users may be kept elsewhere instead."""
        shared = self.url and not self.remote
        misplaced = files.error_number(error) in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EFBIG)
        return not misplaced if shared else files.error_number(error) in files.PERMISSION_ERRORS

    def stuck(self, error: StoreError, root: Path) -> StoreError:
        """Return the error for a file that can be written nowhere."""
        setting = "SER_CACHE_DIR" if self.remote or str(root) != self.url else "store.url, SER_STORE_URL"
        return StoreError(
            f"{error} Finished work is saved: {files.write_advice(error)}, or move the clip cache ({setting}), "
            "and run again."
        )

    def tell_unshared(self, path: Path, fallback: Path, error: StoreError) -> None:
        """Warn once that a folder does not accept files: why, and where they are instead."""
        reason = getattr(error.__cause__, "strerror", None) or error
        shared = self.url and not self.remote
        where = f"{fallback}, for you alone. To share them" if shared else f"{fallback}. To have them there"
        then = "; the next run then does" if shared else ""
        sentence = f"such files are kept in {where}, {files.write_advice(error)}{then}."
        warn_once(f"{path.parents[1]} {reason}", f"{path} could not be written ({reason}): {sentence}")

    def upload(self, partition: str, name: str) -> None:
        """Copy a file of this machine to the shared storage, if there is one and it is writable.

        Raises:
            StoreError: it does not exist.
        """
        if not self.remote or was_warned(self.url):
            return
        try:
            with storage_errors(self.url):
                system, root = filesystem(self.url)
                system.pipe_file(f"{root}/{partition}/{name}", self.path(partition, name).read_bytes())
        except FileNotFoundError as error:  # the bucket does not exist
            raise StoreError(f"{_unusable_storage(self.url, error)} {self.waiting}") from error
        except StoreError as error:
            warn_once(self.url, f"{error} {self.waiting}")

    @property
    def waiting(self) -> str:
        """The sentence that nothing is lost if the shared storage is not writable."""
        return f"What is made is kept in {self.folder}: the next run sends it."

    def share(self, partition: str, names: Iterable[str]) -> None:
        """Copy those of the given files of this machine that the shared storage lacks to it.

        Raises:
            StoreError: the shared storage cannot be reached.
        """
        wanted = set(names) if self.url else set()
        lacking = wanted - (self.shared_names(partition) if self.remote else set(self.listed(self.folder / partition)))
        for name in sorted(lacking) if wanted else ():
            if self.remote:
                self.upload(partition, name)
            elif not self.hand_over(partition, name):
                break

    def hand_over(self, partition: str, name: str) -> bool:
        """Copy a file of this user into the folder of several users; return whether it is writable."""
        source = self.path(partition, name)
        try:
            _write_file(self.folder / partition / name, source.read_bytes())
        except StoreError as error:
            self.tell_unshared(self.folder / partition / name, source.parents[1], error)
            return False
        except FileNotFoundError:  # deleted since it was listed
            return True
        return True

    def copies(self, partition: str, name: str) -> list[Path]:
        """List the copies of a file on this machine that this user may read."""
        paths = [root / partition / name for root in self.roots]
        return [path for path in paths if files.has_access(path, os.R_OK)]

    def path(self, partition: str, name: str, *, excluding: Collection[Path] = ()) -> Path:
        """Return the path of a file on this machine; it is downloaded from the shared storage if need be.

        The path may not exist: another process may have deleted the file since it was listed.

        Args:
            partition: the folder of the file.
            name: of the file.
            excluding: copies that cannot be used.

        Raises:
            StoreError: the shared storage cannot be reached, or the disk is full.
        """
        for attempt in range(2):
            if found := [path for path in self.copies(partition, name) if path not in excluding]:
                return found[0]
            if self.remote and not attempt:
                with suppress(FileNotFoundError):
                    self.write(partition, name, self.fetch(partition, name))
        return self.roots[-1] / partition / name

    def fetch(self, partition: str, name: str) -> bytes:
        """Read a file of the shared storage."""
        with storage_errors(self.url):
            system, root = filesystem(self.url)
            return bytes(system.cat_file(f"{root}/{partition}/{name}"))

    def remove_shared(self, partition: str, name: str) -> None:
        """Delete a file from the shared storage.

        Raises:
            StoreError: that is not allowed, or it cannot be reached.
        """
        with storage_errors(self.url), suppress(FileNotFoundError):
            system, root = filesystem(self.url)
            system.rm_file(f"{root}/{partition}/{name}")

    @contextmanager
    def lock(self, name: str, *, wait: bool = True) -> Iterator[bool]:
        """Lock work against other processes of this machine; the lock ends with the process, even if it is killed.

        If another process holds it, ``wait``, or yield False. It only avoids double work: if locking is impossible, or
        takes too long, the block runs without a lock.
        """
        held = None
        for root in self.roots:
            lock = FileLock(root / "locks" / f"{name}.lock", timeout=LOCK_SECONDS if wait else 0)
            try:
                held = lock.acquire()
                break
            except Timeout:
                if not wait:
                    yield False
                    return
                warn_once(lock.lock_file, f"{lock.lock_file} was held for {LOCK_SECONDS} s: work goes on without it.")
                break
            except (OSError, NotImplementedError):  # of another user, or on a file system without locks
                continue
        with held or nullcontext():
            yield True


@dataclass(frozen=True, kw_only=True)
class StorageSettings:
    """How features are kept, which never affects their values: no field of this class may reach a key."""

    url: str | None = None  # a folder or an fsspec URL that several machines share; null for the user's cache folder

    @property
    def storage(self) -> Storage:
        """The storage of the clip cache: ``SER_STORE_URL`` takes precedence over params.yaml."""
        url = os.environ.get("SER_STORE_URL") or self.url or ""
        return Storage(url if "://" in url or not url else os.path.realpath(paths.parse_path(url)))


def _write_file(path: Path, data: Any) -> None:
    """Write a file atomically.

    Raises:
        StoreError: it cannot be written; the system's own error is its cause.
    """
    with files.atomic_write(path) as part:
        part.write_bytes(data)


def filesystem(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path on it."""
    import fsspec  # late: most users never need it

    system, root = fsspec.url_to_fs(url)
    return system, str(root).rstrip("/")


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Convert whatever error the library of a shared storage raises to `StoreError`.

    Raises:
        StoreError: something went wrong in the block.
        FileNotFoundError: the file is not there.
    """
    try:
        yield
    except (SerError, FileNotFoundError):
        raise
    except ImportError as error:
        raise _missing_package(url, error) from error
    except Exception as error:
        raise _unusable_storage(url, error) from error


def _missing_package(url: str, error: ImportError) -> SerError:
    """Return the error that names the package a shared storage needs."""
    if url.startswith(S3):
        return errors.missing_extra_error("cluster", error, by=f"store.url {url}")
    return StoreError(f"store.url {url} needs a package that is none of this project's extras: {error}.")


def _unusable_storage(url: str, error: Exception) -> StoreError:
    return StoreError(
        f"store.url {url} cannot be used ({type(error).__name__}: {error}): check the address and your credentials."
    )


REFERENCES = "references"
FOREIGN_DAYS = 90  # days for which a note of another machine counts: whether its shard still exists cannot be seen


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A note of which segments a shard was read from."""

    shard: str  # absolute path
    machine: str
    written: float  # s since 1970
    drawer: str  # its partition
    segments: list[str]

    @property
    def alive(self) -> bool:
        """Whether the shard exists, or may exist on another machine."""
        if self.machine == platform.node():
            return Path(self.shard).exists()
        return time.time() - self.written < FOREIGN_DAYS * 86_400


def write_references(storage: Storage, made: Mapping[Path, tuple[str, Sequence[str]]]) -> None:
    """Note for each shard its partition and segments; a newer note replaces an older one.

    If the storage is read-only or full, only a warning is printed, since the shard is not affected.
    """
    for path, (partition, names) in made.items():
        shard, machine = str(path.absolute()), platform.node()
        note = Reference(shard=shard, machine=machine, written=time.time(), drawer=partition, segments=list(names))
        name = hashlib.sha256(f"{machine} {shard}".encode()).hexdigest()[:32]
        try:
            storage.put(REFERENCES, f"{name}.json", json.dumps(asdict(note)).encode())
        except StoreError as error:
            print(f"{path} is whole, but cleaning up will not know what it was made of: {error}", file=sys.stderr)


def read_references(storage: Storage) -> dict[str, Reference]:
    """Read all notes by their names; unreadable ones are left out."""
    found = {}
    for name in sorted(storage.names(REFERENCES)):
        try:
            found[name] = Reference(**json.loads(storage.path(REFERENCES, name).read_bytes()))
        except (OSError, ValueError, TypeError):
            continue
    return found
