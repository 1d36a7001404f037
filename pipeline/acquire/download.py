"""Download corpora: one zip, single files, a Dataverse, a zip fetched by hand, a copy on Kaggle.

pooch keeps the files, checks them and renames them into their place; its downloader is ours, for its own begins anew
whenever a connection is cut. requests reads the proxies and certificates that the environment names.
"""

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pandas as pd
import pooch
import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from pipeline.acquire import unzip, verify
from pipeline.acquire.sources import Dataverse, File, Registration, Shelf, Source, SourceError, Tree, Zip
from pipeline.core import extras, files

CHUNK = 2**13  # bytes, which a cut connection may lose
CUT = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)
Tell = Callable[[int], object]


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to bear with a server."""

    tries: int = 4  # more, after the first, without a byte gained
    pause: float = 0.5  # s before the second of them, then twice as long each time
    timeout: float = 60.0  # s without an answer or a byte

    @property
    def timeouts(self) -> tuple[float, float]:
        """Give the s to wait for a connection, and for a byte."""
        return min(10.0, self.timeout), self.timeout


class Resuming:
    """A downloader as pooch wants it, which writes to ``part`` and goes on where that ends."""

    def __init__(self, session: requests.Session, patience: Patience, *, part: Path, limit: int, tell: Tell) -> None:
        self.session, self.patience = session, patience
        self.part, self.limit, self.tell = part, limit, tell
        self.resumed = False

    def __call__(self, url: str, output_file: Any, _: object) -> None:
        """Download ``url`` to ``output_file``, connecting again as long as patience lasts."""
        vain = 0
        while True:
            before = size(self.part)
            try:
                if self.ask(url):
                    break
            except CUT as error:
                vain = 0 if size(self.part) > before else vain + 1
                if vain > self.patience.tries or isinstance(error, requests.exceptions.SSLError):
                    raise
                time.sleep(self.patience.pause * 2**vain)
        self.part.replace(output_file)

    def ask(self, url: str) -> bool:
        """Make one request, for what is not there yet; say whether all of it is there now."""
        start = size(self.part)
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        timeouts = self.patience.timeouts
        with self.session.get(url, headers=headers, stream=True, timeout=timeouts) as answer:
            said = answer.headers.get("Content-Range", "")
            if start and answer.status_code == 416 and said == f"bytes */{start}":
                return True
            if start and (answer.status_code == 416 or (answer.status_code == 206 and not begins(said, start))):
                self.part.unlink()  # of another file
                return False
            refuse(answer, url)
            self.write(answer, url, start if answer.status_code == 206 else 0)
            return True

    def write(self, answer: requests.Response, url: str, start: int) -> None:
        """Write what comes behind the first ``start`` bytes."""
        self.resumed |= start > 0
        there = start
        self.part.parent.mkdir(parents=True, exist_ok=True)
        with self.part.open("ab" if start else "wb") as file:
            for chunk in answer.iter_content(CHUNK):
                there += len(chunk)
                if there > self.limit:
                    break
                file.write(chunk)
                self.tell(there)
        if there > self.limit:
            self.part.unlink()
            raise SourceError(f"{url} gives more than the {self.limit:,} bytes expected: it is another file.")


def size(path: Path) -> int:
    """Give the bytes of a file, none where there is no file."""
    return path.stat().st_size if path.exists() else 0


def begins(said: str, start: int) -> bool:
    """Say whether a Content-Range begins where it was asked to.

    >>> begins("bytes 7-9/10", 7), begins("bytes 0-9/10", 7)
    (True, False)
    """
    return said.startswith(f"bytes {start}-")


def refuse(answer: requests.Response, url: str) -> None:
    """Stop at an answer that is no file."""
    if answer.status_code not in {200, 206}:
        raise SourceError(
            f"{url} answers {answer.status_code} {answer.reason}: try again later, and if it stays so, tell us that "
            f"the address has changed."
        )


def sentence(url: str, error: requests.RequestException, patience: Patience) -> str:
    """Say in one sentence why nothing came."""
    kinds = {
        requests.exceptions.SSLError: "its certificate is not accepted",
        requests.exceptions.ProxyError: "the proxy gives no way",
        requests.exceptions.ConnectTimeout: "there is no connection",
        requests.exceptions.Timeout: f"no answer for {patience.timeout:g} s",
        requests.exceptions.ChunkedEncodingError: "the connection was cut again and again",
        requests.exceptions.ConnectionError: "there is no connection",
    }
    why = next((text for kind, text in kinds.items() if isinstance(error, kind)), type(error).__name__)
    return f"{url} could not be fetched, {why}: what has come is kept, so call again when the connection is better."


AT_ONCE = 8  # files of a corpus that is given out file by file
BUSY = (429, 500, 502, 503, 504)

pooch.get_logger().setLevel("WARNING")  # it tells of every file


class Client:
    """Gets files over one set of connections."""

    def __init__(self, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        # busy answers only: cut connections are for Resuming, which knows how much has come
        again = Retry(
            None, connect=0, read=0, other=0, status=self.patience.tries, status_forcelist=BUSY, raise_on_status=False,
            backoff_factor=self.patience.pause, respect_retry_after_header=False,  # it may say hours
        )  # fmt: skip
        self.session = requests.Session()
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(max_retries=again, pool_maxsize=AT_ONCE))
        self.session.headers["User-Agent"] = f"ser-features (pooch {pooch.__version__})"  # Zenodo slows the nameless
        # nothing is remembered between answers, so that threads can share the session
        self.session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def json(self, url: str) -> Any:
        """Read a JSON answer.

        Raises:
            SourceError: there is none.
        """
        try:
            answer = self.session.get(url, timeout=self.patience.timeouts)
            refuse(answer, url)
            return answer.json()
        except requests.exceptions.JSONDecodeError as error:
            raise SourceError(f"{url} gave no JSON but {answer.text[:40]!r}: try again later.") from error
        except requests.RequestException as error:
            raise SourceError(sentence(url, error, self.patience)) from error

    def get(self, file: File, path: Path, *, limit: int, tell: Tell = lambda _: None) -> None:
        """Have a file at ``path``, downloaded unless it is there with its checksum.

        Args:
            file: what.
            path: where; ``<path>.part`` is kept for the next call when this one fails.
            limit: bytes beyond which it cannot be what is meant.
            tell: is told how many bytes are there, now and then.

        Raises:
            SourceError: the server gives no such file.
        """
        try:
            for _ in range(2):
                part = path.with_name(f"{path.name}.part")
                load = Resuming(self.session, self.patience, part=part, limit=file.bytes or limit, tell=tell)
                if kept(file, path, load):
                    return
                if not load.resumed:  # what was cut and mended may be bad for that alone, else a second time is vain
                    break
        except requests.RequestException as error:
            raise SourceError(sentence(file.url, error, self.patience)) from error
        raise SourceError(
            f"{file.url} does not have the published checksum {file.checksum}: it was damaged on the way or has been "
            f"changed, so nothing of it was kept; try again, and if it stays so, tell us."
        )


def kept(file: File, path: Path, load: Resuming) -> bool:
    """Let pooch have the file at ``path``; say whether its checksum is right."""
    try:
        pooch.retrieve(file.url, file.checksum or None, fname=path.name, path=path.parent, downloader=load)
    except requests.RequestException:
        raise  # some of them are ValueErrors, too
    except ValueError:  # of pooch: the checksum is wrong, and the file deleted
        return False
    return True


def get_all(client: Client, wanted: Mapping[Path, File], *, tell: Tell) -> None:
    """Have several files, some at once; ``tell`` is told the bytes of all that are finished.

    Raises:
        SourceError: one of them could not be had; those that are finished stay.
    """
    done = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        coming = {pool.submit(client.get, file, path, limit=file.bytes): file for path, file in wanted.items()}
        try:
            for each in as_completed(coming):
                each.result()
                done += coming[each].bytes
                tell(done)
        finally:  # at the first that fails, or Ctrl-C, those under way end and no other begins
            pool.shutdown(cancel_futures=True)


def download_kaggle(name: str) -> Path:
    """Download the dataset ``owner/name`` with the user's own account; return the folder where kagglehub keeps it.

    Raises:
        SettingError: kagglehub is not installed.
        SourceError: Kaggle gives no such dataset to this account.
    """
    with extras.needed("kaggle"):
        import kagglehub
    try:
        return Path(kagglehub.dataset_download(name))
    except Exception as error:  # its errors have no common root
        remedy = "see that your Kaggle account has access and its token is where kagglehub looks for it"
        raise SourceError(f"Kaggle did not give {name} ({error}): {remedy}.") from error


@dataclass(frozen=True, kw_only=True)
class Job:
    """One corpus to bring into a folder of work."""

    source: Source
    table: pd.DataFrame  # of corpora.tables
    work: Path
    client: Client
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
        unzip.unpack(archive, folder, job.shelf)
        verify.refuse_difference(folder, job.table, origin or str(archive))
    return folder


@contextmanager
def unpacking(job: Job) -> Iterator[Path]:
    """Give a folder that is not there yet, and goes again if what came into it is no use."""
    folder = job.work / "unpacked"
    files.remove_path(folder)  # what a killed call left
    try:
        yield folder
    except SourceError:
        files.remove_path(folder)
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
        state = verify.State(len(job.table), tuple(missing), ())
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
        get_all(job.client, {folder / path: file for path, file in wanted.items()}, tell=tell)
    verify.refuse_difference(folder, job.table, origin)
    return folder


def from_kaggle(job: Job) -> Path:
    """Take each file of the table once from a copy on Kaggle: some copies hold the tree twice."""
    top = download_kaggle(job.source.kaggle)
    found = ((path.relative_to(top), path.stat().st_size) for path in sorted(top.rglob("*")) if path.is_file())
    with unpacking(job) as folder:
        for place, path in job.shelf.choose(found).items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(top / path, folder / place)
        verify.refuse_difference(folder, job.table, f"{job.source.kaggle} on Kaggle")
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
