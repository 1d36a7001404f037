"""Fit one network: compiled, fed from the device, stopped by validation speakers."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.core.errors import SettingError
from pipeline.train import devices, layers
from pipeline.train.backend import keras, ops
from pipeline.train.callbacks import Bar, Keeper, Lines, State
from pipeline.train.layers import UAR, Accuracy, Statistics
from pipeline.train.settings import MONITORS, Augment, Train

Table = npt.NDArray[np.float16] | npt.NDArray[np.float32]
SMALLEST = 1e-7  # a deviation below counts as this, as in keras.layers.Normalization


class Learner(keras.Model):  # type: ignore[misc] # keras is untyped
    """A network that standardises by nothing, behind all that a fold decides: so one compiled step serves all folds.

    It takes a mapping: ``clip``, patches of shape ``(b, t, f)`` or, where it holds a table, rows of it, ``(b,)``. With
    ``partner``, as many others, and ``share``, ``(b,)``, it hears mixtures: Zhang et al. (2018), mixup,
    arXiv:1710.09412.
    """

    def __init__(
        self, network: keras.Model, statistics: tuple[int, ...], *, augment: Augment, table: Table | None = None
    ) -> None:
        super().__init__(
            name="learner", dtype="float32"
        )  # the network's own layers have the precision they were made in
        self.network = network
        self.mean = self.constant(np.zeros(statistics, np.float32), "mean")
        self.deviation = self.constant(np.ones(statistics, np.float32), "deviation")
        self.table = None if table is None else self.constant(table, "table")
        self.augmentation = layers.stack(augment, seed=0)
        self.built = True

    def constant(self, values: npt.NDArray[Any], name: str) -> Any:
        """Hold numbers that are not learnt."""
        return self.add_weight(
            shape=values.shape,
            dtype=values.dtype.name,
            initializer=lambda *_, **__: ops.convert_to_tensor(values),
            trainable=False,
            autocast=False,
            name=name,
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Give probabilities. Shape: ``(b, classes)``."""
        x = self.standard(inputs["clip"])
        if "partner" in inputs:
            share = ops.reshape(inputs["share"], (-1, 1, 1))
            x = share * x + (1 - share) * self.standard(inputs["partner"])
        for layer in self.augmentation:
            x = layer(x, training=training)
        return self.network(x, training=training)

    def standard(self, clips: Any) -> Any:
        """Fetch and standardise clips. Shape: ``(b, t, f)`` or ``(b,)`` to ``(b, t, f)``."""
        values = clips if self.table is None else ops.take(self.table, ops.cast(clips, "int32"), axis=0)
        return (ops.cast(values, "float32") - self.mean) / self.deviation

    def restart(self, fresh: keras.Model, statistics: Statistics, *, seed: int) -> None:
        """Begin anew with weights and random states of a network just made, for a fold with these statistics."""
        for own, other in zip(self.network.variables, fresh.variables, strict=True):
            own.assign(other)
        self.mean.assign(statistics.mean)
        self.deviation.assign(np.maximum(np.sqrt(statistics.variance), SMALLEST))
        for number, layer in enumerate(self.augmentation):
            layer.seed_generator.state.assign(np.array([seed, number], np.uint32))
        for variable, value in zip(self.optimizer.variables, self.untouched, strict=True):
            variable.assign(value)

    def ready(self) -> None:
        """Make the optimizer's variables, and remember how they were."""
        self.optimizer.build(self.trainable_variables)
        self.untouched = [ops.convert_to_numpy(variable) for variable in self.optimizer.variables]

    @property
    def state(self) -> list[Any]:
        """All variables that a step changes."""
        random = [layer.seed_generator.state for layer in self.augmentation]
        return [*self.network.variables, *random, *self.optimizer.variables]

    def get_weights(self) -> list[npt.NDArray[np.float32]]:
        """The weights of the network, for whoever keeps the best: table and statistics stay as they are."""
        weights: list[npt.NDArray[np.float32]] = self.network.get_weights()
        return weights

    def set_weights(self, weights: list[npt.NDArray[np.float32]]) -> None:
        """Put weights back."""
        self.network.set_weights(weights)


