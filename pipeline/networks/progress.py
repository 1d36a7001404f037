"""What is seen of a training while it runs: a line an epoch and, on a terminal, a bar within it."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm

from pipeline.networks.backend import callbacks


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
