"""Locate the audio in WAV, AIFF, AU, FLAC and Ogg files, and read the length stated in their headers.

Parses the chunks of WAV and related formats (RIFF, RIFX, RF64, AIFF, W64, CAF), the headers of AU and NIST SPHERE, the
pages of Ogg and the frames of FLAC. No decoded sample depends on it, so it has no VERSION.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

W64_TAIL = {  # of the GUIDs in Sony Wave64, after the first four characters
    b"riff": bytes.fromhex("2e91cf11a5d628db04c10000"),
    b"data": bytes.fromhex("f3acd3118cd100c04f8edb8a"),
}
_AUDIO_CHUNKS = {b"data", b"SSND", b"BODY"}
# bytes; programs that write to a pipe state this or more in 32 bits, since they cannot seek back
_MAX_SIZE = 0x7F000000
_MAX_SIZE_64 = 2**47  # bytes
_PRINTABLE = re.compile(rb"[ -~]{4}")
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")


@dataclass(frozen=True)
class SampleData:
    """The audio in a file of uncompressed samples. Positions and sizes are in bytes."""

    start: int  # of the samples
    size: int | None  # as stated in the header; None: up to the end of the file
    field: int = 0  # position of the size in the header
    kind: str = "<I"  # struct format of the size
    extra: int = 0  # bytes that the size counts in addition to the samples
    coding: int = 1  # format tag of WAV; 1 for PCM

    def with_true_size(self, data: bytes) -> bytes:
        """Return the bytes with the true size in the header, if it stated none."""
        if self.size is not None or not self.kind:
            return data
        limit = 2 ** (8 * struct.calcsize(self.kind) - 1) - 1
        value = struct.pack(self.kind, min(limit, len(data) - self.start + self.extra))
        return data[: self.field] + value + data[self.field + len(value) :]


@dataclass(frozen=True)
class _ChunkLayout:
    """The layout of chunks in a family of formats."""

    head: str  # struct format of a chunk's name and size
    first: int  # position of the first chunk
    pad: int  # alignment of chunks in bytes
    whole: int = 0  # bytes of the head that are included in the size


_CHUNK_LAYOUTS = {
    b"RIFF": _ChunkLayout("<4sI", 12, 2),
    b"RIFX": _ChunkLayout(">4sI", 12, 2),
    b"RF64": _ChunkLayout("<4sI", 12, 2),
    b"FORM": _ChunkLayout(">4sI", 12, 2),
    b"caff": _ChunkLayout(">4sq", 8, 1),
    b"riff": _ChunkLayout("<16sq", 40, 8, whole=24),
}


@dataclass(frozen=True)
class _Chunk:
    """One chunk. Positions and sizes are in bytes."""

    at: int  # position of the chunk
    name: bytes
    start: int  # position of its contents
    size: int  # of its contents, as stated


def find_sample_data(data: bytes) -> SampleData | None:
    """Locate the audio in a file of uncompressed samples; None for an unknown header or one without audio."""
    form = _CHUNK_LAYOUTS.get(data[:4])
    if form and (data[:4] != b"riff" or data[4:16] == W64_TAIL[b"riff"]):
        found = _find_in_chunks(data, form)
    elif data[:4] in (b".snd", b"dns."):
        found = _parse_au(data)
    else:
        found = _parse_sphere(data) if data.startswith(b"NIST_1A\n") else None
    return found and _ignore_false_size(data, found)


def _ignore_false_size(data: bytes, sound: SampleData) -> SampleData:
    """Interpret an impossible size, and 0 if samples follow, as 'up to the end of the file'."""
    longest = _MAX_SIZE if struct.calcsize(sound.kind or "Q") == 4 else _MAX_SIZE_64
    size = sound.size
    if size is None or size < 0 or size + sound.extra >= longest:
        return replace(sound, size=None)
    return replace(sound, size=None) if size == 0 and first_unread_byte(data, sound.start) is not None else sound


def _find_in_chunks(data: bytes, form: _ChunkLayout) -> SampleData | None:
    """Locate the chunk with the audio."""
    long, coding = None, 1
    for chunk in _iter_chunks(data, form, form.first):
        if chunk.name == b"ds64":
            long = chunk.start + 8
        elif chunk.name == b"fmt ":
            coding = int.from_bytes(data[chunk.start : chunk.start + 2], "little" if form.head[0] == "<" else "big")
        elif chunk.name in _AUDIO_CHUNKS:
            return _parse_audio_chunk(data, form, chunk, long, coding)
    return None


def _parse_audio_chunk(data: bytes, form: _ChunkLayout, chunk: _Chunk, long: int | None, coding: int) -> SampleData:
    """Locate the samples of a chunk, and the field that states their size."""
    field, kind = chunk.start - struct.calcsize(form.head[0] + form.head[-1]), form.head[0] + form.head[-1]
    if chunk.name == b"data" and long is not None and chunk.size == 0xFFFFFFFF and long + 8 <= len(data):
        return SampleData(chunk.start, struct.unpack_from("<q", data, long)[0], long, "<q", 0, coding)
    inner = 0
    if chunk.name == b"SSND":
        inner = 8 + int.from_bytes(data[chunk.start : chunk.start + 4], "big")
    elif form is _CHUNK_LAYOUTS[b"caff"]:
        inner = 4
    size = None if form is _CHUNK_LAYOUTS[b"caff"] and chunk.size < 0 else max(0, chunk.size - inner)
    return SampleData(min(chunk.start + inner, len(data)), size, field, kind, inner + form.whole, coding)


def _iter_chunks(data: bytes, form: _ChunkLayout, at: int) -> Iterator[_Chunk]:
    """Yield the chunks from a position on; the last one may extend beyond the file."""
    head = struct.calcsize(form.head)
    while at >= 0 and at + head <= len(data):
        name, size = struct.unpack_from(form.head, data, at)
        size -= form.whole
        yield _Chunk(at, _chunk_name(name), at + head, size)
        if size < 0:
            return
        at = at + head + size
        at += -at % form.pad


def _chunk_name(name: bytes) -> bytes:
    """Reduce a known GUID of Wave64 to its four characters."""
    return name[:4] if len(name) == 4 or W64_TAIL.get(name[:4], name[4:]) == name[4:] else name


def _parse_au(data: bytes) -> SampleData | None:
    """Parse the header of AU in either byte order."""
    order = ">" if data[:4] == b".snd" else "<"
    if len(data) < 24:
        return None
    start, size = struct.unpack_from(f"{order}II", data, 4)
    return SampleData(min(start, len(data)), size, 8, f"{order}I")


def _parse_sphere(data: bytes) -> SampleData | None:
    """Parse the text header of NIST SPHERE: samples per channel, channels, bytes per sample."""
    size = re.match(rb"NIST_1A\n *(\d{1,6})\n", data)
    if not size:
        return None
    text = data[: int(size[1])]
    found = (re.search(rb"\n" + name + rb" -(?:i|s\d) (\d{1,12})\n", text) for name in _SPHERE_FIELDS)
    numbers = [int(each[1]) if each else None for each in found]
    counts = [number for number in numbers if number is not None]
    stated = counts[0] * counts[1] * counts[2] if len(counts) == len(_SPHERE_FIELDS) else None
    return SampleData(min(int(size[1]), len(data)), stated, kind="")


_SPHERE_FIELDS = (b"sample_count", b"channel_count", b"sample_n_bytes")


def first_unread_byte(data: bytes, end: int) -> int | None:
    """Find the first byte after the audio that is neither chunk, tag nor padding; None if there is none.

    Args:
        data: the file.
        end: the position after its audio.
    """
    form = _CHUNK_LAYOUTS.get(data[:4])
    if form:
        end = _end_of_chunks(data, form, end + -end % form.pad)
    return None if is_padding_or_tag(data[end:]) else end


def is_padding_or_tag(rest: bytes) -> bool:
    """Check whether bytes are a repetition of one byte, or a tag of ID3, APE or Lyrics3."""
    return rest.count(rest[:1]) == len(rest) or not rest or rest.lstrip(b"\0").startswith(_TAGS)


def _end_of_chunks(data: bytes, form: _ChunkLayout, at: int) -> int:
    """Return the position after the chunks from ``at`` on that have a printable name and end within the file."""
    for chunk in _iter_chunks(data, form, at):
        plain = (
            bool(_PRINTABLE.fullmatch(chunk.name[:4]))
            and chunk.name not in _AUDIO_CHUNKS
            and chunk.name not in _CHUNK_LAYOUTS
        )
        stop = chunk.start + chunk.size
        if not plain or chunk.size < 0 or (stop > len(data) and chunk.name not in _OFTEN_TRUNCATED):
            return chunk.at
        at = min(len(data), stop + -stop % form.pad)
    return at


_OFTEN_TRUNCATED = {b"LIST", b"id3 ", b"ID3 ", b"bext", b"PEAK", b"cue ", b"fact", b"JUNK", b"free"}


OGG_MARK = b"OggS"
_OGG_HEADER = struct.Struct("<4sBBqIIIB")
_FIRST_PAGE, _LAST_PAGE = 2, 4  # flags


@dataclass(frozen=True)
class OggPage:
    """The header of one Ogg page."""

    start: int  # position of the page
    end: int  # position after it, possibly beyond the file
    flags: int
    serial: int  # of its stream


@dataclass(frozen=True)
class OggSummary:
    """Summary of the pages of an Ogg file."""

    cut: bool  # the last page is truncated
    ended: bool  # each stream has a page marked as its last one
    second: int | None  # position of a second recording
    skipped: int  # bytes that belong to no page


def scan_ogg(data: bytes) -> OggSummary:
    """Parse the headers of all pages."""
    pages = list(_iter_pages(data))
    first = _count_first_pages(pages)
    own = pages[:first]
    ends = [0, *(page.end for page in own)]
    starts = [*(page.start for page in own), pages[first].start if first < len(pages) else len(data)]
    return OggSummary(
        cut=bool(own) and own[-1].end > len(data),
        ended={page.serial for page in own} <= {page.serial for page in own if page.flags & _LAST_PAGE},
        second=pages[first].start if first < len(pages) else None,
        skipped=sum(_count_unread(data[end:start]) for start, end in zip(starts, ends, strict=True)),
    )


def _iter_pages(data: bytes) -> Iterator[OggPage]:
    """Yield the pages, skipping anything between them."""
    at = data.find(OGG_MARK)
    while at >= 0:
        page = _parse_page(data, at)
        yield page
        ends_well = page.end >= len(data) or data.startswith(OGG_MARK, page.end)
        at = data.find(OGG_MARK, page.end if ends_well else at + len(OGG_MARK))


def _parse_page(data: bytes, at: int) -> OggPage:
    """Parse the header of a page; a truncated header gives a page that ends beyond the file."""
    if at + _OGG_HEADER.size > len(data):
        return OggPage(at, len(data) + 1, 0, -1)
    _, _, flags, _, serial, _, _, segments = _OGG_HEADER.unpack_from(data, at)
    table = data[at + _OGG_HEADER.size : at + _OGG_HEADER.size + segments]
    return OggPage(at, at + _OGG_HEADER.size + segments + sum(table) + (len(table) < segments), flags, serial)


def _count_unread(rest: bytes) -> int:
    """Count the bytes between pages, unless they are a tag or padding."""
    return 0 if is_padding_or_tag(rest) else len(rest)


def _count_first_pages(pages: list[OggPage]) -> int:
    """Count the pages of the first recording; streams that begin together belong to the same one."""
    begun = False
    for index, page in enumerate(pages):
        if page.flags & _FIRST_PAGE and begun:
            return index
        begun = begun or not page.flags & _FIRST_PAGE
    return len(pages)


FLAC_MARK = b"fLaC"
_FLAC_TOTAL_SAMPLES = 21  # position of the 36-bit number of samples
_FLAC_BLOCK_SIZES = {1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608} | {8 + power: 256 << power for power in range(8)}


@dataclass(frozen=True)
class FlacStream:
    """The length of a FLAC file, in samples per channel."""

    stated: int  # samples; 0 if the header states none
    held: int | None  # samples up to the end of the last frame; None if no frame is found
    second: int | None  # position of a second recording

    def with_stated_samples(self, data: bytes, samples: int) -> bytes:
        """Return the file with another number of samples in its header."""
        head = bytes([data[_FLAC_TOTAL_SAMPLES] & 0xF0 | samples >> 32]) + struct.pack(">I", samples & 0xFFFFFFFF)
        return data[:_FLAC_TOTAL_SAMPLES] + head + data[_FLAC_TOTAL_SAMPLES + len(head) :]


def scan_flac(data: bytes) -> FlacStream | None:
    """Parse a FLAC file; None if it has no header."""
    head = data[:42]
    if len(head) < 42 or head[4] & 0x7F != 0:
        return None
    stated = int.from_bytes(head[_FLAC_TOTAL_SAMPLES : _FLAC_TOTAL_SAMPLES + 5], "big") & (2**36 - 1)
    second = data.find(FLAC_MARK, 42)
    while second >= 0 and data[second + 4 : second + 8] not in (b"\0\0\0\x22", b"\x80\0\0\x22"):
        second = data.find(FLAC_MARK, second + 4)
    return FlacStream(stated, _count_flac_samples(data, stated), None if second < 0 else second)


def _count_flac_samples(data: bytes, stated: int) -> int | None:
    """Count the samples up to the end of the last frame; a count that contradicts the header needs a valid checksum.

    None if other bytes, such as a tag, follow the last frame, because its end is then unknown.
    """
    first = _first_frame_position(data)
    opening = _parse_flac_frame(data, first, 0)
    if opening is None:
        return None
    mark, block = data[first : first + 2], opening[1]
    fixed = not mark[1] & 1
    at = data.rfind(mark, first)
    while at >= first:
        frame = _parse_flac_frame(data, at, first)
        if frame is not None:
            number, size = frame
            held = (number * block if fixed else number) + size
            return held if held == stated or _crc16(data[at:]) == 0 else None
        at = data.rfind(mark, first, at + 1)
    return None


def _first_frame_position(data: bytes) -> int:
    """Return the position after the metadata blocks."""
    at, last = len(FLAC_MARK), False
    while not last and at + 4 <= len(data):
        last = bool(data[at] & 0x80)
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    return at


def _parse_flac_frame(data: bytes, at: int, like: int) -> tuple[int, int] | None:
    """Parse the header of a frame into its number and its samples; None if invalid or unlike the first frame."""
    head = data[at : at + 16]
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    if like and (head[2] ^ data[like + 2]) & 0x0F | (head[3] ^ data[like + 3]) & 0x0E:
        return None
    number, used = _decode_utf8_number(head[4:])
    code, behind = head[2] >> 4, 4 + used
    wide = {6: 1, 7: 2}.get(code, 0)
    size = int.from_bytes(head[behind : behind + wide], "big") + 1 if wide else _FLAC_BLOCK_SIZES.get(code, 0)
    behind += wide + {12: 1, 13: 2, 14: 2}.get(head[2] & 0x0F, 0)
    whole = used and size and behind < len(head) and _crc8(head[:behind]) == head[behind]
    return (number, size) if whole else None


def _decode_utf8_number(data: bytes) -> tuple[int, int]:
    """Decode a UTF-8-like number of up to 36 bits; return it and its size in bytes, 0 if invalid."""
    ones = 8 - (data[0] ^ 0xFF).bit_length()
    if ones == 0:
        return data[0], 1
    rest = data[1:ones]
    if ones == 1 or ones == 8 or len(rest) < ones - 1 or any(byte & 0xC0 != 0x80 for byte in rest):
        return 0, 0
    value = data[0] & (0x7F >> ones)
    for byte in rest:
        value = value << 6 | byte & 0x3F
    return value, ones


def _crc8(data: bytes) -> int:
    """Compute the CRC-8 with polynomial x^8 + x^2 + x + 1 and initial value 0."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value << 1 ^ 0x107 * (value >> 7)
    return value


def _crc16(data: bytes) -> int:
    """Compute the CRC-16 with polynomial x^16 + x^15 + x^2 + 1; 0 for a frame that includes its checksum."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = value << 1 ^ 0x18005 * (value >> 15)
    return value
