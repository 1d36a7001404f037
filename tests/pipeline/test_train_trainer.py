"""What trains networks: a table on the device, random changes of features, precision, arithmetic, folds and seeds."""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers, ops

from pipeline.core import tables
from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.dataset import table as dataset_table
from pipeline.dataset.inputs import ModelInputs, Statistics
from pipeline.evaluate import stage
from pipeline.serving import inputs, predictor
from pipeline.train import architectures, bundle, callbacks, devices, models, trainer
from pipeline.train import layers as train_layers
from pipeline.train import stage as train_stage
from pipeline.train.batches import Batches
from pipeline.train.settings import Augment, Train
from pipeline.train.trainer import TrainingModel
from tests.bundles import SMALL
from tests.training import SHAPE, artefacts, params

EVEN = np.ones(3, np.float32)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return artefacts(tmp_path_factory.mktemp("learner"))


def trained(base, name, *, device=None, **settings):
    """Train; give the bundle and its figures."""
    values = params(**{"folds": "first", "epochs": 3} | settings)
    values["device"] |= device or {}
    train_stage.run(
        base / "clips.parquet", [base / "own.parquet"], base / "audit.json",
        output=base / name, metrics=base / f"{name}.json", params=values, cache=base / "cache",
    )  # fmt: skip
    return base / name, json.loads((base / name / "bundle.json").read_text())["training"]


def history(base, name, *, device=None, **settings):
    folder, _ = trained(base, name, device=device, **settings)
    return pd.read_csv(folder / "fold-0/history.csv")


@pytest.mark.parametrize("normalise", ["train", "speaker"])
def test_features_on_the_device_teach_what_mapped_ones_teach(base, normalise):
    mapped_, resident = (
        history(base, f"{normalise}-{lies}", device={"resident": lies}, normalise=normalise, augment={"mixup": 0.4})
        for lies in (False, True)
    )
    pd.testing.assert_frame_equal(mapped_, resident, rtol=1e-4)


def test_several_steps_in_a_call_change_nothing(base):
    one, seven = (history(base, f"steps-{steps}", device={"steps_per_call": steps}) for steps in (1, 7))
    pd.testing.assert_frame_equal(one, seven, rtol=1e-5)


def test_networks_of_all_folds_and_seeds_are_compiled_once(base, monkeypatch):
    """Each is as if it had been trained alone, although one compiled step has trained them all."""
    made, traced, original, call = [], [], trainer.build_training_model, TrainingModel.call

    def trace(self, *args, **options):
        traced.append(self)
        return call(self, *args, **options)

    def count(*args, **options):
        made.append(original(*args, **options))
        return made[-1]

    monkeypatch.setattr(trainer, "build_training_model", count)
    monkeypatch.setattr(TrainingModel, "call", trace)
    together, figures = trained(base, "together", folds="all", seeds=[5, 6])
    assert len(made) == 1
    card = bundle.read_card(together, stage="train")
    assert (card.folds, card.seeds) == ([0, 1], [5, 6])
    assert {path.split("/")[0] for path in card.files} == {"fold-0", "fold-1", "fold-0-seed-6", "fold-1-seed-6"}
    assert {path for path in card.files if "svm" in path} == {"fold-0/svm.npz", "fold-1/svm.npz"}
    alone, _ = trained(base, "alone", folds=1, seeds=[6])
    assert len(made) == 2
    if keras.backend.backend() != "torch":  # which compiles nothing
        assert traced.count(made[0]) == traced.count(made[1]) > 0
    one = models.load_model(together / "fold-1-seed-6", "cnn").network.get_weights()
    other = models.load_model(alone / "fold-1", "cnn").network.get_weights()
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    fold = figures["folds"]["1"]
    found = [fold["seeds"][seed]["val_uar"] for seed in ("5", "6")]
    assert fold["val_uar"] == found[0]
    assert fold["val_uar_mean"] == pytest.approx(np.mean(found), abs=1e-4)
    assert fold["val_uar_sd"] == pytest.approx(np.std(found, ddof=1), abs=1e-4)


