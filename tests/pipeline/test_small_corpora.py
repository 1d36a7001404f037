"""What split lets pass, every later stage finishes: the smallest and oddest corpora through train, evaluate, report."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


import numpy as np
import pytest

from pipeline.core import config, files, tables
from pipeline.dataset import shards
from pipeline.evaluate import stage
from pipeline.ingest import summary
from pipeline.report import model_card
from pipeline.report import stage as report_stage
from pipeline.split import stage as split_stage
from pipeline.split.folds import Split
from pipeline.train import bundle
from pipeline.train import stage as train_stage
from tests.paths import ROOT
from tests.training import ABOUT, LAYOUT, SHAPE, params

VARIANTS = ("original", "noise")


def rows(cells, corpus="own"):
    """Manifest rows from (speaker, emotion): clips; the speaker "" has no name."""
    return [
        {
            "clip_id": f"{corpus}/{who}-{emotion}-{n}", "corpus": corpus, "path": f"{who}-{emotion}-{n}.wav",
            "samples_sha256": f"{corpus}/{who}/{emotion}/{n}", "emotion": emotion, "status": "ok", "seconds": 1.0,
            "speaker": f"{corpus}/{who}" if who else "", "sex": "", "statement": "", "warnings": "",
        }
        for (who, emotion), count in cells.items()
        for n in range(count)
    ]  # fmt: skip


def shard(path, content):
    """Features of these rows: a band for each emotion, and noise."""
    index = [(row, variant) for row in content for variant in VARIANTS]
    tensors = np.random.default_rng(0).normal(-50, 4, (len(index), *SHAPE))
    for patch, (row, _) in zip(tensors, index, strict=True):
        patch[:, sum(row["emotion"].encode()) % SHAPE[1]] += 15
    written = shards.FeatureRows(
        clip_id=[row["clip_id"] for row, _ in index],
        variant=[variant for _, variant in index],
        key=[str(number) for number in range(len(index))],
        valid_frames=np.full(len(index), SHAPE[0], np.int32),
        tensors=tensors.astype(np.float16),
    )
    shards.write_shard(path, LAYOUT, [written])


def whole(folder, content, settings, **training):
    """Run split, train, evaluate and report; give the figures and what the pages say."""
    names = sorted({row["corpus"] for row in content})
    for name in names:
        own = [row for row in content if row["corpus"] == name]
        tables.write_manifest(own, folder / f"manifest/{name}.parquet", synthetic=False, about=ABOUT["own"])
        shard(folder / f"features/{name}.parquet", own)
    manifests, features = ([folder / f"{kind}/{name}.parquet" for name in names] for kind in ("manifest", "features"))
    clips, audit = folder / "clips.parquet", folder / "audit.json"
    split_stage.run(manifests, clips, audit, split=settings, variants=VARIANTS, seed=3)
    values = params(**{"epochs": 1, "folds": "all", "arch": "svm"} | training)
    train_stage.run(
        clips, features, audit, output=folder / "trained", metrics=folder / "train.json", params=values,
        cache=folder / "cache",
    )  # fmt: skip
    figures = stage.run(
        clips, features, manifests, folder / "trained", audit, output=folder / "predictions.parquet",
        whole=folder / "bundle", metrics=folder / "eval.json", seed=3, cache=folder / "cache",
    )  # fmt: skip
    report_stage.run(
        audit=audit, manifests=manifests,
        bundle=folder / "bundle", predictions=folder / "predictions.parquet",
        params=report_stage.bundle_settings(report_stage.read_scored_card(folder / "bundle/bundle.json")),
        plots=folder / "plots", page=folder / "report.html", details=folder / "details.json",
    )  # fmt: skip
    return figures, (folder / "report.html").read_text(), (folder / "bundle" / model_card.MODEL_CARD_FILE).read_text()


ONE = Split(protocol="random", folds=2, validation=0.0)
CORNERS = {
    "two clips train": (rows({("0", "angry"): 2, ("0", "sad"): 2}), ONE, {}),
    "two clips train a network": (rows({("0", "angry"): 2, ("0", "sad"): 2}), ONE, {"arch": "cnn"}),
    "two speakers, a clip of each class": (
        rows({(who, emotion): 1 for who in "01" for emotion in ("angry", "sad")}), Split(folds=2), {},
    ),
    "who validates says one class": (
        rows({(who, emotion): 1 for who in "012" for emotion in ("angry", "sad")} | {("3", "sad"): 2}),
        Split(folds="loso"), {"arch": "cnn", "folds": "first"},
    ),
    "who tests says one class, unheard in training": (
        rows({("0", "happy"): 2} | {(who, emotion): 2 for who in "12" for emotion in ("angry", "sad")}),
        Split(folds="loso", validation=0.0), {},
    ),
    "one class dominates": (
        rows({("0", "angry"): 9, ("0", "sad"): 1, ("1", "angry"): 9, ("1", "sad"): 1}), Split(folds=2), {},
    ),
    "nobody is named": (
        rows({("", "angry"): 4, ("", "sad"): 4}), Split(protocol="random", folds=2, validation=0.5), {},
    ),
    "nobody is named, each corpus left out": (
        rows({("", "angry"): 2, ("", "sad"): 2}) + rows({("0", "angry"): 2, ("0", "sad"): 2}, "two"),
        Split(protocol="corpus"), {},
    ),
    "as published, one clip a class": (
        rows({("0", "angry"): 1, ("1", "sad"): 1}), Split(protocol="published", folds=2), {"arch": "cnn"},
    ),
    "each speaker by himself, of one clip": (
        rows(dict.fromkeys(zip("0123", ["angry", "sad"] * 2, strict=True), 1)),
        Split(folds="loso", validation=0.0), {"normalise": "speaker"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CORNERS)
def test_the_smallest_corpora_go_through_to_the_page(tmp_path, name):
    content, settings, training = CORNERS[name]
    figures, page, card = whole(tmp_path, content, settings, **training)
    assert 0 <= figures["test"]["uar"] <= 1
    told = files.read_json(tmp_path / "details.json", stage="report")
    assert {name: value for name, value in told.items() if name != "training"} == figures
    assert not bundle.read_card(tmp_path / "bundle", stage="evaluate").stamp.startswith("DEMO")
    for text in (page, card):
        assert "0 speakers" not in text
        assert "1 speakers" not in text
        assert "no interval, it takes five test speakers or more, and the name of each" in " ".join(text.split())
    nameless = not any(row["speaker"] for row in content)
    assert ("no named speaker" in page) == nameless
    assert ("no named speaker" in card) == nameless


@pytest.mark.parametrize("seed", [20241231235959, 2**63 - 1])
def test_a_long_seed_goes_through_to_the_page(tmp_path, seed):
    content = rows({(who, emotion): 1 for who in "01" for emotion in ("angry", "sad")})
    whole(tmp_path, content, Split(folds=2), arch="cnn", seed=seed, augment=SHIFTED)
    assert bundle.read_card(tmp_path / "bundle", stage="evaluate").params["seed"] == seed
    assert str(seed) in (tmp_path / "report.html").read_text()


SHIFTED = config.read_params(ROOT / "params.yaml")["train"]["augment"] | {"shift": 2}


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({("", "angry"): 3, ("", "sad"): 3}, "6 of 6 clips usable, no speaker is named, "),
        ({("0", "angry"): 3}, "3 of 3 clips usable, 1 speaker, "),
        ({("0", "angry"): 3, ("1", "sad"): 1, ("", "sad"): 1}, "5 of 5 clips usable, 2 speakers (1 clip names none), "),
    ],
)
def test_ingest_counts_the_speakers_that_are_named(tmp_path, cells, said):
    tables.write_manifest(rows(cells), tmp_path / "own.parquet", synthetic=False, about=ABOUT["own"])
    assert said in summary.ingest_summary(tables.read_manifest(tmp_path / "own.parquet"), "own", system=0, other={})
