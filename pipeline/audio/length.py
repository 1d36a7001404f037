"""Determine the length of an audio file from headers and frames, without decoding it.

If an MPEG file does not state its number of frames, decoders estimate it from the bit rate of the first frame, which is
wrong for a variable bit rate. So the frames are counted here by their headers (ISO 11172-3 and 13818-3).

Decoders silently read what is left of a truncated file, stop where an unfinished header tells them to, and read only
the first of two recordings in one file. Here the data are repaired for the decoder, or the problem is reported.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.audio import containers
from pipeline.audio.containers import is_padding_or_tag

_BIT_RATES = {  # kbit/s, by (is MPEG-1, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # Hz, by version
_HEADER_SIZE = 4  # bytes
_SYNC = re.compile(rb"\xff[\xe2-\xff]")


@dataclass(frozen=True)
class MpegFrame:
    """The header of one frame; ``kind`` (version, layer, Hz) is the same throughout a stream."""

    start: int  # position
    size: int  # bytes
    samples: int
    kind: tuple[int, int, int]
    side: int  # bytes from its start to the place of a frame count


@dataclass(frozen=True)
class MpegStream:
    """Summary of the frames of a file."""

    sound: bytes  # the audio frames, concatenated
    samples: int  # per channel
    stated: int | None  # number of frames, from the information frame
    counted: int  # audio frames
    cut: bool  # whether the last frame is truncated
    skipped: int  # bytes that are neither frames of the stream nor a tag

    @property
    def is_cut(self) -> bool:
        """Whether audio is missing at the end. Some encoders count the information frame too."""
        missing = 0 if self.stated is None else self.stated - self.counted
        return missing > 1 or (self.cut and (missing > 0 or self.stated is None))

    @property
    def is_stated(self) -> bool:
        """Whether a decoder that trusts the information frame reads everything."""
        return self.stated == self.counted and not self.skipped


def _scan_mpeg(data: bytes) -> MpegStream | None:
    """Count the frames of a file; None if it has none, as with a free bit rate."""
    frames, skipped, cut = _list_frames(data)
    if not frames:
        return None
    stated = _stated_frames(data, frames[0])
    sound = frames[1:] if stated is not None else frames
    return MpegStream(
        sound=b"".join(data[frame.start : frame.start + frame.size] for frame in sound),
        samples=sum(frame.samples for frame in sound),
        stated=stated,
        counted=len(sound),
        cut=cut,
        skipped=skipped,
    )


def _is_mpeg_frame(data: bytes) -> bool:
    """Check whether the bytes begin with the header of a frame."""
    return _parse_frame(data, 0) is not None


def _list_frames(data: bytes) -> tuple[list[MpegFrame], int, bool]:
    """List the complete frames; count the unread bytes between them; check whether the last frame is truncated."""
    found: list[MpegFrame] = []
    skipped, at = 0, _end_of_tags(data, 0)
    for frame in _iter_frames(data, at):
        skipped += _count_unread(data, at, frame.start)
        at = frame.start + frame.size
        if at > len(data):
            return found, skipped, True
        found.append(frame)
    begun = 0 < len(data) - at < _HEADER_SIZE and data[at] == 0xFF
    return found, skipped + _count_unread(data, at, len(data)), begun


def _iter_frames(data: bytes, at: int) -> Iterator[MpegFrame]:
    """Yield the frames of the first stream, each at the end of the previous one or at the next valid position."""
    kind = None
    while frame := _find_frame(data, at, kind):
        kind = frame.kind
        yield frame
        at = _end_of_tags(data, frame.start + frame.size)


def _find_frame(data: bytes, at: int, kind: tuple[int, int, int] | None) -> MpegFrame | None:
    """Find the next frame of a kind: here or where two are adjacent, because any audio may contain a sync word."""
    here = _parse_frame(data, at)
    if here and here.kind == kind:
        return here
    for match in _SYNC.finditer(data, at):
        frame = _parse_frame(data, match.start())
        if frame and kind in (None, frame.kind):
            after = _parse_frame(data, _end_of_tags(data, frame.start + frame.size))
            if (after and after.kind == frame.kind) or frame.start + frame.size == len(data):
                return frame
    return None


def _parse_frame(data: bytes, at: int) -> MpegFrame | None:
    """Parse the frame header at a position; None if there is none. A free bit rate has no known size."""
    if at + _HEADER_SIZE > len(data):
        return None
    (head,) = struct.unpack_from(">I", data, at)
    version, layer = head >> 19 & 3, 4 - (head >> 17 & 3)
    bit_rate, sample_rate = head >> 12 & 15, head >> 10 & 3
    if head >> 21 != 0x7FF or version == 1 or layer == 4 or bit_rate in (0, 15) or sample_rate == 3:
        return None
    one, hertz, slot = version == 3, _SAMPLE_RATES[version][sample_rate], 4 if layer == 1 else 1
    samples = 384 if layer == 1 else 1152 if one or layer == 2 else 576
    slots = samples // 8 * _BIT_RATES[one, layer][bit_rate - 1] * 1000 // hertz // slot + (head >> 9 & 1)
    mono = head >> 6 & 3 == 3
    side = (17 if mono else 32) if one else (9 if mono else 17)
    return MpegFrame(at, slots * slot, samples, (version, layer, hertz), 4 + side)


def _stated_frames(data: bytes, first: MpegFrame) -> int | None:
    """Read the number of frames from an information frame of Xing, LAME or Fraunhofer; None if there is none.

    -1 if that frame states no number; it contains no audio in any case.
    """
    at = first.start + first.side
    if data[at : at + 4] in (b"Xing", b"Info"):
        flags, count = struct.unpack_from(">II", data.ljust(at + 12, b"\0"), at + 4)
        return int(count) if flags & 1 else -1
    at = first.start + 36
    return int.from_bytes(data[at + 14 : at + 18], "big") if data[at : at + 4] == b"VBRI" else None


def _end_of_tags(data: bytes, at: int) -> int:
    """Return the position after the ID3 tags that begin at ``at``."""
    while data[at : at + 3] == b"ID3" and at + 10 <= len(data):
        size = sum((byte & 0x7F) << shift for byte, shift in zip(data[at + 6 : at + 10], (21, 14, 7, 0), strict=True))
        footer = 10 if data[at + 5] & 0x10 else 0
        if at + 10 + size + footer > len(data):
            return at
        at += 10 + size + footer
    return at


def _count_unread(data: bytes, start: int, end: int) -> int:
    """Count the bytes between two positions, without tags and padding."""
    rest = data[_end_of_tags(data, start) : end]
    return 0 if is_padding_or_tag(rest) else len(rest)


_TOLERANCE = 256  # bytes that a header may overstate: some encoders count the header too
_SIGNATURES = re.compile(  # of a second recording
    rb"RIFF....WAVEfmt |RIFX....WAVEfmt |RF64....WAVE|FORM....AIF[FC]|FORM....(?:8SVX|16SV)|riff\x2e\x91\xcf\x11|"
    rb"caff\x00\x01\x00\x00desc|fLaC[\x00\x80]\x00\x00\x22|OggS\x00\x02|NIST_1A\n|\.snd\x00\x00|"
    rb"dns\.....|Creative Voice File\x1a",
    re.DOTALL,
)
_MPEG_IN_WAV = {0x50, 0x55}
_READ_TO_END = {b"riff", b".snd", b"dns.", b"NIST"}  # formats that libsndfile reads to the end of the file
_SIGNATURE_SIZE = 12  # bytes, the signature of a format not parsed here
_TRUNCATED_LOG = re.compile(r"truncated|should be \d+")
_STATED_LOG = re.compile(r"(?:Frames|Cols) *: (\d+)")


@dataclass(frozen=True)
class Extent:
    """The audio in a file, and the data to pass to the decoder."""

    data: bytes  # for the decoder, repaired
    size: int  # of the file in bytes
    frames: int | None = None  # if the decoder's own count is unreliable
    cut: bool = False  # whether the file states more audio than it contains
    second: int | None = None  # position of a second recording
    unread: int = 0  # bytes that are neither audio, chunk, tag nor padding
    unended: bool = False  # whether the end mark is missing
    unstated: bool = False  # whether the header states no length, so that the file is read to its end
    log_matters: bool = False  # whether only the decoder's log gives the stated length
    container: str = ""  # if it differs from what the decoder reports
    estimated: bool = False  # whether the decoder estimates the length, which must not stop it early


def measure_extent(data: bytes) -> Extent:
    """Determine the audio in a file by its format; data of unknown formats are passed on unchanged."""
    start = _end_of_tags(data, 0)
    if start:
        found = measure_extent(data[start:])
        return replace(found, second=None if found.second is None else found.second + start)
    sound = containers.find_sample_data(data)
    if sound is not None:
        return _pcm_extent(data, sound)
    if data.startswith(containers.FLAC_MARK):
        return _flac_extent(data)
    if data.startswith(containers.OGG_MARK):
        return _ogg_extent(data)
    if _is_mpeg_frame(data):
        return _mpeg_extent(data)
    again = data.find(data[:_SIGNATURE_SIZE], _SIGNATURE_SIZE)
    return Extent(data, len(data), second=None if again < 0 else again, log_matters=True)


def is_truncated_by_log(log: str, frames: int) -> bool:
    """Check whether libsndfile's log of a header states more audio than it found, for formats not parsed here.

    >>> is_truncated_by_log("Cols  : 32000", 31500), is_truncated_by_log("", 31500)
    (True, False)
    >>> is_truncated_by_log("BODY : 64000 (should be 63000)", 31500)
    True
    """
    stated = [int(found) for found in _STATED_LOG.findall(log)]
    return bool(_TRUNCATED_LOG.search(log)) or bool(stated and stated[-1] > frames)


def _pcm_extent(data: bytes, sound: containers.SampleData) -> Extent:
    """Determine the extent of a file of uncompressed samples, or of blocks of constant size."""
    end = len(data) if sound.size is None else sound.start + sound.size
    if sound.coding in _MPEG_IN_WAV:
        return replace(_mpeg_extent(data[sound.start : end]), container="WAV")
    unread = containers.first_unread_byte(data, end) if end < len(data) else None
    repaired = data[:end] if end < len(data) and data[:4] in _READ_TO_END else sound.with_true_size(data)
    return Extent(
        repaired,
        len(data),
        cut=end - len(data) > min(sound.start, _TOLERANCE),
        second=_find_second_recording(data, sound.start if sound.size is None else unread),
        unread=0 if unread is None else len(data) - unread,
        unstated=sound.size is None,
    )


def _find_second_recording(data: bytes, start: int | None) -> int | None:
    """Find a second recording from a position on."""
    found = _SIGNATURES.search(data, start) if start is not None else None
    return found.start() if found else None


def _flac_extent(data: bytes) -> Extent:
    """Determine the extent of FLAC: if the header states too few samples, by the last frame."""
    stream = containers.scan_flac(data)
    if stream is None:
        return Extent(data, len(data))
    if stream.held is None or stream.held <= stream.stated:
        return Extent(data, len(data), second=stream.second)
    return Extent(stream.with_stated_samples(data, stream.held), len(data), second=stream.second)


def _ogg_extent(data: bytes) -> Extent:
    """Determine the extent of Ogg, with any codec."""
    pages = containers.scan_ogg(data)
    return Extent(data, len(data), cut=pages.cut, second=pages.second, unread=pages.skipped, unended=not pages.ended)


def _mpeg_extent(data: bytes) -> Extent:
    """Determine the extent of MPEG: without a valid frame count, the decoder gets only the audio frames."""
    stream = _scan_mpeg(data)
    if stream is None:
        return Extent(data, len(data))
    if stream.is_stated:
        return Extent(data, len(data), cut=stream.is_cut)
    return Extent(stream.sound, len(data), stream.samples, cut=stream.is_cut, unread=stream.skipped, estimated=True)
