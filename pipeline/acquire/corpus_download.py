"""Download a corpus from its source and lay its files out as published."""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pandas as pd

from pipeline.acquire import verify
from pipeline.acquire.download import download_file, download_files, download_kaggle, unpack_zip
from pipeline.acquire.sources import Layout, RemoteFile, Source, SourceError
from pipeline.core import files
from pipeline.corpora import checksums, folders
from pipeline.corpora.info import CorpusInfo

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
