"""Trainings that were killed: the state after some epochs, a file beside the clip cache until the bundle is whole.

DVC deletes what a stage writes before it runs it again, so none of this lies among its outputs.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import StoreError
from pipeline.networks.resuming import State
from pipeline.store import files
from pipeline.store.remarks import tell

FOLDER = "training"  # of the cache folder


@dataclass(frozen=True)
class Checkpoint:
    """The file of one network.

    ``by`` says what computes: on something else the same steps give other digits, so a training is gone on with by the
    same backend on the same device alone.
    """

    path: Path
    by: Mapping[str, str]

    @property
    def homes(self) -> list[Path]:
        """Where it may lie: in a cache that another user has made there is no writing."""
        return [home / self.path.name for home in files.homes(self.path.parent)]

    def keep(self, state: State) -> None:
        """Write a state in the place of the one before; it only spares work: where it cannot be, that is said."""
        for path in self.homes:
            try:
                self.write(state, path)
                return
            except StoreError as error:
                failure = error
        tell(str(self.path), f"{failure} If this training is killed, it starts anew: {files.advice(failure)}.")

    def write(self, state: State, path: Path) -> None:
        """Write a state to a file."""
        about = asdict(state) | {"arrays": len(state.arrays), "best": len(state.best), "by": dict(self.by)}
        named = {f"array_{number}": array for number, array in enumerate(state.arrays)}
        named |= {f"best_{number}": array for number, array in enumerate(state.best)}
        with files.aside(path) as part, part.open("wb") as out:
            np.savez(out, allow_pickle=False, about=np.array(json.dumps(about)), **named)

    def find(self) -> tuple[State, str]:
        """Read the state, and say in a sentence what becomes of it; nothing where there is none."""
        path = next((each for each in self.homes if files.is_allowed(each, os.R_OK)), self.path)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                about = json.loads(str(kept["about"]))
                by = about.pop("by")
                arrays = [kept[f"array_{number}"] for number in range(about.pop("arrays"))]
                best = [kept[f"best_{number}"] for number in range(about.pop("best"))]
                state = State(**about, arrays=arrays, best=best)
        except FileNotFoundError:
            return State(), ""
        except PermissionError:
            return State(), f"{path} may not be read by you: this training starts anew."
        except (KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile):
            return State(), f"{path} is damaged: this training starts anew."
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
    for home in files.homes(cache / FOLDER):
        for each in files.matching(home, f"{key[:32]}-*.npz"):
            with suppress(PermissionError):  # it is another user's, and goes after a week
                each.unlink(missing_ok=True)
