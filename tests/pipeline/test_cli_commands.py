import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner

from pipeline.cli.features import VIEWS
from pipeline.cli.main import main
from pipeline.dataset import shards
from pipeline.extract import storage
from pipeline.extract.cache import partition_name, store_rows
from pipeline.signal import extractor
from tests.paths import ROOT

CLEAN = {
    "protocol": "speaker",
    "count": {"test_rows": 40, "folds": 5},
    "leak": {"seen_speaker": 0.0, "contaminated": 0.0},
}


@pytest.fixture
def audited(tmp_path, monkeypatch):
    """A folder with an audit of a split, and a runner in it."""
    monkeypatch.chdir(tmp_path)

    def write(**changes):
        (tmp_path / "metrics").mkdir(exist_ok=True)
        (tmp_path / "metrics/audit.json").write_text(json.dumps(CLEAN | changes))
        return CliRunner().invoke(main, ["audit"])

    return write


def test_a_clean_split_passes(audited):
    result = audited()
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "Protocol speaker, of 40 test rows in 5 folds:",
        "     0 %  come from a speaker heard in training  (fault)",
        "No test row has a fault.",
    ]


def test_a_leak_fails_with_the_share_and_the_remedy(audited):
    result = audited(leak={"seen_speaker": 0.25, "contaminated": 0.25})
    assert result.exit_code == 1
    assert "  25.0 %  come from a speaker heard in training: split by speaker  (fault)" in result.output
    assert result.output.endswith("25.0 % of the test rows have at least one fault.\n")


def test_information_is_no_fault(audited):
    result = audited(leak={"seen_statement": 1.0, "contaminated": 0.0})
    assert result.exit_code == 0
    assert "   100 %  say a sentence that is in the training data  (information)" in result.output


def test_the_published_fault_is_shown_and_let_pass(audited):
    result = audited(protocol="published", leak={"same_clip": 0.99, "contaminated": 0.99})
    assert result.exit_code == 0
    assert "99.0 %" in result.output


@pytest.mark.parametrize("path", ["metrics/details.json", "models/bundle/bundle.json"])
@pytest.mark.parametrize(("protocol", "code"), [("speaker", 1), ("corpus", 0)])
def test_a_model_that_saw_test_statistics_fails_where_it_is_of_this_split(audited, tmp_path, protocol, code, path):
    seen = {"protocol": protocol, "leak": {"statistics": 1.0, "contaminated": 1.0}}
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(json.dumps({"scores": seen} if "bundle" in path else seen))
    result = audited()
    assert result.exit_code == code
    assert ("fit them on training rows alone" in result.output) == bool(code)


def test_the_bundle_that_stands_is_audited_not_an_older_report(audited, tmp_path):
    clean = {"protocol": "speaker", "leak": {"statistics": 0.0, "contaminated": 0.0}}
    for path, values in {
        "metrics/details.json": clean,
        "models/bundle/bundle.json": {"scores": clean | {"leak": {"statistics": 1.0, "contaminated": 1.0}}},
    }.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(json.dumps(values))
    assert audited().exit_code == 1


def test_all_figures_on_request(audited, tmp_path):
    audited()
    assert json.loads(CliRunner().invoke(main, ["audit", "--json"]).output) == CLEAN


def test_without_an_audit_the_stage_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["audit"])
    assert result.exit_code == 1
    assert result.output == "Error: metrics/audit.json does not exist: run 'dvc repro split'.\n"


