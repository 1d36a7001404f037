"""Compare a folder with the published table of a corpus, file by file; ``ser-features corpora verify``."""

from functools import partial
from pathlib import Path

import pandas as pd

from pipeline.corpora import gather, registry, tables, wholeness
from pipeline.errors import CorpusError
from pipeline.stages import crew
from pipeline.store import contents


def run(corpus: str, folder: Path, *, processes: int = 1) -> pd.DataFrame:
    """Judge every published clip of a corpus, and every other recording in the folder.

    Returns:
        ``path status found detail``, see `wholeness.compare`.

    Raises:
        UnknownNameError: nobody has published a table of this corpus.
        CorpusError: there is no such folder.
        SettingError: a folder below it cannot be listed.
    """
    table, page = tables.table(corpus), registry.page(corpus)
    if not folder.is_dir():
        raise CorpusError(f"{folder} is no folder: name the one that holds {page.title}.")
    files = (path.relative_to(folder) for path in gather.below(folder))
    paths = sorted(path.as_posix() for path in files if not page.skips(path))
    look = partial(contents.look, folder, published=tables.hashes(corpus))
    seen = crew.spread(look, paths, crew=crew.Crew(processes), label=f"verify {corpus}")
    return wholeness.compare(page, table, seen)
