"""Look up corpora by name."""

from pipeline.core import config
from pipeline.corpora import folders
from pipeline.corpora.info import Page
from pipeline.corpora.known import KNOWN


def corpus_info(name: str) -> Page:
    """Return the description of a known corpus, or of a user's folder-per-emotion corpus of this name.

    >>> corpus_info("tess").clips, corpus_info("my_corpus").clips
    (2800, 0)

    Raises:
        SettingError: the name is not a valid corpus name.
    """
    config.refuse_corpus_name(name, "params.yaml: data.corpora:")
    return KNOWN[name] if name in KNOWN else folders.page(name)
