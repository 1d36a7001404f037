"""What models are fed: features standardised by statistics of training rows, and their targets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.core.labels import ORIGINAL, VOTED
from pipeline.dataset.functionals import functionals
from pipeline.dataset.table import Table

SMALLEST = 1e-6  # what never changes must not divide by zero
Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Statistics:
    """Mean and variance of each row of a view, shape ``(rows,)``, or of each cell, ``(frames, rows)``."""

    mean: Array
    variance: Array

    @property
    def joined(self) -> Array:
        """Both in one array, for comparing. Shape: ``(2 * numbers,)``."""
        return np.concatenate([self.mean.ravel(), self.variance.ravel()])


def neutral_statistics(rows: int) -> Statistics:
    """Give statistics that change nothing."""
    return Statistics(np.zeros(rows, np.float32), np.ones(rows, np.float32))


def fit_statistics(table: Table, numbers: Numbers, *, cells: bool = False, size: int = 1024) -> Statistics:
    """Fit each row over the frames that hold sound, since the padding behind a short clip says nothing.

    With ``cells`` each frame of each row is fitted by itself, padding and all, as published systems do that flatten
    patches before they standardise. Reads ``size`` clips at a time.
    """
    total = np.zeros((2, *(table.layout.shape if cells else table.layout.shape[1:])))
    count = 0
    frames = np.arange(table.layout.shape[0])
    for start in range(0, len(numbers), size):
        some = numbers[start : start + size]
        patches = table.gather(some).astype(np.float64)
        sound = patches if cells else patches[frames < table.valid_frames[some, None]]
        total += [sound.sum(axis=0), np.square(sound).sum(axis=0)]
        count += len(sound)
    return moments(total / max(count, 1))


def moments(means: npt.NDArray[np.float64]) -> Statistics:
    """Make statistics of the means of values and of their squares. Shape ``(2, ...)``."""
    mean, square = means
    variance = np.maximum(square - np.square(mean), SMALLEST)
    return Statistics(mean.astype(np.float32), variance.astype(np.float32))


def statistics_over(values: Array) -> Statistics:
    """Measure vectors as scikit-learn does, which leaves alone what never changes. Shape: ``(clips, numbers)``."""
    from sklearn.preprocessing import StandardScaler  # here, because who loads a model needs no scikit-learn

    scaler = StandardScaler().fit(values.astype(np.float64))
    return Statistics(scaler.mean_.astype(np.float32), np.square(scaler.scale_).astype(np.float32))


KINDS = ("rows", "cells", "functionals")
SIZE = 1024  # clips worked on at once
Halves = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Speakers:
    """Statistics of each speaker, s of them."""

    of: Numbers  # the speaker of each row of the table, shape (rows of the table,)
    mean: Array  # (s, ...)
    deviation: Array  # (s, ...)

    def standardise(self, values: Array, numbers: Numbers) -> Array:
        """Bring values to mean 0 and deviation 1 for each speaker. Shape ``(clips, ...)``, the same."""
        who = self.of[numbers]
        between = (slice(None),) + (None,) * (values.ndim - self.mean.ndim)  # one for all frames
        return (values - self.mean[who][between]) / self.deviation[who][between]


@dataclass(frozen=True)
class Inputs:
    """The rows of a table as a kind of model takes them.

    ``kind`` says what has statistics of its own: ``rows`` of a view, ``cells`` (each frame of each row), or the
    ``functionals`` of a clip, which is then one vector instead of a patch.
    """

    table: Table
    kind: str
    speakers: Speakers | None = None

    def gather(self, numbers: Numbers) -> Array:
        """Fetch clips as the model takes them. Shape: ``(clips, frames, rows)``, or ``(clips, 4 * rows)``."""
        values = self.raw(numbers)
        return values if self.speakers is None else self.speakers.standardise(values, numbers)

    def raw(self, numbers: Numbers) -> Array:
        """Fetch clips before anything is standardised."""
        if self.kind != "functionals":
            return self.table.gather(numbers)
        parts = [numbers[start : start + SIZE] for start in range(0, len(numbers), SIZE)]
        found = [functionals(self.table.gather(some), self.table.valid_frames[some]) for some in parts]
        return np.concatenate([np.empty((0, 4 * self.table.layout.shape[1]), np.float32), *found])

    @property
    def size(self) -> int:
        """Bytes of `everything`."""
        one = np.dtype(np.float32 if self.speakers else self.table.layout.dtype).itemsize
        return len(self.table.rows) * int(np.prod(self.table.layout.shape)) * one

    def everything(self) -> Array | Halves:
        """Fetch all rows of the table, as they are stored, or standardised where their speakers are known.

        Shape: ``(rows of the table, frames, rows)``.
        """
        if self.speakers is None:
            return self.table.stored(np.arange(len(self.table.rows)))
        out = np.zeros((len(self.table.rows), *self.table.layout.shape), np.float32)
        known = np.flatnonzero(self.speakers.of >= 0)
        for start in range(0, len(known), SIZE):
            some = known[start : start + SIZE]
            out[some] = self.gather(some)
        return out

    def measure(self, numbers: Numbers) -> Statistics:
        """Fit mean and variance to clips."""
        if self.kind == "functionals":
            return statistics_over(self.raw(numbers))
        return fit_statistics(self.table, numbers, cells=self.kind == "cells")

    def by_speaker(self, clips: pd.DataFrame) -> "Inputs":
        """Standardise each clip by all original clips of its speaker, whatever their role; no label is looked at.

        This uses test clips, without their labels: it is transductive. Clips without a speaker count as one of their
        corpus.

        Args:
            clips: the rows of one fold, with ``clip_id variant speaker corpus``.
        """
        rows = clips.drop_duplicates(["clip_id", "variant"])
        names = rows["speaker"].where(rows["speaker"] != "", rows["corpus"])
        who, _ = pd.factorize(names, sort=True)
        numbers, first = self.table.find(rows), (rows["variant"] == ORIGINAL).to_numpy()
        of = np.full(len(self.table.rows), -1)
        of[numbers] = who
        measured = [self.measure(numbers[first & (who == speaker)]) for speaker in range(who.max() + 1)]
        mean, variance = (np.stack([getattr(each, name) for each in measured]) for name in ("mean", "variance"))
        return replace(self, speakers=Speakers(of, mean, np.sqrt(variance)))


NOBODY = (0,) * len(VOTED)
UNLABELLED = -1  # the class of a clip whose listeners were tied
Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32]  # a class, shape (rows,), or shares, shape (rows, classes)


def tally_votes(votes: Iterable[Sequence[int] | None], classes: Sequence[str]) -> npt.NDArray[np.float64]:
    """Count the votes for each class; those for an emotion that is none are left out, zeros where nobody voted.

    Shape: ``(rows, classes)``.

    >>> tally_votes([[4, 0, 2, 0, 4, 0], None], ["angry", "neutral", "surprise"]).tolist()
    [[4.0, 4.0, 0.0], [0.0, 0.0, 0.0]]
    """
    counts = np.array([NOBODY if each is None else each for each in votes], np.float64).reshape(-1, len(VOTED))
    return np.asarray(counts @ (np.array(VOTED)[:, None] == np.array(classes)))


def soft_targets(labels: npt.NDArray[np.int64], votes: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Turn votes into shares that sum to 1; the class alone where nobody voted for any.

    Args:
        labels: the class of each row, ``UNLABELLED`` where it has none. Shape ``(rows,)``.
        votes: for each class. Shape ``(rows, classes)``.

    Returns:
        Shape ``(rows, classes)``; a row without votes and without a class is zeros.

    >>> soft_targets(np.array([1, 1]), np.array([[3.0, 1.0], [0.0, 0.0]])).tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """
    known = (labels != UNLABELLED)[:, None]
    classes = known * np.eye(votes.shape[1])[labels]
    cast = votes.sum(axis=1, keepdims=True)
    return np.asarray(np.where(cast > 0, votes / np.maximum(cast, 1), classes), np.float32)


def class_weights(labels: Labels, classes: int, *, balanced: bool) -> npt.NDArray[np.float32]:
    """Weigh classes by the inverse of their share. Shape: ``(rows,)`` or ``(rows, classes)`` to ``(classes,)``.

    >>> [f"{weight:.2f}" for weight in class_weights(np.array([0, 0, 0, 1]), 2, balanced=True)]
    ['0.67', '2.00']
    """
    if not balanced:
        return np.ones(classes, np.float32)
    counts = labels.sum(axis=0, dtype=np.float64) if labels.ndim > 1 else np.bincount(labels, minlength=classes)
    return np.asarray(len(labels) / (classes * np.maximum(counts, 1)), np.float32)
