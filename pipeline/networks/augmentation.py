"""Layers that change features at random while a network trains, and leave them alone otherwise.

Shapes: b clips, t frames, f rows. All of them take standardised values, so that 0 is the mean.
"""

from typing import Any

from pipeline.networks.backend import keras, layers, ops
from pipeline.networks.settings import Augment


class Roll(layers.Layer):  # type: ignore[misc] # keras is untyped
    """Roll each clip by some frames, drawn from ``-frames`` to ``frames``; what leaves at one end enters at the other.

    Shape: ``(b, t, f)``, the same.
    """

    def __init__(self, frames: int, *, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.frames = frames
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: Any, training: bool = False) -> Any:
        """Roll where it trains."""
        if not training:
            return x
        size, length = ops.shape(x)[0], x.shape[1]
        by = keras.random.randint((size, 1), -self.frames, self.frames + 1, seed=self.seed_generator)
        places = ops.mod(ops.expand_dims(ops.arange(length), 0) - by, length)  # (b, t)
        return ops.take_along_axis(x, ops.expand_dims(places, -1), axis=1)


class Spans(layers.Layer):  # type: ignore[misc] # keras is untyped
    """Make spans of frames or of rows 0, each of a width drawn from 0 to ``widest``, anywhere.

    Park et al. (2019), SpecAugment, doi:10.21437/Interspeech.2019-2680, section 2: its time and frequency masks.
    Shape: ``(b, t, f)``, the same.
    """

    def __init__(self, axis: int, *, count: int, widest: int, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.axis, self.count, self.widest = axis, count, widest
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: Any, training: bool = False) -> Any:
        """Mask where it trains."""
        if not training:
            return x
        size, length = ops.shape(x)[0], x.shape[self.axis]
        shape, widest = (size, self.count, 1), min(self.widest, length)
        width = keras.random.randint(shape, 0, widest + 1, seed=self.seed_generator)
        room = ops.cast(length - width + 1, "float32")  # how many places there are for it
        start = ops.cast(ops.floor(keras.random.uniform(shape, seed=self.seed_generator) * room), width.dtype)
        places = ops.reshape(ops.arange(length), (1, 1, length))
        covered = ops.any((places >= start) & (places < start + width), axis=1)  # (b, length)
        return ops.where(ops.expand_dims(covered, 3 - self.axis), ops.zeros_like(x), x)


def stack(config: Augment, *, seed: int) -> list[layers.Layer]:
    """Make the layers that are asked for, in the order in which they are applied; each draws from a seed of its own."""
    found: list[layers.Layer] = []
    if config.shift:
        found.append(Roll(config.shift, seed=seed))
    if config.noise:
        found.append(layers.GaussianNoise(config.noise, seed=seed + 1))
    if config.time_masks:
        found.append(Spans(1, count=config.time_masks, widest=config.time_mask, seed=seed + 2))
    if config.row_masks:
        found.append(Spans(2, count=config.row_masks, widest=config.row_mask, seed=seed + 3))
    return found
