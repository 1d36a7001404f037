import json

import pytest
from click.testing import CliRunner

from pipeline.cli import main

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
        (tmp_path / "metrics").mkdir()
        (tmp_path / "metrics/audit.json").write_text(json.dumps(CLEAN | changes))
        return CliRunner().invoke(main, ["audit"])

    return write


def test_a_clean_split_passes(audited):
    result = audited()
    assert result.exit_code == 0
    assert result.output == "Nothing leaks: 40 test rows in 5 folds, protocol speaker.\n"


def test_a_leak_fails_with_the_share_and_the_remedy(audited):
    result = audited(leak={"seen_speaker": 0.25, "contaminated": 0.25})
    assert result.exit_code == 1
    assert result.output == "25.00 % of the test rows come from a speaker heard in training: split by speaker.\n"


def test_the_published_fault_is_shown_and_let_pass(audited):
    result = audited(protocol="published", leak={"same_clip": 0.99, "contaminated": 0.99})
    assert result.exit_code == 0
    assert "99.00 %" in result.output


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
    (tmp_path / "params.yaml").write_text("data:\n  corpora:\n    tess: /data/TESS\n    mine: /data/mine\n")
    lines = CliRunner().invoke(main, ["corpora", "list"]).output.splitlines()
    assert len(lines) == 6
    assert lines[0].split("  ")[0].strip() == "ravdess"
    assert "1,440 clips" in lines[0]
    assert "CC BY-NC-SA 4.0" in lines[0]
    assert "/data/TESS" in lines[2]
    assert "a folder for each emotion" in lines[5]
    assert "/data/mine" in lines[5]
