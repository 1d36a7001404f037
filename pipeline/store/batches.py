"""Batches for Keras, straight from memory-mapped shards."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from pipeline.networks.targets import Labels
from pipeline.store.inputs import Inputs


class Batches(keras.utils.PyDataset):  # type: ignore[misc] # keras is untyped
    """Batches of ``(patches, one-hot labels, weights)``, or of patches alone where there are no labels.

    Shapes: ``(batch, frames, rows)``, ``(batch, classes)``, ``(batch,)``. Labels are classes, of shape ``(rows,)``, or
    shares of votes, ``(rows, classes)``; a row weighs as its classes do. With a generator the order is drawn anew each
    epoch; without, it is the given one.
    """

    def __init__(
        self,
        inputs: Inputs,
        numbers: npt.NDArray[np.int64],
        labels: Labels | None = None,
        *,
        weights: npt.NDArray[np.float32] | None = None,
        batch_size: int,
        shuffle: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.inputs, self.numbers, self.labels, self.weights = inputs, numbers, labels, weights
        self.batch_size, self.shuffle = batch_size, shuffle
        self.order = np.arange(len(numbers))
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self.numbers) // self.batch_size)

    def __getitem__(self, number: int) -> Any:
        some = self.order[number * self.batch_size : (number + 1) * self.batch_size]
        patches = self.inputs.gather(self.numbers[some])
        if self.labels is None or self.weights is None:
            return patches
        targets = self.labels[some]
        if targets.ndim == 1:
            targets = np.eye(len(self.weights), dtype=np.float32)[targets]
        return patches, targets, targets @ self.weights

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch."""
        if self.shuffle is not None:
            self.order = self.shuffle.permutation(len(self.numbers))
