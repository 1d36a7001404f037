"""The corpora by name."""

from pipeline.core import config
from pipeline.corpora import folders
from pipeline.corpora.info import Page
from pipeline.corpora.known import KNOWN


def corpus_info(name: str) -> Page:
    """Give the page of a known corpus, or else that of a folder-per-emotion tree of this name.

    >>> corpus_info("tess").clips, corpus_info("my_corpus").clips
    (2800, 0)

    Raises:
        SettingError: the name could not be a folder, a DVC stage and a metric at once.
    """
    config.refuse_corpus_name(name, "params.yaml: data.corpora:")
    if name in KNOWN:
        return KNOWN[name]
    return folders.page(name)
