"""Download files with checksums and limits, and unpack zips safely.

pooch writes a file aside, checks it, renames it into its place, tries again after a failure, and leaves alone a file
that is there with its checksum. requests reads the proxies and certificates that the environment names. What pooch has
no word for is ours: a limit to the bytes, several files at once, no second attempt after a plain refusal, one sentence.

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
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import IO
from urllib.parse import urlsplit
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import pooch
import requests
from requests import exceptions
from tqdm import tqdm

from pipeline.acquire.sources import Layout, RemoteFile, SourceError
from pipeline.core import errors

RETRIES = 3  # after an error or a wrong checksum; pooch waits 1, 2 and 3 s before them
TIMEOUT = (10.0, 60.0)  # s, for a connection and for the next byte
AT_ONCE = 8  # files of a corpus that is published file by file
CHUNK = 2**16  # bytes
BUSY = (429, 500, 502, 503, 504)  # answers after which another attempt makes sense
HEADERS = {  # Zenodo slows who gives no name
    "Accept-Encoding": "identity",
    "User-Agent": f"ser-features (pooch {pooch.__version__})",
}
REASONS = {  # the first that fits an error is told
    exceptions.SSLError: "its certificate is not accepted",
    exceptions.ProxyError: "the proxy does not let it through",
    exceptions.ConnectionError: "there is no connection",
    exceptions.Timeout: f"no answer for {TIMEOUT[1]:g} s",
    exceptions.ChunkedEncodingError: "the connection was cut again and again",
}

_progress_bar = partial(tqdm, unit="B", unit_scale=True)
pooch.get_logger().setLevel("WARNING")  # it tells of every file


def download_file(file: RemoteFile, path: Path, *, max_bytes: int = 0, show_progress: bool = False) -> Path:
    """Download a file to ``path``, unless it is there with its checksum, and return ``path``.

    Args:
        file: what.
        path: where; its folder is made if need be.
        max_bytes: of a file whose size nobody has published.
        show_progress: show the bytes that have come, on a terminal only.

    Raises:
        SourceError: the server gives no such file.
    """
    downloader = partial(_download_limited, max_bytes=file.bytes or max_bytes, show_progress=show_progress)
    checksums, urls = {path.name: file.checksum or None}, {path.name: file.url}
    store = pooch.Pooch(path.parent, base_url="", registry=checksums, urls=urls, retry_if_failed=RETRIES)
    try:
        return Path(store.fetch(path.name, downloader=downloader))
    except requests.RequestException as error:  # first: some of them are ValueErrors, too
        raise SourceError(_failure(file.url, error)) from error
    except ValueError as error:
        raise SourceError(
            f"{file.url} does not have the published checksum {file.checksum}: it was damaged on the way or has been "
            f"changed, so it was deleted; try again, and if it stays so, tell us."
        ) from error


def _download_limited(url: str, output_file: str, store: pooch.Pooch, *, max_bytes: int, show_progress: bool) -> None:
    """Be the downloader that `pooch.Pooch.fetch` calls at each attempt; after a SourceError it makes no other."""
    silent = None if show_progress else True  # None: unless on a terminal
    with ExitStack() as stack:
        file = stack.enter_context(Path(output_file).open("wb"))
        bar = stack.enter_context(_progress_bar(total=max_bytes, desc=urlsplit(url).netloc, disable=silent))
        hooks = {"response": partial(_check_answer, stack, url)}
        download = pooch.HTTPDownloader(bar, CHUNK, timeout=TIMEOUT, headers=HEADERS, hooks=hooks)
        download(url, _LimitedFile(file, max_bytes, url), store)


def _check_answer(stack: ExitStack, url: str, answer: requests.Response, **_: object) -> None:
    """Have an answer closed, which pooch does not do after an error, and stop where another attempt is in vain."""
    stack.callback(answer.close)
    if answer.status_code >= 400 and answer.status_code not in BUSY:
        raise SourceError(_refusal(url, answer))


@dataclass(frozen=True)
class _LimitedFile:
    """What pooch writes to: it would read an answer to its end, however long that is."""

    file: IO[bytes]
    max_bytes: int
    url: str

    def write(self, chunk: bytes) -> None:
        if self.file.tell() + len(chunk) > self.max_bytes:
            raise SourceError(f"{self.url} gives more than the {self.max_bytes:,} bytes expected: it is another file.")
        self.file.write(chunk)

    def flush(self) -> None:
        self.file.flush()


def _failure(url: str, error: requests.RequestException) -> str:
    """Say in one sentence why there is no file."""
    if error.response is not None:
        return _refusal(url, error.response)
    reason = next((text for kind, text in REASONS.items() if isinstance(error, kind)), type(error).__name__)
    remedy = "call again when the connection is better, finished files are not downloaded again"
    return f"{url} could not be downloaded, {reason}: {remedy}."


def _refusal(url: str, answer: requests.Response) -> str:
    remedy = "try again later, and if it stays so, tell us that the address has changed"
    return f"{url} answers {answer.status_code} {answer.reason}: {remedy}."


def download_files(wanted: Mapping[Path, RemoteFile], host: str) -> None:
    """Download files of known size to their paths, several at once, and show the progress on a terminal.

    Raises:
        SourceError: one of them could not be downloaded; those that are finished stay.
    """
    total = sum(file.bytes for file in wanted.values())
    with _progress_bar(total=total, desc=host, disable=None) as bar, ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(download_file, file, path): file for path, file in wanted.items()}
        try:
            for future in as_completed(running):
                future.result()
                bar.update(running[future].bytes)
        finally:  # after the first failure, or Ctrl-C, those under way end and no other begins
            pool.shutdown(cancel_futures=True)


def download_kaggle(name: str) -> Path:
    """Download the dataset ``owner/name`` with the user's own account; return the folder where kagglehub has it.

    Raises:
        SettingError: kagglehub is not installed.
        SourceError: Kaggle gives no such dataset to this account.
    """
    with errors.require_extra("kaggle"):
        import kagglehub
    try:
        return Path(kagglehub.dataset_download(name))
    except Exception as error:  # its errors have no common root
        remedy = "see that your Kaggle account has access and its token is where kagglehub looks for it"
        raise SourceError(f"Kaggle did not give {name} ({error}): {remedy}.") from error


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
