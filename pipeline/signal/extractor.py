"""From a decoded recording to stored features: the one signal path of the clip cache, the command line and serving."""

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

Keys = dict[str, dict[str, str]]  # view -> variant -> key, of one clip
LARGEST = 2**26  # values in a view of one clip: 256 MiB
DTYPES = {"mfcc": "float32", "logmel": "float16"}  # float16 resolves 0.03 dB at -80 dB, but only 0.5 at MFCC's c0


@dataclass(frozen=True)
class Entry:
    """One view of one clip: ``tensors`` of shape ``(variants, frames, bins)``, and the frames that hold sound."""

    tensors: npt.NDArray[Any]
    valid_frames: npt.NDArray[np.int32]


def row_key(samples_sha256: str, sample_rate: int, view: str, variant: str) -> str:
    """Return the key of a row: hash of the samples and their rate in Hz, and of the hashes of view and variant."""
    return hashlib.sha256(f"{samples_sha256} {sample_rate} {view} {variant}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Features:
    """Settings of the views."""

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
                    f"params.yaml: features.{name} makes {size:,} values of a clip of audio.seconds "
                    f"{self.audio.seconds:g}, at most {LARGEST:,} are allowed: "
                    "raise its hop, or lower audio.seconds."
                )

    def view(self, name: str) -> Mfcc | LogMel:
        """The settings of one view."""
        if str(name) not in DTYPES:  # str, as a list is not hashable
            raise UnknownNameError("model.features", name, DTYPES)
        settings: Mfcc | LogMel = getattr(self.features, name)
        return settings

    @property
    def samples(self) -> int:
        """Samples of every signal after it is fitted to its length."""
        return round(self.audio.seconds * self.audio.sample_rate)

    def frames(self, view: str) -> int:
        """Frames of every row of a view."""
        return frames(self.samples, self.view(view).hop)


def from_params(params: Mapping[str, Any]) -> Recipe:
    """Read the sections of params.yaml that decide the features, and no others."""
    names = ("audio", "augment", "features")
    sections = {name: config.get(params, name) for name in names}
    return config.build(Recipe, {"seed": config.seed(params)} | sections)


def identity(settings: Recipe, view: str) -> dict[str, Any]:
    """Return what decides the values of a view, except recording and variant; nothing of other views."""
    versions = {"audio": decode.VERSION, "conditioning": preprocess.VERSION, "frontend": signal_views.VERSION}
    sections = {"audio": asdict(settings.audio), view: asdict(settings.view(view))}
    return {"view": view, "dtype": DTYPES[view], "settings": sections, "versions": versions}


def draw(settings: Recipe, recording: str) -> dict[str, tuple[Step, ...]]:
    """Draw the numbers of every variant of the recording with this samples_sha256."""
    generators = {name: augment.generator(settings.seed, recording, name) for name in settings.augment.copies}
    copies = {name: augment.draw(name, settings.augment, rng) for name, rng in generators.items()}
    return {ORIGINAL: ()} | copies


def keys(settings: Recipe, views: Iterable[str], recordings: Iterable[tuple[str, int]]) -> Iterator[Keys]:
    """Return the row keys of each recording, given as samples_sha256 and sample rate in Hz."""
    view_hashes = {view: files.text_hash(identity(settings, view)) for view in views}
    for samples_sha256, sample_rate in recordings:
        drawn = draw(settings, samples_sha256)
        variant_hashes = {variant: files.text_hash(spell(steps)) for variant, steps in drawn.items()}
        yield {
            view: {
                variant: row_key(samples_sha256, sample_rate, view_hash, variant_hash)
                for variant, variant_hash in variant_hashes.items()
            }
            for view, view_hash in view_hashes.items()
        }


def spell(steps: Iterable[Step]) -> dict[str, Any]:
    """Return what decides a variant; the original does not depend on the version of the augmentation."""
    drawn = [vars(step) for step in steps]
    return {"steps": drawn, "versions": [augment.VERSION, vocoder.VERSION]} if drawn else {}


def layout(settings: Recipe, view: str) -> shards.Layout:
    view_settings = settings.view(view)
    bins = signal_views.bin_names(view_settings)
    return shards.Layout(
        view=view,
        shape=(settings.frames(view), len(bins)),
        dtype=DTYPES[view],
        unit=signal_views.view_unit(view_settings),
        rows=bins,
        identity=identity(settings, view),
        augment={name: augment.identity(settings.augment, name) for name in variants(settings.augment)},
    )


def fetch(path: Path, settings: Audio, *, sha256: str) -> decode.Recording:
    """Decode what `condition` needs of a file that was ingested.

    Raises:
        AudioError: it cannot be decoded, or has changed since.
    """
    window = (settings.offset, settings.seconds) if settings.trim_db is None else None
    return decode.fetch(path, sha256=sha256, window=window)


def condition(recording: decode.Recording, settings: Audio) -> decode.Array:
    """Make the signal that is analysed from a recording. Shape ``(samples,)``.

    Without trimming, offset and length are applied before resampling, as in published systems.
    """
    if settings.trim_db is None:
        first = max(0, round(settings.offset * recording.sample_rate) - recording.first)
        stop = first + round(settings.seconds * recording.sample_rate)
        recording = replace(recording, samples=recording.samples[first:stop])
        settings = replace(settings, offset=0.0)
    return preprocess.condition(decode.signal(recording, settings.sample_rate), settings)


def make(
    recording: decode.Recording, settings: Recipe, samples_sha256: str, wanted: Mapping[str, Sequence[str]]
) -> dict[str, Entry]:
    """Extract the features of one clip.

    Args:
        recording: the decoded file.
        settings: of the extractor.
        samples_sha256: of the recording; it seeds the variants.
        wanted: the variants of each view; views share each variant's signal and spectrum.
    """
    drawn = draw(settings, samples_sha256)
    names = dict.fromkeys(name for each in wanted.values() for name in each)
    original = condition(recording, settings.audio)
    signals = augment.apply_all(original, {name: drawn[name] for name in names})
    tensors = {}
    for name, signal in signals.items():
        views = [view for view in wanted if name in wanted[view]]
        tensors[name] = analyse(signal, settings, views)
    return {
        view: entry([tensors[name][view] for name in names], [signals[name] for name in names], settings, view)
        for view, names in wanted.items()
    }


def analyse(signal: decode.Array, settings: Recipe, views: Iterable[str]) -> dict[str, Any]:
    """Compute views of one variant in their stored dtype, to which they are rounded last wherever they are computed."""
    signal = signal[: settings.samples]
    if settings.audio.pad == "signal":
        signal = preprocess.fit_length(signal, settings.samples)
    configs = {view: settings.view(view) for view in views}
    computed = signal_views.compute_views(signal, settings.audio.sample_rate, configs)
    padded = {view: signal_views.lengthen(tensor, settings.frames(view)) for view, tensor in computed.items()}
    return {view: tensor.astype(DTYPES[view], copy=False) for view, tensor in padded.items()}


def entry(tensors: list[decode.Array], variants: list[decode.Array], settings: Recipe, view: str) -> Entry:
    """Stack the variants of one view and count their frames with sound."""
    longest, hop = tensors[0].shape[0], settings.view(view).hop
    valid = [min(longest, frames(len(variant), hop)) for variant in variants]
    return Entry(np.stack(tensors), np.array(valid, np.int32))
