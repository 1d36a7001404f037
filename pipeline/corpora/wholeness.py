"""Compare the files of a folder with the published table of their corpus: is all there, and as it was published."""

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

import pandas as pd

from pipeline.corpora.clip import TAKE, NameRefused, Page

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
    """Say whether a file holds what `compare` gives, as CSV."""
    head = f"{','.join(COLUMNS)}\n".encode()
    with path.open("rb") as file:
        return file.read(len(head)) == head


def compare(page: Page, table: pd.DataFrame, files: Iterable[Seen]) -> pd.DataFrame:
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


def claimed(page: Page, files: Iterable[Seen]) -> Mapping[Take, list[Seen]]:
    """Gather files by the take that their name says they are."""
    found: defaultdict[Take, list[Seen]] = defaultdict(list)
    for seen in files:
        found[take(page, seen.path)].append(seen)
    return found


def take(page: Page, path: str) -> Take:
    """Give what tells one published recording from the others; empty for a file of another name.

    >>> from pipeline.corpora import crema_d
    >>> take(crema_d.PAGE, "1040_ITH_SAD_X.flac") == take(crema_d.PAGE, "AudioWAV/1040_ITH_SAD_XX.wav")
    True
    """
    try:
        clip = page.parse(PurePath(path))
    except NameRefused:
        return ()
    return tuple(getattr(clip, field) for field in TAKE)


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


def summary(page: Page, found: pd.DataFrame) -> list[str]:
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
