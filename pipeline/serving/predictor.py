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
from pipeline.serving.inputs import Heard, Hearing, Plan, hear
from pipeline.serving.results import Answer, Span
from pipeline.train import bundle
from pipeline.train.bundle import Card

BATCH = 64  # clips
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Member:
    """A loaded bundle: its input settings and the models of its folds and seeds, whose probabilities are averaged."""

    card: Card
    input_settings: Hearing
    models: Sequence[Classifier]

    def probabilities(self, values: Array) -> Array:
        """Average the probabilities of all models. Shape: ``(clips, …)`` to ``(clips, classes)``."""
        return mean([ask(model, values) for model in self.models])


@dataclass(frozen=True)
class Predictor:
    """An ensemble of one bundle or several."""

    members: Sequence[Member]

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return tuple(self.members[0].card.labels)

    @property
    def input_settings(self) -> list[Hearing]:
        """The input settings of each member, for worker processes."""
        return [member.input_settings for member in self.members]

    def window_plan(self, *, every: float = 1.0, windows: bool | None = None) -> Plan:
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
        return Plan(seconds=seconds, longest=longest, every=every)

    def probabilities(self, values: Sequence[Array]) -> Array:
        """Average the probabilities of all members, each with its own inputs.

        Shape: one array ``(clips, …)`` per member to ``(clips, classes)``.
        """
        return mean([member.probabilities(own) for member, own in zip(self.members, values, strict=True)])

    def predict(self, recordings: Sequence[Heard]) -> list[Answer]:
        """Predict several recordings together, which is faster than one by one."""
        empty = np.empty((0, len(self.labels)), np.float32)
        known = [each for each in recordings if each.values]
        if not known:
            return [self._combine(each, empty) for each in recordings]
        stacks = [np.concatenate([each.values[k] for each in known]) for k in range(len(self.members))]
        ends = np.cumsum([len(each.values[0]) for each in known])[:-1]
        parts = iter(np.split(self.probabilities(stacks), ends))
        return [self._combine(each, next(parts) if each.values else empty) for each in recordings]

    def _combine(self, inputs: Heard, probabilities: Array) -> Answer:
        """Combine the probabilities ``(spans, classes)`` of a recording: its own are their mean."""
        each = iter(probabilities)
        spans = [Span(span.start, span.end, next(each) if span.has_speech else None) for span in inputs.spans]
        return Answer(
            name=inputs.name,
            seconds=inputs.seconds,
            labels=self.labels,
            probabilities=probabilities.mean(axis=0) if len(probabilities) else None,
            timeline=spans if inputs.windowed else (),
            notes=inputs.notes,
        )


def mean(arrays: Sequence[Array]) -> Array:
    """Average several arrays ``(clips, classes)`` into one."""
    return np.asarray(np.mean(arrays, axis=0), np.float32)


def ask(model: Classifier, values: Array) -> Array:
    """Predict in batches of few different sizes, because a backend compiles anew for each size.

    Shape: ``(clips, …)`` to ``(clips, classes)``.
    """
    parts = [values[start : start + BATCH] for start in range(0, len(values), BATCH)]
    return np.concatenate([model.hear(filled(part))[: len(part)] for part in parts])


def filled(values: Array) -> Array:
    """Repeat the last clip up to the next power of two. Shape: ``(clips, …)``.

    >>> filled(np.zeros((5, 2), np.float32)).shape
    (8, 2)
    """
    size = 1 << (len(values) - 1).bit_length()
    return np.concatenate([values, np.repeat(values[-1:], size - len(values), axis=0)])


