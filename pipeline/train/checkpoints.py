"""Checkpoints: the state of a training after an epoch, in a file of the cache, from which a killed run resumes.

DVC deletes the outputs of a stage before it runs it again, so checkpoints are not among them.
"""

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core import files
from pipeline.core.errors import StoreError, warn_once

FOLDER = "training"  # of the cache folder
Arrays = Sequence[npt.NDArray[Any]]
Logs = dict[str, float]  # metrics of an epoch by name, as Keras gives them to callbacks


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """All that the next epoch of a training depends on."""

    rows: Sequence[Logs] = ()  # of its history, one an epoch
    stopped: bool = False  # early, because the monitored metric no longer improved
    counters: dict[str, Logs] = field(default_factory=dict)  # of callbacks, by class; what is None is left out
    arrays: Arrays = ()  # weights, random states and the optimizer's variables
    best: Arrays = ()  # weights of the best epoch so far, empty where those of the last epoch are used

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return len(self.rows)


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint file of one network.

    ``by`` names backend and device: only the same ones resume a training, since others give other digits.
    """

    path: Path
    by: Mapping[str, str]

    @property
    def candidates(self) -> list[Path]:
        """Paths where the file may lie, in order: a cache that another user has made may not be writable."""
        return [home / self.path.name for home in files.cache_locations(self.path.parent)]

    def save(self, state: TrainingState) -> None:
        """Replace the checkpoint by ``state``; if it cannot be written, warn and go on, since it only saves work."""
        for path in self.candidates:
            try:
                self._write(state, path)
                return
            except StoreError as error:
                failure = error
        warn_once(
            str(self.path), f"{failure} If this training is killed, it starts anew: {files.write_advice(failure)}."
        )

    def _write(self, state: TrainingState, path: Path) -> None:
        about = asdict(state) | {"arrays": len(state.arrays), "best": len(state.best), "by": dict(self.by)}
        named = {f"array_{number}": array for number, array in enumerate(state.arrays)}
        named |= {f"best_{number}": array for number, array in enumerate(state.best)}
        with files.atomic_write(path) as part, part.open("wb") as out:
            np.savez(out, allow_pickle=False, about=np.array(json.dumps(about)), **named)

    def load(self) -> tuple[TrainingState, str]:
        """Load the state to resume from, and a message for the user that says so, or why the training starts anew.

        Without a checkpoint the state has no epochs and the message is empty.
        """
        path = next((each for each in self.candidates if files.has_access(each, os.R_OK)), self.path)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                about = json.loads(str(stored["about"]))
                by = about.pop("by")
                arrays = [stored[f"array_{number}"] for number in range(about.pop("arrays"))]
                best = [stored[f"best_{number}"] for number in range(about.pop("best"))]
                state = TrainingState(**about, arrays=arrays, best=best)
        except FileNotFoundError:
            return TrainingState(), ""
        except PermissionError:
            return TrainingState(), f"You may not read the checkpoint {path}: this training starts anew."
        except (KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile):
            return TrainingState(), f"The checkpoint {path} is damaged: this training starts anew."
        if by != dict(self.by):
            other = ", ".join(f"{name} {by.get(name)}" for name in self.by if by.get(name) != self.by[name])
            return (
                TrainingState(),
                f"The checkpoint was written with {other}, where the same steps give other digits: this training "
                "starts anew.",
            )
        return state, f"Resuming after epoch {state.epochs}."


def checkpoint_path(cache: Path, key: str, network: str) -> Path:
    """Path of the checkpoint of a network; ``key`` is a hash of all that the training depends on."""
    return cache / FOLDER / f"{key[:32]}-{network}.npz"


def clear_checkpoints(cache: Path, key: str) -> None:
    """Delete the checkpoints of a run that has ended."""
    for home in files.cache_locations(cache / FOLDER):
        for each in files.glob_sorted(home, f"{key[:32]}-*.npz"):
            with suppress(PermissionError):  # another user's, deleted after a week by 'store gc'
                each.unlink(missing_ok=True)
