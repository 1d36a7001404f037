"""Decode through libsndfile, mix down, resample with soxr, and name a recording by its samples."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from pipeline import paths
from pipeline.errors import AudioError
from pipeline.store.headers import promises_more

VERSION = 1  # raise it when the same file would give other samples
Array = npt.NDArray[np.float32]
Window = tuple[float, float]  # s before it, s within
POINTER = b"version https://git-lfs"
SIXTEEN_BITS = {"PCM_16", "PCM_S8", "PCM_U8"}  # int16 holds all they say
UNSTATED = 2**48  # frames; libsndfile says more where a FLAC states no length, and no recording lasts for decades
RATES = (1_000, 768_000)  # Hz, what recordings have
LOUDEST = 2**31  # full scales: some programs write whole numbers of 32 bits as floats, only damage says more
SOUGHT = {"WAV", "WAVEX", "FLAC", "AIFF"}  # formats in which a seek lands on the very frame


@dataclass(frozen=True)
class Recording:
    """One decoded file. ``samples`` has shape ``(frames, channels)``, int16 or float32 at full scale 1."""

    samples: npt.NDArray[Any]
    sample_rate: int  # Hz
    container: str  # libsndfile's word: WAV, FLAC, AIFF…
    first: int = 0  # frames of the file that lie before the samples


class Source(io.BytesIO):
    """Bytes in which a seek to nowhere stays where it is, as in a file; damaged headers ask for that."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to ``offset`` and return the position."""
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def decode(
    data: bytes, *, max_seconds: float = float("inf"), name: str = "the file", window: Window | None = None
) -> Recording:
    """Decode the bytes of an audio file, or a window of it where the format can be sought.

    Raises:
        AudioError: its status is ``empty``, ``lfs_pointer``, ``unreadable``, ``truncated``, ``too_long`` or
            ``not_finite``.
    """
    if not data:
        raise AudioError("empty", f"{name} has no bytes: fetch it again.")
    if data.startswith(POINTER):
        raise AudioError(
            "lfs_pointer", f"{name} is a Git-LFS pointer, not audio: run 'git lfs pull' where it came from."
        )
    try:
        file = soundfile.SoundFile(Source(data))
    except soundfile.LibsndfileError as error:
        raise AudioError("unreadable", f"{name} is no audio that libsndfile reads; it begins {data[:24]!r}.") from error
    with file:
        refuse_header(file, max_seconds, name)
        first, promised = stretch(file, window)
        recording = read(file, first, promised, name)
    if len(recording.samples) < promised or promises_more(data):
        raise AudioError("truncated", f"{name} ends before the length its header states: fetch it again.")
    refuse_values(recording.samples, name)
    return recording


def refuse_header(file: soundfile.SoundFile, max_seconds: float, name: str) -> None:
    """Refuse what no recording says of itself, and hours of sound before they are decoded."""
    low, high = RATES
    if not low <= file.samplerate <= high:
        raise AudioError(
            "unreadable",
            f"{name} states {file.samplerate} Hz, recordings have {low} to {high} Hz: fetch or export it again.",
        )
    if file.frames >= UNSTATED:
        raise AudioError("unreadable", f"{name} was written to a pipe and does not state its length: encode it again.")
    seconds = file.frames / file.samplerate
    if seconds > max_seconds:
        raise AudioError(
            "too_long", f"{name} lasts {seconds:.0f} s, the limit is {max_seconds:g} s: cut it into clips."
        )


def stretch(file: soundfile.SoundFile, window: Window | None) -> tuple[int, int]:
    """Give the first frame to read and how many."""
    if window is None or file.format not in SOUGHT:
        return 0, file.frames
    first = min(file.frames, round(window[0] * file.samplerate))
    return first, min(file.frames - first, round(window[1] * file.samplerate))


def read(file: soundfile.SoundFile, first: int, count: int, name: str) -> Recording:
    """Read ``count`` frames from ``first`` on: int16 where that is exact, else float32.

    A cut Ogg file cannot be told from a whole one, for it states no length.
    """
    kind = "int16" if file.subtype in SIXTEEN_BITS else "float32"
    try:
        if first:
            file.seek(first)
        return Recording(file.read(count, dtype=kind, always_2d=True), file.samplerate, file.format, first)
    except soundfile.LibsndfileError as error:
        raise AudioError("truncated", f"{name} breaks off or is damaged within: fetch it again.") from error
    except MemoryError as error:
        raise AudioError(
            "too_long",
            f"{name} states {file.frames} frames, more than the memory holds: cut it into clips, or fetch it again.",
        ) from error


def refuse_values(samples: npt.NDArray[Any], name: str) -> None:
    """Refuse floats that are no sound."""
    if samples.dtype != np.float32:
        return
    peak = np.abs(samples).max(initial=0)
    if not np.isfinite(peak):
        raise AudioError("not_finite", f"{name} holds NaN or infinite samples: export it again.")
    if peak > LOUDEST:
        raise AudioError(
            "unreadable", f"{name} holds samples of {peak:.0e} times full scale, which is damage: fetch it again."
        )


def samples_hash(samples: npt.NDArray[Any]) -> str:
    """SHA-256 of the samples, channels interleaved, little-endian: the same for WAV and FLAC of one recording."""
    little = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(np.ascontiguousarray(little).tobytes()).hexdigest()


def same_channels(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Reduce channels that all hold the same to one; leave others as they are.

    A stereo file with equal channels is the same recording as its mono twin.
    """
    return samples[:, :1] if (samples == samples[:, :1]).all() else samples


def mono(samples: npt.NDArray[Any]) -> Array:
    """Mix down to one channel at full scale 1. Shape: ``(frames, channels)`` to ``(frames,)``."""
    scale = np.float32(1 / 32768) if samples.dtype == np.int16 else np.float32(1)
    mixed = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    return np.asarray(mixed * scale, np.float32)


def resample(signal: Array, source: int, target: int) -> Array:
    """Change the rate from ``source`` to ``target`` Hz with soxr HQ.

    Shape: ``(samples,)`` to ``(samples * target / source,)``.
    """
    if source == target:
        return signal
    return np.asarray(soxr.resample(signal, source, target, quality="HQ"), np.float32)


def fetch(path: Path, *, sha256: str = "", window: Window | None = None) -> Recording:
    """Read and decode a file, or a window of it where the format can be sought.

    Raises:
        AudioError: it cannot be decoded, or ``sha256`` is given and the file has changed since.
    """
    try:
        data = paths.content(path)
    except OSError as error:
        raise AudioError("unreadable", f"{path} cannot be read: {error.strerror}.") from error
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise AudioError("unreadable", f"{path} has changed since it was ingested: run 'dvc repro' to ingest it again.")
    return decode(data, name=str(path), window=window)


def signal(recording: Recording, sample_rate: int) -> Array:
    """Mix a recording down and bring it to ``sample_rate`` Hz. Shape ``(samples,)``, full scale 1."""
    return resample(mono(recording.samples), recording.sample_rate, sample_rate)


def load(path: Path, sample_rate: int, *, sha256: str = "") -> Array:
    """Read a file as mono float32 at ``sample_rate`` Hz, the signal of what `fetch` gives.

    Raises:
        AudioError: it cannot be decoded, or ``sha256`` is given and the file has changed since.
    """
    return signal(fetch(path, sha256=sha256), sample_rate)
