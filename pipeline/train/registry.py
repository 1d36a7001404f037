"""The network architectures by name, as ``model.arch`` has them."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline.core import config
from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.dataset.inputs import Statistics
from pipeline.train import architectures
from pipeline.train.backend import keras
from pipeline.train.settings import SVM

MAX_WEIGHTS = 2**28  # largest number of weights: 1 GiB, and the optimizer stores them three times


@dataclass(frozen=True)
class Architecture:
    """The settings of an architecture and the function that builds its network."""

    config: type[Any]
    build: Callable[..., keras.Model]


ARCHITECTURES: Mapping[str, Architecture] = {
    "cnn": Architecture(architectures.Cnn, architectures.build_cnn),
    "crnn": Architecture(architectures.Crnn, architectures.build_crnn),
    "conv1d": Architecture(architectures.Conv1d, architectures.build_conv1d),
    "crnn1d": Architecture(architectures.Crnn1d, architectures.build_crnn1d),
    "conv2d": Architecture(architectures.Conv2d, architectures.build_conv2d),
    "crnn2d": Architecture(architectures.Crnn2d, architectures.build_crnn2d),
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
