"""``bundle.json``, the card of a model bundle: everything known of it but the weights, and checksums.

A checksum finds what was altered on the way, not who made it: what keeps a stranger's bundle from running code is that
nothing in it is a pickle and that networks are loaded in Keras' safe mode.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pipeline.core import files
from pipeline.core.errors import StoreError
from pipeline.core.files import is_system

FORMAT = 5  # raise it when old bundles can no longer be read
NAME = "bundle.json"
RUNTIMES = ("keras", "onnx", "litert")


@dataclass(frozen=True, kw_only=True)
class Card:
    """All there is to know of a bundle but the weights."""

    arch: str
    view: str
    labels: Sequence[str]  # in the order of the probabilities
    folds: Sequence[int]
    seeds: Sequence[int]  # a network of each for every fold
    split: Mapping[str, Any]  # protocol, folds, labels
    synthetic: Sequence[str]  # corpora that are the demo's
    corpora: Mapping[str, Mapping[str, str]]  # title, language, licence and citation of each
    layout: Mapping[str, Any]  # of the view: shape, rows, dtype, unit, identity
    statistics: Mapping[str, Mapping[str, Sequence[Any]]]  # fold -> mean and variance by which its model standardises
    stamp: str  # what must be read before any number of it: CONTAMINATED, DEMO, "" for nothing
    params: Mapping[str, Any]  # what the train stage was told
    versions: Mapping[str, str]
    files: Mapping[str, str]  # path -> sha256
    training: Mapping[str, Any] = field(default_factory=dict)  # figures of each fold and seed, and the speed
    scores: Mapping[str, Any] = field(default_factory=dict)  # all of them, empty before evaluation
    longest: float = 0.0  # s, of the clips it was trained and tested on
    runtime: str = "keras"  # what runs it: one of RUNTIMES
    format: int = FORMAT

    def places(self, fold: int) -> list[str]:
        """The folders of a fold's models, which answer by their mean: one a seed."""
        return [place(fold, seed, self.seeds) for seed in self.seeds]

    @property
    def normalise(self) -> str:
        """By whose mean and deviation its inputs are standardised: train, speaker or none."""
        return str(self.params["train"]["normalise"])


def place(fold: int, seed: int, seeds: Sequence[int]) -> str:
    """Name the folder of a model; that of the first seed is the fold's own.

    >>> place(0, 42, [42, 43]), place(0, 43, [42, 43])
    ('fold-0', 'fold-0-seed-43')
    """
    return f"fold-{fold}" if seed == seeds[0] else f"fold-{fold}-seed-{seed}"


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder`` but the card and what file managers leave."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / NAME)
    return {path.relative_to(folder).as_posix(): files.file_hash(path) for path in paths if not is_system(path)}


def fingerprint(values: Mapping[str, Any]) -> str:
    """Hash what a card says, its own hash left out."""
    return files.text_hash({name: value for name, value in values.items() if name != "sha256"})


def write(folder: Path, card: Card) -> None:
    """Finish a bundle."""
    values = asdict(card)
    files.write_json(values | {"sha256": fingerprint(values)}, folder / NAME)


def read(folder: Path, *, stage: str = "evaluate") -> Card:
    """Read a card and check that it and every file are as they were when ``stage`` wrote the bundle.

    Raises:
        StoreError: the bundle is missing, of another format, incomplete or altered.
    """
    values = files.read_json(folder / NAME, stage=stage)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise StoreError(f"{folder} is no bundle of format {FORMAT}: train again with 'dvc repro -f train'.")
    known = {each.name for each in fields(Card)} | {"sha256"}
    if set(values) != known or values["sha256"] != fingerprint(values):
        raise altered(folder / NAME)
    card = Card(**{name: value for name, value in values.items() if name != "sha256"})
    wrong = sorted(set(card.files.items()) ^ set(checksums(folder).items()))
    if wrong:
        raise altered(folder / wrong[0][0])
    return card


def is_whole(folder: Path) -> bool:
    """Say whether a folder is a bundle, of whatever format, with nothing in it that was added or altered."""
    try:
        values = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if values["sha256"] != fingerprint(values) or any(path.is_symlink() for path in folder.rglob("*")):
            return False
        return bool(checksums(folder).items() <= values["files"].items())
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return False


def altered(path: Path) -> StoreError:
    """Say that a bundle is not what was written."""
    return StoreError(
        f"{path} is not as it was when the bundle was written: copy the whole bundle again, or make it with "
        "'dvc repro -f train'."
    )
