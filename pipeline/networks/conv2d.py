"""Convolutions over a patch as over an image, flattened into dense layers: two of the published systems."""

from dataclasses import dataclass

from pipeline.networks import blocks
from pipeline.networks.backend import keras, layers


@dataclass(frozen=True, kw_only=True)
class Conv2d:
    """Every field changes the network."""

    filters: tuple[int, ...] = (64, 128, 256, 512)
    dropout: float = 0.2  # behind each pooling
    units: tuple[int, ...] = (512, 256)  # of the dense layers
    normalise_dense: bool = True  # whether batch normalisation follows them too
    dense_dropout: float = 0.3

    def __post_init__(self) -> None:
        dropouts = {"dropout": self.dropout, "dense_dropout": self.dense_dropout}
        blocks.check("model.conv2d", filters=self.filters, units=self.units, dropouts=dropouts)


def build(shape: tuple[int, int], classes: int, config: Conv2d, *, statistics: blocks.Statistics) -> keras.Model:
    """Build blocks of convolution and pooling, then dense layers.

    Shape: ``(b, frames, rows)`` to ``(b, classes)``.

    Raises:
        SettingError: the patch is too small for so many poolings.
    """
    blocks.check_halving("model.conv2d", len(config.filters), frames=shape[0], rows=shape[1])
    patch, x = blocks.entrance(shape, statistics)
    for width in config.filters:
        x = layers.Dropout(config.dropout)(blocks.pooled(x, width))
    x = layers.Flatten()(x)
    for units in config.units:
        x = layers.Dense(units)(x)
        x = layers.BatchNormalization()(x) if config.normalise_dense else x
        x = layers.Dropout(config.dense_dropout)(layers.Activation("relu")(x))
    return keras.Model(patch, blocks.exit_to(x, classes, dropout=0.0), name="conv2d")
