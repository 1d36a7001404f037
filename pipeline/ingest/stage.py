"""Stage ``ingest``: read one corpus' file names and audio into a manifest.

Rows are mappings of the manifest's columns plus ``mono_sha256``; all functions return ``{path: (status, sentence)}``.
"""

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from pipeline import parallel
from pipeline.audio import formats
from pipeline.core import config, files, paths, tables
from pipeline.core.errors import CorpusError
from pipeline.corpora import checksums, folders, known, registry
from pipeline.corpora.info import TAKE, NameRefused, Page
from pipeline.ingest import annotations, measure, summary


@dataclass(frozen=True)
class Found:
    """Files below a corpus folder, as sorted relative paths."""

    audio: list[PurePath]
    system: int  # .DS_Store and the like: no row, only counted
    strange: list[PurePath]  # no audio by their names: only counted too, but for the publisher's tables
    unread: list[PurePath]  # those of them that are sound in a format that is not read, and clips by their names


def run(corpus: str, folder: Path, output: Path, *, limits: measure.Limits, processes: int = 1) -> pd.DataFrame:
    """Write the manifest of the corpus in ``folder`` to ``output`` and return it.

    Raises:
        CorpusError: the folder is missing, empty, or holds more bad files than ``limits.max_bad``; nothing is written.
    """
    page = registry.corpus_info(corpus)
    found = find(page, folder)
    examine = partial(row, page, folder, limits=limits)
    rows = list(parallel.spread(examine, found.audio, crew=parallel.Crew(processes), label=f"ingest {corpus}"))
    known = annotations.read(page, folder, found.strange)
    rows = judge(annotations.enriched(rows, known), checksums.hashes(corpus))
    refuse_bad(rows, page.name, folder, max_bad=limits.max_bad)
    refuse_unusable(rows, page.name, folder)
    about = {name: getattr(page, name) for name in ("title", "language", "licence", "citation")}
    tables.write_manifest(rows, output, synthetic=is_synthetic(folder), about=about)
    frame = tables.read_manifest(output)
    other = Counter(path.suffix for path in found.strange if path.name not in known.read)
    said = summary.ingest_summary(frame, corpus, system=found.system, other=other)
    print("\n".join([said, *annotations.lines(page, known, rows), *formats.told(found.unread, str(folder))]))
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
    ours = [path for path in every if not files.is_system(path)]
    audio = [path for path in ours if files.is_audio(path)]
    strange = [path for path in ours if not files.is_audio(path) and path.name != files.MARKER]
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
            if paths.is_broken_link(path := Path(top, name)) and not files.is_audio(path):
                raise CorpusError(f"{path} is a link to {path.readlink()}, which cannot be reached: mend or delete it.")
            if name != name.encode(errors="replace").decode():
                raise CorpusError(f"{os.fsencode(name)!r} in {top!r} is no UTF-8 name: rename the file.")
            yield PurePath(top, name).relative_to(folder)


def refuse_unlisted(error: OSError) -> None:
    """Stop at a folder that cannot be read, which ``os.walk`` would pass over."""
    raise CorpusError(f"{error.filename} cannot be listed ({error.strerror}): make it readable.")


def refuse_empty_classes(page: Page, folder: Path, audio: Sequence[PurePath], unread: Sequence[PurePath]) -> None:
    """In a tree of emotion folders, an empty one is a broken copy, or one in a format that is not read."""
    if page.name in known.KNOWN:
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


def row(page: Page, folder: Path, path: PurePath, *, limits: measure.Limits) -> dict[str, Any]:
    """Make the manifest row of one file, with ``mono_sha256`` beside it."""
    measured = measure.examine(folder / path, limits, name=path.as_posix())
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
    verdicts = find_duplicates([row for row in rows if row["status"] == "ok"], published)
    marks = {path: {"status": status, "detail": detail} for path, (status, detail) in verdicts.items()}
    return [dict(row) | marks.get(row["path"], {}) for row in rows]


def refuse_bad(rows: Sequence[Mapping[str, Any]], corpus: str, folder: Path, *, max_bad: float) -> None:
    """Stop where too much is wrong to go on; duplicates and other material do not count."""
    bad = [row for row in rows if row["status"] not in tables.NOT_BAD]
    if len(bad) <= max_bad * len(rows):
        return
    reasons = Counter(row["status"] for row in bad)
    reason, count = reasons.most_common(1)[0]
    example = next(row["detail"] for row in bad if row["status"] == reason)
    if len(reasons) > 1:
        print(summary.rejection_reasons(rows), file=sys.stderr)
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
    return (folder / files.MARKER).is_file()


def main() -> None:
    """Read params.yaml and ingest the corpus named on the command line."""
    params = config.read()
    config.corpora(params)  # refuses a name that would be several words here
    (corpus,) = sys.argv[1:]
    folder = config.corpus(params, corpus)
    limits = config.section(measure.Limits, params, "ingest")
    if is_synthetic(folder):
        limits = replace(limits, max_bad=config.share(config.get(params, "data.demo.max_bad"), "data.demo.max_bad"))
    execute = config.section(parallel.Execute, params, "execute")
    run(corpus, folder, Path(f"data/manifest/{corpus}.parquet"), limits=limits, processes=execute.processes)


Row = Mapping[str, Any]
Verdicts = dict[str, tuple[str, str]]


def find_duplicates(rows: Iterable[Row], published: Collection[str]) -> Verdicts:
    """Judge usable rows: copies of samples first, then the same name on other bytes.

    ``published`` holds the hashes of the corpus' checksum table; it is empty for a corpus without one, whose names need
    not be unique.
    """
    ordered = sorted(rows, key=lambda row: str(row["path"]))
    verdicts = same_samples(ordered, published)
    rest = [row for row in ordered if row["path"] not in verdicts]
    return verdicts | (same_name(rest, published) if published else {})


def same_samples(rows: Iterable[Row], published: Collection[str]) -> Verdicts:
    """Leave out all but one of equal recordings, and all of those whose labels or speakers disagree."""
    verdicts: Verdicts = {}
    for group in groups(rows, lambda row: (row["mono_sha256"], row["sample_rate"])):
        if len({(row["emotion"], row["speaker"]) for row in group}) > 1:  # whose voice or emotion it is cannot be told
            names = " = ".join(f"{row['path']} ({row['emotion']}, {row['speaker'] or 'no speaker'})" for row in group)
            verdicts |= {
                row["path"]: ("label_conflict", f"The same samples under several labels or speakers: {names}.")
                for row in group
            }
        else:
            verdicts |= all_but_one(group, published, "has the same samples as")
    return verdicts


def same_name(rows: Iterable[Row], published: Collection[str]) -> Verdicts:
    """Leave out edited or re-encoded copies of a take, keeping the one that is as published."""
    verdicts: Verdicts = {}
    for group in groups(rows, lambda row: tuple(row[column] for column in TAKE)):
        verdicts |= all_but_one(group, published, "has other samples, and the name of")
    return verdicts


def groups(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> list[list[Row]]:
    """Gather rows of equal key; only groups of two and more count."""
    gathered: defaultdict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        gathered[key(row)].append(row)
    return [group for group in gathered.values() if len(group) > 1]


def all_but_one(group: list[Row], published: Collection[str], relation: str) -> Verdicts:
    """Keep the row whose bytes or samples are published, else the first."""
    kept = next((row for row in group if {row["sha256"], row["samples_sha256"]} & set(published)), group[0])
    return {
        row["path"]: ("duplicate", f"{row['path']} {relation} {kept['path']}, which stays.")
        for row in group
        if row is not kept
    }
