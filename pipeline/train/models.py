"""The models of a bundle, networks and SVM: load, save and ask them the same way."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.core.errors import StoreError
from pipeline.dataset.inputs import Inputs
from pipeline.dataset.table import Table
from pipeline.train import batches, svm
from pipeline.train.backend import keras
from pipeline.train.settings import SVM, Train

NETWORK, MACHINE = "model.keras", "svm.npz"
Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


class Model(Protocol):
    """What train makes, the bundle keeps and evaluate asks."""

    @property
    def size(self) -> int: ...  # numbers it consists of

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


def load_model_files(folder: Path, arch: str) -> Model:
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


@dataclass(frozen=True)
class Fold:
    """A trained model, how it came about, and the baseline of the same rows, where the model is another."""

    model: Model
    history: pd.DataFrame
    baseline: Model | None = None


def write_fold(folder: Path, place: str, trained: Fold) -> None:
    """Write the models of one fold and seed into a bundle under way, in the folder that the card names for them."""
    here = folder / place
    here.mkdir(parents=True, exist_ok=True)
    trained.model.save(here)
    if trained.baseline is not None:
        trained.baseline.save(here)
    if len(trained.history):
        trained.history.to_csv(here / "history.csv", index=False, float_format="%.6g", lineterminator="\n")


def load_model(folder: Path, place: str, arch: str) -> Model:
    """Load a model for predicting: the bundle's own by its arch, or the ``svm`` beside the first seed's."""
    return load_model_files(folder / place, arch)


def read_history(folder: Path, place: str) -> pd.DataFrame:
    """Read how one network was trained: a row an epoch."""
    return pd.read_csv(folder / place / "history.csv")
