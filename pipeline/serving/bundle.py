"""The model bundle: networks, view, labels and provenance in one folder, without pickle.

``bundle.json`` holds a checksum of every other file; a bundle from a stranger must not run code, so networks are loaded
in Keras' safe mode, which refuses Lambda layers, and the support vector machine beside each is plain arrays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.errors import StoreError
from pipeline.serving import models
from pipeline.store import files

FORMAT = 2  # raise it when old bundles can no longer be read
CARD = "bundle.json"


@dataclass(frozen=True, kw_only=True)
class Card:
    """All there is to know of a bundle but the weights."""

    arch: str
    view: str
    labels: Sequence[str]  # in the order of the probabilities
    folds: Sequence[int]
    split: Mapping[str, Any]  # protocol, folds, labels
    synthetic: Sequence[str]  # corpora that are the demo's
    corpora: Mapping[str, Mapping[str, str]]  # licence and citation of each
    layout: Mapping[str, Any]  # of the view: shape, rows, dtype, unit, identity
    statistics: Mapping[str, Mapping[str, Sequence[Any]]]  # fold -> mean and variance by which its model standardises
    stamp: str  # what must be read before any number of it: CONTAMINATED, DEMO, "" for nothing
    params: Mapping[str, Any]  # what the train stage was told
    versions: Mapping[str, str]
    files: Mapping[str, str]  # path -> sha256
    format: int = FORMAT


@dataclass(frozen=True)
class Fold:
    """A trained model, how it came about, and the baseline of the same rows, where the model is another."""

    model: models.Model
    history: pd.DataFrame
    baseline: models.Model | None = None


def write_fold(folder: Path, fold: int, trained: Fold) -> None:
    """Write the models of one fold into a bundle under way."""
    here = folder / f"fold-{fold}"
    here.mkdir(parents=True, exist_ok=True)
    trained.model.save(here)
    if trained.baseline is not None:
        trained.baseline.save(here)
    if len(trained.history):
        trained.history.to_csv(here / "history.csv", index=False, float_format="%.6g", lineterminator="\n")


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder`` but the card."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CARD)
    return {path.relative_to(folder).as_posix(): files.file_hash(path) for path in paths}


def write_card(folder: Path, card: Card) -> None:
    """Finish a bundle."""
    files.write_json(asdict(card), folder / CARD)


def read_card(folder: Path) -> Card:
    """Read a bundle's card and check that every file is as it was written.

    Raises:
        StoreError: the bundle is missing, of another format, incomplete or altered.
    """
    values = files.read_json(folder / CARD, stage="train")
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise StoreError(
            f"{folder} is a bundle of another format than {FORMAT}: train again with 'dvc repro -f train'."
        )
    card = Card(**values)
    found = checksums(folder)
    wrong = sorted(set(card.files.items()) ^ set(found.items()))
    if wrong:
        raise StoreError(f"{folder / wrong[0][0]} is not as the bundle's card states: run 'dvc repro -f train'.")
    return card


def load_model(folder: Path, fold: int, arch: str) -> models.Model:
    """Load a model of one fold for predicting: the bundle's own by its arch, or the ``svm`` beside it."""
    return models.load(folder / f"fold-{fold}", arch)


def read_history(folder: Path, fold: int) -> pd.DataFrame:
    """Read how one network was trained: a row an epoch."""
    return pd.read_csv(folder / f"fold-{fold}" / "history.csv")
