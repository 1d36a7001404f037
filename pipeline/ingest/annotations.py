"""What the publisher's tables beside the audio say of clips and speakers, added to the manifest."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from pipeline.core.errors import CorpusError
from pipeline.core.labels import VOTES
from pipeline.corpora import crema_d
from pipeline.corpora.info import Page, Speaker

PACKED = ".xz"
AUDIO = "AudioWAV"  # pointed at this folder, a corpus keeps its tables one above
RESULTS = "processedResults"
MANY = 3  # actors; of more, the first are named


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the tables say, and where each lies; both empty where a table is not there."""

    places: Mapping[str, Path] = field(default_factory=dict)  # by the publisher's name
    votes: Mapping[str, crema_d.Votes] = field(default_factory=dict)  # by the stem of the clip
    people: Mapping[str, Speaker] = field(default_factory=dict)  # by the id of the speaker

    @property
    def read(self) -> frozenset[str]:
        """Name the files that were read."""
        return frozenset(path.name for path in self.places.values())


def read(page: Page, folder: Path, names: Iterable[PurePath]) -> Known:
    """Read the tables of a corpus among the files ``names`` below ``folder``.

    Raises:
        CorpusError: one is damaged, or lies there twice and the two differ.
    """
    places = find(page, folder, names)
    texts = {name: (text(path), str(path)) for name, path in places.items()}
    heard, actors = texts.get(crema_d.VOTES_TABLE), texts.get(crema_d.ACTORS_TABLE)
    return Known(
        places=places,
        votes=crema_d.read_votes(*heard) if heard else {},
        people=crema_d.read_actors(*actors) if actors else {},
    )


def text(path: Path) -> str:
    """Read a table, packed or not."""
    return crema_d.unpack(path.read_bytes(), str(path))


def find(page: Page, folder: Path, names: Iterable[PurePath]) -> dict[str, Path]:
    """Find each table of the page: below the folder, or beside it where it is ``AudioWAV`` itself."""
    found: dict[str, Path] = {}
    for path in [*(folder / name for name in names), *beside(page, folder)]:
        name = path.name.removesuffix(PACKED)
        if name in page.tables and found.setdefault(name, path) != path:
            refuse_two(found[name], path)
    return found


def beside(page: Page, folder: Path) -> Iterator[Path]:
    """List the tables that lie beside a folder of audio."""
    if folder.name == AUDIO:
        for above in (folder.parent, folder.parent / RESULTS):
            places = (above / f"{name}{end}" for name in sorted(page.tables) for end in ("", PACKED))
            yield from (path for path in places if path.is_file())


def refuse_two(one: Path, other: Path) -> None:
    """Stop at two versions of a table: which is right is unknown."""
    if text(one) != text(other):
        raise CorpusError(f"{one} and {other} differ: keep the one that belongs to the corpus.")


def enriched(rows: Sequence[Mapping[str, Any]], known: Known) -> list[dict[str, Any]]:
    """Add the votes to the rows of clips; sex and age are the table's where it names the speaker."""
    return [dict(row) | told(row, known) if row.get("emotion") else dict(row) for row in rows]


def told(row: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """Give what the tables say of one clip."""
    person = known.people.get(speaker(row))
    about = {} if person is None else {"sex": person.sex, "age": person.age}
    return about | known.votes.get(crema_d.stem(PurePath(row["path"]).stem), {})


def speaker(row: Mapping[str, Any]) -> str:
    """Give the id of a speaker without the name of the corpus."""
    return str(row.get("speaker") or "").rpartition("/")[2]


def lines(page: Page, known: Known, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what the tables brought to the usable clips, what they lack, and where they contradict the page."""
    absent = ", ".join(sorted(page.tables - set(known.places)))
    brought = counts(known, [row for row in rows if row["status"] == "ok"]) if known.votes else []
    lack = [f"  not there: {absent}; 'ser-features corpora fetch {page.name}' brings them"] if absent else []
    return [*brought, *lack, *contradictions(page, known)]


def counts(known: Known, good: Sequence[Mapping[str, Any]]) -> list[str]:
    """Count the clips that listeners judged, and those they did not."""
    judged = sum(any(row.get(name) is not None for name in VOTES.values()) for row in good)
    said = [f"  {judged:5d}  with votes of listeners, from {known.places[crema_d.VOTES_TABLE].name}"]
    return said if judged == len(good) else [*said, f"  {len(good) - judged:5d}  without votes"]


def contradictions(page: Page, known: Known) -> list[str]:
    """Name the speakers of whom the table says something else than the page; the table decides."""
    pairs = {name: (person, page.speakers[name]) for name, person in known.people.items() if name in page.speakers}
    apart = [
        f"{name} ({ours.sex} {ours.age} in our list, {theirs.sex} {theirs.age} there)"
        for name, (theirs, ours) in pairs.items()
        if theirs != ours
    ]
    more = f" and {len(apart) - MANY} more" if len(apart) > MANY else ""
    said = f"  {crema_d.ACTORS_TABLE} decides, which says otherwise of {', '.join(apart[:MANY])}{more}"
    return [said] if apart else []
