"""The corpora by name, and files recognised as theirs. A new corpus is added to ``KNOWN_CORPORA``."""

from pathlib import PurePath

from pipeline.corpora import crema_d, emodb, ravdess, savee, tess
from pipeline.corpora.info import CorpusInfo, FileNameError

KNOWN_CORPORA: dict[str, CorpusInfo] = {
    info.name: info for info in (ravdess.INFO, crema_d.INFO, tess.INFO, savee.INFO, emodb.INFO)
}


def recognise_corpus(path: PurePath) -> str | None:
    """Return the known corpus whose naming scheme a file follows, or None.

    >>> recognise_corpus(PurePath("Savee/DC_a01.wav")), recognise_corpus(PurePath("a01.wav"))
    ('savee', None)
    """
    return next((name for name, info in KNOWN_CORPORA.items() if _owns_name(info, path)), None)


def _owns_name(info: CorpusInfo, path: PurePath) -> bool:
    """Check whether a path has the form and the codes of a corpus, outside the folders it skips."""
    if info.skips(path) or not info.stem.fullmatch(path.stem):
        return False
    try:
        info.parse(path)
    except FileNameError as refusal:
        return refusal.status != "unknown_name"
    return True
