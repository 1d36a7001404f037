"""The sections ``train`` and ``device`` of params.yaml and the names of models and views; nothing here needs Keras."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core import config
from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.core.labels import MODALITIES

MONITORS = {"uar": "max", "accuracy": "max", "loss": "min"}
CHOICES = {
    "normalise": ("train", "speaker", "none"),
    "statistics": ("bins", "cells"),
    "optimizer": ("adamw", "adam"),
    "schedule": ("plateau", "steps", "constant"),
    "monitor": tuple(MONITORS),
    "keep": ("best", "last"),
    "soft_labels": (*MODALITIES, None),
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
SMALLEST_MIXUP = 0.001  # alpha: below it nearly every share is 0 or 1
AUGMENT_RANGES = {
    "shift": (0, 100_000),
    "noise": (0.0, 10.0),
    "time_masks": (0, 100),
    "time_mask": (1, 100_000),
    "frequency_masks": (0, 100),
    "frequency_mask": (1, 100_000),
    "mixup": (0.0, 100.0),
}
DEVICE_RANGES = {"count": (1, 1_024), "steps_per_call": (1, 1_024)}


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of the features of each training batch; none by default."""

    shift: int = 0  # largest shift of a patch along time, either way, in frames
    noise: float = 0.0  # SD of Gaussian noise, relative to that of each bin
    time_masks: int = 0  # SpecAugment: number of time masks, each of which sets a span of frames to the mean
    time_mask: int = 20  # largest width of a time mask in frames
    frequency_masks: int = 0  # number of frequency masks
    frequency_mask: int = 8  # largest width of a frequency mask in bins
    mixup: float = 0.0  # alpha: each clip is mixed with another by a share drawn from Beta(alpha, alpha); 0 = never

    def __post_init__(self) -> None:
        _check_ranges("train.augment", self, AUGMENT_RANGES)
        if 0 < self.mixup < SMALLEST_MIXUP:
            raise SettingError(
                f"params.yaml: train.augment.mixup is {self.mixup}, expected 0, or {SMALLEST_MIXUP} and more."
            )


@dataclass(frozen=True, kw_only=True)
class Train:
    """How a network is trained."""

    folds: str | int | tuple[int, ...] = "first"  # first, all, a number or a list of numbers
    seeds: tuple[int, ...] | None = None  # one network for each seed and fold; None = one, by the seed of params.yaml
    normalise: str = "train"  # mean and SD of: the training rows, each speaker (transductive), or none
    statistics: str = "bins"  # one mean and variance for each bin, or for each frame and bin (cells)
    epochs: int = 40
    batch_size: int = 32
    optimizer: str = "adamw"  # adamw or adam
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2  # of adamw
    label_smoothing: float = 0.1
    soft_labels: str | None = None  # targets are shares of votes of these listeners (labels.LISTENERS), not one class
    class_weights: bool = True
    monitor: str = "uar"  # validation metric for early stopping and the best epoch: uar, accuracy or loss
    patience: int | None = 10  # epochs without improvement before early stopping, None = never
    keep: str = "best"  # which epoch's weights are saved: best or last
    schedule: str = "plateau"  # learning rate: lower when validation loss plateaus, lower in steps, or constant
    reduce_after: int = 4  # epochs without a lower validation loss (plateau), or between steps
    reduce_by: float = 0.5  # factor by which the learning rate is multiplied
    lowest_rate: float = 1e-6
    precision: str = "float32"  # of the layers; weights, softmax and loss are always float32
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UnknownNameError(f"params.yaml: train.{name}", getattr(self, name), filter(None, known))
        _check_ranges("train", self, RANGES)
        self._check_seeds()
        if self.schedule == "steps" and self.lowest_rate > self.learning_rate:
            raise SettingError(
                f"params.yaml: train.lowest_rate is {self.lowest_rate}, above train.learning_rate "
                f"({self.learning_rate}), which falls to it: lower train.lowest_rate."
            )

    def _check_seeds(self) -> None:
        if self.seeds is None:
            return
        if not self.seeds or not all(map(config.is_valid_seed, self.seeds)) or len(set(self.seeds)) < len(self.seeds):
            raise SettingError(
                f"params.yaml: train.seeds is {config.short_repr(list(self.seeds))}, expected whole numbers from 0 on, "
                f"up to {config.LARGEST_INTEGER}, each once, or null."
            )

    def chosen(self, folds: Sequence[int]) -> list[int]:
        """Select the folds to train out of those of the split.

        >>> Train(folds="first").chosen([0, 1, 2]), Train(folds=(0, 2)).chosen([0, 1, 2])
        ([0], [0, 2])

        Raises:
            SettingError: the split has no such fold.
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


@dataclass(frozen=True, kw_only=True)
class Device:
    """How batches are computed. It changes no result, so no stage depends on this section of params.yaml."""

    count: int = 1  # devices that share each batch
    resident: bool | None = None  # whether the features are held on the device; None: on accelerators, where they fit
    steps_per_call: int | None = None  # training steps compiled into one call; None: 1 on a CPU, else 16

    def __post_init__(self) -> None:
        _check_ranges("device", self, DEVICE_RANGES)


def _check_ranges(section: str, settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse settings out of range; None is always allowed.

    Raises:
        SettingError: a setting is out of its range.
    """
    for name, (least, most) in ranges.items():
        value = getattr(settings, name)
        if value is not None and not least <= value <= most:
            raise SettingError(f"params.yaml: {section}.{name} is {value}, expected {least} to {most}.")


def best_epoch(history: pd.DataFrame, config: Train) -> int:
    """Epoch whose weights are saved, counted from 1; without validation the last one."""
    column = f"val_{config.monitor}"
    if column not in history or config.keep == "last":
        return int(history["epoch"].iloc[-1])
    values = history[column] if MONITORS[config.monitor] == "max" else -history[column]
    return int(history["epoch"].iloc[int(np.argmax(values))])


VIEWS = ("logmel", "mfcc")  # that models can take
SVM = "svm"  # the one value of model.arch that is not a network


def model_view(params: Mapping[str, Any]) -> str:
    """Read the view that models take.

    Raises:
        UnknownNameError: ``model.features`` is none of `VIEWS`.
    """
    name = config.read_text_setting(params, "model.features")
    if name not in VIEWS:
        raise UnknownNameError("params.yaml: model.features", name, VIEWS)
    return name
