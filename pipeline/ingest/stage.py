"""Stage ``ingest``: parse file names and measure the audio of one corpus into a manifest.

Rows are mappings with the columns of the manifest, plus ``mono_sha256``.
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
    """The files below a corpus folder, as sorted relative paths."""

    audio: list[PurePath]
    system: int  # number of .DS_Store and similar files
    other: list[PurePath]  # not audio by their names, including the publisher's tables
    unsupported: list[PurePath]  # those of them that are named like clips, but in an unsupported format


def run(corpus: str, folder: Path, output: Path, *, limits: measure.Limits, processes: int = 1) -> pd.DataFrame:
    """Write the manifest of the corpus in ``folder`` to ``output``, and return it.

    Raises:
        CorpusError: the folder is missing, empty, or has more bad files than ``limits.max_bad``; nothing is written.
    """
    info = registry.corpus_info(corpus)
    found = find(info, folder)
    make_row = partial(row, info, folder, limits=limits)
    rows = list(parallel.spread(make_row, found.audio, crew=parallel.Crew(processes), label=f"ingest {corpus}"))
    publisher = annotations.read(info, folder, found.other)
    rows = judge(annotations.enriched(rows, publisher), checksums.hashes(corpus))
    refuse_bad(rows, info.name, folder, max_bad=limits.max_bad)
    refuse_unusable(rows, info.name, folder)
    about = {name: getattr(info, name) for name in ("title", "language", "licence", "citation")}
    tables.write_manifest(rows, output, synthetic=is_synthetic(folder), about=about)
    frame = tables.read_manifest(output)
    other = Counter(path.suffix for path in found.other if path.name not in publisher.file_names)
    text = summary.ingest_summary(frame, corpus, system=found.system, other=other)
    print("\n".join([text, *annotations.lines(info, publisher, rows), *formats.told(found.unsupported, str(folder))]))
    return frame


def find(info: Page, folder: Path) -> Found:
    """List the files of a corpus.

    Raises:
        CorpusError: the folder is missing, or it or a folder named after an emotion has no supported audio.
    """
    if not paths.is_folder(folder):
        state = "is not a folder" if folder.exists() else "does not exist"
        raise CorpusError(f"data.corpora.{info.name}: {folder} {state}: {remedy(info.name)}")
    every = sorted((path for path in walk(folder) if not info.skips(path)), key=lambda path: path.as_posix())
    own = [path for path in every if not files.is_system(path)]
    audio = [path for path in own if files.is_audio(path)]
    other = [path for path in own if not files.is_audio(path) and path.name != files.MARKER]
    unsupported = formats.unread(own)
    if not audio:
        advice = without(unsupported, folder) or f": {remedy(info.name)}"
        raise CorpusError(f"data.corpora.{info.name}: {folder} holds no audio file{advice}")
    refuse_empty_classes(info, folder, audio, unsupported)
    clips = [path for path in unsupported if spoken(info, path)[1] is None]
    return Found(audio, len(every) - len(own), other, clips)


def remedy(corpus: str) -> str:
    """Suggest a remedy for a missing corpus folder."""
    return (
        f"point it at the corpus with 'dvc exp run -S data.corpora.{corpus}=/path/to/it' "
        f"or take it out with -S '~data.corpora.{corpus}'."
    )


def walk(folder: Path) -> Iterator[PurePath]:
    """Yield all files below a folder as relative paths.

    Raises:
        CorpusError: a folder cannot be listed or is a link, which DVC does not follow; a link that might be to a folder
            is broken; a name is not UTF-8.
    """
    for top, below, here in os.walk(folder, onerror=refuse_unlisted):
        for name in below:
            if Path(top, name).is_symlink():
                raise CorpusError(
                    f"{Path(top, name)} is a link to a folder, which DVC does not follow: put a copy there."
                )
        for name in here:
            if paths.is_broken_link(path := Path(top, name)) and not files.is_audio(path):
                raise CorpusError(f"{path} is a link to {path.readlink()}, which cannot be reached: fix or delete it.")
            if name != name.encode(errors="replace").decode():
                raise CorpusError(f"{os.fsencode(name)!r} in {top!r} is no UTF-8 name: rename the file.")
            yield PurePath(top, name).relative_to(folder)


def refuse_unlisted(error: OSError) -> None:
    """Raise an error for a folder that cannot be listed, which ``os.walk`` would skip."""
    raise CorpusError(f"{error.filename} cannot be listed ({error.strerror}): make it readable.")


def refuse_empty_classes(info: Page, folder: Path, audio: Sequence[PurePath], unsupported: Sequence[PurePath]) -> None:
    """Check that every emotion folder of a user's corpus contains supported audio."""
    if info.name in known.KNOWN:
        return
    filled = {parent for path in audio for parent in path.parents}
    for path in sorted(folder.rglob("*/")):
        if folders.alias(path.name) and path.relative_to(folder) not in filled:
            here = [each for each in unsupported if path.relative_to(folder) in each.parents]
            advice = without(here, path) or ": fill the class or delete the folder."
            raise CorpusError(f"data.corpora.{info.name}: {path} holds no audio{advice}")


