"""Decode with libsndfile, mix to mono, resample with soxr, and hash samples."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from pipeline.audio import formats, length
from pipeline.audio.length import Extent
from pipeline.core import errors, files, paths
from pipeline.core.errors import AudioError

with errors.require_system_library("libsndfile"):
    import soundfile

VERSION = 2  # increase when the same file gives other samples
Array = npt.NDArray[np.float32]
Window = tuple[float, float]  # start and duration, s
UNSTATED_FORMATS = {"IRCAM", "PAF", "PVF", "XI"}  # a truncated file cannot be detected
INT16_SUBTYPES = {"PCM_16", "PCM_S8", "PCM_U8"}  # exact as int16
MAX_FRAMES = 2**48  # frames; libsndfile reports more for a FLAC without a stated length
MAX_AMPLITUDE = 2**31  # times full scale: some programs write 32-bit integers as floats, more is damage
CANCELLATION_RATIO = 0.1  # of the power that uncorrelated channels have after mixing
MAX_UNREAD_SHARE = 0.02  # of the bytes of the audio: tolerated bytes of other content
SEEKABLE_FORMATS = {"WAV", "WAVEX", "FLAC", "AIFF"}  # formats in which a seek is exact


@dataclass(frozen=True)
class Recording:
    """A decoded file. ``samples`` has shape ``(frames, channels)``: int16, or float32 with full scale 1."""

    samples: npt.NDArray[Any]
    sample_rate: int  # Hz
    container: str  # as named by libsndfile: WAV, FLAC, AIFF…
    first: int = 0  # index of the first of the samples in the file
    doubts: tuple[str, ...] = ()  # warnings of the manifest about the bytes of a usable file


class ByteSource(io.BytesIO):
    """Bytes in which an invalid seek keeps the position, as in a file; damaged headers cause such seeks."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Seek to ``offset`` and return the position."""
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


