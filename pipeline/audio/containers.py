"""Where the sound lies in WAV, AIFF, AU, FLAC and Ogg files, and how long it is by their headers.

Chunks of WAV and its relatives (RIFF, RIFX, RF64, AIFF, W64, CAF), and the headers of AU and NIST SPHERE. It decides no
number, so it has no VERSION.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

W64_TAIL = {  # of the GUIDs in Sony Wave64, behind four letters
    b"riff": bytes.fromhex("2e91cf11a5d628db04c10000"),
    b"data": bytes.fromhex("f3acd3118cd100c04f8edb8a"),
}
_SOUND = {b"data", b"SSND", b"BODY"}
_LONGEST = 0x7F000000  # bytes; writers to a pipe state this and more in 32 bits, for they cannot go back to mend it
_LONGEST_64 = 2**47  # bytes
_PRINTABLE = re.compile(rb"[ -~]{4}")
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")


@dataclass(frozen=True)
class Sound:
    """The sound in a file of plain samples. Positions and sizes are in bytes."""

    start: int  # of the samples
    size: int | None  # that the header states; None: up to the end of the file
    field: int = 0  # where the header states it
    kind: str = "<I"  # how
    extra: int = 0  # counted there beside the samples
    coding: int = 1  # as WAV numbers it; 1 for plain samples

    def mended(self, data: bytes) -> bytes:
        """Give the bytes with the true size in the header, where it stated none."""
        if self.size is not None or not self.kind:
            return data
        limit = 2 ** (8 * struct.calcsize(self.kind) - 1) - 1
        value = struct.pack(self.kind, min(limit, len(data) - self.start + self.extra))
        return data[: self.field] + value + data[self.field + len(value) :]


@dataclass(frozen=True)
class _Form:
    """How a family of files is cut into chunks."""

    head: str  # of a chunk: its name and size
    first: int  # byte of the first chunk
    pad: int  # chunks begin at multiples of that many bytes
    whole: int = 0  # bytes of the head that the size counts too


_FORMS = {
    b"RIFF": _Form("<4sI", 12, 2),
    b"RIFX": _Form(">4sI", 12, 2),
    b"RF64": _Form("<4sI", 12, 2),
    b"FORM": _Form(">4sI", 12, 2),
    b"caff": _Form(">4sq", 8, 1),
    b"riff": _Form("<16sq", 40, 8, whole=24),
}


@dataclass(frozen=True)
class _Chunk:
    """One chunk: where it begins, its name, where its content begins and how long that is stated to be."""

    at: int
    name: bytes
    start: int
    size: int


def find_sound(data: bytes) -> Sound | None:
    """Find the sound of a file of plain samples; None where the header is none that is known here, or has no sound."""
    form = _FORMS.get(data[:4])
    if form and (data[:4] != b"riff" or data[4:16] == W64_TAIL[b"riff"]):
        found = _in_chunks(data, form)
    elif data[:4] in (b".snd", b"dns."):
        found = _in_au(data)
    else:
        found = _in_sphere(data) if data.startswith(b"NIST_1A\n") else None
    return found and _believed(data, found)


def _believed(data: bytes, sound: Sound) -> Sound:
    """Take a size that no file has, and 0 where samples follow, for 'up to the end of the file'."""
    longest = _LONGEST if struct.calcsize(sound.kind or "Q") == 4 else _LONGEST_64
    size = sound.size
    if size is None or size < 0 or size + sound.extra >= longest:
        return replace(sound, size=None)
    return replace(sound, size=None) if size == 0 and unread_from(data, sound.start) is not None else sound


def _in_chunks(data: bytes, form: _Form) -> Sound | None:
    """Find the chunk of sound."""
    long, coding = None, 1
    for chunk in _chunks(data, form, form.first):
        if chunk.name == b"ds64":
            long = chunk.start + 8
        elif chunk.name == b"fmt ":
            coding = int.from_bytes(data[chunk.start : chunk.start + 2], "little" if form.head[0] == "<" else "big")
        elif chunk.name in _SOUND:
            return _of_chunk(data, form, chunk, long, coding)
    return None


def _of_chunk(data: bytes, form: _Form, chunk: _Chunk, long: int | None, coding: int) -> Sound:
    """Read where the samples of a chunk begin, and which field states their size."""
    field, kind = chunk.start - struct.calcsize(form.head[0] + form.head[-1]), form.head[0] + form.head[-1]
    if chunk.name == b"data" and long is not None and chunk.size == 0xFFFFFFFF and long + 8 <= len(data):
        return Sound(chunk.start, struct.unpack_from("<q", data, long)[0], long, "<q", 0, coding)
    inner = 0
    if chunk.name == b"SSND":
        inner = 8 + int.from_bytes(data[chunk.start : chunk.start + 4], "big")
    elif form is _FORMS[b"caff"]:
        inner = 4
    size = None if form is _FORMS[b"caff"] and chunk.size < 0 else max(0, chunk.size - inner)
    return Sound(min(chunk.start + inner, len(data)), size, field, kind, inner + form.whole, coding)


def _chunks(data: bytes, form: _Form, at: int) -> Iterator[_Chunk]:
    """List the chunks from a byte on; the last one may state more than there is."""
    head = struct.calcsize(form.head)
    while at >= 0 and at + head <= len(data):
        name, size = struct.unpack_from(form.head, data, at)
        size -= form.whole
        yield _Chunk(at, _name(name), at + head, size)
        if size < 0:
            return
        at = at + head + size
        at += -at % form.pad


def _name(name: bytes) -> bytes:
    """Give four letters for a name of four or for a GUID of Wave64 that is known."""
    return name[:4] if len(name) == 4 or W64_TAIL.get(name[:4], name[4:]) == name[4:] else name


def _in_au(data: bytes) -> Sound | None:
    """Read the header of AU, of either byte order."""
    order = ">" if data[:4] == b".snd" else "<"
    if len(data) < 24:
        return None
    start, size = struct.unpack_from(f"{order}II", data, 4)
    return Sound(min(start, len(data)), size, 8, f"{order}I")


def _in_sphere(data: bytes) -> Sound | None:
    """Read the header of NIST SPHERE, which is text: samples a channel, channels, bytes a sample."""
    size = re.match(rb"NIST_1A\n *(\d{1,6})\n", data)
    if not size:
        return None
    text = data[: int(size[1])]
    found = (re.search(rb"\n" + name + rb" -(?:i|s\d) (\d{1,12})\n", text) for name in _SPHERE)
    numbers = [int(each[1]) if each else None for each in found]
    counts = [number for number in numbers if number is not None]
    stated = counts[0] * counts[1] * counts[2] if len(counts) == len(_SPHERE) else None
    return Sound(min(int(size[1]), len(data)), stated, kind="")


_SPHERE = (b"sample_count", b"channel_count", b"sample_n_bytes")


def unread_from(data: bytes, end: int) -> int | None:
    """Give the byte from which on a file holds what is neither chunk, tag nor padding; None where all of that is.

    Args:
        data: the file.
        end: the byte behind its sound.
    """
    form = _FORMS.get(data[:4])
    if form:
        end = _behind_chunks(data, form, end + -end % form.pad)
    return None if is_padding_or_tag(data[end:]) else end


def is_padding_or_tag(rest: bytes) -> bool:
    """Say whether bytes beside the sound are the same one again and again, or a tag of ID3, APE or Lyrics3."""
    return rest.count(rest[:1]) == len(rest) or not rest or rest.lstrip(b"\0").startswith(_TAGS)


def _behind_chunks(data: bytes, form: _Form, at: int) -> int:
    """Give the byte behind the chunks that begin here: those with a name in letters that end within the file."""
    for chunk in _chunks(data, form, at):
        plain = bool(_PRINTABLE.fullmatch(chunk.name[:4])) and chunk.name not in _SOUND and chunk.name not in _FORMS
        stop = chunk.start + chunk.size
        if not plain or chunk.size < 0 or (stop > len(data) and chunk.name not in _OFTEN_CUT):
            return chunk.at
        at = min(len(data), stop + -stop % form.pad)
    return at


_OFTEN_CUT = {b"LIST", b"id3 ", b"ID3 ", b"bext", b"PEAK", b"cue ", b"fact", b"JUNK", b"free"}


OGG_MARK = b"OggS"
_HEAD = struct.Struct("<4sBBqIIIB")
_FIRST, _LAST = 2, 4  # flags


@dataclass(frozen=True)
class Page:
    """One page, from its header."""

    start: int  # byte
    end: int  # the byte behind it, which may lie behind the file
    flags: int
    serial: int  # of its stream


@dataclass(frozen=True)
class Pages:
    """What the pages of a file say of it."""

    cut: bool  # the last page breaks off
    ended: bool  # each stream has the page that is marked as its last one
    second: int | None  # byte at which another recording begins, behind the first
    skipped: int  # bytes that are no pages


def scan_ogg(data: bytes) -> Pages:
    """Read the headers of all pages."""
    pages = list(_pages(data))
    first = _before_second(pages)
    own = pages[:first]
    ends = [0, *(page.end for page in own)]
    begins = [*(page.start for page in own), pages[first].start if first < len(pages) else len(data)]
    return Pages(
        cut=bool(own) and own[-1].end > len(data),
        ended={page.serial for page in own} <= {page.serial for page in own if page.flags & _LAST},
        second=pages[first].start if first < len(pages) else None,
        skipped=sum(_foreign(data[end:begin]) for begin, end in zip(begins, ends, strict=True)),
    )


def _pages(data: bytes) -> Iterator[Page]:
    """List the pages; what lies between two is passed over."""
    at = data.find(OGG_MARK)
    while at >= 0:
        page = _page(data, at)
        yield page
        ends_well = page.end >= len(data) or data.startswith(OGG_MARK, page.end)
        at = data.find(OGG_MARK, page.end if ends_well else at + len(OGG_MARK))


def _page(data: bytes, at: int) -> Page:
    """Read the header of a page; one that breaks off within its header is a page that ends behind the file."""
    if at + _HEAD.size > len(data):
        return Page(at, len(data) + 1, 0, -1)
    _, _, flags, _, serial, _, _, segments = _HEAD.unpack_from(data, at)
    table = data[at + _HEAD.size : at + _HEAD.size + segments]
    return Page(at, at + _HEAD.size + segments + sum(table) + (len(table) < segments), flags, serial)


def _foreign(rest: bytes) -> int:
    """Count the bytes between pages that are no tag and no padding."""
    return 0 if is_padding_or_tag(rest) else len(rest)


def _before_second(pages: list[Page]) -> int:
    """Count the pages of the first recording: streams that begin together are one, one that begins later is another."""
    begun = False
    for index, page in enumerate(pages):
        if page.flags & _FIRST and begun:
            return index
        begun = begun or not page.flags & _FIRST
    return len(pages)


FLAC_MARK = b"fLaC"
_TOTAL = 21  # byte in which the 36 bits of the number of samples begin
_SIZES = {1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608} | {8 + power: 256 << power for power in range(8)}


@dataclass(frozen=True)
class FlacStream:
    """What a FLAC file says of its length. Samples are those of one channel."""

    stated: int  # samples; 0 where the header states none
    held: int | None  # samples up to the end of the last frame that is found; None where none is
    second: int | None  # byte at which another recording begins

    def restated(self, data: bytes, samples: int) -> bytes:
        """Give the file with another number of samples in its header."""
        head = bytes([data[_TOTAL] & 0xF0 | samples >> 32]) + struct.pack(">I", samples & 0xFFFFFFFF)
        return data[:_TOTAL] + head + data[_TOTAL + len(head) :]


def scan_flac(data: bytes) -> FlacStream | None:
    """Read a file; None where it has no header."""
    head = data[:42]
    if len(head) < 42 or head[4] & 0x7F != 0:
        return None
    stated = int.from_bytes(head[_TOTAL : _TOTAL + 5], "big") & (2**36 - 1)
    second = data.find(FLAC_MARK, 42)
    while second >= 0 and data[second + 4 : second + 8] not in (b"\0\0\0\x22", b"\x80\0\0\x22"):
        second = data.find(FLAC_MARK, second + 4)
    return FlacStream(stated, _held(data, stated), None if second < 0 else second)


def _held(data: bytes, stated: int) -> int | None:
    """Find the last frame and count the samples up to its end; what contradicts the header must have a right checksum.

    Where other bytes follow the last frame, such as a tag, its end is not known, and nothing is said.
    """
    first = _first_frame(data)
    opening = _frame(data, first, 0)
    if opening is None:
        return None
    mark, block = data[first : first + 2], opening[1]
    fixed = not mark[1] & 1
    at = data.rfind(mark, first)
    while at >= first:
        frame = _frame(data, at, first)
        if frame is not None:
            number, size = frame
            held = (number * block if fixed else number) + size
            return held if held == stated or _crc16(data[at:]) == 0 else None
        at = data.rfind(mark, first, at + 1)
    return None


def _first_frame(data: bytes) -> int:
    """Give the byte behind the blocks of metadata."""
    at, last = len(FLAC_MARK), False
    while not last and at + 4 <= len(data):
        last = bool(data[at] & 0x80)
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    return at


def _frame(data: bytes, at: int, like: int) -> tuple[int, int] | None:
    """Read the header of a frame: its number, and its samples. None where there is none, or none like the first."""
    head = data[at : at + 16]
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    if like and (head[2] ^ data[like + 2]) & 0x0F | (head[3] ^ data[like + 3]) & 0x0E:
        return None
    number, used = _coded(head[4:])
    code, behind = head[2] >> 4, 4 + used
    wide = {6: 1, 7: 2}.get(code, 0)
    size = int.from_bytes(head[behind : behind + wide], "big") + 1 if wide else _SIZES.get(code, 0)
    behind += wide + {12: 1, 13: 2, 14: 2}.get(head[2] & 0x0F, 0)
    whole = used and size and behind < len(head) and _crc8(head[:behind]) == head[behind]
    return (number, size) if whole else None


def _coded(data: bytes) -> tuple[int, int]:
    """Read a number coded as UTF-8 codes letters, with up to 36 bits; give it and its bytes, 0 where it is none."""
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
    """CRC-8 of the polynomial x^8 + x^2 + x + 1, from zero."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value << 1 ^ 0x107 * (value >> 7)
    return value


def _crc16(data: bytes) -> int:
    """CRC-16 of the polynomial x^16 + x^15 + x^2 + 1, from zero; 0 over a frame with its own checksum at the end."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = value << 1 ^ 0x18005 * (value >> 15)
    return value