def without(unsupported: Sequence[PurePath], folder: Path) -> str:
    """Complete a message about a folder with only unsupported audio; ``""`` if there is none."""
    return "\n".join([" that is read:", *formats.told(unsupported, str(folder))]) if unsupported else ""


def row(info: Page, folder: Path, path: PurePath, *, limits: measure.Limits) -> dict[str, Any]:
    """Return the manifest row of one file, with the additional key ``mono_sha256``."""
    measured = measure.examine(folder / path, limits, name=path.as_posix())
    named, error = spoken(info, path)
    if measured.status == "ok" and error:
        measured = replace(measured, status=error.status, detail=str(error))
    if info.sample_rate and measured.sample_rate not in (None, info.sample_rate):
        measured = replace(measured, warnings=",".join(filter(None, [measured.warnings, "other_rate"])))
    location = {"clip_id": f"{info.name}/{path.as_posix()}", "corpus": info.name, "path": path.as_posix()}
    return named | asdict(measured) | location


def spoken(info: Page, path: PurePath) -> tuple[dict[str, Any], NameRefused | None]:
    """Return the columns from the file name, or the error that rejects it."""
    try:
        return asdict(info.parse(path)), None
    except NameRefused as error:
        return {}, error


def judge(rows: Sequence[Mapping[str, Any]], published: frozenset[str]) -> list[dict[str, Any]]:
    """Mark the duplicates among the usable rows."""
    rejected = find_duplicates([row for row in rows if row["status"] == "ok"], published)
    marks = {path: {"status": status, "detail": detail} for path, (status, detail) in rejected.items()}
    return [dict(row) | marks.get(row["path"], {}) for row in rows]


def refuse_bad(rows: Sequence[Mapping[str, Any]], corpus: str, folder: Path, *, max_bad: float) -> None:
    """Check the share of bad files; duplicates and clips out of scope do not count."""
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
    """Check that at least one file is usable, so that no listed corpus is silently missing."""
    if not any(row["status"] == "ok" for row in rows):
        example = next(row["detail"] for row in rows)
        raise CorpusError(f"data.corpora.{corpus}: none of the {len(rows)} files in {folder} can be used: {example}")


def is_synthetic(folder: Path) -> bool:
    """Check whether a folder was written by the demo."""
    return (folder / files.MARKER).is_file()


def main() -> None:
    """Read params.yaml and ingest the corpus named on the command line."""
    params = config.read()
    config.corpora(params)  # validates the names, which the shell would split otherwise
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
    """Find duplicates among usable rows: first equal samples, then equal names with other samples.

    ``published`` contains the hashes of the corpus' checksum table. It is empty for a corpus without one, whose names
    need not be unique. Returns status and message by path.
    """
    ordered = sorted(rows, key=lambda row: str(row["path"]))
    rejected = same_samples(ordered, published)
    rest = [row for row in ordered if row["path"] not in rejected]
    return rejected | (same_name(rest, published) if published else {})


def same_samples(rows: Iterable[Row], published: Collection[str]) -> Verdicts:
    """Reject all but one of equal recordings, or all of them if their labels or speakers disagree."""
    rejected: Verdicts = {}
    for group in groups(rows, lambda row: (row["mono_sha256"], row["sample_rate"])):
        if len({(row["emotion"], row["speaker"]) for row in group}) > 1:  # the true one is unknown
            names = " = ".join(f"{row['path']} ({row['emotion']}, {row['speaker'] or 'no speaker'})" for row in group)
            rejected |= {
                row["path"]: ("label_conflict", f"The same samples under several labels or speakers: {names}.")
                for row in group
            }
        else:
            rejected |= all_but_one(group, published, "has the same samples as")
    return rejected


def same_name(rows: Iterable[Row], published: Collection[str]) -> Verdicts:
    """Reject edited or re-encoded copies of a recording, keeping the published version."""
    rejected: Verdicts = {}
    for group in groups(rows, lambda row: tuple(row[column] for column in TAKE)):
        rejected |= all_but_one(group, published, "has other samples, and the name of")
    return rejected


def groups(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> list[list[Row]]:
    """Group rows by key, dropping groups of one."""
    grouped: defaultdict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[key(row)].append(row)
    return [group for group in grouped.values() if len(group) > 1]


def all_but_one(group: list[Row], published: Collection[str], relation: str) -> Verdicts:
    """Reject all rows of a group but the one with published bytes or samples, or else the first."""
    kept = next((row for row in group if {row["sha256"], row["samples_sha256"]} & set(published)), group[0])
    return {
        row["path"]: ("duplicate", f"{row['path']} {relation} {kept['path']}, which stays.")
        for row in group
        if row is not kept
    }
