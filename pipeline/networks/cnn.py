"""A small convolutional network over time and frequency."""

from dataclasses import dataclass

from pipeline.networks import blocks
from pipeline.networks.backend import keras, layers


@dataclass(frozen=True, kw_only=True)
class Cnn:
    """Every field changes the network."""

    filters: tuple[int, ...] = (16, 32, 64, 128)
    dropout: float = 0.4

    def __post_init__(self) -> None:
        blocks.check("model.cnn", filters=self.filters, dropouts={"dropout": self.dropout})


def build(shape: tuple[int, int], classes: int, config: Cnn, *, statistics: blocks.Statistics) -> keras.Model:
    """Build convolutions, then the mean and the maximum over time.

    Shape: ``(b, frames, rows)`` to ``(b, classes)``.
    """
    patch, x = blocks.entrance(shape, statistics)
    x = blocks.trunk(x, config.filters, dropout=config.dropout)  # (b, t', f' * c)
    x = layers.Concatenate()([layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)])  # (b, 2 * f' * c)
    return keras.Model(patch, blocks.exit_to(x, classes, dropout=config.dropout), name="cnn")
