"""Look up corpora by name."""

from pipeline.core import config
from pipeline.corpora import folders
from pipeline.corpora.info import CorpusInfo
from pipeline.corpora.known import KNOWN_CORPORA


def corpus_info(name: str) -> CorpusInfo:
    """Return the description of a known corpus, or of a user's folder-per-emotion corpus of this name.

    >>> corpus_info("tess").clips, corpus_info("my_corpus").clips
    (2800, 0)

    Raises:
        SettingError: the name is not a valid corpus name.
    """
    config.check_corpus_name(name, "params.yaml: data.corpora:")
    return KNOWN_CORPORA[name] if name in KNOWN_CORPORA else folders.folder_corpus_info(name)
