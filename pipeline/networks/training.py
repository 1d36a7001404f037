"""Fit a network, judged by speakers it does not train on."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import SettingError
from pipeline.networks import devices
from pipeline.networks.backend import keras
from pipeline.networks.learner import Learner, synchronise
from pipeline.networks.metrics import UAR, Accuracy
from pipeline.networks.progress import Bar, Lines
from pipeline.networks.resuming import Keeper, State
from pipeline.networks.settings import MONITORS, Train


@dataclass(frozen=True)
class Course:
    """How a training went: a row an epoch, and what this process saw of it."""

    history: pd.DataFrame
    rate: float | None  # clips a second, None where no epoch was left to train


def learner(
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


def fit(
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
