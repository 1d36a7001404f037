"""The networks by name, as ``model.arch`` has them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from pipeline import config
from pipeline.errors import UnknownNameError
from pipeline.networks import cnn, crnn
from pipeline.networks.blocks import Statistics


@dataclass(frozen=True)
class Arch:
    """A network's settings and how to build it."""

    config: type[Any]
    build: Callable[..., keras.Model]


ARCHS: Mapping[str, Arch] = {"cnn": Arch(cnn.Cnn, cnn.build), "crnn": Arch(crnn.Crnn, crnn.build)}


def arch(name: str) -> Arch:
    """Look a network up.

    Raises:
        UnknownNameError: there is none of this name.
    """
    if name not in ARCHS:
        raise UnknownNameError("params.yaml: model.arch", name, ARCHS)
    return ARCHS[name]


def build(params: Mapping[str, Any], shape: tuple[int, int], classes: int, *, statistics: Statistics) -> keras.Model:
    """Build the network that ``model.arch`` names, with the settings of its own section.

    Shape: ``(b, *shape)`` to ``(b, classes)``.
    """
    name = config.get(params, "model.arch")
    chosen = arch(name)
    settings = config.section(chosen.config, params, f"model.{name}")
    return chosen.build(shape, classes, settings, statistics=statistics)
