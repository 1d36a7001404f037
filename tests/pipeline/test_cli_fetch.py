"""``ser-features corpora fetch``, and a kill in the middle of it."""

import hashlib
import io
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from pipeline.acquire import sources
from pipeline.acquire.sources import RemoteFile
from pipeline.cli import corpora
from pipeline.cli.main import main
from pipeline.corpora import checksums
from tests.paths import ROOT

PATHS = ["wav/03a01Fa.wav", "wav/03a02Fa.wav"]
BODIES = {path: path.encode() * 10_000 for path in PATHS}


def table():
    rows = [(path, len(body), hashlib.sha256(body).hexdigest()) for path, body in BODIES.items()]
    return pd.DataFrame(rows, columns=["path", "bytes", "sha256"])


def packed():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, body in BODIES.items():
            archive.writestr(path, body)
    return content.getvalue()


@pytest.fixture
def emodb(publisher, tmp_path, monkeypatch):
    """A project without EmoDB, and a server that has it."""
    publisher.files["emodb.zip"] = packed()
    source = replace(sources.SOURCES["emodb"], archives=(RemoteFile(url=f"{publisher.url}emodb.zip"),))
    monkeypatch.setitem(sources.SOURCES, "emodb", source)
    monkeypatch.setattr(checksums, "checksum_table", lambda _: table())
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return publisher


def run(*words, answer=None, terminal=False, monkeypatch=None):
    if terminal:
        monkeypatch.setattr(corpora, "stdin_is_terminal", lambda: True)
    return CliRunner().invoke(main, ["corpora", "fetch", *map(str, words)], input=answer, catch_exceptions=False)


def whole(folder):
    return all((folder / path).read_bytes() == body for path, body in BODIES.items())


def test_a_corpus_is_fetched_and_the_next_command_is_there_to_copy(emodb):
    result = run("emodb", "--accept-licence")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "EmoDB: 2 recordings in data/raw/EmoDB, every file as published.",
        "dvc exp run \\",
        "  -S +data.corpora.emodb=data/raw/EmoDB \\",
        *(f"  -S '~data.corpora.{name}' \\" for name in ("ravdess", "crema_d", "tess")),
        "  -S '~data.corpora.savee'",
    ]
    assert whole(Path("data/raw/EmoDB"))


def test_a_line_that_points_a_corpus_elsewhere_says_so(emodb):
    Path("mine").mkdir()
    text = Path("params.yaml").read_text(encoding="utf-8").replace("    tess: data/raw/demo/TESS", "    emodb: mine")
    Path("params.yaml").write_text(text, encoding="utf-8")
    result = run("emodb", "--accept-licence")
    assert "params.yaml has emodb in mine; this command changes it to data/raw/EmoDB:" in result.stderr
    assert "  -S data.corpora.emodb=data/raw/EmoDB \\" in result.stdout.splitlines()


def test_a_folder_that_dvc_would_rename_is_refused_before_anything_is_fetched(emodb):
    result = run("emodb", "--accept-licence", "--to", "${x}")
    assert result.exit_code == 1
    assert "give the folder another name." in result.stderr
    assert not emodb.asked


def test_the_licence_is_shown_and_asked_for(emodb, monkeypatch):
    result = run("emodb", "--to", "my corpora/E", answer="y\n", terminal=True, monkeypatch=monkeypatch)
    assert result.exit_code == 0
    assert "Licence: free with citation" in result.stderr
    assert "Burkhardt F, " in result.stderr
    assert "http://emodb.bilderbar.info/" in result.stderr
    assert "Do you accept? [y/N]" in result.stderr
    words = shlex.split(result.stdout.partition("\n")[2].replace("\\\n", " "))
    assert words[3:5] == ["-S", '+data.corpora.emodb="my corpora/E"']
    assert whole(Path("my corpora/E"))


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_without_the_licence_accepted_nothing_is_asked_of_the_server(emodb, monkeypatch, answer):
    result = run("emodb", answer=answer, terminal=True, monkeypatch=monkeypatch)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "Error: The licence was not accepted: nothing was downloaded."
    assert emodb.asked == []
    assert not Path("data").exists()


def test_where_nobody_can_answer_the_option_is_named(emodb):
    result = run("emodb", answer="y\n")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: There is no terminal to ask on: pass --accept-licence ")
    assert emodb.asked == []


