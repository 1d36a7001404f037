"""The two kinds of model that are trained, behind one face: clips in, probabilities out; kept without pickle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import StoreError
from pipeline.networks import svm
from pipeline.networks.backend import keras
from pipeline.networks.names import SVM
from pipeline.networks.settings import Train
from pipeline.store import batches
from pipeline.store.inputs import Inputs
from pipeline.store.mapped import Table

NETWORK, MACHINE = "model.keras", "svm.npz"
Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


class Model(Protocol):
    """What train makes, the bundle keeps and evaluate asks."""

    @property
    def size(self) -> int: ...  # numbers it consists of  # noqa: D102

    def probabilities(self, inputs: Inputs, numbers: Numbers) -> Array:
        """Give probabilities of rows of a table. Shape: ``(rows,)`` to ``(rows, classes)``."""

    def hear(self, values: Array) -> Array:
        """Give probabilities of a few clips, soon. Shape: ``(clips, …)``, as `inputs` has them."""

    def save(self, folder: Path) -> None:
        """Write it into a folder that is there."""


@dataclass(frozen=True)
class Network:
    """A network of Keras."""

    network: keras.Model

    @property
    def size(self) -> int:
        """Its weights."""
        return int(self.network.count_params())

    def probabilities(self, inputs: Inputs, numbers: Numbers) -> Array:
        """Ask it."""
        feed = batches.Patches(inputs, numbers, batch_size=128)
        return np.asarray(self.network.predict(feed, verbose=0), np.float32)

    def hear(self, values: Array) -> Array:
        """Ask it by one compiled call."""
        return np.asarray(self.network.predict_on_batch(values), np.float32)

    def save(self, folder: Path) -> None:
        """Write model.keras."""
        self.network.save(folder / NETWORK)


@dataclass(frozen=True)
class Machine:
    """A support vector machine over functionals."""

    machine: svm.Machine

    @property
    def size(self) -> int:
        """The numbers in its arrays."""
        return self.machine.size

    def probabilities(self, inputs: Inputs, numbers: Numbers) -> Array:
        """Ask it."""
        return self.hear(inputs.gather(numbers))

    def hear(self, values: Array) -> Array:
        """Ask it."""
        return self.machine.probabilities(values)

    def save(self, folder: Path) -> None:
        """Write svm.npz."""
        self.machine.save(folder / MACHINE)


def inputs(table: Table, clips: pd.DataFrame, arch: str, settings: Train) -> Inputs:
    """Prepare the rows of one fold, ``clips``, as a model of this name takes them."""
    found = Inputs(table, "functionals" if arch == SVM else settings.statistics)
    return found.by_speaker(clips) if settings.normalise == "speaker" else found


def own_statistics(arch: str, settings: Train) -> bool:
    """Say whether a model of this name standardises by its training rows.

    No kernel bears numbers of different size: the machine does so unless each speaker is standardised already.
    """
    return settings.normalise != "speaker" if arch == SVM else settings.normalise == "train"


def load(folder: Path, arch: str) -> Model:
    """Load a model for predicting.

    Raises:
        StoreError: it is damaged, or there is code inside, which never runs.
    """
    try:
        if arch == SVM:
            return Machine(svm.load(folder / MACHINE))
        return Network(keras.saving.load_model(folder / NETWORK, compile=False, safe_mode=True))
    except (AttributeError, ImportError, KeyError, OSError, TypeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise StoreError(f"{folder} holds no model that may be loaded ({first}): copy or train it again.") from error
