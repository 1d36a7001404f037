"""Train all folds and seeds one after another: the data of a fold, its networks, its SVM baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.core.errors import SettingError
from pipeline.core.labels import VOTES
from pipeline.dataset import inputs as dataset_inputs
from pipeline.dataset.inputs import Inputs, Statistics
from pipeline.dataset.table import Table
from pipeline.train import batches, devices, models, registry, svm, trainer
from pipeline.train import settings as train_settings
from pipeline.train.callbacks import Checkpoint
from pipeline.train.settings import Train
from pipeline.train.trainer import Learner

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Task:
    """The rows of one fold: those to learn from, those to be judged by, and the class of each."""

    table: Table
    clips: pd.DataFrame
    classes: int
    settings: Train
    seed: tuple[int, int]  # and the fold: of the order of the batches, and summed of the weights

    @property
    def learnt(self) -> tuple[Numbers, Numbers]:
        """Training rows and their classes; -1 for ties, which have none."""
        return self.pick("train")

    def taught(self, arch: str) -> tuple[Numbers, dataset_inputs.Labels]:
        """Training rows that a kind of model is taught, and what it is taught: classes, or shares of votes."""
        rows, labels = self.learnt
        listeners = self.settings.soft_labels
        if listeners is None or arch == train_settings.SVM:
            known = labels != dataset_inputs.UNLABELLED
            return rows[known], labels[known]
        votes = self.clips.loc[self.clips["role"] == "train", VOTES[listeners]]
        shares = dataset_inputs.soft_targets(labels, dataset_inputs.tally_votes(votes, self.clips.attrs["classes"]))
        told = shares.any(axis=1)
        return rows[told], shares[told]

    @property
    def judged(self) -> tuple[Numbers, Numbers]:
        """Validation rows and their classes."""
        return self.pick("validation")

    def pick(self, role: str) -> tuple[Numbers, Numbers]:
        """Number the rows of a role, and their classes."""
        chosen = self.clips[self.clips["role"] == role]
        codes = pd.Categorical(chosen["label"], categories=self.clips.attrs["classes"]).codes
        return self.table.find(chosen), np.asarray(codes, np.int64)

    def inputs(self, arch: str) -> Inputs:
        """Prepare the rows for a kind of model."""
        return models.inputs(self.table, self.clips, arch, self.settings)


def soft_labels(clips: pd.DataFrame, settings: Train, *, arch: str) -> list[str]:
    """Say how many clips are learnt from by their votes, nothing where all have one class.

    Raises:
        SettingError: there are no votes to learn from, or ties that nothing but votes can teach.
    """
    listeners, rows = settings.soft_labels, clips[clips["role"] == "train"].drop_duplicates("clip_id")
    ties = int(rows["label"].isna().sum())
    if listeners is None:
        refuse_ties(ties)
        return []
    voted = int(rows[VOTES[listeners]].notna().sum())
    refuse_silence(voted, listeners)
    if arch == train_settings.SVM:
        return [f"soft labels: none for the svm, which takes one class a clip; {ties} ties are left out"]
    return [
        f"soft labels: shares of votes ({listeners}) of {voted} clips, {ties} of them ties; the others have one class"
    ]


def refuse_ties(ties: int) -> None:
    """Stop at clips that have no class where only classes are learnt."""
    if ties:
        raise SettingError(
            f"split.labels.ties is 'soft', and {ties} ties have nothing but votes to learn from: set train.soft_labels "
            "to voice, face or multimodal, or split.labels.ties to drop."
        )


def refuse_silence(voted: int, listeners: str) -> None:
    """Stop where nobody has voted."""
    if not voted:
        raise SettingError(
            f"train.soft_labels is {listeners!r}, and no clip of data/clips.parquet has such votes: get the tables of "
            "CREMA-D with 'ser-features corpora fetch crema_d', or set it to null."
        )


def fit_machine(task: Task, settings: svm.Svm) -> models.Machine:
    """Fit the support vector machine, its probabilities by the validation rows."""
    inputs, (rows, labels), (judged, truth) = task.inputs(train_settings.SVM), task.learnt, task.judged
    values, own = inputs.gather(rows), models.own_statistics(train_settings.SVM, task.settings)
    fitted = dataset_inputs.statistics_over(values) if own else dataset_inputs.neutral_statistics(values.shape[1])
    balanced = task.settings.class_weights
    known = labels != dataset_inputs.UNLABELLED
    machine = svm.fit(values[known], labels[known], task.classes, settings, balanced=balanced, statistics=fitted)
    return models.Machine(svm.calibrated(machine, inputs.gather(judged), truth) if len(judged) else machine)


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
        fitted = inputs.measure(task.learnt[0]) if own else dataset_inputs.neutral_statistics(shape[1])
        fresh = registry.build(self.params, shape, task.classes, statistics=fitted, seed=seed_of(task.seed))
        learner = self.prepared(task, inputs, fitted)
        learner.restart(fresh, fitted, seed=seed_of(task.seed))
        found, word = checkpoint.find()
        if word:
            print(word, flush=True)
        feed, check = self.feeds(task, inputs, arch)
        course = trainer.fit_network(
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
            plain = dataset_inputs.neutral_statistics(shape[1])
            self.learner = trainer.build_learner(
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
        weights = dataset_inputs.class_weights(labels, task.classes, balanced=config.class_weights)
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
        flops, peak = devices.training_flops(self.learner.network), devices.matrix_rate(kind) * self.spread.count
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
