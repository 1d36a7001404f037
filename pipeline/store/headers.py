"""Where the sound lies in a file of plain samples, and how many bytes of it the header states.

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
