"""Trainings that were killed: the state after some epochs, a file beside the clip cache until the bundle is whole.

DVC deletes what a stage writes before it runs it again, so none of this lies among its outputs.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.networks.resuming import State
from pipeline.store import files

FOLDER = "training"  # of the cache folder


@dataclass(frozen=True)
class Checkpoint:
    """The file of one network.

    ``by`` says what computes: on something else the same steps give other digits, so a training is gone on with by the
    same backend on the same device alone.
    """

    path: Path
    by: Mapping[str, str]

    def keep(self, state: State) -> None:
        """Write a state in the place of the one before.

        Raises:
            StoreError: the disk is full.
        """
        about = asdict(state) | {"arrays": len(state.arrays), "best": len(state.best), "by": dict(self.by)}
        named = {f"array_{number}": array for number, array in enumerate(state.arrays)}
        named |= {f"best_{number}": array for number, array in enumerate(state.best)}
        with files.aside(self.path) as part, part.open("wb") as out:
            np.savez(out, allow_pickle=False, about=np.array(json.dumps(about)), **named)

    def find(self) -> tuple[State, str]:
        """Read the state, and say in a sentence what becomes of it; nothing where there is none."""
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                about = json.loads(str(kept["about"]))
                by = about.pop("by")
                arrays = [kept[f"array_{number}"] for number in range(about.pop("arrays"))]
                best = [kept[f"best_{number}"] for number in range(about.pop("best"))]
                state = State(**about, arrays=arrays, best=best)
        except FileNotFoundError:
            return State(), ""
        except (KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile):
            return State(), f"{self.path} is damaged: this training starts anew."
        if by != dict(self.by):
            other = ", ".join(f"{name} {by.get(name)}" for name in self.by if by.get(name) != self.by[name])
            return (
                State(),
                f"This training was begun with {other}, where the same steps give other digits: it starts anew.",
            )
        return state, f"It goes on after epoch {state.epochs}, where it was stopped."


def path(cache: Path, key: str, network: str) -> Path:
    """Where the state of one network is: ``key`` is a hash of all that it depends on."""
    return cache / FOLDER / f"{key[:32]}-{network}.npz"


def clear(cache: Path, key: str) -> None:
    """Delete the states of a run that has ended."""
    for each in (cache / FOLDER).glob(f"{key[:32]}-*.npz"):
        each.unlink(missing_ok=True)
