"""Downloads against a server that fails in all the ways that servers do."""

import hashlib
import os

import pytest
import requests

from pipeline.acquire import download
from pipeline.acquire.fetch import writing
from pipeline.acquire.sources import File, SourceError
from pipeline.core.errors import StoreError

BODY = bytes(range(256)) * 1200
SIZE = len(BODY)
KEPT = 100_000 // download.CHUNK * download.CHUNK  # of 100,000 bytes before a cut: whole chunks
MD5 = "md5:" + hashlib.md5(BODY).hexdigest()
PATIENCE = download.Patience(tries=2, pause=0, timeout=2)


@pytest.fixture
def get(publisher, tmp_path):
    """Download the file ``a``, which has BODY, to the path returned."""
    publisher.files["a"] = BODY

    def run(checksum=MD5, size=SIZE, limit=SIZE, **options):
        file = File(url=f"{publisher.url}a", checksum=checksum, bytes=size)
        download.Client(PATIENCE).get(file, tmp_path / "x" / "a", limit=limit, **options)
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
    assert not (tmp_path / "x/a").exists()


def test_a_cut_connection_goes_on_where_it_was(get, publisher):
    publisher.faults["a"] = ["cut 100000", 500, "cut 100000"]
    assert get().read_bytes() == BODY
    assert publisher.sent["a"] == SIZE + 2 * (100_000 - KEPT)


def test_a_connection_that_is_always_cut_is_one_sentence_and_what_came_is_kept(get, publisher, tmp_path):
    publisher.faults["a"] = ["cut 100000", *["cut 0"] * 9]
    with pytest.raises(SourceError, match="could not be fetched, the connection was cut again and again: .* kept"):
        get()
    assert names(tmp_path / "x") == ["a.part"]
    publisher.faults["a"], before = [], publisher.sent["a"]
    assert get().read_bytes() == BODY
    assert publisher.sent["a"] - before == SIZE - KEPT


def test_patience_lasts_as_long_as_bytes_come(get, publisher):
    publisher.faults["a"] = ["cut 70000"] * 4  # more often than tries
    assert get().read_bytes() == BODY


@pytest.mark.parametrize("fault", ["whole", "early"])
def test_a_server_that_takes_range_for_something_else_begins_anew(get, publisher, fault):
    publisher.faults["a"] = ["cut 100000", fault]
    assert get(checksum="").read_bytes() == BODY


@pytest.mark.parametrize("part", [BODY, BODY + b"more", b"other" * 20_000, BODY[:7]])
def test_what_an_earlier_call_left_is_used_only_if_it_fits(get, tmp_path, part):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.part").write_bytes(part)
    assert get().read_bytes() == BODY
    assert names(tmp_path / "x") == ["a"]


def test_a_resumed_file_with_a_wrong_checksum_is_fetched_anew_once(get, publisher, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.part").write_bytes(b"other" * 20_000)
    publisher.files["a"] = BODY[::-1]
    with pytest.raises(SourceError, match=f"does not have the published checksum {MD5}.*nothing of it was kept"):
        get()
    assert publisher.asked == ["a", "a"]
    assert names(tmp_path / "x") == []


def test_a_wrong_checksum_is_one_sentence(get, publisher, tmp_path):
    publisher.files["a"] = BODY[:-1] + b"!"
    with pytest.raises(SourceError, match="does not have the published checksum"):
        get()
    assert publisher.asked == ["a"]
    assert names(tmp_path / "x") == []


def test_a_file_larger_than_it_can_be_is_not_read_to_its_end(get, publisher, tmp_path):
    told = [0]
    with pytest.raises(SourceError, match="gives more than the 10,000 bytes expected"):
        get(size=0, limit=10_000, tell=told.append)
    assert max(told) <= 10_000
    assert names(tmp_path / "x") == []


def test_a_file_without_a_published_checksum_is_taken_as_it_is(get, publisher):
    assert get(checksum="", size=0).read_bytes() == BODY
    publisher.files["a"] = b"new"
    assert get(checksum="", size=0).read_bytes() == BODY


def test_a_server_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(SourceError, match="could not be fetched, there is no connection: "):
        download.Client(PATIENCE).get(File(url="http://127.0.0.1:9/a"), tmp_path / "a", limit=9)
    with pytest.raises(SourceError, match="could not be fetched, there is no connection: "):
        download.Client(PATIENCE).json("http://127.0.0.1:9/a")


def test_a_server_that_never_answers_is_one_sentence(monkeypatch, tmp_path):
    def never(*_, **__):
        raise requests.exceptions.ReadTimeout

    client = download.Client(PATIENCE)
    monkeypatch.setattr(client.session, "get", never)
    with pytest.raises(SourceError, match="could not be fetched, no answer for 2 s: "):
        client.get(File(url="http://example.org/a"), tmp_path / "a", limit=9)


def test_a_proxy_that_the_environment_names_is_used(publisher, monkeypatch, tmp_path):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", publisher.url)
    publisher.files["a"] = BODY
    download.Client(PATIENCE).get(File(url="http://corpus.invalid/a"), tmp_path / "a", limit=SIZE)
    assert (tmp_path / "a").read_bytes() == BODY


def test_something_else_than_json_is_quoted(publisher):
    publisher.files["list"] = b"<html>Please log in"
    with pytest.raises(SourceError, match="gave no JSON but '<html>Please log in'"):
        download.Client(PATIENCE).json(f"{publisher.url}list")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_a_full_disk_is_one_sentence(get, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.part").symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"CORPUS could not be written, No space left on device .*: make room"):  # noqa: SIM117
        with writing(tmp_path / "CORPUS"):
            get()
