"""Say what stops nothing, once: a lock that cannot be had, a place that does not take what was made."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_said: set[str] = set()
_gathered: list[dict[str, str]] = []


def tell(about: str, sentence: str) -> None:
    """Say something that stops nothing: once in a process for each thing that it is about, on standard error."""
    if is_told(about):
        return
    if _gathered:
        _gathered[-1][about] = sentence
    else:
        _said.add(about)
        print(sentence, file=sys.stderr, flush=True)


def is_told(about: str) -> bool:
    """Say whether that was said."""
    return about in (_gathered[-1] if _gathered else _said)


@contextmanager
def gathered() -> Iterator[dict[str, str]]:
    """Gather what is told in a block, instead of saying it: a worker hands it to whoever speaks to the user."""
    _gathered.append({})
    try:
        yield _gathered[-1]
    finally:
        _gathered.pop()
