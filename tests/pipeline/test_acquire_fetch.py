"""Whole corpora from a server on this machine: each source, each fault, and never half a corpus."""

import hashlib
import io
import json
import shutil
import sys
import types
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.acquire import download
from pipeline.acquire import fetch as acquire_fetch
from pipeline.acquire.sources import SOURCES, Layout, RemoteFile
from pipeline.core.errors import CorpusError, SettingError, StoreError, UnknownNameError
from pipeline.corpora import checksums

PLACES = {
    "ravdess": [f"Actor_0{actor}/03-01-0{n}-01-01-01-0{actor}.wav" for actor in (1, 2) for n in (1, 2, 3)],
    "crema_d": [f"AudioWAV/1001_{sentence}_ANG_XX.wav" for sentence in ("DFA", "IOM", "IWL", "IWW", "MTI", "TAI")],
    "tess": [f"{who}_{mood}/{who}_{word}_sad.wav" for who, mood in (("OAF", "Sad"), ("YAF", "sad")) for word in "abc"],
    "savee": [f"{who}/a0{n}.wav" for who in ("DC", "JE") for n in (1, 2, 3)],
    "emodb": [f"wav/03a0{n}Fa.wav" for n in range(1, 7)],
}
ZIPS = ["ravdess", "emodb"]
SINGLES = ["crema_d", "tess"]
ONLINE = [*ZIPS, *SINGLES]


