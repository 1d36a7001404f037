"""What happens while a network trains: progress on the terminal, checkpoints that survive a kill.

DVC deletes what a stage writes before it runs it again, so none of this lies among its outputs.
"""

import json
import os
import statistics
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pipeline.core import files
from pipeline.core.errors import StoreError, warn_once
from pipeline.train.backend import callbacks, keras, ops


class Lines(callbacks.Callback):  # type: ignore[misc] # keras is untyped
    """Writes a line an epoch, and takes the time of its training steps, validation left out."""

    def __init__(self, rows: int, epochs: int, *, write: Callable[[str], object] | None = None) -> None:
        super().__init__()
        self.rows, self.epochs, self.write = rows, epochs, write
        self.taken: list[float] = []  # s of the training steps of each epoch
        self.whole: list[float] = []  # s of each epoch, validation included

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the watch."""
        self.start = time.perf_counter()
        self.steps: float | None = None

    def on_test_begin(self, logs: Any = None) -> None:
        """Training is over, validation begins."""
        self.steps = time.perf_counter() - self.start

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write the line."""
        self.whole.append(time.perf_counter() - self.start)
        self.taken.append(self.whole[-1] if self.steps is None else self.steps)
        if self.write is not None:
            left = (self.epochs - epoch - 1) * usual(self.whole)
            self.write(line(epoch + 1, self.epochs, logs or {}, self.rows / self.taken[-1], left))

    @property
    def rate(self) -> float | None:
        """Clips a second of the usual epoch, None where none was trained."""
        return self.rows / usual(self.taken) if self.taken else None


