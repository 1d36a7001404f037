"""``corpora fetch``: download, check, unpack and check a corpus, then put it in place."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.acquire import verify
from pipeline.acquire.download import Request, download_corpus, download_tables
from pipeline.acquire.sources import SOURCES, Source, SourceError
from pipeline.core import files
from pipeline.core.errors import CorpusError, SettingError, StoreError, UnknownNameError
from pipeline.core.files import Output
from pipeline.corpora import folders
from pipeline.corpora.info import CorpusInfo

GIB = 2**30
LOCK = "lock"  # a folder of work is known as ours by it


def make_request(
    corpus: str,
    folder: Path | None = None,
    *,
    archive: Path | None = None,
    kaggle: bool = False,
    source: Source | None = None,
) -> Request:
    """Make a request from names.

    Raises:
        UnknownNameError: nobody publishes such a corpus.
        SettingError: both a zip and Kaggle are named.
    """
    if corpus not in SOURCES:
        raise UnknownNameError("corpus", corpus, SOURCES)
    if archive and kaggle:
        raise SettingError("--from and --source kaggle are two sources: name one.")
    chosen = folder or Path("data/raw") / folders.corpus_info(corpus).title
    return Request(corpus=corpus, folder=chosen, source=source or SOURCES[corpus], archive=archive, kaggle=kaggle)


def is_in_place(request: Request) -> bool:
    """Say whether the corpus is in its folder, whole.

    Raises:
        CorpusError: something else is there, which is never overwritten; or a person has to ask for the corpus first.
        SettingError: something else is where the work or the licence goes, or nothing can be written.
    """
    folder = request.folder
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        state = verify.compare_folder(folder, request.table)
        if state.whole:
            return True
        remedy = "move it away, or name a folder that does not exist yet with --to"
        raise CorpusError(f"{folder} is there and is not {request.page.title} as published ({state}): {remedy}.")
    _refuse_taken(request)
    if request.source.registration and not (request.archive or request.kaggle):
        raise SourceError(f"This corpus is given out after registration only: {request.source.registration}.")
    return False


def _refuse_taken(request: Request) -> None:
    """Stop where the corpus, the work or the licence would take the place of something that is not ours.

    Raises:
        SettingError: something else is there, or nothing can be written there.
    """
    title, archive, work = request.page.title, request.archive, request.work
    head = f"{title}\nLicence: ".encode()
    for output in (
        Output(path=request.folder, what=title, folder=True, ours=lambda _: False),
        Output(path=work, what="a folder", folder=True, ours=lambda path: (path / LOCK).is_file()),
        Output(path=request.sibling(".licence.txt"), what="a note", ours=lambda path: files.starts_with(path, head)),
    ):
        files.check_output(output)
    if archive and archive.resolve().is_relative_to(work.resolve()):
        raise SettingError(f"{archive} lies in {work}, which is deleted in the end: move it out of there.")


def fetch_corpus(request: Request) -> int:
    """Fetch a corpus whose licence the user has accepted, as ``<folder>.licence.txt`` says; return its recordings.

    The folder appears at the very end, whole. Files that an interrupted call finished are in ``<folder>.part``, and the
    next one does not download them again. None of this has been tried against the publishers' own servers.

    Raises:
        CorpusError: no source gave the whole corpus, or the place is taken.
        StoreError: there is no room for it.
    """
    work = request.work  # found once: the current folder may be the one that is replaced
    with explain_write_errors(request.folder), locked_folder(work):
        if not is_in_place(request):
            _put_in_place(_make_folder(request), request)
    files.remove_path(work)
    return len(request.table)


def _make_folder(request: Request) -> Path:
    """Download a corpus and the tables that belong to it into one folder, and return that."""
    for unfinished in list(request.work.rglob("tmp*")):  # which pooch was writing when a call was killed
        unfinished.unlink()
    _refuse_full_disk(request)
    folder = download_corpus(request)
    if not request.archive:  # the user may be offline
        download_tables(request, folder)
    return folder


def _put_in_place(made: Path, request: Request) -> None:
    """Write the licence, and move a whole corpus to its folder."""
    with files.atomic_write(request.sibling(".licence.txt")) as part:
        part.write_text(licence_note(request.page), encoding="utf-8")
    made.replace(request.folder.absolute())  # the system refuses it where files have appeared there meanwhile


@contextmanager
def explain_write_errors(folder: Path) -> Iterator[None]:
    """Turn failures to write into a sentence.

    Raises:
        StoreError: the disk is full or a folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{folder} could not be written, {error.strerror or error} ({error.filename or folder}): "
            f"{files.write_advice(error)} or choose another place with --to; finished files are not downloaded again."
        ) from error


@contextmanager
def locked_folder(work: Path) -> Iterator[None]:
    """Let no other process use the folder of work; it is deleted at the end if nothing is in it.

    Raises:
        StoreError: another process uses it.
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


def _refuse_full_disk(request: Request) -> None:
    """Stop before a download that the disk has no room for."""
    present = sum(path.stat().st_size for path in request.work.rglob("*") if path.is_file())
    archives = () if request.archive or request.kaggle else request.source.archives
    packed = (archives[0].bytes or request.total) if archives else 0
    need, free = request.total + packed - present, shutil.disk_usage(request.work).free
    if need > free:
        raise StoreError(
            f"{request.work.parent} has {free / GIB:.2f} GiB free, and {need / GIB:.2f} GiB are needed: make room or "
            f"choose another place with --to."
        )


def licence_text(page: CorpusInfo) -> str:
    """Write down what a user of a corpus agrees to."""
    return f"{page.title}\nLicence: {page.licence}\nSource: {page.source}\nPlease cite: {page.citation}"


def licence_note(page: CorpusInfo) -> str:
    """Write the file that stays with a corpus."""
    today = datetime.now(UTC).date()
    return f"{licence_text(page)}\nAccepted on {today} by who ran 'ser-features corpora fetch {page.name}'.\n"