def zipped(files, above=""):
    """Pack files below a folder."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(f"{above}{path}", content)
    return packed.getvalue()


class Corpus:
    """A tiny corpus of another name's form, and a server that gives it out as that one's publisher does."""

    def __init__(self, name, publisher, folder):
        self.name, self.publisher, self.folder = name, publisher, folder / "raw" / name.upper()
        rng = np.random.default_rng(7)
        self.files = {path: rng.bytes(40_000) for path in sorted(PLACES[name])}
        self.source = getattr(self, f"open_{name}")()

    @property
    def table(self):
        rows = [(path, len(body), hashlib.sha256(body).hexdigest()) for path, body in self.files.items()]
        return pd.DataFrame(rows, columns=["path", "bytes", "sha256"])

    def open_ravdess(self):
        body = self.publisher.files["actors.zip"] = zipped(self.files)
        file = RemoteFile(
            url=f"{self.publisher.url}actors.zip?download=1", bytes=len(body), checksum=f"md5:{md5(body)}"
        )
        return replace(SOURCES["ravdess"], archives=(file,))

    def open_emodb(self):
        along = {"erkennung.txt": b"Satz", "lablaut/03a01Fa.lab": b""}
        self.publisher.files["first.zip"] = zipped(self.files | along)
        self.publisher.files["second.zip"] = zipped(self.files, "emodb/")
        addresses = [RemoteFile(url=f"{self.publisher.url}{name}.zip") for name in ("first", "second")]
        return replace(SOURCES["emodb"], archives=tuple(addresses))

    def open_crema_d(self):
        table = b"ActorID,Age\n1001,51\n"
        self.publisher.files |= {f"media/{path}": body for path, body in self.files.items()}
        self.publisher.files["raw/Actors.csv"] = table
        hosts = [f"{self.publisher.url}{host}/Actors.csv" for host in ("gone", "raw")]
        addresses = tuple(RemoteFile(url=url, bytes=len(table), checksum=f"md5:{md5(table)}") for url in hosts)
        tree = f"{self.publisher.url}media/"
        return replace(SOURCES["crema_d"], tree=tree, tables={"results/Actors.csv": addresses})

    def open_tess(self):
        entries = []
        for number, (path, body) in enumerate(self.files.items()):
            self.publisher.files[f"api/access/datafile/{number}"] = body
            file = {"id": number, "filesize": len(body), "md5": md5(body)}
            entries.append({"label": Path(path).name, "dataFile": file})
        self.list(entries)
        path = SOURCES["tess"].dataverse.partition("/api/")[2]
        return replace(SOURCES["tess"], dataverse=f"{self.publisher.url}api/{path}")

    def open_savee(self):
        return SOURCES["savee"]

    def list(self, entries):
        answer = {"status": "OK", "data": {"latestVersion": {"files": entries}}}
        self.publisher.files["api/datasets/:persistentId/"] = json.dumps(answer).encode()

    def address(self, number=-1):
        """What the server calls one of the files, or the archive."""
        names = [each for each in self.publisher.files if each.endswith((".zip", ".wav")) or "datafile" in each]
        return names[0] if self.name in ZIPS else names[number]

    def fetch(self, **options):
        request = acquire_fetch.make_request(self.name, self.folder, source=self.source, **options)
        acquire_fetch.fetch_corpus(request)
        return request

    def whole(self):
        """Whether every file is there, and nothing else but texts."""
        found = {each.relative_to(self.folder).as_posix() for each in self.folder.rglob("*") if each.is_file()}
        bodies = {path: (self.folder / path).read_bytes() for path in found if not path.endswith((".txt", ".csv"))}
        return bodies == self.files

    def left(self):
        """What stands where the corpus will be."""
        return sorted(each.name for each in self.folder.parent.iterdir()) if self.folder.parent.exists() else []

    def refused(self, **options):
        """The sentence that an attempt ends with, which leaves no corpus."""
        with pytest.raises(CorpusError) as caught:
            self.fetch(**options)
        assert not self.folder.exists()
        assert str(caught.value).endswith(".")
        return str(caught.value)


def md5(body):
    return hashlib.md5(body).hexdigest()


@pytest.fixture
def corpora(publisher, tmp_path, monkeypatch):
    """Make a corpus by its name."""

    def make(name):
        corpus = Corpus(name, publisher, tmp_path)
        monkeypatch.setattr(checksums, "checksum_table", lambda _: corpus.table)
        return corpus

    return make


@pytest.fixture(params=ONLINE)
def corpus(corpora, request):
    return corpora(request.param)


def test_a_corpus_comes_whole_with_a_note_of_its_licence_beside_it(corpus):
    what = corpus.fetch()
    assert corpus.whole()
    note = f"{corpus.folder.name}.licence.txt"
    assert corpus.left() == [corpus.folder.name, note]
    text = (corpus.folder.parent / note).read_text()
    assert what.page.licence in text
    assert what.page.citation in text


def test_a_corpus_that_is_there_is_not_fetched_again(corpus):
    what = corpus.fetch()
    asked = len(corpus.publisher.asked)
    assert acquire_fetch.is_in_place(what)
    corpus.fetch()
    assert len(corpus.publisher.asked) == asked
    assert corpus.whole()


def test_something_else_in_its_place_is_never_touched(corpus):
    what = corpus.fetch()
    corpus.folder.joinpath(next(iter(corpus.files))).write_bytes(b"mine")
    with pytest.raises(
        CorpusError, match=r"is there and is not .* as published \(of 6 files none is missing, and 1 is"
    ):
        acquire_fetch.is_in_place(what)
    with pytest.raises(CorpusError, match="move it away, or name a folder that does not exist yet with --to"):
        corpus.fetch()
    assert corpus.folder.joinpath(next(iter(corpus.files))).read_bytes() == b"mine"


def test_an_empty_folder_is_no_obstacle(corpus):
    corpus.folder.mkdir(parents=True)
    corpus.fetch()
    assert corpus.whole()


def test_the_current_folder_will_do_if_it_is_empty(corpora, monkeypatch):
    corpus = corpora("ravdess")
    corpus.folder.mkdir(parents=True)
    monkeypatch.chdir(corpus.folder)
    acquire_fetch.fetch_corpus(acquire_fetch.make_request("ravdess", Path(), source=corpus.source))
    assert corpus.whole()
    assert corpus.left() == ["RAVDESS", "RAVDESS.licence.txt"]


def test_a_file_that_is_not_there_is_one_sentence_and_no_corpus(corpus):
    address = corpus.address()
    del corpus.publisher.files[address]
    corpus.publisher.files.pop("second.zip", None)
    assert f"{address.split('/')[-1]}" in corpus.refused()
    assert "answers 404 Not Found: try again later" in corpus.refused()


def test_a_busy_server_is_asked_again(corpus):
    corpus.publisher.faults[corpus.address()] = [500]
    corpus.fetch()
    assert corpus.whole()


def test_a_wrong_checksum_is_one_sentence_and_no_corpus(corpus):
    address = corpus.address()
    body = corpus.publisher.files[address]
    corpus.publisher.files[address] = body[:-40] + bytes(40)
    corpus.publisher.files.pop("second.zip", None)
    sentence = corpus.refused()
    assert "does not have the published checksum" in sentence or (corpus.name == "emodb" and "damaged" in sentence)


def test_a_file_that_is_not_of_the_table_is_one_sentence_and_no_corpus(corpus):
    """The publisher has changed a recording, and its own checksums with it."""
    path = list(corpus.files)[2]
    corpus.files[path] = corpus.files[path][::-1]
    if corpus.name == "crema_d":  # the publisher's checksums are the table
        assert "does not have the published checksum" in corpus.refused()
    else:
        sentence = f"is not the published corpus: of 6 files none is missing, and 1 is not as published, first {path}."
        assert sentence in corpus.refused()


def test_a_file_of_the_table_that_nobody_gives_is_one_sentence_and_no_corpus(corpora):
    for name in (*ZIPS, "tess"):
        corpus = corpora(name)
        corpus.files = {"Actor_09/more.wav": b"more", **corpus.files}
        assert "1 of 7 files is missing, first Actor_09/more.wav." in corpus.refused()


def test_a_connection_cut_in_the_middle_is_mended(corpus):
    corpus.publisher.faults[corpus.address()] = ["cut 30000", "cut 0"]
    corpus.fetch()
    assert corpus.whole()


@pytest.mark.parametrize("name", ZIPS)
def test_a_call_after_a_cut_downloads_an_archive_from_its_start(corpora, name):
    corpus = corpora(name)
    address, body = corpus.address(), corpus.publisher.files[corpus.address()]
    corpus.publisher.files.pop("second.zip", None)
    corpus.publisher.faults[address] = ["cut 150000", *["cut 0"] * 9]
    assert "finished files are not downloaded again" in corpus.refused()
    corpus.publisher.faults[address], before = [], corpus.publisher.sent[address]
    corpus.fetch()
    assert corpus.whole()
    assert corpus.publisher.sent[address] - before == len(body)
    assert not (corpus.folder.parent / f"{corpus.folder.name}.part").exists()


@pytest.mark.parametrize("name", SINGLES)
def test_a_call_after_a_cut_downloads_only_what_is_missing_of_a_tree(corpora, name, monkeypatch):
    monkeypatch.setattr(download, "AT_ONCE", 1)  # so that all others are there when the last one fails
    corpus = corpora(name)
    address, recordings = corpus.address(), [corpus.address(number) for number in range(6)]
    corpus.publisher.faults[address] = ["cut 0"] * 9
    assert "finished files are not downloaded again" in corpus.refused()
    corpus.publisher.faults[address], before = [], corpus.publisher.sent.copy()
    corpus.fetch()
    assert corpus.whole()
    more = corpus.publisher.sent - before
    assert {path: count for path, count in more.items() if path in recordings} == {address: 40_000}


def test_what_a_killed_call_left_does_not_enter_the_corpus(corpora):
    corpus = corpora("crema_d")
    folder = corpus.folder.with_name(f"{corpus.folder.name}.part") / "files/AudioWAV"
    folder.mkdir(parents=True)
    (folder / "tmpabcd").touch()  # as pooch calls what it is writing
    (folder / "1001_DFA_ANG_XX.wav").write_bytes(b"half")
    corpus.fetch()
    assert corpus.whole()
    assert not list(corpus.folder.rglob("tmp*"))


@pytest.mark.parametrize("name", SINGLES)
def test_several_files_come_at_once(corpora, name, monkeypatch):
    import threading

    corpus, together, real = corpora(name), threading.Barrier(6), download.download_file

    def download_file(file, path, **options):
        if path.suffix == ".wav":
            together.wait(timeout=5)  # all six are under way
        return real(file, path, **options)

    monkeypatch.setattr(download, "download_file", download_file)
    corpus.fetch()
    assert corpus.whole()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda files: zipped(files | {"../../evil.wav": b"!"}), "a path that leads outside"),
        (lambda files: zipped(files | {next(iter(files)): bytes(9_000_000)}), "more than the 40,000 bytes"),
        (lambda _: b"<html>Please log in", "is no zip, it begins b'<html>"),
    ],
)
def test_a_bad_archive_is_one_sentence_and_leaves_nothing(corpora, content, why, tmp_path):
    corpus = corpora("emodb")
    for name in ("first.zip", "second.zip"):
        corpus.publisher.files[name] = content(corpus.files)
    sentence = corpus.refused()
    assert why in sentence
    assert corpus.left() == []
    assert not list(tmp_path.rglob("evil*"))
    corpus.open_emodb()
    corpus.fetch()
    assert corpus.whole()


def test_the_next_address_is_tried_and_said_why(corpora, capsys):
    corpus = corpora("emodb")
    corpus.publisher.faults["first.zip"] = [404]
    corpus.fetch()
    assert corpus.whole()
    assert "first.zip answers 404 Not Found: " in capsys.readouterr().err
    assert corpus.publisher.asked == ["first.zip", "second.zip"]


def test_if_all_addresses_fail_each_is_named(corpora):
    corpus = corpora("emodb")
    corpus.publisher.faults |= {"first.zip": [404], "second.zip": [403]}
    assert "first.zip answers 404" in (sentence := corpus.refused())
    assert "second.zip answers 403" in sentence


def test_tables_beside_the_recordings_come_too(corpora, capsys):
    corpus = corpora("emodb")
    corpus.fetch()
    assert (corpus.folder / "erkennung.txt").read_bytes() == b"Satz"
    corpus = corpora("crema_d")
    corpus.fetch()
    assert (corpus.folder / "results/Actors.csv").read_bytes() == b"ActorID,Age\n1001,51\n"


def test_a_table_that_cannot_be_had_is_said_and_the_corpus_is_whole(corpora, capsys):
    corpus = corpora("crema_d")
    corpus.publisher.files["raw/Actors.csv"] = b"version https://git-lfs.github.com/spec/v1\n"
    corpus.fetch()
    assert corpus.whole()
    assert "results/Actors.csv is left out: " in capsys.readouterr().err
    assert not list(corpus.folder.rglob("*.csv"))


@pytest.mark.parametrize(
    "answer", [b"{}", b"[]", b'{"data": {"latestVersion": {"files": [{"label": "a"}]}}}', b"<html>"]
)
def test_another_answer_of_a_dataverse_is_one_sentence(corpora, answer):
    corpus = corpora("tess")
    corpus.publisher.files["api/datasets/:persistentId/"] = answer
    sentence = corpus.refused()
    assert ":persistentId" in sentence
    assert f"gave no list of files as expected but {answer[:40]!r}: tell us." in sentence


def test_a_corpus_for_registered_users_says_what_to_do_and_takes_the_zip(corpora, tmp_path):
    corpus = corpora("savee")
    sentence = corpus.refused()
    assert "register at http://personal.ee.surrey.ac.uk/Personal/P.Jackson/SAVEE/Register.html" in sentence
    assert "call again with --from /path/to/AudioData.zip" in sentence
    archive = tmp_path / "AudioData.zip"
    archive.write_bytes(zipped(corpus.files | {"Info.txt": b"SAVEE"}, "AudioData/"))
    corpus.fetch(archive=archive)
    assert corpus.whole()
    assert (corpus.folder / "Info.txt").exists()
    assert archive.exists()


@pytest.mark.parametrize("name", PLACES)
def test_every_corpus_can_come_from_a_zip_that_is_here(corpora, tmp_path, name):
    corpus = corpora(name)
    archive = tmp_path / "mine.zip"
    archive.write_bytes(zipped(corpus.files, "somewhere/"))
    corpus.fetch(archive=archive)
    assert corpus.whole()
    assert corpus.publisher.asked == []


def test_a_flat_zip_is_sorted_into_folders(corpora, tmp_path):
    flat = {"tess": lambda path: Path(path).name, "savee": lambda path: f"ALL/{path.replace('/', '_')}"}
    for name, where in flat.items():
        corpus = corpora(name)
        archive = tmp_path / f"{name}.zip"
        archive.write_bytes(zipped({where(path): body for path, body in corpus.files.items()}))
        corpus.fetch(archive=archive)
        assert corpus.whole()


def test_a_damaged_zip_of_the_user_is_one_sentence_and_stays(corpora, tmp_path):
    corpus = corpora("savee")
    archive = tmp_path / "AudioData.zip"
    archive.write_bytes(zipped(corpus.files)[:-1000])
    assert f"{archive} is a damaged zip" in corpus.refused(archive=archive)
    assert archive.exists()
    assert corpus.left() == []


def test_the_notes_of_git_lfs_are_known(corpora, tmp_path):
    corpus = corpora("crema_d")
    note = b"version https://git-lfs.github.com/spec/v1\noid sha256:c6f94b\nsize 72862\n"
    archive = tmp_path / "CREMA-D-master.zip"
    archive.write_bytes(zipped(dict.fromkeys(corpus.files, note), "CREMA-D-master/"))
    assert "6 are not as published, first AudioWAV/1001_DFA_ANG_XX.wav (a note of git-lfs, " in corpus.refused(
        archive=archive
    )


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """A kagglehub that gives the folder it returns, for any name."""
    top = tmp_path / "hub"
    asked = []
    module = types.ModuleType("kagglehub")
    module.dataset_download = lambda handle: asked.append(handle) or str(top)
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    module.asked, module.top = asked, top
    return module


@pytest.mark.parametrize("name", PLACES)
def test_of_a_tree_that_kaggle_holds_twice_each_file_is_taken_once(corpora, kaggle, name):
    corpus = corpora(name)
    for above in ("", "again"):
        for path, body in corpus.files.items():
            (kaggle.top / above / path).parent.mkdir(parents=True, exist_ok=True)
            (kaggle.top / above / path).write_bytes(body)
    corpus.fetch(kaggle=True)
    assert corpus.whole()
    assert kaggle.asked == [SOURCES[name].kaggle]
    assert len(list(kaggle.top.rglob("*.wav"))) == 12


def test_what_goes_wrong_at_kaggle_is_one_sentence(corpora, kaggle, monkeypatch):
    def refuse(_):
        raise RuntimeError("403 Forbidden")

    corpus = corpora("ravdess")
    kaggle.top.mkdir()
    (kaggle.top / "Actor_01").mkdir()
    (kaggle.top / "Actor_01/03-01-01-01-01-01-01.wav").write_bytes(b"edited")
    assert "on Kaggle is not the published corpus: 5 of 6 files are missing" in corpus.refused(kaggle=True)
    assert corpus.left() == []
    monkeypatch.setattr(kaggle, "dataset_download", refuse)
    assert "Kaggle did not give uwrfkaggler/ravdess-emotional-speech-audio (403 Forbidden): see" in corpus.refused(
        kaggle=True
    )


def test_kagglehub_is_asked_for_where_it_is_missing(corpora, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(SettingError, match=r"-e '\.\[kaggle\]'"):
        corpora("ravdess").fetch(kaggle=True)


def test_a_disk_without_room_is_said_before_anything_is_fetched(corpora, monkeypatch):
    corpus = corpora("ravdess")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=3 * 2**10))
    with pytest.raises(StoreError, match=r"has 0\.00 GiB free, and 0\.00 GiB are needed: make room or choose another"):
        corpus.fetch()
    assert corpus.publisher.asked == []
    assert corpus.left() == []


def test_a_disk_that_fills_up_is_one_sentence_and_the_next_call_goes_on(corpora, monkeypatch):
    corpus = corpora("ravdess")

    def full(self, chunk):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(download._LimitedFile, "write", full)
        with pytest.raises(StoreError, match="could not be written, No space left on device"):
            corpus.fetch()
    assert not corpus.folder.exists()
    corpus.fetch()
    assert corpus.whole()


def test_two_at_once_do_not_meet(corpora):
    corpus = corpora("ravdess")
    work = corpus.folder.with_name(f"{corpus.folder.name}.part")
    with acquire_fetch.locked_folder(work), pytest.raises(StoreError, match="Another process is fetching into"):
        corpus.fetch()
    corpus.fetch()
    assert corpus.whole()


def test_what_cannot_be_ordered(tmp_path):
    with pytest.raises(UnknownNameError, match="corpus 'ravdes' is unknown, did you mean 'ravdess'"):
        acquire_fetch.make_request("ravdes")
    with pytest.raises(SettingError, match="are two sources: name one"):
        acquire_fetch.make_request("ravdess", archive=tmp_path / "a.zip", kaggle=True)


def test_a_corpus_stands_in_the_project_by_its_title():
    assert acquire_fetch.make_request("crema_d").folder == Path("data/raw/CREMA-D")


def test_every_corpus_that_is_known_has_a_source():
    from pipeline.corpora import folders, registry

    assert set(SOURCES) == set(registry.KNOWN_CORPORA)
    assert folders.corpus_info("savee").source in SOURCES["savee"].registration


@pytest.mark.parametrize("name", SOURCES)
def test_every_file_of_the_published_tables_is_found_by_its_name(name):
    """Every path finds its own place, as published, below another folder, and, but for SAVEE, by its name alone."""
    table = checksums.checksum_table(name)
    layout = Layout(dict(zip(table["path"], table["bytes"], strict=True)))
    for path in map(Path, table["path"]):
        assert layout.published_path(path) == layout.published_path("some" / path) == path.as_posix()
        assert layout.published_path(Path("ALL") / f"{path.parent.name}_{path.name}") == path.as_posix()
        assert layout.published_path(Path(path.name)) == (None if name == "savee" else path.as_posix())
