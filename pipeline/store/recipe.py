"""From a decoded signal to the stored rows of all views: the one path that store, command line and serving share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import config
from pipeline.errors import SettingError, UnknownNameError
from pipeline.labels import ORIGINAL
from pipeline.signal import augment, conditioning, frontend, scaling, vocoder
from pipeline.signal.augment import Step
from pipeline.signal.settings import Audio, Augment, variants
from pipeline.store import audio, clips, files, halves, shards

Keys = dict[str, dict[str, str]]  # view -> variant -> key, all of one clip
LARGEST = 2**26  # numbers of a view of one clip: 256 MiB of them
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
    audio: Audio
    augment: Augment
    features: Features

    def __post_init__(self) -> None:
        for name in DTYPES:
            frontend.check(self.view(name), self.audio.sample_rate)
            size = self.frames(name) * len(frontend.rows(self.view(name)))
            if size > LARGEST:
                raise SettingError(
                    f"params.yaml: features.{name} makes {size:,} numbers of a clip of audio.seconds "
                    f"{self.audio.seconds:g}, at most {LARGEST:,} can be held: raise its hop, or lower audio.seconds."
                )

    def view(self, name: str) -> frontend.Mfcc | frontend.LogMel:
        """The settings of one view."""
        if str(name) not in DTYPES:  # a list could not be looked up
            raise UnknownNameError("model.features", name, DTYPES)
        settings: frontend.Mfcc | frontend.LogMel = getattr(self.features, name)
        return settings

    @property
    def samples(self) -> int:
        """Samples of every signal after fitting."""
        return round(self.audio.seconds * self.audio.sample_rate)

    def frames(self, view: str) -> int:
        """Frames of every row of a view."""
        return frontend.frames(self.samples, self.view(view).hop)


def from_params(params: Mapping[str, Any]) -> Recipe:
    """Read the sections of params.yaml that decide features, and no others."""
    names = ("audio", "augment", "features")
    sections = {name: config.get(params, name) for name in names}
    return config.build(Recipe, {"seed": config.seed(params)} | sections)


def identity(recipe: Recipe, view: str) -> dict[str, Any]:
    """Everything but recording and variant that decides the numbers of a view; nothing of another view."""
    versions = {"audio": audio.VERSION, "conditioning": conditioning.VERSION, "frontend": frontend.VERSION}
    settings = {"audio": asdict(recipe.audio), view: asdict(recipe.view(view))}
    return {"view": view, "dtype": DTYPES[view], "settings": settings, "versions": versions}


def draw(recipe: Recipe, recording: str) -> dict[str, tuple[Step, ...]]:
    """Draw the numbers of every variant of the recording with this samples_sha256."""
    generators = {name: augment.generator(recipe.seed, recording, name) for name in recipe.augment.copies}
    copies = {name: augment.draw(name, recipe.augment, rng) for name, rng in generators.items()}
    return {ORIGINAL: ()} | copies


def keys(recipe: Recipe, views: Iterable[str], recordings: Iterable[tuple[str, int]]) -> Iterator[Keys]:
    """Name the rows of recordings, each given as samples_sha256 and sample rate in Hz."""
    own = {view: files.text_hash(identity(recipe, view)) for view in views}
    for samples_sha256, sample_rate in recordings:
        drawn = {variant: files.text_hash(spell(steps)) for variant, steps in draw(recipe, samples_sha256).items()}
        yield {
            view: {
                variant: clips.row_key(samples_sha256, sample_rate, of_view, of_variant)
                for variant, of_variant in drawn.items()
            }
            for view, of_view in own.items()
        }


def spell(steps: Iterable[Step]) -> dict[str, Any]:
    """Say how a variant is made. The original needs no version of the augmentation."""
    drawn = [vars(step) for step in steps]
    return {"steps": drawn, "versions": [augment.VERSION, vocoder.VERSION]} if drawn else {}


def layout(recipe: Recipe, view: str) -> shards.Layout:
    """The layout of a view's shard."""
    settings = recipe.view(view)
    rows = frontend.rows(settings)
    return shards.Layout(
        view=view,
        shape=(recipe.frames(view), len(rows)),
        dtype=DTYPES[view],
        unit=frontend.unit(settings),
        rows=rows,
        identity=identity(recipe, view),
        augment={name: augment.identity(recipe.augment, name) for name in variants(recipe.augment)},
    )


def fetch(path: Path, settings: Audio, *, sha256: str) -> audio.Recording:
    """Decode of a file that was ingested whole what `condition` needs of it.

    Raises:
        AudioError: it cannot be decoded, or has changed since.
    """
    window = (settings.offset, settings.seconds) if settings.trim_db is None else None
    return audio.fetch(path, sha256=sha256, window=window)


def condition(recording: audio.Recording, settings: Audio) -> audio.Array:
    """Turn a recording into the signal that is analysed, of shape ``(samples,)``.

    Without trimming the stretch of time is cut out before it is resampled, as published systems do.
    """
    if settings.trim_db is None:
        first = max(0, round(settings.offset * recording.sample_rate) - recording.first)
        stop = first + round(settings.seconds * recording.sample_rate)
        recording = replace(recording, samples=recording.samples[first:stop])
        settings = replace(settings, offset=0.0)
    return conditioning.condition(audio.signal(recording, settings.sample_rate), settings)


def make(
    recording: audio.Recording, recipe: Recipe, samples_sha256: str, wanted: Mapping[str, Sequence[str]]
) -> dict[str, clips.Entry]:
    """Make stored rows of one clip.

    Args:
        recording: the decoded file.
        recipe: all settings.
        samples_sha256: of the recording; it seeds the variants.
        wanted: the variants of each view; views share each variant's signal and spectrum.
    """
    drawn = draw(recipe, samples_sha256)
    names = dict.fromkeys(name for some in wanted.values() for name in some)
    original = condition(recording, recipe.audio)
    signals = augment.apply_all(original, {name: drawn[name] for name in names})
    tensors = {}
    for name, signal in signals.items():
        views = [view for view in wanted if name in wanted[view]]
        tensors[name] = analyse(signal, recipe, views)
    return {
        view: entry([tensors[name][view] for name in some], [signals[name] for name in some], recipe, view)
        for view, some in wanted.items()
    }


def analyse(signal: audio.Array, recipe: Recipe, views: Iterable[str]) -> dict[str, Any]:
    """Make the views of one variant in their stored dtype: rounding to it is a view's last step, wherever made."""
    fitted = conditioning.fit(signal, recipe.samples) if recipe.audio.pad == "signal" else signal[: recipe.samples]
    configs = {view: recipe.view(view) for view in views}
    made = frontend.views(fitted, recipe.audio.sample_rate, configs)
    full = {view: scaling.lengthen(made[view], recipe.frames(view)) for view in made}
    return {view: halves.narrow(tensor) if DTYPES[view] == "float16" else tensor for view, tensor in full.items()}


def entry(tensors: list[audio.Array], variants: list[audio.Array], recipe: Recipe, view: str) -> clips.Entry:
    """Stack the rows of one view and count their frames with sound."""
    longest, hop = tensors[0].shape[0], recipe.view(view).hop
    valid = [min(longest, frontend.frames(len(variant), hop)) for variant in variants]
    return clips.Entry(np.stack(tensors), np.array(valid, np.int32))
