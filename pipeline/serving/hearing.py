"""How a bundle hears: the settings it was trained by, as the store's own signal path. Nothing here needs Keras."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import config
from pipeline.errors import SerError, StoreError
from pipeline.labels import ORIGINAL
from pipeline.networks.names import SVM
from pipeline.serving.card import Card
from pipeline.signal.functionals import functionals
from pipeline.signal.settings import Audio, Augment, LogMel, Mfcc
from pipeline.store import audio, recipe

Array = npt.NDArray[np.float32]
VIEWS = {"logmel": LogMel, "mfcc": Mfcc}


@dataclass(frozen=True)
class Hearing:
    """From a recording to what the model is given. It travels to worker processes."""

    settings: recipe.Recipe
    view: str
    functionals: bool = False  # whether the model takes one vector a clip

    @cached_property
    def seconds(self) -> float:
        """How much of a recording is heard at once, before anything is cut off its ends."""
        return self.settings.audio.offset + self.settings.audio.seconds

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what the model takes of one clip: ``(frames, rows)`` or ``(4 * rows,)``."""
        frames, rows = recipe.layout(self.settings, self.view).shape
        return (4 * rows,) if self.functionals else (frames, rows)

    def values(self, recording: audio.Recording) -> Array:
        """Make what the model takes, to the bit what training took.

        Shape: ``(samples, channels)`` to ``(frames, rows)``, or to ``(4 * rows,)`` for a model of functionals.
        """
        made = recipe.make(recording, self.settings, "", {self.view: (ORIGINAL,)})[self.view]
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
    now = plain({**vars(recipe.layout(settings, card.view)), "augment": {}})
    before = plain({**card.layout, "augment": {}})
    if now != before:
        raise StoreError(
            f"{name} was trained on other features than this program makes ({differing(before, now)}): "
            f"train again with 'dvc repro', or take ser-features {card.versions.get('ser-features', '')} again."
        )
    return Hearing(settings, card.view, functionals=card.arch == SVM)


def rebuilt(view: str, identity: Mapping[str, Any], name: str) -> recipe.Recipe:
    """Build the settings of the signal path from the identity of a view; the other view stands unused."""
    try:
        made = identity["settings"]
        own: dict[str, Any] = {view: config.build(VIEWS[view], made[view], view)}
        sound = config.build(Audio, made["audio"], "audio")
        views = recipe.Features(**{each: kind() for each, kind in VIEWS.items()} | own)
    except (KeyError, TypeError, SerError) as error:
        raise StoreError(f"{name} states settings that this program does not know ({error}): train again.") from error
    return recipe.Recipe(seed=0, audio=sound, augment=Augment(copies=()), features=views)


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
