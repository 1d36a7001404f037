"""Scores that are counted while a network trains."""

from typing import Any

from pipeline.networks.backend import keras, ops


class UAR(keras.metrics.Metric):  # type: ignore[misc] # keras is untyped
    """Unweighted average recall over the classes seen so far, from one-hot truth and probabilities.

    Where the truth is shares of votes, as in training alone, each clip counts for its classes by their shares.
    It is judged on speakers the network does not train on, and follows the score that is reported in the end.
    """

    def __init__(self, classes: int, *, name: str = "uar", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.hits = self.add_weight(shape=(classes,), initializer="zeros", name="hits")
        self.seen = self.add_weight(shape=(classes,), initializer="zeros", name="seen")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # noqa: ARG002 - every row counts once
        """Count a batch. Shapes: ``(b, classes)`` both."""
        truth = ops.cast(y_true, self.dtype)
        found = ops.one_hot(ops.argmax(y_pred, axis=-1), truth.shape[-1], dtype=self.dtype)
        self.hits.assign_add(ops.sum(truth * found, axis=0))
        self.seen.assign_add(ops.sum(truth, axis=0))

    def result(self) -> Any:
        """Average the recalls of the classes that occurred."""
        occurred = ops.cast(self.seen > 0, self.dtype)
        recalls = self.hits / ops.maximum(self.seen, 1)
        return ops.sum(recalls * occurred) / ops.maximum(ops.sum(occurred), 1)


class Accuracy(keras.metrics.Metric):  # type: ignore[misc] # keras is untyped
    """Share of the truth that was found, by clips or by shares of votes; rows without any truth count nothing."""

    def __init__(self, *, name: str = "accuracy", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.hits = self.add_weight(shape=(), initializer="zeros", name="hits")
        self.seen = self.add_weight(shape=(), initializer="zeros", name="seen")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # noqa: ARG002 - as above
        """Count a batch. Shapes: ``(b, classes)`` both."""
        truth = ops.cast(y_true, self.dtype)
        found = ops.one_hot(ops.argmax(y_pred, axis=-1), truth.shape[-1], dtype=self.dtype)
        self.hits.assign_add(ops.sum(truth * found))
        self.seen.assign_add(ops.sum(truth))

    def result(self) -> Any:
        """Divide."""
        return self.hits / ops.maximum(self.seen, 1)
