"""The model bundle on disk: networks and baselines in one folder beside the card, without pickle."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.serving import models


@dataclass(frozen=True)
class Fold:
    """A trained model, how it came about, and the baseline of the same rows, where the model is another."""

    model: models.Model
    history: pd.DataFrame
    baseline: models.Model | None = None


def write_fold(folder: Path, place: str, trained: Fold) -> None:
    """Write the models of one fold and seed into a bundle under way, in the folder that the card names for them."""
    here = folder / place
    here.mkdir(parents=True, exist_ok=True)
    trained.model.save(here)
    if trained.baseline is not None:
        trained.baseline.save(here)
    if len(trained.history):
        trained.history.to_csv(here / "history.csv", index=False, float_format="%.6g", lineterminator="\n")


def load_model(folder: Path, place: str, arch: str) -> models.Model:
    """Load a model for predicting: the bundle's own by its arch, or the ``svm`` beside the first seed's."""
    return models.load(folder / place, arch)


def read_history(folder: Path, place: str) -> pd.DataFrame:
    """Read how one network was trained: a row an epoch."""
    return pd.read_csv(folder / place / "history.csv")