def test_the_corpora_are_listed_with_size_place_and_licence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    demo = tmp_path / "demo"
    demo.mkdir()
    (demo / "SYNTHETIC.txt").touch()
    (tmp_path / "params.yaml").write_text("data:\n  corpora:\n    tess: /data/TESS\n    mine: own\n    savee: demo\n")
    for name in ("own/angry/1.wav", "own/sad/2.wav", "own/sad/.DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    head, *lines = CliRunner().invoke(main, ["corpora", "list"]).output.splitlines()
    cells = {line.split()[0]: re.split(r"  +", line) for line in lines}
    assert re.split(r"  +", head)[:4] == ["corpus", "clips", "speakers", "hours"]
    assert cells["ravdess"] == ["ravdess", "1,440", "24", "1.48", "-", "-", "CC BY-NC-SA 4.0"]
    assert cells["tess"][1:6] == ["2,800", "2", "1.60", "/data/TESS", "not there"]
    assert cells["savee"][4:6] == ["demo", "the demo, synthetic"]
    assert cells["mine"][1:3] == ["own", "2 files"]


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """A folder with params.yaml and, below it, two clips; the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    Path("clips").mkdir()
    for number in (1, 2):
        tone = np.sin(2 * np.pi * 110 * number * np.arange(16_000) / 16_000)
        soundfile.write(f"clips/{number}.wav", 0.3 * tone * np.hanning(16_000), 16_000)
    return tmp_path


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.parametrize(
    ("options", "rows", "frame"),
    [
        ([], "2 rows of logmel in features.parquet\n", None),
        (["-o", "f.csv", "--view", "mfcc"], "2 rows of mfcc in f.csv\n", 22),
        (["-o", "f.csv", "--augmented", "--workers", 2], "8 rows of logmel in f.csv\n", 64),
    ],
)
def test_features_of_a_folder(clips, options, rows, frame):
    result = run("extract", "clips", *options)
    assert (result.exit_code, result.output) == (0, rows)
    if frame:
        lines = pd.read_csv("f.csv")
        assert len(lines) == 151 * int(rows.split()[0])
        assert len(lines.columns) == 4 + frame


def test_a_bad_clip_is_one_line_the_others_are_written_and_the_exit_code_is_1(clips):
    (clips / "clips/bad.wav").touch()
    result = run("extract", "clips/*.wav", "-o", "f.npz")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"{clips.resolve()}/clips/bad.wav has no bytes: fetch it again.",
        "Error: 1 file could not be read; f.npz holds the others.",
    ]
    assert np.load("f.npz")["clip_id"].tolist() == ["1.wav", "2.wav"]
    result = run("extract", "clips/bad.wav")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        1,
        "Error: 1 file could not be read; there were no others, so nothing was written.",
    )
    assert not Path("features.parquet").exists()


def test_pictures_of_clips(clips):
    assert run("inspect", "clips/1.wav").output == "1.png\n"
    assert run("inspect", "clips", "-o", "out").output == "out/1.png\nout/2.png\n"
    (clips / "clips/bad.wav").touch()
    result = run("inspect", "clips", "-o", "out")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "Error: 1 file could not be read; images drawn: 2."


@pytest.mark.parametrize("command", ["extract", "inspect"])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing.wav"], "Error: nothing.wav matches no audio file: check the path."),
        (["clips", "-o", "f.txt"], "Error: f.txt has the suffix '.txt'"),
        (["clips", "--workers", "0"], "Error: Invalid value for '--workers': 0 is not in the range x>=1."),
        ([], "Error: Missing argument 'CLIPS...'."),
    ],
)
def test_what_cannot_work_is_one_sentence(clips, command, words, sentence):
    result = run(command, *words)
    assert result.exit_code in {1, 2}
    assert result.stderr.splitlines()[-1].startswith(sentence)


@pytest.mark.parametrize("command", ["extract", "inspect"])
def test_without_settings_the_folder_is_named(clips, command):
    (clips / "params.yaml").unlink()
    result = run(command, "clips")
    assert result.exit_code == 1
    assert result.output == f"Error: {clips}/params.yaml does not exist: run from the folder that holds params.yaml.\n"


def test_the_views_are_those_of_the_recipe():
    assert set(VIEWS) == set(extractor.DTYPES)


def test_the_program_itself(clips):
    """The installed command, quoted pattern, exit code and all."""
    words = [Path(sys.executable).with_name("ser-features"), "extract", "clips/**/*.wav", "-o", "f.csv"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "2 rows of logmel in f.csv\n")
    assert run("extract", "clips", "-o", "g.csv").exit_code == 0
    assert Path("f.csv").read_bytes() == Path("g.csv").read_bytes()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A clip cache with a segment that a shard needs and one that none does, both old; and its folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SER_CACHE_DIR", str(tmp_path / "user"))
    monkeypatch.setenv("SER_STORE_URL", str(folder))
    monkeypatch.chdir(tmp_path)
    place, identity = storage.Storage(str(folder)), {"view": "logmel", "settings": {"logmel": {"hop": 320}}}
    for number in range(2):
        keys = [f"{number:02}" * 32]
        store_rows(place, identity, shards.FeatureRows(keys, np.ones((1, 5, 4), np.float16), np.ones(1, np.int32)))
    shard = tmp_path / "features/logmel/own.parquet"
    shard.parent.mkdir(parents=True)
    shard.touch()
    needed, _ = sorted(path.name for path in folder.glob("logmel-*/*.arrow"))
    storage.write_references(place, {shard: (partition_name(identity), [needed])})
    for path in folder.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    return folder


def segments_in(folder):
    return sorted(path.name for path in folder.glob("*/*.arrow"))


def test_the_clip_cache_is_listed_for_people_and_for_scripts(cache, tmp_path):
    result = CliRunner().invoke(main, ["store", "ls"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == f"Clip cache {cache}"
    drawer = next(cache.glob("logmel-*"))
    assert re.fullmatch(rf"{drawer.name} +2 +2 +0.0 MiB +\d+ years ago +\d+ years ago", lines[3])
    assert "features/logmel/own.parquet" in result.output
    found = json.loads(CliRunner().invoke(main, ["store", "ls", "--json"]).output)
    (figures,) = found["drawers"]
    weights = {path.name: path.stat().st_size for path in drawer.iterdir()}
    assert (figures["name"], figures["rows"], figures["size"]) == (drawer.name, 2, sum(weights.values()))
    assert figures["unused"] == weights[max(weights)]
    assert figures["first_written"] == 1e9
    assert [shard["path"] for shard in figures["shards"]] == [str(tmp_path / "features/logmel/own.parquet")]


def test_settings_of_params_yaml_are_held_against_the_drawers(cache, monkeypatch, tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    assert "logmel.hop 320 (now " not in CliRunner().invoke(main, ["store", "ls"]).output
    assert "logmel.n_fft null (now 1024)" in CliRunner().invoke(main, ["store", "ls"]).output


def test_where_the_clip_cache_is(cache, monkeypatch, tmp_path):
    def first():
        return CliRunner().invoke(main, ["store", "ls"]).output.splitlines()[0]

    (tmp_path / "params.yaml").write_text("store:\n  url: elsewhere\n")
    assert first() == f"Clip cache {cache}"
    monkeypatch.delenv("SER_STORE_URL")
    assert first() == f"Clip cache {tmp_path}/elsewhere"
    (tmp_path / "params.yaml").unlink()
    assert first() == f"Clip cache {tmp_path}/user/clips"
    assert not (tmp_path / "user").exists()


def test_a_clip_cache_is_verified_and_repaired(cache):
    whole = CliRunner().invoke(main, ["store", "verify"])
    assert whole.exit_code == 0
    assert re.search(r"^logmel-\w+ +2 .* whole$", whole.output, re.M)
    victim = min(cache.glob("*/*.arrow"))
    victim.write_bytes(victim.read_bytes()[:-300] + bytes(300))
    bad = CliRunner().invoke(main, ["store", "verify"])
    assert bad.exit_code == 1
    assert f"{victim} is damaged: its bytes do not match the checksum in its name. Delete it with" in bad.output
    assert victim.exists()
    repaired = CliRunner().invoke(main, ["store", "verify", "--repair"])
    assert repaired.exit_code == 1
    assert "Deleted: the next run that needs it makes it again." in repaired.output
    assert not victim.exists()
    assert CliRunner().invoke(main, ["store", "verify"]).exit_code == 0


def test_a_dry_run_deletes_nothing_and_a_run_what_no_shard_needs(cache):
    needed, unneeded = segments_in(cache)
    dry = CliRunner().invoke(main, ["store", "gc", "--dry-run"])
    assert (dry.exit_code, segments_in(cache)) == (0, [needed, unneeded])
    assert dry.output.startswith("Would delete 0.0 MiB:\n    1 segment of logmel-")
    young = CliRunner().invoke(main, ["store", "gc", "--older-than", "99999"])
    assert young.output.startswith("There is nothing to delete.\nNo shard needs these either")
    assert segments_in(cache) == [needed, unneeded]
    run = CliRunner().invoke(main, ["store", "gc"])
    assert run.output.replace("Deleted", "Would delete") == dry.output
    assert (run.exit_code, segments_in(cache)) == (0, [needed])
    assert CliRunner().invoke(main, ["store", "gc"]).output == "There is nothing to delete.\n"


def test_what_cannot_be_deleted_is_said_and_fails(cache, monkeypatch):
    def refuse(self, missing_ok=False):
        raise error

    monkeypatch.setattr(Path, "unlink", refuse)
    error = OSError(5, "Input/output error")
    result = CliRunner().invoke(main, ["store", "gc"])
    assert result.exit_code == 1
    assert re.search(r"\.arrow could not be deleted: Input/output error\.\n$", result.output)
    error = PermissionError(13, "Permission denied")
    result = CliRunner().invoke(main, ["store", "gc"])
    assert result.exit_code == 1
    assert re.search(r"\.arrow could not be deleted: Permission denied\.\n$", result.output)


def test_an_absent_clip_cache_is_no_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_STORE_URL", str(tmp_path / "nothing"))
    monkeypatch.setenv("SER_CACHE_DIR", str(tmp_path / "nothing either"))
    for command in (["ls"], ["verify"], ["gc"], ["ls", "--json"]):
        assert CliRunner().invoke(main, ["store", *command]).exit_code == 0
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["audit"],
        ["store", "ls"],
        ["store", "verify"],
        ["store", "gc"],
        ["corpora", "list"],
        ["corpora", "find", "."],
        ["extract", "x.wav"],
        ["inspect", "x.wav"],
        ["recipe", "svm_mfcc"],
        ["predict", "x.wav"],
        ["model", "show"],
    ],
)
def test_below_the_project_every_command_that_needs_it_says_where_to_go(tmp_path, monkeypatch, words):
    """With the settings of elsewhere it would list, or delete, what is not meant; 'dvc repro' does not run there."""
    folder = tmp_path / "sër (2)"
    (folder / "docs/more/ravdess/Actor_01").mkdir(parents=True)
    (folder / "docs/more/x.wav").touch()
    (folder / "docs/more/ravdess/Actor_01/03-01-01-01-01-01-01.wav").touch()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder)
    monkeypatch.chdir(folder / "docs/more")
    monkeypatch.setenv("SER_CACHE_DIR", str(tmp_path / "cache"))
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 1
    assert result.stderr.rstrip().endswith(f"go to the folder of the project first: cd '{folder}'")
