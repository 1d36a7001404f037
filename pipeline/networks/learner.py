"""A network while it trains: what it is fed comes out of a table on the device, standardised, and changed at random."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.networks import augmentation
from pipeline.networks.backend import keras, ops
from pipeline.networks.blocks import Statistics
from pipeline.networks.settings import Augment

Table = npt.NDArray[np.float16] | npt.NDArray[np.float32]
SMALLEST = 1e-7  # a deviation below counts as this, as in keras.layers.Normalization


class Learner(keras.Model):  # type: ignore[misc] # keras is untyped
    """A network that standardises by nothing, behind all that a fold decides: so one compiled step serves all folds.

    It takes a mapping: ``clip``, patches of shape ``(b, t, f)`` or, where it holds a table, rows of it, ``(b,)``. With
    ``partner``, as many others, and ``share``, ``(b,)``, it hears mixtures: Zhang et al. (2018), mixup,
    arXiv:1710.09412.
    """

    def __init__(
        self, network: keras.Model, statistics: tuple[int, ...], *, augment: Augment, table: Table | None = None
    ) -> None:
        super().__init__(
            name="learner", dtype="float32"
        )  # the network's own layers have the precision they were made in
        self.network = network
        self.mean = self.constant(np.zeros(statistics, np.float32), "mean")
        self.deviation = self.constant(np.ones(statistics, np.float32), "deviation")
        self.table = None if table is None else self.constant(table, "table")
        self.augmentation = augmentation.stack(augment, seed=0)
        self.built = True

    def constant(self, values: npt.NDArray[Any], name: str) -> Any:
        """Hold numbers that are not learnt."""
        return self.add_weight(
            shape=values.shape,
            dtype=values.dtype.name,
            initializer=lambda *_, **__: ops.convert_to_tensor(values),
            trainable=False,
            autocast=False,
            name=name,
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Give probabilities. Shape: ``(b, classes)``."""
        x = self.standard(inputs["clip"])
        if "partner" in inputs:
            share = ops.reshape(inputs["share"], (-1, 1, 1))
            x = share * x + (1 - share) * self.standard(inputs["partner"])
        for layer in self.augmentation:
            x = layer(x, training=training)
        return self.network(x, training=training)

    def standard(self, clips: Any) -> Any:
        """Fetch and standardise clips. Shape: ``(b, t, f)`` or ``(b,)`` to ``(b, t, f)``."""
        values = clips if self.table is None else ops.take(self.table, ops.cast(clips, "int32"), axis=0)
        return (ops.cast(values, "float32") - self.mean) / self.deviation

    def restart(self, fresh: keras.Model, statistics: Statistics, *, seed: int) -> None:
        """Begin anew with weights and random states of a network just made, for a fold with these statistics."""
        for own, other in zip(self.network.variables, fresh.variables, strict=True):
            own.assign(other)
        self.mean.assign(statistics.mean)
        self.deviation.assign(np.maximum(np.sqrt(statistics.variance), SMALLEST))
        for number, layer in enumerate(self.augmentation):
            layer.seed_generator.state.assign(np.array([seed, number], np.uint32))
        for variable, value in zip(self.optimizer.variables, self.untouched, strict=True):
            variable.assign(value)

    def ready(self) -> None:
        """Make the optimizer's variables, and remember how they were."""
        self.optimizer.build(self.trainable_variables)
        self.untouched = [ops.convert_to_numpy(variable) for variable in self.optimizer.variables]

    @property
    def state(self) -> list[Any]:
        """All variables that a step changes."""
        random = [layer.seed_generator.state for layer in self.augmentation]
        return [*self.network.variables, *random, *self.optimizer.variables]

    def get_weights(self) -> list[npt.NDArray[np.float32]]:
        """The weights of the network, for whoever keeps the best: table and statistics stay as they are."""
        weights: list[npt.NDArray[np.float32]] = self.network.get_weights()
        return weights

    def set_weights(self, weights: list[npt.NDArray[np.float32]]) -> None:
        """Put weights back."""
        self.network.set_weights(weights)


def synchronise(network: keras.Model) -> None:
    """Let batch normalisation look at the batches of all devices of TensorFlow; on JAX it does so anyway."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