def test_a_corpus_that_is_there_asks_nothing(emodb):
    run("emodb", "--accept-licence")
    asked = len(emodb.asked)
    result = run("emodb")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == "EmoDB is in data/raw/EmoDB already, every file as published."
    assert len(emodb.asked) == asked


def test_a_folder_with_something_else_is_one_sentence(emodb):
    Path("mine").mkdir()
    Path("mine/a.txt").touch()
    result = run("emodb", "--accept-licence", "--to", "mine")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: mine is there and is not EmoDB as published (2 of 2 files are missing, first wav/03a01Fa.wav): "
        "move it away, or name a folder that does not exist yet with --to.\n"
    )
    assert [path.name for path in Path("mine").iterdir()] == ["a.txt"]


def test_savee_says_what_to_do_before_anything_is_asked(emodb):
    result = run("savee")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: This corpus is given out after registration only: register at http://")
    assert len(result.stderr.splitlines()) == 1


def test_a_server_that_fails_is_one_sentence(emodb):
    emodb.faults["emodb.zip"] = [404]
    result = run("emodb", "--accept-licence")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(f"Error: {emodb.url}emodb.zip answers 404 Not Found: ")
    assert not Path("data/raw/EmoDB").exists()


def test_a_zip_that_is_here_needs_no_server(emodb):
    Path("mine.zip").write_bytes(packed())
    assert run("emodb", "--accept-licence", "--from", "mine.zip").exit_code == 0
    assert emodb.asked == []
    assert whole(Path("data/raw/EmoDB"))


def test_recordings_of_people_that_params_yaml_names_stay_beside_it(emodb):
    Path("data/raw/demo/TESS").mkdir(parents=True)
    assert corpora.corpora_command("ravdess", Path("a")).split(" \\\n  ")[1:] == [
        "-S data.corpora.ravdess=a", "-S '~data.corpora.crema_d'", "-S '~data.corpora.savee'",
    ]  # fmt: skip
    Path("params.yaml").unlink()
    assert corpora.corpora_command("emodb", Path("a")).split(" \\\n  ")[1:] == ["-S +data.corpora.emodb=a"]


def test_an_unknown_corpus_is_one_sentence(emodb):
    result = run("cremad")
    assert result.exit_code == 1
    assert "corpus 'cremad' is unknown, did you mean 'crema_d'?" in result.stderr


SCRIPT = """
import sys
from pathlib import Path
import pandas as pd
from pipeline.acquire import fetch, sources
import pipeline.corpora.checksums
table = pd.read_csv("table.csv")
pipeline.corpora.checksums.checksum_table = lambda _: table
url = sys.argv[1]
zipped = url.endswith("zip")
source = sources.Source(archives=(sources.RemoteFile(url=url),)) if zipped else sources.Source(tree=url)
fetch.fetch_corpus(fetch.make_request("emodb", Path("EmoDB"), source=source))
"""


@pytest.mark.parametrize(("address", "slow"), [("emodb.zip", "emodb.zip"), ("", PATHS[1])])
def test_a_call_after_a_kill_downloads_only_what_was_not_finished(emodb, tmp_path, address, slow):
    emodb.files |= BODIES
    sent = 100_000
    emodb.faults[slow] = [f"hang {sent}"]
    table().to_csv("table.csv", index=False)
    words = [sys.executable, "-c", SCRIPT, f"{emodb.url}{address}"]
    child = subprocess.Popen(words, env={"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not under_way(tmp_path, sent, one_by_one=not address):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not Path("EmoDB").exists()
    emodb.sent.clear()
    subprocess.run(words, env={"PYTHONPATH": str(ROOT)}, check=True)
    assert whole(Path("EmoDB"))
    assert set(emodb.sent) == {slow}
    assert emodb.sent[slow] == len(emodb.files[slow])
    assert sorted(path.name for path in Path("EmoDB").rglob("*") if path.is_file()) == ["03a01Fa.wav", "03a02Fa.wav"]
    assert not Path("EmoDB.part").exists()


def under_way(folder, sent, *, one_by_one):
    """Whether the slow file hangs, and the other one, if there is one, is there."""
    hangs = any(path.stat().st_size > sent // 2 for path in folder.glob("EmoDB.part/**/tmp*"))
    return hangs and (not one_by_one or (folder / "EmoDB.part/files" / PATHS[0]).exists())
