"""Manifests in, roles and audit out; and the crew that runs the stages."""

import json
import operator

import pytest

from pipeline import parallel
from pipeline.core import machine, tables
from pipeline.core.errors import SerError, SettingError, StoreError
from pipeline.core.labels import Labels
from pipeline.split import stage
from pipeline.split.folds import Split

EMOTIONS = ("angry", "happy", "calm", "boredom")


def rows(corpus: str, speakers: int = 6, start: int = 0) -> list[dict]:
    """Each speaker says each emotion once; samples are numbered from ``start``."""
    found = []
    for speaker in range(speakers):
        for number, emotion in enumerate(EMOTIONS):
            path = f"{speaker}/{emotion}.wav"
            digest = f"{start + 10 * speaker + number:064x}"
            found.append(
                {
                    "clip_id": f"{corpus}/{path}", "corpus": corpus, "path": path, "samples_sha256": digest,
                    "emotion": emotion, "speaker": f"{corpus}/{speaker}", "sex": ("male", "female")[speaker % 2],
                    "statement": str(number), "status": "ok",
                }
            )  # fmt: skip
    return found


def run(tmp_path, corpora, **settings):
    paths = []
    for name, (content, synthetic) in corpora.items():
        paths.append(tmp_path / f"{name}.parquet")
        tables.write_manifest(content, paths[-1], synthetic=synthetic, about={})
    config = Split(**({"folds": 3} | settings))
    stage.run(
        paths, tmp_path / "clips.parquet", tmp_path / "audit.json",
        split=config, variants=("original", "noise"), seed=1,
    )  # fmt: skip
    return tables.read_splits(tmp_path / "clips.parquet"), json.loads((tmp_path / "audit.json").read_text())


def test_roles_and_audit_are_written(tmp_path, capsys):
    table, audit = run(tmp_path, {"a": (rows("a"), False)})
    assert table.attrs["classes"] == ["angry", "happy", "neutral"]
    assert table.attrs["synthetic"] == []
    assert (table.attrs["split"]["protocol"], table.attrs["split"]["folds"]) == ("speaker", 3)
    assert audit["leak"]["contaminated"] == 0
    assert audit["leak"]["seen_statement"] == 1  # every sentence is said by all: information, no fault
    assert audit["left_out"] == {"duplicates_across_corpora": 0, "no_votes": 0, "ties": 0, "label_scheme": 6}  # boredom
    for _, fold in table.groupby("fold"):
        by_role = {role: set(part["speaker"]) for role, part in fold.groupby("role")}
        assert set(by_role) == {"train", "validation", "test"}
        assert not by_role["train"] & by_role["test"]
        assert not by_role["validation"] & (by_role["train"] | by_role["test"])
        assert set(fold.loc[fold["role"] != "train", "variant"]) == {"original"}
    assert "18 clips, 3 classes: angry, happy, neutral" in capsys.readouterr().out


def heard(corpus: str) -> list[dict]:
    """Those rows as a corpus whose listeners heard anger in calm clips, were tied on happy ones and missed boredom."""
    votes = {"angry": [9, 0, 0, 0, 1, 0], "happy": [5, 0, 0, 5, 0, 0], "calm": [6, 0, 0, 0, 3, 1], "boredom": None}
    return [row | {"votes_voice": votes[row["emotion"]]} for row in rows(corpus)]


@pytest.mark.parametrize(
    ("ties", "counts", "said"),
    [
        ("drop", (6, 6, 0), "left out: 6 ties, 6 without votes"),
        ("intended", (6, 0, 0), "left out: 0 ties, 6 without votes"),
        ("soft", (6, 0, 0), "left out: 0 ties, 6 without votes, 6 ties train on their votes alone"),
    ],
)
def test_what_listeners_leave_out_is_counted_and_said(tmp_path, capsys, ties, counts, said):
    corpora = {"a": (heard("a"), False), "b": (rows("b", start=1000), False)}
    table, audit = run(tmp_path, corpora, labels=Labels(source="voice", ties=ties, boredom="keep"))
    assert tuple(audit["left_out"][name] for name in ("no_votes", "ties", "label_scheme")) == counts
    assert audit["leak"]["contaminated"] == 0
    told = capsys.readouterr().out
    assert "labels by most listeners (voice) in a; no votes in b: the intended emotion\n" in told
    assert f"{said}\n" in told
    assert table.attrs["split"]["labels"]["source"] == "voice"
    assert set(table.loc[table["clip_id"].str.fullmatch("a/./calm.wav"), "label"]) == {"angry"}
    one = table.loc[table["clip_id"] == "a/0/calm.wav", "votes_voice"]
    assert {tuple(votes) for votes in one} == {(6, 0, 0, 0, 3, 1)}


