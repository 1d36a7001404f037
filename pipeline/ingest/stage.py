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
from pipeline.corpora import checksums, folders, registry
from pipeline.corpora.info import TAKE_COLUMNS, CorpusInfo, FileNameError
from pipeline.ingest import annotations, measure, summary


@dataclass(frozen=True)
class CorpusFiles:
    """The files below a corpus folder, as sorted relative paths."""

    audio: list[PurePath]
    system: int  # number of .DS_Store and similar files
    other: list[PurePath]  # not audio by their names, including the publisher's tables
    unsupported: list[PurePath]  # those of them that are named like clips, but in an unsupported format


def run(corpus: str, folder: Path, output: Path, *, limits: measure.ClipLimits, processes: int = 1) -> pd.DataFrame:
    """Write the manifest of the corpus in ``folder`` to ``output``, and return it.

    Raises:
        CorpusError: the folder is missing, empty, or has more bad files than ``limits.max_bad``; nothing is written.
    """
    info = folders.corpus_info(corpus)
    found = _find_files(info, folder)
    make_row = partial(_manifest_row, info, folder, limits=limits)
    rows = list(
        parallel.parallel_map(make_row, found.audio, crew=parallel.Executor(processes), label=f"ingest {corpus}")
    )
    publisher = annotations.read_annotations(info, folder, found.other)
    rows = _mark_duplicates(annotations.add_annotations(rows, publisher), checksums.published_hashes(corpus))
    _check_bad_share(rows, info.name, folder, max_bad=limits.max_bad)
    _check_usable(rows, info.name, folder)
    about = {name: getattr(info, name) for name in ("title", "language", "licence", "citation")}
    tables.write_manifest(rows, output, synthetic=_is_synthetic(folder), about=about)
    frame = tables.read_manifest(output)
    other = Counter(path.suffix for path in found.other if path.name not in publisher.file_names)
    text = summary.ingest_summary(frame, corpus, system=found.system, other=other)
    print(
        "\n".join(
            [
                text,
                *annotations.summarise_annotations(info, publisher, rows),
                *formats.conversion_advice(found.unsupported, str(folder)),
            ]
        )
    )
    return frame


def _find_files(info: CorpusInfo, folder: Path) -> CorpusFiles:
    """List the files of a corpus.

    Raises:
        CorpusError: the folder is missing, or it or a folder named after an emotion has no supported audio.
    """
    if not paths.is_folder(folder):
        state = "is not a folder" if folder.exists() else "does not exist"
        raise CorpusError(f"data.corpora.{info.name}: {folder} {state}: {_missing_folder_remedy(info.name)}")
    every = sorted((path for path in _walk_files(folder) if not info.skips(path)), key=lambda path: path.as_posix())
    own = [path for path in every if not files.is_system_file(path)]
    audio = [path for path in own if files.is_audio_file(path)]
    other = [path for path in own if not files.is_audio_file(path) and path.name != files.SYNTHETIC_MARKER]
    unsupported = formats.list_unsupported(own)
    if not audio:
        advice = _unsupported_advice(unsupported, folder) or f": {_missing_folder_remedy(info.name)}"
        raise CorpusError(f"data.corpora.{info.name}: {folder} holds no audio file{advice}")
    _check_emotion_folders(info, folder, audio, unsupported)
    clips = [path for path in unsupported if _parse_name(info, path)[1] is None]
    return CorpusFiles(audio, len(every) - len(own), other, clips)


def _missing_folder_remedy(corpus: str) -> str:
    """Suggest a remedy for a missing corpus folder."""
    return (
        f"point it at the corpus with 'dvc exp run -S data.corpora.{corpus}=/path/to/it' "
        f"or take it out with -S '~data.corpora.{corpus}'."
    )


def _walk_files(folder: Path) -> Iterator[PurePath]:
    """Yield all files below a folder as relative paths.

    Raises:
        CorpusError: a folder cannot be listed or is a link, which DVC does not follow; a link that might be to a folder
            is broken; a name is not UTF-8.
    """
    for top, below, here in os.walk(folder, onerror=_raise_unlisted):
        for name in below:
            if Path(top, name).is_symlink():
                raise CorpusError(
                    f"{Path(top, name)} is a link to a folder, which DVC does not follow: put a copy there."
                )
        for name in here:
            if paths.is_broken_link(path := Path(top, name)) and not files.is_audio_file(path):
                raise CorpusError(f"{path} is a link to {path.readlink()}, which cannot be reached: fix or delete it.")
            if name != name.encode(errors="replace").decode():
                raise CorpusError(f"{os.fsencode(name)!r} in {top!r} is no UTF-8 name: rename the file.")
            yield PurePath(top, name).relative_to(folder)


def _raise_unlisted(error: OSError) -> None:
    """Raise an error for a folder that cannot be listed, which ``os.walk`` would skip."""
    raise CorpusError(f"{error.filename} cannot be listed ({error.strerror}): make it readable.")


def _check_emotion_folders(
    info: CorpusInfo, folder: Path, audio: Sequence[PurePath], unsupported: Sequence[PurePath]
) -> None:
    """Check that every emotion folder of a user's corpus contains supported audio."""
    if info.name in registry.KNOWN_CORPORA:
        return
    filled = {parent for path in audio for parent in path.parents}
    for path in sorted(folder.rglob("*/")):
        if folders.emotion_of_folder(path.name) and path.relative_to(folder) not in filled:
            here = [each for each in unsupported if path.relative_to(folder) in each.parents]
            advice = _unsupported_advice(here, path) or ": fill the class or delete the folder."
            raise CorpusError(f"data.corpora.{info.name}: {path} holds no audio{advice}")