def test_seeds_answer_by_their_mean_and_their_spread_is_told(base, capsys, monkeypatch):
    folder, _ = trained(base, "seeds", folds="all", seeds=[5, 6], epochs=2)
    figures = stage.run(
        base / "clips.parquet", [base / "own.parquet"], [base / "manifest.parquet"], folder, base / "audit.json",
        output=base / "heard.parquet", whole=base / "whole", metrics=base / "eval.json", seed=1, cache=base / "cache",
    )  # fmt: skip
    frame, probabilities, labels = tables.read_predictions(base / "heard.parquet")
    table = dataset_table.open_table([base / "own.parquet"], base / "cache")
    truth = frame["label"].map(labels.index).to_numpy()
    each = {}
    for seed, end in ((5, ""), (6, "-seed-6")):
        each[seed] = np.empty_like(probabilities)
        for fold in (0, 1):
            here = (frame["fold"] == fold).to_numpy()
            network = models.load_model(folder / f"fold-{fold}{end}", "cnn").network
            patches = table.gather(table.find(frame[here].assign(variant="original")))
            each[seed][here] = network.predict(patches, verbose=0)
    np.testing.assert_allclose(probabilities, (each[5] + each[6]) / 2, atol=1e-6)
    alone = {
        seed: np.mean([(found.argmax(1) == truth)[truth == k].mean() for k in range(3)]) for seed, found in each.items()
    }
    told = figures["seeds"]
    assert told["count"] == 2
    assert {int(seed): one["uar"] for seed, one in told["each"].items()} == pytest.approx(alone, abs=1e-4)
    assert told["uar_mean"] == pytest.approx(np.mean(list(alone.values())), abs=1e-4)
    assert told["uar_sd"] == pytest.approx(np.std(list(alone.values()), ddof=1), abs=1e-4)
    assert "by the mean of 2 seeds; one alone " in capsys.readouterr().out
    monkeypatch.setattr(inputs, "input_settings", lambda _, *, name: SimpleNamespace(shape=SHAPE, name=name))
    served = predictor.load_member(base / "whole", fold=1)
    assert len(served.models) == 2
    here = (frame["fold"] == 1).to_numpy()
    patches = table.gather(table.find(frame[here].assign(variant="original")))
    np.testing.assert_allclose(served.probabilities(patches), probabilities[here], atol=1e-6)


def rolled(x: np.ndarray) -> list[int]:
    """By how many frames each clip of a ramp was rolled."""
    return [int(patch[0, 0]) for patch in x]


def test_a_roll_moves_whole_clips_in_a_circle_by_no_more_than_it_may():
    ramp = np.tile(np.arange(10, dtype=np.float32)[None, :, None], (400, 1, 3))
    found = ops.convert_to_numpy(train_layers.RandomRoll(2, seed=1)(ramp, training=True))
    assert set(rolled(found)) == {8, 9, 0, 1, 2}
    for before, after in zip(ramp, found, strict=True):
        np.testing.assert_array_equal(np.roll(before, -int(after[0, 0]), axis=0), after)


