"""Train and evaluate on shards that hold a pattern: what is learned, what is written, what is refused."""

import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import shutil

import keras
import numpy as np
import pandas as pd
import pytest

from pipeline.core import files, tables
from pipeline.core.errors import SettingError, StoreError
from pipeline.dataset import inputs
from pipeline.dataset import table as dataset_table
from pipeline.dataset.inputs import ModelInputs
from pipeline.evaluate import stage
from pipeline.train import batches, bundle, models, svm
from pipeline.train import stage as train_stage
from tests.training import ABOUT, CLASSES, LAYOUT, SHAPE, artefacts, clip_table, params, tensors


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The artefacts that train needs."""
    return artefacts(tmp_path_factory.mktemp("train"))


def trained(base, name, **settings):
    train_stage.run(
        base / "clips.parquet", [base / "own.parquet"], base / "audit.json",
        output=base / name, metrics=base / f"{name}.json", params=params(**settings), cache=base / "cache",
    )  # fmt: skip
    return base / name


def told(folder):
    """The figures of a training."""
    return json.loads((folder / "bundle.json").read_text())["training"]


def evaluated(base, folder):
    return stage.run(
        base / "clips.parquet", [base / "own.parquet"], [base / "manifest.parquet"], folder, base / "audit.json",
        output=base / "predictions.parquet", whole=base / "whole", metrics=base / "eval.json",
        seed=42, cache=base / "cache",
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(base):
    return trained(base, "bundle")


def test_a_pattern_is_found_in_speakers_never_heard(base, whole, capsys):
    figures = evaluated(base, whole)
    assert figures["test"]["uar"] > 0.9
    assert figures["test"]["clips"] == 48
    assert figures["folds"]["count"] == 2
    assert figures["protocol"] == "speaker"
    assert figures["synthetic"] == {"own": True}
    assert set(figures["group"]["sex"]) == {"female", "male"}
    assert json.loads((base / "eval.json").read_text()) == {
        "uar": figures["test"]["uar"],
        "accuracy": figures["test"]["wa"],
        "f1": figures["test"]["macro_f1"],
        "svm": figures["baseline"]["svm"]["uar"],
        "leaks": 0.0,
    }
    said = capsys.readouterr().out
    assert "chance 33.3%" in said
    assert "DEMO: synthetic speech" in said


def test_every_row_is_predicted_by_the_network_that_has_not_heard_it(base, whole):
    evaluated(base, whole)
    frame, probabilities, labels = tables.read_predictions(base / "predictions.parquet")
    assert labels == CLASSES
    table = dataset_table.open_table([base / "own.parquet"], base / "cache")
    for fold in (0, 1):
        here = (frame["fold"] == fold).to_numpy()
        assert set(frame.loc[here, "speaker"]) == {f"own/{(n + 3 * fold) % 6}" for n in (0, 1)}
        numbers = table.find(frame[here].assign(variant="original"))
        again = models.load_model(whole / f"fold-{fold}", "cnn").network.predict(table.gather(numbers), verbose=0)
        np.testing.assert_allclose(probabilities[here], again, atol=1e-6)
    assert (frame["predicted"] == np.array(labels)[probabilities.argmax(axis=1)]).all()


def test_the_svm_stands_beside_the_network(base, whole):
    figures = evaluated(base, whole)
    beside = figures["baseline"]
    assert beside["chance"] == {"uar": 0.3333, "wa": 0.3333}
    assert beside["svm"]["uar"] > 0.9
    assert {"uar", "uar_ci95", "wa", "macro_f1", "ece"} <= set(beside["svm"])


def test_the_svm_can_be_the_model(base):
    folder = trained(base, "svm", arch="svm")
    card, figures = bundle.read_card(folder), evaluated(base, folder)
    assert set(card.files) == {"fold-0/svm.npz", "fold-1/svm.npz"}
    assert len(card.statistics["0"]["mean"]) == 4 * SHAPE[1]
    assert figures["test"]["uar"] > 0.9
    assert set(figures["baseline"]) == {"chance"}
    assert figures["leak"]["statistics"] == 0
    assert told(folder)["parameters"] == models.load_model(folder / "fold-1", "svm").size
    assert told(folder)["folds"]["0"] == {"train_rows": 72, "validation_rows": 12}
    assert json.loads((base / "svm.json").read_text()) == {}
    headline = json.loads((base / "eval.json").read_text())
    assert headline["svm"] == headline["uar"]


def test_the_svm_is_told_who_saw_the_test_rows(base, monkeypatch):
    clean = svm.fit_svm
    everything = ModelInputs(dataset_table.open_table([base / "own.parquet"], base / "cache"), "functionals").gather(
        np.arange(144)
    )

    def leaky(*args, **options):
        return clean(*args, **options | {"statistics": inputs.fit_vector_statistics(everything)})

    with monkeypatch.context() as patched:
        patched.setattr(svm, "fit_svm", leaky)
        folder = trained(base, "leaky-svm", arch="svm", folds="first")
    assert evaluated(base, folder)["leak"]["statistics"] == 1


def test_normalising_by_speaker_is_marked_and_uses_no_statistics_of_training(base):
    folder = trained(base, "by-speaker", normalise="speaker", epochs=8, folds="first")
    figures, card = evaluated(base, folder), bundle.read_card(folder)
    assert (figures["normalise"], figures["transductive"]) == ("speaker", True)
    assert (figures["leak"]["own_statistics"], figures["leak"]["statistics"]) == (1, 0)
    assert figures["leak"]["contaminated"] == 0
    assert set(card.statistics["0"]["mean"]) == {0}
    assert set(card.statistics["0"]["variance"]) == {1}
    assert figures["test"]["uar"] > 0.8


def test_without_normalising_nothing_is_fitted(base):
    folder = trained(base, "raw", normalise="none", epochs=1, folds="first")
    figures = evaluated(base, folder)
    assert (figures["normalise"], figures["transductive"]) == ("none", False)
    assert figures["leak"]["statistics"] == 0


def test_cells_are_kept_frame_by_frame_and_audited(base):
    folder = trained(base, "cells", statistics="cells", epochs=1, folds="first")
    assert np.shape(bundle.read_card(folder).statistics["0"]["mean"]) == SHAPE
    assert evaluated(base, folder)["leak"]["statistics"] == 0


def test_rows_of_a_published_split_may_repeat_and_be_copies(base):
    """Copies of one clip on both sides: everything is trained on, scored and stamped as it stands."""
    table = clip_table()
    first = table[table["fold"] == 0]
    tested = pd.concat([first[first["role"] == "train"].head(20)] * 2).assign(role="test")
    rows = pd.concat([first[first["role"] == "train"], tested, tested.assign(role="validation")], ignore_index=True)
    split = {"protocol": "published"}
    tables.write_splits(rows, base / "published.parquet", classes=CLASSES, synthetic=[], split=split, corpora=ABOUT)
    leak = {"contaminated": 1.0, "same_clip": 1.0}
    audit = {"stamp": "CONTAMINATED 100 %", "fold": {"0": {"leak": leak, "count": {"test_rows": 40}}}}
    files.write_json(audit, base / "published-audit.json")
    shards_, audit_ = [base / "own.parquet"], base / "published-audit.json"
    train_stage.run(
        base / "published.parquet", shards_, audit_, output=base / "published", metrics=base / "published.json",
        params=params(epochs=12, folds="first"), cache=base / "cache",
    )  # fmt: skip
    figures = stage.run(
        base / "published.parquet", shards_, [base / "manifest.parquet"], base / "published", audit_,
        output=base / "published-heard.parquet", whole=base / "whole", metrics=base / "heard.json",
        seed=1, cache=base / "cache",
    )  # fmt: skip
    assert (figures["test"]["rows"], figures["test"]["clips"]) == (40, 10)
    assert figures["stamp"].startswith("CONTAMINATED")
    assert told(base / "published")["stamp"] == "CONTAMINATED 100 %"
    assert bundle.read_card(base / "published").stamp == "CONTAMINATED 100 %"
    frame, _, _ = tables.read_predictions(base / "published-heard.parquet")
    assert set(frame["variant"]) == {"original", "noise"}


def test_shuffled_labels_give_chance(base):
    """The control: with labels that mean nothing no honest pipeline finds anything."""
    table = clip_table()
    dealt = dict(zip(table["clip_id"].unique(), np.random.default_rng(4).permutation(CLASSES * 24), strict=True))
    rows = table.assign(label=table["clip_id"].map(dealt))
    split = {"protocol": "speaker", "shuffle": True}
    tables.write_splits(rows, base / "shuffled.parquet", classes=CLASSES, synthetic=[], split=split, corpora=ABOUT)
    train_stage.run(
        base / "shuffled.parquet", [base / "own.parquet"], base / "audit.json", output=base / "shuffled",
        metrics=base / "shuffled.json", params=params(epochs=5), cache=base / "cache",
    )  # fmt: skip
    figures = stage.run(
        base / "shuffled.parquet", [base / "own.parquet"], [base / "manifest.parquet"], base / "shuffled",
        base / "audit.json", output=base / "p.parquet", whole=base / "whole", metrics=base / "e.json",
        seed=1, cache=base / "cache",
    )  # fmt: skip
    assert figures["shuffled"] is True
    assert "SHUFFLED" in figures["stamp"]
    for uar in (figures["test"]["uar"], figures["baseline"]["svm"]["uar"]):
        assert uar == pytest.approx(1 / 3, abs=0.2)  # three deviations of 48 clips


TIED = ("own/3-0.wav", "own/3-5.wav")  # angry and sad, of a speaker who trains in fold 0


@pytest.fixture(scope="module")
def voted(base):
    """The table with votes of three in four for the class, but for one speaker, whom nobody judged, and two ties."""
    table = clip_table()
    cast = {"angry": [3, 0, 0, 1, 0, 0], "happy": [0, 0, 1, 3, 0, 0], "sad": [0, 0, 0, 0, 2, 3]}
    votes = table["label"].map(cast).where(table["speaker"] != "own/5", None)
    tied = table["clip_id"].isin(TIED)
    kept = table.assign(votes_voice=[[2, 0, 0, 2, 0, 0] if tie else v for tie, v in zip(tied, votes, strict=True)])
    kept = kept.assign(label=kept["label"].mask(tied))[~tied | (kept["role"] == "train")]
    split = {"protocol": "speaker", "labels": {"source": "voice"}}
    tables.write_splits(kept, base / "voted.parquet", classes=CLASSES, synthetic=[], split=split, corpora=ABOUT)
    return base / "voted.parquet"


def run_voted(base, voted, name, **settings):
    train_stage.run(
        voted, [base / "own.parquet"], base / "audit.json", output=base / name, metrics=base / f"{name}.json",
        params=params(**settings), cache=base / "cache",
    )  # fmt: skip
    return stage.run(
        voted, [base / "own.parquet"], [base / "manifest.parquet"], base / name, base / "audit.json",
        output=base / "p.parquet", whole=base / "whole", metrics=base / "e.json", seed=1, cache=base / "cache",
    )  # fmt: skip


@pytest.fixture
def taught(monkeypatch):
    """What networks and machines are taught."""
    seen, original, fit = {}, batches.Batches.__init__, svm.fit_svm

    def spy(self, table, numbers, labels=None, **options):
        if options.get("shuffle") is not None:
            seen.update(numbers=numbers, labels=labels, weights=options["weights"])
        elif labels is not None:
            seen.update(judged=labels)
        original(self, table, numbers, labels, **options)

    def watch(values, labels, *rest, **options):
        seen.update(machine=labels)
        return fit(values, labels, *rest, **options)

    monkeypatch.setattr(batches.Batches, "__init__", spy)
    monkeypatch.setattr(svm, "fit_svm", watch)
    return seen


def test_shares_of_votes_are_learnt_and_the_hard_label_judges(base, voted, taught, capsys):
    figures = run_voted(base, voted, "soft", epochs=3, folds="first", soft_labels="voice")
    shares = {tuple(row): int(count) for *row, count in
              np.column_stack(np.unique(taught["labels"], axis=0, return_counts=True)).tolist()}  # fmt: skip
    assert shares == {
        (0.75, 0.25, 0): 14, (0, 1, 0): 24, (0, 0, 1): 22, (0.5, 0.5, 0): 4, (1, 0, 0): 8,
    }  # fmt: skip
    assert taught["labels"].sum(axis=1).tolist() == [1] * 72
    assert taught["judged"].tolist() == [0, 1, 2] * 4
    assert len(taught["machine"]) == 68  # no ties
    assert set(taught["machine"].tolist()) == {0, 1, 2}
    assert figures["labels"] == {"source": "voice", "soft": "voice"}
    assert figures["leak"]["statistics"] == 0
    said = capsys.readouterr().out
    assert "labels: what most listeners heard in the voice, in corpora that have votes; trained on shares" in said
    assert "shares of votes (voice) of 60 clips, 2 of them ties" in said
    assert told(base / "soft")["folds"]["0"]["train_rows"] == 72


def test_the_svm_as_the_model_leaves_ties_out_and_its_statistics_are_still_its_own(base, voted, taught, capsys):
    figures = run_voted(base, voted, "svm-voted", arch="svm", folds="first", soft_labels="voice")
    assert figures["labels"] == {"source": "voice", "soft": None}
    assert "none for the svm, which takes one class a clip; 2 ties are left out" in capsys.readouterr().out
    assert len(taught["machine"]) == 68
    assert figures["leak"]["statistics"] == 0
    assert told(base / "svm-voted")["folds"]["0"]["train_rows"] == 68


@pytest.mark.parametrize(
    ("table", "listeners", "said"),
    [
        ("voted", None, "split.labels.ties is 'soft', and 2 ties have no class, only votes"),
        ("voted", "face", "train.soft_labels is 'face', and no clip .* 'ser-features corpora fetch crema_d'"),
        ("clips", "voice", "train.soft_labels is 'voice', and no clip"),
    ],
)
def test_what_votes_cannot_teach_is_told(base, voted, table, listeners, said):
    with pytest.raises(SettingError, match=said):
        run_voted(base, base / f"{table}.parquet", "never", epochs=1, soft_labels=listeners)
    assert not (base / "never").exists()


def test_the_bundle_says_what_it_is(base, whole):
    card = bundle.read_card(whole)
    assert (card.arch, card.view, card.labels, card.folds) == ("cnn", "logmel", CLASSES, [0, 1])
    assert card.layout["identity"] == LAYOUT.identity
    assert card.scores == {}
    assert card.params["model"]["cnn"]["filters"] == [4, 8]
    assert set(card.files) == {f"fold-{k}/{name}" for k in (0, 1) for name in ("model.keras", "svm.npz", "history.csv")}
    assert not [path for path in whole.rglob("*") if path.suffix in {".pkl", ".pickle", ".joblib", ".h5"}]
    epochs = list(pd.read_csv(whole / "fold-0/history.csv")["epoch"])
    assert epochs == list(range(1, len(epochs) + 1))


def test_statistics_come_from_training_rows_alone(base, whole):
    clips = tables.read_splits(base / "clips.parquet")
    for fold in (0, 1):
        here = clips[(clips["fold"] == fold) & (clips["role"] == "train")]
        raw = np.concatenate([tensors(row.clip_id, row.variant) for row in here.itertuples()]).astype(np.float64)
        kept = bundle.read_card(whole).statistics[str(fold)]
        np.testing.assert_allclose(kept["mean"], raw.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(kept["variance"], raw.var(axis=0), rtol=1e-3)
    assert evaluated(base, whole)["leak"]["statistics"] == 0


def test_statistics_that_saw_the_test_rows_are_caught(base, monkeypatch):
    everything = inputs.fit_statistics(dataset_table.open_table([base / "own.parquet"], base / "cache"), np.arange(144))
    with monkeypatch.context() as patched:
        patched.setattr(ModelInputs, "measure", lambda self, rows: everything)
        folder = trained(base, "leaky", epochs=1, folds="first")
    figures = evaluated(base, folder)
    assert figures["leak"]["statistics"] == 1
    assert figures["leak"]["contaminated"] == 1


def test_only_the_folds_that_were_trained_are_scored(base):
    figures = evaluated(base, trained(base, "single", epochs=1, folds=1))
    assert (figures["test"]["clips"], figures["test"]["speakers"]) == (24, 2)
    assert list(figures["folds"]["each"]) == ["1"]


def test_seed_and_fold_decide_weights_and_order(base, monkeypatch):
    seeds, orders = [], []
    original, seeding = batches.Batches.__init__, keras.utils.set_random_seed

    def spy(self, *args, **options):
        original(self, *args, **options)
        if options.get("shuffle") is not None:
            orders.append(tuple(self.order))

    monkeypatch.setattr(batches.Batches, "__init__", spy)
    monkeypatch.setattr(keras.utils, "set_random_seed", lambda seed: (seeds.append(seed), seeding(seed)))
    for seed in (1, 7):
        trained(base, f"seed-{seed}", epochs=1, seed=seed)  # both folds
    assert len(set(seeds)) == len(seeds) == 4
    assert len(set(orders)) == len(orders) == 4


def test_classes_are_weighed_by_their_share_in_training(base, monkeypatch):
    seen = {}
    original = batches.Batches.__init__

    def spy(self, table, numbers, labels=None, **options):
        if options.get("shuffle") is not None:
            seen.update(weights=options["weights"], labels=labels, size=options["batch_size"])
        original(self, table, numbers, labels, **options)

    table = clip_table()
    rare = table[(table["label"] != "sad") | (table["role"] != "train") | table["clip_id"].str.contains("-2.wav")]
    tables.write_splits(
        rare, base / "rare.parquet", classes=CLASSES, synthetic=[], split={"protocol": "speaker"}, corpora=ABOUT
    )
    monkeypatch.setattr(batches.Batches, "__init__", spy)
    train_stage.run(
        base / "rare.parquet", [base / "own.parquet"], base / "audit.json", output=base / "rare",
        metrics=base / "rare.json", params=params(epochs=1, folds="first", batch_size=10), cache=base / "cache",
    )  # fmt: skip
    sums = [float(seen["weights"][k] * (seen["labels"] == k).sum()) for k in range(3)]
    assert sums == pytest.approx([sums[0]] * 3)
    assert seen["weights"][2] == pytest.approx(4 * seen["weights"][0])
    assert seen["size"] == 10


def test_the_headline_of_training_is_the_validation_uar_alone(base, whole):
    folds = told(whole)["folds"].values()
    mean = np.mean([fold["val_uar"] for fold in folds])
    assert json.loads((base / "bundle.json").read_text()) == {"val_uar": pytest.approx(mean, abs=1e-4)}


def test_figures_of_training_are_written(base, whole):
    figures = told(whole)
    assert (figures["arch"], figures["view"], figures["backend"]) == ("cnn", "logmel", keras.backend.backend())
    assert figures["device"]
    fold = figures["folds"]["1"]
    assert (fold["train_rows"], fold["validation_rows"]) == (72, 12)
    assert 1 <= fold["best_epoch"] <= fold["epochs"] <= 15
    assert fold["val_uar"] == pytest.approx(pd.read_csv(whole / "fold-1/history.csv")["val_uar"].max(), abs=1e-4)


def test_the_same_seed_gives_the_same_network(base):
    one, two, other = (trained(base, name, epochs=2, folds="first") for name in ("one", "two", "three"))
    patch = np.random.default_rng(0).normal(-50, 10, (5, *SHAPE)).astype(np.float32)
    networks = (models.load_model(folder / "fold-0", "cnn").network for folder in (one, two))
    first, second = (network.predict(patch, verbose=0) for network in networks)
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert pd.read_csv(one / "fold-0/history.csv").equals(pd.read_csv(other / "fold-0/history.csv"))


def test_no_test_row_is_touched_while_training(base, monkeypatch):
    seen = []
    original = batches.Batches.__init__

    def spy(self, inputs, numbers, *args, **options):
        seen.extend(inputs.table.rows.index[numbers].get_level_values("clip_id"))
        original(self, inputs, numbers, *args, **options)

    monkeypatch.setattr(batches.Batches, "__init__", spy)
    trained(base, "watched", epochs=1, folds=1)
    clips = tables.read_splits(base / "clips.parquet")
    tested = set(clips.loc[(clips["fold"] == 1) & (clips["role"] == "test"), "clip_id"])
    assert len(set(seen)) == 48
    assert not tested & set(seen)


@pytest.mark.parametrize("harm", ["weights", "label", "gone", "more"])
def test_a_bundle_that_was_tampered_with_is_refused(base, whole, tmp_path, harm):
    folder = shutil.copytree(whole, tmp_path / "bundle")
    weights = folder / "fold-0/model.keras"
    if harm == "weights":
        data = bytearray(weights.read_bytes())
        data[len(data) // 2] ^= 1
        weights.write_bytes(data)
    elif harm == "gone":
        weights.unlink()
    elif harm == "more":
        (folder / "fold-0/extra.py").write_text("print('hello')")
    else:
        (folder / "bundle.json").write_text("{}")
    with pytest.raises(StoreError, match=r"dvc repro -f train"):
        bundle.read_card(folder)


def test_a_model_with_code_inside_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x + 1)])
    (tmp_path / "fold-0").mkdir()
    model.save(tmp_path / "fold-0/model.keras")
    with pytest.raises(StoreError, match="holds no model that may be loaded .*Lambda"):
        models.load_model(tmp_path / "fold-0", "cnn")


def test_without_a_bundle_evaluate_names_the_stage(base, tmp_path):
    with pytest.raises(StoreError, match="run 'dvc repro train'"):
        evaluated(base, tmp_path / "none")
