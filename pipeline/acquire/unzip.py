"""Unpack a zip safely: only what is wanted, only below the target, no larger than published.

Names in the archive never become paths: each wanted file is written to its path in the published layout, and may have
as many bytes as published. Whatever an honest archive of recordings has no need of makes the whole of it refused.
`pooch.Unzip` unpacks under the names in the archive, and has no limit to what it writes.
"""

import errno
import re
import shutil
import stat
import struct
import zlib
from collections import Counter
from pathlib import Path, PurePath, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from pipeline.acquire.sources import Layout, SourceError

MEMBERS = 50_000  # CREMA-D, the largest, has 7,442 clips in each of four forms
DAMAGED = (BadZipFile, EOFError, NotImplementedError, ValueError, struct.error, zlib.error)
DRIVE = re.compile(r"[A-Za-z]:")
ENCRYPTED = 0x1  # flag bit


def unpack_zip(archive: Path, folder: Path, layout: Layout) -> None:
    """Write the files of a zip that belong to a corpus below ``folder``.

    Raises:
        SourceError: it is no zip, damaged, or holds what no archive of recordings holds.
    """
    try:
        with ZipFile(archive) as zipped:
            members = _checked_members(zipped)
            chosen = layout.choose((path, info.file_size) for path, info in members.items())
            for published, path in chosen.items():
                _extract(zipped, members[path], folder / published, layout.max_bytes(published))
    except (*DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # it is the disk's fault, not the archive's
            raise
        raise SourceError(f"{archive} is {_damage(archive, error)}: fetch it again.") from error


def _checked_members(zipped: ZipFile) -> dict[PurePath, ZipInfo]:
    """Give the files of an archive by path, if all of it is in order."""
    archive, infos = zipped.filename, zipped.infolist()
    if len(infos) > MEMBERS:
        raise SourceError(f"{archive} holds {len(infos):,} members, more than the {MEMBERS:,} allowed: not unpacked.")
    for info in infos:
        if fault := _fault(info):
            raise SourceError(f"{archive} holds {info.orig_filename!r}, {fault}: nothing of it was unpacked.")
    # some programs write backslashes
    found = [(PurePosixPath(info.filename.replace("\\", "/")), info) for info in infos if not info.is_dir()]
    [(name, count)] = Counter(path.as_posix().casefold() for path, _ in found).most_common(1) or [("", 0)]
    if count > 1:
        raise SourceError(f"{archive} holds {name!r} twice, or differing in case only: nothing of it was unpacked.")
    return dict(found)


def _fault(info: ZipInfo) -> str:
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


def _extract(zipped: ZipFile, info: ZipInfo, path: Path, max_bytes: int) -> None:
    """Write one member; zipfile never gives more bytes than it declares."""
    if info.file_size > max_bytes:
        raise SourceError(
            f"{zipped.filename} holds {info.filename!r} with more than the {max_bytes:,} bytes it should have: "
            f"not unpacked."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipped.open(info) as source, path.open("wb") as file:
        shutil.copyfileobj(source, file)


def _damage(archive: Path, error: Exception) -> str:
    """Say what a file is that cannot be unpacked."""
    with archive.open("rb") as file:
        start = file.read(40)
    return f"a damaged zip ({error})" if start.startswith(b"PK") else f"no zip, it begins {start!r}"
