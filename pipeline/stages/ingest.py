"""Read one corpus' file names and audio into a manifest: ``python -m pipeline.stages.ingest ravdess``."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from pipeline import config, paths
from pipeline.corpora import files as names
from pipeline.corpora import folders, formats, registry, tables
from pipeline.corpora.clip import NameRefused, Page
from pipeline.errors import CorpusError
from pipeline.stages import crew, entry, publisher
from pipeline.store import duplicates, facts, findings, manifest


@dataclass(frozen=True)
class Found:
    """Files below a corpus folder, as sorted relative paths."""

    audio: list[PurePath]
    system: int  # .DS_Store and the like: no row, only counted
    strange: list[PurePath]  # no audio by their names: only counted too, but for the publisher's tables
    unread: list[PurePath]  # those of them that are sound in a format that is not read, and clips by their names


def run(corpus: str, folder: Path, output: Path, *, limits: facts.Limits, processes: int = 1) -> pd.DataFrame:
    """Write the manifest of the corpus in ``folder`` to ``output`` and return it.

    Raises:
        CorpusError: the folder is missing, empty, or holds more bad files than ``limits.max_bad``; nothing is written.
    """
    page = registry.page(corpus)
    found = find(page, folder)
    examine = partial(row, page, folder, limits=limits)
    rows = list(crew.spread(examine, found.audio, crew=crew.Crew(processes), label=f"ingest {corpus}"))
    known = publisher.read(page, folder, found.strange)
    rows = judge(publisher.enriched(rows, known), tables.hashes(corpus))
    refuse_bad(rows, page.name, folder, max_bad=limits.max_bad)
    refuse_unusable(rows, page.name, folder)
    about = {name: getattr(page, name) for name in ("title", "language", "licence", "citation")}
    manifest.write(rows, output, synthetic=is_synthetic(folder), about=about)
    frame = manifest.read(output)
    other = Counter(path.suffix for path in found.strange if path.name not in known.read)
    said = findings.summary(frame, corpus, system=found.system, other=other)
    print("\n".join([said, *publisher.lines(page, known, rows), *formats.told(found.unread, str(folder))]))
    return frame


def find(page: Page, folder: Path) -> Found:
    """List the audio files of a corpus.

    Raises:
        CorpusError: there is no folder, no audio in it that is read, or a folder named after an emotion holds none.
    """
    if not paths.is_folder(folder):
        state = "is not a folder" if folder.exists() else "does not exist"
        raise CorpusError(f"data.corpora.{page.name}: {folder} {state}: {remedy(page.name)}")
    every = sorted((path for path in walk(folder) if not page.skips(path)), key=lambda path: path.as_posix())
    ours = [path for path in every if not names.is_system(path)]
    audio = [path for path in ours if names.is_audio(path)]
    strange = [path for path in ours if not names.is_audio(path) and path.name != names.MARKER]
    unread = formats.unread(ours)
    if not audio:
        mend = without(unread, folder) or f": {remedy(page.name)}"
        raise CorpusError(f"data.corpora.{page.name}: {folder} holds no audio file{mend}")
    refuse_empty_classes(page, folder, audio, unread)
    return Found(audio, len(every) - len(ours), strange, [path for path in unread if spoken(page, path)[1] is None])


def remedy(corpus: str) -> str:
    """Say how to mend a folder that is not there."""
    return (
        f"point it at the corpus with 'dvc exp run -S data.corpora.{corpus}=/path/to/it' "
        f"or take it out with -S '~data.corpora.{corpus}'."
    )


def walk(folder: Path) -> Iterator[PurePath]:
    """List all files below a folder as relative paths.

    Raises:
        CorpusError: a folder cannot be listed, or is a link, which DVC would not follow; a link that may stand for a
            folder leads to nothing; a name is not UTF-8.
    """
    for top, below, here in os.walk(folder, onerror=refuse_unlisted):
        for name in below:
            if Path(top, name).is_symlink():
                raise CorpusError(
                    f"{Path(top, name)} is a link to a folder, which DVC does not follow: put a copy there."
                )
        for name in here:
            if paths.is_broken_link(path := Path(top, name)) and not names.is_audio(path):
                raise CorpusError(f"{path} is a link to {path.readlink()}, which cannot be reached: mend or delete it.")
            if name != name.encode(errors="replace").decode():
                raise CorpusError(f"{os.fsencode(name)!r} in {top!r} is no UTF-8 name: rename the file.")
            yield PurePath(top, name).relative_to(folder)


def refuse_unlisted(error: OSError) -> None:
    """Stop at a folder that cannot be read, which ``os.walk`` would pass over."""
    raise CorpusError(f"{error.filename} cannot be listed ({error.strerror}): make it readable.")


def refuse_empty_classes(page: Page, folder: Path, audio: Sequence[PurePath], unread: Sequence[PurePath]) -> None:
    """In a tree of emotion folders, an empty one is a broken copy, or one in a format that is not read."""
    if page.name in registry.KNOWN:
        return
    filled = {parent for path in audio for parent in path.parents}
    for path in sorted(folder.rglob("*/")):
        if folders.alias(path.name) and path.relative_to(folder) not in filled:
            here = [each for each in unread if path.relative_to(folder) in each.parents]
            mend = without(here, path) or ": fill the class or delete the folder."
            raise CorpusError(f"data.corpora.{page.name}: {path} holds no audio{mend}")


def without(unread: Sequence[PurePath], folder: Path) -> str:
    """End a sentence about a folder that holds no audio which is read, but other sound; nothing where it does not."""
    return "\n".join([" that is read:", *formats.told(unread, str(folder))]) if unread else ""


def row(page: Page, folder: Path, path: PurePath, *, limits: facts.Limits) -> dict[str, Any]:
    """Make the manifest row of one file, with ``mono_sha256`` beside it."""
    measured = facts.examine(folder / path, limits, name=path.as_posix())
    said, refused = spoken(page, path)
    if measured.status == "ok" and refused:
        measured = replace(measured, status=refused.status, detail=str(refused))
    if page.sample_rate and measured.sample_rate not in (None, page.sample_rate):
        measured = replace(measured, warnings=",".join(filter(None, [measured.warnings, "other_rate"])))
    where = {"clip_id": f"{page.name}/{path.as_posix()}", "corpus": page.name, "path": path.as_posix()}
    return said | asdict(measured) | where


def spoken(page: Page, path: PurePath) -> tuple[dict[str, Any], NameRefused | None]:
    """Give what the name says, or why it says nothing."""
    try:
        return asdict(page.parse(path)), None
    except NameRefused as error:
        return {}, error


def judge(rows: Sequence[Mapping[str, Any]], published: frozenset[str]) -> list[dict[str, Any]]:
    """Mark the duplicates among the usable rows."""
    verdicts = duplicates.find([row for row in rows if row["status"] == "ok"], published)
    marks = {path: {"status": status, "detail": detail} for path, (status, detail) in verdicts.items()}
    return [dict(row) | marks.get(row["path"], {}) for row in rows]


def refuse_bad(rows: Sequence[Mapping[str, Any]], corpus: str, folder: Path, *, max_bad: float) -> None:
    """Stop where too much is wrong to go on; duplicates and other material do not count."""
    bad = [row for row in rows if row["status"] not in manifest.NOT_BAD]
    if len(bad) <= max_bad * len(rows):
        return
    reasons = Counter(row["status"] for row in bad)
    reason, count = reasons.most_common(1)[0]
    example = next(row["detail"] for row in bad if row["status"] == reason)
    if len(reasons) > 1:
        print(findings.reasons(rows), file=sys.stderr)
    raise CorpusError(
        f"data.corpora.{corpus}: {len(bad)} of {len(rows)} files in {folder} cannot be used "
        f"(ingest.max_bad allows {max_bad:.1%}); {count} are {reason}, such as this one: {example}"
    )


def refuse_unusable(rows: Sequence[Mapping[str, Any]], corpus: str, folder: Path) -> None:
    """Stop where nothing is left: a corpus that is listed is never absent in silence."""
    if not any(row["status"] == "ok" for row in rows):
        example = next(row["detail"] for row in rows)
        raise CorpusError(f"data.corpora.{corpus}: none of the {len(rows)} files in {folder} can be used: {example}")


def is_synthetic(folder: Path) -> bool:
    """Say whether the demo made this folder."""
    return (folder / names.MARKER).is_file()


def main() -> None:
    """Read params.yaml and ingest the corpus named on the command line."""
    params = config.read()
    config.corpora(params)  # refuses a name that would be several words here
    (corpus,) = sys.argv[1:]
    folder = config.corpus(params, corpus)
    limits = config.section(facts.Limits, params, "ingest")
    if is_synthetic(folder):
        limits = replace(limits, max_bad=config.share(config.get(params, "data.demo.max_bad"), "data.demo.max_bad"))
    execute = config.section(crew.Execute, params, "execute")
    run(corpus, folder, Path(f"data/manifest/{corpus}.parquet"), limits=limits, processes=execute.processes)


if __name__ == "__main__":
    entry.stage(main)
