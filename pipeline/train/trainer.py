"""Train networks with Keras: one fold and seed after another, by one compiled training step."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.core.errors import SettingError
from pipeline.dataset import inputs as dataset_inputs
from pipeline.dataset.inputs import ModelInputs, Statistics
from pipeline.train import architectures, batches, devices, layers, models
from pipeline.train.backend import keras, ops
from pipeline.train.callbacks import BackupAndRestore, EpochLines, ProgressBar
from pipeline.train.checkpoints import Checkpoint, TrainingState
from pipeline.train.folds import FoldData
from pipeline.train.layers import Accuracy, UnweightedAverageRecall
from pipeline.train.settings import MONITORS, Augment, Device, Train

Table = npt.NDArray[np.float16] | npt.NDArray[np.float32]
SMALLEST_SD = 1e-7  # a smaller SD counts as this, as in keras.layers.Normalization
VALIDATION_BATCH = 128  # rows of a validation batch


class TrainingModel(keras.Model):  # type: ignore[misc] # keras is untyped
    """A network with standardisation, augmentation and mixup before it, as it is trained.

    What differs between folds (mean and SD, the table) are variables, so one compiled step serves all of them; the
    network itself has neutral statistics.

    Its input is a mapping: ``clip``, patches of shape ``(b, t, f)``, or row numbers of shape ``(b,)`` where it holds a
    table. With ``partner``, of the same shape, and ``share``, ``(b,)``, clips are mixed: Zhang et al. (2018), mixup,
    arXiv:1710.09412.
    """

    def __init__(
        self, network: keras.Model, statistics: tuple[int, ...], *, augment: Augment, table: Table | None = None
    ) -> None:
        super().__init__(name="learner", dtype="float32")  # the layers of the network keep their own dtype policy
        self.network = network
        self.mean = self._constant(np.zeros(statistics, np.float32), "mean")
        self.deviation = self._constant(np.ones(statistics, np.float32), "deviation")
        self.table = None if table is None else self._constant(table, "table")
        self.augmentation = layers.augmentation_layers(augment, seed=0)
        self.built = True

    def _constant(self, values: npt.NDArray[Any], name: str) -> Any:
        return self.add_weight(
            shape=values.shape,
            dtype=values.dtype.name,
            initializer=lambda *_, **__: ops.convert_to_tensor(values),
            trainable=False,
            autocast=False,
            name=name,
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Predict probabilities. Shape: ``(b, classes)``."""
        x = self._standardise(inputs["clip"])
        if "partner" in inputs:
            share = ops.reshape(inputs["share"], (-1, 1, 1))
            x = share * x + (1 - share) * self._standardise(inputs["partner"])
        for layer in self.augmentation:
            x = layer(x, training=training)
        return self.network(x, training=training)

    def _standardise(self, clips: Any) -> Any:
        """Look up rows of the table, if any, and standardise. Shape: ``(b, t, f)`` or ``(b,)`` to ``(b, t, f)``."""
        values = clips if self.table is None else ops.take(self.table, ops.cast(clips, "int32"), axis=0)
        return (ops.cast(values, "float32") - self.mean) / self.deviation

    def restart(self, fresh: keras.Model, statistics: Statistics, *, seed: int) -> None:
        """Reset for another fold or seed: weights of ``fresh``, these statistics, random states, optimizer."""
        for own, other in zip(self.network.variables, fresh.variables, strict=True):
            own.assign(other)
        self.mean.assign(statistics.mean)
        self.deviation.assign(np.maximum(np.sqrt(statistics.variance), SMALLEST_SD))
        for number, layer in enumerate(self.augmentation):
            layer.seed_generator.state.assign(np.array([seed, number], np.uint32))
        for variable, value in zip(self.optimizer.variables, self.initial, strict=True):
            variable.assign(value)

    def build_optimizer(self) -> None:
        """Create the optimizer's variables, and remember their initial values."""
        self.optimizer.build(self.trainable_variables)
        self.initial = [ops.convert_to_numpy(variable) for variable in self.optimizer.variables]

    @property
    def state(self) -> list[Any]:
        """All variables that a training step changes."""
        random = [layer.seed_generator.state for layer in self.augmentation]
        return [*self.network.variables, *random, *self.optimizer.variables]

    def get_weights(self) -> list[npt.NDArray[np.float32]]:
        """Weights of the network alone, which is what `keras.callbacks.EarlyStopping` saves and restores."""
        weights: list[npt.NDArray[np.float32]] = self.network.get_weights()
        return weights

    def set_weights(self, weights: list[npt.NDArray[np.float32]]) -> None:
        self.network.set_weights(weights)


