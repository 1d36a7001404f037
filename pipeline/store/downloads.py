"""Download files whole or not at all, going on where an earlier call was cut off.

pooch keeps the files, checks them and renames them into their place; its downloader is ours, for its own begins anew
whenever a connection is cut. requests reads the proxies and certificates that the environment names.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import pooch
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pipeline.corpora.sources import File, SourceError
from pipeline.store.resuming import Patience, Resuming, Tell, refuse, sentence

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