class Bar(callbacks.Callback):  # type: ignore[misc] # keras is untyped
    """A bar within each epoch, gone at its end."""

    async_safe = True  # nobody waits for it

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Open it."""
        self.bar = tqdm(total=self.steps, desc=f"epoch {epoch + 1}", unit="step", leave=False, file=sys.stderr)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move it."""
        self.bar.update(batch + 1 - self.bar.n)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Close it."""
        self.bar.close()


def usual(seconds: list[float]) -> float:
    """The median, without the first one, in which everything is compiled, where there are others.

    >>> usual([9.0, 2.0, 3.0, 4.0]), usual([9.0])
    (3.0, 9.0)
    """
    return statistics.median(seconds[1:] or seconds)


def line(epoch: int, epochs: int, logs: Mapping[str, float], rate: float, left: float) -> str:
    """Say how an epoch went.

    >>> line(3, 40, {"loss": 1.25, "val_uar": 0.456}, 141.4, 310.2)
    'epoch 3 of 40: loss 1.250, validation UAR 45.6 %, 141 clips/s, at most 5 min 10 s left'
    """
    judged = f", validation UAR {100 * logs['val_uar']:.1f} %" if "val_uar" in logs else ""
    rest = f", at most {spoken(left)} left" if epoch < epochs else ""
    return f"epoch {epoch} of {epochs}: loss {logs.get('loss', float('nan')):.3f}{judged}, {rate:,.0f} clips/s{rest}"


def spoken(seconds: float) -> str:
    """Write a duration in its two largest units.

    >>> spoken(42.4), spoken(310), spoken(7260)
    ('42 s', '5 min 10 s', '2 h 1 min')
    """
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes_over = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_over} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


Arrays = Sequence[npt.NDArray[Any]]
Row = dict[str, float]
COUNTERS = {  # what callbacks remember from epoch to epoch, besides weights
    callbacks.EarlyStopping: ("wait", "best", "best_epoch", "stopped_epoch"),
    callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
}
COST = 0.02  # of the time that training takes may go into keeping its state


@dataclass(frozen=True, kw_only=True)
class State:
    """A training after some epochs."""

    rows: Sequence[Row] = ()  # of its history, an epoch each
    stopped: bool = False  # for want of progress
    counters: dict[str, Row] = field(default_factory=dict)  # of callbacks, by class; what is None is left out
    arrays: Arrays = ()  # weights, random states, and what the optimizer remembers
    best: Arrays = ()  # weights of the best epoch so far, nothing where the last ones stand

    @property
    def epochs(self) -> int:
        """How many are done."""
        return len(self.rows)


class Keeper(callbacks.Callback):  # type: ignore[misc] # keras is untyped
    """Brings a training back to a state, and hands out its state after epochs, not after each one if that took long.

    It comes behind the other callbacks, since they begin anew when training does.
    """

    def __init__(self, found: State, others: Sequence[Any], keep: Callable[[State], None] | None) -> None:
        super().__init__()
        self.found, self.keep = found, keep
        self.others = [each for each in others if type(each) in COUNTERS]
        self.rows: list[Row] = list(found.rows)
        self.due, self.kept = 0.0, found.epochs

    def on_train_begin(self, logs: Any = None) -> None:
        """Go on where it stood."""
        if not self.found.epochs:
            return
        for variable, value in zip(self.model.state, self.found.arrays, strict=True):
            variable.assign(value)
        for each in self.others:
            for name, counted in self.found.counters[type(each).__name__].items():
                setattr(each, name, counted)
            if isinstance(each, callbacks.EarlyStopping) and self.found.best:
                each.best_weights = list(self.found.best)

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        """Note the epoch; keep the state if that is due."""
        self.rows.append(dict(logs or {}))
        if not np.isfinite(list(self.rows[-1].values())).all():
            self.model.stop_training = True  # nothing to go on from
        elif time.monotonic() >= self.due:
            start = time.monotonic()
            self.hand_out()
            self.due = time.monotonic() + (time.monotonic() - start) / COST

    def on_train_end(self, logs: Any = None) -> None:
        """Keep what is finished, so that it is not trained again if another network of the same run is stopped."""
        if self.kept < len(self.rows) and np.isfinite(list(self.rows[-1].values())).all():
            self.hand_out()

    def hand_out(self) -> None:
        """Hand out the state, if anybody takes it."""
        if self.keep is not None:
            self.keep(self.state)
            self.kept = len(self.rows)

    @property
    def state(self) -> State:
        """All that the next epoch depends on."""
        best: Arrays = ()
        for each in self.others:
            best = getattr(each, "best_weights", None) or best
        counters = {type(each).__name__: told(each) for each in self.others}
        arrays = [ops.convert_to_numpy(variable) for variable in self.model.state]
        return State(
            rows=self.rows, stopped=bool(self.model.stop_training), counters=counters, arrays=arrays, best=best
        )


def told(callback: keras.callbacks.Callback) -> Row:
    """The counters of a callback."""
    found = {name: getattr(callback, name) for name in COUNTERS[type(callback)]}
    return {name: float(value) if name == "best" else int(value) for name, value in found.items() if value is not None}


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
        warn_once(
            str(self.path), f"{failure} If this training is killed, it starts anew: {files.write_advice(failure)}."
        )

    def write(self, state: State, path: Path) -> None:
        """Write a state to a file."""
        about = asdict(state) | {"arrays": len(state.arrays), "best": len(state.best), "by": dict(self.by)}
        named = {f"array_{number}": array for number, array in enumerate(state.arrays)}
        named |= {f"best_{number}": array for number, array in enumerate(state.best)}
        with files.atomic_write(path) as part, part.open("wb") as out:
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


def checkpoint_path(cache: Path, key: str, network: str) -> Path:
    """Where the state of one network is: ``key`` is a hash of all that it depends on."""
    return cache / FOLDER / f"{key[:32]}-{network}.npz"


def clear_checkpoints(cache: Path, key: str) -> None:
    """Delete the states of a run that has ended."""
    for home in files.homes(cache / FOLDER):
        for each in files.matching(home, f"{key[:32]}-*.npz"):
            with suppress(PermissionError):  # it is another user's, and goes after a week
                each.unlink(missing_ok=True)
