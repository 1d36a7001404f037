"""Errors that a user can fix, each one sentence with the value and the remedy; and warnings given once.

The command line and the stages print these errors in one line. Bugs are not wrapped: they keep their traceback.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class SerError(Exception):
    """Base class of all errors that the user, not the programmer, can fix."""


class SettingError(SerError):
    """An invalid value in params.yaml or on the command line."""


class UnknownNameError(SettingError):
    """A name that is not among the known ones.

    >>> print(UnknownNameError("model.arch", "cnm", {"cnn", "crnn"}))
    model.arch 'cnm' is unknown, did you mean 'cnn'? Known: cnn, crnn.
    """

    def __init__(self, what: str, name: object, known: Iterable[str], remedy: str = "") -> None:
        super().__init__(what, str(name), sorted(known), remedy)  # all arguments, so that the error can be pickled

    def __str__(self) -> str:
        what, name, known, remedy = self.args
        close = get_close_matches(name, known, n=1)
        hint = f", did you mean {close[0]!r}?" if close else "."
        return f"{what} {name!r} is unknown{hint} Known: {', '.join(known)}. {remedy}".rstrip()


class SplitError(SettingError):
    """Clips that cannot be split as requested: ``cause`` says what is missing, ``remedy`` which clips to add.

    >>> print(SplitError("the data hold 1 speaker", "add another"))
    the data hold 1 speaker: add another.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)  # both, so that the error can be pickled

    def __str__(self) -> str:
        cause, remedy = self.args
        return f"{cause}: {remedy}."


class CorpusError(SerError):
    """A corpus folder that is missing, empty or too damaged to use."""


class AudioError(SerError):
    """A file without usable audio. ``status`` is the reason as recorded in the manifest."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(status, message)  # both, so that the error can be pickled
        self.status = status

    def __str__(self) -> str:
        return str(self.args[1])


class StoreError(SerError):
    """An artefact on disk that is missing, damaged or inconsistent with the others."""


_warned: set[str] = set()
_collected: list[dict[str, str]] = []


def warn_once(subject: str, message: str) -> None:
    """Print a warning to standard error, once per process for each subject."""
    if was_warned(subject):
        return
    if _collected:
        _collected[-1][subject] = message
    else:
        _warned.add(subject)
        print(message, file=sys.stderr, flush=True)


def was_warned(subject: str) -> bool:
    """Check whether a warning was already given for a subject."""
    return subject in (_collected[-1] if _collected else _warned)


@contextmanager
def collect_warnings() -> Iterator[dict[str, str]]:
    """Collect the warnings of a block instead of printing them: a worker returns them to the main process."""
    _collected.append({})
    try:
        yield _collected[-1]
    finally:
        _collected.pop()
