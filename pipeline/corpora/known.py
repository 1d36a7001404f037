"""The corpora that are known by name, and files recognised as theirs. A new corpus is named in ``KNOWN``."""

from pathlib import PurePath

from pipeline.corpora import crema_d, emodb, ravdess, savee, tess
from pipeline.corpora.info import NameRefused, Page

KNOWN: dict[str, Page] = {page.PAGE.name: page.PAGE for page in (ravdess, crema_d, tess, savee, emodb)}


def recognise(path: PurePath) -> str | None:
    """Name the known corpus that a file belongs to by its name.

    >>> recognise(PurePath("Savee/DC_a01.wav")), recognise(PurePath("a01.wav"))
    ('savee', None)
    """
    return next((name for name, page in KNOWN.items() if owns(page, path)), None)


def owns(page: Page, path: PurePath) -> bool:
    """Say whether a name is one of this corpus: of its form, with codes it has, outside the folders it skips."""
    if page.skips(path) or not page.stem.fullmatch(path.stem):
        return False
    try:
        page.parse(path)
    except NameRefused as refusal:
        return refusal.status != "unknown_name"
    return True
