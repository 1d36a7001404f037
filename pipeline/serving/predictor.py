"""Open trained bundles and predict: recordings in, probabilities out, many files in parallel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline import parallel
from pipeline.audio import decode
from pipeline.core import config, machine
from pipeline.core.errors import AudioError, SettingError, StoreError
from pipeline.serving import inputs
from pipeline.serving.inputs import Heard, Hearing, Plan, hear
from pipeline.serving.results import Answer, Span
from pipeline.train import bundle
from pipeline.train.bundle import Card

BATCH = 64  # clips asked about at once
Array = npt.NDArray[np.float32]


class Asked(Protocol):
    """A model that answers."""

    def hear(self, values: Array) -> Array:
        """Give probabilities. Shape: ``(clips, …)`` to ``(clips, classes)``."""


@dataclass(frozen=True)
class Member:
    """One bundle, open: how it hears, and the models of its folds and seeds, which answer by their mean."""

    card: Card
    hearing: Hearing
    models: Sequence[Asked]

    def probabilities(self, values: Array) -> Array:
        """Ask all of them. Shape: ``(clips, …)`` to ``(clips, classes)``."""
        return mean([ask(model, values) for model in self.models])


@dataclass(frozen=True)
class Predictor:
    """One bundle or several."""

    members: Sequence[Member]

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return tuple(self.members[0].card.labels)

    @property
    def hearings(self) -> list[Hearing]:
        """How each member hears, for worker processes."""
        return [member.hearing for member in self.members]

    def plan(self, *, every: float = 1.0, windows: bool | None = None) -> Plan:
        """Say what is heard in windows: what lasts longer than any clip the members know, or all, or nothing."""
        seconds = max(member.hearing.seconds for member in self.members)
        known = max(member.card.longest for member in self.members)
        longest = {None: known, True: 0.0, False: np.inf}[windows]
        if not 0 < every <= seconds:
            raise SettingError(
                f"--every is {every:g} s, and a window lasts {seconds:g} s: more than that leaves gaps; give less."
            )
        return Plan(seconds=seconds, longest=longest, every=every)

    def probabilities(self, values: Sequence[Array]) -> Array:
        """Ask all members, each with its own values. Shape: a ``(clips, …)`` each to ``(clips, classes)``."""
        found = [member.probabilities(own) for member, own in zip(self.members, values, strict=True)]
        return mean(found)

    def answers(self, some: Sequence[Heard]) -> list[Answer]:
        """Judge recordings together, which is quicker than one by one."""
        known = [each for each in some if each.values]
        if not known:
            return [self.answer(each, self.nothing) for each in some]
        stacks = [np.concatenate([each.values[k] for each in known]) for k in range(len(self.members))]
        ends = np.cumsum([len(each.values[0]) for each in known])[:-1]
        parts = iter(np.split(self.probabilities(stacks), ends))
        return [self.answer(each, next(parts) if each.values else self.nothing) for each in some]

    @property
    def nothing(self) -> Array:
        """No probabilities. Shape ``(0, classes)``."""
        return np.empty((0, len(self.labels)), np.float32)

    def answer(self, heard: Heard, found: Array) -> Answer:
        """Put the probabilities of a recording's spans together: the whole is their mean."""
        each = iter(found)
        spans = [Span(span.start, span.end, next(each) if span.spoken else None) for span in heard.spans]
        return Answer(
            name=heard.name,
            seconds=heard.seconds,
            labels=self.labels,
            probabilities=found.mean(axis=0) if len(found) else None,
            timeline=spans if heard.windowed else (),
            notes=heard.notes,
        )


def mean(some: Sequence[Array]) -> Array:
    """Average. Shape: several of ``(clips, classes)`` to one."""
    return np.asarray(np.mean(some, axis=0), np.float32)


