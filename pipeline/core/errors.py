"""The errors a user can mend, each one sentence with the value and the remedy; and warnings given once.

Bugs are not wrapped: they keep their traceback. The command line and the stages print these in one line.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class SerError(Exception):
    """Root of all errors that the user, not the programmer, can mend."""


class SettingError(SerError):
    """A value in params.yaml or on the command line that cannot work."""


class UnknownNameError(SettingError):
    """A name that is none of the known ones.

    >>> print(UnknownNameError("model.arch", "cnm", {"cnn", "crnn"}))
    model.arch 'cnm' is unknown, did you mean 'cnn'? Known: cnn, crnn.
    """

    def __init__(self, what: str, name: object, known: Iterable[str], remedy: str = "") -> None:
        super().__init__(what, str(name), sorted(known), remedy)  # all, so that it travels between processes

    def __str__(self) -> str:
        what, name, known, remedy = self.args
        close = get_close_matches(name, known, n=1)
        hint = f", did you mean {close[0]!r}?" if close else "."
        return f"{what} {name!r} is unknown{hint} Known: {', '.join(known)}. {remedy}".rstrip()


class SplitError(SettingError):
    """Clips that cannot be split as asked. ``cause`` is what is missing, ``remedy`` what of the clips would mend it.

    >>> print(SplitError("the data hold 1 speaker", "add another"))
    the data hold 1 speaker: add another.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)  # both, so that it travels between processes

    def __str__(self) -> str:
        cause, remedy = self.args
        return f"{cause}: {remedy}."


class CorpusError(SerError):
    """A corpus folder that is missing, empty or in too bad a state to go on with."""


class AudioError(SerError):
    """A file that holds no usable sound. ``status`` is the manifest's word for the reason."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(status, message)  # both, so that it travels between processes
        self.status = status

    def __str__(self) -> str:
        return str(self.args[1])


class StoreError(SerError):
    """An artefact on disk that is missing, damaged or does not fit the others."""


_said: set[str] = set()
_gathered: list[dict[str, str]] = []


def warn_once(about: str, sentence: str) -> None:
    """Say something that stops nothing: once in a process for each thing that it is about, on standard error."""
    if was_warned(about):
        return
    if _gathered:
        _gathered[-1][about] = sentence
    else:
        _said.add(about)
        print(sentence, file=sys.stderr, flush=True)


def was_warned(about: str) -> bool:
    """Say whether that was said."""
    return about in (_gathered[-1] if _gathered else _said)


@contextmanager
def gather_warnings() -> Iterator[dict[str, str]]:
    """Gather what is told in a block, instead of saying it: a worker hands it to whoever speaks to the user."""
    _gathered.append({})
    try:
        yield _gathered[-1]
    finally:
        _gathered.pop()