@pytest.mark.parametrize(
    ("settings", "word"), [({"protocol": "published"}, "CONTAMINATED"), ({"shuffle": True}, "SHUFFLED")]
)
def test_the_audit_is_stamped_where_no_number_can_be_trusted(tmp_path, capsys, settings, word):
    _, audit = run(tmp_path, {"a": (rows("a"), False)}, **settings)
    assert word in audit["stamp"]
    assert word in capsys.readouterr().out


def test_bad_files_do_not_take_part(tmp_path):
    content = rows("a")
    content[0]["status"] = "truncated"
    table, _ = run(tmp_path, {"a": (content, False)})
    assert content[0]["clip_id"] not in set(table["clip_id"])
    assert content[1]["clip_id"] in set(table["clip_id"])


def test_a_recording_in_two_corpora_counts_once(tmp_path):
    other = rows("b", start=1000)
    other[5]["samples_sha256"] = rows("a")[1]["samples_sha256"]  # both happy, but speakers 1 and 0
    table, audit = run(tmp_path, {"a": (rows("a"), False), "b": (other, False)})
    assert audit["left_out"]["duplicates_across_corpora"] == 2  # whose voice it is cannot be told
    assert not {other[5]["clip_id"], rows("a")[1]["clip_id"]} & set(table["clip_id"])


@pytest.mark.parametrize(("kinds", "warned"), [((True, False), True), ((True, True), False), ((False, False), False)])
def test_synthetic_beside_recorded_speech_is_warned_of(tmp_path, capsys, kinds, warned):
    corpora = {"a": (rows("a"), kinds[0]), "b": (rows("b", start=1000), kinds[1])}
    table, _ = run(tmp_path, corpora)
    said = capsys.readouterr().out
    assert ("WARNING: a (the demo's synthetic speech) beside recorded b" in said) is warned
    assert ("-S '~data.corpora.a'" in said) is warned
    assert table.attrs["synthetic"] == [name for name, kind in zip("ab", kinds, strict=True) if kind]


def test_what_a_fold_lacks_is_said(tmp_path, capsys):
    content = [
        row | {"emotion": "happy"} if row["emotion"] == "angry" and row["speaker"] != "a/0" else row
        for row in rows("a")
    ]
    run(tmp_path, {"a": (content, False)}, validation=0.0)
    said = capsys.readouterr().out
    assert said.count("nobody in training says angry") == 1
    assert said.count("no speaker is left to validate") == 3


def test_a_single_class_is_no_task(tmp_path):
    content = [row for row in rows("a") if row["emotion"] == "angry"]
    with pytest.raises(
        SettingError, match="only angry is left by split.labels, and a model takes two classes or more: add"
    ):
        run(tmp_path, {"a": (content, False)}, labels=Labels(scheme=4))


def test_a_manifest_that_is_missing_names_its_stage(tmp_path):
    with pytest.raises(StoreError, match="run 'dvc repro ingest@tess'"):
        stage.run(
            [tmp_path / "tess.parquet"], tmp_path / "c", tmp_path / "a", split=Split(), variants=("original",), seed=1
        )


@pytest.mark.parametrize("processes", [1, 2])
def test_the_crew_keeps_the_order(processes):
    squares = parallel.parallel_map(operator.neg, list(range(20)), crew=parallel.Executor(processes), label="test")
    assert list(squares) == [-number for number in range(20)]


def test_an_error_the_user_can_mend_is_one_line(capsys):
    def broken():
        raise SerError("this file is that: do so.")

    with pytest.raises(SystemExit) as stop:
        machine.run_stage(broken)
    assert stop.value.code == "ser-features: this file is that: do so."


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        machine.run_stage(lambda: 1 / 0)


@pytest.mark.parametrize("workers", [0, -1])
def test_a_number_of_workers_below_one_is_refused(workers):
    with pytest.raises(SettingError, match="execute.workers"):
        parallel.Execute(workers=workers)
