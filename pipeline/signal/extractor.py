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
from pipeline.signal import augment, preprocess
from pipeline.signal import views as signal_views
from pipeline.signal.augment import Step
from pipeline.signal.settings import Audio, Augment, LogMel, Mfcc, check_band_limits, variant_names
from pipeline.signal.stft import frame_count

ClipKeys = dict[str, dict[str, str]]  # view -> variant -> key, of one clip
MAX_VALUES = 2**26  # values in a view of one clip: 256 MiB
DTYPES = {"mfcc": "float32", "logmel": "float16"}  # float16 resolves 0.03 dB at -80 dB, but only 0.5 at MFCC's c0


@dataclass(frozen=True)
class ClipFeatures:
    """One view of one clip: ``tensors`` of shape ``(variants, frames, bins)``, and the frames that hold sound."""

    tensors: npt.NDArray[Any]
    valid_frames: npt.NDArray[np.int32]


def _row_key(samples_sha256: str, sample_rate: int, view: str, variant: str) -> str:
    """Return the key of a row: hash of the samples and their rate in Hz, and of the hashes of view and variant."""
    return hashlib.sha256(f"{samples_sha256} {sample_rate} {view} {variant}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """Settings of the views."""

    mfcc: Mfcc
    logmel: LogMel


@dataclass(frozen=True, kw_only=True)
class ExtractorSettings:
    """All settings that decide what is stored."""

    seed: int
    audio: Audio
    augment: Augment
    features: ViewSettings

    def __post_init__(self) -> None:
        for name in DTYPES:
            check_band_limits(self.view(name), self.audio.sample_rate)
            size = self.frames(name) * len(signal_views.bin_names(self.view(name)))
            if size > MAX_VALUES:
                raise SettingError(
                    f"params.yaml: features.{name} makes {size:,} values of a clip of audio.seconds "
                    f"{self.audio.seconds:g}, at most {MAX_VALUES:,} are allowed: "
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
        return frame_count(self.samples, self.view(view).hop)


def settings_from_params(params: Mapping[str, Any]) -> ExtractorSettings:
    """Read the sections of params.yaml that decide the features, and no others."""
    names = ("audio", "augment", "features")
    sections = {name: config.get_setting(params, name) for name in names}
    return config.build_dataclass(ExtractorSettings, {"seed": config.read_seed(params)} | sections)


def view_identity(settings: ExtractorSettings, view: str) -> dict[str, Any]:
    """Return what decides the values of a view, except recording and variant; nothing of other views."""
    versions = {"audio": decode.VERSION, "conditioning": preprocess.VERSION, "frontend": signal_views.VERSION}
    sections = {"audio": asdict(settings.audio), view: asdict(settings.view(view))}
    return {"view": view, "dtype": DTYPES[view], "settings": sections, "versions": versions}


def _draw_variants(settings: ExtractorSettings, recording: str) -> dict[str, tuple[Step, ...]]:
    """Draw the numbers of every variant of the recording with this samples_sha256."""
    generators = {name: augment.random_generator(settings.seed, recording, name) for name in settings.augment.copies}
    copies = {name: augment.draw_steps(name, settings.augment, rng) for name, rng in generators.items()}
    return {ORIGINAL: ()} | copies


def row_keys(
    settings: ExtractorSettings, views: Iterable[str], recordings: Iterable[tuple[str, int]]
) -> Iterator[ClipKeys]:
    """Return the row keys of each recording, given as samples_sha256 and sample rate in Hz."""
    view_hashes = {view: files.text_hash(view_identity(settings, view)) for view in views}
    for samples_sha256, sample_rate in recordings:
        drawn = _draw_variants(settings, samples_sha256)
        variant_hashes = {variant: files.text_hash(_variant_content(steps)) for variant, steps in drawn.items()}
        yield {
            view: {
                variant: _row_key(samples_sha256, sample_rate, view_hash, variant_hash)
                for variant, variant_hash in variant_hashes.items()
            }
            for view, view_hash in view_hashes.items()
        }


def _variant_content(steps: Iterable[Step]) -> dict[str, Any]:
    """Return what decides a variant; the original does not depend on the version of the augmentation."""
    drawn = [vars(step) for step in steps]
    return {"steps": drawn, "versions": [augment.VERSION, augment.VOCODER_VERSION]} if drawn else {}


def shard_layout(settings: ExtractorSettings, view: str) -> shards.Layout:
    view_settings = settings.view(view)
    bins = signal_views.bin_names(view_settings)
    return shards.Layout(
        view=view,
        shape=(settings.frames(view), len(bins)),
        dtype=DTYPES[view],
        unit=signal_views.view_unit(view_settings),
        rows=bins,
        identity=view_identity(settings, view),
        augment={name: augment.variant_identity(settings.augment, name) for name in variant_names(settings.augment)},
    )


def decode_clip(path: Path, settings: Audio, *, sha256: str) -> decode.Recording:
    """Decode what `prepare_signal` needs of a file that was ingested.

    Raises:
        AudioError: it cannot be decoded, or has changed since.
    """
    window = (settings.offset, settings.seconds) if settings.trim_db is None else None
    return decode.read_recording(path, sha256=sha256, window=window)


def prepare_signal(recording: decode.Recording, settings: Audio) -> decode.Array:
    """Make the signal that is analysed from a recording. Shape ``(samples,)``.

    Without trimming, offset and length are applied before resampling, as in published systems.
    """
    if settings.trim_db is None:
        first = max(0, round(settings.offset * recording.sample_rate) - recording.first)
        stop = first + round(settings.seconds * recording.sample_rate)
        recording = replace(recording, samples=recording.samples[first:stop])
        settings = replace(settings, offset=0.0)
    return preprocess.preprocess_signal(decode.mono_signal(recording, settings.sample_rate), settings)


def extract_features(
    recording: decode.Recording, settings: ExtractorSettings, samples_sha256: str, wanted: Mapping[str, Sequence[str]]
) -> dict[str, ClipFeatures]:
    """Extract the features of one clip.

    Args:
        recording: the decoded file.
        settings: of the extractor.
        samples_sha256: of the recording; it seeds the variants.
        wanted: the variants of each view; views share each variant's signal and spectrum.
    """
    drawn = _draw_variants(settings, samples_sha256)
    names = dict.fromkeys(name for each in wanted.values() for name in each)
    original = prepare_signal(recording, settings.audio)
    signals = augment.make_variants(original, {name: drawn[name] for name in names})
    tensors = {}
    for name, signal in signals.items():
        views = [view for view in wanted if name in wanted[view]]
        tensors[name] = stored_views(signal, settings, views)
    return {
        view: stack_variants([tensors[name][view] for name in names], [signals[name] for name in names], settings, view)
        for view, names in wanted.items()
    }


def stored_views(signal: decode.Array, settings: ExtractorSettings, views: Iterable[str]) -> dict[str, Any]:
    """Compute views of one variant in their stored dtype, to which they are rounded last wherever they are computed."""
    signal = signal[: settings.samples]
    if settings.audio.pad == "signal":
        signal = preprocess.fix_length(signal, settings.samples)
    configs = {view: settings.view(view) for view in views}
    computed = signal_views.compute_views(signal, settings.audio.sample_rate, configs)
    padded = {view: signal_views.pad_frames(tensor, settings.frames(view)) for view, tensor in computed.items()}
    return {view: tensor.astype(DTYPES[view], copy=False) for view, tensor in padded.items()}


def stack_variants(
    tensors: list[decode.Array], variants: list[decode.Array], settings: ExtractorSettings, view: str
) -> ClipFeatures:
    """Stack the variants of one view and count their frames with sound."""
    longest, hop = tensors[0].shape[0], settings.view(view).hop
    valid = [min(longest, frame_count(len(variant), hop)) for variant in variants]
    return ClipFeatures(np.stack(tensors), np.array(valid, np.int32))
