"""Command ``inspect``: pictures of recordings, with the waveform and the views that are model inputs."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline import parallel
from pipeline.audio import decode
from pipeline.core import files
from pipeline.core.errors import AudioError, SettingError
from pipeline.core.labels import ORIGINAL
from pipeline.core.plotting import Figure
from pipeline.ingest import measure
from pipeline.report import figures
from pipeline.signal import extractor, preprocess
from pipeline.signal.settings import Audio
from pipeline.tools import sheet
from pipeline.tools.find_audio import find_audio_files
from pipeline.tools.sheet import SheetRecording, draw_sheet

STAMP = "DEMO: synthetic speech"
CHANNELS = {1: "mono", 2: "stereo"}


@dataclass(frozen=True)
class InspectResult:
    """The pictures that were drawn, and a message for each file that gave none."""

    pictures: tuple[Path, ...]
    failures: tuple[str, ...]
    paths: tuple[Path, ...]  # of all files


def draw_pictures(
    paths: Sequence[str], output: Path | None, *, settings: extractor.ExtractorSettings, processes: int
) -> InspectResult:
    """Draw one picture for each recording that ``paths`` name; bad files do not stop the others.

    Args:
        paths: files, folders and glob patterns.
        output: a picture, or a folder; by default the current folder.
        settings: of the extractor.
        processes: number of processes.

    Raises:
        SettingError: a path matches nothing, two clips have the same picture, or its path is taken by another file.
    """
    failures: list[str] = []
    found = find_audio_files(paths, failures)
    targets = picture_paths(list(found), output)
    for target in targets:
        files.check_output(picture_output(target))
    items = [(path, target.absolute()) for path, target in zip(found.values(), targets, strict=True)]
    work = partial(_draw_file, settings=settings)
    results = list(parallel.parallel_map(work, items, crew=parallel.Executor(processes), label="inspect"))
    good = tuple(target for target, failure in zip(targets, results, strict=True) if not failure)
    return InspectResult(good, tuple(filter(None, [*failures, *results])), tuple(found.values()))


def picture_output(target: Path) -> files.Output:
    """Describe the picture to be written."""
    return files.Output(path=target, what="a picture", ours=figures.is_own_figure)


def picture_paths(clips: Sequence[str], output: Path | None) -> list[Path]:
    """Return the path of the picture of each clip.

    >>> [path.as_posix() for path in picture_paths(["a/x.wav", "b/x.wav"], Path("out"))]
    ['out/a/x.png', 'out/b/x.png']
    """
    if output is None:
        return _check_distinct(clips, [Path(f"{PurePosixPath(clip).stem}.png") for clip in clips])
    if output.is_dir() or not output.suffix:
        return _check_distinct(clips, [output / PurePosixPath(clip).with_suffix(".png") for clip in clips])
    if output.suffix.casefold() != ".png":
        raise SettingError(f"{output} has the suffix {output.suffix!r}: name a .png, or a folder that exists.")
    if len(clips) > 1:
        raise SettingError(f"{output} is one picture, but there are {len(clips)} clips: name a folder.")
    return [output]


def _check_distinct(clips: Sequence[str], targets: Sequence[Path]) -> list[Path]:
    """Check that no two clips have the same picture."""
    first: dict[Path, str] = {}
    for clip, target in zip(clips, targets, strict=True):
        if first.setdefault(target, clip) != clip:
            raise SettingError(f"{first[target]} and {clip} would both become {target}: draw one of them with -o.")
    return list(targets)


def _draw_file(item: tuple[Path, Path], *, settings: extractor.ExtractorSettings) -> str:
    """Draw one clip; return what went wrong, or an empty text."""
    path, target = item
    try:
        recording = decode.read_recording(path)
    except AudioError as error:
        return str(error)
    if not len(recording.samples):
        return f"{path} holds no samples: export it again."
    with files.replace_output(picture_output(target)) as part, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # characters that the font lacks become boxes
        stamp = STAMP if _is_synthetic(path) else ""
        figures.save_figure(draw_picture(recording, settings, name=path.name, stamp=stamp), part)
    return ""


def _is_synthetic(path: Path) -> bool:
    """Say whether the demo made this file."""
    return any((folder / files.SYNTHETIC_MARKER).is_file() for folder in path.resolve().parents)


def draw_picture(
    recording: decode.Recording, settings: extractor.ExtractorSettings, *, name: str, stamp: str = ""
) -> Figure:
    """Draw a recording and its views, with the values that the clip cache holds."""
    rate, features = settings.audio.sample_rate, settings.features
    signal = decode.mono_signal(recording, rate)
    kept = analysed_span(signal, settings.audio)
    views = _original_bins(recording, settings)
    spectrogram = sheet.spectrogram_panel(views["logmel"], features.logmel, rate)
    others = sheet.cepstral_panels(views["mfcc"], features.mfcc, rate)
    lines = (_describe_recording(recording), _describe_analysed(kept, settings.audio))
    return draw_sheet(
        SheetRecording(name=name, facts=lines, waveform=signal, rate=rate, kept=kept),
        [spectrogram, *others],
        stamp=stamp,
    )


def _original_bins(recording: decode.Recording, settings: extractor.ExtractorSettings) -> dict[str, sheet.Bins]:
    """Extract all views of the original clip, as named bins without padding."""
    wanted = dict.fromkeys(extractor.DTYPES, (ORIGINAL,))
    made = extractor.extract_features(recording, settings, decode.hash_samples(recording.samples), wanted)
    return {
        view: dict(
            zip(
                extractor.shard_layout(settings, view).rows,
                features.tensors[0, : features.valid_frames[0]].T,
                strict=True,
            )
        )
        for view, features in made.items()
    }


def analysed_span(signal: decode.Array, settings: Audio) -> tuple[float, float]:
    """Return start and end in s of the part of a signal that is analysed; they are equal if nothing is left."""
    rate, size = settings.sample_rate, len(signal)
    kept = preprocess.preprocess_signal(signal, settings)
    if not np.shares_memory(kept, signal):  # nothing is left: the result is a new zero
        return size / rate, size / rate
    first = (kept.ctypes.data - signal.ctypes.data) // signal.itemsize
    return first / rate, (first + len(kept)) / rate


def _describe_recording(recording: decode.Recording) -> str:
    """Describe a recording, with the levels in the manifest.

    >>> _describe_recording(decode.Recording(np.float32([[0.5, 0.5], [0, 0]]), 22_050, "WAV"))
    '22.05 kHz · stereo · 0.00 s · peak −6.0 dBFS · RMS −9.0 dBFS'
    """
    samples, rate = recording.samples, recording.sample_rate
    peak, rms = measure.peak_and_rms(samples)
    channels = CHANNELS.get(samples.shape[1], f"{samples.shape[1]} channels")
    loud = f"peak {peak:.1f} dBFS · RMS {rms:.1f} dBFS".replace("-", "−") if samples.any() else "digital silence"
    cancel = " · channels cancel, the loudest is drawn" if decode.channels_cancel(samples) else ""
    return f"{rate / 1000:g} kHz · {channels} · {len(samples) / rate:.2f} s · {loud}{cancel}"


def _describe_analysed(kept: tuple[float, float], settings: Audio) -> str:
    """Describe the part that is analysed.

    >>> _describe_analysed((1.0, 2.5), Audio())
    'analysed: 1.50 s at 16 kHz, trimmed at 30 dB, padded to 3 s'
    """
    seconds = kept[1] - kept[0]
    words = [f"analysed: {seconds:.2f} s at {settings.sample_rate / 1000:g} kHz"]
    words += [] if settings.trim_db is None else [f"trimmed at {settings.trim_db:g} dB"]
    words += [f"padded to {settings.seconds:g} s"] if seconds < settings.seconds - 0.005 else []
    return ", ".join(words)