def synchronise(network: keras.Model) -> None:
    """Let batch normalisation look at the batches of all devices of TensorFlow; on JAX it does so anyway."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


@dataclass(frozen=True)
class Course:
    """How a training went: a row an epoch, and what this process saw of it."""

    history: pd.DataFrame
    rate: float | None  # clips a second, None where no epoch was left to train


def build_learner(
    build: Callable[[], keras.Model], statistics: tuple[int, ...], config: Train, *, table: Any = None,
    spread: devices.Spread | None = None, steps: int = 1,
) -> Learner:  # fmt: skip
    """Make what trains the networks that ``build`` makes, compiled once for all folds and seeds.

    Args:
        build: makes a network that standardises by nothing.
        statistics: the shape of a mean: ``(f,)`` or ``(t, f)``.
        config: how it is trained.
        table: the rows it is fed from, on the device; None where it is fed patches.
        spread: the devices that share each batch.
        steps: steps in one call.
    """
    spread = spread or devices.Spread(1)
    with devices.precision(config.precision), spread.building():
        network = build()
        if spread.strategy is not None:
            synchronise(network)
        made = Learner(network, statistics, augment=config.augment, table=table)
        compile_for(made, config, classes=network.output_shape[-1], steps=steps)
        made.ready()
    return made


def fit_network(
    model: keras.Model,
    training: Any,
    validation: Any | None,
    config: Train,
    *,
    rows: int,
    found: State | None = None,
    keep: Callable[[State], None] | None = None,
    write: Callable[[str], object] | None = None,
) -> Course:
    """Train ``model`` in place and leave it at its best epoch.

    Without validation speakers it trains for ``config.epochs`` epochs, and the last one stands.

    Args:
        model: compiled by `compile_for`.
        training: batches of an epoch; ``start(epoch)`` makes them those of one, counted from 0.
        validation: batches to be judged by.
        config: how.
        rows: clips in an epoch.
        found: where a training that was killed stood.
        keep: takes the state after epochs.
        write: takes a line an epoch.

    Returns:
        Its history has a row an epoch: epoch, loss, uar, accuracy, learning_rate and, with validation, val_loss,
        val_uar, val_accuracy.

    Raises:
        SettingError: the loss is no number any more.
    """
    found = found or State()
    others = [*schedules(config, judged=validation is not None), *(judges(config) if validation is not None else [])]
    keeper, lines = Keeper(found, others, keep), Lines(rows, config.epochs, write=write)
    bars = [Bar(len(training))] if write is not None and sys.stderr.isatty() else []
    model.fit(
        training,
        validation_data=validation,
        initial_epoch=config.epochs if found.stopped else found.epochs,
        epochs=config.epochs,
        shuffle=False,  # it would shuffle the batches once more, by Python's own random state
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: training.start(epoch)),
            *others,
            *bars,
            lines,
            keeper,
        ],
        verbose=0,
    )
    return Course(table_of(keeper.rows, config), lines.rate)


def table_of(rows: Sequence[dict[str, float]], config: Train) -> pd.DataFrame:
    """Lay out a history.

    Raises:
        SettingError: a number in it is none.
    """
    history = pd.DataFrame(rows)
    if "learning_rate" not in history:
        history["learning_rate"] = config.learning_rate
    history.insert(0, "epoch", range(1, len(history) + 1))
    if not np.isfinite(history).all(axis=None):
        raise SettingError(
            f"Training diverged: the loss is no number any more; lower train.learning_rate ({config.learning_rate})."
        )
    return history


def compile_for(model: keras.Model, config: Train, *, classes: int, steps: int = 1) -> None:
    """Set loss, optimizer and scores."""
    model.compile(
        optimizer=optimizer(config),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing, dtype="float32"),
        metrics=[UAR(classes), Accuracy()],
        steps_per_execution=steps,
    )


def optimizer(config: Train) -> keras.optimizers.Optimizer:
    """Make the optimizer; in half precision it scales the loss, or small gradients would become 0."""
    if config.optimizer == "adam":
        found = keras.optimizers.Adam(config.learning_rate)
    else:
        found = keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay)
    return keras.optimizers.LossScaleOptimizer(found) if config.precision == "mixed_float16" else found


def judges(config: Train) -> list[keras.callbacks.Callback]:
    """Stop early and keep the best weights, by validation rows."""
    return [
        keras.callbacks.EarlyStopping(
            f"val_{config.monitor}",
            mode=MONITORS[config.monitor],
            patience=config.epochs if config.patience is None else config.patience,
            restore_best_weights=config.keep == "best",
        )
    ]


def schedules(config: Train, *, judged: bool) -> list[keras.callbacks.Callback]:
    """Lower the learning rate; by validation loss only where there is one."""
    if config.schedule == "steps":
        return [keras.callbacks.LearningRateScheduler(lambda epoch, _: rate_at(config, epoch))]
    if config.schedule == "constant" or not judged:
        return []
    return [
        keras.callbacks.ReduceLROnPlateau(
            "val_loss", mode="min", factor=config.reduce_by, patience=config.reduce_after, min_lr=config.lowest_rate
        )
    ]


def rate_at(config: Train, epoch: int) -> float:
    """Give the learning rate of an epoch, counted from 0, that falls in steps.

    >>> [rate_at(Train(learning_rate=1.0, reduce_after=2, reduce_by=0.5), epoch) for epoch in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    return max(config.learning_rate * config.reduce_by ** (epoch // config.reduce_after), config.lowest_rate)
