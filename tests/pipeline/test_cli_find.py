"""``ser-features corpora find``: what it says, the line it prints, and what ``--write`` changes."""

import difflib
import shutil
from itertools import pairwise
from pathlib import Path
from shlex import split

import pytest
from click.testing import CliRunner
from dvc.utils.hydra import apply_overrides

from pipeline.cli.main import main
from pipeline.core import config
from pipeline.corpora import checksums
from tests.paths import ROOT

CORPORA = {"ravdess": "RAVDESS of 2018", "emodb": "EmoDB"}


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A project, in which we are, and beside it a disk with two corpora and a tree of one's own."""
    project, data = tmp_path / "project", tmp_path / "disk"
    project.mkdir()
    shutil.copy(ROOT / "params.yaml", project)
    monkeypatch.chdir(project)
    files = [data / CORPORA[name] / path for name in CORPORA for path in checksums.checksum_table(name)["path"]]
    for path in [*files, data / "Mine/angry/1.wav"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return data


def find(*words):
    return CliRunner().invoke(main, ["corpora", "find", *map(str, words)])


def test_it_names_each_corpus_and_the_line_that_runs_on_them(disk):
    result = find(disk)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split("  ")[0] == "ravdess"
    assert "1,440 of 1,440 clips" in lines[0]
    assert "535 of 535 clips" in lines[1]
    assert "1 files by emotion" in lines[2]
    words = split(result.stdout.partition("\n\n")[2].replace("\\\n", " "))
    changes = [word for before, word in pairwise(words) if before == "-S"]
    apply_overrides(Path("params.yaml"), changes)
    assert config.corpus_folders(config.read_params()) == {
        "ravdess": str(disk / CORPORA["ravdess"]), "emodb": str(disk / "EmoDB"), "mine": str(disk / "Mine"),
    }  # fmt: skip


def test_writing_changes_the_corpora_and_nothing_else(disk):
    before = Path("params.yaml").read_text().splitlines()
    assert find(disk, "--write").exit_code == 0
    after = Path("params.yaml").read_text().splitlines()
    changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert sorted(changed) == sorted(
        [
            "-     ravdess: data/raw/demo/RAVDESS",
            "-     crema_d: data/raw/demo/CREMA-D",
            "-     tess: data/raw/demo/TESS",
            "-     savee: data/raw/demo/SAVEE",
            f"+     ravdess: {disk / CORPORA['ravdess']}",
            f"+     emodb: {disk / 'EmoDB'}",
            f"+     mine: {disk / 'Mine'}",
        ]
    )


def test_a_real_corpus_that_stands_elsewhere_stays_and_the_demo_goes(disk, tmp_path):
    (tmp_path / "TESS").mkdir()
    text = Path("params.yaml").read_text().replace("data/raw/demo/TESS", str(tmp_path / "TESS"))
    Path("params.yaml").write_text(text)
    demo = Path("data/raw/demo/SAVEE")
    demo.mkdir(parents=True)
    (demo / "SYNTHETIC.txt").touch()
    find(disk, "--write")
    assert sorted(config.corpus_folders(config.read_params())) == ["emodb", "mine", "ravdess", "tess"]


def test_a_folder_of_the_project_is_written_relative_to_it(disk):
    shutil.move(disk / "EmoDB", "corpora")
    find("corpora", "--write")
    assert config.corpus_folders(config.read_params()) == {"emodb": "corpora"}


def test_the_demo_is_passed_over(disk):
    shutil.copytree(disk / "EmoDB", "data/raw/demo/EmoDB")
    assert find("data").exit_code == 0
    Path("data/raw/demo/EmoDB/SYNTHETIC.txt").touch()
    assert find("data").exit_code == 1


def test_nothing_found_is_said_and_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "empty").mkdir()
    result = find("empty", "--write")
    assert result.exit_code == 1
    assert "holds no corpus" in result.stderr
    assert (tmp_path / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_without_params_the_line_is_printed_all_the_same(disk):
    Path("params.yaml").unlink()
    assert "-S +data.corpora.emodb=" in find(disk).stdout
    assert find(disk, "--write").exit_code == 1
