"""Download files whole or not at all, going on where an earlier call was cut off.

pooch keeps the files, checks them and renames them into their place; its downloader is ours, for its own begins anew
whenever a connection is cut. requests reads the proxies and certificates that the environment names.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import pooch
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pipeline.corpora.sources import File, SourceError

CHUNK = 2**13  # bytes, which a cut connection may lose
AT_ONCE = 8  # files of a corpus that is given out file by file
BUSY = (429, 500, 502, 503, 504)
CUT = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)
Tell = Callable[[int], object]

pooch.get_logger().setLevel("WARNING")  # it tells of every file


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to bear with a server."""

    tries: int = 4  # more, after the first, without a byte gained
    pause: float = 0.5  # s before the second of them, then twice as long each time
    timeout: float = 60.0  # s without an answer or a byte


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
        # nothing is remembered between answers, so that threads can share the session
        self.session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def json(self, url: str) -> Any:
        """Read a JSON answer.

        Raises:
            SourceError: there is none.
        """
        try:
            answer = self.session.get(url, timeout=self.patience.timeout)
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
                load = Resuming(self, path.with_name(f"{path.name}.part"), file.bytes or limit, tell)
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


def kept(file: File, path: Path, load: "Resuming") -> bool:
    """Let pooch have the file at ``path``; say whether its checksum is right."""
    try:
        pooch.retrieve(file.url, file.checksum or None, fname=path.name, path=path.parent, downloader=load)
    except requests.RequestException:
        raise  # some of them are ValueErrors, too
    except ValueError:  # of pooch: the checksum is wrong, and the file deleted
        return False
    return True


class Resuming:
    """A downloader as pooch wants it, which writes to ``part`` and goes on where that ends."""

    def __init__(self, client: Client, part: Path, limit: int, tell: Tell) -> None:
        self.client, self.part, self.limit, self.tell = client, part, limit, tell
        self.resumed = False

    def __call__(self, url: str, output_file: Any, _: object) -> None:
        """Download ``url`` to ``output_file``, connecting again as long as patience lasts."""
        vain, patience = 0, self.client.patience
        while True:
            before = size(self.part)
            try:
                if self.ask(url):
                    break
            except CUT as error:
                vain = 0 if size(self.part) > before else vain + 1
                if vain > patience.tries or isinstance(error, requests.exceptions.SSLError):
                    raise
                time.sleep(patience.pause * 2**vain)
        self.part.replace(output_file)

    def ask(self, url: str) -> bool:
        """Make one request, for what is not there yet; say whether all of it is there now."""
        start = size(self.part)
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        timeout = self.client.patience.timeout
        with self.client.session.get(url, headers=headers, stream=True, timeout=timeout) as answer:
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
        requests.exceptions.Timeout: f"no answer for {patience.timeout:g} s",
        requests.exceptions.ChunkedEncodingError: "the connection was cut again and again",
        requests.exceptions.ConnectionError: "there is no connection",
    }
    why = next((text for kind, text in kinds.items() if isinstance(error, kind)), type(error).__name__)
    return f"{url} could not be fetched, {why}: what has come is kept, so call again when the connection is better."


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
