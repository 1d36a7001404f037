"""How many samples a file says it holds, read from headers and frames without decoding it.

Where the front of a file states no count of frames, decoders estimate one from the bit rate of the first frame, which
is wrong for a variable one. So the frames are counted here, by their headers (ISO 11172-3 and 13818-3).

Decoders read what is there of a cut file, stop where a header that was never mended tells them to, and read the first
of two recordings in one file. What they are handed is mended here, and what cannot be mended is said.
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
_HEAD = 4  # bytes
_SYNC = re.compile(rb"\xff[\xe2-\xff]")


@dataclass(frozen=True)
class MpegFrame:
    """One frame, from its header; ``kind`` (version, layer, Hz) stays the same throughout a stream."""

    start: int  # byte
    size: int  # bytes
    samples: int
    kind: tuple[int, int, int]
    side: int  # bytes from its start to where a count of frames would stand


@dataclass(frozen=True)
class MpegStream:
    """What the frames of a file hold."""

    sound: bytes  # the frames with sound, one after another
    samples: int  # of one channel
    stated: int | None  # frames, from the front
    counted: int  # frames with sound
    cut: bool  # whether the last frame breaks off
    skipped: int  # bytes that are neither frames of the stream nor a tag

    @property
    def is_cut(self) -> bool:
        """Say whether sound is missing at the end. Some writers count the front as a frame."""
        missing = 0 if self.stated is None else self.stated - self.counted
        return missing > 1 or (self.cut and (missing > 0 or self.stated is None))

    @property
    def is_stated(self) -> bool:
        """Say whether a decoder that believes the front reads all of it."""
        return self.stated == self.counted and not self.skipped


def scan_mpeg(data: bytes) -> MpegStream | None:
    """Count the frames of a file; None where it has none, as with a free bit rate."""
    frames, skipped, cut = _frames(data)
    if not frames:
        return None
    stated = _stated(data, frames[0])
    sound = frames[1:] if stated is not None else frames
    return MpegStream(
        sound=b"".join(data[frame.start : frame.start + frame.size] for frame in sound),
        samples=sum(frame.samples for frame in sound),
        stated=stated,
        counted=len(sound),
        cut=cut,
        skipped=skipped,
    )


def is_frame(data: bytes) -> bool:
    """Say whether the bytes begin with the header of a frame."""
    return _frame(data, 0) is not None


def _frames(data: bytes) -> tuple[list[MpegFrame], int, bool]:
    """List the whole frames; count the bytes between them that are no tag; say whether the last one breaks off."""
    found: list[MpegFrame] = []
    skipped, at = 0, behind_tag(data, 0)
    for frame in _chain(data, at):
        skipped += _foreign(data, at, frame.start)
        at = frame.start + frame.size
        if at > len(data):
            return found, skipped, True
        found.append(frame)
    begun = 0 < len(data) - at < _HEAD and data[at] == 0xFF
    return found, skipped + _foreign(data, at, len(data)), begun


def _chain(data: bytes, at: int) -> Iterator[MpegFrame]:
    """Give the frames of the first stream, each where the one before ends, or at the next place that fits."""
    kind = None
    while frame := _next(data, at, kind):
        kind = frame.kind
        yield frame
        at = behind_tag(data, frame.start + frame.size)


def _next(data: bytes, at: int, kind: tuple[int, int, int] | None) -> MpegFrame | None:
    """Find the next frame of a kind: here, or where two follow each other, for two bytes of sync are in any sound."""
    here = _frame(data, at)
    if here and here.kind == kind:
        return here
    for match in _SYNC.finditer(data, at):
        frame = _frame(data, match.start())
        if frame and kind in (None, frame.kind):
            after = _frame(data, behind_tag(data, frame.start + frame.size))
            if (after and after.kind == frame.kind) or frame.start + frame.size == len(data):
                return frame
    return None


def _frame(data: bytes, at: int) -> MpegFrame | None:
    """Read the header at a byte; None where there is none. A free bit rate states no size."""
    if at + _HEAD > len(data):
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


def _stated(data: bytes, first: MpegFrame) -> int | None:
    """Read how many frames the first one states, in the form of Xing and LAME or of Fraunhofer; None where it does not.

    A front without a count gives -1: it is no sound all the same.
    """
    at = first.start + first.side
    if data[at : at + 4] in (b"Xing", b"Info"):
        flags, count = struct.unpack_from(">II", data.ljust(at + 12, b"\0"), at + 4)
        return int(count) if flags & 1 else -1
    at = first.start + 36
    return int.from_bytes(data[at + 14 : at + 18], "big") if data[at : at + 4] == b"VBRI" else None


def behind_tag(data: bytes, at: int) -> int:
    """Give the byte behind the ID3 tags that begin at ``at``."""
    while data[at : at + 3] == b"ID3" and at + 10 <= len(data):
        size = sum((byte & 0x7F) << shift for byte, shift in zip(data[at + 6 : at + 10], (21, 14, 7, 0), strict=True))
        footer = 10 if data[at + 5] & 0x10 else 0
        if at + 10 + size + footer > len(data):
            return at
        at += 10 + size + footer
    return at


def _foreign(data: bytes, start: int, end: int) -> int:
    """Count the bytes of a stretch between frames that are no tag and no padding."""
    rest = data[behind_tag(data, start) : end]
    return 0 if is_padding_or_tag(rest) else len(rest)


_TOLERANCE = 256  # bytes that a header may state in excess: some writers count the header too
_BEGINNINGS = re.compile(  # of another recording, behind the first
    rb"RIFF....WAVEfmt |RIFX....WAVEfmt |RF64....WAVE|FORM....AIF[FC]|FORM....(?:8SVX|16SV)|riff\x2e\x91\xcf\x11|"
    rb"caff\x00\x01\x00\x00desc|fLaC[\x00\x80]\x00\x00\x22|OggS\x00\x02|NIST_1A\n|\.snd\x00\x00|"
    rb"dns\.....|Creative Voice File\x1a",
    re.DOTALL,
)
_MPEG_IN_WAV = {0x50, 0x55}
_READ_ON = {b"riff", b".snd", b"dns.", b"NIST"}  # formats that libsndfile reads to the end of the file
_SIGNATURE = 12  # bytes; what formats begin with that are not known here
_SHORT = re.compile(r"truncated|should be \d+")
_STATED = re.compile(r"(?:Frames|Cols) *: (\d+)")


@dataclass(frozen=True)
class Extent:
    """What a file holds, and what is to be handed to the decoder."""

    data: bytes  # for the decoder, mended
    size: int  # bytes of the file
    frames: int | None = None  # where the decoder's own count is not to be relied on
    cut: bool = False  # whether sound is missing that the file states
    second: int | None = None  # byte at which another recording begins
    unread: int = 0  # bytes that are neither sound, chunk, tag nor padding
    unended: bool = False  # whether the mark of the end is missing
    unstated: bool = False  # whether the header states no length, so that all is read up to the end of the file
    log_matters: bool = False  # whether nothing but the decoder's log of the header tells what it states
    container: str = ""  # where that is not what the decoder says
    estimated: bool = False  # whether the decoder estimates a length, which must not end it early


def stated_length(data: bytes) -> Extent:
    """Find out what a file holds, by its first bytes; what is not known here is left to `Extent.data` as it is."""
    start = behind_tag(data, 0)
    if start:
        found = stated_length(data[start:])
        return replace(found, second=None if found.second is None else found.second + start)
    sound = containers.find_sound(data)
    if sound is not None:
        return _plain(data, sound)
    if data.startswith(containers.FLAC_MARK):
        return _flac(data)
    if data.startswith(containers.OGG_MARK):
        return _ogg(data)
    if is_frame(data):
        return _mpeg(data)
    again = data.find(data[:_SIGNATURE], _SIGNATURE)
    return Extent(data, len(data), second=None if again < 0 else again, log_matters=True)


def is_cut_short(log: str, frames: int) -> bool:
    """Say whether libsndfile's own log of a header tells of more sound than it found, for formats not known here.

    >>> is_cut_short("Cols  : 32000", 31500), is_cut_short("", 31500)
    (True, False)
    >>> is_cut_short("BODY : 64000 (should be 63000)", 31500)
    True
    """
    stated = [int(found) for found in _STATED.findall(log)]
    return bool(_SHORT.search(log)) or bool(stated and stated[-1] > frames)


def _plain(data: bytes, sound: containers.Sound) -> Extent:
    """Measure a file of plain samples, or of blocks of as many bytes each."""
    end = len(data) if sound.size is None else sound.start + sound.size
    if sound.coding in _MPEG_IN_WAV:
        return replace(_mpeg(data[sound.start : end]), container="WAV")
    unread = containers.unread_from(data, end) if end < len(data) else None
    whole = data[:end] if end < len(data) and data[:4] in _READ_ON else sound.mended(data)
    return Extent(
        whole,
        len(data),
        cut=end - len(data) > min(sound.start, _TOLERANCE),
        second=_second(data, sound.start if sound.size is None else unread),
        unread=0 if unread is None else len(data) - unread,
        unstated=sound.size is None,
    )


def _second(data: bytes, start: int | None) -> int | None:
    """Find the beginning of another recording from a byte on."""
    found = _BEGINNINGS.search(data, start) if start is not None else None
    return found.start() if found else None


def _flac(data: bytes) -> Extent:
    """Measure FLAC: the last frame says how many samples there are where the header does not."""
    stream = containers.scan_flac(data)
    if stream is None:
        return Extent(data, len(data))
    if stream.held is None or stream.held <= stream.stated:
        return Extent(data, len(data), second=stream.second)
    return Extent(stream.restated(data, stream.held), len(data), second=stream.second)


def _ogg(data: bytes) -> Extent:
    """Measure Ogg, whatever is coded in it."""
    pages = containers.scan_ogg(data)
    return Extent(data, len(data), cut=pages.cut, second=pages.second, unread=pages.skipped, unended=not pages.ended)


def _mpeg(data: bytes) -> Extent:
    """Measure MPEG: where the front does not state what is there, the decoder is handed the frames alone."""
    stream = scan_mpeg(data)
    if stream is None:
        return Extent(data, len(data))
    if stream.is_stated:
        return Extent(data, len(data), cut=stream.is_cut)
    return Extent(stream.sound, len(data), stream.samples, cut=stream.is_cut, unread=stream.skipped, estimated=True)
