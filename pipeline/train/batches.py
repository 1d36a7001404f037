"""Batches for Keras, straight from memory-mapped shards or as row numbers of a table on the device."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.dataset.inputs import Inputs, Labels
from pipeline.train.backend import keras

Numbers = npt.NDArray[np.int64]


class Patches(keras.utils.PyDataset):  # type: ignore[misc] # keras is untyped
    """Batches of patches alone, in the given order. Shape: ``(batch, frames, rows)``."""

    def __init__(self, inputs: Inputs, numbers: Numbers, *, batch_size: int) -> None:
        super().__init__()
        self.inputs, self.numbers, self.batch_size = inputs, numbers, batch_size

    def __len__(self) -> int:
        return -(-len(self.numbers) // self.batch_size)

    def __getitem__(self, number: int) -> Any:
        return self.inputs.gather(self.numbers[number * self.batch_size : (number + 1) * self.batch_size])


class Batches(keras.utils.PyDataset):  # type: ignore[misc] # keras is untyped
    """Batches of ``({"clip": patches}, one-hot labels, weights)``, as a `Learner` takes them.

    Shapes: ``(batch, frames, rows)``, ``(batch, classes)``, ``(batch,)``. Labels are classes, of shape ``(rows,)``, or
    shares of votes, ``(rows, classes)``; a row weighs as its classes do. With ``shuffle``, a seed, the order is drawn
    anew each epoch, from the seed and the number of the epoch alone; without, it is the given one.

    While a step is computed the next batch is fetched: TensorFlow's pipeline does so by itself, and on JAX and torch a
    call to a device returns before it is done. Keras' own threads (``workers``) are not used: on JAX they mix up the
    batches of the first epoch, of which Keras takes one before it begins.

    Args:
        inputs: the rows of a table as the network takes them.
        numbers: those to give.
        labels: of them.
        weights: of the classes.
        batch_size: rows of a batch; the last one may have fewer.
        shuffle: the seed of the order.
        resident: give the number of a row in the table in place of its patch.
        mixup: with more than 0, each row has a partner in its batch and a share from Beta(mixup, mixup), label and
            weight mixed alike.
        parts: devices that share a batch, each the same number of rows: of the rows that are left over the last ones
            are passed over in this epoch where they train, and rows that weigh nothing come beside them where they
            judge.
    """

    def __init__(
        self,
        inputs: Inputs,
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
        """Go to an epoch, counted from 0; who trains says which, since backends begin some more than once."""
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
            return self.filled(some, targets, weights)
        if not self.mixup:
            return {"clip": self.clips(some)}, targets, weights
        rng = np.random.default_rng([*(self.shuffle or ()), self.epoch, number + 1])
        partner = rng.permutation(len(some))
        share = rng.beta(self.mixup, self.mixup, len(some)).astype(np.float32)
        clips = self.clips(some)
        inputs = {"clip": clips, "partner": clips[partner], "share": share}
        return inputs, mixed(targets, partner, share[:, None]), mixed(weights, partner, share)

    def clips(self, some: Numbers) -> Any:
        """Give patches, or the numbers of their rows."""
        numbers = self.numbers[some]
        return numbers.astype(np.int32) if self.resident else self.inputs.gather(numbers)

    def filled(self, some: Numbers, targets: Any, weights: Any) -> Any:
        """Fill a batch up to a multiple of the devices with rows that weigh nothing; the others weigh as much more."""
        missing, total = -len(some) % self.parts, len(self.order)
        grown = total + -total % self.parts  # the rows of an epoch, by which Keras divides
        some = np.concatenate([some, np.repeat(some[:1], missing)])
        targets = np.concatenate([targets, np.zeros((missing, targets.shape[1]), np.float32)])
        weights = np.concatenate([weights * np.float32(grown / total), np.zeros(missing, np.float32)])
        return {"clip": self.clips(some)}, targets, weights


def mixed(values: Any, partner: Numbers, share: Any) -> Any:
    """Mix each row with its partner."""
    return share * values + (1 - share) * values[partner]