@pytest.mark.parametrize(("axis", "length"), [(1, 30), (2, 12)])
def test_spans_are_made_the_mean_and_no_wider_than_they_may_be(axis, length):
    ones = np.ones((500, 30, 12), np.float32)
    found = ops.convert_to_numpy(train_layers.SpanMask(axis, count=1, widest=5, seed=2)(ones, training=True))
    gone = (found == 0).all(axis=3 - axis)  # (b, length)
    assert ((found == 0).sum(axis=(1, 2)) == gone.sum(axis=1) * (30 * 12 // length)).all()  # whole frames or rows
    widths = gone.sum(axis=1)
    assert set(widths.tolist()) == set(range(6))
    edges = (np.diff(np.pad(gone.astype(int), ((0, 0), (1, 1))), axis=1) == 1).sum(axis=1)
    assert set(edges[widths > 0].tolist()) == {1}  # one piece each
    assert gone.any(axis=0).all()  # anywhere, both ends too


def test_spans_wider_than_the_clip_and_several_of_them():
    ones = np.ones((200, 6, 4), np.float32)
    found = ops.convert_to_numpy(train_layers.SpanMask(1, count=3, widest=50, seed=2)(ones, training=True))
    assert 0.5 < (found == 0).mean() < 1


def test_noise_is_as_strong_as_it_is_asked_for():
    [layer] = train_layers.augmentation_layers(Augment(noise=0.3), seed=0)
    found = ops.convert_to_numpy(layer(np.zeros((50, 40, 30), np.float32), training=True))
    assert found.std() == pytest.approx(0.3, rel=0.02)


EVERYTHING = Augment(shift=4, noise=0.2, time_masks=2, frequency_masks=1)


def learner(augment=EVERYTHING):
    network = architectures.build_cnn(SHAPE, 3, architectures.Cnn(filters=(4, 4), dropout=0.0), statistics=plain())
    return trainer.build_training_model(lambda: network, (SHAPE[1],), Train(augment=augment)), network


def plain() -> Statistics:
    return Statistics(np.zeros(SHAPE[1], np.float32), np.ones(SHAPE[1], np.float32))


def test_nothing_is_changed_at_inference():
    made, network = learner()
    patches = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    expected = ops.convert_to_numpy(network(patches))
    quiet, heard = (ops.convert_to_numpy(made({"clip": patches}, training=flag)) for flag in (False, True))
    np.testing.assert_allclose(quiet, expected, atol=1e-6)
    assert np.abs(quiet - heard).max() > 1e-3


def test_a_mixture_is_heard_as_the_sum_of_its_clips():
    made, network = learner(Augment())
    one, other = np.random.default_rng(0).normal(size=(2, 4, *SHAPE)).astype(np.float32)
    share = np.array([0, 0.25, 0.5, 1], np.float32)
    weights = share[:, None, None]
    expected = ops.convert_to_numpy(network(weights * one + (1 - weights) * other))
    found = ops.convert_to_numpy(made({"clip": one, "partner": other, "share": share}))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found - ops.convert_to_numpy(network(one))).max() > 1e-3


def test_random_changes_follow_from_the_seed():
    made, _ = learner()
    patches = {"clip": np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)}
    fresh = architectures.build_cnn(SHAPE, 3, architectures.Cnn(filters=(4, 4), dropout=0.0), statistics=plain())
    heard = []
    for seed in (1, 1, 2):
        made.restart(fresh, plain(), seed=seed)
        heard.append([ops.convert_to_numpy(made(patches, training=True)) for _ in range(2)])
    np.testing.assert_array_equal(heard[0], heard[1])
    assert np.abs(heard[0][0] - heard[2][0]).max() > 1e-4
    assert np.abs(heard[0][0] - heard[0][1]).max() > 1e-4  # other ones in the next batch


def test_a_bundle_knows_nothing_of_random_changes(base):
    folder, _ = trained(base, "changed", augment=vars(EVERYTHING) | {"mixup": 0.2})
    network = models.load_model(folder / "fold-0", "cnn").network
    assert not [
        layer
        for layer in network.layers
        if isinstance(layer, train_layers.RandomRoll | train_layers.SpanMask | layers.GaussianNoise)
    ]


def test_mixtures_are_of_clips_and_labels_alike(base):
    inputs = ModelInputs(dataset_table.open_table([base / "own.parquet"], base / "cache"), "bins")
    numbers, labels = np.arange(60), np.arange(60) % 3
    weights = np.array([1, 2, 4], np.float32)
    feed = Batches(inputs, numbers, labels, weights=weights, batch_size=20, shuffle=(1, 2), mixup=0.5)
    mixed, truth, weight = feed[1]
    order = feed.order[20:40]
    np.testing.assert_array_equal(mixed["clip"], inputs.gather(order))
    share = mixed["share"]
    assert 0 <= share.min() < 0.1 < 0.9 < share.max() <= 1  # Beta(0.5, 0.5) is large at both ends
    for row in range(20):
        [partner] = [k for k in range(20) if np.array_equal(mixed["partner"][row], mixed["clip"][k])]
        one, other = np.eye(3)[labels[order[row]]], np.eye(3)[labels[order[partner]]]
        np.testing.assert_allclose(truth[row], share[row] * one + (1 - share[row]) * other, atol=1e-6)
        assert weight[row] == pytest.approx(truth[row] @ weights, rel=1e-5)
    again, _, _ = feed[1]
    np.testing.assert_array_equal(again["share"], share)
    feed.start(1)
    assert not np.array_equal(feed[1][0]["share"], share)


