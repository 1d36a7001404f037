"""Trained models, networks and SVM, behind one interface: predict, save and load."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.core import machine
from pipeline.core.errors import StoreError
from pipeline.dataset.inputs import ModelInputs
from pipeline.dataset.table import FeatureTable
from pipeline.train import svm
from pipeline.train.settings import SVM, Train

if TYPE_CHECKING:
    from pipeline.train.backend import keras

NETWORK_FILE, SVM_FILE = "model.keras", "svm.npz"
Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


class Model(Protocol):
    """A trained model."""

    @property
    def size(self) -> int:
        """Number of parameters."""

    def probabilities(self, inputs: ModelInputs, numbers: Numbers) -> Array:
        """Predict rows of a table. Shape: ``(rows,)`` to ``(rows, classes)``."""

    def predict(self, values: Array) -> Array:
        """Predict a few clips with low latency. Shape: ``(clips, ...)``, as `model_inputs` prepares them."""

    def save(self, folder: Path) -> None:
        """Write the model's file into an existing folder."""


@dataclass(frozen=True)
class NetworkModel:
    """A Keras network."""

    network: "keras.Model"

    @property
    def size(self) -> int:
        return int(self.network.count_params())

    def probabilities(self, inputs: ModelInputs, numbers: Numbers) -> Array:
        from pipeline.train import batches  # late: an svm is trained and evaluated without Keras

        feed = batches.InputBatches(inputs, numbers, batch_size=128)
        return np.asarray(self.network.predict(feed, verbose=0), np.float32)

    def predict(self, values: Array) -> Array:
        return np.asarray(self.network.predict_on_batch(values), np.float32)

    def save(self, folder: Path) -> None:
        self.network.save(folder / NETWORK_FILE)


@dataclass(frozen=True)
class SvmModel:
    """A support vector machine on functionals."""

    fitted: svm.FittedSvm

    @property
    def size(self) -> int:
        return self.fitted.size

    def probabilities(self, inputs: ModelInputs, numbers: Numbers) -> Array:
        return self.predict(inputs.gather(numbers))

    def predict(self, values: Array) -> Array:
        return self.fitted.probabilities(values)

    def save(self, folder: Path) -> None:
        self.fitted.save(folder / SVM_FILE)


def model_inputs(table: FeatureTable, clips: pd.DataFrame, arch: str, settings: Train) -> ModelInputs:
    """Prepare the rows of one fold, ``clips``, as inputs of a model of this architecture."""
    found = ModelInputs(table, "functionals" if arch == SVM else settings.statistics)
    return found.by_speaker(clips) if settings.normalise == "speaker" else found


def fits_statistics(arch: str, settings: Train) -> bool:
    """Check whether a model standardises its inputs by mean and variance of its training rows.

    The SVM does even with ``normalise`` none, since its kernel needs features of one scale, unless each speaker is
    standardised already.
    """
    return settings.normalise != "speaker" if arch == SVM else settings.normalise == "train"


def load_model(folder: Path, arch: str) -> Model:
    """Load a model: the bundle's own by its architecture, or the ``svm`` baseline in the folder of the first seed.

    Raises:
        StoreError: the model is damaged, or contains code, which is never run.
    """
    try:
        if arch == SVM:
            return SvmModel(svm.load_svm(folder / SVM_FILE))
        from pipeline.train.backend import keras  # late: an svm is loaded without Keras

        with machine.suppress_stderr():  # TensorFlow reports each GPU when it is first used
            return NetworkModel(keras.saving.load_model(folder / NETWORK_FILE, compile=False, safe_mode=True))
    except (AttributeError, ImportError, KeyError, OSError, TypeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise StoreError(f"{folder} holds no model that may be loaded ({first}): copy or train it again.") from error


@dataclass(frozen=True)
class TrainedFold:
    """The model of one fold and seed, its history, and the SVM baseline on the same rows."""

    model: Model
    history: pd.DataFrame
    baseline: Model | None = None  # with the first seed alone, and only beside networks


def write_trained_fold(folder: Path, trained: TrainedFold) -> None:
    """Write the models and the history of one fold and seed into a folder of a bundle."""
    folder.mkdir(parents=True, exist_ok=True)
    trained.model.save(folder)
    if trained.baseline is not None:
        trained.baseline.save(folder)
    if len(trained.history):
        trained.history.to_csv(folder / "history.csv", index=False, float_format="%.6g", lineterminator="\n")
