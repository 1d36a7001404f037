"""Paths that the system cannot expand, look at or read: a sentence, or a failure beside the others' answers."""

import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from pipeline.acquire import survey, verify
from pipeline.audio import decode
from pipeline.cli.main import main
from pipeline.core import machine, paths
from pipeline.core.errors import AudioError, CorpusError, SettingError
from pipeline.extract.storage import StorageSettings
from pipeline.ingest import measure, stage
from pipeline.tools.find_audio import find_audio_files
from tests.paths import ROOT

LONG, DEEP = "x" * 300 + ".wav", "abcdefgh/" * 500 + "x.wav"
UNSEEN = {  # a path that the system refuses, and what is said
    "too long": (LONG, "File name too long"),
    "too deep": (DEEP, "File name too long"),
    "a loop": ("loop.wav", "Too many levels of symbolic links"),
    "below a loop": ("loops/x.wav", "Too many levels of symbolic links"),
    "a link to nothing": ("dangling.wav", "it is a link to gone.wav, which does not exist"),
    "a pipe": ("pipe.wav", "it is a pipe, not a file"),
    "a socket": ("s.wav", "it is a socket, not a file"),
    "a device": ("/dev/zero", "it is a device, not a file"),
    "odd bytes": (os.fsdecode(b"odd\xff.wav"), "is no UTF-8 name"),
}
STARTS = [
    "~take.wav",
    "~nobody-here/x.wav",
    "~/x.wav",
    "~",
    "take[1].wav",
    "take[.wav",
    "[z-a].wav",
    "-dash.wav",
    "a b.wav",
]
DROP = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
RIGHTS = pytest.mark.skipif(bool(DROP) and not shutil.which("setpriv"), reason="root may look everywhere")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a good recording, and with all that is odd."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    soundfile.write("good.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    for name in ("loop.wav", "loops"):
        Path(name).symlink_to(name)
    Path("dangling.wav").symlink_to("gone.wav")
    os.mkfifo("pipe.wav")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.wav")
    shutil.copy("good.wav", b"odd\xff.wav")
    return tmp_path


def command(*words: str) -> str:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == 1, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


@pytest.mark.parametrize("name", UNSEEN)
@pytest.mark.parametrize("words", [("extract", "-o", "f.npz"), ("inspect", "-o", "out")])
def test_a_path_that_cannot_be_seen_is_a_failure_beside_the_others(place, name, words):
    if words[0] == "inspect" and name == "odd bytes":
        pytest.skip("a picture may have any name")
    path, said = UNSEEN[name]
    output = command(words[0], "good.wav", path, *words[1:])
    assert output.count(said) == 1, output
    assert "Error: 1 file could not be read; " in output
    assert Path("f.npz" if words[0] == "extract" else "out").exists()


@pytest.mark.parametrize("name", UNSEEN)
def test_alone_it_is_a_sentence(place, name):
    path, said = UNSEEN[name]
    output = command("extract", path, "-o", "f.npz")
    assert said in output
    assert output.endswith("Error: 1 file could not be read; there were no others, so nothing was written.\n")
    assert not Path("f.npz").exists()


@pytest.mark.parametrize("name", STARTS)
def test_a_file_of_any_name_is_that_file(place, name, monkeypatch):
    path = place / name
    path.parent.mkdir(exist_ok=True, parents=True)
    shutil.copy("good.wav", path) if path.suffix else (path.mkdir(), shutil.copy("good.wav", path / "x.wav"))
    monkeypatch.delenv("HOME", raising=False)
    assert list(find_audio_files([name]).values()) == [path if path.suffix else path / "x.wav"]


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("home", [None, "", "/nowhere"])
def test_a_name_that_nothing_has_matches_nothing(place, name, home, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("HOME", home) if home is not None else None
    if name == "~" and home != "/nowhere":
        pytest.skip("there is such a folder")
    with pytest.raises(SettingError, match="matches no audio file: check the path"):
        find_audio_files([name])


def test_the_home_folder_is_expanded(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place / "home"))
    Path("home").mkdir()
    shutil.copy("good.wav", "home/x.wav")
    for text in ("~/x.wav", "~", "~/*.wav"):
        assert list(find_audio_files([text]).values()) == [place / "home/x.wav"]
    assert paths.parse_path("~/x") == place / "home/x"
    assert StorageSettings(url="~/x").storage.url == str(place / "home/x")


