"""Unpack a zip safely: only what is wanted, only below the target, no larger than published.

Names in the archive never become paths: each wanted file is written to its place of the published table, and may have
as many bytes as published, counted while they come, so no sum or ratio of sizes has to be guessed. Whatever an honest
archive of recordings has no need of makes the whole of it refused.
"""

import errno
import re
import stat
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePath, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from pipeline.acquire.sources import Shelf, SourceError

MEMBERS = 50_000  # CREMA-D, the largest, has 7,442 clips in each of four forms
CHUNK = 2**18  # bytes
DAMAGED = (BadZipFile, EOFError, NotImplementedError, ValueError, struct.error, zlib.error)
DRIVE = re.compile(r"[A-Za-z]:")
ENCRYPTED = 0x1  # flag bit


def unpack(archive: Path, folder: Path, shelf: Shelf) -> None:
    """Write the files of a zip that have a place on the shelf below ``folder``.

    Raises:
        SourceError: it is no zip, damaged, or holds what no archive of recordings holds.
    """
    try:
        with ZipFile(archive) as zipped:
            members = safe(archive, zipped.infolist())
            chosen = shelf.choose((path, info.file_size) for path, info in members.items())
            for place, path in chosen.items():
                write(archive, zipped, members[path], folder / place, shelf.limit(place))
    except (*DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # it is the disk's fault, not the archive's
            raise
        raise SourceError(f"{archive} is {kind(archive, error)}: fetch it again.") from error


def safe(archive: Path, infos: list[ZipInfo]) -> dict[PurePath, ZipInfo]:
    """Give the files of an archive by path, if all of it is in order."""
    if len(infos) > MEMBERS:
        raise SourceError(f"{archive} holds {len(infos):,} members, more than the {MEMBERS:,} allowed: not unpacked.")
    for info in infos:
        if fault := wrong(info):
            raise SourceError(f"{archive} holds {info.orig_filename!r}, {fault}: nothing of it was unpacked.")
    files: dict[PurePath, ZipInfo] = {path_of(info): info for info in infos if not info.is_dir()}
    if twice := repeated(path_of(info).as_posix() for info in infos if not info.is_dir()):
        raise SourceError(f"{archive} holds {twice!r} twice, or differing in case only: nothing of it was unpacked.")
    return files


def wrong(info: ZipInfo) -> str:
    """Say what is wrong with a member; nothing where all is well."""
    name = info.orig_filename.replace("\\", "/")
    kind = stat.S_IFMT(info.external_attr >> 16)  # of Unix; 0 where the archive was made elsewhere
    faults = {
        "an absolute path": name.startswith("/") or bool(DRIVE.match(name)),
        "a path that leads outside": ".." in name.split("/"),
        "a name with control characters": any(ord(letter) < ord(" ") for letter in name),
        "a link or a device": kind not in {0, stat.S_IFREG, stat.S_IFDIR},
        "which is encrypted": bool(info.flag_bits & ENCRYPTED),
        f"packed by method {info.compress_type}, not by deflate": info.compress_type not in {ZIP_STORED, ZIP_DEFLATED},
    }
    return next((fault for fault, found in faults.items() if found), "")


def path_of(info: ZipInfo) -> PurePosixPath:
    r"""Give the path of a member; some programs write backslashes.

    >>> path_of(ZipInfo("wav\\03a01Fa.wav"))
    PurePosixPath('wav/03a01Fa.wav')
    """
    return PurePosixPath(info.filename.replace("\\", "/"))


def repeated(names: Iterable[str]) -> str:
    """Name the first that comes again, in any case.

    >>> repeated(["a/b", "a/c", "A/b"])
    'A/b'
    """
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            return name
        seen.add(name.casefold())
    return ""


def write(archive: Path, zipped: ZipFile, info: ZipInfo, path: Path, limit: int) -> None:
    """Write one member, counting its bytes: what it declares may be a lie."""
    count = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipped.open(info) as source, path.open("wb") as file:
        while chunk := source.read(CHUNK):
            count += len(chunk)
            if count > limit:
                raise SourceError(
                    f"{archive} holds {info.filename!r} with more than the {limit:,} bytes it should have: "
                    f"nothing of it was kept."
                )
            file.write(chunk)


def kind(archive: Path, error: Exception) -> str:
    """Say what a file is that cannot be unpacked."""
    with archive.open("rb") as file:
        start = file.read(40)
    return f"a damaged zip ({error})" if start.startswith(b"PK") else f"no zip, it begins {start!r}"
