"""What a worker process does: compute the missing rows of a batch of clips and store them as segments.

Arrays never travel: a worker gets paths and keys, and returns a receipt.
"""

import ctypes
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from pipeline.core import errors
from pipeline.core.errors import AudioError
from pipeline.extract import cache as extract_cache
from pipeline.extract import storage
from pipeline.signal import extractor

TRIM, MMAP = -1, -3  # what mallopt calls its two thresholds


@dataclass(frozen=True)
class Piece:
    """One clip: where it is, what it is, and the keys of its missing rows, by view and variant."""

    path: str
    sha256: str
    samples_sha256: str
    keys: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Batch:
    """A run of clips."""

    pieces: tuple[Piece, ...]
    first: int = 0  # number of the clip at which the run begins

    @property
    def keys(self) -> dict[str, list[str]]:
        """All rows, by view, clip by clip."""
        views = dict.fromkeys(view for piece in self.pieces for view in piece.keys)
        return {view: [key for piece in self.pieces for key in piece.keys.get(view, {}).values()] for view in views}

    @property
    def name(self) -> str:
        """Name the work, the same in every process that means to do it."""
        return hashlib.sha256("".join(key for keys in self.keys.values() for key in keys).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Receipt:
    """What became of a batch: its clips, how many of them were made here, and a sentence for each that could not be."""

    clips: int
    made: int
    failures: tuple[str, ...] = ()
    first: int = 0  # number of the clip at which the run begins
    busy: bool = False  # another process is making it
    told: tuple[tuple[str, str], ...] = ()  # what stopped nothing: what it is about, and a sentence


def work(
    batch: Batch, *, folder: Path, settings: extractor.Recipe, place: storage.Place, patient: bool = True
) -> Receipt:
    """Make a batch, or what of it no other process has made by now, be it one that was killed.

    While another process makes it, be ``patient`` or say that it is busy.
    """
    with errors.gather_warnings() as told:
        receipt = attempt(batch, folder, settings, place, patient=patient)
    return replace(receipt, told=tuple(told.items()))


def attempt(batch: Batch, folder: Path, settings: extractor.Recipe, place: storage.Place, *, patient: bool) -> Receipt:
    """Make a batch; what could not be shared is told."""
    keep_memory()
    identities = {view: extractor.identity(settings, view) for view in batch.keys}
    with place.lock(batch.name, patient=patient) as held:
        if not held:
            return Receipt(0, 0, first=batch.first, busy=True)
        missing = {
            view for view, keys in batch.keys.items() if not extract_cache.is_there(place, identities[view], keys)
        }
        todo = [only(piece, missing) for piece in batch.pieces if missing & piece.keys.keys()]
        made = [make(piece, folder, settings) for piece in todo]
        done = [(piece, rows) for piece, rows in zip(todo, made, strict=True) if not isinstance(rows, str)]
        rows = {view: some for view in identities if (some := gather(done, view))}
        written = [extract_cache.write(place, identities[view], some) for view, some in rows.items()]
        for drawer, name in written:  # when all are on this machine, for the shared place may be out of reach
            place.send(drawer, name)
    failures = tuple(each for each in made if isinstance(each, str))
    return Receipt(len(batch.pieces), len(done), failures, batch.first)


def only(piece: Piece, views: Collection[str]) -> Piece:
    """Leave the rows of other views out."""
    return replace(piece, keys={view: keys for view, keys in piece.keys.items() if view in views})


def make(piece: Piece, folder: Path, settings: extractor.Recipe) -> dict[str, extractor.Entry] | str:
    """Decode one clip and make its missing rows, or say why that cannot be."""
    try:
        recording = extractor.fetch(folder / piece.path, settings.audio, sha256=piece.sha256)
    except AudioError as error:
        return str(error)
    wanted = {view: tuple(keys) for view, keys in piece.keys.items()}
    return extractor.make(recording, settings, piece.samples_sha256, wanted)


def gather(done: Sequence[tuple[Piece, Mapping[str, extractor.Entry]]], view: str) -> extract_cache.Rows | None:
    """Put the rows of one view together, or nothing where no clip misses any."""
    some = [(piece.keys[view], rows[view]) for piece, rows in done if view in rows]
    if not some:
        return None
    return extract_cache.Rows(
        [key for keys, _ in some for key in keys.values()],
        np.concatenate([entry.tensors for _, entry in some]),
        np.concatenate([entry.valid_frames for _, entry in some]),
    )


@cache
def keep_memory() -> None:
    """Have glibc keep freed memory for the next clip: fresh pages cost a third of the time. Elsewhere, do nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP, 2**25)  # bytes; 32 MB is the most that glibc takes
        mallopt(TRIM, 2**28)
