"""Fit a network, judged by speakers it does not train on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from pipeline.errors import SettingError, UnknownNameError
from pipeline.labels import LISTENERS
from pipeline.networks.metrics import UAR

MONITORS = {"uar": "max", "accuracy": "max", "loss": "min"}
WORDS = {
    "normalise": ("train", "speaker", "none"),
    "statistics": ("rows", "cells"),
    "optimizer": ("adamw", "adam"),
    "schedule": ("plateau", "steps", "constant"),
    "monitor": tuple(MONITORS),
    "keep": ("best", "last"),
    "soft_labels": (*LISTENERS, None),
}
RANGES = {
    "epochs": (1, 100_000),
    "batch_size": (1, 65_536),
    "learning_rate": (1e-9, 10.0),
    "weight_decay": (0.0, 1.0),
    "label_smoothing": (0.0, 0.9),
    "patience": (1, 100_000),
    "reduce_after": (1, 100_000),
    "reduce_by": (0.01, 0.99),
    "lowest_rate": (0.0, 10.0),
}


@dataclass(frozen=True, kw_only=True)
class Train:
    """How a network is trained."""

    folds: str | int | tuple[int, ...] = "first"  # first, all, a number or a list of numbers
    normalise: str = "train"  # by whose mean and deviation: of training rows, of each speaker (transductive), or none
    statistics: str = "rows"  # of what: each row of the view, or each of its cells
    epochs: int = 40
    batch_size: int = 32
    optimizer: str = "adamw"  # adamw or adam
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2  # of adamw
    label_smoothing: float = 0.1
    soft_labels: str | None = None  # whose shares of votes are learnt in place of one class: labels.LISTENERS
    class_weights: bool = True
    monitor: str = "uar"  # what early stopping and the best epoch go by, on validation rows: uar, accuracy or loss
    patience: int | None = 10  # epochs without a better one before it stops, None = never
    keep: str = "best"  # which epoch's weights stand: the best one's or the last one's
    schedule: str = "plateau"  # when the learning rate falls: as validation loss does not, each so many epochs, never
    reduce_after: int = 4  # epochs without a lower validation loss, or epochs
    reduce_by: float = 0.5
    lowest_rate: float = 1e-6

    def __post_init__(self) -> None:
        for name, known in WORDS.items():
            if getattr(self, name) not in known:
                raise UnknownNameError(f"params.yaml: train.{name}", getattr(self, name), filter(None, known))
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise SettingError(f"params.yaml: train.{name} is {value}, expected {least} to {most}.")

    def chosen(self, folds: Sequence[int]) -> list[int]:
        """The folds to train out of those there are.

        >>> Train(folds="first").chosen([0, 1, 2]), Train(folds=(0, 2)).chosen([0, 1, 2])
        ([0], [0, 2])

        Raises:
            SettingError: one is not there.
        """
        words = {"first": list(folds[:1]), "all": list(folds)}
        if isinstance(self.folds, str):
            if self.folds not in words:
                raise UnknownNameError(
                    "params.yaml: train.folds", self.folds, [*words, "a number", "a list of numbers"]
                )
            return words[self.folds]
        wanted = [self.folds] if isinstance(self.folds, int) else list(self.folds)
        if not wanted or not set(wanted) <= set(folds) or len(set(wanted)) < len(wanted):
            raise SettingError(
                f"params.yaml: train.folds is {wanted}, expected each once of the split's folds {list(folds)}."
            )
        return wanted


def fit(
    model: keras.Model, training: Any, validation: Any | None, config: Train, *, verbose: int | str = 2
) -> pd.DataFrame:
    """Train ``model`` in place and leave it at its best epoch.

    Without validation speakers it trains for ``config.epochs`` epochs, and the last one stands.

    Returns:
        A row an epoch: epoch, loss, uar, accuracy, learning_rate and, with validation, val_loss, val_uar, val_accuracy.

    Raises:
        SettingError: the loss is no number any more.
    """
    compile_for(model, config)
    callbacks = [*schedules(config, judged=validation is not None), *(judges(config) if validation is not None else [])]
    done = model.fit(training, validation_data=validation, epochs=config.epochs, callbacks=callbacks, verbose=verbose)
    history = pd.DataFrame(done.history)
    if "learning_rate" not in history:
        history["learning_rate"] = config.learning_rate
    history.insert(0, "epoch", range(1, len(history) + 1))
    if not np.isfinite(history).all(axis=None):
        raise SettingError(
            f"Training diverged: the loss is no number any more; lower train.learning_rate ({config.learning_rate})."
        )
    return history


def compile_for(model: keras.Model, config: Train) -> None:
    """Set loss, optimizer and score."""
    classes = model.output_shape[-1]
    model.compile(
        optimizer=optimizer(config),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing),
        metrics=[UAR(classes), keras.metrics.CategoricalAccuracy(name="accuracy")],
    )


def optimizer(config: Train) -> keras.optimizers.Optimizer:
    """Make the optimizer."""
    if config.optimizer == "adam":
        return keras.optimizers.Adam(config.learning_rate)
    return keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay)


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


def best_epoch(history: pd.DataFrame, config: Train) -> int:
    """The epoch whose weights stand, counted from 1; the last one where nothing judged."""
    column = f"val_{config.monitor}"
    if column not in history or config.keep == "last":
        return int(history["epoch"].iloc[-1])
    values = history[column] if MONITORS[config.monitor] == "max" else -history[column]
    return int(history["epoch"].iloc[int(np.argmax(values))])


def device() -> str:
    """Name what the backend computes on: the first accelerator it sees, else the CPU."""
    try:
        devices: list[str] = keras.distribution.list_devices()
    except (AttributeError, NotImplementedError):  # on torch, which Keras does not distribute; its tensors say
        return str(keras.ops.zeros(1).device)
    return next((name for name in devices if not name.startswith("cpu")), devices[0])
