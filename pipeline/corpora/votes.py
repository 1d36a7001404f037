"""The tables that come with CREMA-D: what listeners heard in each clip, and who the actors are.

``tabulatedVotes.csv`` has a row for each clip and each way in which it was presented. Its unnamed first column is
100,000 times the way (1 the voice, 2 the face, 3 both) plus the number of the clip in ``SentenceFilenames.csv``;
``fileName`` is the clip, and the columns A D F H N S count who chose anger, disgust, fear, happiness, neutral, sadness.
``summaryTable.csv`` says no more: its votes are the emotions with the highest counts.
"""

import csv
import io
import lzma
from collections.abc import Iterable, Iterator

from pipeline.corpora.clip import Speaker
from pipeline.errors import CorpusError
from pipeline.labels import LISTENERS, VOTES

ACTORS_TABLE, VOTES_TABLE = "VideoDemographics.csv", "tabulatedVotes.csv"
LETTERS = ("A", "D", "F", "H", "N", "S")  # in the order of labels.VOTED
WAYS = dict(enumerate(LISTENERS, start=1))
POINTER = b"version https://git-lfs"

Row = dict[str, str]
Votes = dict[str, list[int]]  # by the names of labels.VOTES, those there are


def unpack(content: bytes, name: str) -> str:
    """Give the text of a table, which may be packed by xz.

    Raises:
        CorpusError: it is a git-lfs pointer, or no such file.
    """
    if content.startswith(POINTER):
        raise CorpusError(f"{name} is a pointer of git-lfs instead of the table: run 'git lfs pull' there.")
    try:
        return (lzma.decompress(content) if name.endswith(".xz") else content).decode("utf-8-sig")
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise CorpusError(f"{name} cannot be read ({error}): fetch it again.") from error


def votes(text: str, name: str) -> dict[str, Votes]:
    r"""Read the votes by the stem of the clip; a way in which nobody was asked is absent.

    >>> table = ',A,D,F,H,N,S,fileName\n100001,0,0,0,1,10,0,1001_IEO_NEU_XX\n'
    >>> votes(table, "t.csv")
    {'1001_IEO_NEU_XX': {'votes_voice': [0, 0, 0, 1, 10, 0]}}

    Raises:
        CorpusError: it is no such table, or says two things of a clip.
    """
    found: dict[str, Votes] = {}
    for line, row in rows(text, name, ["", *LETTERS, "fileName"]):
        way = WAYS.get(number(row[""], name, line) // 100_000)
        if way is None:
            raise CorpusError(f"{name}, line {line}: {row['']} begins with none of 1, 2, 3: fetch the table again.")
        counts = [number(row[letter], name, line) for letter in LETTERS]
        clip = found.setdefault(stem(row["fileName"]), {})
        if clip.get(VOTES[way], counts) != counts:
            raise CorpusError(f"{name}, line {line}: {row['fileName']} has other votes above: fetch the table again.")
        if any(counts):
            clip[VOTES[way]] = counts
    return found


def people(text: str, name: str) -> dict[str, Speaker]:
    r"""Read sex and age of the actors by their number.

    >>> people('"ActorID","Age","Sex"\n1001,51,"Male"\n', "t.csv")
    {'1001': Speaker(sex='male', age=51)}

    Raises:
        CorpusError: it is no such table.
    """
    found = {}
    for line, row in rows(text, name, ["ActorID", "Age", "Sex"]):
        sex = row["Sex"].strip().lower()
        if sex not in ("male", "female"):
            raise CorpusError(f"{name}, line {line}: Sex is {row['Sex']!r}, expected Male or Female: mend the table.")
        found[row["ActorID"].strip()] = Speaker(sex, number(row["Age"], name, line))
    return found


def rows(text: str, name: str, wanted: Iterable[str]) -> Iterator[tuple[int, Row]]:
    """Give the rows of a table and the line of each, which must have these columns."""
    reader = csv.DictReader(io.StringIO(text), restval="")
    missing = [column or "an unnamed one" for column in wanted if column not in (reader.fieldnames or ())]
    if missing:
        raise CorpusError(f"{name} lacks the columns {', '.join(missing)}: it is another table, fetch it again.")
    for row in reader:
        yield reader.line_num, row


def number(text: str, name: str, line: int) -> int:
    """Read a whole number from 0 on."""
    if not text.strip().isdecimal():
        raise CorpusError(f"{name}, line {line}: {text!r} is no whole number: fetch the table again.")
    return int(text)


def stem(name: str) -> str:
    """Write the name of a clip as the published copies do, where old ones have X for XX.

    >>> stem("1040_ITH_SAD_X"), stem("1040_IEO_SAD_HI")
    ('1040_ITH_SAD_XX', '1040_IEO_SAD_HI')
    """
    return f"{name}X" if name.endswith("_X") else name
