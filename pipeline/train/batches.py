"""Batches for Keras: patches read from memory-mapped shards, or row numbers of a table on the device."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.dataset.inputs import Labels, ModelInputs
from pipeline.train.backend import keras

Numbers = npt.NDArray[np.int64]


class InputBatches(keras.utils.PyDataset):  # type: ignore[misc] # keras is untyped
    """Batches of patches without targets, in the given order. Shape: ``(batch, frames, bins)``."""

    def __init__(self, inputs: ModelInputs, numbers: Numbers, *, batch_size: int) -> None:
        super().__init__()
        self.inputs, self.numbers, self.batch_size = inputs, numbers, batch_size

    def __len__(self) -> int:
        return -(-len(self.numbers) // self.batch_size)

    def __getitem__(self, number: int) -> Any:
        return self.inputs.gather(self.numbers[number * self.batch_size : (number + 1) * self.batch_size])


class Batches(keras.utils.PyDataset):  # type: ignore[misc] # keras is untyped
    """Batches of ``({"clip": patches}, targets, weights)`` for training and validation.

    Shapes: ``(batch, frames, bins)``, ``(batch, classes)``, ``(batch,)``. Labels are classes of shape ``(rows,)``, or
    shares of votes of shape ``(rows, classes)``; the weight of a row is that of its classes. With ``shuffle`` each
    epoch has another order, which depends on this seed and the number of the epoch alone.

    The next batch is prepared while a step is computed: TensorFlow's pipeline does so by itself, and on JAX and torch a
    call to the device returns before it is done. The threads of Keras (``workers``) are not used: on JAX they mix up
    the batches of the first epoch, of which Keras takes one before it begins.

    Args:
        inputs: model inputs of all rows of the table.
        numbers: numbers of the rows to use.
        labels: of these rows.
        weights: of the classes.
        batch_size: rows of a batch; the last one may have fewer.
        shuffle: seed of the order.
        resident: give row numbers in place of patches, for a table on the device.
        mixup: with more than 0, each row is mixed with another one of its batch by a share from Beta(mixup, mixup),
            target and weight alike.
        parts: devices that share a batch, each with the same number of rows. The rows that are left over are skipped in
            this epoch of training; a validation batch is padded with rows of weight 0.
    """

    def __init__(
        self,
        inputs: ModelInputs,
        numbers: Numbers,
        labels: Labels,
        *,
        weights: npt.NDArray[np.float32],
        batch_size: int,
        shuffle: Sequence[int] | None = None,
        resident: bool = False,
        mixup: float = 0.0,
        parts: int = 1,
    ) -> None:
        super().__init__()
        self.inputs, self.numbers, self.labels, self.weights = inputs, numbers, labels, weights
        self.batch_size, self.shuffle, self.resident = batch_size, shuffle, resident
        self.mixup, self.parts = mixup, parts
        self.start(0)

    def start(self, epoch: int) -> None:
        """Order the rows for an epoch, counted from 0. It is called explicitly: backends begin some epochs twice."""
        self.epoch = epoch
        count = len(self.numbers)
        self.order = np.arange(count)
        if self.shuffle is not None:
            self.order = np.random.default_rng([*self.shuffle, epoch]).permutation(count)[: count - count % self.parts]

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, number: int) -> Any:
        some = self.order[number * self.batch_size : (number + 1) * self.batch_size]
        targets = self.labels[some]
        if targets.ndim == 1:
            targets = np.eye(len(self.weights), dtype=np.float32)[targets]
        weights = (targets @ self.weights).astype(np.float32)
        if self.shuffle is None and self.parts > 1:
            return self._padded(some, targets, weights)
        if not self.mixup:
            return {"clip": self._clips(some)}, targets, weights
        rng = np.random.default_rng([*(self.shuffle or ()), self.epoch, number + 1])
        partner = rng.permutation(len(some))
        share = rng.beta(self.mixup, self.mixup, len(some)).astype(np.float32)
        clips = self._clips(some)
        inputs = {"clip": clips, "partner": clips[partner], "share": share}
        return inputs, _mix(targets, partner, share[:, None]), _mix(weights, partner, share)

    def _clips(self, some: Numbers) -> Any:
        numbers = self.numbers[some]
        return numbers.astype(np.int32) if self.resident else self.inputs.gather(numbers)

    def _padded(self, some: Numbers, targets: Any, weights: Any) -> Any:
        """Pad a batch to a multiple of the devices with rows of weight 0; scale the other weights to keep the mean."""
        missing, total = -len(some) % self.parts, len(self.order)
        padded = total + -total % self.parts  # rows of an epoch, by which Keras divides
        some = np.concatenate([some, np.repeat(some[:1], missing)])
        targets = np.concatenate([targets, np.zeros((missing, targets.shape[1]), np.float32)])
        weights = np.concatenate([weights * np.float32(padded / total), np.zeros(missing, np.float32)])
        return {"clip": self._clips(some)}, targets, weights


def _mix(values: Any, partner: Numbers, share: Any) -> Any:
    return share * values + (1 - share) * values[partner]