@pytest.mark.parametrize("text", ["", "a\0b.wav", "\ud800.wav"])
def test_what_is_no_path_is_refused(text):
    with pytest.raises(SettingError, match=r"names nothing|contains a character that is invalid in a path"):
        find_audio_files([text])


OPTIONS = [
    ("model", "show", "{}"), ("corpora", "find", "{}"), ("corpora", "verify", "tess", "{}"),
    ("corpora", "fetch", "tess", "--from", "{}"), ("corpora", "fetch", "tess", "--to", "{}", "--from", "good.wav"),
    ("extract", "good.wav", "-o", "{}.npz"), ("inspect", "good.wav", "-o", "{}.png"),
    ("inspect", "good.wav", "-o", "{}"),
    ("corpora", "verify", "tess", ".", "--csv", "{}"),
]  # fmt: skip


@pytest.mark.parametrize("words", OPTIONS, ids=" ".join)
@pytest.mark.parametrize(
    "path", [LONG, DEEP, "loops/x", "loops", "", "good.wav/x"], ids=["long", "deep", "x", "loop", "empty", "file"]
)
def test_every_option_that_takes_a_path_answers_in_a_sentence(place, words, path):
    if path in ("", "loops") and "{}" not in words:
        pytest.skip("a suffix makes another name of it")
    output = command(*(word.replace("{}", path) for word in words))
    last = output.splitlines()[-1]
    assert last.startswith("Error: "), output
    assert len(last) < 600


@RIGHTS
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("extract", "good.wav", "locked/good.wav", "-o", "f.npz"),
            "locked/good.wav cannot be used (Permission denied)",
        ),
        (("extract", "good.wav", "locked", "-o", "f.npz"), "locked cannot be listed (Permission denied)"),
        (("extract", "good.wav", "top", "-o", "f.npz"), "top/locked cannot be listed (Permission denied)"),
        (("extract", "good.wav", "top/**/*.wav", "-o", "f.npz"), "top/locked cannot be listed (Permission denied)"),
        (("extract", "good.wav", "top/*/good.wav", "-o", "f.npz"), "top/locked cannot be listed (Permission denied)"),
        (("extract", "good.wav", "listed", "-o", "f.npz"), "listed/good.wav cannot be read: Permission denied"),
        (("model", "show", "locked/x"), "locked/x/bundle.json cannot be used (Permission denied)"),
        (("corpora", "verify", "tess", "locked/x"), "locked/x cannot be used (Permission denied)"),
        (("corpora", "list"), "closed to you"),
    ],
)
def test_rights_are_told(place, words, said):
    for folder, mode in {"locked": 0, "top/locked": 0, "listed": 0o444}.items():
        Path(folder).mkdir(parents=True)
        shutil.copy("good.wav", folder)
        Path(folder).chmod(mode)
    text = Path("params.yaml").read_text(encoding="utf-8").replace("data/raw/demo/TESS", "locked/TESS")
    Path("params.yaml").write_text(text, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = [*DROP, sys.executable, "-c", "from pipeline.cli.main import main; main()", *words]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    for folder in ("locked", "top/locked", "listed"):
        Path(folder).chmod(0o755)
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert Path("f.npz").exists() == (words[0] == "extract")


def test_a_current_folder_that_is_gone_is_said(place):
    script = "import os, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
    script += "from pipeline.cli.main import main; main()"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for words in (["extract", "x.wav"], ["inspect", "x.wav"], ["compare", "HEAD"], ["predict", "x.wav"]):
        run = [sys.executable, "-c", script, *words]
        done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
        assert done.stderr.splitlines()[-1] == f"Error: {paths.FOLDER_DELETED}", done.stderr


def test_a_pipe_of_the_shell_is_read(place):
    script = 'exec "$0" -c "from pipeline.cli.main import main; main()" extract <(cat good.wav) -o f.npz'
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script, sys.executable], env=environment, capture_output=True, text=True)
    assert "1 row of logmel in f.npz" in done.stdout, done.stderr


