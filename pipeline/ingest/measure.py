"""Measure audio files: the columns of the manifest derived from the samples."""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.audio import decode
from pipeline.core import config, paths
from pipeline.core.errors import AudioError, SettingError

CONTAINERS = {
    ".wav": {"WAV", "WAVEX", "RF64"}, ".flac": {"FLAC"}, ".ogg": {"OGG"}, ".oga": {"OGG"}, ".opus": {"OGG"},
    ".mp3": {"MPEG", "MP3"}, ".aif": {"AIFF"}, ".aiff": {"AIFF"}, ".au": {"AU"}, ".w64": {"W64"}, ".caf": {"CAF"},
}  # fmt: skip
FULL_SCALE = 32767 / 32768  # the largest positive int16
LONGEST = 86_400  # s of a clip: a day
QUIETEST = -200  # dBFS, the value of digital silence
FLAT_TOP = 3  # samples; EmoDB is peak-normalised, so one or two at full scale are not clipping


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Section ``ingest`` of params.yaml: the limits of a usable clip, and the tolerated share of others."""

    max_bad: float = 0.01  # share of the files, duplicates not counted
    min_seconds: float = 0.5
    max_seconds: float = 60.0
    silent_dbfs: float = -60.0  # peak level: a limit on RMS would reject the quiet actors of RAVDESS

    def __post_init__(self) -> None:
        config.share(self.max_bad, "ingest.max_bad")
        if not 0 < self.min_seconds < self.max_seconds <= LONGEST:
            raise SettingError(
                f"params.yaml: ingest needs 0 < min_seconds < max_seconds <= {LONGEST}, "
                f"got {self.min_seconds} and {self.max_seconds}."
            )
        if not QUIETEST <= self.silent_dbfs <= 0:
            raise SettingError(
                f"params.yaml: ingest.silent_dbfs is {self.silent_dbfs}, expected dBFS from {QUIETEST} to 0."
            )


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Measurements of one file, None if it was not decoded; ``status`` is ``ok`` or the reason for rejection."""

    sha256: str
    samples_sha256: str = ""
    mono_sha256: str = ""  # after merging equal channels, to find duplicates with other channel counts
    sample_rate: int | None = None  # Hz
    channels: int | None = None
    frames: int | None = None
    seconds: float | None = None
    peak_dbfs: float | None = None
    rms_dbfs: float | None = None
    status: str = "ok"
    warnings: str = ""  # joined by commas
    detail: str = ""


def examine(path: Path, limits: Limits, *, name: str) -> Facts:
    """Decode and measure a file. ``name`` stands for it in messages."""
    try:
        data = paths.content(path)
    except OSError as error:
        return Facts(sha256="", status="unreadable", detail=f"{name} cannot be read: {error.strerror}.")
    digest = hashlib.sha256(data).hexdigest()
    try:
        recording = decode.decode(data, max_seconds=limits.max_seconds, name=name)
    except AudioError as error:
        return Facts(sha256=digest, status=error.status, detail=str(error))
    return measure(recording, digest, limits, name=name)


def measure(recording: decode.Recording, sha256: str, limits: Limits, *, name: str) -> Facts:
    """Measure decoded samples."""
    frames = len(recording.samples)
    seconds = frames / recording.sample_rate
    peak, rms = levels(recording.samples)
    status, detail = verdict(seconds, peak, limits, name=name)
    return Facts(
        sha256=sha256,
        samples_sha256=decode.samples_hash(recording.samples),
        mono_sha256=decode.samples_hash(decode.same_channels(recording.samples)),
        sample_rate=recording.sample_rate,
        channels=recording.samples.shape[1],
        frames=frames,
        seconds=round(seconds, 6),
        peak_dbfs=peak,
        rms_dbfs=rms,
        status=status,
        warnings=",".join(oddities(recording, name)),
        detail=detail,
    )


def levels(samples: npt.NDArray[Any]) -> tuple[float, float]:
    """Return peak and RMS over all channels in dBFS, measured before mixing to mono.

    Shape: ``(frames, channels)``.
    """
    signal = np.asarray(samples * decode.scale(samples), np.float32)
    rms = np.sqrt(np.mean(np.square(signal, dtype=np.float64))) if signal.size else 0.0
    return level(float(np.abs(signal).max(initial=0))), level(float(rms))


def level(amplitude: float) -> float:
    """Convert an amplitude to dBFS, at least -200, rounded to 0.01 dB.

    >>> level(0.5), level(0.0)
    (-6.02, -200.0)
    """
    return round(20 * float(np.log10(max(amplitude, 1e-10))), 2) + 0.0


def verdict(seconds: float, peak: float, limits: Limits, *, name: str) -> tuple[str, str]:
    """Return status and message for a decoded clip."""
    if seconds < limits.min_seconds:
        return "too_short", f"{name} lasts {seconds:.3g} s, at least {limits.min_seconds:g} s are expected."
    if peak < limits.silent_dbfs:
        return "silent", f"{name} has its peak at {peak:g} dBFS, below {limits.silent_dbfs:g} dBFS nobody speaks."
    return "ok", ""


def oddities(recording: decode.Recording, name: str) -> list[str]:
    """List the warnings about a usable clip."""
    expected = CONTAINERS.get(PurePath(name).suffix.lower(), {recording.container})
    found = {
        "clipped": is_clipped(recording),
        "misnamed": recording.container not in expected,
        "stereo": recording.samples.shape[1] > 1,
        "cancelling": decode.channels_cancel(recording.samples),
    }
    return [*(word for word, true in found.items() if true), *recording.doubts]


def is_clipped(recording: decode.Recording) -> bool:
    """Check for three or more consecutive samples at full scale."""
    samples = recording.samples
    limit = FULL_SCALE * 32768 if samples.dtype == np.int16 else FULL_SCALE
    top = (samples >= limit) | (samples <= -limit)
    run = top[: len(top) - FLAT_TOP + 1].copy()
    for step in range(1, FLAT_TOP):
        run &= top[step : len(top) - FLAT_TOP + 1 + step]
    return bool(run.any())
