"""What models are fed: patches of a view or functionals of clips, standardised by their speaker where asked for."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.labels import ORIGINAL
from pipeline.signal.functionals import functionals
from pipeline.store import statistics
from pipeline.store.mapped import Table
from pipeline.store.statistics import Statistics

KINDS = ("rows", "cells", "functionals")
SIZE = 1024  # clips worked on at once
Array = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Speakers:
    """Statistics of each speaker, s of them."""

    of: Numbers  # the speaker of each row of the table, shape (rows of the table,)
    mean: Array  # (s, ...)
    deviation: Array  # (s, ...)

    def standardise(self, values: Array, numbers: Numbers) -> Array:
        """Bring values to mean 0 and deviation 1 for each speaker. Shape ``(clips, ...)``, the same."""
        who = self.of[numbers]
        between = (slice(None),) + (None,) * (values.ndim - self.mean.ndim)  # one for all frames
        return (values - self.mean[who][between]) / self.deviation[who][between]


@dataclass(frozen=True)
class Inputs:
    """The rows of a table as a kind of model takes them.

    ``kind`` says what has statistics of its own: ``rows`` of a view, ``cells`` (each frame of each row), or the
    ``functionals`` of a clip, which is then one vector instead of a patch.
    """

    table: Table
    kind: str
    speakers: Speakers | None = None

    def gather(self, numbers: Numbers) -> Array:
        """Fetch clips as the model takes them. Shape: ``(clips, frames, rows)``, or ``(clips, 4 * rows)``."""
        values = self.raw(numbers)
        return values if self.speakers is None else self.speakers.standardise(values, numbers)

    def raw(self, numbers: Numbers) -> Array:
        """Fetch clips before anything is standardised."""
        if self.kind != "functionals":
            return self.table.gather(numbers)
        parts = [numbers[start : start + SIZE] for start in range(0, len(numbers), SIZE)]
        found = [functionals(self.table.gather(some), self.table.valid_frames[some]) for some in parts]
        return np.concatenate([np.empty((0, 4 * self.table.layout.shape[1]), np.float32), *found])

    @property
    def size(self) -> int:
        """Bytes of `everything`."""
        one = np.dtype(np.float32 if self.speakers else self.table.layout.dtype).itemsize
        return len(self.table.rows) * int(np.prod(self.table.layout.shape)) * one

    def everything(self) -> Array | Halves:
        """Fetch all rows of the table, as they are stored, or standardised where their speakers are known.

        Shape: ``(rows of the table, frames, rows)``.
        """
        if self.speakers is None:
            return self.table.stored(np.arange(len(self.table.rows)))
        out = np.zeros((len(self.table.rows), *self.table.layout.shape), np.float32)
        known = np.flatnonzero(self.speakers.of >= 0)
        for start in range(0, len(known), SIZE):
            some = known[start : start + SIZE]
            out[some] = self.gather(some)
        return out

    def measure(self, numbers: Numbers) -> Statistics:
        """Fit mean and variance to clips."""
        if self.kind == "functionals":
            return statistics.over(self.raw(numbers))
        return statistics.fit(self.table, numbers, cells=self.kind == "cells")

    def by_speaker(self, clips: pd.DataFrame) -> "Inputs":
        """Standardise each clip by all original clips of its speaker, whatever their role; no label is looked at.

        This uses test clips, without their labels: it is transductive. Clips without a speaker count as one of their
        corpus.

        Args:
            clips: the rows of one fold, with ``clip_id variant speaker corpus``.
        """
        rows = clips.drop_duplicates(["clip_id", "variant"])
        names = rows["speaker"].where(rows["speaker"] != "", rows["corpus"])
        who, _ = pd.factorize(names, sort=True)
        numbers, first = self.table.find(rows), (rows["variant"] == ORIGINAL).to_numpy()
        of = np.full(len(self.table.rows), -1)
        of[numbers] = who
        measured = [self.measure(numbers[first & (who == speaker)]) for speaker in range(who.max() + 1)]
        mean, variance = (np.stack([getattr(each, name) for each in measured]) for name in ("mean", "variance"))
        return replace(self, speakers=Speakers(of, mean, np.sqrt(variance)))
