"""Load trained bundles and predict: recordings in, probabilities out, many files in parallel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline import parallel
from pipeline.audio import decode
from pipeline.core import config, machine
from pipeline.core.errors import AudioError, SettingError, StoreError
from pipeline.export.runtimes import Classifier
from pipeline.serving import inputs
from pipeline.serving.inputs import InputSettings, ModelInputs, WindowPlan, prepare_inputs
from pipeline.serving.results import Prediction, SpanPrediction
from pipeline.train import bundle
from pipeline.train.bundle import Card

BATCH_CLIPS = 64  # clips
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Member:
    """A loaded bundle: its input settings and the models of its folds and seeds, whose probabilities are averaged."""

    card: Card
    input_settings: InputSettings
    models: Sequence[Classifier]

    def probabilities(self, values: Array) -> Array:
        """Average the probabilities of all models. Shape: ``(clips, …)`` to ``(clips, classes)``."""
        return _mean_probabilities([_predict_in_batches(model, values) for model in self.models])


@dataclass(frozen=True)
class Predictor:
    """An ensemble of one bundle or several."""

    members: Sequence[Member]

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return tuple(self.members[0].card.labels)

    @property
    def input_settings(self) -> list[InputSettings]:
        """The input settings of each member, for worker processes."""
        return [member.input_settings for member in self.members]

    def window_plan(self, *, every: float = 1.0, windows: bool | None = None) -> WindowPlan:
        """Choose which recordings are split into windows.

        Args:
            every: s from window to window.
            windows: True for all recordings, False for none, None for those longer than any clip in training.

        Raises:
            SettingError: `every` is 0 or longer than a window.
        """
        seconds = max(member.input_settings.seconds for member in self.members)
        known = max(member.card.longest for member in self.members)
        longest = {None: known, True: 0.0, False: np.inf}[windows]
        if not 0 < every <= seconds:
            raise SettingError(
                f"--every is {every:g} s, and a window lasts {seconds:g} s: longer steps leave gaps; give less."
            )
        return WindowPlan(seconds=seconds, longest=longest, every=every)

    def probabilities(self, values: Sequence[Array]) -> Array:
        """Average the probabilities of all members, each with its own inputs.

        Shape: one array ``(clips, …)`` per member to ``(clips, classes)``.
        """
        return _mean_probabilities(
            [member.probabilities(own) for member, own in zip(self.members, values, strict=True)]
        )

    def predict(self, recordings: Sequence[ModelInputs]) -> list[Prediction]:
        """Predict several recordings together, which is faster than one by one."""
        empty = np.empty((0, len(self.labels)), np.float32)
        known = [each for each in recordings if each.values]
        if not known:
            return [self._combine(each, empty) for each in recordings]
        stacks = [np.concatenate([each.values[k] for each in known]) for k in range(len(self.members))]
        ends = np.cumsum([len(each.values[0]) for each in known])[:-1]
        parts = iter(np.split(self.probabilities(stacks), ends))
        return [self._combine(each, next(parts) if each.values else empty) for each in recordings]

    def _combine(self, inputs: ModelInputs, probabilities: Array) -> Prediction:
        """Combine the probabilities ``(spans, classes)`` of a recording: its own are their mean."""
        each = iter(probabilities)
        spans = [SpanPrediction(span.start, span.end, next(each) if span.has_speech else None) for span in inputs.spans]
        return Prediction(
            name=inputs.name,
            seconds=inputs.seconds,
            labels=self.labels,
            probabilities=probabilities.mean(axis=0) if len(probabilities) else None,
            timeline=spans if inputs.windowed else (),
            notes=inputs.notes,
        )


def _mean_probabilities(arrays: Sequence[Array]) -> Array:
    """Average several arrays ``(clips, classes)`` into one."""
    return np.asarray(np.mean(arrays, axis=0), np.float32)


def _predict_in_batches(model: Classifier, values: Array) -> Array:
    """Predict in batches of few different sizes, because a backend compiles anew for each size.

    Shape: ``(clips, …)`` to ``(clips, classes)``.
    """
    parts = [values[start : start + BATCH_CLIPS] for start in range(0, len(values), BATCH_CLIPS)]
    return np.concatenate([model.predict(_pad_to_power_of_two(part))[: len(part)] for part in parts])


def _pad_to_power_of_two(values: Array) -> Array:
    """Repeat the last clip up to the next power of two. Shape: ``(clips, …)``.

    >>> _pad_to_power_of_two(np.zeros((5, 2), np.float32)).shape
    (8, 2)
    """
    size = 1 << (len(values) - 1).bit_length()
    return np.concatenate([values, np.repeat(values[-1:], size - len(values), axis=0)])


def load_predictor(folders: Sequence[Path], *, fold: int | None = None) -> Predictor:
    """Load bundles: the models of all folds, or of one.

    Raises:
        StoreError: a bundle is missing or altered, needs features that this version does not compute, or has other
            classes than the first.
        SettingError: a bundle has no such fold.
    """
    members = [load_member(folder, fold) for folder in folders]
    first = members[0].card
    for folder, member in zip(folders, members, strict=True):
        if member.card.labels != first.labels:
            raise StoreError(
                f"{folder} has the classes {', '.join(member.card.labels)}, and {folders[0]} has "
                f"{', '.join(first.labels)}: only bundles with the same classes can be combined."
            )
    return Predictor(members)


def read_bundle_card(folder: Path) -> Card:
    """Read the card of a bundle named on the command line.

    Raises:
        StoreError: there is none, or it was altered.
    """
    if not (folder / bundle.CARD_FILE).is_file():
        remedy = config.project_folder_hint(folder) or "train one with 'dvc repro'."
        raise StoreError(
            f"{folder} is no bundle, because it holds no {bundle.CARD_FILE}: name one that does, or {remedy}"
        )
    return bundle.read_card(folder)


def load_member(folder: Path, fold: int | None = None) -> Member:
    card = read_bundle_card(folder)
    own = inputs.input_settings(card, name=str(folder))
    if fold is not None and fold not in card.folds:
        raise SettingError(f"{folder} has no fold {fold}; it has {', '.join(map(str, card.folds))}.")
    folds = card.folds if fold is None else [fold]
    models = [_load_model(folder / name, card) for each in folds for name in card.places(each)]
    member = Member(card, own, models)
    _check_class_count(member, folder)
    return member


def _check_class_count(member: Member, folder: Path) -> None:
    """Predict zeros once, which also compiles the models, and compare the number of probabilities with the labels.

    Raises:
        StoreError: they differ.
    """
    count = member.probabilities(np.zeros((1, *member.input_settings.shape), np.float32)).shape[1]
    if count != len(member.card.labels):
        raise StoreError(
            f"{folder} gives {count} probabilities, and its card names {len(member.card.labels)} labels: train again."
        )


def _load_model(folder: Path, card: Card) -> Classifier:
    """Load one model in the runtime of its card."""
    if card.runtime == "keras":
        from pipeline.train import models  # imported late: exported models run without Keras

        return models.load_model(folder, card.arch)
    from pipeline.export import runtimes

    return runtimes.load_exported_model(folder, card.runtime)


CHUNK_RECORDINGS = 64  # recordings predicted at once
SERIAL_RECORDINGS = 48  # recordings that are decoded sooner than worker processes start


@dataclass(frozen=True)
class RecordingSource:
    """A recording to predict: a file, or bytes from standard input."""

    name: str
    path: Path | None = None
    data: bytes = b""

    def read(self) -> decode.Recording:
        """Decode the recording.

        Raises:
            AudioError: it holds no usable sound.
        """
        return decode.decode_audio(self.data, name=self.name) if self.path is None else decode.read_recording(self.path)


def predict_recordings(
    sources: Sequence[RecordingSource], predictor: Predictor, plan: WindowPlan, *, processes: int, failures: list[str]
) -> Iterator[Prediction]:
    """Predict recordings in their order and skip files that cannot be read.

    Args:
        sources: the recordings.
        predictor: the loaded bundles.
        plan: which recordings are split into windows.
        processes: how many to start for many recordings; the results do not depend on it.
        failures: a sentence for each file that could not be read is appended to it.
    """
    workers = parallel.Executor(processes if len(sources) > SERIAL_RECORDINGS else 1)
    work = partial(_try_inputs, settings=predictor.input_settings, plan=plan)
    results = iter(parallel.parallel_map(work, sources, crew=workers, label="predict"))
    while chunk := list(islice(results, CHUNK_RECORDINGS)):
        failures += [each for each in chunk if isinstance(each, str)]
        yield from predictor.predict([each for each in chunk if isinstance(each, ModelInputs)])


def _try_inputs(source: RecordingSource, *, settings: Sequence[InputSettings], plan: WindowPlan) -> ModelInputs | str:
    """Compute the inputs of one recording, or say why it cannot be read."""
    machine.keep_freed_memory()
    try:
        recording = source.read()
    except AudioError as error:
        return str(error)
    if not len(recording.samples):
        return f"{source.name} holds no samples: export it again."
    return prepare_inputs(recording, settings, plan, name=source.name)
