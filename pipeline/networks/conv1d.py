"""Convolutions along one line of numbers: a published system that lays zero crossings, energy and MFCC end to end."""

from dataclasses import dataclass

from pipeline.errors import SettingError
from pipeline.networks import blocks
from pipeline.networks.backend import keras, layers


@dataclass(frozen=True, kw_only=True)
class Conv1d:
    """Every field changes the network."""

    contours: int = 2  # the first rows of the view: each is laid out whole, before the others come frame by frame
    filters: tuple[int, ...] = (512, 512, 256, 256, 128)
    kernels: tuple[int, ...] = (5, 5, 5, 3, 3)  # one a convolution
    dropouts: tuple[float, ...] = (0.0, 0.2, 0.0, 0.2, 0.2)  # one a convolution
    pool: int = 5  # how wide each pooling is; its stride is 2
    units: int = 512  # of the dense layer

    def __post_init__(self) -> None:
        sizes = {"pool": self.pool, "units": self.units}
        dropouts = {f"dropouts[{number}]": rate for number, rate in enumerate(self.dropouts)}
        blocks.check("model.conv1d", filters=self.filters, kernels=self.kernels, dropouts=dropouts, **sizes)
        if not len(self.filters) == len(self.kernels) == len(self.dropouts):
            raise SettingError(
                f"params.yaml: model.conv1d has {len(self.filters)} filters, {len(self.kernels)} kernels and "
                f"{len(self.dropouts)} dropouts, expected one of each for every convolution."
            )


def build(shape: tuple[int, int], classes: int, config: Conv1d, *, statistics: blocks.Statistics) -> keras.Model:
    """Build convolutions over the line, then a dense layer.

    Shape: ``(b, frames, rows)`` to ``(b, classes)``.

    Raises:
        SettingError: the view has fewer rows than ``contours``.
    """
    if not 0 <= config.contours <= shape[1]:
        raise SettingError(
            f"params.yaml: model.conv1d.contours is {config.contours}, expected 0 to the {shape[1]} rows of the view."
        )
    patch, x = blocks.standardised(shape, statistics)
    x = line(x, config.contours)  # (b, t * f, 1)
    for filters, kernel, dropout in zip(config.filters, config.kernels, config.dropouts, strict=True):
        x = layers.Conv1D(filters, kernel, padding="same", activation="relu")(x)
        x = layers.MaxPooling1D(config.pool, 2, padding="same")(layers.BatchNormalization()(x))
        x = layers.Dropout(dropout)(x)
    x = layers.Dense(config.units, activation="relu")(layers.Flatten()(x))
    x = layers.BatchNormalization()(x)
    return keras.Model(patch, blocks.exit_to(x, classes, dropout=0.0), name="conv1d")


def line(x: keras.KerasTensor, contours: int) -> keras.KerasTensor:
    """Lay a patch out as a line: contour by contour, then the other rows frame by frame.

    Shape: ``(b, t, f)`` to ``(b, t * f, 1)``.
    """
    frames, rows = x.shape[1:]
    first = layers.Reshape((frames * contours, 1))(layers.Permute((2, 1))(x[:, :, :contours])) if contours else None
    rest = layers.Reshape((frames * (rows - contours), 1))(x[:, :, contours:]) if contours < rows else None
    parts = [part for part in (first, rest) if part is not None]
    return layers.Concatenate(axis=1)(parts) if len(parts) > 1 else parts[0]
