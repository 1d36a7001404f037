"""A recording as models are given it: whole where it is a clip such as they know, in windows where it is longer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.serving.hearing import Hearing
from pipeline.serving.windows import Window, cut
from pipeline.store import audio, facts

SHORTEST = 0.5  # s, of the clips that ingest lets into a corpus
SILENT = -60.0  # dBFS of the peak, below which ingest leaves a clip out
SPEECHLESS = "no speech found"
NOTES = {  # by the manifest's word
    "clipped": "clipped",
    "cancelling": "its channels cancel each other out, so the loudest alone is heard",
    "trailing_bytes": "bytes behind the length that its header states were not read",
    "unstated_length": "its header states no length, so it may have been cut",
    "no_end_mark": "the mark of its end is missing, so it may have been cut",
}
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is heard whole and what in windows. Times in s."""

    seconds: float  # of a window
    longest: float  # of what is heard whole
    every: float = 1.0  # from the beginning of a window to that of the next

    def whole(self, recording: audio.Recording) -> bool:
        """Say whether a recording is short enough to be heard whole; the manifest rounds to 0.001 s."""
        return len(recording.samples) <= (max(self.longest, self.seconds) + 0.001) * recording.sample_rate


@dataclass(frozen=True)
class Span:
    """A stretch of a recording, in s, and whether there is anything to judge in it."""

    start: float
    end: float
    spoken: bool = True


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One recording, ready for models."""

    name: str
    seconds: float
    spans: Sequence[Span]  # one where it is heard whole
    values: Sequence[Array]  # for each model, of the spans to judge: (spans, frames, rows)
    windowed: bool = False
    notes: Sequence[str] = ()


def hear(recording: audio.Recording, hearings: Sequence[Hearing], plan: Plan, *, name: str) -> Heard:
    """Make of a recording what models take; a clip as evaluate takes it, the first seconds of sound in it."""
    seconds = len(recording.samples) / recording.sample_rate
    if facts.levels(recording.samples)[0] < SILENT:
        return Heard(name=name, seconds=seconds, spans=(), values=(), notes=("silence",))
    told = tuple(notes(recording, seconds))
    if plan.whole(recording):
        values = [hearing.values(recording)[None] for hearing in hearings]
        return Heard(name=name, seconds=seconds, spans=(Span(0.0, seconds),), values=values, notes=told)
    windows = list(cut([recording.samples], recording.sample_rate, seconds=plan.seconds, every=plan.every))
    spoken = [window for window in windows if window.spoken]
    return Heard(
        name=name,
        seconds=seconds,
        spans=[span(window) for window in windows],
        values=[stacked(hearing, spoken) for hearing in hearings] if spoken else (),
        windowed=True,
        notes=told if spoken else (*told, SPEECHLESS),
    )


def span(window: Window) -> Span:
    """Give times and verdict of a window."""
    return Span(window.start, window.end, window.spoken)


def stacked(hearing: Hearing, windows: Iterable[Window]) -> Array:
    """Hear windows. Shape: ``(windows, frames, rows)``."""
    return np.stack([hearing.values(window.recording) for window in windows])


def notes(recording: audio.Recording, seconds: float) -> Iterable[str]:
    """Say what is odd about a recording and may spoil the answer."""
    if seconds < SHORTEST:
        yield f"shorter than {SHORTEST:g} s, which no clip in training was"
    yield from (NOTES[word] for word in facts.oddities(recording, name="") if word in NOTES)
