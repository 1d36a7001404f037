"""Decode through libsndfile, mix down, resample with soxr, and name a recording by its samples."""

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
from pipeline.core import extras, files, paths
from pipeline.core.errors import AudioError

with extras.system_library("libsndfile"):
    import soundfile

VERSION = 2  # raise it when the same file would give other samples
Array = npt.NDArray[np.float32]
Window = tuple[float, float]  # s before it, s within
POINTER = b"version https://git-lfs"
UNSTATED_FORMATS = {"IRCAM", "PAF", "PVF", "XI"}  # whether such a file was cut cannot be told
SIXTEEN_BITS = {"PCM_16", "PCM_S8", "PCM_U8"}  # int16 holds all they say
UNSTATED = 2**48  # frames; libsndfile says more where a FLAC states no length, and no recording lasts for decades
LOUDEST = 2**31  # full scales: some programs write whole numbers of 32 bits as floats, only damage says more
CANCELLED = 0.1  # of the power of channels with nothing in common
UNREAD = 0.02  # of the bytes of the sound: what may lie beside it and be no sound
SOUGHT = {"WAV", "WAVEX", "FLAC", "AIFF"}  # formats in which a seek lands on the very frame


@dataclass(frozen=True)
class Recording:
    """One decoded file. ``samples`` has shape ``(frames, channels)``, int16 or float32 at full scale 1."""

    samples: npt.NDArray[Any]
    sample_rate: int  # Hz
    container: str  # libsndfile's word: WAV, FLAC, AIFF…
    first: int = 0  # frames of the file that lie before the samples
    doubts: tuple[str, ...] = ()  # the manifest's words for what is odd about the file and leaves it usable


class Source(io.BytesIO):
    """Bytes in which a seek to nowhere stays where it is, as in a file; damaged headers ask for that."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to ``offset`` and return the position."""
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


