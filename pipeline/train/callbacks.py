"""Keras callbacks of a training: a line an epoch, a progress bar, checkpoints."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline.train.backend import callbacks, keras, ops
from pipeline.train.checkpoints import Arrays, Logs, TrainingState


class EpochLines(callbacks.Callback):  # type: ignore[misc] # keras is untyped
    """Writes a line an epoch, and measures the seconds of its training steps, validation excluded."""

    def __init__(self, rows: int, epochs: int, *, write: Callable[[str], object] | None = None) -> None:
        super().__init__()
        self.rows, self.epochs, self.write = rows, epochs, write
        self.training_seconds: list[float] = []  # of each epoch
        self.epoch_seconds: list[float] = []  # of each epoch, validation included

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.start = time.perf_counter()
        self.steps: float | None = None

    def on_test_begin(self, logs: Any = None) -> None:
        self.steps = time.perf_counter() - self.start

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.epoch_seconds.append(time.perf_counter() - self.start)
        self.training_seconds.append(self.epoch_seconds[-1] if self.steps is None else self.steps)
        if self.write is not None:
            left = (self.epochs - epoch - 1) * _typical_seconds(self.epoch_seconds)
            self.write(_epoch_line(epoch + 1, self.epochs, logs or {}, self.rows / self.training_seconds[-1], left))

    @property
    def rate(self) -> float | None:
        """Clips a second in a typical epoch, None where no epoch was trained."""
        return self.rows / _typical_seconds(self.training_seconds) if self.training_seconds else None


class ProgressBar(callbacks.Callback):  # type: ignore[misc] # keras is untyped
    """A progress bar within each epoch, cleared at its end."""

    async_safe = True  # Keras need not wait for the device before it calls this

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.bar = tqdm(total=self.steps, desc=f"epoch {epoch + 1}", unit="step", leave=False, file=sys.stderr)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.bar.update(batch + 1 - self.bar.n)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.bar.close()


def _typical_seconds(seconds: list[float]) -> float:
    """Median over epochs, without the first one where there are others: it includes compilation.

    >>> _typical_seconds([9.0, 2.0, 3.0, 4.0]), _typical_seconds([9.0])
    (3.0, 9.0)
    """
    return statistics.median(seconds[1:] or seconds)


def _epoch_line(epoch: int, epochs: int, logs: Mapping[str, float], rate: float, left: float) -> str:
    """Summarise an epoch; ``rate`` is in clips/s, ``left`` in seconds.

    >>> _epoch_line(3, 40, {"loss": 1.25, "val_uar": 0.456}, 141.4, 310.2)
    'epoch 3 of 40: loss 1.250, validation UAR 45.6 %, 141 clips/s, at most 5 min 10 s left'
    """
    validated = f", validation UAR {100 * logs['val_uar']:.1f} %" if "val_uar" in logs else ""
    rest = f", at most {_format_duration(left)} left" if epoch < epochs else ""
    loss = logs.get("loss", float("nan"))
    return f"epoch {epoch} of {epochs}: loss {loss:.3f}{validated}, {rate:,.0f} clips/s{rest}"


def _format_duration(seconds: float) -> str:
    """Write a duration in its two largest units.

    >>> _format_duration(42.4), _format_duration(310), _format_duration(7260)
    ('42 s', '5 min 10 s', '2 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_over = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_over} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


COUNTERS = {  # attributes in which callbacks carry something from epoch to epoch, besides weights
    callbacks.EarlyStopping: ("wait", "best", "best_epoch", "stopped_epoch"),
    callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
}
OVERHEAD = 0.02  # largest share of the training time that may go into saving checkpoints


class BackupAndRestore(callbacks.Callback):  # type: ignore[misc] # keras is untyped
    """Resumes a training from ``resume``, and passes its state to ``save`` after an epoch.

    Unlike `keras.callbacks.BackupAndRestore` it includes the counters of other callbacks and random states, and skips
    epochs where saving takes long. It must come after the other callbacks, since they reset themselves when training
    begins.
    """

    def __init__(
        self, resume: TrainingState, others: Sequence[Any], save: Callable[[TrainingState], None] | None
    ) -> None:
        super().__init__()
        self.resume, self.save = resume, save
        self.others = [each for each in others if type(each) in COUNTERS]
        self.rows: list[Logs] = list(resume.rows)
        self.due, self.saved = 0.0, resume.epochs

    def on_train_begin(self, logs: Any = None) -> None:
        if not self.resume.epochs:
            return
        for variable, value in zip(self.model.state, self.resume.arrays, strict=True):
            variable.assign(value)
        for each in self.others:
            for name, counted in self.resume.counters[type(each).__name__].items():
                setattr(each, name, counted)
            if isinstance(each, callbacks.EarlyStopping) and self.resume.best:
                each.best_weights = list(self.resume.best)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.rows.append(dict(logs or {}))
        if not np.isfinite(list(self.rows[-1].values())).all():
            self.model.stop_training = True  # diverged
        elif time.monotonic() >= self.due:
            start = time.monotonic()
            self._save_state()
            self.due = time.monotonic() + (time.monotonic() - start) / OVERHEAD

    def on_train_end(self, logs: Any = None) -> None:
        # A finished network is not trained again if another one of the same run is killed.
        if self.saved < len(self.rows) and np.isfinite(list(self.rows[-1].values())).all():
            self._save_state()

    def _save_state(self) -> None:
        if self.save is not None:
            self.save(self.state)
            self.saved = len(self.rows)

    @property
    def state(self) -> TrainingState:
        """The state after the last epoch."""
        best: Arrays = ()
        for each in self.others:
            best = getattr(each, "best_weights", None) or best
        counters = {type(each).__name__: _counters(each) for each in self.others}
        arrays = [ops.convert_to_numpy(variable) for variable in self.model.state]
        stopped = bool(self.model.stop_training)
        return TrainingState(rows=self.rows, stopped=stopped, counters=counters, arrays=arrays, best=best)


def _counters(callback: keras.callbacks.Callback) -> Logs:
    """Read the counters of a callback."""
    found = {name: getattr(callback, name) for name in COUNTERS[type(callback)]}
    return {name: float(value) if name == "best" else int(value) for name, value in found.items() if value is not None}
