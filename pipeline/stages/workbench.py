"""Train one network after another, of all folds and seeds: compiled once, the features on the device once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import SettingError
from pipeline.networks import arithmetic, devices, registry, targets, training
from pipeline.networks.learner import Learner
from pipeline.networks.settings import Train
from pipeline.serving import models
from pipeline.stages.learning import Task
from pipeline.store import batches, statistics
from pipeline.store.checkpoints import Checkpoint
from pipeline.store.inputs import Inputs
from pipeline.store.statistics import Statistics

JUDGED = 128  # clips of a batch that is not learnt from


@dataclass
class Workbench:
    """What stays from network to network."""

    params: Mapping[str, Any]
    settings: Train
    device: devices.Device
    spread: devices.Spread
    learner: Learner | None = None
    rates: list[float] = field(default_factory=list)  # clips a second, of each network that was trained here

    def train(self, task: Task, arch: str, checkpoint: Checkpoint) -> tuple[models.Network, pd.DataFrame, Statistics]:
        """Train the network of one fold and seed; its history has a row an epoch."""
        inputs, shape, config = task.inputs(arch), task.table.layout.shape, self.settings
        own = models.own_statistics(arch, config)
        fitted = inputs.measure(task.learnt[0]) if own else statistics.neutral(shape[1])
        fresh = registry.build(self.params, shape, task.classes, statistics=fitted, seed=seed_of(task.seed))
        learner = self.prepared(task, inputs, fitted)
        learner.restart(fresh, fitted, seed=seed_of(task.seed))
        found, word = checkpoint.find()
        if word:
            print(word, flush=True)
        feed, check = self.feeds(task, inputs, arch)
        course = training.fit(
            learner, feed, check, config, rows=len(feed.order), found=found, keep=checkpoint.keep, write=say
        )
        if course.rate is not None:
            self.rates.append(course.rate)
        fresh.set_weights(learner.get_weights())
        return models.Network(fresh), course.history, fitted

    def prepared(self, task: Task, inputs: Inputs, fitted: Statistics) -> Learner:
        """Make what trains, the first time; put the features of the fold on the device, where they go there."""
        shape, resident = task.table.layout.shape, self.resident(inputs)
        if self.learner is None:
            plain = statistics.neutral(shape[1])
            self.learner = training.learner(
                lambda: registry.build(self.params, shape, task.classes, statistics=plain),
                fitted.mean.shape,
                self.settings,
                table=inputs.everything() if resident else None,
                spread=self.spread,
                steps=self.device.steps,
            )
        elif self.learner.table is not None and inputs.speakers is not None:
            self.learner.table.assign(inputs.everything())
        return self.learner

    def resident(self, inputs: Inputs) -> bool:
        """Say whether the features lie on the device."""
        return self.device.keeps(inputs.size)

    def feeds(self, task: Task, inputs: Inputs, arch: str) -> tuple[batches.Batches, batches.Batches | None]:
        """Make batches to learn from and, where somebody judges, batches to be judged by."""
        config, parts = self.settings, self.spread.count
        (rows, labels), (judged, truth) = task.taught(arch), task.judged
        common: dict[str, Any] = {"resident": self.resident(inputs), "parts": parts}
        weights = targets.weights(labels, task.classes, balanced=config.class_weights)
        feed = batches.Batches(
            inputs, rows, labels, weights=weights, batch_size=config.batch_size, shuffle=task.seed,
            mixup=config.augment.mixup, **common,
        )  # fmt: skip
        if not len(judged):
            return feed, None
        even = np.ones(task.classes, np.float32)
        size = JUDGED + -JUDGED % parts
        return feed, batches.Batches(inputs, judged, truth, weights=even, batch_size=size, **common)

    def speed(self) -> dict[str, Any]:
        """How fast it was, against the products of matrices that the device does at most; and the memory it took."""
        if self.learner is None:
            return {}
        kind = self.settings.precision.removeprefix("mixed_")
        flops, peak = arithmetic.training_flops(self.learner.network), arithmetic.matrix_rate(kind) * self.spread.count
        found: dict[str, Any] = {
            "gigaflops_per_clip": round(flops / 1e9, 4),
            "matrix_gigaflops_per_second": round(peak / 1e9, 1),
            "peak_memory_gigabytes": devices.peak_memory(),
        }
        if not self.rates:  # all epochs were there already
            return found
        rate = float(np.median(self.rates))
        return {"clips_per_second": round(rate, 1), "share_of_peak": float(f"{rate * flops / peak:.3g}")} | found


def check_shares(settings: Train, device: devices.Device) -> None:
    """Refuse batches that the devices cannot share evenly.

    Raises:
        SettingError: rows would be left over.
    """
    if settings.batch_size % device.count:
        raise SettingError(
            f"params.yaml: train.batch_size is {settings.batch_size}, and {device.count} devices (device.count) share "
            f"it: set a multiple of {device.count}."
        )


def seed_of(numbers: Sequence[int]) -> int:
    """Give the seed of a network from those of the training and the fold: their sum, in the 32 bits that backends take.

    >>> seed_of((42, 3)), seed_of((20241231235959, 0)) != seed_of((20241231235959 + 2**32, 0))
    (45, True)
    """
    total = sum(numbers)
    return total if total < 2**32 else int(np.random.SeedSequence(total).generate_state(1)[0])


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)
