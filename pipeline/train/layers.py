"""Layers, feature augmentation and metrics that the networks share.

Shapes: b clips, t frames, f bins, c channels. Values are standardised, so that 0 is the mean.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.core.errors import SettingError
from pipeline.dataset.inputs import Statistics
from pipeline.train.backend import keras, layers, ops
from pipeline.train.settings import Augment

MAX_WIDTH = 65_536  # units or filters of a layer
MAX_LAYERS = 32  # of a kind
MAX_DROPOUT = 0.99  # largest dropout rate


def check_widths(section: str, *, dropouts: Mapping[str, float], **widths: int | Sequence[int]) -> None:
    """Refuse widths and dropout rates out of range; keywords are their names in params.yaml.

    Raises:
        SettingError: a width or a dropout rate is out of range, or there are no or too many widths.
    """
    for name, width in widths.items():
        several = [width] if isinstance(width, int) else list(width)
        if not 0 < len(several) <= MAX_LAYERS or min(several) < 1 or max(several) > MAX_WIDTH:
            wanted = f"1 or more, up to {MAX_WIDTH}"
            wanted = wanted if isinstance(width, int) else f"1 to {MAX_LAYERS} numbers, each {wanted}"
            shown = width if isinstance(width, int) else several
            raise SettingError(f"params.yaml: {section}.{name} is {shown}, expected {wanted}.")
    for name, dropout in dropouts.items():
        if not 0 <= dropout <= MAX_DROPOUT:
            raise SettingError(f"params.yaml: {section}.{name} is {dropout}, expected a share from 0 to {MAX_DROPOUT}.")


def check_poolings(section: str, times: int, **sizes: int) -> None:
    """Refuse more poolings by 2 than the size of a patch allows.

    Args:
        section: of params.yaml.
        times: number of poolings, one for each of its ``filters``.
        **sizes: ``frames`` and ``bins`` of the view that are pooled.

    Raises:
        SettingError: nothing would be left of the patch.
    """
    for name, size in sizes.items():
        if size < 2**times:
            more = "audio.seconds" if name == "frames" else "the bins of the view (n_mels, n_mfcc)"
            raise SettingError(
                f"params.yaml: {section}.filters has {times} widths, each of which halves the {name} of the view, and "
                f"there are {size} where {2**times} are needed: take fewer filters, or raise {more}."
            )


def standardised_input(shape: tuple[int, int], statistics: Statistics) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Input of patches ``(b, t, f)`` and their standardised values in float32; the network stores the statistics."""
    patch = keras.Input(shape, name="patch")  # (b, t, f)
    mean, variance = statistics.mean.tolist(), statistics.variance.tolist()
    axis = -1 if statistics.mean.ndim == 1 else (1, 2)
    standard = layers.Normalization(axis=axis, mean=mean, variance=variance, dtype="float32", name="standardise")
    return patch, standard(patch)


