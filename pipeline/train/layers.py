"""Layers, augmentation of features and metrics that the networks share.

Shapes: b clips, t frames, f rows. All of them take standardised values, so that 0 is the mean.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import SettingError
from pipeline.train.backend import keras, layers, ops
from pipeline.train.settings import Augment

WIDEST = 65_536  # of a layer
LAYERS = 32  # of a kind
DROPPED = 0.99  # of the numbers of a layer, the largest share


class Statistics(Protocol):
    """Mean and variance over the training rows of a fold, of each row of the view or each cell.

    Shape: ``(rows,)`` or ``(frames, rows)`` each.
    """

    @property
    def mean(self) -> npt.NDArray[np.float32]: ...

    @property
    def variance(self) -> npt.NDArray[np.float32]: ...


def check(section: str, *, dropouts: Mapping[str, float], **widths: int | Sequence[int]) -> None:
    """Refuse widths and dropouts that build no network, each under its name in params.yaml.

    Raises:
        SettingError: a width that is none, no width or too many of them, or a dropout that leaves nothing.
    """
    for name, width in widths.items():
        several = [width] if isinstance(width, int) else list(width)
        if not 0 < len(several) <= LAYERS or min(several) < 1 or max(several) > WIDEST:
            wanted = f"1 or more, up to {WIDEST}"
            wanted = wanted if isinstance(width, int) else f"1 to {LAYERS} numbers, each {wanted}"
            shown = width if isinstance(width, int) else several
            raise SettingError(f"params.yaml: {section}.{name} is {shown}, expected {wanted}.")
    for name, dropout in dropouts.items():
        if not 0 <= dropout <= DROPPED:
            raise SettingError(f"params.yaml: {section}.{name} is {dropout}, expected a share from 0 to {DROPPED}.")


def check_halving(section: str, times: int, **sizes: int) -> None:
    """Refuse more poolings by 2 than a patch has room for.

    Args:
        section: of params.yaml.
        times: how many poolings, one for each of its ``filters``.
        **sizes: ``frames`` and ``rows`` of the view that are pooled.

    Raises:
        SettingError: nothing would be left of it.
    """
    for name, size in sizes.items():
        if size < 2**times:
            more = "audio.seconds" if name == "frames" else "the rows of the view (n_mels, n_mfcc)"
            raise SettingError(
                f"params.yaml: {section}.filters has {times} widths, each of which halves the {name} of the view, and "
                f"there are {size} where {2**times} are needed: take fewer filters, or raise {more}."
            )


def standardised(shape: tuple[int, int], statistics: Statistics) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Take patches ``(b, t, f)`` and standardise rows or cells, in float32; the network holds the statistics."""
    patch = keras.Input(shape, name="patch")  # (b, t, f)
    mean, variance = statistics.mean.tolist(), statistics.variance.tolist()
    axis = -1 if statistics.mean.ndim == 1 else (1, 2)
    standard = layers.Normalization(axis=axis, mean=mean, variance=variance, dtype="float32", name="standardise")
    return patch, standard(patch)


def entrance(shape: tuple[int, int], statistics: Statistics) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Take patches ``(b, t, f)``, standardised, as images of one channel ``(b, t, f, 1)``."""
    patch, standard = standardised(shape, statistics)
    return patch, layers.Reshape((*shape, 1))(standard)


def pooled(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """Convolve with bias, normalise, rectify, pool by 2, as published systems do.

    Shape: ``(b, t, f, c)`` to ``(b, t // 2, f // 2, filters)``.
    """
    x = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(x))
    return layers.MaxPooling2D(2)(layers.Activation("relu")(x))


def convolution(x: keras.KerasTensor, filters: int, *, kernel: int = 3, stride: int = 1) -> keras.KerasTensor:
    """Convolve, normalise, rectify. Shape: ``(b, t, f, c)`` to ``(b, t / stride, f / stride, filters)``."""
    x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False)(x)
    return layers.Activation("relu")(layers.BatchNormalization()(x))


def trunk(x: keras.KerasTensor, filters: Sequence[int], *, dropout: float) -> keras.KerasTensor:
    """Go from a patch to a sequence: a wide stem with stride 2, then a convolution for each width, all pooled by 2.

    The first pooling comes before the costly convolutions, which makes an epoch four times shorter on a CPU.
    Rows and channels are laid side by side, since where in frequency something happens matters, unlike in an image.
    Shape: ``(b, t, f, 1)`` to ``(b, t / 2**n, f / 2**n * filters[-1])``, where n is the number of widths + 1.
    """
    x = layers.MaxPooling2D(2, padding="same")(convolution(x, filters[0], kernel=5, stride=2))
    for width in filters[1:]:
        x = layers.MaxPooling2D(2, padding="same")(convolution(x, width))
        x = layers.SpatialDropout2D(dropout / 2)(x)
    return layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x)


def attention(x: keras.KerasTensor) -> keras.KerasTensor:
    """Average over time with learned weights. Shape: ``(b, t, c)`` to ``(b, c)``.

    Mirsamadi, Barsoum & Zhang (2017), doi:10.1109/ICASSP.2017.7952552.
    """
    weights = ops.softmax(layers.Dense(1, dtype="float32")(x), axis=1)  # (b, t, 1)
    return ops.sum(ops.cast(weights, x.dtype) * x, axis=1)


def exit_to(x: keras.KerasTensor, classes: int, *, dropout: float) -> keras.KerasTensor:
    """Give probabilities. Shape: ``(b, c)`` to ``(b, classes)``, float32 under any precision."""
    x = layers.Dropout(dropout)(x)
    return layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)


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