def open_all(folders: Sequence[Path], *, fold: int | None = None) -> Predictor:
    """Load bundles: the models of all folds, or of one.

    Raises:
        StoreError: a bundle is missing or altered, needs features that this version does not compute, or has other
            classes than the first.
        SettingError: a bundle has no such fold.
    """
    members = [open_one(folder, fold) for folder in folders]
    first = members[0].card
    for folder, member in zip(folders, members, strict=True):
        if member.card.labels != first.labels:
            raise StoreError(
                f"{folder} has the classes {', '.join(member.card.labels)}, and {folders[0]} has "
                f"{', '.join(first.labels)}: only bundles with the same classes can be combined."
            )
    return Predictor(members)


def read_card(folder: Path) -> Card:
    """Read the card of a bundle named on the command line.

    Raises:
        StoreError: there is none, or it was altered.
    """
    if not (folder / bundle.NAME).is_file():
        remedy = config.elsewhere(folder) or "train one with 'dvc repro'."
        raise StoreError(f"{folder} is no bundle, because it holds no {bundle.NAME}: name one that does, or {remedy}")
    return bundle.read(folder)


def open_one(folder: Path, fold: int | None = None) -> Member:
    card = read_card(folder)
    own = inputs.of(card, name=str(folder))
    if fold is not None and fold not in card.folds:
        raise SettingError(f"{folder} has no fold {fold}; it has {', '.join(map(str, card.folds))}.")
    folds = card.folds if fold is None else [fold]
    models = [open_model(folder / name, card) for each in folds for name in card.places(each)]
    member = Member(card, own, models)
    refuse_other_classes(member, folder)
    return member


def refuse_other_classes(member: Member, folder: Path) -> None:
    """Predict zeros once, which also compiles the models, and compare the number of probabilities with the labels.

    Raises:
        StoreError: they differ.
    """
    count = member.probabilities(np.zeros((1, *member.input_settings.shape), np.float32)).shape[1]
    if count != len(member.card.labels):
        raise StoreError(
            f"{folder} gives {count} probabilities, and its card names {len(member.card.labels)} labels: train again."
        )


def open_model(folder: Path, card: Card) -> Classifier:
    """Load one model in the runtime of its card."""
    if card.runtime == "keras":
        from pipeline.train import models  # imported late: exported models run without Keras

        return models.load_model_files(folder, card.arch)
    from pipeline.export import runtimes

    return runtimes.load(folder, card.runtime)


TOGETHER = 64  # recordings predicted at once
FEW = 48  # recordings that are decoded sooner than worker processes start


@dataclass(frozen=True)
class Source:
    """A recording to predict: a file, or bytes from standard input."""

    name: str
    path: Path | None = None
    data: bytes = b""

    def read(self) -> decode.Recording:
        """Decode the recording.

        Raises:
            AudioError: it holds no usable sound.
        """
        return decode.decode(self.data, name=self.name) if self.path is None else decode.fetch(self.path)


def predict_all(
    sources: Sequence[Source], predictor: Predictor, plan: Plan, *, processes: int, failures: list[str]
) -> Iterator[Answer]:
    """Predict recordings in their order and skip files that cannot be read.

    Args:
        sources: the recordings.
        predictor: the loaded bundles.
        plan: which recordings are split into windows.
        processes: how many to start for many recordings; the results do not depend on it.
        failures: a sentence for each file that could not be read is appended to it.
    """
    workers = parallel.Crew(processes if len(sources) > FEW else 1)
    work = partial(attempt, settings=predictor.input_settings, plan=plan)
    results = iter(parallel.spread(work, sources, crew=workers, label="predict"))
    while chunk := list(islice(results, TOGETHER)):
        failures += [each for each in chunk if isinstance(each, str)]
        yield from predictor.predict([each for each in chunk if isinstance(each, Heard)])


def attempt(source: Source, *, settings: Sequence[Hearing], plan: Plan) -> Heard | str:
    """Compute the inputs of one recording, or say why it cannot be read."""
    machine.keep_freed_memory()
    try:
        recording = source.read()
    except AudioError as error:
        return str(error)
    if not len(recording.samples):
        return f"{source.name} holds no samples: export it again."
    return hear(recording, settings, plan, name=source.name)
