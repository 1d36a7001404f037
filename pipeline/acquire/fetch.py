"""``corpora fetch``: download, check, unpack and check a corpus, then put it in place."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.acquire import download, verify
from pipeline.acquire.sources import SOURCES, Registration, Source, Zip
from pipeline.core import files
from pipeline.core.errors import CorpusError, SettingError, StoreError, UnknownNameError
from pipeline.core.files import Output
from pipeline.corpora import checksums, registry
from pipeline.corpora.info import Page

GIB = 2**30
LOCK = "lock"  # of the folder of work, which is known as ours by it


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to fetch, and how."""

    corpus: str
    folder: Path  # where it will be; beside it, <folder>.part holds what is under way
    source: Source
    archive: Path | None = None  # a zip that the user has downloaded
    kaggle: bool = False

    @property
    def page(self) -> Page:
        """The page of the corpus."""
        return registry.corpus_info(self.corpus)

    def beside(self, ending: str) -> Path:
        """Name what stands beside the folder."""
        place = self.folder.absolute()
        return place.with_name(f"{place.name}{ending}")


def order(
    corpus: str,
    folder: Path | None = None,
    *,
    archive: Path | None = None,
    kaggle: bool = False,
    source: Source | None = None,
) -> Order:
    """Make an order from names.

    Raises:
        UnknownNameError: nobody gives out such a corpus.
        SettingError: both a zip and Kaggle are named.
    """
    if corpus not in SOURCES:
        raise UnknownNameError("corpus", corpus, SOURCES)
    if archive and kaggle:
        raise SettingError("--from and --source kaggle are two sources: name one.")
    chosen = folder or Path("data/raw") / registry.corpus_info(corpus).title
    return Order(corpus=corpus, folder=chosen, source=source or SOURCES[corpus], archive=archive, kaggle=kaggle)


def there(what: Order) -> bool:
    """Say whether the corpus is in place, whole.

    Raises:
        CorpusError: something else is there, which is never overwritten; or a person has to ask for the corpus first.
        SettingError: something else is where the work or the note of the licence goes, or nothing can be written.
    """
    if what.folder.exists() and not (what.folder.is_dir() and not any(what.folder.iterdir())):
        state = verify.compare_folder(what.folder, checksums.table(what.corpus))
        if state.whole:
            return True
        remedy = "move it away, or name a folder that does not exist yet with --to"
        raise CorpusError(f"{what.folder} is there and is not {what.page.title} as published ({state}): {remedy}.")
    refuse_taken(what)
    if isinstance(what.source.way, Registration) and not (what.archive or what.kaggle):
        raise download.by_hand(what.source.way)
    return False


def refuse_taken(what: Order) -> None:
    """Stop where the corpus, or what stands beside it, would take the place of something that is not ours.

    Raises:
        SettingError: something else is there, or nothing can be written there.
    """
    title = what.page.title
    note = f"{title}\nLicence: ".encode()
    beside = [
        Output(path=what.folder, what=title, folder=True, ours=lambda _: False),
        Output(path=what.beside(".part"), what="a folder", folder=True, ours=lambda path: (path / LOCK).is_file()),
        Output(path=what.beside(".licence.txt"), what="a note", ours=lambda path: files.begins(path, note)),
    ]
    for each in beside:
        files.refuse_taken(each)
    if what.archive and what.archive.resolve().is_relative_to(what.beside(".part").resolve()):
        remedy = "move it out of there"
        raise SettingError(f"{what.archive} lies in {what.beside('.part')}, which is deleted in the end: {remedy}.")


def run(what: Order, client: download.Client | None = None) -> int:
    """Bring a corpus whose licence the user has accepted, as ``<folder>.licence.txt`` says; return its recordings.

    The folder appears at the very end, whole. What an interrupted call downloaded is in ``<folder>.part``, where the
    next one goes on. None of this has been tried against the publishers' own servers.

    Raises:
        CorpusError: no source gave the whole corpus, or the place is taken.
        StoreError: there is no room for it.
    """
    work = what.beside(".part")
    table = checksums.table(what.corpus)
    with writing(what.folder), alone(work):
        if not there(what):
            job = download.Job(
                source=what.source,
                table=table,
                work=work,
                client=client or download.Client(),
                archive=what.archive,
                kaggle=what.kaggle,
            )
            put(make(job), what)
    files.remove_path(work)
    return len(table)


def make(job: download.Job) -> Path:
    """Bring a corpus and the tables that belong to it into a folder of work that holds nothing else."""
    refuse_full(job)
    folder = download.bring(job)
    if not job.archive:  # who brings a zip may be offline
        download.beside(job, folder)
    keep_only(folder, {*job.table["path"], *job.source.beside}, job.source.texts)
    return folder


def put(made: Path, what: Order) -> None:
    """Put a whole corpus in its place, the note of its licence beside it."""
    with files.atomic_write(what.beside(".licence.txt")) as part:
        part.write_text(accepted(what.page), encoding="utf-8")
    made.replace(what.folder.absolute())  # the system refuses it where files have appeared there meanwhile


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn failures to write into a sentence.

    Raises:
        StoreError: the disk is full or a folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{folder} could not be written, {error.strerror or error} ({error.filename or folder}): "
            f"{files.write_advice(error)} or choose another place with --to; what has been downloaded is kept."
        ) from error


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Hold the folder of work; it goes at the end if nothing is in it.

    Raises:
        StoreError: another process holds it.
    """
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StoreError(f"Another process is fetching into {work}: wait until it has ended.") from None
    try:
        yield
    finally:
        lock.release()
        if {path.name for path in work.iterdir()} <= {LOCK}:
            files.remove_path(work)


def refuse_full(job: download.Job) -> None:
    """Stop before a download that the disk has no room for."""
    here = sum(path.stat().st_size for path in job.work.rglob("*") if path.is_file())
    need, free = job.total + to_come(job) - here, shutil.disk_usage(job.work).free
    if need > free:
        raise StoreError(
            f"{job.work.parent} has {free / GIB:.2f} GiB free, and {need / GIB:.2f} GiB are needed: make room or "
            f"choose another place with --to."
        )


def to_come(job: download.Job) -> int:
    """Give the bytes of an archive that has to be downloaded, about."""
    match job.source.way:
        case Zip(addresses) if not (job.archive or job.kaggle):
            return addresses[0].bytes or job.total
    return 0


def keep_only(folder: Path, paths: set[str], texts: frozenset[str]) -> None:
    """Delete what killed calls left among the files of a corpus."""
    for path in list(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in paths and path.name.casefold() not in texts:
            path.unlink()


def licence(page: Page) -> str:
    """Write down what a user of a corpus agrees to."""
    return f"{page.title}\nLicence: {page.licence}\nSource: {page.source}\nPlease cite: {page.citation}"


def accepted(page: Page) -> str:
    """Write the note that stays with a corpus."""
    today = datetime.now(UTC).date()
    return f"{licence(page)}\nAccepted on {today} by who ran 'ser-features corpora fetch {page.name}'.\n"
