"""The sections ``train`` and ``model`` of params.yaml, readable without Keras."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core import config
from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.core.labels import LISTENERS

MONITORS = {"uar": "max", "accuracy": "max", "loss": "min"}
WORDS = {
    "normalise": ("train", "speaker", "none"),
    "statistics": ("rows", "cells"),
    "optimizer": ("adamw", "adam"),
    "schedule": ("plateau", "steps", "constant"),
    "monitor": tuple(MONITORS),
    "keep": ("best", "last"),
    "soft_labels": (*LISTENERS, None),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
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
MIXUP = 0.001  # the smallest alpha: below, every share is 0 or 1
AUGMENT = {
    "shift": (0, 100_000),
    "noise": (0.0, 10.0),
    "time_masks": (0, 100),
    "time_mask": (1, 100_000),
    "row_masks": (0, 100),
    "row_mask": (1, 100_000),
    "mixup": (0.0, 100.0),
}


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How features are changed while a network trains, anew each time; nothing by default."""

    shift: int = 0  # frames by which a patch is rolled at most, either way
    noise: float = 0.0  # deviation of what is added, in deviations of each row
    time_masks: int = 0  # SpecAugment: how many spans of frames are made the mean
    time_mask: int = 20  # frames of the widest
    row_masks: int = 0  # how many spans of rows are
    row_mask: int = 8  # rows of the widest
    mixup: float = 0.0  # alpha: each clip is mixed with another by a share drawn from Beta(alpha, alpha); 0 = never

    def __post_init__(self) -> None:
        check("train.augment", self, AUGMENT)
        if 0 < self.mixup < MIXUP:
            raise SettingError(f"params.yaml: train.augment.mixup is {self.mixup}, expected 0, or {MIXUP} and more.")


@dataclass(frozen=True, kw_only=True)
class Train:
    """How a network is trained."""

    folds: str | int | tuple[int, ...] = "first"  # first, all, a number or a list of numbers
    seeds: tuple[int, ...] | None = None  # a network of each for every fold; None = one, of the seed of params.yaml
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
    precision: str = "float32"  # of the layers; weights, softmax and loss are float32 in any
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        for name, known in WORDS.items():
            if getattr(self, name) not in known:
                raise UnknownNameError(f"params.yaml: train.{name}", getattr(self, name), filter(None, known))
        check("train", self, RANGES)
        self.check_seeds()
        if self.schedule == "steps" and self.lowest_rate > self.learning_rate:
            raise SettingError(
                f"params.yaml: train.lowest_rate is {self.lowest_rate}, and train.learning_rate, which is to fall to "
                f"it, is {self.learning_rate}: lower the first."
            )

    def check_seeds(self) -> None:
        """Refuse seeds that are none, or twice the same."""
        if self.seeds is None:
            return
        if not self.seeds or not all(map(config.is_seed, self.seeds)) or len(set(self.seeds)) < len(self.seeds):
            raise SettingError(
                f"params.yaml: train.seeds is {config.shown(list(self.seeds))}, expected whole numbers from 0 on, "
                f"up to {config.LARGEST}, each once, or null."
            )

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


def check(section: str, settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse numbers out of range; None is in every one.

    Raises:
        SettingError: one is out of its range.
    """
    for name, (least, most) in ranges.items():
        value = getattr(settings, name)
        if value is not None and not least <= value <= most:
            raise SettingError(f"params.yaml: {section}.{name} is {value}, expected {least} to {most}.")


def best_epoch(history: pd.DataFrame, config: Train) -> int:
    """The epoch whose weights stand, counted from 1; the last one where nothing judged."""
    column = f"val_{config.monitor}"
    if column not in history or config.keep == "last":
        return int(history["epoch"].iloc[-1])
    values = history[column] if MONITORS[config.monitor] == "max" else -history[column]
    return int(history["epoch"].iloc[int(np.argmax(values))])


VIEWS = ("logmel", "mfcc")  # what they can be fed
SVM = "svm"  # the one model that is no network


def view_of(params: Mapping[str, Any]) -> str:
    """Read which view models are fed.

    Raises:
        UnknownNameError: there is none of this name.
    """
    name = config.text(params, "model.features")
    if name not in VIEWS:
        raise UnknownNameError("params.yaml: model.features", name, VIEWS)
    return name
