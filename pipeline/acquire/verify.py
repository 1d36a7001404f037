"""``corpora verify``: compare a folder with the published checksum table, file by file."""

import hashlib
import io
import re
import textwrap
import wave
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline import parallel
from pipeline.acquire.sources import SourceError
from pipeline.audio import decode
from pipeline.core import files, paths
from pipeline.core.errors import AudioError, CorpusError
from pipeline.core.files import LFS_POINTER
from pipeline.corpora import checksums, folders
from pipeline.corpora.info import TAKE_COLUMNS, CorpusInfo, FileNameError
from pipeline.tools import find_audio

STATUSES = {  # best first
    "ok": "byte for byte as published",
    "same_samples": "re-encoded, with the published samples",
    "renamed": "as published, under another name",
    "lfs_pointer": "a Git-LFS pointer instead of audio: run 'git lfs pull' where it came from",
    "unproven": "re-encoded, and nobody has published a checksum of its samples",
    "different": "not the published recording",
    "missing": "nowhere in this folder",
    "extra": "more than was published",
}
WHOLE = ("ok", "same_samples", "renamed")  # of a clip that is there
SHOWN = 200  # names of a status
INDENT = " " * 10
COLUMNS = ("path", "status", "found", "detail")
Take = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a file holds; the hashes of samples are empty where it was not decoded."""

    path: str  # below the folder, with forward slashes
    sha256: str  # of the file
    samples_sha256: str = ""
    plain_sha256: str = ""  # of a WAV with nothing in it but these samples
    plain_bytes: int = 0
    pointer: str = ""  # the sha256 that a Git-LFS pointer stands for
    fault: str = ""  # why it could not be decoded


class Published(NamedTuple):
    """One row of a corpus' table; ``samples_sha256`` is empty where nobody has measured it."""

    path: str
    bytes: int
    sha256: str
    samples_sha256: str


def is_table(path: Path) -> bool:
    """Say whether a file holds what `compare_folder` gives, as CSV."""
    head = f"{','.join(COLUMNS)}\n".encode()
    with path.open("rb") as file:
        return file.read(len(head)) == head


def compare_with_table(page: CorpusInfo, table: pd.DataFrame, files: Iterable[Seen]) -> pd.DataFrame:
    """Say of every published clip whether it is there, and of every file that is none of them that it is extra.

    Files are found by what their name says, wherever they lie, and then judged by their content.

    Args:
        page: the corpus.
        table: its published files, columns ``path bytes sha256 samples_sha256``.
        files: those below the folder.

    Returns:
        ``path status found detail``: the published path (empty for what is extra), a word of ``STATUSES``, the file, a
        sentence. Published clips first, by path.
    """
    rows = [Published(*row) for row in table[list(Published._fields)].itertuples(index=False)]
    ordered = sorted(files, key=lambda seen: seen.path)
    claims = claimed(page, ordered)
    verdicts = {row.path: best(row, claims[take(page, row.path)]) for row in rows}
    used = {seen.path for _, _, seen in verdicts.values() if seen}
    left = {seen.sha256: seen for seen in reversed(ordered) if seen.path not in used}
    verdicts |= {row.path: renamed(row, left) for row in rows if verdicts[row.path][2] is None}
    used |= {seen.path for _, _, seen in verdicts.values() if seen}
    known = [(path, status, seen.path if seen else "", words) for path, (status, words, seen) in verdicts.items()]
    names = {seen.path: row.path for row in rows for seen in claims[take(page, row.path)]}
    extra = [("", "extra", seen.path, surplus(names.get(seen.path))) for seen in ordered if seen.path not in used]
    return pd.DataFrame([*known, *extra], columns=list(COLUMNS))


Verdict = tuple[str, str, Seen | None]  # status, sentence, the file


def claimed(page: CorpusInfo, files: Iterable[Seen]) -> Mapping[Take, list[Seen]]:
    """Gather files by the take that their name says they are."""
    found: defaultdict[Take, list[Seen]] = defaultdict(list)
    for seen in files:
        found[take(page, seen.path)].append(seen)
    return found


