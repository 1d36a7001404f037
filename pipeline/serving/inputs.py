"""Compute model inputs from a recording with the settings of a bundle, whole or in windows."""

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
from pipeline.dataset.functionals import clip_functionals
from pipeline.ingest import measure
from pipeline.serving.vad import split_windows
from pipeline.signal import extractor
from pipeline.signal.settings import Audio, Augment, LogMel, Mfcc
from pipeline.train.bundle import Card
from pipeline.train.settings import SVM

Array = npt.NDArray[np.float32]
VIEWS = {"logmel": LogMel, "mfcc": Mfcc}


@dataclass(frozen=True)
class InputSettings:
    """The settings by which a bundle's inputs are computed. It is sent to worker processes."""

    settings: extractor.ExtractorSettings
    view: str
    functionals: bool = False  # whether the model takes one vector per clip

    @cached_property
    def seconds(self) -> float:
        """The length of a model input before trimming, in s."""
        return self.settings.audio.offset + self.settings.audio.seconds

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the model's input for one clip: ``(frames, bins)`` or ``(4 * bins,)``."""
        frames, bins = extractor.shard_layout(self.settings, self.view).shape
        return (4 * bins,) if self.functionals else (frames, bins)

    def compute(self, recording: decode.Recording) -> Array:
        """Compute the model's input, bit for bit as for training.

        Shape: ``(samples, channels)`` to ``(frames, bins)``, or to ``(4 * bins,)`` for a model of functionals.
        """
        entry = extractor.extract_features(recording, self.settings, "", {self.view: (ORIGINAL,)})[self.view]
        patches = np.asarray(entry.tensors, np.float32)
        found: Array = clip_functionals(patches, entry.valid_frames)[0] if self.functionals else patches[0]
        return found


def input_settings(card: Card, *, name: str) -> InputSettings:
    """Read the input settings of a bundle from its card.

    Args:
        card: of the bundle.
        name: of the bundle, for error messages.

    Raises:
        StoreError: this version computes other features than the model was trained on.
    """
    if card.normalise == "speaker":
        raise StoreError(
            f"{name} was trained on clips standardised by all clips of their speaker (train.normalise=speaker), which "
            "are not known for a single recording: train it with -S train.normalise=train."
        )
    settings = _build_extractor(card.view, card.layout["identity"], name)
    now = _as_json({**vars(extractor.shard_layout(settings, card.view)), "augment": {}})
    before = _as_json({**card.layout, "augment": {}})
    if now != before:
        raise StoreError(
            f"{name} was trained on other features than this version computes ({_first_difference(before, now)}): "
            f"train again with 'dvc repro', or use ser-features {card.versions.get('ser-features', '')}."
        )
    return InputSettings(settings, card.view, functionals=card.arch == SVM)


def _build_extractor(view: str, identity: Mapping[str, Any], name: str) -> extractor.ExtractorSettings:
    """Build the extractor settings from the identity of a view; the other view keeps its defaults and is unused."""
    try:
        stored = identity["settings"]
        own: dict[str, Any] = {view: config.build_dataclass(VIEWS[view], stored[view], view)}
        audio = config.build_dataclass(Audio, stored["audio"], "audio")
        views = extractor.ViewSettings(**{each: kind() for each, kind in VIEWS.items()} | own)
    except (KeyError, TypeError, SerError) as error:
        raise StoreError(f"{name} has settings that this version does not know ({error}): train again.") from error
    return extractor.ExtractorSettings(seed=0, audio=audio, augment=Augment(copies=()), features=views)


def _as_json(values: Mapping[str, Any]) -> Any:
    """Convert values to what JSON would read back: tuples become lists."""
    return json.loads(json.dumps(values))


def _first_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe the first setting that differs.

    >>> _first_difference({"versions": {"frontend": 2}}, {"versions": {"frontend": 3}})
    'versions.frontend is 2 in the bundle and 3 here'
    """
    old, new = dict(config.flatten(before)), dict(config.flatten(now))
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            return f"{name} is {old.get(name)} in the bundle and {new.get(name)} here"
    return "nothing"


MIN_SECONDS = 0.5  # s, of the clips that ingest accepts
SILENCE_DB = -60.0  # dBFS of the peak, below which ingest excludes a clip
NO_SPEECH = "no speech found"
ODDITY_NOTES = {  # by the name of the oddity in the manifest
    "clipped": "clipped",
    "cancelling": "its channels cancel each other out, so only the loudest is used",
    "trailing_bytes": "bytes after the length that its header states were not read",
    "unstated_length": "its header states no length, so it may be incomplete",
    "no_end_mark": "its end mark is missing, so it may be incomplete",
}


@dataclass(frozen=True, kw_only=True)
class WindowPlan:
    """Which recordings are predicted whole and how the others are split into windows. Times in s."""

    seconds: float  # of a window
    longest: float  # recording that is predicted whole
    every: float = 1.0  # from the start of a window to that of the next

    def is_whole(self, recording: decode.Recording) -> bool:
        """Say whether a recording is short enough to be predicted whole; the manifest rounds to 0.001 s."""
        return len(recording.samples) <= (max(self.longest, self.seconds) + 0.001) * recording.sample_rate


@dataclass(frozen=True)
class Span:
    """A part of a recording, in s."""

    start: float
    end: float
    has_speech: bool = True


@dataclass(frozen=True, kw_only=True)
class ModelInputs:
    """The inputs of all models for one recording."""

    name: str
    seconds: float
    spans: Sequence[Span]  # a single one for a recording that is predicted whole
    values: Sequence[Array]  # per model, for the spans with speech: (spans, frames, bins) or (spans, 4 * bins)
    windowed: bool = False
    notes: Sequence[str] = ()


def prepare_inputs(
    recording: decode.Recording, settings: Sequence[InputSettings], plan: WindowPlan, *, name: str
) -> ModelInputs:
    """Compute the inputs of all models for a recording.

    A recording that is predicted whole is trimmed and cropped as evaluate does it.
    """
    seconds = len(recording.samples) / recording.sample_rate
    if measure.peak_and_rms(recording.samples)[0] < SILENCE_DB:
        return ModelInputs(name=name, seconds=seconds, spans=(), values=(), notes=("silence",))
    remarks = tuple(quality_notes(recording, seconds))
    if plan.is_whole(recording):
        values = [each.compute(recording)[None] for each in settings]
        return ModelInputs(name=name, seconds=seconds, spans=(Span(0.0, seconds),), values=values, notes=remarks)
    windows = list(split_windows([recording.samples], recording.sample_rate, seconds=plan.seconds, every=plan.every))
    spoken = [window.recording for window in windows if window.has_speech]
    return ModelInputs(
        name=name,
        seconds=seconds,
        spans=[Span(window.start, window.end, window.has_speech) for window in windows],
        values=[np.stack([each.compute(window) for window in spoken]) for each in settings] if spoken else (),
        windowed=True,
        notes=remarks if spoken else (*remarks, NO_SPEECH),
    )


def quality_notes(recording: decode.Recording, seconds: float) -> Iterable[str]:
    """Describe what is odd about a recording and may spoil the prediction."""
    if seconds < MIN_SECONDS:
        yield f"shorter than {MIN_SECONDS:g} s, so shorter than any clip in training"
    yield from (ODDITY_NOTES[word] for word in measure.list_warnings(recording, name="") if word in ODDITY_NOTES)
