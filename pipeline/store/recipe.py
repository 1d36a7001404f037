"""From a decoded signal to the stored rows of all views: the one path that store, command line and serving share."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline import config
from pipeline.errors import UnknownNameError
from pipeline.signal import augment, conditioning, frontend, vocoder
from pipeline.signal.augment import Step
from pipeline.store import audio, clips, shards

DTYPES = {"mfcc": "float32", "logmel": "float16"}  # float16 steps by 0.03 dB at -80 dB, but by 0.5 at MFCC's c0


@dataclass(frozen=True, kw_only=True)
class Features:
    """The views."""

    mfcc: frontend.Mfcc
    logmel: frontend.LogMel


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings that decide what is stored."""

    seed: int
    audio: conditioning.Audio
    augment: augment.Augment
    features: Features

    def view(self, name: str) -> frontend.Mfcc | frontend.LogMel:
        """The settings of one view."""
        if name not in DTYPES:
            raise UnknownNameError("model.features", name, DTYPES)
        settings: frontend.Mfcc | frontend.LogMel = getattr(self.features, name)
        return settings

    @property
    def samples(self) -> int:
        """Samples of every signal after fitting."""
        return round(self.audio.seconds * self.audio.sample_rate)


def from_params(params: Mapping[str, Any]) -> Recipe:
    """Read the sections of params.yaml that decide features, and no others."""
    names = ("seed", "audio", "augment", "features")
    return config.build(Recipe, {name: config.get(params, name) for name in names}, "params.yaml")


def identity(recipe: Recipe, view: str) -> dict[str, Any]:
    """Everything but recording and variant that decides the numbers of a view; nothing of another view."""
    versions = {"audio": audio.VERSION, "conditioning": conditioning.VERSION, "frontend": frontend.VERSION}
    settings = {"audio": asdict(recipe.audio), view: asdict(recipe.view(view))}
    return {"view": view, "dtype": DTYPES[view], "settings": settings, "versions": versions}


def draw(recipe: Recipe, recording: str) -> dict[str, tuple[Step, ...]]:
    """Draw the numbers of every variant of the recording with this samples_sha256."""
    return {
        variant: augment.draw(variant, recipe.augment, augment.generator(recipe.seed, recording, variant))
        for variant in augment.variants(recipe.augment)
    }


def keys(recipe: Recipe, view: str, *, samples_sha256: str, sample_rate: int) -> list[str]:
    """The keys of a clip's rows, one a variant."""
    recording = {"samples_sha256": samples_sha256, "sample_rate": sample_rate}
    own = identity(recipe, view)
    return [clips.row_key(recording, own, spell(steps)) for steps in draw(recipe, samples_sha256).values()]


def spell(steps: Iterable[Step]) -> dict[str, Any]:
    """Say how a variant is made. The original needs no version of the augmentation."""
    drawn = [asdict(step) for step in steps]
    return {"steps": drawn, "versions": [augment.VERSION, vocoder.VERSION]} if drawn else {}


def layout(recipe: Recipe, view: str) -> shards.Layout:
    """The layout of a view's shard."""
    settings = recipe.view(view)
    rows = frontend.rows(settings)
    return shards.Layout(
        view=view,
        shape=(frontend.frames(recipe.samples, settings.hop), len(rows)),
        dtype=DTYPES[view],
        unit=frontend.unit(settings),
        rows=rows,
        identity=identity(recipe, view),
        augment={name: augment.identity(recipe.augment, name) for name in augment.variants(recipe.augment)},
    )


def make(signal: audio.Array, recipe: Recipe, recording: str, views: Iterable[str]) -> dict[str, clips.Entry]:
    """Make the stored rows of all variants of one clip.

    Args:
        signal: shape ``(samples,)``, at the recipe's sample rate, not yet trimmed.
        recipe: all settings.
        recording: its samples_sha256, which seeds the variants.
        views: the views wanted; they share each variant's signal and spectrum.
    """
    conditioned = conditioning.condition(signal, recipe.audio)
    wanted = {view: recipe.view(view) for view in views}
    variants = [augment.apply(conditioned, steps) for steps in draw(recipe, recording).values()]
    fitted = [conditioning.fit(variant, recipe.samples) for variant in variants]
    rows = [frontend.views(variant, recipe.audio.sample_rate, wanted) for variant in fitted]
    return {view: entry([row[view] for row in rows], variants, recipe, view) for view in wanted}


def entry(tensors: list[audio.Array], variants: list[audio.Array], recipe: Recipe, view: str) -> clips.Entry:
    """Stack rows in the stored dtype: rounding to it is the last step of a view, wherever the view is made."""
    longest, hop = tensors[0].shape[0], recipe.view(view).hop
    valid = [min(longest, frontend.frames(len(variant), hop)) for variant in variants]
    return clips.Entry(np.stack(tensors).astype(DTYPES[view]), np.array(valid, np.int32))
