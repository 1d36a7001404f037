"""Inputs of models, standardised by statistics of the training rows, and their targets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.core.labels import ORIGINAL, VOTED_EMOTIONS
from pipeline.dataset.functionals import clip_functionals
from pipeline.dataset.table import FeatureTable

MIN_VARIANCE = 1e-6  # least variance: constant values must not divide by zero
Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Statistics:
    """Mean and variance of each bin of a view, shape ``(bins,)``, or of each cell, ``(frames, bins)``."""

    mean: Array
    variance: Array

    @property
    def joined(self) -> Array:
        """Both in one array, for comparison. Shape ``(2 * values,)``."""
        return np.concatenate([self.mean.ravel(), self.variance.ravel()])


def neutral_statistics(rows: int) -> Statistics:
    """Return statistics whose standardisation changes nothing."""
    return Statistics(np.zeros(rows, np.float32), np.ones(rows, np.float32))


def fit_statistics(table: FeatureTable, numbers: Numbers, *, cells: bool = False, size: int = 1024) -> Statistics:
    """Fit statistics to each bin over the frames that hold sound; the padding is ignored.

    With ``cells`` each frame of each bin has statistics of its own, padding included, as in published systems that
    flatten patches before standardising. Reads ``size`` clips at a time.
    """
    total = np.zeros((2, *(table.layout.shape if cells else table.layout.shape[1:])))
    count = 0
    frames = np.arange(table.layout.shape[0])
    for start in range(0, len(numbers), size):
        batch = numbers[start : start + size]
        patches = table.gather(batch).astype(np.float64)
        sound = patches if cells else patches[frames < table.valid_frames[batch, None]]
        total += [sound.sum(axis=0), np.square(sound).sum(axis=0)]
        count += len(sound)
    return _statistics_from_moments(total / max(count, 1))


def _statistics_from_moments(means: npt.NDArray[np.float64]) -> Statistics:
    """Compute statistics from the means of values and of their squares, shape ``(2, ...)``."""
    mean, square = means
    variance = np.maximum(square - np.square(mean), MIN_VARIANCE)
    return Statistics(mean.astype(np.float32), variance.astype(np.float32))


def fit_vector_statistics(values: Array) -> Statistics:
    """Fit statistics to vectors, as scikit-learn does: constant columns are not scaled. Shape: ``(clips, values)``."""
    from sklearn.preprocessing import StandardScaler  # late: loading a model doesn't need it

    scaler = StandardScaler().fit(values.astype(np.float64))
    return Statistics(scaler.mean_.astype(np.float32), np.square(scaler.scale_).astype(np.float32))


INPUT_KINDS = ("bins", "cells", "functionals")
BATCH_CLIPS = 1024  # clips processed at once
HalfArray = npt.NDArray[np.float16]


@dataclass(frozen=True)
class SpeakerStatistics:
    """Statistics of each of s speakers."""

    of: Numbers  # the speaker of each row of the table, shape (rows of the table,)
    mean: Array  # (s, ...)
    deviation: Array  # (s, ...)

    def standardise(self, values: Array, numbers: Numbers) -> Array:
        """Standardise values by speaker. Shape ``(clips, ...)``, the same."""
        who = self.of[numbers]
        between = (slice(None),) + (None,) * (values.ndim - self.mean.ndim)  # the same for all frames
        return (values - self.mean[who][between]) / self.deviation[who][between]


@dataclass(frozen=True)
class ModelInputs:
    """The rows of a table as a kind of model needs them.

    ``kind`` is what has statistics of its own: ``rows`` (each bin of a view), ``cells`` (each frame of each bin), or
    ``functionals``, which describe a clip by a vector instead of a patch.
    """

    table: FeatureTable
    kind: str
    speakers: SpeakerStatistics | None = None

    def gather(self, numbers: Numbers) -> Array:
        """Read model inputs. Shape ``(clips, frames, bins)``, or ``(clips, 4 * bins)`` for functionals."""
        values = self.raw(numbers)
        return values if self.speakers is None else self.speakers.standardise(values, numbers)

    def raw(self, numbers: Numbers) -> Array:
        """Read model inputs before standardisation."""
        if self.kind != "functionals":
            return self.table.gather(numbers)
        batches = [numbers[start : start + BATCH_CLIPS] for start in range(0, len(numbers), BATCH_CLIPS)]
        vectors = [clip_functionals(self.table.gather(batch), self.table.valid_frames[batch]) for batch in batches]
        return np.concatenate([np.empty((0, 4 * self.table.layout.shape[1]), np.float32), *vectors])

    @property
    def size(self) -> int:
        """Bytes of `everything`."""
        itemsize = np.dtype(np.float32 if self.speakers else self.table.layout.dtype).itemsize
        return len(self.table.rows) * int(np.prod(self.table.layout.shape)) * itemsize

    def everything(self) -> Array | HalfArray:
        """Read all rows of the table, as stored, or standardised if there are statistics of speakers.

        Shape ``(rows of the table, frames, bins)``.
        """
        if self.speakers is None:
            return self.table.stored(np.arange(len(self.table.rows)))
        out = np.zeros((len(self.table.rows), *self.table.layout.shape), np.float32)
        known = np.flatnonzero(self.speakers.of >= 0)
        for start in range(0, len(known), BATCH_CLIPS):
            batch = known[start : start + BATCH_CLIPS]
            out[batch] = self.gather(batch)
        return out

    def measure(self, numbers: Numbers) -> Statistics:
        """Fit mean and variance to clips."""
        if self.kind == "functionals":
            return fit_vector_statistics(self.raw(numbers))
        return fit_statistics(self.table, numbers, cells=self.kind == "cells")

    def by_speaker(self, clips: pd.DataFrame) -> Self:
        """Standardise each clip by all original clips of its speaker, in any role; labels are not used.

        Test clips are used, without their labels, so this is transductive. Clips without a speaker count as one speaker
        per corpus.

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
        return replace(self, speakers=SpeakerStatistics(of, mean, np.sqrt(variance)))


NOBODY = (0,) * len(VOTED_EMOTIONS)
UNLABELLED = -1  # class of a clip whose listeners were tied
Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32]  # a class, shape (rows,), or shares, shape (rows, classes)


def count_votes(votes: Iterable[Sequence[int] | None], classes: Sequence[str]) -> npt.NDArray[np.float64]:
    """Count the votes for each class; votes for emotions outside the classes are ignored. Shape ``(rows, classes)``.

    >>> count_votes([[4, 0, 2, 0, 4, 0], None], ["angry", "neutral", "surprise"]).tolist()
    [[4.0, 4.0, 0.0], [0.0, 0.0, 0.0]]
    """
    counts = np.array([NOBODY if each is None else each for each in votes], np.float64).reshape(-1, len(VOTED_EMOTIONS))
    return np.asarray(counts @ (np.array(VOTED_EMOTIONS)[:, None] == np.array(classes)))


def soft_targets(labels: npt.NDArray[np.int64], votes: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Normalise votes to sum to 1; rows without votes get their class.

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
    """Compute the inverse of each class's share. Shape: ``(rows,)`` or ``(rows, classes)`` to ``(classes,)``.

    >>> [f"{weight:.2f}" for weight in class_weights(np.array([0, 0, 0, 1]), 2, balanced=True)]
    ['0.67', '2.00']
    """
    if not balanced:
        return np.ones(classes, np.float32)
    counts = labels.sum(axis=0, dtype=np.float64) if labels.ndim > 1 else np.bincount(labels, minlength=classes)
    return np.asarray(len(labels) / (classes * np.maximum(counts, 1)), np.float32)
