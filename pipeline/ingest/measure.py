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
MAX_SECONDS = 86_400  # s of a clip: a day
MIN_DBFS = -200  # dBFS, the value of digital silence
CLIPPED_RUN = 3  # samples; EmoDB is peak-normalised, so one or two at full scale are not clipping


@dataclass(frozen=True, kw_only=True)
class ClipLimits:
    """Section ``ingest`` of params.yaml: the limits of a usable clip, and the tolerated share of others."""

    max_bad: float = 0.01  # share of the files, duplicates not counted
    min_seconds: float = 0.5
    max_seconds: float = 60.0
    silent_dbfs: float = -60.0  # peak level: a limit on RMS would reject the quiet actors of RAVDESS

    def __post_init__(self) -> None:
        config.check_share(self.max_bad, "ingest.max_bad")
        if not 0 < self.min_seconds < self.max_seconds <= MAX_SECONDS:
            raise SettingError(
                f"params.yaml: ingest needs 0 < min_seconds < max_seconds <= {MAX_SECONDS}, "
                f"got {self.min_seconds} and {self.max_seconds}."
            )
        if not MIN_DBFS <= self.silent_dbfs <= 0:
            raise SettingError(
                f"params.yaml: ingest.silent_dbfs is {self.silent_dbfs}, expected dBFS from {MIN_DBFS} to 0."
            )


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
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


def measure_file(path: Path, limits: ClipLimits, *, name: str) -> AudioInfo:
    """Decode and measure a file. ``name`` stands for it in messages."""
    try:
        data = paths.read_file(path)
    except OSError as error:
        return AudioInfo(sha256="", status="unreadable", detail=f"{name} cannot be read: {error.strerror}.")
    digest = hashlib.sha256(data).hexdigest()
    try:
        recording = decode.decode_audio(data, max_seconds=limits.max_seconds, name=name)
    except AudioError as error:
        return AudioInfo(sha256=digest, status=error.status, detail=str(error))
    return _measure_recording(recording, digest, limits, name=name)


def _measure_recording(recording: decode.Recording, sha256: str, limits: ClipLimits, *, name: str) -> AudioInfo:
    """Measure decoded samples."""
    frames = len(recording.samples)
    seconds = frames / recording.sample_rate
    peak, rms = peak_and_rms(recording.samples)
    status, detail = _check_clip(seconds, peak, limits, name=name)
    return AudioInfo(
        sha256=sha256,
        samples_sha256=decode.hash_samples(recording.samples),
        mono_sha256=decode.hash_samples(decode.merge_equal_channels(recording.samples)),
        sample_rate=recording.sample_rate,
        channels=recording.samples.shape[1],
        frames=frames,
        seconds=round(seconds, 6),
        peak_dbfs=peak,
        rms_dbfs=rms,
        status=status,
        warnings=",".join(list_warnings(recording, name)),
        detail=detail,
    )


def peak_and_rms(samples: npt.NDArray[Any]) -> tuple[float, float]:
    """Return peak and RMS over all channels in dBFS, measured before mixing to mono.

    Shape: ``(frames, channels)``.
    """
    signal = np.asarray(samples * decode.full_scale_factor(samples), np.float32)
    rms = np.sqrt(np.mean(np.square(signal, dtype=np.float64))) if signal.size else 0.0
    return to_dbfs(float(np.abs(signal).max(initial=0))), to_dbfs(float(rms))


def to_dbfs(amplitude: float) -> float:
    """Convert an amplitude to dBFS, at least -200, rounded to 0.01 dB.

    >>> to_dbfs(0.5), to_dbfs(0.0)
    (-6.02, -200.0)
    """
    return round(20 * float(np.log10(max(amplitude, 1e-10))), 2) + 0.0


def _check_clip(seconds: float, peak: float, limits: ClipLimits, *, name: str) -> tuple[str, str]:
    """Return status and message for a decoded clip."""
    if seconds < limits.min_seconds:
        return "too_short", f"{name} lasts {seconds:.3g} s, at least {limits.min_seconds:g} s are expected."
    if peak < limits.silent_dbfs:
        return "silent", f"{name} has its peak at {peak:g} dBFS, below {limits.silent_dbfs:g} dBFS nobody speaks."
    return "ok", ""


def list_warnings(recording: decode.Recording, name: str) -> list[str]:
    """List the warnings about a usable clip."""
    expected = CONTAINERS.get(PurePath(name).suffix.lower(), {recording.container})
    found = {
        "clipped": _is_clipped(recording),
        "misnamed": recording.container not in expected,
        "stereo": recording.samples.shape[1] > 1,
        "cancelling": decode.channels_cancel(recording.samples),
    }
    return [*(word for word, true in found.items() if true), *recording.doubts]


def _is_clipped(recording: decode.Recording) -> bool:
    """Check for three or more consecutive samples at full scale."""
    samples = recording.samples
    limit = FULL_SCALE * 32768 if samples.dtype == np.int16 else FULL_SCALE
    top = (samples >= limit) | (samples <= -limit)
    run = top[: len(top) - CLIPPED_RUN + 1].copy()
    for step in range(1, CLIPPED_RUN):
        run &= top[step : len(top) - CLIPPED_RUN + 1 + step]
    return bool(run.any())