class _Endless(io.RawIOBase):
    """Bytes with zeros behind them, so that no estimate of a length comes out too short."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position, self.size = data, 0, 64 * len(data)  # bit rates go from 8 to 448 kbit/s

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = 0, /) -> int:
        place = offset + (0, self.position, self.size)[whence]
        self.position = place if 0 <= place <= self.size else self.position
        return self.position

    def readinto(self, buffer: Any, /) -> int:
        count = min(len(buffer), self.size - self.position)
        buffer[:count] = self.data[self.position : self.position + count].ljust(count, b"\0")
        self.position += count
        return count


def decode(
    data: bytes,
    *,
    max_seconds: float = float("inf"),
    name: str = "the file",
    window: Window | None = None,
    path: str = "",
) -> Recording:
    """Decode the bytes of an audio file, or a window of it where the format can be sought.

    A format that libsndfile does not read is named; ``path`` is for the line that converts the file, see `formats`.

    Raises:
        AudioError: its status is ``empty``, ``lfs_pointer``, ``unreadable``, ``truncated``, ``unread_sound``,
            ``too_long`` or ``not_finite``.
    """
    held = measured(data, name)
    with opened(held, name, path) as file:
        refuse_unread(held, name)
        frames = file.frames if held.frames is None else held.frames
        refuse_header(file, frames, max_seconds, name)
        first, promised = stretch(file, frames, window)
        recording = read(file, first, promised, name)
        in_log = held.log_matters and length.is_cut_short(file.extra_info, file.frames)
    refuse_cut(held, name, short=in_log or len(recording.samples) < promised)
    refuse_values(recording.samples, name)
    container = held.container or recording.container
    return replace(recording, container=container, doubts=tuple(doubts(held, container)))


def shape(data: bytes, *, name: str, path: str = "") -> tuple[int, int, int]:
    """Give the rate in Hz, the channels and the frames of a file without decoding it.

    Raises:
        AudioError: it is no audio.
    """
    held = measured(data, name)
    with opened(held, name, path) as file:
        return file.samplerate, file.channels, file.frames if held.frames is None else held.frames


def measured(data: bytes, name: str) -> Extent:
    """Find out how much sound a file holds.

    Raises:
        AudioError: it is empty, or stands for a file that lies elsewhere.
    """
    if not data:
        raise AudioError("empty", f"{name} has no bytes: fetch it again.")
    if data.startswith(POINTER):
        raise AudioError(
            "lfs_pointer", f"{name} is a Git-LFS pointer, not audio: run 'git lfs pull' where it came from."
        )
    return length.stated_length(data)


def opened(held: Extent, name: str, path: str) -> soundfile.SoundFile:
    """Open what a file holds."""
    try:
        return soundfile.SoundFile(_Endless(held.data) if held.estimated else Source(held.data))
    except soundfile.LibsndfileError as error:
        other = formats.refusal(name, held.data[: formats.HEAD], path=path)
        if not other:
            refuse_unread(held, name)
            refuse_cut(held, name)
        begins = f"{name} is no audio that libsndfile reads; it begins {held.data[:24]!r}."
        raise AudioError("unreadable", other or begins) from error


def refuse_unread(held: Extent, name: str) -> None:
    """Refuse a file that holds more sound than is read of it."""
    if held.second is not None:
        raise AudioError(
            "unread_sound",
            f"{name} holds a second recording from byte {held.second} on: split it with 'head -c {held.second}' and "
            f"'tail -c +{held.second + 1}'.",
        )
    share = held.unread / max(1, held.size - held.unread)
    if share > UNREAD:
        raise AudioError(
            "unread_sound",
            f"{name} holds {held.unread} bytes that are not read, {share:.0%} of what is: if they are sound behind the "
            f"length that a header states, mend it with 'sox --ignore-length', else cut them off.",
        )


def refuse_cut(held: Extent, name: str, *, short: bool = False) -> None:
    """Refuse a file that states more sound than there is, or of which less was read than it states."""
    if short or held.cut:
        raise AudioError("truncated", f"{name} ends before the length its header states: fetch it again.")


def doubts(held: Extent, container: str) -> Iterator[str]:
    """List what is odd about the bytes of a file and leaves its sound usable."""
    if held.unstated or container in UNSTATED_FORMATS:
        yield "unstated_length"
    if held.unread:
        yield "trailing_bytes"
    if held.unended:
        yield "no_end_mark"


def refuse_header(file: soundfile.SoundFile, frames: int, max_seconds: float, name: str) -> None:
    """Refuse what no recording says of itself, and hours of sound before they are decoded."""
    low, high = files.SAMPLE_RATES
    if not low <= file.samplerate <= high:
        raise AudioError(
            "unreadable",
            f"{name} states {file.samplerate} Hz, recordings have {low} to {high} Hz: fetch or export it again.",
        )
    if frames >= UNSTATED:
        raise AudioError("unreadable", f"{name} does not state its length, and its end is damaged: encode it again.")
    seconds = frames / file.samplerate
    if seconds > max_seconds:
        raise AudioError(
            "too_long", f"{name} lasts {seconds:.0f} s, the limit is {max_seconds:g} s: cut it into clips."
        )


def stretch(file: soundfile.SoundFile, frames: int, window: Window | None) -> tuple[int, int]:
    """Give the first of the frames to read and how many."""
    if window is None or file.format not in SOUGHT:
        return 0, frames
    first = min(frames, round(window[0] * file.samplerate))
    return first, min(frames - first, round(window[1] * file.samplerate))


def read(file: soundfile.SoundFile, first: int, count: int, name: str) -> Recording:
    """Read ``count`` frames from ``first`` on: int16 where that is exact, else float32."""
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
            f"{name} states {count} frames, more than the memory holds: cut it into clips, or fetch it again.",
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
    """Mix down to one channel at full scale 1; of channels that cancel each other out, take the loudest.

    Shape: ``(frames, channels)`` to ``(frames,)``.
    """
    if samples.shape[1] == 1:
        mixed = samples[:, 0]
    elif channels_cancel(samples):
        mixed = samples[:, int(_power(samples).argmax())]
    else:
        mixed = samples.mean(axis=1, dtype=np.float32)
    return np.asarray(mixed * scale(samples), np.float32)


def scale(samples: npt.NDArray[Any]) -> np.float32:
    """Give the factor that brings samples to full scale 1."""
    return np.float32(1 / 32768) if samples.dtype == np.int16 else np.float32(1)


def channels_cancel(samples: npt.NDArray[Any]) -> bool:
    """Say whether mixing loses the sound, as where a cable has turned one channel over.

    True where the mix has less than a tenth of the power that channels with nothing in common would leave in it, which
    is a correlation below -0.9 for two channels of equal level. Shape: ``(frames, channels)``.
    """
    channels = samples.shape[1]
    if channels == 1 or not len(samples):
        return False
    alone = float(_power(samples).mean()) / channels
    mixed = float(_power(samples.mean(axis=1, dtype=np.float64)[:, None])[0])
    return bool(mixed < CANCELLED * alone)


def _power(samples: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Mean square of each channel about its mean. Shape: ``(frames, channels)`` to ``(channels,)``."""
    return np.asarray(samples.var(axis=0, dtype=np.float64))


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
        refuse_format(path)
        data = paths.content(path)
    except OSError as error:
        raise AudioError("unreadable", f"{path} cannot be read: {error.strerror}.") from error
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise AudioError("unreadable", f"{path} has changed since it was ingested: run 'dvc repro' to ingest it again.")
    return decode(data, name=str(path), window=window, path=str(path))


def refuse_format(path: Path) -> None:
    """Refuse, before it is read, a file that by its name and by its first bytes libsndfile cannot read: hours of video.

    Raises:
        AudioError: its status is ``unreadable``.
        OSError: the file cannot be read at all.
    """
    if formats.by_name(path) is None or not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(formats.HEAD)
    if formats.by_content(head):
        raise AudioError("unreadable", formats.refusal(str(path), head, path=str(path)))


def signal(recording: Recording, sample_rate: int) -> Array:
    """Mix a recording down and bring it to ``sample_rate`` Hz. Shape ``(samples,)``, full scale 1."""
    return resample(mono(recording.samples), recording.sample_rate, sample_rate)


def load(path: Path, sample_rate: int, *, sha256: str = "") -> Array:
    """Read a file as mono float32 at ``sample_rate`` Hz, the signal of what `fetch` gives.

    Raises:
        AudioError: it cannot be decoded, or ``sha256`` is given and the file has changed since.
    """
    return signal(fetch(path, sha256=sha256), sample_rate)
