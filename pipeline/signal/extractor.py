"""From a decoded signal to the stored features: the one signal path of store, command line and serving."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.audio import decode
from pipeline.core import config, files
from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.core.labels import ORIGINAL
from pipeline.dataset import shards
from pipeline.signal import augment, preprocess, vocoder
from pipeline.signal import views as signal_views
from pipeline.signal.augment import Step
from pipeline.signal.settings import Audio, Augment, LogMel, Mfcc, check, variants
from pipeline.signal.stft import frames

Keys = dict[str, dict[str, str]]  # view -> variant -> key, all of one clip
LARGEST = 2**26  # numbers of a view of one clip: 256 MiB of them
DTYPES = {"mfcc": "float32", "logmel": "float16"}  # float16 steps by 0.03 dB at -80 dB, but by 0.5 at MFCC's c0


@dataclass(frozen=True)
class Entry:
    """The rows of one clip: ``tensors`` of shape ``(variants, frames, rows)`` and the frames that hold sound."""

    tensors: npt.NDArray[Any]
    valid_frames: npt.NDArray[np.int32]


def row_key(samples_sha256: str, sample_rate: int, view: str, variant: str) -> str:
    """Name one row: the recording by its samples and their rate in Hz, view and variant by the hashes of theirs."""
    return hashlib.sha256(f"{samples_sha256} {sample_rate} {view} {variant}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Features:
    """The views."""

    mfcc: Mfcc
    logmel: LogMel


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings that decide what is stored."""

    seed: int
    audio: Audio
    augment: Augment
    features: Features

    def __post_init__(self) -> None:
        for name in DTYPES:
            check(self.view(name), self.audio.sample_rate)
            size = self.frames(name) * len(signal_views.bin_names(self.view(name)))
            if size > LARGEST:
                raise SettingError(
                    f"params.yaml: features.{name} makes {size:,} numbers of a clip of audio.seconds "
                    f"{self.audio.seconds:g}, at most {LARGEST:,} can be held: raise its hop, or lower audio.seconds."
                )

    def view(self, name: str) -> Mfcc | LogMel:
        """The settings of one view."""
        if str(name) not in DTYPES:  # a list could not be looked up
            raise UnknownNameError("model.features", name, DTYPES)
        settings: Mfcc | LogMel = getattr(self.features, name)
        return settings

    @property
    def samples(self) -> int:
        """Samples of every signal after fitting."""
        return round(self.audio.seconds * self.audio.sample_rate)

    def frames(self, view: str) -> int:
        """Frames of every row of a view."""
        return frames(self.samples, self.view(view).hop)


def from_params(params: Mapping[str, Any]) -> Recipe:
    """Read the sections of params.yaml that decide features, and no others."""
    names = ("audio", "augment", "features")
    sections = {name: config.get(params, name) for name in names}
    return config.build(Recipe, {"seed": config.seed(params)} | sections)


def identity(recipe: Recipe, view: str) -> dict[str, Any]:
    """Everything but recording and variant that decides the numbers of a view; nothing of another view."""
    versions = {"audio": decode.VERSION, "conditioning": preprocess.VERSION, "frontend": signal_views.VERSION}
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
                variant: row_key(samples_sha256, sample_rate, of_view, of_variant)
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
    rows = signal_views.bin_names(settings)
    return shards.Layout(
        view=view,
        shape=(recipe.frames(view), len(rows)),
        dtype=DTYPES[view],
        unit=signal_views.view_unit(settings),
        rows=rows,
        identity=identity(recipe, view),
        augment={name: augment.identity(recipe.augment, name) for name in variants(recipe.augment)},
    )


def fetch(path: Path, settings: Audio, *, sha256: str) -> decode.Recording:
    """Decode of a file that was ingested whole what `condition` needs of it.

    Raises:
        AudioError: it cannot be decoded, or has changed since.
    """
    window = (settings.offset, settings.seconds) if settings.trim_db is None else None
    return decode.fetch(path, sha256=sha256, window=window)


def condition(recording: decode.Recording, settings: Audio) -> decode.Array:
    """Turn a recording into the signal that is analysed, of shape ``(samples,)``.

    Without trimming the stretch of time is cut out before it is resampled, as published systems do.
    """
    if settings.trim_db is None:
        first = max(0, round(settings.offset * recording.sample_rate) - recording.first)
        stop = first + round(settings.seconds * recording.sample_rate)
        recording = replace(recording, samples=recording.samples[first:stop])
        settings = replace(settings, offset=0.0)
    return preprocess.condition(decode.signal(recording, settings.sample_rate), settings)


def make(
    recording: decode.Recording, recipe: Recipe, samples_sha256: str, wanted: Mapping[str, Sequence[str]]
) -> dict[str, Entry]:
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


def analyse(signal: decode.Array, recipe: Recipe, views: Iterable[str]) -> dict[str, Any]:
    """Make the views of one variant in their stored dtype: rounding to it is a view's last step, wherever made."""
    fitted = preprocess.fit_length(signal, recipe.samples) if recipe.audio.pad == "signal" else signal[: recipe.samples]
    configs = {view: recipe.view(view) for view in views}
    made = signal_views.compute_views(fitted, recipe.audio.sample_rate, configs)
    full = {view: signal_views.lengthen(made[view], recipe.frames(view)) for view in made}
    return {view: tensor.astype(DTYPES[view], copy=False) for view, tensor in full.items()}


def entry(tensors: list[decode.Array], variants: list[decode.Array], recipe: Recipe, view: str) -> Entry:
    """Stack the rows of one view and count their frames with sound."""
    longest, hop = tensors[0].shape[0], recipe.view(view).hop
    valid = [min(longest, frames(len(variant), hop)) for variant in variants]
    return Entry(np.stack(tensors), np.array(valid, np.int32))