def ask(model: Asked, values: Array) -> Array:
    """Ask in batches of few different sizes, because a backend compiles for each size anew.

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
    """Open bundles: all folds of each, or one.

    Raises:
        StoreError: one is missing or altered, hears otherwise than this program, or knows other classes than the first.
        SettingError: a bundle has no such fold.
    """
    members = [open_one(folder, fold) for folder in folders]
    first = members[0].card
    for folder, member in zip(folders, members, strict=True):
        if member.card.labels != first.labels:
            raise StoreError(
                f"{folder} knows the classes {', '.join(member.card.labels)}, and {folders[0]} knows "
                f"{', '.join(first.labels)}: only bundles of the same classes answer together."
            )
    return Predictor(members)


def read_card(folder: Path) -> Card:
    """Read the card of a bundle that a person named.

    Raises:
        StoreError: there is none, or it was altered.
    """
    if not (folder / bundle.NAME).is_file():
        remedy = config.elsewhere(folder) or "train one with 'dvc repro'."
        raise StoreError(f"{folder} is no bundle, for it holds no {bundle.NAME}: name one that does, or {remedy}")
    return bundle.read(folder)


def open_one(folder: Path, fold: int | None = None) -> Member:
    """Open one bundle."""
    card = read_card(folder)
    own = inputs.of(card, name=str(folder))
    if fold is not None and fold not in card.folds:
        raise SettingError(f"{folder} has no fold {fold}; it has {', '.join(map(str, card.folds))}.")
    folds = card.folds if fold is None else [fold]
    places = [folder / place for each in folds for place in card.places(each)]
    member = Member(card, own, [open_model(place, card) for place in places])
    refuse_other_classes(member, folder)
    return member


def refuse_other_classes(member: Member, folder: Path) -> None:
    """Ask once about nothing, which brings up and compiles what answers, and count the probabilities."""
    count = member.probabilities(np.zeros((1, *member.hearing.shape), np.float32)).shape[1]
    if count != len(member.card.labels):
        raise StoreError(
            f"{folder} gives {count} probabilities, and its card names {len(member.card.labels)} labels: train again."
        )


def open_model(folder: Path, card: Card) -> Asked:
    """Open the model of one fold in what runs it."""
    if card.runtime == "keras":
        from pipeline.train import models  # late: exported models run without Keras

        return models.load_model_files(folder, card.arch)
    from pipeline.export import runtimes

    return runtimes.load(folder, card.runtime)


TOGETHER = 64  # recordings judged at once
FEW = 48  # recordings that are heard sooner than worker processes start


@dataclass(frozen=True)
class Source:
    """A recording to judge: a file, or bytes that came another way."""

    name: str
    path: Path | None = None
    data: bytes = b""

    def read(self) -> decode.Recording:
        """Decode it.

        Raises:
            AudioError: it holds no usable sound.
        """
        return decode.decode(self.data, name=self.name) if self.path is None else decode.fetch(self.path)


def predict_all(
    sources: Sequence[Source], predictor: Predictor, plan: Plan, *, processes: int, failures: list[str]
) -> Iterator[Answer]:
    """Judge recordings in their order; a bad file stops nothing but itself.

    Args:
        sources: the recordings.
        predictor: who judges.
        plan: what is heard in windows.
        processes: how many to start where there are many recordings; they change no number.
        failures: gets a sentence for each file that could not be read.
    """
    team = parallel.Crew(processes if len(sources) > FEW else 1)
    work = partial(attempt, hearings=predictor.hearings, plan=plan)
    results = iter(parallel.spread(work, sources, crew=team, label="predict"))
    while some := list(islice(results, TOGETHER)):
        failures += [each for each in some if isinstance(each, str)]
        yield from predictor.answers([each for each in some if isinstance(each, Heard)])


def attempt(source: Source, *, hearings: Sequence[Hearing], plan: Plan) -> Heard | str:
    """Hear one recording, or say why it cannot be read."""
    machine.keep_freed_memory()
    try:
        recording = source.read()
    except AudioError as error:
        return str(error)
    if not len(recording.samples):
        return f"{source.name} holds no samples: export it again."
    return hear(recording, hearings, plan, name=source.name)
