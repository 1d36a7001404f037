"""The networks: counted by arithmetic, free of a backend, judged by what they learn."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from pipeline.errors import SettingError, UnknownNameError
from pipeline.networks import cnn, crnn, registry, training
from pipeline.networks.metrics import UAR
from pipeline.store.statistics import Statistics

SHAPE = (151, 64)
NARROW = Statistics(np.zeros(24, np.float32), np.ones(24, np.float32))
EVEN = Statistics(np.zeros(64, np.float32), np.ones(64, np.float32))


def trunk(filters: tuple[int, ...]) -> int:
    """Weights of the convolutions (no bias) and their batch normalisations (four numbers a channel)."""
    widths = [1, *filters]
    kernels = [25, *[9] * (len(filters) - 1)]
    return sum(k * a * b + 4 * b for k, a, b in zip(kernels, widths, widths[1:], strict=False))


def test_no_layer_of_the_cnn_is_left_out():
    model = cnn.build(SHAPE, 8, cnn.Cnn(filters=(8, 16, 32)), statistics=EVEN)
    rows = 64 // 2**4  # after the stem's stride and three poolings
    dense = (2 * rows * 32 + 1) * 8
    assert model.count_params() == trunk((8, 16, 32)) + dense


def test_no_layer_of_the_crnn_is_left_out():
    units, rows = 10, 64 // 2**4
    model = crnn.build(SHAPE, 8, crnn.Crnn(filters=(8, 16, 32), units=units), statistics=EVEN)
    dense = (rows * 32 + 1) * 2 * units
    gru = 2 * 3 * units * (2 * units + units + 2)
    attention = 2 * units + 1
    assert model.count_params() == trunk((8, 16, 32)) + dense + gru + attention + (4 * units + 1) * 8


@pytest.mark.parametrize("name", registry.ARCHS)
@pytest.mark.parametrize(("shape", "classes"), [((151, 64), 7), ((94, 22), 4), ((63, 13), 2)])
def test_any_view_gives_probabilities(name, shape, classes):
    arch = registry.arch(name)
    statistics = Statistics(np.zeros(shape[1], np.float32), np.ones(shape[1], np.float32))
    model = arch.build(shape, classes, arch.config(), statistics=statistics)
    out = keras.ops.convert_to_numpy(model(np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)))
    assert out.shape == (3, classes)
    np.testing.assert_allclose(out.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", registry.ARCHS)
def test_the_statistics_are_inside_and_travel_with_the_file(name, tmp_path):
    """Shifted and scaled input under its own statistics gives what standardised input gives; also after loading."""
    rng = np.random.default_rng(1)
    mean, scale = rng.normal(-40, 10, 64).astype(np.float32), rng.uniform(5, 20, 64).astype(np.float32)
    arch = registry.arch(name)
    plain = arch.build(SHAPE, 5, arch.config(), statistics=EVEN)
    own = arch.build(SHAPE, 5, arch.config(), statistics=Statistics(mean, scale**2))
    own.set_weights(plain.get_weights())  # the statistics are constants, not weights
    patch = rng.normal(size=(4, *SHAPE)).astype(np.float32)
    expected = plain.predict(patch, verbose=0)
    np.testing.assert_allclose(own.predict(patch * scale + mean, verbose=0), expected, atol=1e-5)
    own.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(loaded.predict(patch * scale + mean, verbose=0), expected, atol=1e-5)


def test_an_unknown_network_is_refused():
    with pytest.raises(UnknownNameError, match="model.arch 'crn' is unknown, did you mean 'crnn'"):
        registry.arch("crn")


def test_uar_is_that_of_scikit_learn_over_batches():
    rng = np.random.default_rng(2)
    truth, guess = rng.choice(4, 200, p=[0.6, 0.3, 0.1, 0.0]), rng.dirichlet(np.ones(4), 200)
    metric = UAR(4)
    for start in range(0, 200, 32):
        metric.update_state(np.eye(4)[truth[start : start + 32]], guess[start : start + 32])
    seen = guess.argmax(axis=1)
    expected = np.mean([(seen[truth == k] == k).mean() for k in range(3)])  # the fourth class never occurs
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
    kept = np.isin(seen, [0, 1, 2])
    assert balanced_accuracy_score(truth[kept], seen[kept]) == pytest.approx(
        np.mean([(seen[kept & (truth == k)] == k).mean() for k in range(3)])
    )


def patterns(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise in which the class decides the loud band, at any time: it can be learned, but not by one pixel."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    patches = rng.normal(size=(rows, 40, 24)).astype(np.float32)
    for patch, label in zip(patches, labels, strict=True):
        start = rng.integers(0, 30)
        patch[start : start + 10, 8 * label : 8 * label + 8] += 2
    return patches, np.eye(3, dtype=np.float32)[labels]


@pytest.mark.parametrize("name", registry.ARCHS)
def test_what_can_be_learned_is_learned(name):
    keras.utils.set_random_seed(0)
    arch = registry.arch(name)
    statistics = Statistics(np.zeros(24, np.float32), np.ones(24, np.float32))
    model = arch.build((40, 24), 3, arch.config(filters=(8, 16), dropout=0.1), statistics=statistics)
    config = training.Train(epochs=12, learning_rate=3e-3)
    training.compile_for(model, config)
    model.fit(*patterns(600, 0), epochs=12, batch_size=32, verbose=0)
    patches, truth = patterns(200, 1)
    assert (model.predict(patches, verbose=0).argmax(axis=1) == truth.argmax(axis=1)).mean() > 0.9


class Batches(keras.utils.PyDataset):
    """A few fixed rows in batches."""

    def __init__(self, patches, truth):
        super().__init__()
        self.patches, self.truth = patches, truth

    def __len__(self):
        return len(self.patches) // 20

    def __getitem__(self, number):
        return self.patches[20 * number : 20 * number + 20], self.truth[20 * number : 20 * number + 20]


def fitted(config, validation=True):
    keras.utils.set_random_seed(3)
    statistics = Statistics(np.zeros(24, np.float32), np.ones(24, np.float32))
    model = cnn.build((40, 24), 3, cnn.Cnn(filters=(4, 4)), statistics=statistics)
    check = Batches(*patterns(60, 5)) if validation else None
    history = training.fit(model, Batches(*patterns(100, 4)), check, config, verbose=0)
    return model, history, check


def test_the_best_epoch_on_validation_stands():
    config = training.Train(epochs=30, patience=3, learning_rate=0.03)
    model, history, check = fitted(config)
    best = training.best_epoch(history, config)
    assert best == len(history) - 3 < 30  # it stopped three epochs after the best
    assert history["val_uar"].iloc[best - 1] == history["val_uar"].max()
    scores = model.evaluate(check, verbose=0, return_dict=True)
    assert scores["uar"] == pytest.approx(history["val_uar"].max(), abs=1e-6)
    assert list(history["epoch"]) == list(range(1, len(history) + 1))


def test_the_loss_can_be_what_decides():
    config = training.Train(epochs=12, patience=12, learning_rate=0.03, monitor="loss")
    model, history, check = fitted(config)
    scores = model.evaluate(check, verbose=0, return_dict=True)
    assert scores["loss"] == pytest.approx(history["val_loss"].min(), abs=1e-5)
    assert history["val_loss"].idxmin() + 1 == training.best_epoch(history, config)


@pytest.mark.parametrize(("monitor", "mode"), [("uar", "max"), ("loss", "min")])
def test_early_stopping_goes_by_the_monitor(monitor, mode):
    stop, reduce = training.judges(training.Train(monitor=monitor, patience=3, reduce_after=2, reduce_by=0.3))
    assert (stop.monitor, stop.mode, stop.patience, stop.restore_best_weights) == (f"val_{monitor}", mode, 3, True)
    assert (reduce.monitor, reduce.patience, reduce.factor) == ("val_loss", 2, 0.3)


def test_smoothing_and_decay_reach_the_training():
    model = cnn.build((40, 24), 3, cnn.Cnn(filters=(4, 4)), statistics=NARROW)
    training.compile_for(model, training.Train(label_smoothing=0.2, weight_decay=0.03, learning_rate=0.004))
    assert model.loss.label_smoothing == 0.2
    assert model.optimizer.weight_decay == 0.03
    assert float(model.optimizer.learning_rate) == pytest.approx(0.004)


def test_a_training_that_diverged_is_said():
    patches, truth = patterns(40, 4)
    model = cnn.build((40, 24), 3, cnn.Cnn(filters=(4, 4)), statistics=NARROW)
    with pytest.raises(SettingError, match="lower train.learning_rate"):
        training.fit(model, Batches(patches * np.nan, truth), None, training.Train(epochs=1), verbose=0)


@pytest.mark.parametrize("wrong", [{"filters": ()}, {"filters": (0, 4)}, {"dropout": 1.5}])
@pytest.mark.parametrize("name", registry.ARCHS)
def test_settings_that_build_no_network_are_refused(name, wrong):
    with pytest.raises(SettingError, match=f"model.{name}"):
        registry.arch(name).config(**wrong)


def test_a_recurrent_layer_needs_units():
    with pytest.raises(SettingError, match="model.crnn.units is 0"):
        crnn.Crnn(units=0)


@pytest.mark.parametrize(
    "wrong", [{"learning_rate": float("nan")}, {"label_smoothing": 3.0}, {"reduce_by": 2.0}, {"batch_size": 0}]
)
def test_settings_that_cannot_train_are_refused(wrong):
    with pytest.raises(SettingError, match=f"train.{next(iter(wrong))}"):
        training.Train(**wrong)


def test_without_validation_all_epochs_run_and_the_last_stands():
    config = training.Train(epochs=3, patience=1)
    _, history, _ = fitted(config, validation=False)
    assert len(history) == training.best_epoch(history, config) == 3
    assert not [name for name in history if name.startswith("val_")]


def test_the_learning_rate_falls_when_validation_stalls():
    _, history, _ = fitted(training.Train(epochs=12, patience=12, reduce_after=1, learning_rate=0.05))
    rates = history["learning_rate"].round(6).unique()
    assert len(rates) > 1
    assert rates[1] == pytest.approx(0.025)


def test_the_best_epoch_follows_the_monitor():
    history = pd.DataFrame({"epoch": [1, 2, 3], "val_uar": [0.2, 0.5, 0.4], "val_loss": [1.5, 1.4, 1.1]})
    assert training.best_epoch(history, training.Train(monitor="uar")) == 2
    assert training.best_epoch(history, training.Train(monitor="loss")) == 3


def test_weights_make_each_class_count_alike():
    labels = np.array([0] * 30 + [1] * 10 + [2] * 5)
    weights = training.weights(labels, 3, balanced=True)
    sums = [weights[k] * (labels == k).sum() for k in range(3)]
    assert sums == pytest.approx([15, 15, 15])
    assert training.weights(labels, 3, balanced=False).tolist() == [1, 1, 1]


@pytest.mark.parametrize(("folds", "chosen"), [("first", [0]), ("all", [0, 1, 2]), (1, [1]), ((2, 0), [2, 0])])
def test_folds_are_chosen_by_word_or_number(folds, chosen):
    assert training.Train(folds=folds).chosen([0, 1, 2]) == chosen


@pytest.mark.parametrize("folds", ["last", 3, (0, 7), (), (0, 0)])
def test_folds_that_are_not_there_are_refused(folds):
    with pytest.raises(SettingError, match=r"train\.folds"):
        training.Train(folds=folds).chosen([0, 1, 2])


def test_the_device_is_named():
    assert training.device().split(":")[0] in {"cpu", "gpu", "cuda", "tpu", "mps"}