class _Endless(io.RawIOBase):
    """Bytes followed by zeros, so that no estimated length is too short."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position, self.size = data, 0, 64 * len(data)  # bit rates go from 8 to 448 kbit/s

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = 0, /) -> int:
        target = offset + (0, self.position, self.size)[whence]
        self.position = target if 0 <= target <= self.size else self.position
        return self.position

    def readinto(self, buffer: Any, /) -> int:
        count = min(len(buffer), self.size - self.position)
        buffer[:count] = self.data[self.position : self.position + count].ljust(count, b"\0")
        self.position += count
        return count


def decode_audio(
    data: bytes,
    *,
    max_seconds: float = float("inf"),
    name: str = "the file",
    window: Window | None = None,
    path: str = "",
) -> Recording:
    """Decode the bytes of an audio file, or a window of it if its format is seekable.

    For a format that libsndfile does not read, the error gives the command that converts the file at ``path``.

    Raises:
        AudioError: with status ``empty``, ``lfs_pointer``, ``unreadable``, ``truncated``, ``unread_sound``,
            ``too_long`` or ``not_finite``.
    """
    extent = _measure_extent(data, name)
    with _open_audio(extent, name, path) as file:
        _check_unread(extent, name)
        frames = file.frames if extent.frames is None else extent.frames
        _check_header(file, frames, max_seconds, name)
        first, count = _frame_range(file, frames, window)
        recording = _read_frames(file, first, count, name)
        log_truncated = extent.log_matters and length.is_truncated_by_log(file.extra_info, file.frames)
    _check_truncation(extent, name, short=log_truncated or len(recording.samples) < count)
    _check_samples(recording.samples, name)
    container = extent.container or recording.container
    return replace(recording, container=container, doubts=tuple(_list_doubts(extent, container)))


def stream_info(data: bytes, *, name: str, path: str = "") -> tuple[int, int, int]:
    """Return the sample rate in Hz, the channels and the frames of a file without decoding it.

    Raises:
        AudioError: it is not audio.
    """
    extent = _measure_extent(data, name)
    with _open_audio(extent, name, path) as file:
        return file.samplerate, file.channels, file.frames if extent.frames is None else extent.frames


def _measure_extent(data: bytes, name: str) -> Extent:
    """Determine how much audio a file contains.

    Raises:
        AudioError: it is empty or a Git-LFS pointer.
    """
    if not data:
        raise AudioError("empty", f"{name} has no bytes: fetch it again.")
    if data.startswith(files.LFS_POINTER):
        raise AudioError(
            "lfs_pointer", f"{name} is a Git-LFS pointer, not audio: run 'git lfs pull' where it came from."
        )
    return length.measure_extent(data)


def _open_audio(extent: Extent, name: str, path: str) -> soundfile.SoundFile:
    """Open the audio of a file, or raise the most specific error."""
    try:
        return soundfile.SoundFile(_Endless(extent.data) if extent.estimated else ByteSource(extent.data))
    except soundfile.LibsndfileError as error:
        unsupported = formats.unsupported_message(name, extent.data[: formats.HEAD_SIZE], path=path)
        if not unsupported:
            _check_unread(extent, name)
            _check_truncation(extent, name)
        unknown = f"{name} is no audio that libsndfile reads; it begins {extent.data[:24]!r}."
        raise AudioError("unreadable", unsupported or unknown) from error


def _check_unread(extent: Extent, name: str) -> None:
    """Reject a file with more audio than libsndfile reads."""
    if extent.second is not None:
        raise AudioError(
            "unread_sound",
            f"{name} holds a second recording from byte {extent.second} on: split it with 'head -c {extent.second}' "
            f"and 'tail -c +{extent.second + 1}'.",
        )
    share = extent.unread / max(1, extent.size - extent.unread)
    if share > MAX_UNREAD_SHARE:
        raise AudioError(
            "unread_sound",
            f"{name} holds {extent.unread} bytes that are not read, {share:.0%} of those that are: if they are audio "
            f"beyond the length stated in a header, fix it with 'sox --ignore-length', otherwise cut them off.",
        )


def _check_truncation(extent: Extent, name: str, *, short: bool = False) -> None:
    """Reject a file whose header states more audio than it contains or than was read."""
    if short or extent.cut:
        raise AudioError("truncated", f"{name} ends before the length its header states: fetch it again.")


def _list_doubts(extent: Extent, container: str) -> Iterator[str]:
    """Yield the warnings about the bytes of a usable file."""
    if extent.unstated or container in UNSTATED_FORMATS:
        yield "unstated_length"
    if extent.unread:
        yield "trailing_bytes"
    if extent.unended:
        yield "no_end_mark"


def _check_header(file: soundfile.SoundFile, frames: int, max_seconds: float, name: str) -> None:
    """Reject implausible headers, and files that are too long before they are decoded."""
    low, high = files.SAMPLE_RATE_RANGE
    if not low <= file.samplerate <= high:
        raise AudioError(
            "unreadable",
            f"{name} states {file.samplerate} Hz, expected {low} to {high} Hz: fetch or export it again.",
        )
    if frames >= MAX_FRAMES:
        raise AudioError("unreadable", f"{name} does not state its length, and its end is damaged: encode it again.")
    seconds = frames / file.samplerate
    if seconds > max_seconds:
        raise AudioError(
            "too_long", f"{name} lasts {seconds:.0f} s, the limit is {max_seconds:g} s: cut it into clips."
        )


def _frame_range(file: soundfile.SoundFile, frames: int, window: Window | None) -> tuple[int, int]:
    """Return the first frame to read and the number of frames."""
    if window is None or file.format not in SEEKABLE_FORMATS:
        return 0, frames
    first = min(frames, round(window[0] * file.samplerate))
    return first, min(frames - first, round(window[1] * file.samplerate))


def _read_frames(file: soundfile.SoundFile, first: int, count: int, name: str) -> Recording:
    """Read ``count`` frames from ``first`` on: int16 if that is exact, otherwise float32."""
    kind = "int16" if file.subtype in INT16_SUBTYPES else "float32"
    try:
        if first:
            file.seek(first)
        return Recording(file.read(count, dtype=kind, always_2d=True), file.samplerate, file.format, first)
    except soundfile.LibsndfileError as error:
        raise AudioError("truncated", f"{name} breaks off or is damaged within: fetch it again.") from error
    except MemoryError as error:
        raise AudioError(
            "too_long",
            f"{name} states {count} frames, more than fit into memory: cut it into clips, or fetch it again.",
        ) from error


def _check_samples(samples: npt.NDArray[Any], name: str) -> None:
    """Reject floats that are not finite or implausibly large."""
    if samples.dtype != np.float32:
        return
    peak = np.abs(samples).max(initial=0)
    if not np.isfinite(peak):
        raise AudioError("not_finite", f"{name} holds NaN or infinite samples: export it again.")
    if peak > MAX_AMPLITUDE:
        raise AudioError(
            "unreadable", f"{name} holds samples of {peak:.0e} times full scale, which is damage: fetch it again."
        )


def hash_samples(samples: npt.NDArray[Any]) -> str:
    """Return the SHA-256 of the samples, interleaved and little-endian: WAV and FLAC of one recording share it."""
    little = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(np.ascontiguousarray(little).tobytes()).hexdigest()


def merge_equal_channels(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Reduce identical channels to one, so that a stereo file equals its mono copy; return others unchanged.

    Shape: ``(frames, channels)``.
    """
    return samples[:, :1] if (samples == samples[:, :1]).all() else samples


