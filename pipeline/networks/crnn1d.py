"""Convolutions over time, the rows of the view as channels, then a recurrent layer: a published system on MFCC."""

from dataclasses import dataclass

from pipeline.networks import blocks
from pipeline.networks.backend import keras, layers


@dataclass(frozen=True, kw_only=True)
class Crnn1d:
    """Every field changes the network."""

    filters: tuple[int, ...] = (128, 256, 512)
    kernel: int = 5
    units: int = 128  # of the GRU, each way
    dropout: float = 0.3

    def __post_init__(self) -> None:
        dropouts = {"dropout": self.dropout}
        blocks.check("model.crnn1d", filters=self.filters, kernel=self.kernel, units=self.units, dropouts=dropouts)


def build(shape: tuple[int, int], classes: int, config: Crnn1d, *, statistics: blocks.Statistics) -> keras.Model:
    """Build blocks of convolution and pooling, a bidirectional GRU, and the mean over time.

    Shape: ``(b, frames, rows)`` to ``(b, classes)``.

    Raises:
        SettingError: there are too few frames for so many poolings.
    """
    blocks.check_halving("model.crnn1d", len(config.filters), frames=shape[0])
    patch, x = blocks.standardised(shape, statistics)
    for width in config.filters:
        x = layers.BatchNormalization()(layers.Conv1D(width, config.kernel, padding="same")(x))
        x = layers.MaxPooling1D(2)(layers.Activation("relu")(x))
    x = layers.Bidirectional(layers.GRU(config.units, return_sequences=True))(x)  # (b, t', 2 * units)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(patch, blocks.exit_to(x, classes, dropout=config.dropout), name="crnn1d")
