"""The networks by name: CNN and CRNN of this project, and the four published ones."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline.core import config
from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.dataset.inputs import Statistics
from pipeline.train import layers as train_layers
from pipeline.train.backend import keras, layers
from pipeline.train.settings import SVM


@dataclass(frozen=True, kw_only=True)
class Cnn:
    """Settings of the architecture, section ``model.cnn`` of params.yaml."""

    filters: tuple[int, ...] = (16, 32, 64, 128)
    dropout: float = 0.4

    def __post_init__(self) -> None:
        train_layers.check_widths("model.cnn", filters=self.filters, dropouts={"dropout": self.dropout})


def build_cnn(shape: tuple[int, int], classes: int, config: Cnn, *, statistics: Statistics) -> keras.Model:
    """Convolutions, then mean and maximum over time.

    Shape: ``(b, frames, bins)`` to ``(b, classes)``.
    """
    patch, x = train_layers.image_input(shape, statistics)
    x = train_layers.conv_encoder(x, config.filters, dropout=config.dropout)  # (b, t', f' * c)
    x = layers.Concatenate()([layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)])  # (b, 2 * f' * c)
    return keras.Model(patch, train_layers.classification_head(x, classes, dropout=config.dropout), name="cnn")


@dataclass(frozen=True, kw_only=True)
class Crnn:
    """Settings of the architecture, section ``model.crnn`` of params.yaml."""

    filters: tuple[int, ...] = (16, 32, 64, 96)
    units: int = 64  # of the GRU, each way
    dropout: float = 0.4

    def __post_init__(self) -> None:
        train_layers.check_widths(
            "model.crnn", filters=self.filters, units=self.units, dropouts={"dropout": self.dropout}
        )


def build_crnn(shape: tuple[int, int], classes: int, config: Crnn, *, statistics: Statistics) -> keras.Model:
    """Convolutions, a bidirectional GRU, then attention and mean over time, concatenated.

    Shape: ``(b, frames, bins)`` to ``(b, classes)``.
    """
    patch, x = train_layers.image_input(shape, statistics)
    x = train_layers.conv_encoder(x, config.filters, dropout=config.dropout)  # (b, t', f' * c)
    x = layers.Dense(2 * config.units, activation="relu")(x)  # (b, t', 2 * units)
    x = layers.Bidirectional(layers.GRU(config.units, return_sequences=True))(x)  # (b, t', 2 * units)
    x = layers.Concatenate()([train_layers.attention_pooling(x), layers.GlobalAveragePooling1D()(x)])  # (b, 4 * units)
    return keras.Model(patch, train_layers.classification_head(x, classes, dropout=config.dropout), name="crnn")


@dataclass(frozen=True, kw_only=True)
class Conv1d:
    """Settings of the architecture, section ``model.conv1d`` of params.yaml."""

    contours: int = 2  # number of leading bins that are flattened one after another, before the others frame by frame
    filters: tuple[int, ...] = (512, 512, 256, 256, 128)
    kernels: tuple[int, ...] = (5, 5, 5, 3, 3)  # of each convolution
    dropouts: tuple[float, ...] = (0.0, 0.2, 0.0, 0.2, 0.2)  # of each convolution
    pool: int = 5  # width of each pooling; its stride is 2
    units: int = 512  # of the dense layer

    def __post_init__(self) -> None:
        sizes = {"pool": self.pool, "units": self.units}
        dropouts = {f"dropouts[{number}]": rate for number, rate in enumerate(self.dropouts)}
        train_layers.check_widths(
            "model.conv1d", filters=self.filters, kernels=self.kernels, dropouts=dropouts, **sizes
        )
        if not len(self.filters) == len(self.kernels) == len(self.dropouts):
            raise SettingError(
                f"params.yaml: model.conv1d has {len(self.filters)} filters, {len(self.kernels)} kernels and "
                f"{len(self.dropouts)} dropouts, expected one of each for every convolution."
            )


def build_conv1d(shape: tuple[int, int], classes: int, config: Conv1d, *, statistics: Statistics) -> keras.Model:
    """Convolutions over the flattened patch (see `flatten_patch`), then a dense layer.

    Shape: ``(b, frames, bins)`` to ``(b, classes)``.

    Raises:
        SettingError: the view has fewer bins than ``contours``.
    """
    if not 0 <= config.contours <= shape[1]:
        raise SettingError(
            f"params.yaml: model.conv1d.contours is {config.contours}, expected 0 to the {shape[1]} bins of the view."
        )
    patch, x = train_layers.standardised_input(shape, statistics)
    x = flatten_patch(x, config.contours)  # (b, t * f, 1)
    for filters, kernel, dropout in zip(config.filters, config.kernels, config.dropouts, strict=True):
        x = layers.Conv1D(filters, kernel, padding="same", activation="relu")(x)
        x = layers.MaxPooling1D(config.pool, 2, padding="same")(layers.BatchNormalization()(x))
        x = layers.Dropout(dropout)(x)
    x = layers.Dense(config.units, activation="relu")(layers.Flatten()(x))
    x = layers.BatchNormalization()(x)
    return keras.Model(patch, train_layers.classification_head(x, classes, dropout=0.0), name="conv1d")


def flatten_patch(x: keras.KerasTensor, contours: int) -> keras.KerasTensor:
    """Flatten a patch: contour by contour, then the other bins frame by frame.

    Shape: ``(b, t, f)`` to ``(b, t * f, 1)``.
    """
    frames, bins = x.shape[1:]
    first = layers.Reshape((frames * contours, 1))(layers.Permute((2, 1))(x[:, :, :contours])) if contours else None
    rest = layers.Reshape((frames * (bins - contours), 1))(x[:, :, contours:]) if contours < bins else None
    parts = [part for part in (first, rest) if part is not None]
    return layers.Concatenate(axis=1)(parts) if len(parts) > 1 else parts[0]


@dataclass(frozen=True, kw_only=True)
class Conv2d:
    """Settings of the architecture, section ``model.conv2d`` of params.yaml."""

    filters: tuple[int, ...] = (64, 128, 256, 512)
    dropout: float = 0.2  # after each pooling
    units: tuple[int, ...] = (512, 256)  # of the dense layers
    normalise_dense: bool = True  # whether batch normalisation follows the dense layers too
    dense_dropout: float = 0.3

    def __post_init__(self) -> None:
        dropouts = {"dropout": self.dropout, "dense_dropout": self.dense_dropout}
        train_layers.check_widths("model.conv2d", filters=self.filters, units=self.units, dropouts=dropouts)


def build_conv2d(shape: tuple[int, int], classes: int, config: Conv2d, *, statistics: Statistics) -> keras.Model:
    """Blocks of convolution and pooling, then dense layers.

    Shape: ``(b, frames, bins)`` to ``(b, classes)``.

    Raises:
        SettingError: the patch is too small for so many poolings.
    """
    train_layers.check_poolings("model.conv2d", len(config.filters), frames=shape[0], bins=shape[1])
    patch, x = train_layers.image_input(shape, statistics)
    for width in config.filters:
        x = layers.Dropout(config.dropout)(train_layers.conv_pool_block(x, width))
    x = layers.Flatten()(x)
    for units in config.units:
        x = layers.Dense(units)(x)
        x = layers.BatchNormalization()(x) if config.normalise_dense else x
        x = layers.Dropout(config.dense_dropout)(layers.Activation("relu")(x))
    return keras.Model(patch, train_layers.classification_head(x, classes, dropout=0.0), name="conv2d")


@dataclass(frozen=True, kw_only=True)
class Crnn1d:
    """Settings of the architecture, section ``model.crnn1d`` of params.yaml."""

    filters: tuple[int, ...] = (128, 256, 512)
    kernel: int = 5
    units: int = 128  # of the GRU, each way
    dropout: float = 0.3

    def __post_init__(self) -> None:
        dropouts = {"dropout": self.dropout}
        train_layers.check_widths(
            "model.crnn1d", filters=self.filters, kernel=self.kernel, units=self.units, dropouts=dropouts
        )


def build_crnn1d(shape: tuple[int, int], classes: int, config: Crnn1d, *, statistics: Statistics) -> keras.Model:
    """Blocks of convolution and pooling, a bidirectional GRU, and the mean over time.

    Shape: ``(b, frames, bins)`` to ``(b, classes)``.

    Raises:
        SettingError: the patch has too few frames for so many poolings.
    """
    train_layers.check_poolings("model.crnn1d", len(config.filters), frames=shape[0])
    patch, x = train_layers.standardised_input(shape, statistics)
    for width in config.filters:
        x = layers.BatchNormalization()(layers.Conv1D(width, config.kernel, padding="same")(x))
        x = layers.MaxPooling1D(2)(layers.Activation("relu")(x))
    x = layers.Bidirectional(layers.GRU(config.units, return_sequences=True))(x)  # (b, t', 2 * units)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(patch, train_layers.classification_head(x, classes, dropout=config.dropout), name="crnn1d")


@dataclass(frozen=True, kw_only=True)
class Crnn2d:
    """Settings of the architecture, section ``model.crnn2d`` of params.yaml."""

    filters: tuple[int, ...] = (64, 64, 128, 128)
    units: int = 128  # of the LSTM, each way
    dropout: float = 0.0

    def __post_init__(self) -> None:
        train_layers.check_widths(
            "model.crnn2d", filters=self.filters, units=self.units, dropouts={"dropout": self.dropout}
        )


def build_crnn2d(shape: tuple[int, int], classes: int, config: Crnn2d, *, statistics: Statistics) -> keras.Model:
    """Blocks of convolution and pooling, reshaped to a sequence, and a bidirectional LSTM.

    Shape: ``(b, frames, bins)`` to ``(b, classes)``.

    Raises:
        SettingError: the patch is too small for so many poolings.
    """
    train_layers.check_poolings("model.crnn2d", len(config.filters), frames=shape[0], bins=shape[1])
    patch, x = train_layers.image_input(shape, statistics)
    for width in config.filters:
        x = train_layers.conv_pool_block(x, width)
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x)  # (b, t', f' * c)
    x = layers.Bidirectional(layers.LSTM(config.units))(x)  # (b, 2 * units)
    return keras.Model(patch, train_layers.classification_head(x, classes, dropout=config.dropout), name="crnn2d")


MAX_WEIGHTS = 2**28  # largest number of weights: 1 GiB, and the optimizer stores them three times


@dataclass(frozen=True)
class Architecture:
    """The settings of an architecture and the function that builds its network."""

    config: type[Any]
    build: Callable[..., keras.Model]


ARCHITECTURES: Mapping[str, Architecture] = {
    "cnn": Architecture(Cnn, build_cnn),
    "crnn": Architecture(Crnn, build_crnn),
    "conv1d": Architecture(Conv1d, build_conv1d),
    "crnn1d": Architecture(Crnn1d, build_crnn1d),
    "conv2d": Architecture(Conv2d, build_conv2d),
    "crnn2d": Architecture(Crnn2d, build_crnn2d),
}


def find_architecture(name: str) -> Architecture:
    """Look up an architecture.

    Raises:
        UnknownNameError: the name is none of `ARCHITECTURES`.
    """
    if str(name) not in ARCHITECTURES:  # a list could not be looked up
        raise UnknownNameError("params.yaml: model.arch", name, [*ARCHITECTURES, SVM])
    return ARCHITECTURES[name]


def check_network(params: Mapping[str, Any], shape: tuple[int, int], classes: int, *, statistics: Statistics) -> None:
    """Refuse settings with which the network cannot be built, before anything is trained.

    Raises:
        SettingError: a setting cannot work, or the network has too many weights.
    """
    arch, size = config.get_setting(params, "model.arch"), count_weights(params, shape, classes, statistics=statistics)
    if size > MAX_WEIGHTS:
        raise SettingError(
            f"params.yaml: model.{arch} makes a network of {size:,} weights on {shape[0]} "
            f"frames of {shape[1]} bins, more than {MAX_WEIGHTS:,}: make its layers narrower."
        )


def count_weights(params: Mapping[str, Any], shape: tuple[int, int], classes: int, *, statistics: Statistics) -> int:
    """Count the weights of the network that `build_network` builds, without allocating them."""

    def count() -> int:
        with keras.StatelessScope(initialize_variables=False):
            return int(build_network(params, shape, classes, statistics=statistics).count_params())

    with ThreadPoolExecutor(1) as thread:  # uninitialised variables and names of layers are global to a thread in Keras
        return thread.submit(count).result()


def build_network(
    params: Mapping[str, Any],
    shape: tuple[int, int],
    classes: int,
    *,
    statistics: Statistics,
    seed: int | None = None,
) -> keras.Model:
    """Build the network that ``model.arch`` names, with the settings of its own section.

    With a seed, its initial weights and the random numbers of its layers in training depend on that alone.

    Shape: ``(b, *shape)`` to ``(b, classes)``.
    """
    if seed is not None:
        keras.utils.set_random_seed(seed)
    name = config.get_setting(params, "model.arch")
    chosen = find_architecture(name)
    settings = config.read_section(chosen.config, params, f"model.{name}")
    return chosen.build(shape, classes, settings, statistics=statistics)
