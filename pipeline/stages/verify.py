"""Compare a folder with the published table of a corpus, file by file; ``ser-features corpora verify``."""

import os
from functools import partial
from pathlib import Path, PurePath

import pandas as pd

from pipeline.corpora import registry, tables, wholeness
from pipeline.corpora.files import is_audio, is_system
from pipeline.corpora.gather import refuse
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
    paths = sorted(path.as_posix() for path in walk(folder) if not page.skips(path))
    look = partial(contents.look, folder, published=tables.hashes(corpus))
    seen = crew.spread(look, paths, crew=crew.Crew(processes), label=f"verify {corpus}")
    return wholeness.compare(page, table, seen)


def walk(folder: Path) -> list[PurePath]:
    """List the recordings below a folder as relative paths."""
    tops = os.walk(folder, onerror=refuse)
    every = [PurePath(top, name).relative_to(folder) for top, _, names in tops for name in names]
    return [path for path in every if is_audio(path) and not is_system(path)]
