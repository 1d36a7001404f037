"""Downloads against a server that fails in all the ways that servers do."""

import hashlib
import os

import pytest
import requests

from pipeline.acquire import download
from pipeline.acquire.fetch import explain_write_errors
from pipeline.acquire.sources import RemoteFile, SourceError
from pipeline.core.errors import StoreError

BODY = bytes(range(256)) * 1200
SIZE = len(BODY)
MD5 = "md5:" + hashlib.md5(BODY).hexdigest()


@pytest.fixture
def get(publisher, tmp_path):
    """Download the file ``a``, which has BODY, to the path returned."""
    publisher.files["a"] = BODY

    def run(checksum=MD5, size=SIZE, **options):
        file = RemoteFile(url=f"{publisher.url}a", checksum=checksum, bytes=size)
        download.download_file(file, tmp_path / "x" / "a", **options)
        return tmp_path / "x" / "a"

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_download_is_whole_and_leaves_nothing_beside_it(get, publisher):
    assert get().read_bytes() == BODY
    assert names(get().parent) == ["a"]
    assert publisher.sent["a"] == SIZE  # the second call asked for nothing


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(get, publisher, status):
    publisher.faults["a"] = [status, status]
    assert get().read_bytes() == BODY
    assert len(publisher.asked) == 3


@pytest.mark.parametrize(("status", "times"), [(404, 1), (403, 1), (500, 3)])
def test_what_a_server_refuses_is_one_sentence(get, publisher, tmp_path, status, times):
    publisher.faults["a"] = [status] * 9
    with pytest.raises(SourceError, match=rf"^{publisher.url}a answers {status} .*: try again later.*\.$"):
        get()
    assert len(publisher.asked) == times
    assert names(tmp_path / "x") == []


def test_after_a_cut_connection_the_file_is_downloaded_again(get, publisher):
    publisher.faults["a"] = ["cut 100000", "cut 0"]
    assert get().read_bytes() == BODY
    assert publisher.sent["a"] == SIZE + 100_000


def test_a_connection_that_is_always_cut_is_one_sentence_and_leaves_no_file(get, publisher, tmp_path):
    publisher.faults["a"] = ["cut 100000", *["cut 0"] * 9]
    with pytest.raises(SourceError, match="could not be downloaded, the connection was cut again and again: call"):
        get()
    assert names(tmp_path / "x") == []
    publisher.faults["a"] = []
    assert get().read_bytes() == BODY


def test_a_file_that_is_there_with_another_checksum_is_downloaded_again(get, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a").write_bytes(b"other" * 20_000)
    assert get().read_bytes() == BODY
    assert names(tmp_path / "x") == ["a"]


def test_a_file_that_is_there_stays_until_a_better_one_has_come(get, publisher, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a").write_bytes(b"other")
    publisher.files["a"] = BODY[::-1]
    with pytest.raises(SourceError, match="does not have the published checksum"):
        get()
    assert (tmp_path / "x/a").read_bytes() == b"other"
    assert names(tmp_path / "x") == ["a"]


def test_a_wrong_checksum_is_one_sentence_and_leaves_no_file(get, publisher, tmp_path):
    publisher.files["a"] = BODY[:-1] + b"!"
    with pytest.raises(SourceError, match=f"does not have the published checksum {MD5}: .* it was deleted; try again"):
        get()
    assert publisher.asked == ["a"] * 3
    assert names(tmp_path / "x") == []


def test_a_file_larger_than_it_can_be_is_not_read_to_its_end(get, publisher, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "CHUNK", 1000)
    written = []
    write = download._LimitedFile.write
    monkeypatch.setattr(download._LimitedFile, "write", lambda *args: (write(*args), written.append(args[1])))
    for options in ({"size": 0, "max_bytes": 10_000}, {"size": 10_000}):
        with pytest.raises(SourceError, match="gives more than the 10,000 bytes expected"):
            get(**options)
    assert len(b"".join(written)) == 2 * 10_000
    assert publisher.asked == ["a"] * 2
    assert names(tmp_path / "x") == []


def test_a_file_without_a_published_checksum_is_taken_as_it_is(get, publisher):
    assert get(checksum="", size=0, max_bytes=SIZE).read_bytes() == BODY
    publisher.files["a"] = b"new"
    assert get(checksum="", size=0, max_bytes=SIZE).read_bytes() == BODY


def test_progress_is_shown_on_a_terminal_only(get, publisher, capsys, monkeypatch):
    get(show_progress=True).unlink()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    get().unlink()
    assert capsys.readouterr().err == ""
    get(show_progress=True)
    assert "127.0.0.1" in (shown := capsys.readouterr().err)
    assert "100%" in shown
    download.download_files({get().with_name("b"): RemoteFile(url=f"{publisher.url}a", bytes=SIZE)}, "many.org")
    assert "many.org: 100%" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_one_sentence(tmp_path, impatient):
    with pytest.raises(SourceError, match="could not be downloaded, there is no connection: "):
        download.download_file(RemoteFile(url="http://127.0.0.1:9/a"), tmp_path / "a", max_bytes=9)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (requests.exceptions.ReadTimeout(), "no answer for 60 s"),
        (requests.exceptions.ProxyError(), "the proxy does not let it through"),
        (requests.exceptions.SSLError(), "its certificate is not accepted"),
    ],
)
def test_other_failures_are_one_sentence(monkeypatch, tmp_path, impatient, error, reason):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(requests, "get", fail)
    with pytest.raises(SourceError, match=f"could not be downloaded, {reason}: "):
        download.download_file(RemoteFile(url="http://example.org/a"), tmp_path / "a", max_bytes=9)


def test_a_proxy_that_the_environment_names_is_used(publisher, monkeypatch, tmp_path):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", publisher.url)
    publisher.files["a"] = BODY
    download.download_file(RemoteFile(url="http://corpus.invalid/a"), tmp_path / "a", max_bytes=SIZE)
    assert (tmp_path / "a").read_bytes() == BODY


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_a_full_disk_is_one_sentence(publisher, tmp_path):
    publisher.files["a"] = BODY
    with pytest.raises(StoreError, match=r"CORPUS could not be written, No space left on device .*: make room"):  # noqa: SIM117
        with explain_write_errors(tmp_path / "CORPUS"):
            download._download_limited(f"{publisher.url}a", "/dev/full", None, max_bytes=SIZE, show_progress=False)