def _synchronise_batch_norm(network: keras.Model) -> None:
    """Synchronise batch normalisation over all devices of TensorFlow, as JAX does anyway."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


@dataclass(frozen=True)
class TrainingResult:
    """History and speed of a training."""

    history: pd.DataFrame  # a row an epoch
    rate: float | None  # clips a second, None where a checkpoint held all epochs


def build_training_model(
    build: Callable[[], keras.Model], statistics: tuple[int, ...], config: Train, *, table: Any = None,
    replicas: devices.Replicas | None = None, steps: int = 1,
) -> TrainingModel:  # fmt: skip
    """Build and compile the model that trains all folds and seeds.

    Args:
        build: builds a network with neutral statistics.
        statistics: shape of the mean: ``(f,)`` or ``(t, f)``.
        config: settings of the training.
        table: all rows, to be held on the device; None where batches hold patches.
        replicas: the devices that share each batch.
        steps: training steps in one call.
    """
    replicas = replicas or devices.Replicas(1)
    with devices.dtype_policy(config.precision), replicas.scope():
        network = build()
        if replicas.strategy is not None:
            _synchronise_batch_norm(network)
        made = TrainingModel(network, statistics, augment=config.augment, table=table)
        compile_model(made, config, classes=network.output_shape[-1], steps=steps)
        made.build_optimizer()
    return made


def fit_network(
    model: keras.Model,
    training: Any,
    validation: Any | None,
    config: Train,
    *,
    rows: int,
    resume: TrainingState | None = None,
    save: Callable[[TrainingState], None] | None = None,
    write: Callable[[str], object] | None = None,
) -> TrainingResult:
    """Train ``model`` in place, and restore the weights of its best epoch.

    Without validation it trains for ``config.epochs`` epochs and has the weights of the last one.

    Args:
        model: compiled by `compile_model`.
        training: batches; ``start(epoch)`` prepares those of an epoch, counted from 0.
        validation: batches.
        config: settings of the training.
        rows: number of training rows in an epoch.
        resume: state of a killed training.
        save: called with the state after an epoch.
        write: called with a line of text after each epoch.

    Returns:
        The columns of its history are epoch, loss, uar, accuracy, learning_rate and, with validation, val_loss, val_uar
        and val_accuracy.

    Raises:
        SettingError: the training diverged.
    """
    resume = resume or TrainingState()
    others = learning_rate_schedule(config, validated=validation is not None)
    others += early_stopping(config) if validation is not None else []
    backup, lines = BackupAndRestore(resume, others, save), EpochLines(rows, config.epochs, write=write)
    bars = [ProgressBar(len(training))] if write is not None and sys.stderr.isatty() else []
    model.fit(
        training,
        validation_data=validation,
        initial_epoch=config.epochs if resume.stopped else resume.epochs,
        epochs=config.epochs,
        shuffle=False,  # Keras would shuffle the batches again, by Python's global random state
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: training.start(epoch)),
            *others,
            *bars,
            lines,
            backup,
        ],
        verbose=0,
    )
    return TrainingResult(_history_table(backup.rows, config), lines.rate)


def _history_table(rows: Sequence[dict[str, float]], config: Train) -> pd.DataFrame:
    """Turn the logs of the epochs into a history.

    Raises:
        SettingError: a metric is not finite.
    """
    history = pd.DataFrame(rows)
    if "learning_rate" not in history:
        history["learning_rate"] = config.learning_rate
    history.insert(0, "epoch", range(1, len(history) + 1))
    if not np.isfinite(history).all(axis=None):
        raise SettingError(
            f"Training diverged: the loss is not finite; lower train.learning_rate ({config.learning_rate})."
        )
    return history


def compile_model(model: keras.Model, config: Train, *, classes: int, steps: int = 1) -> None:
    """Compile with loss, optimizer and metrics."""
    model.compile(
        optimizer=build_optimizer(config),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing, dtype="float32"),
        metrics=[UnweightedAverageRecall(classes), Accuracy()],
        steps_per_execution=steps,
    )


def build_optimizer(config: Train) -> keras.optimizers.Optimizer:
    """Build the optimizer; in float16 it scales the loss, since small gradients would underflow."""
    if config.optimizer == "adam":
        found = keras.optimizers.Adam(config.learning_rate)
    else:
        found = keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay)
    return keras.optimizers.LossScaleOptimizer(found) if config.precision == "mixed_float16" else found


def early_stopping(config: Train) -> list[keras.callbacks.Callback]:
    """Early stopping by a validation metric, which restores the weights of the best epoch."""
    return [
        keras.callbacks.EarlyStopping(
            f"val_{config.monitor}",
            mode=MONITORS[config.monitor],
            patience=config.epochs if config.patience is None else config.patience,
            restore_best_weights=config.keep == "best",
        )
    ]


def learning_rate_schedule(config: Train, *, validated: bool) -> list[keras.callbacks.Callback]:
    """Learning rate schedule; that by validation loss needs validation rows."""
    if config.schedule == "steps":
        return [keras.callbacks.LearningRateScheduler(lambda epoch, _: _step_decay(config, epoch))]
    if config.schedule == "constant" or not validated:
        return []
    return [
        keras.callbacks.ReduceLROnPlateau(
            "val_loss", mode="min", factor=config.reduce_by, patience=config.reduce_after, min_lr=config.lowest_rate
        )
    ]


def _step_decay(config: Train, epoch: int) -> float:
    """Learning rate of an epoch, counted from 0, under step decay.

    >>> [_step_decay(Train(learning_rate=1.0, reduce_after=2, reduce_by=0.5), epoch) for epoch in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    return max(config.learning_rate * config.reduce_by ** (epoch // config.reduce_after), config.lowest_rate)


@dataclass
class FoldTrainer:
    """Trains the networks of all folds and seeds, one after another."""

    params: Mapping[str, Any]
    settings: Train
    device: Device
    replicas: devices.Replicas
    model: TrainingModel | None = None
    rates: list[float] = field(default_factory=list)  # clips a second, of each network trained by this process

    @property
    def backend(self) -> dict[str, str]:
        return devices.describe_backend()

    def train(self, data: FoldData, arch: str, path: Path) -> tuple[models.NetworkModel, pd.DataFrame, Statistics]:
        """Train the network of one fold and seed, from its checkpoint at ``path`` if there is one.

        Returns:
            The network, its history with a row an epoch, and the statistics that standardise its inputs.
        """
        inputs, shape = data.inputs(arch), data.table.layout.shape
        own = models.fits_statistics(arch, self.settings)
        statistics = inputs.measure(data.training[0]) if own else dataset_inputs.neutral_statistics(shape[1])
        seed = network_seed(data.seed)
        fresh = architectures.build_network(self.params, shape, data.classes, statistics=statistics, seed=seed)
        model = self._prepare(data, inputs, statistics)
        model.restart(fresh, statistics, seed=seed)
        checkpoint = Checkpoint(path, self.backend)
        state, message = checkpoint.load()
        if message:
            print(message, flush=True)
        training, validation = self._batches(data, inputs, arch)
        result = fit_network(
            model, training, validation, self.settings, rows=len(training.order), resume=state, save=checkpoint.save,
            write=partial(print, flush=True),
        )  # fmt: skip
        if result.rate is not None:
            self.rates.append(result.rate)
        fresh.set_weights(model.get_weights())
        return models.NetworkModel(fresh), result.history, statistics

    def _prepare(self, data: FoldData, inputs: ModelInputs, statistics: Statistics) -> TrainingModel:
        """Build the model for the first network, and put the fold's features on the device if they are held there."""
        shape, resident = data.table.layout.shape, devices.holds_features(self.device, inputs.size)
        if self.model is None:
            neutral = dataset_inputs.neutral_statistics(shape[1])
            self.model = build_training_model(
                lambda: architectures.build_network(self.params, shape, data.classes, statistics=neutral),
                statistics.mean.shape,
                self.settings,
                table=inputs.everything() if resident else None,
                replicas=self.replicas,
                steps=devices.steps_per_call(self.device),
            )
        elif self.model.table is not None and inputs.speakers is not None:
            self.model.table.assign(inputs.everything())
        return self.model

    def _batches(
        self, data: FoldData, inputs: ModelInputs, arch: str
    ) -> tuple[batches.Batches, batches.Batches | None]:
        """Training batches and, where the fold has validation rows, validation batches."""
        config, parts = self.settings, self.replicas.count
        (rows, labels), (validation, truth) = data.targets(arch), data.validation
        common: dict[str, Any] = {"resident": devices.holds_features(self.device, inputs.size), "parts": parts}
        weights = dataset_inputs.class_weights(labels, data.classes, balanced=config.class_weights)
        training = batches.Batches(
            inputs, rows, labels, weights=weights, batch_size=config.batch_size, shuffle=data.seed,
            mixup=config.augment.mixup, **common,
        )  # fmt: skip
        if not len(validation):
            return training, None
        even = np.ones(data.classes, np.float32)
        size = VALIDATION_BATCH + -VALIDATION_BATCH % parts
        return training, batches.Batches(inputs, validation, truth, weights=even, batch_size=size, **common)

    def speed(self) -> dict[str, Any]:
        """Speed of the training relative to that of large matrix products on the device, and peak memory."""
        if self.model is None:
            return {}
        kind = self.settings.precision.removeprefix("mixed_")
        flops, peak = devices.training_flops(self.model.network), devices.matmul_rate(kind) * self.replicas.count
        found: dict[str, Any] = {
            "gigaflops_per_clip": round(flops / 1e9, 4),
            "matrix_gigaflops_per_second": round(peak / 1e9, 1),
            "peak_memory_gigabytes": devices.peak_memory(),
        }
        if not self.rates:  # checkpoints held all epochs
            return found
        rate = float(np.median(self.rates))
        return {"clips_per_second": round(rate, 1), "share_of_peak": float(f"{rate * flops / peak:.3g}")} | found


def network_seed(numbers: Sequence[int]) -> int:
    """Seed of a network: the sum of seed and fold, hashed where it exceeds the 32 bits that backends take.

    >>> network_seed((42, 3)), network_seed((20241231235959, 0)) != network_seed((20241231235959 + 2**32, 0))
    (45, True)
    """
    total = sum(numbers)
    return total if total < 2**32 else int(np.random.SeedSequence(total).generate_state(1)[0])
