"""How much sound the bytes of a file hold, told without decoding, so that nothing is left unread in silence.

Decoders read what is there of a cut file, stop where a header that was never mended tells them to, and read the first
of two recordings in one file. What they are handed is mended here, and what cannot be mended is said.
"""

import re
from dataclasses import dataclass, replace

from pipeline.store import flac, headers, mpeg, ogg

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


def measure(data: bytes) -> Extent:
    """Find out what a file holds, by its first bytes; what is not known here is left to `Extent.data` as it is."""
    start = mpeg.behind_tag(data, 0)
    if start:
        found = measure(data[start:])
        return replace(found, second=None if found.second is None else found.second + start)
    sound = headers.find_sound(data)
    if sound is not None:
        return _plain(data, sound)
    if data.startswith(flac.MARK):
        return _flac(data)
    if data.startswith(ogg.MARK):
        return _ogg(data)
    if mpeg.is_frame(data):
        return _mpeg(data)
    again = data.find(data[:_SIGNATURE], _SIGNATURE)
    return Extent(data, len(data), second=None if again < 0 else again, log_matters=True)


def is_short(log: str, frames: int) -> bool:
    """Say whether libsndfile's own log of a header tells of more sound than it found, for formats not known here.

    >>> is_short("Cols  : 32000", 31500), is_short("BODY : 64000 (should be 63000)", 31500), is_short("", 31500)
    (True, True, False)
    """
    stated = [int(found) for found in _STATED.findall(log)]
    return bool(_SHORT.search(log)) or bool(stated and stated[-1] > frames)


def _plain(data: bytes, sound: headers.Sound) -> Extent:
    """Measure a file of plain samples, or of blocks of as many bytes each."""
    end = len(data) if sound.size is None else sound.start + sound.size
    if sound.coding in _MPEG_IN_WAV:
        return replace(_mpeg(data[sound.start : end]), container="WAV")
    unread = headers.unread_from(data, end) if end < len(data) else None
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
    stream = flac.scan(data)
    if stream is None:
        return Extent(data, len(data))
    if stream.held is None or stream.held <= stream.stated:
        return Extent(data, len(data), second=stream.second)
    return Extent(stream.restated(data, stream.held), len(data), second=stream.second)


def _ogg(data: bytes) -> Extent:
    """Measure Ogg, whatever is coded in it."""
    pages = ogg.scan(data)
    return Extent(data, len(data), cut=pages.cut, second=pages.second, unread=pages.skipped, unended=not pages.ended)


def _mpeg(data: bytes) -> Extent:
    """Measure MPEG: where the front does not state what is there, the decoder is handed the frames alone."""
    stream = mpeg.scan(data)
    if stream is None:
        return Extent(data, len(data))
    if stream.is_stated:
        return Extent(data, len(data), cut=stream.is_cut)
    return Extent(stream.sound, len(data), stream.samples, cut=stream.is_cut, unread=stream.skipped, estimated=True)
