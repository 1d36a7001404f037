"""Fit a network, judged by speakers it does not train on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import SettingError, UnknownNameError
from pipeline.networks.metrics import UAR

MONITORS = {"uar": "max", "loss": "min"}
RANGES = {
    "epochs": (1, 100_000),
    "batch_size": (1, 65_536),
    "learning_rate": (1e-9, 10.0),
    "weight_decay": (0.0, 1.0),
    "label_smoothing": (0.0, 0.9),
    "patience": (1, 100_000),
    "reduce_after": (1, 100_000),
    "reduce_by": (0.01, 0.99),
}


@dataclass(frozen=True, kw_only=True)
class Train:
    """How a network is trained."""

    folds: str | int | tuple[int, ...] = "first"  # first, all, a number or a list of numbers
    epochs: int = 40
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    class_weights: bool = True
    monitor: str = "uar"  # what early stopping and the best epoch go by, on validation speakers: uar or loss
    patience: int = 10  # epochs without a better one before it stops
    reduce_after: int = 4  # epochs without a lower validation loss before the learning rate falls
    reduce_by: float = 0.5

    def __post_init__(self) -> None:
        if self.monitor not in MONITORS:
            raise UnknownNameError("params.yaml: train.monitor", self.monitor, MONITORS)
        for name, (least, most) in RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise SettingError(f"params.yaml: train.{name} is {getattr(self, name)}, expected {least} to {most}.")

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


def weights(labels: npt.NDArray[np.int64], classes: int, *, balanced: bool) -> npt.NDArray[np.float32]:
    """Weigh classes by the inverse of their share, so that each counts alike. Shape: ``(rows,)`` to ``(classes,)``.

    >>> [f"{weight:.2f}" for weight in weights(np.array([0, 0, 0, 1]), 2, balanced=True)]
    ['0.67', '2.00']
    """
    if not balanced:
        return np.ones(classes, np.float32)
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(len(labels) / (classes * np.maximum(counts, 1)), np.float32)


def fit(
    model: keras.Model, training: Any, validation: Any | None, config: Train, *, verbose: int | str = 2
) -> pd.DataFrame:
    """Train ``model`` in place and leave it at its best epoch.

    Without validation speakers it trains for ``config.epochs`` epochs, and the last one stands.

    Returns:
        A row an epoch: epoch, loss, uar, learning_rate and, with validation, val_loss and val_uar.

    Raises:
        SettingError: the loss is no number any more.
    """
    compile_for(model, config)
    callbacks = judges(config) if validation is not None else []
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
        optimizer=keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing),
        metrics=[UAR(classes)],
    )


def judges(config: Train) -> list[keras.callbacks.Callback]:
    """Stop early and keep the best weights; lower the learning rate: all by validation speakers."""
    stop = keras.callbacks.EarlyStopping(
        f"val_{config.monitor}", mode=MONITORS[config.monitor], patience=config.patience, restore_best_weights=True
    )
    reduce = keras.callbacks.ReduceLROnPlateau(
        "val_loss", mode="min", factor=config.reduce_by, patience=config.reduce_after, min_lr=1e-6
    )
    return [stop, reduce]


def best_epoch(history: pd.DataFrame, config: Train) -> int:
    """The epoch whose weights stand, counted from 1; the last one where nothing judged."""
    column = f"val_{config.monitor}"
    if column not in history:
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
