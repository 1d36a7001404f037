"""Download files with checksums and limits, and whole corpora from their sources.

pooch writes a file aside, checks it, renames it into its place, tries again after a failure, and leaves alone a file
that is there with its checksum. requests reads the proxies and certificates that the environment names. What pooch has
no word for is ours: a limit to the bytes, several files at once, no second attempt after a plain refusal, one sentence.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import quote, urljoin, urlsplit

import pandas as pd
import pooch
import requests
from requests import exceptions
from tqdm import tqdm

from pipeline.acquire import verify
from pipeline.acquire.sources import Layout, RemoteFile, Source, SourceError
from pipeline.acquire.unzip import unpack_zip
from pipeline.core import errors, files
from pipeline.corpora import checksums, folders
from pipeline.corpora.info import CorpusInfo

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


LIST_BYTES = 2**26  # that the list of files of a Dataverse may have


@dataclass(frozen=True, kw_only=True)
class Request:
    """A corpus to fetch, from where, and into which folder."""

    corpus: str
    folder: Path
    source: Source
    archive: Path | None = None  # a zip that the user has downloaded
    kaggle: bool = False

    @property
    def page(self) -> CorpusInfo:
        """The page of the corpus."""
        return folders.corpus_info(self.corpus)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The published files, see `checksums.table`."""
        return checksums.checksum_table(self.corpus)

    @cached_property
    def layout(self) -> Layout:
        """The published files as a layout."""
        return Layout(dict(zip(self.table["path"], self.table["bytes"], strict=True)), self.source.texts)

    @property
    def total(self) -> int:
        """Bytes of all published files."""
        return int(self.table["bytes"].sum())

    def sibling(self, ending: str) -> Path:
        """Name a path in the parent of the folder: ``.part`` for the work, ``.licence.txt`` for the licence."""
        folder = self.folder.absolute()
        return folder.with_name(f"{folder.name}{ending}")

    @property
    def work(self) -> Path:
        """The folder of what is under way."""
        return self.sibling(".part")


def download_corpus(request: Request) -> Path:
    """Download all files of a corpus, each as published, into a folder below ``request.work``, and return that.

    Raises:
        SourceError: no source gave the whole corpus; finished files stay for the next time.
    """
    source = request.source
    if request.archive:
        return _unpack_archive(request, request.archive, str(request.archive))
    if request.kaggle:
        return _copy_from_kaggle(request)
    if source.archives:
        return _try_addresses(source.archives, partial(_download_archive, request))
    if source.tree:
        return _download_each(request, _tree_files(request.table, source.tree), source.tree)
    return _download_each(request, _dataverse_files(request, source.dataverse), source.dataverse)


def _try_addresses(addresses: Sequence[RemoteFile], use: Callable[[RemoteFile], Path]) -> Path:
    """Use the first address that works; say why others do not."""
    failures: list[str] = []
    for file in addresses:
        if failures:
            print(f"{failures[-1]} Trying {urlsplit(file.url).netloc}.", file=sys.stderr)
        try:
            return use(file)
        except SourceError as error:
            failures.append(str(error))
    raise SourceError(" ".join(failures))


def _download_archive(request: Request, file: RemoteFile) -> Path:
    path = request.work / PurePosixPath(urlsplit(file.url).path).name
    archive = download_file(file, path, max_bytes=2 * request.total, show_progress=True)
    try:
        return _unpack_archive(request, archive, file.url)
    except SourceError:
        archive.unlink()  # or the next call would use it again
        raise


def _unpack_archive(request: Request, archive: Path, origin: str) -> Path:
    return _fill_folder(request, partial(unpack_zip, archive, layout=request.layout), origin)


def _copy_from_kaggle(request: Request) -> Path:
    top = download_kaggle(request.source.kaggle)
    return _fill_folder(request, partial(_copy_files, top, layout=request.layout), f"{request.source.kaggle} on Kaggle")


def _copy_files(top: Path, folder: Path, layout: Layout) -> None:
    """Copy each published file once: some copies on Kaggle hold the tree twice."""
    found = ((path.relative_to(top), path.stat().st_size) for path in sorted(top.rglob("*")) if path.is_file())
    for published, path in layout.choose(found).items():
        (folder / published).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(top / path, folder / published)


def _fill_folder(request: Request, fill: Callable[[Path], None], origin: str) -> Path:
    """Fill a new folder and check every file; nothing of it stays where that fails."""
    folder = request.work / "unpacked"
    files.remove_path(folder)  # what a killed call left
    try:
        fill(folder)
        verify.refuse_difference(folder, request.table, origin)
    except SourceError:
        files.remove_path(folder)
        raise
    return folder


def _tree_files(table: pd.DataFrame, url: str) -> dict[str, RemoteFile]:
    rows = zip(table["path"], table["bytes"], table["sha256"], strict=True)
    return {path: RemoteFile(url=url + quote(path), bytes=size, checksum=f"sha256:{sha}") for path, size, sha in rows}


def _dataverse_files(request: Request, url: str) -> dict[str, RemoteFile]:
    """Load the list of a Dataverse; `pooch.DOIDownloader` would do so again for each of thousands of files."""
    path = request.work / "list.json"
    path.unlink(missing_ok=True)  # the one of an earlier call may be out of date
    answer = download_file(RemoteFile(url=url), path, max_bytes=LIST_BYTES).read_bytes()
    try:
        return _listed_files(json.loads(answer), url, request.layout)
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{url} gave no list of files as expected but {answer[:40]!r}: tell us.") from error


def _listed_files(answer: Any, url: str, layout: Layout) -> dict[str, RemoteFile]:
    """Read the list of a Dataverse, a flat one or one with folders."""
    found = {}
    for entry in answer["data"]["latestVersion"]["files"]:
        data = entry["dataFile"]
        address = urljoin(url, f"/api/access/datafile/{int(data['id'])}")
        file = RemoteFile(url=address, bytes=int(data["filesize"]), checksum=f"md5:{data['md5']}")
        if path := layout.published_path(PurePosixPath(entry["label"])):
            found[path] = file
    return found


def _download_each(request: Request, wanted: dict[str, RemoteFile], origin: str) -> Path:
    """Download files one by one; those that an earlier call finished are only checked."""
    folder = request.work / "files"
    download_files({folder / path: file for path, file in wanted.items()}, urlsplit(origin).netloc)
    verify.refuse_difference(folder, request.table, origin)
    return folder


def download_tables(request: Request, folder: Path) -> None:
    """Download the tables that belong to a corpus; one that fails is named, for the recordings are whole without it."""
    for path, addresses in request.source.tables.items():
        try:
            _try_addresses(addresses, partial(download_file, path=folder / path))
        except SourceError as error:
            print(f"{path} is left out: {error}", file=sys.stderr)
