"""What the header of a file states that its decoder does not tell. It decides no number, so it has no VERSION."""

import struct

UNKNOWN_SIZE = {0, 0x7FFFFFFF, 0xFFFFFFFF}  # what writers to a pipe put into a header they cannot go back to


def promises_more(data: bytes) -> bool:
    """Say whether a WAV or AIFF header states more sound than follows (libsndfile quietly reads what is there)."""
    order = {b"RIFF": "<", b"FORM": ">"}.get(data[:4])
    position = 12
    while order and position + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, position)
        if name in (b"data", b"SSND"):
            return size not in UNKNOWN_SIZE and position + 8 + size > len(data)
        position += 8 + size + size % 2
    return False
