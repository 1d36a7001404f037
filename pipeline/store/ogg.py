"""Whether an Ogg file is whole, by its pages (RFC 3533): it states no length, but each page its own."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.store.headers import is_padding_or_tag

MARK = b"OggS"
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


def scan(data: bytes) -> Pages:
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
    at = data.find(MARK)
    while at >= 0:
        page = _page(data, at)
        yield page
        ends_well = page.end >= len(data) or data.startswith(MARK, page.end)
        at = data.find(MARK, page.end if ends_well else at + len(MARK))


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
