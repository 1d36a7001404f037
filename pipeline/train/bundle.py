"""``bundle.json``, the card of a model bundle: all metadata of its models, and checksums of its files.

Checksums detect damage, not forgery. A stranger's bundle cannot run code because nothing in it is a pickle and networks
are loaded in Keras' safe mode.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pipeline.core import files
from pipeline.core.errors import StoreError
from pipeline.core.files import is_system_file

FORMAT = 6  # raise it when old bundles can no longer be read
CARD_FILE = "bundle.json"
RUNTIMES = ("keras", "onnx", "litert")


@dataclass(frozen=True, kw_only=True)
class Card:
    """Metadata of a bundle."""

    arch: str
    view: str
    labels: Sequence[str]  # classes, in the order of the probabilities
    folds: Sequence[int]
    seeds: Sequence[int]  # every fold has a network for each
    split: Mapping[str, Any]  # protocol, folds, labels
    synthetic: Sequence[str]  # corpora of the synthetic demo
    corpora: Mapping[str, Mapping[str, str]]  # title, language, licence and citation of each
    layout: Mapping[str, Any]  # of the view: shape, names of its bins, dtype, unit, identity
    statistics: Mapping[str, Mapping[str, Sequence[Any]]]  # fold -> mean and variance of its model's inputs
    stamp: str  # warning that goes with every score: CONTAMINATED, DEMO, "" for none
    params: Mapping[str, Any]  # of params.yaml that the train stage depends on
    versions: Mapping[str, str]
    files: Mapping[str, str]  # path -> sha256
    training: Mapping[str, Any] = field(default_factory=dict)  # metrics of each fold and seed, and the speed
    scores: Mapping[str, Any] = field(default_factory=dict)  # empty before evaluation
    longest: float = 0.0  # s, the longest clip it was trained and tested on
    runtime: str = "keras"  # one of RUNTIMES
    format: int = FORMAT

    def places(self, fold: int) -> list[str]:
        """Folders of the models of a fold, one a seed; their probabilities are averaged."""
        return [model_folder(fold, seed, self.seeds) for seed in self.seeds]

    @property
    def normalise(self) -> str:
        """Rows whose mean and SD standardise the inputs: train, speaker or none."""
        return str(self.params["train"]["normalise"])


def model_folder(fold: int, seed: int, seeds: Sequence[int]) -> str:
    """Name of the folder of a model; the first seed has no suffix.

    >>> model_folder(0, 42, [42, 43]), model_folder(0, 43, [42, 43])
    ('fold-0', 'fold-0-seed-43')
    """
    return f"fold-{fold}" if seed == seeds[0] else f"fold-{fold}-seed-{seed}"


def file_checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder``, except the card and files that file managers create."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CARD_FILE)
    return {path.relative_to(folder).as_posix(): files.file_hash(path) for path in paths if not is_system_file(path)}


def card_hash(values: Mapping[str, Any]) -> str:
    """Hash of a card, without its own entry ``sha256``."""
    return files.text_hash({name: value for name, value in values.items() if name != "sha256"})


def write_card(folder: Path, card: Card) -> None:
    values = asdict(card)
    files.write_json(values | {"sha256": card_hash(values)}, folder / CARD_FILE)


def read_card(folder: Path, *, stage: str = "evaluate") -> Card:
    """Read the card of a bundle and verify it and every file; errors name the ``stage`` that writes the bundle.

    Raises:
        StoreError: the bundle is missing, of another format, incomplete or altered.
    """
    values = files.read_json(folder / CARD_FILE, stage=stage)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise StoreError(f"{folder} is not a bundle of format {FORMAT}: train again with 'dvc repro -f train'.")
    known = {each.name for each in fields(Card)} | {"sha256"}
    if set(values) != known or values["sha256"] != card_hash(values):
        raise _altered_error(folder / CARD_FILE)
    card = Card(**{name: value for name, value in values.items() if name != "sha256"})
    differing = sorted(set(card.files.items()) ^ set(file_checksums(folder).items()))
    if differing:
        raise _altered_error(folder / differing[0][0])
    return card


def is_intact_bundle(folder: Path) -> bool:
    """Check whether a folder is a bundle, of any format, in which nothing was added or altered."""
    try:
        values = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        if values["sha256"] != card_hash(values) or any(path.is_symlink() for path in folder.rglob("*")):
            return False
        return bool(file_checksums(folder).items() <= values["files"].items())
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return False


def _altered_error(path: Path) -> StoreError:
    return StoreError(
        f"{path} has changed since the bundle was written: copy the whole bundle again, or make it with "
        "'dvc repro -f train'."
    )
