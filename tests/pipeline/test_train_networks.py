"""The networks: counted by arithmetic, free of a backend, judged by what they learn."""

import os
from itertools import pairwise

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.dataset import inputs
from pipeline.dataset.inputs import Statistics
from pipeline.train import architectures, trainer
from pipeline.train.layers import Accuracy, UnweightedAverageRecall
from pipeline.train.settings import CHOICES, Train, best_epoch

SHAPE = (151, 64)
NARROW = Statistics(np.zeros(24, np.float32), np.ones(24, np.float32))
EVEN = Statistics(np.zeros(64, np.float32), np.ones(64, np.float32))


def trunk(filters: tuple[int, ...]) -> int:
    """Weights of the convolutions (no bias) and their batch normalisations (four numbers a channel)."""
    widths = [1, *filters]
    kernels = [25, *[9] * (len(filters) - 1)]
    return sum(k * a * b + 4 * b for k, a, b in zip(kernels, widths, widths[1:], strict=False))


def test_no_layer_of_the_cnn_is_left_out():
    model = architectures.build_cnn(SHAPE, 8, architectures.Cnn(filters=(8, 16, 32)), statistics=EVEN)
    rows = 64 // 2**4  # after the stem's stride and three poolings
    dense = (2 * rows * 32 + 1) * 8
    assert model.count_params() == trunk((8, 16, 32)) + dense


def test_no_layer_of_the_crnn_is_left_out():
    units, rows = 10, 64 // 2**4
    model = architectures.build_crnn(SHAPE, 8, architectures.Crnn(filters=(8, 16, 32), units=units), statistics=EVEN)
    dense = (rows * 32 + 1) * 2 * units
    gru = 2 * 3 * units * (2 * units + units + 2)
    attention = 2 * units + 1
    assert model.count_params() == trunk((8, 16, 32)) + dense + gru + attention + (4 * units + 1) * 8


def plain(rows: int) -> Statistics:
    return Statistics(np.zeros(rows, np.float32), np.ones(rows, np.float32))


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_the_published_network_over_a_line_has_its_parameters():
    """108 frames of 22 rows make the line of 2,376 numbers for which 7,193,223 are published, 7,188,871 trainable."""
    model = architectures.build_conv1d((108, 22), 7, architectures.Conv1d(), statistics=plain(22))
    assert (model.count_params(), trainable(model)) == (7_193_223, 7_188_871)


def test_the_published_network_over_log_mel_has_its_parameters():
    model = architectures.build_conv2d((173, 128), 6, architectures.Conv2d(), statistics=plain(128))
    assert model.count_params() == 22_661_638


def test_the_published_network_over_mfcc_has_its_parameters():
    settings = architectures.Conv2d(filters=(16, 32, 64), dropout=0.0, units=(128,), normalise_dense=False)
    assert architectures.build_conv2d((174, 40), 8, settings, statistics=plain(40)).count_params() == 885_064


def test_no_layer_of_the_published_crnn_over_mfcc_is_left_out():
    """Kernels of 5 with bias, four numbers a channel of batch normalisation, a GRU with two biases."""
    model = architectures.build_crnn1d((174, 40), 8, architectures.Crnn1d(), statistics=plain(40))
    widths = [40, 128, 256, 512]
    convolutions = sum((5 * a + 1) * b + 4 * b for a, b in pairwise(widths))
    gru = 2 * 3 * 128 * (512 + 128 + 2)
    assert model.count_params() == convolutions + gru + (256 + 1) * 8