def test_devices_share_batches_evenly(base):
    inputs = ModelInputs(dataset_table.open_table([base / "own.parquet"], base / "cache"), "bins")
    numbers, labels = np.arange(31), np.arange(31) % 3
    feed = Batches(inputs, numbers, labels, weights=EVEN, batch_size=8, shuffle=(1,), parts=4, resident=True)
    sizes = [len(feed[k][1]) for k in range(len(feed))]
    assert sizes == [8, 8, 8, 4]  # 28 of 31
    left = set()
    for epoch in range(20):
        feed.start(epoch)
        left |= set(range(31)) - set(feed.order.tolist())
    assert len(left) > 25  # other ones each time
    check = Batches(inputs, numbers, labels, weights=EVEN, batch_size=8, parts=4, resident=True)
    rows = [check[k] for k in range(len(check))]
    assert [len(truth) for _, truth, _ in rows] == [8, 8, 8, 8]
    assert rows[3][1][7].tolist() == [0, 0, 0]
    assert rows[3][2][7] == 0
    assert sum(weight.sum() for _, _, weight in rows) == pytest.approx(32)  # what Keras divides by


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_of_the_layers_alone(name, policy):
    """What goes in and comes out, softmax and weights are float32; the work between is not."""
    from pipeline.train import devices

    settings = SMALL | {"conv1d": SMALL["conv1d"] | {"contours": 0}, "conv2d": {"filters": (4, 4), "units": (4,)}}
    arch = architectures.find_architecture(name)
    with devices.dtype_policy(policy):
        network = arch.build((48, 16), 3, arch.config(**settings[name]), statistics=sixteen())
    assert keras.config.dtype_policy().name == "float32"
    half = policy.removeprefix("mixed_")
    assert {weight.dtype for weight in network.trainable_weights} == {"float32"}
    kinds = {layer.compute_dtype for layer in network.layers if isinstance(layer, layers.Conv1D | layers.Conv2D)}
    assert kinds == {half}
    assert network.get_layer("standardise").compute_dtype == "float32"
    assert network.get_layer("probabilities").compute_dtype == "float32"
    patches = np.random.default_rng(0).normal(size=(4, 48, 16)).astype(np.float32)
    out = network(patches)
    assert keras.backend.standardize_dtype(out.dtype) == "float32"
    whole = arch.build((48, 16), 3, arch.config(**settings[name]), statistics=sixteen())
    whole.set_weights(network.get_weights())
    difference = np.abs(ops.convert_to_numpy(out) - ops.convert_to_numpy(whole(patches))).max()
    assert difference < 0.05
    assert difference > 0


def sixteen() -> Statistics:
    return Statistics(np.zeros(16, np.float32), np.ones(16, np.float32))


def test_attention_is_weighed_in_float32():
    from pipeline.train import devices

    with devices.dtype_policy("mixed_bfloat16"):
        entry = keras.Input((20, 8))
        model = keras.Model(entry, train_layers.attention_pooling(layers.Dense(8)(entry)))
    weighing = [layer for layer in model.layers if isinstance(layer, layers.Dense)][-1]
    assert weighing.compute_dtype == "float32"


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_learns_as_much_and_its_bundle_is_whole(base, policy):
    folder, figures = trained(base, policy, precision=policy, epochs=15, patience=15)
    assert figures["precision"] == policy
    assert figures["folds"]["0"]["val_uar"] > 0.9
    network = models.load_model(folder / "fold-0", "cnn").network
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}


def test_a_loss_is_scaled_in_float16_alone():
    kinds = {
        name: type(trainer.build_optimizer(Train(precision=name))).__name__ for name in ("float32", "mixed_float16")
    }
    assert kinds == {"float32": "AdamW", "mixed_float16": "LossScaleOptimizer"}