def take(page: CorpusInfo, path: str) -> Take:
    """Give what tells one published recording from the others; empty for a file of another name.

    >>> from pipeline.corpora import crema_d
    >>> take(crema_d.INFO, "1040_ITH_SAD_X.flac") == take(crema_d.INFO, "AudioWAV/1040_ITH_SAD_XX.wav")
    True
    """
    try:
        clip = page.parse(PurePath(path))
    except FileNameError:
        return ()
    return tuple(getattr(clip, field) for field in TAKE_COLUMNS)


def best(row: Published, files: list[Seen]) -> Verdict:
    """Judge a published clip by the best of the files that bear its name."""
    order = list(STATUSES)
    judged = [(*judge(row, seen), seen) for seen in files]
    return min(judged, key=lambda verdict: order.index(verdict[0]), default=("missing", "", None))


def judge(row: Published, seen: Seen) -> tuple[str, str]:
    """Compare a file with the published one; a plain header before its samples often makes it anew."""
    if seen.sha256 == row.sha256:
        return "ok", ""
    if seen.pointer:
        return "lfs_pointer", "" if seen.pointer == row.sha256 else "it stands for another file than the published one"
    if seen.fault:
        return "different", seen.fault
    if row.samples_sha256:
        same = seen.samples_sha256 == row.samples_sha256
        return ("same_samples", "") if same else ("different", "its samples are others")
    if seen.plain_sha256 == row.sha256:
        return "same_samples", "written as a plain WAV it is the published file"
    if seen.plain_bytes < row.bytes:
        return "unproven", ""
    return "different", f"as a WAV it has {seen.plain_bytes:,} bytes, published are {row.bytes:,}"


def renamed(row: Published, left: Mapping[str, Seen]) -> Verdict:
    """Look for a missing clip among the files that bear no published name of their own."""
    seen = left.get(row.sha256)
    return ("renamed", f"it lies there as {seen.path}", seen) if seen else ("missing", "", None)


def surplus(path: str | None) -> str:
    """Say what an extra file seems to be."""
    return f"another copy of {path}" if path else "no published name"


def is_whole(found: pd.DataFrame) -> bool:
    """Say whether every published clip is there as published; what is extra does no harm.

    >>> is_whole(pd.DataFrame({"status": ["ok", "extra"]})), is_whole(pd.DataFrame({"status": ["missing"]}))
    (True, False)
    """
    return set(found["status"]) <= {*WHOLE, "extra"}


def summary_lines(page: CorpusInfo, found: pd.DataFrame) -> list[str]:
    """Tell a reader: a line for the corpus, and one for each status but the best with the names it holds."""
    counts = found["status"].value_counts()
    total = int((found["status"] != "extra").sum())
    whole = int(sum(counts.get(status, 0) for status in WHOLE))
    how = {"same_samples": "by samples", "renamed": "under another name"}
    parts = ", ".join(f"{counts[status]:,} {words}" for status, words in how.items() if status in counts)
    head = f"{page.name}: {whole:,} of {total:,} clips are as published{f' ({parts})' if parts else ''}"
    rest = [status for status in STATUSES if status in counts and status not in ("ok", "same_samples")]
    for_each = [
        (f"  {counts[status]:6,d}  {status:12s}  {STATUSES[status]}:", listed(found, status)) for status in rest
    ]
    return [head, *(line for lines in for_each for line in lines)]


def listed(found: pd.DataFrame, status: str) -> str:
    """List the clips, or the files, of one status, in lines below each other."""
    rows = found[found["status"] == status]
    names = list(rows["path"].where(rows["path"] != "", rows["found"]))
    more = [f"and {len(names) - SHOWN:,} more"] * (len(names) > SHOWN)
    return textwrap.fill(", ".join([*names[:SHOWN], *more]), 110, initial_indent=INDENT, subsequent_indent=INDENT)


OID = re.compile(rb"oid sha256:([0-9a-f]{64})")


def content_hashes(folder: Path, path: str, *, published: Collection[str]) -> Seen:
    """Hash a file, and decode it where its hash is none of ``published``."""
    try:
        decode.check_format(folder / path)
        data = paths.read_file(folder / path)
    except OSError as error:
        return Seen(path=path, sha256="", fault=f"it cannot be read: {error.strerror}")
    except AudioError as error:
        return Seen(path=path, sha256="", fault=str(error))
    digest = hashlib.sha256(data).hexdigest()
    if digest in published:
        return Seen(path=path, sha256=digest)
    if data.startswith(LFS_POINTER):
        oid = OID.search(data)
        return Seen(path=path, sha256=digest, pointer=oid[1].decode() if oid else "unknown")
    try:
        recording = decode.decode_audio(data, name="it")
    except AudioError as error:
        return Seen(path=path, sha256=digest, fault=str(error))
    return heard(path, digest, recording)


