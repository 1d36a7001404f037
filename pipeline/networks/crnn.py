"""Convolutions over time and frequency, then a recurrent layer over time."""

from dataclasses import dataclass

from pipeline.networks import blocks
from pipeline.networks.backend import keras, layers


@dataclass(frozen=True, kw_only=True)
class Crnn:
    """Every field changes the network."""

    filters: tuple[int, ...] = (16, 32, 64, 96)
    units: int = 64  # of the GRU, each way
    dropout: float = 0.4

    def __post_init__(self) -> None:
        blocks.check("model.crnn", filters=self.filters, units=self.units, dropouts={"dropout": self.dropout})


def build(shape: tuple[int, int], classes: int, config: Crnn, *, statistics: blocks.Statistics) -> keras.Model:
    """Build convolutions, a bidirectional GRU, then attention and mean over time side by side.

    Shape: ``(b, frames, rows)`` to ``(b, classes)``.
    """
    patch, x = blocks.entrance(shape, statistics)
    x = blocks.trunk(x, config.filters, dropout=config.dropout)  # (b, t', f' * c)
    x = layers.Dense(2 * config.units, activation="relu")(x)  # (b, t', 2 * units)
    x = layers.Bidirectional(layers.GRU(config.units, return_sequences=True))(x)  # (b, t', 2 * units)
    x = layers.Concatenate()([blocks.attention(x), layers.GlobalAveragePooling1D()(x)])  # (b, 4 * units)
    return keras.Model(patch, blocks.exit_to(x, classes, dropout=config.dropout), name="crnn")
