"""The errors a user can mend: one root, few children, each a sentence with the value and the remedy.

Bugs are not wrapped: they keep their traceback. The command line and the stages print these in one line.
"""

from collections.abc import Iterable
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