def image_input(shape: tuple[int, int], statistics: Statistics) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Input of patches ``(b, t, f)`` and their standardised values as images of one channel ``(b, t, f, 1)``."""
    patch, standard = standardised_input(shape, statistics)
    return patch, layers.Reshape((*shape, 1))(standard)


def conv_pool_block(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """Convolution with bias, batch normalisation, ReLU and pooling by 2, as in published systems.

    Shape: ``(b, t, f, c)`` to ``(b, t // 2, f // 2, filters)``.
    """
    x = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(x))
    return layers.MaxPooling2D(2)(layers.Activation("relu")(x))


def _conv_block(x: keras.KerasTensor, filters: int, *, kernel: int = 3, stride: int = 1) -> keras.KerasTensor:
    """Convolution, batch normalisation and ReLU.

    Shape: ``(b, t, f, c)`` to ``(b, t / stride, f / stride, filters)``.
    """
    x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False)(x)
    return layers.Activation("relu")(layers.BatchNormalization()(x))


def conv_encoder(x: keras.KerasTensor, filters: Sequence[int], *, dropout: float) -> keras.KerasTensor:
    """Encode a patch as a sequence: a stem of stride 2, then a convolution for each other width, each pooled by 2.

    Pooling before the costly convolutions makes an epoch four times shorter on a CPU. Bins and channels are
    concatenated rather than averaged over bins, since frequency matters, unlike position in an image.
    Shape: ``(b, t, f, 1)`` to ``(b, t / 2**n, f / 2**n * filters[-1])``, where n is the number of widths + 1.
    """
    x = layers.MaxPooling2D(2, padding="same")(_conv_block(x, filters[0], kernel=5, stride=2))
    for width in filters[1:]:
        x = layers.MaxPooling2D(2, padding="same")(_conv_block(x, width))
        x = layers.SpatialDropout2D(dropout / 2)(x)
    return layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x)


def attention_pooling(x: keras.KerasTensor) -> keras.KerasTensor:
    """Weighted mean over time, with learned weights. Shape: ``(b, t, c)`` to ``(b, c)``.

    Mirsamadi, Barsoum & Zhang (2017), doi:10.1109/ICASSP.2017.7952552.
    """
    weights = ops.softmax(layers.Dense(1, dtype="float32")(x), axis=1)  # (b, t, 1)
    return ops.sum(ops.cast(weights, x.dtype) * x, axis=1)


def classification_head(x: keras.KerasTensor, classes: int, *, dropout: float) -> keras.KerasTensor:
    """Dropout and softmax. Shape: ``(b, c)`` to ``(b, classes)``, float32 under any dtype policy."""
    x = layers.Dropout(dropout)(x)
    return layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)


class RandomRoll(layers.Layer):  # type: ignore[misc] # keras is untyped
    """In training, rolls each clip along time by a number of frames drawn from ``-frames`` to ``frames``.

    Shape: ``(b, t, f)``, the same.
    """

    def __init__(self, frames: int, *, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.frames = frames
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return x
        size, length = ops.shape(x)[0], x.shape[1]
        by = keras.random.randint((size, 1), -self.frames, self.frames + 1, seed=self.seed_generator)
        source = ops.mod(ops.expand_dims(ops.arange(length), 0) - by, length)  # (b, t)
        return ops.take_along_axis(x, ops.expand_dims(source, -1), axis=1)


class SpanMask(layers.Layer):  # type: ignore[misc] # keras is untyped
    """In training, sets spans of frames or bins to 0, each of a width drawn from 0 to ``widest``, at any position.

    These are the time and frequency masks of SpecAugment: Park et al. (2019), doi:10.21437/Interspeech.2019-2680,
    section 2.
    Shape: ``(b, t, f)``, the same.
    """

    def __init__(self, axis: int, *, count: int, widest: int, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.axis, self.count, self.widest = axis, count, widest
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return x
        size, length = ops.shape(x)[0], x.shape[self.axis]
        shape, widest = (size, self.count, 1), min(self.widest, length)
        width = keras.random.randint(shape, 0, widest + 1, seed=self.seed_generator)
        room = ops.cast(length - width + 1, "float32")  # number of possible positions
        start = ops.cast(ops.floor(keras.random.uniform(shape, seed=self.seed_generator) * room), width.dtype)
        positions = ops.reshape(ops.arange(length), (1, 1, length))
        masked = ops.any((positions >= start) & (positions < start + width), axis=1)  # (b, length)
        return ops.where(ops.expand_dims(masked, 3 - self.axis), ops.zeros_like(x), x)


def augmentation_layers(config: Augment, *, seed: int) -> list[layers.Layer]:
    """Build the augmentation layers that the settings turn on, in order; each draws from a seed of its own."""
    found: list[layers.Layer] = []
    if config.shift:
        found.append(RandomRoll(config.shift, seed=seed))
    if config.noise:
        found.append(layers.GaussianNoise(config.noise, seed=seed + 1))
    if config.time_masks:
        found.append(SpanMask(1, count=config.time_masks, widest=config.time_mask, seed=seed + 2))
    if config.frequency_masks:
        found.append(SpanMask(2, count=config.frequency_masks, widest=config.frequency_mask, seed=seed + 3))
    return found


class UnweightedAverageRecall(keras.metrics.Metric):  # type: ignore[misc] # keras is untyped
    """Unweighted average recall over the classes that occurred, from one-hot targets and probabilities.

    Where targets are shares of votes, in training only, each clip counts for its classes by their shares. On validation
    speakers this is the score that is reported for test speakers.
    """

    def __init__(self, classes: int, *, name: str = "uar", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.hits = self.add_weight(shape=(classes,), initializer="zeros", name="hits")
        self.seen = self.add_weight(shape=(classes,), initializer="zeros", name="seen")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # noqa: ARG002 - every row counts once
        """Count the hits of a batch. Shapes: ``(b, classes)`` both."""
        truth = ops.cast(y_true, self.dtype)
        found = ops.one_hot(ops.argmax(y_pred, axis=-1), truth.shape[-1], dtype=self.dtype)
        self.hits.assign_add(ops.sum(truth * found, axis=0))
        self.seen.assign_add(ops.sum(truth, axis=0))

    def result(self) -> Any:
        occurred = ops.cast(self.seen > 0, self.dtype)
        recalls = self.hits / ops.maximum(self.seen, 1)
        return ops.sum(recalls * occurred) / ops.maximum(ops.sum(occurred), 1)


class Accuracy(keras.metrics.Metric):  # type: ignore[misc] # keras is untyped
    """Share of correct predictions, by clips or by shares of votes; rows without a target (padding) do not count."""

    def __init__(self, *, name: str = "accuracy", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.hits = self.add_weight(shape=(), initializer="zeros", name="hits")
        self.seen = self.add_weight(shape=(), initializer="zeros", name="seen")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # noqa: ARG002 - as above
        """Count the hits of a batch. Shapes: ``(b, classes)`` both."""
        truth = ops.cast(y_true, self.dtype)
        found = ops.one_hot(ops.argmax(y_pred, axis=-1), truth.shape[-1], dtype=self.dtype)
        self.hits.assign_add(ops.sum(truth * found))
        self.seen.assign_add(ops.sum(truth))

    def result(self) -> Any:
        return self.hits / ops.maximum(self.seen, 1)