def test_arithmetic_of_the_published_line_is_that_of_the_hand():
    """Kernel x channels in x channels out x places of each convolution, then dense layers; doubled for additions."""
    network = architectures.build_conv1d(
        (108, 22), 7, architectures.Conv1d(), statistics=Statistics(np.zeros(22), np.ones(22))
    )
    places = [2376, 1188, 594, 297, 149]
    widths, kernels = [1, 512, 512, 256, 256, 128], [5, 5, 5, 3, 3]
    forward = sum(k * widths[n] * widths[n + 1] * places[n] for n, k in enumerate(kernels))
    forward += 75 * 128 * 512 + 512 * 7
    assert devices.training_flops(network) == 3 * 2 * forward
    whole = devices.training_flops(network) * 38_918 * 20
    assert whole == pytest.approx(9.3e15, rel=0.03)  # what its training is said to take


def test_arithmetic_of_images_and_of_recurrence():
    eight = Statistics(np.zeros(8), np.ones(8))
    network = architectures.build_conv2d((16, 8), 4, architectures.Conv2d(filters=(2, 3), units=(5,)), statistics=eight)
    forward = 9 * 1 * 2 * 16 * 8 + 9 * 2 * 3 * 8 * 4 + 4 * 2 * 3 * 5 + 5 * 4
    assert devices.training_flops(network) == 6 * forward
    made = architectures.build_crnn(SHAPE, 3, architectures.Crnn(filters=(2,), units=4), statistics=plain())
    recurrent = [layer for layer in made.layers if isinstance(layer, layers.Bidirectional)]
    frames, width = recurrent[0].input.shape[1:]
    assert devices.layer_multiplications(recurrent[0]) == 2 * frames * 3 * 4 * (width + 4)


def test_a_device_has_a_rate():
    assert 1e8 < devices.matmul_rate() < 1e16


def test_figures_of_speed_are_written(base):
    _, figures = trained(base, "speed")
    speed = figures["speed"]
    assert speed["clips_per_second"] > 0
    assert 0 < speed["share_of_peak"] < 1
    assert 0.1 < speed["peak_memory_gigabytes"]["host"] < 64
    flops = devices.training_flops(models.load_model(base / "speed" / "fold-0", "cnn").network)
    assert speed["gigaflops_per_clip"] == pytest.approx(flops / 1e9, abs=1e-4)


def test_each_epoch_is_told(base, capsys):
    trained(base, "told", epochs=2)
    lines = capsys.readouterr().out.splitlines()
    said = [line for line in lines if line.startswith("epoch ")]
    assert len(said) == 2
    assert said[0].startswith("epoch 1 of 2: loss ")
    for word in ("validation UAR", "clips/s", "at most"):
        assert word in said[0]
    assert "left" not in said[1]


def test_a_bar_is_shown_on_a_terminal_alone(base, capsys, monkeypatch):
    trained(base, "no-bar", epochs=1)
    assert "epoch 1:" not in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    trained(base, "bar", epochs=1)
    shown = capsys.readouterr().err
    assert "epoch 1:" in shown
    assert "5/5" in shown or "step/s" in shown


def test_the_time_of_validation_is_not_that_of_training():
    lines = callbacks.EpochLines(100, 3)
    lines.on_epoch_begin(0)
    lines.start -= 10
    lines.on_test_begin()
    lines.start -= 90
    lines.on_epoch_end(0, {"loss": 1.0})
    assert lines.training_seconds[0] == pytest.approx(10, abs=0.1)
    assert lines.epoch_seconds[0] == pytest.approx(100, abs=0.1)
    assert lines.rate == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("wrong", [{"shift": -1}, {"noise": -0.1}, {"time_mask": 0}, {"mixup": 1e9}])
def test_changes_out_of_range_are_refused(wrong):
    with pytest.raises(SettingError, match=rf"train\.augment\.{next(iter(wrong))} is "):
        Augment(**wrong)


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,)])
def test_seeds_that_are_none_are_refused(seeds):
    with pytest.raises(SettingError, match=r"train\.seeds is "):
        Train(seeds=seeds)


def test_an_unknown_precision_is_refused():
    with pytest.raises(UnknownNameError, match=r"train\.precision 'float64' is unknown"):
        Train(precision="float64")
