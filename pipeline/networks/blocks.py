"""The pieces that networks share. Shapes: b batch, t frames, f rows of the view, c channels."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.errors import SettingError
from pipeline.networks.backend import keras, layers, ops

WIDEST = 65_536  # of a layer
LAYERS = 32  # of a kind
DROPPED = 0.99  # of the numbers of a layer, the largest share


class Statistics(Protocol):
    """Mean and variance over the training rows of a fold, of each row of the view or each cell.

    Shape: ``(rows,)`` or ``(frames, rows)`` each.
    """

    @property
    def mean(self) -> npt.NDArray[np.float32]: ...  # noqa: D102

    @property
    def variance(self) -> npt.NDArray[np.float32]: ...  # noqa: D102


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