def _unsupported_advice(unsupported: Sequence[PurePath], folder: Path) -> str:
    """Complete a message about a folder with only unsupported audio; ``""`` if there is none."""
    return "\n".join([" that is read:", *formats.conversion_advice(unsupported, str(folder))]) if unsupported else ""


def _manifest_row(info: CorpusInfo, folder: Path, path: PurePath, *, limits: measure.ClipLimits) -> dict[str, Any]:
    """Return the manifest row of one file, with the additional key ``mono_sha256``."""
    measured = measure.measure_file(folder / path, limits, name=path.as_posix())
    named, error = _parse_name(info, path)
    if measured.status == "ok" and error:
        measured = replace(measured, status=error.status, detail=str(error))
    if info.sample_rate and measured.sample_rate not in (None, info.sample_rate):
        measured = replace(measured, warnings=",".join(filter(None, [measured.warnings, "other_rate"])))
    location = {"clip_id": f"{info.name}/{path.as_posix()}", "corpus": info.name, "path": path.as_posix()}
    return named | asdict(measured) | location


def _parse_name(info: CorpusInfo, path: PurePath) -> tuple[dict[str, Any], FileNameError | None]:
    """Return the columns from the file name, or the error that rejects it."""
    try:
        return asdict(info.parse(path)), None
    except FileNameError as error:
        return {}, error


def _mark_duplicates(rows: Sequence[Mapping[str, Any]], published: frozenset[str]) -> list[dict[str, Any]]:
    """Mark the duplicates among the usable rows."""
    rejected = _find_duplicates([row for row in rows if row["status"] == "ok"], published)
    marks = {path: {"status": status, "detail": detail} for path, (status, detail) in rejected.items()}
    return [dict(row) | marks.get(row["path"], {}) for row in rows]


def _check_bad_share(rows: Sequence[Mapping[str, Any]], corpus: str, folder: Path, *, max_bad: float) -> None:
    """Check the share of bad files; duplicates and clips out of scope do not count."""
    bad = [row for row in rows if row["status"] not in tables.TOLERATED_STATUSES]
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


def _check_usable(rows: Sequence[Mapping[str, Any]], corpus: str, folder: Path) -> None:
    """Check that at least one file is usable, so that no listed corpus is silently missing."""
    if not any(row["status"] == "ok" for row in rows):
        example = next(row["detail"] for row in rows)
        raise CorpusError(f"data.corpora.{corpus}: none of the {len(rows)} files in {folder} can be used: {example}")


def _is_synthetic(folder: Path) -> bool:
    """Check whether a folder was written by the demo."""
    return (folder / files.SYNTHETIC_MARKER).is_file()


def main() -> None:
    """Read params.yaml and ingest the corpus named on the command line."""
    params = config.read_params()
    config.corpus_folders(params)  # validates the names, which the shell would split otherwise
    (corpus,) = sys.argv[1:]
    folder = config.corpus_folder(params, corpus)
    limits = config.read_section(measure.ClipLimits, params, "ingest")
    if _is_synthetic(folder):
        limits = replace(
            limits, max_bad=config.check_share(config.get_setting(params, "data.demo.max_bad"), "data.demo.max_bad")
        )
    execute = config.read_section(parallel.Execute, params, "execute")
    run(corpus, folder, Path(f"data/manifest/{corpus}.parquet"), limits=limits, processes=execute.processes)


Row = Mapping[str, Any]
Rejections = dict[str, tuple[str, str]]


def _find_duplicates(rows: Iterable[Row], published: Collection[str]) -> Rejections:
    """Find duplicates among usable rows: first equal samples, then equal names with other samples.

    ``published`` contains the hashes of the corpus' checksum table. It is empty for a corpus without one, whose names
    need not be unique. Returns status and message by path.
    """
    ordered = sorted(rows, key=lambda row: str(row["path"]))
    rejected = _find_same_samples(ordered, published)
    rest = [row for row in ordered if row["path"] not in rejected]
    return rejected | (_find_same_names(rest, published) if published else {})


def _find_same_samples(rows: Iterable[Row], published: Collection[str]) -> Rejections:
    """Reject all but one of equal recordings, or all of them if their labels or speakers disagree."""
    rejected: Rejections = {}
    for group in _group_rows(rows, lambda row: (row["mono_sha256"], row["sample_rate"])):
        if len({(row["emotion"], row["speaker"]) for row in group}) > 1:  # the true one is unknown
            names = " = ".join(f"{row['path']} ({row['emotion']}, {row['speaker'] or 'no speaker'})" for row in group)
            rejected |= {
                row["path"]: ("label_conflict", f"The same samples under several labels or speakers: {names}.")
                for row in group
            }
        else:
            rejected |= _reject_all_but_one(group, published, "has the same samples as")
    return rejected


def _find_same_names(rows: Iterable[Row], published: Collection[str]) -> Rejections:
    """Reject edited or re-encoded copies of a recording, keeping the published version."""
    rejected: Rejections = {}
    for group in _group_rows(rows, lambda row: tuple(row[column] for column in TAKE_COLUMNS)):
        rejected |= _reject_all_but_one(group, published, "has other samples, and the name of")
    return rejected


def _group_rows(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> list[list[Row]]:
    """Group rows by key, dropping groups of one."""
    grouped: defaultdict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[key(row)].append(row)
    return [group for group in grouped.values() if len(group) > 1]


def _reject_all_but_one(group: list[Row], published: Collection[str], relation: str) -> Rejections:
    """Reject all rows of a group but the one with published bytes or samples, or else the first."""
    kept = next((row for row in group if {row["sha256"], row["samples_sha256"]} & set(published)), group[0])
    return {
        row["path"]: ("duplicate", f"{row['path']} {relation} {kept['path']}, which stays.")
        for row in group
        if row is not kept
    }