def test_no_layer_of_the_published_crnn_over_log_mel_is_left_out():
    model = architectures.build_crnn2d((259, 128), 7, architectures.Crnn2d(), statistics=plain(128))
    widths = [1, 64, 64, 128, 128]
    convolutions = sum((9 * a + 1) * b + 4 * b for a, b in pairwise(widths))
    lstm = 2 * 4 * 128 * (128 // 2**4 * 128 + 128 + 1)
    assert model.count_params() == convolutions + lstm + (256 + 1) * 7


@pytest.mark.parametrize(
    ("contours", "order"),
    [(0, [0, 1, 2, 3, 4, 5]), (1, [0, 3, 1, 2, 4, 5]), (2, [0, 3, 1, 4, 2, 5]), (3, [0, 3, 1, 4, 2, 5])],
)
def test_a_line_has_contours_whole_and_the_rest_frame_by_frame(contours, order):
    patch = np.arange(6, dtype=np.float32).reshape(1, 2, 3)  # two frames of three rows
    entry = keras.Input((2, 3))
    found = keras.Model(entry, architectures.flatten_patch(entry, contours)).predict(patch, verbose=0)
    assert found.reshape(-1).tolist() == order
    assert found.shape == (1, 6, 1)


def test_a_line_of_uneven_settings_is_refused():
    with pytest.raises(SettingError, match="5 filters, 2 kernels and 5 dropouts, expected one of each"):
        architectures.Conv1d(kernels=(5, 3))
    with pytest.raises(SettingError, match="contours is 9, expected 0 to the 4 bins"):
        architectures.build_conv1d((10, 4), 3, architectures.Conv1d(contours=9), statistics=plain(4))
    with pytest.raises(SettingError, match=r"model\.conv1d\.dropouts\[4\] is 1\.0"):
        architectures.Conv1d(dropouts=(0.0, 0.2, 0.0, 0.2, 1.0))


SMALL = {  # settings under which each network learns in seconds
    "cnn": {"filters": (8, 16), "dropout": 0.1},
    "crnn": {"filters": (8, 16), "dropout": 0.1, "units": 16},
    "conv1d": {"contours": 0, "filters": (8, 16), "kernels": (5, 5), "dropouts": (0.0, 0.1), "units": 16},
    "conv2d": {"filters": (8, 16), "dropout": 0.1, "units": (16,)},
    "crnn1d": {"filters": (8, 16), "dropout": 0.1, "units": 16},
    "crnn2d": {"filters": (8, 16), "dropout": 0.1, "units": 16},
}


def small(name: str) -> object:
    """The settings of a network, made small where it is large."""
    return architectures.find_architecture(name).config(**SMALL[name])


def answers(model: keras.Model, patches: np.ndarray) -> np.ndarray:
    """What a network says, without compiling it."""
    return keras.ops.convert_to_numpy(model(patches))


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
@pytest.mark.parametrize(("shape", "classes"), [((151, 64), 7), ((94, 22), 4), ((63, 16), 2)])
def test_any_view_gives_probabilities(name, shape, classes):
    arch = architectures.find_architecture(name)
    statistics = Statistics(np.zeros(shape[1], np.float32), np.ones(shape[1], np.float32))
    model = arch.build(shape, classes, small(name), statistics=statistics)
    out = answers(model, np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32))
    assert out.shape == (3, classes)
    np.testing.assert_allclose(out.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_the_statistics_are_inside_and_travel_with_the_file(name, tmp_path):
    """Shifted and scaled input under its own statistics gives what standardised input gives; also after loading."""
    rng = np.random.default_rng(1)
    mean, scale = rng.normal(-40, 10, 64).astype(np.float32), rng.uniform(5, 20, 64).astype(np.float32)
    arch = architectures.find_architecture(name)
    plain = arch.build(SHAPE, 5, small(name), statistics=EVEN)
    own = arch.build(SHAPE, 5, small(name), statistics=Statistics(mean, scale**2))
    own.set_weights(plain.get_weights())  # the statistics are constants, not weights
    patch = rng.normal(size=(4, *SHAPE)).astype(np.float32)
    expected = answers(plain, patch)
    np.testing.assert_allclose(answers(own, patch * scale + mean), expected, atol=1e-5)
    own.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(answers(loaded, patch * scale + mean), expected, atol=1e-5)


def test_an_unknown_network_is_refused():
    with pytest.raises(UnknownNameError, match="model.arch 'crn' is unknown, did you mean 'crnn'"):
        architectures.find_architecture("crn")


def test_uar_is_that_of_scikit_learn_over_batches():
    rng = np.random.default_rng(2)
    truth, guess = rng.choice(4, 200, p=[0.6, 0.3, 0.1, 0.0]), rng.dirichlet(np.ones(4), 200)
    metric = UnweightedAverageRecall(4)
    for start in range(0, 200, 32):
        metric.update_state(np.eye(4)[truth[start : start + 32]], guess[start : start + 32])
    seen = guess.argmax(axis=1)
    expected = np.mean([(seen[truth == k] == k).mean() for k in range(3)])  # the fourth class never occurs
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
    kept = np.isin(seen, [0, 1, 2])
    assert balanced_accuracy_score(truth[kept], seen[kept]) == pytest.approx(
        np.mean([(seen[kept & (truth == k)] == k).mean() for k in range(3)])
    )


def test_accuracy_is_that_of_scikit_learn_and_counts_shares_by_their_size():
    rng = np.random.default_rng(3)
    truth, guess = rng.integers(0, 4, 50), rng.dirichlet(np.ones(4), 50)
    metric = Accuracy()
    metric.update_state(np.eye(4)[truth], guess)
    assert float(metric.result()) == pytest.approx(accuracy_score(truth, guess.argmax(axis=1)), abs=1e-6)
    metric.update_state(np.zeros((9, 4)), guess[:9])  # rows without any truth, which fill batches up
    assert float(metric.result()) == pytest.approx(accuracy_score(truth, guess.argmax(axis=1)), abs=1e-6)
    shares = Accuracy()
    shares.update_state([[0.75, 0.25], [0.5, 0.5]], [[0.9, 0.1], [0.2, 0.8]])
    assert float(shares.result()) == pytest.approx(1.25 / 2)


def patterns(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise in which the class decides the loud band, at any time: it can be learned, but not by one pixel."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    patches = rng.normal(size=(rows, 40, 24)).astype(np.float32)
    for patch, label in zip(patches, labels, strict=True):
        start = rng.integers(0, 30)
        patch[start : start + 10, 8 * label : 8 * label + 8] += 2
    return patches, np.eye(3, dtype=np.float32)[labels]


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_what_can_be_learned_is_learned(name):
    keras.utils.set_random_seed(0)
    arch = architectures.find_architecture(name)
    statistics = Statistics(np.zeros(24, np.float32), np.ones(24, np.float32))
    model = arch.build((40, 24), 3, small(name), statistics=statistics)
    config = Train(learning_rate=6e-3)
    trainer.compile_model(model, config, classes=3)
    model.fit(*patterns(600, 0), epochs=6, batch_size=32, verbose=0)
    patches, truth = patterns(200, 1)
    assert (model.predict(patches, verbose=0).argmax(axis=1) == truth.argmax(axis=1)).mean() > 0.9


class Batches(keras.utils.PyDataset):
    """A few fixed rows in batches."""

    def __init__(self, patches, truth):
        super().__init__()
        self.patches, self.truth = patches, truth

    def start(self, epoch):
        """Each epoch is the same."""

    def __len__(self):
        return len(self.patches) // 20

    def __getitem__(self, number):
        return self.patches[20 * number : 20 * number + 20], self.truth[20 * number : 20 * number + 20]


def fitted(config, validation=True):
    """Train a network that is quickly compiled: who stops it and when does not depend on what it is."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((40, 24)),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    check = Batches(*patterns(60, 5)) if validation else None
    trainer.compile_model(model, config, classes=3)
    history = trainer.fit_network(model, Batches(*patterns(100, 4)), check, config, rows=100).history
    return model, history, check


def test_the_best_epoch_on_validation_stands():
    config = Train(epochs=30, patience=3, learning_rate=0.03)
    model, history, check = fitted(config)
    best = best_epoch(history, config)
    assert best == len(history) - 3 < 30  # it stopped three epochs after the best
    assert history["val_uar"].iloc[best - 1] == history["val_uar"].max()
    scores = model.evaluate(check, verbose=0, return_dict=True)
    assert scores["uar"] == pytest.approx(history["val_uar"].max(), abs=1e-6)
    assert list(history["epoch"]) == list(range(1, len(history) + 1))


def test_the_loss_can_be_what_decides():
    config = Train(epochs=12, patience=12, learning_rate=0.03, monitor="loss")
    model, history, check = fitted(config)
    scores = model.evaluate(check, verbose=0, return_dict=True)
    assert scores["loss"] == pytest.approx(history["val_loss"].min(), abs=1e-5)
    assert history["val_loss"].idxmin() + 1 == best_epoch(history, config)


@pytest.mark.parametrize(("monitor", "mode"), [("uar", "max"), ("loss", "min")])
def test_early_stopping_goes_by_the_monitor(monitor, mode):
    [stop] = trainer.early_stopping(Train(monitor=monitor, patience=3))
    assert (stop.monitor, stop.mode, stop.patience, stop.restore_best_weights) == (f"val_{monitor}", mode, 3, True)


def test_the_rate_falls_by_validation_loss_where_there_is_one():
    config = Train(reduce_after=2, reduce_by=0.3, lowest_rate=1e-4)
    [reduce] = trainer.learning_rate_schedule(config, validated=True)
    assert (reduce.monitor, reduce.patience, reduce.factor, reduce.min_lr) == ("val_loss", 2, 0.3, 1e-4)
    assert trainer.learning_rate_schedule(config, validated=False) == []
    assert trainer.learning_rate_schedule(Train(schedule="constant"), validated=True) == []


@pytest.mark.parametrize("judged", [True, False])
def test_the_rate_falls_in_steps(judged):
    patches, truth = patterns(40, 4)
    model = architectures.build_cnn((40, 24), 3, architectures.Cnn(filters=(4, 4)), statistics=NARROW)
    config = Train(epochs=5, learning_rate=0.01, schedule="steps", reduce_after=2, reduce_by=0.5, patience=None)
    check = Batches(patches[:20], truth[:20]) if judged else None
    trainer.compile_model(model, config, classes=3)
    history = trainer.fit_network(model, Batches(patches, truth), check, config, rows=40).history
    np.testing.assert_allclose(history["learning_rate"], [0.01, 0.01, 0.005, 0.005, 0.0025], rtol=1e-6)


def test_without_patience_every_epoch_runs():
    _, history, _ = fitted(Train(epochs=6, patience=None, learning_rate=1e-9))
    assert len(history) == 6


def test_the_last_weights_stand_where_they_are_asked_for():
    history = pd.DataFrame({"epoch": [1, 2, 3], "val_uar": [0.2, 0.9, 0.1]})
    assert best_epoch(history, Train()) == 2
    assert best_epoch(history, Train(keep="last")) == 3
    [stop] = trainer.early_stopping(Train(keep="last"))
    assert not stop.restore_best_weights


def test_accuracy_is_recorded_and_can_be_the_judge():
    _, history, _ = fitted(Train(epochs=4, monitor="accuracy"))
    assert history["accuracy"].between(0, 1).all()
    best = best_epoch(history, Train(monitor="accuracy"))
    assert history.loc[history["epoch"] == best, "val_accuracy"].item() == history["val_accuracy"].max()


def test_the_optimizer_is_the_one_that_is_named():
    adam, decayed = (trainer.build_optimizer(Train(optimizer=name)) for name in ("adam", "adamw"))
    assert (type(adam).__name__, type(decayed).__name__) == ("Adam", "AdamW")
    assert not adam.weight_decay


def test_cells_are_standardised_one_by_one():
    rng = np.random.default_rng(0)
    mean, variance = rng.normal(size=(40, 24)).astype("f"), rng.uniform(1, 4, (40, 24)).astype("f")
    patch = rng.normal(size=(3, 40, 24)).astype("f")
    own = architectures.build_cnn((40, 24), 3, architectures.Cnn(filters=(4, 4)), statistics=Statistics(mean, variance))
    layer = keras.Model(own.input, own.get_layer("standardise").output)
    np.testing.assert_allclose(layer.predict(patch, verbose=0), (patch - mean) / np.sqrt(variance), atol=1e-5)


@pytest.mark.parametrize("field", CHOICES)
def test_words_that_are_none_of_the_known_are_refused(field):
    with pytest.raises(UnknownNameError, match=rf"params\.yaml: train\.{field} 'rwos' is unknown"):
        Train(**{field: "rwos"})


def test_smoothing_and_decay_reach_the_training():
    model = architectures.build_cnn((40, 24), 3, architectures.Cnn(filters=(4, 4)), statistics=NARROW)
    trainer.compile_model(model, Train(label_smoothing=0.2, weight_decay=0.03, learning_rate=0.004), classes=3)
    assert model.loss.label_smoothing == 0.2
    assert model.optimizer.weight_decay == 0.03
    assert float(model.optimizer.learning_rate) == pytest.approx(0.004)


def test_a_training_that_diverged_is_said():
    patches, truth = patterns(40, 4)
    model = architectures.build_cnn((40, 24), 3, architectures.Cnn(filters=(4, 4)), statistics=NARROW)
    trainer.compile_model(model, Train(), classes=3)
    with pytest.raises(SettingError, match="lower train.learning_rate"):
        trainer.fit_network(model, Batches(patches * np.nan, truth), None, Train(epochs=1), rows=40)


@pytest.mark.parametrize("wrong", [{"filters": ()}, {"filters": (0, 4)}, {"dropout": 1.5}])
@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_settings_that_build_no_network_are_refused(name, wrong):
    if name == "conv1d" and "dropout" in wrong:
        wrong = {"dropouts": (0.0, 0.2, 0.0, 0.2, 1.5)}
    with pytest.raises(SettingError, match=f"model.{name}"):
        architectures.find_architecture(name).config(**wrong)


def test_a_recurrent_layer_needs_units():
    with pytest.raises(SettingError, match="model.crnn.units is 0"):
        architectures.Crnn(units=0)


@pytest.mark.parametrize(
    "wrong", [{"learning_rate": float("nan")}, {"label_smoothing": 3.0}, {"reduce_by": 2.0}, {"batch_size": 0}]
)
def test_settings_that_cannot_train_are_refused(wrong):
    with pytest.raises(SettingError, match=f"train.{next(iter(wrong))}"):
        Train(**wrong)


def test_without_validation_all_epochs_run_and_the_last_stands():
    config = Train(epochs=3, patience=1)
    _, history, _ = fitted(config, validation=False)
    assert len(history) == best_epoch(history, config) == 3
    assert not [name for name in history if name.startswith("val_")]


def test_the_learning_rate_falls_when_validation_stalls():
    _, history, _ = fitted(Train(epochs=12, patience=12, reduce_after=1, learning_rate=0.05))
    rates = history["learning_rate"].round(6).unique()
    assert len(rates) > 1
    assert rates[1] == pytest.approx(0.025)


def test_the_best_epoch_follows_the_monitor():
    history = pd.DataFrame({"epoch": [1, 2, 3], "val_uar": [0.2, 0.5, 0.4], "val_loss": [1.5, 1.4, 1.1]})
    assert best_epoch(history, Train(monitor="uar")) == 2
    assert best_epoch(history, Train(monitor="loss")) == 3


def test_weights_make_each_class_count_alike():
    labels = np.array([0] * 30 + [1] * 10 + [2] * 5)
    weights = inputs.class_weights(labels, 3, balanced=True)
    sums = [weights[k] * (labels == k).sum() for k in range(3)]
    assert sums == pytest.approx([15, 15, 15])
    assert inputs.class_weights(labels, 3, balanced=False).tolist() == [1, 1, 1]


@pytest.mark.parametrize(("folds", "chosen"), [("first", [0]), ("all", [0, 1, 2]), (1, [1]), ((2, 0), [2, 0])])
def test_folds_are_chosen_by_word_or_number(folds, chosen):
    assert Train(folds=folds).chosen([0, 1, 2]) == chosen


@pytest.mark.parametrize("folds", ["last", 3, (0, 7), (), (0, 0)])
def test_folds_that_are_not_there_are_refused(folds):
    with pytest.raises(SettingError, match=r"train\.folds"):
        Train(folds=folds).chosen([0, 1, 2])
