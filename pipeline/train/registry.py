"""The models by name, as ``model.arch`` has them: the networks, and the svm, which is none."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline.core import config
from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.train import architectures, svm
from pipeline.train.backend import keras
from pipeline.train.layers import Statistics
from pipeline.train.settings import SVM

WEIGHTS = 2**28  # of a network: 1 GiB, and the optimizer holds them three times


@dataclass(frozen=True)
class Arch:
    """A network's settings and how to build it."""

    config: type[Any]
    build: Callable[..., keras.Model]


ARCHS: Mapping[str, Arch] = {
    "cnn": Arch(architectures.Cnn, architectures.build_cnn),
    "crnn": Arch(architectures.Crnn, architectures.build_crnn),
    "conv1d": Arch(architectures.Conv1d, architectures.build_conv1d),
    "crnn1d": Arch(architectures.Crnn1d, architectures.build_crnn1d),
    "conv2d": Arch(architectures.Conv2d, architectures.build_conv2d),
    "crnn2d": Arch(architectures.Crnn2d, architectures.build_crnn2d),
}


def machine(params: Mapping[str, Any]) -> svm.Svm:
    """Read the settings of the support vector machine."""
    return config.section(svm.Svm, params, f"model.{SVM}")


def arch(name: str) -> Arch:
    """Look a network up.

    Raises:
        UnknownNameError: there is none of this name.
    """
    if str(name) not in ARCHS:  # a list could not be looked up
        raise UnknownNameError("params.yaml: model.arch", name, [*ARCHS, SVM])
    return ARCHS[name]


def check(params: Mapping[str, Any], shape: tuple[int, int], classes: int, *, statistics: Statistics) -> None:
    """Refuse settings of models that cannot be built, before anything is trained.

    Raises:
        SettingError: a setting cannot work, or the network has more weights than a machine holds.
    """
    machine(params)
    name = config.text(params, "model.arch")
    if name == SVM:
        return
    size = count_weights(params, shape, classes, statistics=statistics)
    if size > WEIGHTS:
        raise SettingError(
            f"params.yaml: model.{name} makes a network of {size:,} weights on {shape[0]} frames of {shape[1]} rows, "
            f"at most {WEIGHTS:,} are trained: make its layers narrower."
        )


def count_weights(params: Mapping[str, Any], shape: tuple[int, int], classes: int, *, statistics: Statistics) -> int:
    """Count the weights of the network that `build` makes, without making them."""

    def count() -> int:
        with keras.StatelessScope(initialize_variables=False):
            return int(build(params, shape, classes, statistics=statistics).count_params())

    with ThreadPoolExecutor(1) as thread:  # Keras notes in each thread by itself what it has yet to make, and names
        return thread.submit(count).result()


def build(
    params: Mapping[str, Any],
    shape: tuple[int, int],
    classes: int,
    *,
    statistics: Statistics,
    seed: int | None = None,
) -> keras.Model:
    """Build the network that ``model.arch`` names, with the settings of its own section.

    With a seed its weights, and what its layers draw in training, follow from that alone.

    Shape: ``(b, *shape)`` to ``(b, classes)``.
    """
    if seed is not None:
        keras.utils.set_random_seed(seed)
    name = config.get(params, "model.arch")
    chosen = arch(name)
    settings = config.section(chosen.config, params, f"model.{name}")
    return chosen.build(shape, classes, settings, statistics=statistics)
