"""How many samples a FLAC file states, and how many its last frame says it has (RFC 9639)."""

import struct
from dataclasses import dataclass

MARK = b"fLaC"
_TOTAL = 21  # byte in which the 36 bits of the number of samples begin
_SIZES = {1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608} | {8 + power: 256 << power for power in range(8)}


@dataclass(frozen=True)
class Stream:
    """What a FLAC file says of its length. Samples are those of one channel."""

    stated: int  # samples; 0 where the header states none
    held: int | None  # samples up to the end of the last frame that is found; None where none is
    second: int | None  # byte at which another recording begins

    def restated(self, data: bytes, samples: int) -> bytes:
        """Give the file with another number of samples in its header."""
        head = bytes([data[_TOTAL] & 0xF0 | samples >> 32]) + struct.pack(">I", samples & 0xFFFFFFFF)
        return data[:_TOTAL] + head + data[_TOTAL + len(head) :]


def scan(data: bytes) -> Stream | None:
    """Read a file; None where it has no header."""
    head = data[:42]
    if len(head) < 42 or head[4] & 0x7F != 0:
        return None
    stated = int.from_bytes(head[_TOTAL : _TOTAL + 5], "big") & (2**36 - 1)
    second = data.find(MARK, 42)
    while second >= 0 and data[second + 4 : second + 8] not in (b"\0\0\0\x22", b"\x80\0\0\x22"):
        second = data.find(MARK, second + 4)
    return Stream(stated, _held(data, stated), None if second < 0 else second)


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
    at, last = len(MARK), False
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
