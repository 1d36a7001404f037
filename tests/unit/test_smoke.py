"""All stages on 24 clips of the demo, in this process: what each hands to the next, and what is read in the end."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.core import config, files, tables
from pipeline.dataset import shards
from pipeline.demo import stage as demo_stage
from pipeline.evaluate import stage as evaluate_stage
from pipeline.extract import stage as extract_stage
from pipeline.ingest import stage as ingest_stage
from pipeline.report import stage as report_stage
from pipeline.split import stage as split_stage
from pipeline.train import stage as train_stage
from tests.paths import ROOT

CLIPS, ODD = 24, 2  # of the demo's RAVDESS, which is the largest part of the 60 clips that the demo has at least
CLASSES = ("angry", "happy", "neutral", "sad")


def params():
    """The parameters of the repository for one corpus, two folds, and a network that is next to nothing."""
    values = config.read_params(ROOT / "params.yaml")
    values["data"]["corpora"] = {"ravdess": "data/raw/demo/RAVDESS"}
    values["data"]["demo"] |= {"clips": 60, "max_bad": 0.3}
    values["audio"]["seconds"] = 1.0
    values["augment"]["copies"] = ["noise"]
    values["split"]["folds"] = 2
    values["split"]["labels"]["scheme"] = 4
    values["model"]["cnn"]["filters"] = [2, 2]
    values["train"] |= {"epochs": 1, "folds": "all"}
    values["execute"]["workers"] = 1
    return values


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder in which all stages have run, as ``dvc repro`` calls them."""
    folder = tmp_path_factory.mktemp("smoke")
    with (folder / "params.yaml").open("w") as out:
        YAML(typ="safe").dump(params(), out)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SER_CACHE_DIR", str(folder / "cache"))
        patch.setattr(train_stage, "keep_freed_memory", lambda: True)
        for stage in (demo_stage, ingest_stage, split_stage, extract_stage, train_stage, evaluate_stage, report_stage):
            own = ["ravdess"] if stage in (ingest_stage, extract_stage) else []
            patch.setattr(sys, "argv", [stage.__name__, *own])
            stage.main()
    return folder


def read(project, name):
    return files.read_json(project / "metrics" / name, stage="evaluate")


@pytest.fixture(scope="module")
def usable(project):
    """The clips of which all later stages make something."""
    return set(tables.usable_clips(tables.read_manifest(project / "data/manifest/ravdess.parquet"))["clip_id"])


def test_ingest_finds_every_clip_of_the_demo(project, usable):
    assert len(tables.read_manifest(project / "data/manifest/ravdess.parquet")) == CLIPS + ODD
    assert CLIPS - ODD <= len(usable) <= CLIPS


def test_extract_makes_a_row_of_each_clip_and_its_copy_in_both_views(project, usable):
    for view in ("logmel", "mfcc"):
        file, layout = shards.open_shard(project / f"features/{view}/ravdess.parquet")
        rows = shards.read_index(file).to_pandas()
        assert layout.view == view
        assert sorted(zip(rows["clip_id"], rows["variant"], strict=True)) == sorted(
            (clip, variant) for clip in usable for variant in ("original", "noise")
        )


def test_every_clip_of_a_class_is_tested_once_by_a_network_that_has_not_heard_its_speaker(project, usable):
    clips = tables.read_splits(project / "data/clips.parquet")
    assert set(clips["clip_id"]) <= usable
    assert set(clips.attrs["classes"]) == set(CLASSES)
    tested, probabilities, labels = tables.read_predictions(project / "models/predictions.parquet")
    assert sorted(tested["clip_id"]) == sorted(set(clips["clip_id"]))
    for fold, rows in tested.groupby("fold"):
        heard = clips[(clips["fold"] == fold) & (clips["role"] != "test")]
        assert not set(rows["speaker"]) & set(heard["speaker"])
    assert probabilities.shape == (len(tested), len(CLASSES))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert [labels[best] for best in probabilities.argmax(axis=1)] == list(tested["predicted"])


def test_the_scores_are_those_of_the_predictions_and_stand_in_the_report(project):
    scores = read(project, "eval.json")
    assert set(scores) == {"uar", "uar_low", "uar_high", "accuracy", "f1", "svm", "leaks"}
    tested, _, _ = tables.read_predictions(project / "models/predictions.parquet")
    right = tested["label"] == tested["predicted"]
    assert scores["accuracy"] == pytest.approx(right.mean(), abs=1e-4)
    assert scores["uar"] == pytest.approx(right.groupby(tested["label"]).mean().mean(), abs=1e-4)
    assert scores["leaks"] == 0
    page = (project / "metrics/report.html").read_text(encoding="utf-8")
    assert f"UAR {100 * scores['uar']:.1f} %" in page.replace("\N{NO-BREAK SPACE}", " ")
    assert "synthetic speech" in page
    assert read(project, "details.json")["test"]["uar"] == scores["uar"]