def to_mono(samples: npt.NDArray[Any]) -> Array:
    """Mix to mono with full scale 1; of channels that cancel each other out, take the loudest.

    Shape: ``(frames, channels)`` to ``(frames,)``.
    """
    if samples.shape[1] == 1:
        mixed = samples[:, 0]
    elif channels_cancel(samples):
        mixed = samples[:, int(_channel_power(samples).argmax())]
    else:
        mixed = samples.mean(axis=1, dtype=np.float32)
    return np.asarray(mixed * full_scale_factor(samples), np.float32)


def full_scale_factor(samples: npt.NDArray[Any]) -> np.float32:
    """Return the factor that scales samples to full scale 1."""
    return np.float32(1 / 32768) if samples.dtype == np.int16 else np.float32(1)


def channels_cancel(samples: npt.NDArray[Any]) -> bool:
    """Check whether mixing cancels the channels, as when a cable inverts one of them.

    True if the mix has less than a tenth of the power that uncorrelated channels would have, which is a correlation
    below -0.9 for two channels of equal level. Shape: ``(frames, channels)``.
    """
    channels = samples.shape[1]
    if channels == 1 or not len(samples):
        return False
    alone = float(_channel_power(samples).mean()) / channels
    mixed = float(_channel_power(samples.mean(axis=1, dtype=np.float64)[:, None])[0])
    return bool(mixed < CANCELLATION_RATIO * alone)


def _channel_power(samples: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the variance of each channel. Shape: ``(frames, channels)`` to ``(channels,)``."""
    return np.asarray(samples.var(axis=0, dtype=np.float64))


def resample(signal: Array, source: int, target: int) -> Array:
    """Resample from ``source`` to ``target`` Hz with soxr HQ.

    Shape: ``(samples,)`` to ``(samples * target / source,)``.
    """
    if source == target:
        return signal
    return np.asarray(soxr.resample(signal, source, target, quality="HQ"), np.float32)


def read_recording(path: Path, *, sha256: str = "", window: Window | None = None) -> Recording:
    """Read and decode a file, or a window of it if its format is seekable.

    Raises:
        AudioError: it cannot be decoded, or its bytes do not match ``sha256``.
    """
    try:
        check_format(path)
        data = paths.read_file(path)
    except OSError as error:
        raise AudioError("unreadable", f"{path} cannot be read: {error.strerror}.") from error
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise AudioError("unreadable", f"{path} has changed since it was ingested: run 'dvc repro' to ingest it again.")
    return decode_audio(data, name=str(path), window=window, path=str(path))


def check_format(path: Path) -> None:
    """Reject a file of an unsupported format by its name and first bytes, before hours of video are read.

    Raises:
        AudioError: with status ``unreadable``.
        OSError: the file cannot be read at all.
    """
    if formats.format_by_name(path) is None or not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(formats.HEAD_SIZE)
    if formats.format_by_content(head):
        raise AudioError("unreadable", formats.unsupported_message(str(path), head, path=str(path)))


def mono_signal(recording: Recording, sample_rate: int) -> Array:
    """Mix a recording to mono and resample it to ``sample_rate`` Hz. Shape: ``(samples,)``, full scale 1."""
    return resample(to_mono(recording.samples), recording.sample_rate, sample_rate)


def load_signal(path: Path, sample_rate: int, *, sha256: str = "") -> Array:
    """Read a file as mono float32 at ``sample_rate`` Hz. Shape: ``(samples,)``, full scale 1.

    Raises:
        AudioError: it cannot be decoded, or its bytes do not match ``sha256``.
    """
    return mono_signal(read_recording(path, sha256=sha256), sample_rate)
