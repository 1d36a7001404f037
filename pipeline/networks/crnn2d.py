"""Convolutions over time and frequency, then a recurrent layer whose last state decides: as published for log-mel."""

from dataclasses import dataclass

from pipeline.networks import blocks
from pipeline.networks.backend import keras, layers


@dataclass(frozen=True, kw_only=True)
class Crnn2d:
    """Every field changes the network."""

    filters: tuple[int, ...] = (64, 64, 128, 128)
    units: int = 128  # of the LSTM, each way
    dropout: float = 0.0

    def __post_init__(self) -> None:
        blocks.check("model.crnn2d", filters=self.filters, units=self.units, dropouts={"dropout": self.dropout})


def build(shape: tuple[int, int], classes: int, config: Crnn2d, *, statistics: blocks.Statistics) -> keras.Model:
    """Build blocks of convolution and pooling, laid out time first, and a bidirectional LSTM.

    Shape: ``(b, frames, rows)`` to ``(b, classes)``.

    Raises:
        SettingError: the patch is too small for so many poolings.
    """
    blocks.check_halving("model.crnn2d", len(config.filters), frames=shape[0], rows=shape[1])
    patch, x = blocks.entrance(shape, statistics)
    for width in config.filters:
        x = blocks.pooled(x, width)
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x)  # (b, t', f' * c)
    x = layers.Bidirectional(layers.LSTM(config.units))(x)  # (b, 2 * units)
    return keras.Model(patch, blocks.exit_to(x, classes, dropout=config.dropout), name="crnn2d")
