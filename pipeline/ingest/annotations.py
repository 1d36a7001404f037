"""Read the publisher's tables of votes and speakers, and add them to the manifest."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from pipeline.core.errors import CorpusError
from pipeline.core.labels import VOTE_COLUMNS
from pipeline.corpora import crema_d
from pipeline.corpora.info import CorpusInfo, Speaker

PACKED_SUFFIX = ".xz"
AUDIO_FOLDER = "AudioWAV"  # if the corpus path is this folder, the tables are in its parent
RESULTS_FOLDER = "processedResults"
MAX_LISTED = 3  # actors listed in a message


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """The contents of the publisher's tables; empty for a missing table."""

    paths: Mapping[str, Path] = field(default_factory=dict)  # by the publisher's file name
    votes: Mapping[str, crema_d.Votes] = field(default_factory=dict)  # by the stem of the clip
    speakers: Mapping[str, Speaker] = field(default_factory=dict)  # by id, without the corpus

    @property
    def file_names(self) -> frozenset[str]:
        """The names of the files that were read."""
        return frozenset(path.name for path in self.paths.values())


def read_annotations(info: CorpusInfo, folder: Path, names: Iterable[PurePath]) -> Annotations:
    """Read the tables of a corpus among the files ``names`` below ``folder``.

    Raises:
        CorpusError: a table is damaged, or there are two different versions of it.
    """
    tables = _find_tables(info, folder, names)
    texts = {name: (_read_table_text(path), str(path)) for name, path in tables.items()}
    votes, actors = texts.get(crema_d.VOTES_TABLE), texts.get(crema_d.ACTORS_TABLE)
    return Annotations(
        paths=tables,
        votes=crema_d.parse_votes(*votes) if votes else {},
        speakers=crema_d.parse_actors(*actors) if actors else {},
    )


def _read_table_text(path: Path) -> str:
    """Read a table, compressed or not."""
    return crema_d.decode_table(path.read_bytes(), str(path))


def _find_tables(info: CorpusInfo, folder: Path, names: Iterable[PurePath]) -> dict[str, Path]:
    """Find the tables of a corpus below the folder, or next to it if it is ``AudioWAV`` itself."""
    found: dict[str, Path] = {}
    for path in [*(folder / name for name in names), *_find_adjacent_tables(info, folder)]:
        name = path.name.removesuffix(PACKED_SUFFIX)
        if name in info.tables and found.setdefault(name, path) != path:
            _check_same_content(found[name], path)
    return found


def _find_adjacent_tables(info: CorpusInfo, folder: Path) -> Iterator[Path]:
    """Yield the tables next to a folder of audio."""
    if folder.name == AUDIO_FOLDER:
        for above in (folder.parent, folder.parent / RESULTS_FOLDER):
            candidates = (above / f"{name}{end}" for name in sorted(info.tables) for end in ("", PACKED_SUFFIX))
            yield from (path for path in candidates if path.is_file())


def _check_same_content(one: Path, other: Path) -> None:
    """Check that two copies of a table are equal."""
    if _read_table_text(one) != _read_table_text(other):
        raise CorpusError(f"{one} and {other} differ: keep the one that belongs to the corpus.")


def add_annotations(rows: Sequence[Mapping[str, Any]], found: Annotations) -> list[dict[str, Any]]:
    """Add votes to the rows of clips, and replace sex and age by those of the tables."""
    return [dict(row) | _annotations_of_clip(row, found) if row.get("emotion") else dict(row) for row in rows]


def _annotations_of_clip(row: Mapping[str, Any], found: Annotations) -> dict[str, Any]:
    """Return the columns that the tables give for one clip."""
    person = found.speakers.get(_speaker_id(row))
    about = {} if person is None else {"sex": person.sex, "age": person.age}
    return about | found.votes.get(crema_d.published_stem(PurePath(row["path"]).stem), {})


def _speaker_id(row: Mapping[str, Any]) -> str:
    """Return the id of a speaker without the corpus."""
    return str(row.get("speaker") or "").rpartition("/")[2]


def summarise_annotations(info: CorpusInfo, found: Annotations, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Summarise the votes of the usable clips, missing tables, and contradictions, as lines of text."""
    absent = ", ".join(sorted(info.tables - set(found.paths)))
    votes = _count_votes(found, [row for row in rows if row["status"] == "ok"]) if found.votes else []
    missing = [f"  missing: {absent}; download with 'ser-features corpora fetch {info.name}'"] if absent else []
    return [*votes, *missing, *_describe_contradictions(info, found)]


def _count_votes(found: Annotations, usable: Sequence[Mapping[str, Any]]) -> list[str]:
    """Count the clips with and without votes."""
    rated = sum(any(row.get(name) is not None for name in VOTE_COLUMNS.values()) for row in usable)
    line = f"  {rated:5d}  with votes of listeners, from {found.paths[crema_d.VOTES_TABLE].name}"
    return [line] if rated == len(usable) else [line, f"  {len(usable) - rated:5d}  without votes"]


def _describe_contradictions(info: CorpusInfo, found: Annotations) -> list[str]:
    """Report the speakers for whom the table differs from our list; the table takes precedence."""
    pairs = {name: (person, info.speakers[name]) for name, person in found.speakers.items() if name in info.speakers}
    different = [
        f"{name} ({ours.sex} {ours.age} in our list, {theirs.sex} {theirs.age} in the table)"
        for name, (theirs, ours) in pairs.items()
        if theirs != ours
    ]
    more = f" and {len(different) - MAX_LISTED} more" if len(different) > MAX_LISTED else ""
    line = f"  {crema_d.ACTORS_TABLE} takes precedence, which differs for {', '.join(different[:MAX_LISTED])}{more}"
    return [line] if different else []
