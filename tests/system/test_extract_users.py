"""A clip cache of several users: what is another's, or cannot be written, stops nobody and is never harmed."""

import encodings.cp437  # noqa: F401 - of zip files: the other user may not be able to read Python's own files
import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import filelock
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from pipeline import parallel
from pipeline.cli.main import main
from pipeline.core import config, errors, files
from pipeline.core.errors import StoreError
from pipeline.dataset import table as dataset_table
from pipeline.extract import cache, stage, storage
from pipeline.extract.storage import Storage
from pipeline.ingest import measure
from pipeline.ingest import stage as ingest_stage
from pipeline.signal import extractor
from pipeline.signal.settings import Augment
from pipeline.train import checkpoints
from pipeline.train.checkpoints import Checkpoint, TrainingState
from tests.paths import ROOT

RATE, DAY = 16_000, 86_400
NOBODY, TEAM = 65534, 4711  # a user and a group
SETTINGS = replace(
    extractor.settings_from_params(config.read_params(ROOT / "params.yaml")), augment=Augment(copies=("noise",))
)
FEW, ALL = 4, 6  # clips


@contextmanager
def other_user(*groups: int) -> Iterator[None]:
    """Be somebody else in a block, without root's right to pass over modes."""
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


@pytest.fixture
def hall(monkeypatch) -> Iterator[Path]:
    """A folder that everybody may enter, with the home of the other user in it."""
    if not hasattr(os, "geteuid") or os.geteuid():
        pytest.skip("only root can play two users")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "home").mkdir()
    os.chown(folder / "home", NOBODY, NOBODY)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "home/.cache"))
    monkeypatch.delenv("SER_CACHE_DIR", raising=False)
    monkeypatch.delenv("SER_STORE_URL", raising=False)
    monkeypatch.chdir(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def corpus(hall) -> Path:
    """Six clips; the manifests ``few`` of four of them and ``all``."""
    for number in range(ALL):
        path = hall / f"RAVDESS/Actor_01/03-01-0{number + 1}-01-01-01-01.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * np.random.default_rng(number).standard_normal(RATE + 100 * number), RATE)
        if number == FEW - 1:
            ingest_stage.run("ravdess", hall / "RAVDESS", hall / "few.parquet", limits=measure.ClipLimits())
    ingest_stage.run("ravdess", hall / "RAVDESS", hall / "all.parquet", limits=measure.ClipLimits())
    return hall / "RAVDESS"


def extracted(corpus: Path, out: str, clips: str = "all") -> dict[str, bytes]:
    """Extract as the settings of the environment say; the bytes of the shards."""
    outputs = {view: corpus.parent / out / f"{view}.parquet" for view in extractor.DTYPES}
    place = storage.StorageSettings().storage
    source = corpus.parent / f"{clips}.parquet"
    stage.run(corpus, source, outputs, settings=SETTINGS, storage=place, executor=parallel.Executor(1))
    return {view: path.read_bytes() for view, path in outputs.items()}


def tree(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Owner, mode, inode and bytes of every file."""
    found = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {str(path): (s.st_uid, s.st_mode, s.st_ino, path.read_bytes()) for path, s in found.items()}


def modes(folder: Path, folders: int, files_: int) -> None:
    """Set the modes of a tree."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(folders if path.is_dir() else files_)


STATES = {  # modes of folders and files of the first user
    "others may read": (0o755, 0o644),
    "a sticky folder": (0o1777, 0o644),
    "everybody may write": (0o777, 0o666),
    "files of the first user alone": (0o755, 0o600),
    "sticky, and files of the first user alone": (0o1777, 0o600),
    "folders of the first user alone": (0o700, 0o600),
    "folders that may be listed and not entered": (0o744, 0o644),
}


@pytest.mark.parametrize("variable", ["SER_STORE_URL", "SER_CACHE_DIR"])
@pytest.mark.parametrize("state", STATES)
def test_another_users_cache_in_any_state_stops_nobody_and_stays_as_it_is(
    corpus, hall, monkeypatch, capsys, state, variable
):
    common = hall / "common"
    expected = extracted(corpus, "expected")
    shutil.rmtree(hall / "home/.cache")
    monkeypatch.setenv(variable, str(common))
    extracted(corpus, "first", "few")
    shutil.rmtree(hall / "home/.cache", ignore_errors=True)
    modes(common, *STATES[state])
    before = tree(common)
    hall.joinpath("second").mkdir()
    os.chown(hall / "second", NOBODY, NOBODY)
    for run in range(2):
        capsys.readouterr()
        if state == "sticky, and files of the first user alone" and variable == "SER_CACHE_DIR":
            with other_user(), pytest.raises(StoreError, match="ask its owner for the right to write there, or move"):
                extracted(corpus, "second")
            break
        with other_user():
            assert extracted(corpus, "second") == expected
        said = capsys.readouterr()
        sentences = [line for line in said.err.splitlines() if "such files are kept in" in line]
        assert len(sentences) <= 1
        assert all((variable == "SER_STORE_URL") == ("the next run then does" in line) for line in sentences)
        assert "make room" not in said.err
        if run:
            assert f"{ALL} from the clip cache, 0 to extract" in said.out
        elif state in ("others may read", "a sticky folder", "everybody may write"):
            assert f"{FEW} from the clip cache, {ALL - FEW} to extract" in said.out
    after = tree(common)
    if state != "everybody may write":
        assert {name: after[name] for name in before} == before
    assert all(Path(name).suffix != ".tmp" for name in (*after, *tree(hall / "home")))


def test_what_was_kept_apart_is_shared_once_that_is_allowed(corpus, hall, monkeypatch, capsys):
    common = hall / "common"
    monkeypatch.setenv("SER_STORE_URL", str(common))
    extracted(corpus, "first", "few")
    hall.joinpath("second").mkdir()
    os.chown(hall / "second", NOBODY, NOBODY)
    shutil.rmtree(hall / "home/.cache", ignore_errors=True)
    few = {path.name for path in common.rglob("*.arrow")}
    with other_user():
        extracted(corpus, "second")
    assert {path.name for path in common.rglob("*.arrow")} == few
    sentence = next(line for line in capsys.readouterr().err.splitlines() if "for you alone" in line)
    assert sentence.startswith(f"{common}/")
    assert f"(Permission denied): such files are kept in {hall}/home/.cache/ser-features/mirror/" in sentence
    assert sentence.endswith("To share them, ask its owner for the right to write there; the next run then does.")
    for path in (common, *common.rglob("*")):  # the remedy
        os.chown(path, 0, TEAM)
        path.chmod(0o2775 if path.is_dir() else 0o664)
    with other_user(TEAM):
        extracted(corpus, "second")
    assert {path.name for path in common.rglob("*.arrow")} > few
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_new_files_have_the_rights_that_the_umask_leaves(corpus, hall, monkeypatch, umask, mode):
    common = hall / "common"
    common.mkdir()
    os.chown(common, 0, TEAM)
    common.chmod(0o2775)
    monkeypatch.setenv("SER_STORE_URL", str(common))
    old = os.umask(umask)
    try:
        extracted(corpus, "first")
    finally:
        os.umask(old)
    found = [path for path in common.rglob("*") if path.is_file()]
    assert {path.suffix for path in found} == {".arrow", ".json", ".lock"}
    for path in found:
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (mode, TEAM), path


@pytest.mark.parametrize("sticky", [False, True])
def test_a_damaged_segment_of_another_is_passed_over_and_made_for_oneself(corpus, hall, monkeypatch, capsys, sticky):
    common = hall / "common"
    monkeypatch.setenv("SER_STORE_URL", str(common))
    expected = extracted(corpus, "first")
    victim = sorted(common.glob("logmel-*/*.arrow"))[0]
    victim.write_bytes(victim.read_bytes()[:-700] + b"x" * 700)
    modes(common, 0o1777 if sticky else 0o755, 0o644)
    hall.joinpath("second").mkdir()
    os.chown(hall / "second", NOBODY, NOBODY)
    before = tree(common)
    for _ in range(2):
        with other_user():
            assert extracted(corpus, "second") == expected
        assert f"{victim} is damaged and could not be deleted (" in capsys.readouterr().err
    after = tree(common)
    assert {name: after[name] for name in before} == before


def test_cleaning_leaves_the_files_of_others_and_says_how_many(corpus, hall, monkeypatch):
    common = hall / "common"
    monkeypatch.setenv("SER_STORE_URL", str(common))
    extracted(corpus, "first")
    shutil.rmtree(hall / "first")
    modes(common, 0o1777, 0o644)
    for path in common.rglob("*.*"):
        os.utime(path, (time.time() - 3 * DAY,) * 2)
    before = tree(common)
    with other_user():
        result = CliRunner().invoke(main, ["store", "gc"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "There is nothing to delete." in result.output
    assert f"You may not delete these, which are of other users, first {common}/" in result.output
    assert tree(common) == before
    result = CliRunner().invoke(main, ["store", "gc"], catch_exceptions=False)
    assert "You may not" not in result.output
    assert not list(common.rglob("*.arrow"))


@pytest.mark.parametrize("repair", [[], ["--repair"]])
def test_what_may_not_be_read_is_not_taken_for_damaged(corpus, hall, monkeypatch, repair):
    """Whoever may write into the folder could delete what is whole."""
    common = hall / "common"
    monkeypatch.setenv("SER_STORE_URL", str(common))
    extracted(corpus, "first")
    modes(common, 0o777, 0o600)
    before = tree(common)
    with other_user():
        result = CliRunner().invoke(main, ["store", "verify", *repair], catch_exceptions=False)
        listed = CliRunner().invoke(main, ["store", "ls"], catch_exceptions=False)
    assert (result.exit_code, listed.exit_code) == (0, 0)
    assert "is damaged" not in result.output
    assert f"You may not read these, so it is unknown whether they are whole, first {common}/" in result.output
    assert tree(common) == before


@pytest.mark.parametrize("what", ["folder", "note"])
def test_while_notes_of_others_may_not_be_read_no_segment_goes(corpus, hall, monkeypatch, what):
    common = hall / "common"
    monkeypatch.setenv("SER_STORE_URL", str(common))
    extracted(corpus, "first")
    modes(common, 0o777, 0o666)
    (note, *_) = (common / "references").iterdir()
    (note if what == "note" else note.parent).chmod(0o600)
    for path in common.rglob("*.arrow"):
        os.utime(path, (time.time() - 3 * DAY,) * 2)
    found = set(common.rglob("*.arrow"))
    with other_user():
        result = CliRunner().invoke(main, ["store", "gc"], catch_exceptions=False)
    assert "may not be read by you, so what its shard needs is unknown: no segment is deleted" in result.output
    assert set(common.rglob("*.arrow")) == found


def shard(corpus: Path) -> Path:
    extracted(corpus, "made")
    shutil.rmtree(corpus.parent / "home/.cache")  # the first user's
    return corpus.parent / "made/logmel.parquet"


def opened(path: Path) -> np.ndarray:
    table = dataset_table.open_table([path], files.cache_folder() / "unpacked")
    return table.stored(np.arange(len(table.rows)))


@pytest.mark.parametrize("state", STATES)
def test_training_reads_and_keeps_what_it_can(corpus, hall, monkeypatch, capsys, state):
    common = hall / "common"
    path = shard(corpus)
    monkeypatch.setenv("SER_CACHE_DIR", str(common))
    expected = opened(path)
    kept = Checkpoint(checkpoints.checkpoint_path(common, "a" * 64, "fold-0"), {})
    kept.save(TrainingState(rows=[{"loss": 1.0}]))
    modes(common, *STATES[state])
    before = tree(common)
    own = Checkpoint(checkpoints.checkpoint_path(common, "b" * 64, "fold-0"), {})
    with other_user():
        np.testing.assert_array_equal(opened(path), expected)
        np.testing.assert_array_equal(opened(path), expected)
        own.save(TrainingState(rows=[{"loss": 2.0}]))
        assert own.load()[0].rows == [{"loss": 2.0}]
        kept.save(TrainingState(rows=[{"loss": 3.0}]))
        found, word = kept.load()
        assert found.epochs or "You may not read the checkpoint" in word
        checkpoints.clear_checkpoints(common, "b" * 64)
        assert own.load()[0] == TrainingState()
        checkpoints.clear_checkpoints(common, "a" * 64)  # the other user may still be at it
    after = tree(common)
    if state != "everybody may write":
        assert {name: after[name] for name in before} == before
    assert "make room" not in capsys.readouterr().err


CAUSES = {
    errno.EACCES: "ask its owner for the right to write there",
    errno.EPERM: "ask its owner for the right to write there",
    errno.EROFS: "have it mounted for writing",
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.ESTALE: "have that disk or mount repaired",
    errno.EIO: "have that disk or mount repaired",
}


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """Make the system refuse to write below a folder, by the number of an error."""
    monkeypatch.setenv("SER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    write = Path.write_bytes

    def refuse(folder: Path, number: int) -> None:
        def refusing(self, data):
            if self.is_relative_to(folder):
                raise OSError(number, os.strerror(number), str(self))
            return write(self, data)

        monkeypatch.setattr(Path, "write_bytes", refusing)

    return refuse


@pytest.mark.parametrize("number", CAUSES, ids=errno.errorcode.get)
def test_what_a_shared_folder_does_not_take_is_kept_apart_and_the_remedy_fits(tmp_path, failing, capsys, number):
    place = Storage(str(tmp_path / "common"))
    failing(tmp_path / "common", number)
    for name in ("one", "two"):
        place.put("drawer", name, b"data")
        assert place.path("drawer", name).read_bytes() == b"data"
    assert place.names("drawer") == {"one", "two"}
    (sentence,) = capsys.readouterr().err.splitlines()
    assert f"({os.strerror(number)}): such files are kept in {tmp_path}/cache/mirror/" in sentence
    assert f"To share them, {CAUSES[number]};" in sentence


@pytest.mark.parametrize("number", CAUSES, ids=errno.errorcode.get)
@pytest.mark.parametrize("url", ["", "common"])
def test_what_can_be_kept_nowhere_stops_with_a_remedy_that_fits(tmp_path, failing, number, url):
    place = Storage(str(tmp_path / url) if url else "")
    failing(tmp_path, number)
    with pytest.raises(StoreError) as caught:
        place.put("drawer", "one", b"data")
    assert os.strerror(number) in str(caught.value)
    remedy = f"Finished work is saved: {CAUSES[number]}, or move the clip cache (SER_CACHE_DIR), and run again."
    assert str(caught.value).endswith(remedy)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


REFUSALS = [OSError(number, os.strerror(number)) for number in (*CAUSES, errno.ENOLCK)]


@pytest.mark.parametrize("error", [*REFUSALS, NotImplementedError()], ids=repr)
def test_without_a_lock_the_work_is_done_all_the_same(tmp_path, monkeypatch, error):
    monkeypatch.setenv("SER_CACHE_DIR", str(tmp_path / "cache"))

    def refuse(self, *_, **__):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    for wait in (True, False):
        with Storage(str(tmp_path / "common")).lock("x", wait=wait) as held:
            assert held


def test_a_lock_that_nobody_gives_back_is_not_waited_for_without_end(tmp_path, monkeypatch, capsys):
    """Its holder died on another machine, and the server of the disk does not know."""
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0.2)
    place = Storage(str(tmp_path))
    with filelock.FileLock(tmp_path / "locks/x.lock"):
        with place.lock("x", wait=False) as held:
            assert not held
        with place.lock("x") as held:
            assert held
    assert "x.lock was held for 0.2 s: work goes on without it." in capsys.readouterr().err


def test_a_full_disk_ends_no_training(tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    checkpoint = Checkpoint(tmp_path / "training/fold-0.npz", {})
    checkpoint.save(TrainingState(rows=[{"loss": 1.0}]))
    checkpoint.save(TrainingState(rows=[{"loss": 1.0}]))
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "No space left on device" in sentence
    assert sentence.endswith("If this training is killed, it starts anew: make room.")
    assert checkpoint.load() == (TrainingState(), "")
    assert not list(tmp_path.rglob("*.tmp"))


class ReadOnly:
    """Credentials that may read alone: what S3 answers with 403 is a PermissionError of s3fs."""

    def __init__(self, monkeypatch, system) -> None:
        self.asked: list[str] = []
        for name in ("pipe_file", "rm_file"):
            monkeypatch.setattr(system, name, self.refuse)

    def refuse(self, path: str, *_: object, **__: object) -> None:
        self.asked.append(path)
        raise PermissionError("Access Denied")


@pytest.fixture
def bucket(tmp_path, monkeypatch, request):
    """A shared place, and a way to its files."""
    monkeypatch.setenv("SER_CACHE_DIR", str(tmp_path / "cache"))
    place = Storage(f"memory://{request.node.name}/ser")
    system, root = storage.filesystem(place.url)
    yield place, system, root
    if system.exists(root):
        system.rm(root, recursive=True)


def test_what_a_bucket_does_not_take_is_said_once_and_sent_later(bucket, capsys):
    place, system, root = bucket
    with pytest.MonkeyPatch.context() as patch:
        refused = ReadOnly(patch, system)
        for name in ("one", "two"):
            place.put("drawer", name, b"data")
        assert refused.asked == [f"{root}/drawer/one"]
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith(f"store.url {place.url} cannot be used (PermissionError: Access Denied): ")
    assert sentence.endswith("the next run sends it.")
    errors._warned.clear()  # another process
    place.share("drawer", ["one", "two"])
    assert place.shared_names("drawer") == {"one", "two"}


def test_a_bucket_is_cleaned_as_far_as_that_is_allowed(bucket, monkeypatch, tmp_path):
    place, system, root = bucket
    name = f"logmel-{'0123456789abcdef'}/{'ab' * 16}-{'cd' * 16}.arrow"
    system.pipe_file(f"{root}/{name}", b"old")
    monkeypatch.setenv("SER_STORE_URL", place.url)
    monkeypatch.chdir(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        ReadOnly(patch, system)
        result = CliRunner().invoke(main, ["store", "gc", "--shared", "--older-than", "0"], catch_exceptions=False)
    assert result.exit_code == 0
    assert f"You may not delete these, which are of other users, first {place.url}/{name}:" in result.output
    assert system.exists(f"{root}/{name}")


def test_a_segment_of_another_that_is_whole_is_read_in_place(corpus, hall, monkeypatch):
    """Nothing is copied of what a shared folder holds."""
    monkeypatch.setenv("SER_STORE_URL", str(hall / "common"))
    extracted(corpus, "first")
    modes(hall / "common", 0o755, 0o644)
    shutil.rmtree(hall / "home/.cache", ignore_errors=True)
    hall.joinpath("second").mkdir()
    os.chown(hall / "second", NOBODY, NOBODY)
    with other_user():
        extracted(corpus, "second")
    assert all(map(cache.is_whole_segment, (hall / "common").rglob("*.arrow")))
    assert not list((hall / "home").rglob("*.arrow"))
