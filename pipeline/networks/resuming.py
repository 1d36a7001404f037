"""What a training that was killed goes on from: everything that the next epoch depends on."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.networks.backend import callbacks, keras, ops

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
