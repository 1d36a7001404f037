"""From a recording to the inputs of a bundle: its signal path, whole clips or windows."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.audio import decode
from pipeline.core import config
from pipeline.core.errors import SerError, StoreError
from pipeline.core.labels import ORIGINAL
from pipeline.dataset.functionals import functionals
from pipeline.ingest import measure
from pipeline.serving.vad import Window, cut
from pipeline.signal import extractor
from pipeline.signal.settings import Audio, Augment, LogMel, Mfcc
from pipeline.train.bundle import Card
from pipeline.train.settings import SVM

Array = npt.NDArray[np.float32]
VIEWS = {"logmel": LogMel, "mfcc": Mfcc}


@dataclass(frozen=True)
class Hearing:
    """From a recording to what the model is given. It travels to worker processes."""

    settings: extractor.Recipe
    view: str
    functionals: bool = False  # whether the model takes one vector a clip

    @cached_property
    def seconds(self) -> float:
        """How much of a recording is heard at once, before anything is cut off its ends."""
        return self.settings.audio.offset + self.settings.audio.seconds

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what the model takes of one clip: ``(frames, rows)`` or ``(4 * rows,)``."""
        frames, rows = extractor.layout(self.settings, self.view).shape
        return (4 * rows,) if self.functionals else (frames, rows)

    def values(self, recording: decode.Recording) -> Array:
        """Make what the model takes, to the bit what training took.

        Shape: ``(samples, channels)`` to ``(frames, rows)``, or to ``(4 * rows,)`` for a model of functionals.
        """
        made = extractor.make(recording, self.settings, "", {self.view: (ORIGINAL,)})[self.view]
        patches = np.asarray(made.tensors, np.float32)
        found: Array = functionals(patches, made.valid_frames)[0] if self.functionals else patches[0]
        return found


def of(card: Card, *, name: str) -> Hearing:
    """Read how a bundle hears.

    Args:
        card: of the bundle.
        name: of the bundle, for sentences.

    Raises:
        StoreError: this program would make other features than the model was trained on.
    """
    if card.normalise == "speaker":
        raise StoreError(
            f"{name} was trained on clips standardised by all clips of their speaker (train.normalise=speaker), which "
            "nobody has of a single recording: train it with -S train.normalise=train."
        )
    settings = rebuilt(card.view, card.layout["identity"], name)
    now = plain({**vars(extractor.layout(settings, card.view)), "augment": {}})
    before = plain({**card.layout, "augment": {}})
    if now != before:
        raise StoreError(
            f"{name} was trained on other features than this program makes ({differing(before, now)}): "
            f"train again with 'dvc repro', or take ser-features {card.versions.get('ser-features', '')} again."
        )
    return Hearing(settings, card.view, functionals=card.arch == SVM)


def rebuilt(view: str, identity: Mapping[str, Any], name: str) -> extractor.Recipe:
    """Build the settings of the signal path from the identity of a view; the other view stands unused."""
    try:
        made = identity["settings"]
        own: dict[str, Any] = {view: config.build(VIEWS[view], made[view], view)}
        sound = config.build(Audio, made["audio"], "audio")
        views = extractor.Features(**{each: kind() for each, kind in VIEWS.items()} | own)
    except (KeyError, TypeError, SerError) as error:
        raise StoreError(f"{name} states settings that this program does not know ({error}): train again.") from error
    return extractor.Recipe(seed=0, audio=sound, augment=Augment(copies=()), features=views)


def plain(values: Mapping[str, Any]) -> Any:
    """Give values as JSON has them."""
    return json.loads(json.dumps(values))


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say what differs first.

    >>> differing({"versions": {"frontend": 2}}, {"versions": {"frontend": 3}})
    'versions.frontend is 2 there and 3 here'
    """
    old, new = dict(config.flat(before)), dict(config.flat(now))
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            return f"{name} is {old.get(name)} there and {new.get(name)} here"
    return "nothing"


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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is heard whole and what in windows. Times in s."""

    seconds: float  # of a window
    longest: float  # of what is heard whole
    every: float = 1.0  # from the beginning of a window to that of the next

    def whole(self, recording: decode.Recording) -> bool:
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


def hear(recording: decode.Recording, hearings: Sequence[Hearing], plan: Plan, *, name: str) -> Heard:
    """Make of a recording what models take; a clip as evaluate takes it, the first seconds of sound in it."""
    seconds = len(recording.samples) / recording.sample_rate
    if measure.levels(recording.samples)[0] < SILENT:
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


def notes(recording: decode.Recording, seconds: float) -> Iterable[str]:
    """Say what is odd about a recording and may spoil the answer."""
    if seconds < SHORTEST:
        yield f"shorter than {SHORTEST:g} s, which no clip in training was"
    yield from (NOTES[word] for word in measure.oddities(recording, name="") if word in NOTES)
