"""Write an answer of a server to a file, going on where an earlier answer was cut off: a downloader for pooch."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from pipeline.corpora.sources import SourceError

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
