"""The ways to a corpus: one zip, a file at a time, a Dataverse, a zip by hand, a copy on Kaggle."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pandas as pd
import pooch
from tqdm import tqdm

from pipeline.corpora.shelf import Shelf
from pipeline.corpora.sources import Dataverse, File, Registration, Source, SourceError, Tree, Zip
from pipeline.stages import kaggle
from pipeline.store import archives, downloads, files, published
from pipeline.store.resuming import Tell


@dataclass(frozen=True, kw_only=True)
class Job:
    """One corpus to bring into a folder of work."""

    source: Source
    table: pd.DataFrame  # of corpora.tables
    work: Path
    client: downloads.Client
    archive: Path | None = None  # a zip that is here already
    kaggle: bool = False

    @property
    def shelf(self) -> Shelf:
        """The places of the corpus."""
        return Shelf(dict(zip(self.table["path"], self.table["bytes"], strict=True)), self.source.texts)

    @property
    def total(self) -> int:
        """Bytes of all published files."""
        return int(self.table["bytes"].sum())


def bring(job: Job) -> Path:
    """Bring all files of a corpus, each as published, into a folder below ``job.work``, and return that.

    Raises:
        SourceError: no source gave the whole corpus. What was downloaded is kept for the next time.
    """
    if job.archive:
        return unpacked(job, job.archive)
    if job.kaggle:
        return from_kaggle(job)
    match job.source.way:
        case Zip(addresses):
            return first(addresses, partial(from_zip, job))
        case Tree(url):
            return one_by_one(job, addressed(job.table, url), url)
        case Dataverse() as place:
            return one_by_one(job, listed(job, place), place.server)
        case Registration() as place:
            raise by_hand(place)


def by_hand(place: Registration) -> SourceError:
    """Say what a person has to do."""
    return SourceError(
        f"This corpus is given out after registration only: register at {place.page}, download {place.archive}, and "
        f"call again with --from /path/to/{place.archive}."
    )


def first(addresses: Sequence[File], use: Callable[[File], Path]) -> Path:
    """Try addresses in order, and say which failed and why.

    Raises:
        SourceError: all did.
    """
    failures: list[str] = []
    for file in addresses:
        try:
            return use(file)
        except SourceError as error:
            failures.append(str(error))
            if len(failures) < len(addresses):
                print(f"{error} Trying {urlsplit(addresses[len(failures)].url).netloc}.", file=sys.stderr)
    raise SourceError(" ".join(failures))


def from_zip(job: Job, file: File) -> Path:
    """Download an archive and unpack it."""
    archive = job.work / pooch.utils.unique_file_name(file.url.partition("?")[0])
    limit = file.bytes or 2 * job.total
    with bar(file.bytes or None, urlsplit(file.url).netloc) as tell:
        job.client.get(file, archive, limit=limit, tell=tell)
    try:
        return unpacked(job, archive, origin=file.url)
    except SourceError:
        archive.unlink()  # or the next call would take it for good
        raise


def unpacked(job: Job, archive: Path, origin: str = "") -> Path:
    """Unpack an archive and check every file."""
    with unpacking(job) as folder:
        archives.unpack(archive, folder, job.shelf)
        published.refuse(folder, job.table, origin or str(archive))
    return folder


@contextmanager
def unpacking(job: Job) -> Iterator[Path]:
    """Give a folder that is not there yet, and goes again if what came into it is no use."""
    folder = job.work / "unpacked"
    files.remove(folder)  # what a killed call left
    try:
        yield folder
    except SourceError:
        files.remove(folder)
        raise


def addressed(table: pd.DataFrame, url: str) -> dict[str, File]:
    """Give each file of the table its address below ``url``."""
    rows = zip(table["path"], table["bytes"], table["sha256"], strict=True)
    return {path: File(url=url + quote(path), bytes=size, checksum=f"sha256:{sha}") for path, size, sha in rows}


def listed(job: Job, place: Dataverse) -> dict[str, File]:
    """Find the files of the table in the list that a Dataverse gives, a flat one or one with folders."""
    url = f"{place.server}/api/datasets/:persistentId/?persistentId={place.dataset}"
    try:
        entries = [entry["dataFile"] | entry for entry in job.client.json(url)["data"]["latestVersion"]["files"]]
        shelf = job.shelf
        found = {shelf.place(Path(entry["label"])): entry_file(place, entry) for entry in entries}
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{url} gave a list of files in a form not known here: tell us.") from error
    missing = [path for path in job.table["path"] if path not in found]
    if missing:
        state = published.State(len(job.table), tuple(missing), ())
        raise SourceError(f"{url} does not list the published corpus: {state}.")
    return {path: found[path] for path in job.table["path"]}


def entry_file(place: Dataverse, entry: dict[str, Any]) -> File:
    """Read one entry of the list of a Dataverse."""
    return File(
        url=f"{place.server}/api/access/datafile/{int(entry['id'])}",
        bytes=int(entry["filesize"]),
        checksum=f"md5:{entry['md5']}",
    )


def one_by_one(job: Job, wanted: dict[str, File], origin: str) -> Path:
    """Download files to their places, several at once; those that an earlier call finished are only checked."""
    folder = job.work / "files"
    with bar(sum(file.bytes for file in wanted.values()), urlsplit(origin).netloc) as tell:
        downloads.get_all(job.client, {folder / path: file for path, file in wanted.items()}, tell=tell)
    published.refuse(folder, job.table, origin)
    return folder


def from_kaggle(job: Job) -> Path:
    """Take each file of the table once from a copy on Kaggle: some copies hold the tree twice."""
    top = kaggle.download(job.source.kaggle)
    found = ((path.relative_to(top), path.stat().st_size) for path in sorted(top.rglob("*")) if path.is_file())
    with unpacking(job) as folder:
        for place, path in job.shelf.choose(found).items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(top / path, folder / place)
        published.refuse(folder, job.table, f"{job.source.kaggle} on Kaggle")
    return folder


def beside(job: Job, folder: Path) -> None:
    """Bring the tables that belong to a corpus, as far as they can be had: the recordings are whole without them."""
    for path, addresses in job.source.beside.items():
        try:
            first(addresses, partial(one, job, folder / path))
        except SourceError as error:
            print(f"{path} is left out: {error}", file=sys.stderr)


def one(job: Job, path: Path, file: File) -> Path:
    """Download one small file."""
    job.client.get(file, path, limit=file.bytes)
    return path


@contextmanager
def bar(total: int | None, label: str) -> Iterator[Tell]:
    """Show the bytes that have come, on a terminal only; gives what to tell them to."""
    with tqdm(
        total=total, desc=label, unit="B", unit_scale=True, unit_divisor=1024, disable=None, file=sys.stderr
    ) as shown:
        yield lambda there: shown.update(there - shown.n)