def heard(path: str, digest: str, recording: decode.Recording) -> Seen:
    """Hash the samples of a decoded file."""
    samples = decode.hash_samples(recording.samples)
    plain = plain_wav(recording.samples, recording.sample_rate) if recording.samples.dtype == np.int16 else b""
    again = hashlib.sha256(plain).hexdigest() if plain else ""
    return Seen(path=path, sha256=digest, samples_sha256=samples, plain_sha256=again, plain_bytes=len(plain))


def plain_wav(samples: npt.NDArray[Any], sample_rate: int) -> bytes:
    """Write int16 samples, shape ``(frames, channels)``, behind the shortest header a WAV can have, of 44 bytes."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(sample_rate)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


@dataclass(frozen=True)
class State:
    """What a folder lacks of the published corpus."""

    count: int  # files of the table
    missing: tuple[str, ...]
    other: tuple[str, ...]  # there, with other bytes

    @property
    def whole(self) -> bool:
        """Say whether nothing is missing and nothing is different."""
        return not self.missing and not self.other

    def __str__(self) -> str:
        """Say how many files are missing or different, and name the first.

        >>> print(State(9, ("a.wav", "b.wav"), ("c.wav",)))
        2 of 9 files are missing, first a.wav, and 1 is not as published, first c.wav
        """
        missing = f"{len(self.missing):,} of {self.count:,} files {be(self.missing)} missing"
        missing = f"{missing}, first {self.missing[0]}" if self.missing else f"of {self.count:,} files none is missing"
        if not self.other:
            return missing
        return f"{missing}, and {len(self.other):,} {be(self.other)} not as published, first {self.other[0]}"


def be(some: tuple[str, ...]) -> str:
    """Give the verb for so many."""
    return "is" if len(some) == 1 else "are"


def compare_folder(folder: Path, table: pd.DataFrame) -> State:
    """Compare sizes and SHA-256 of all files that the table lists; files that it does not list are nothing to it."""
    missing, other = [], []
    for path, size, sha256 in zip(table["path"], table["bytes"], table["sha256"], strict=True):
        file = folder / path
        if not file.is_file():
            missing.append(path)
        elif file.stat().st_size != size or files.file_hash(file) != sha256:
            other.append(path)
    return State(len(table), tuple(missing), tuple(other))


def refuse_difference(folder: Path, table: pd.DataFrame, origin: str) -> None:
    """Stop if what came from ``origin`` is not the published corpus, whole.

    Raises:
        SourceError: the sentence says how many files are missing or different, and names the first.
    """
    state = compare_folder(folder, table)
    if not state.whole:
        raise SourceError(f"{origin} is not the published corpus: {state}{hint(folder, state)}.")


def hint(folder: Path, state: State) -> str:
    """Explain the commonest of wrong files: names of recordings on the notes that git-lfs leaves in their place."""
    if not state.other:
        return ""
    with (folder / state.other[0]).open("rb") as file:
        pointer = file.read(len(LFS_POINTER)) == LFS_POINTER
    return " (a note of git-lfs, not the recording: fetch it without --from)" if pointer else ""


def verify_folder(corpus: str, folder: Path, *, processes: int = 1) -> pd.DataFrame:
    """Judge every published clip of a corpus, and every other recording in the folder.

    Returns:
        ``path status found detail``, see `compare_with_table`.

    Raises:
        UnknownNameError: nobody has published a table of this corpus.
        CorpusError: there is no such folder.
        SettingError: a folder below it cannot be listed.
    """
    table, page = checksums.checksum_table(corpus), folders.corpus_info(corpus)
    if not folder.is_dir():
        raise CorpusError(f"{folder} is no folder: name the one that holds {page.title}.")
    files = (path.relative_to(folder) for path in find_audio.recordings_below(folder))
    paths = sorted(path.as_posix() for path in files if not page.skips(path))
    look = partial(content_hashes, folder, published=checksums.published_hashes(corpus))
    seen = parallel.parallel_map(look, paths, crew=parallel.Executor(processes), label=f"verify {corpus}")
    return compare_with_table(page, table, seen)