def test_bugs_keep_their_traceback():
    assert paths.explain_os_error(FileNotFoundError(errno.ENOENT, "No such file or directory", "x")) is None
    assert paths.explain_os_error(OSError("something else")) is None
    assert "x cannot be used (Permission denied)" in str(
        paths.explain_os_error(PermissionError(errno.EACCES, "Permission denied", "x"))
    )

    def bug():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "x")

    with pytest.raises(FileNotFoundError):
        machine.run_stage(bug)

    def closed():
        raise PermissionError(errno.EACCES, "Permission denied", "x")

    with pytest.raises(SystemExit, match=r"^ser-features: x cannot be used \(Permission denied\): "):
        machine.run_stage(closed)


# links to nothing in a corpus


@pytest.fixture
def corpus(place):
    for number in range(3):
        Path("mine/angry").mkdir(parents=True, exist_ok=True)
        soundfile.write(f"mine/angry/{number}.wav", np.random.default_rng(number).normal(0, 0.1, 16_000), 16_000)
    return place / "mine"


@pytest.mark.parametrize("to", ["gone.wav", "x.wav"])
def test_a_link_to_nothing_is_quarantined_like_any_unreadable_file(corpus, to):
    (corpus / "angry/x.wav").symlink_to(to)
    limits = measure.ClipLimits(max_bad=1)
    frame = stage.run("mine", corpus, corpus.parent / "mine.parquet", limits=limits).set_index("path")
    assert frame["status"].to_dict() == {f"angry/{n}.wav": "ok" for n in range(3)} | {"angry/x.wav": "unreadable"}
    reason = "Too many levels of symbolic links" if to == "x.wav" else "it is a link to gone.wav, which does not exist"
    assert frame["detail"]["angry/x.wav"] == f"angry/x.wav cannot be read: {reason}."
    assert verify.content_hashes(corpus, "angry/x.wav", published=[]).fault == f"it cannot be read: {reason}"
    with pytest.raises(AudioError, match=reason):
        decode.read_recording(corpus / "angry/x.wav")


def test_a_pipe_in_a_corpus_does_not_hang_ingest(corpus):
    os.mkfifo(corpus / "angry/x.wav")
    frame = stage.run("mine", corpus, corpus.parent / "mine.parquet", limits=measure.ClipLimits(max_bad=1)).set_index(
        "path"
    )
    assert frame["detail"]["angry/x.wav"] == "angry/x.wav cannot be read: it is a pipe, not a file."


def test_a_link_that_may_stand_for_a_folder_that_is_gone_stops_ingest(corpus):
    (corpus / "sad").symlink_to("/gone")
    with pytest.raises(CorpusError, match=r"mine/sad is a link to /gone, which cannot be reached: fix or delete it\.$"):
        stage.run("mine", corpus, corpus.parent / "mine.parquet", limits=measure.ClipLimits())


def test_find_names_a_link_to_nothing_and_counts_it_not(corpus):
    (corpus / "angry/x.wav").symlink_to("gone.wav")
    told: list[OSError] = []
    assert len(list(survey.walk(corpus, say=told.append))) == 3
    assert [Path(error.filename) for error in told] == [corpus / "angry/x.wav"]
    assert len(list(survey.walk(corpus))) == 3
    done = CliRunner().invoke(main, ["corpora", "find", "mine"])
    assert "skipped: mine/angry/x.wav (a link to what does not exist)" in done.output
    assert "3 files by emotion" in done.output
