"""The corpora by name. A new page is named in ``KNOWN``; nothing else has to know it."""

from pathlib import PurePath

from pipeline.core import config
from pipeline.corpora import crema_d, emodb, ravdess, savee, tess
from pipeline.corpora.info import NameRefused, Page

KNOWN: dict[str, Page] = {page.PAGE.name: page.PAGE for page in (ravdess, crema_d, tess, savee, emodb)}


def page(name: str) -> Page:
    """Give the page of a known corpus, or else that of a folder-per-emotion tree of this name.

    >>> page("tess").clips, page("my_corpus").clips
    (2800, 0)

    Raises:
        SettingError: the name could not be a folder, a DVC stage and a metric at once.
    """
    config.refuse_corpus_name(name, "params.yaml: data.corpora:")
    if name in KNOWN:
        return KNOWN[name]
    from pipeline.corpora import folders  # late: folders looks names up here

    return folders.page(name)


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
