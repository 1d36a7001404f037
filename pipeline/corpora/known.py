"""The known corpora, and the recognition of their files by name. A new corpus is added to ``KNOWN``."""

from pathlib import PurePath

from pipeline.corpora import crema_d, emodb, ravdess, savee, tess
from pipeline.corpora.info import NameRefused, Page

KNOWN: dict[str, Page] = {info.name: info for info in (ravdess.PAGE, crema_d.PAGE, tess.PAGE, savee.PAGE, emodb.PAGE)}


def recognise(path: PurePath) -> str | None:
    """Return the known corpus whose naming scheme a file follows, or None.

    >>> recognise(PurePath("Savee/DC_a01.wav")), recognise(PurePath("a01.wav"))
    ('savee', None)
    """
    return next((name for name, info in KNOWN.items() if owns(info, path)), None)


def owns(info: Page, path: PurePath) -> bool:
    """Check whether a path has the form and the codes of a corpus, outside the folders it skips."""
    if info.skips(path) or not info.stem.fullmatch(path.stem):
        return False
    try:
        info.parse(path)
    except NameRefused as refusal:
        return refusal.status != "unknown_name"
    return True
