"""CREMA-D: 91 US actors say twelve sentences in six emotions; listeners rated every clip.

``tabulatedVotes.csv`` has a row for each clip and modality. Its unnamed first column is 100,000 times the modality (1
voice, 2 face, 3 both) plus the number of the clip in ``SentenceFilenames.csv``; ``fileName`` is the clip, and the
columns A D F H N S count the votes for anger, disgust, fear, happiness, neutral and sadness. ``summaryTable.csv`` adds
nothing: its votes are the emotions with the highest counts.

A file name is actor, sentence, emotion, level. The level is XX, unspecified, except for the sentence IEO, which was
also spoken at LO, MD and HI; old copies write X for XX. Sex and age of the actors come from the corpus' own
VideoDemographics.csv, published under the Open Database License 1.0. This extract stays under that licence and is for
copies that lack the table.
"""

import csv
import io
import lzma
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from pipeline.core.errors import CorpusError
from pipeline.core.files import LFS_POINTER
from pipeline.core.labels import MODALITIES, VOTE_COLUMNS
from pipeline.corpora.info import Clip, CorpusInfo, Speaker

ACTORS_TABLE, VOTES_TABLE = "VideoDemographics.csv", "tabulatedVotes.csv"
VOTE_LETTERS = ("A", "D", "F", "H", "N", "S")  # in the order of labels.VOTED_EMOTIONS
MODALITY_CODES = dict(enumerate(MODALITIES, start=1))

Row = dict[str, str]
Votes = dict[str, list[int]]  # by column, see labels.VOTE_COLUMNS; a modality without votes is absent


def decode_table(content: bytes, name: str) -> str:
    """Decode the text of a table, which may be compressed by xz.

    Raises:
        CorpusError: it is a git-lfs pointer, or damaged.
    """
    if content.startswith(LFS_POINTER):
        raise CorpusError(f"{name} is a pointer of git-lfs instead of the table: run 'git lfs pull' there.")
    try:
        return (lzma.decompress(content) if name.endswith(".xz") else content).decode("utf-8-sig")
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise CorpusError(f"{name} cannot be read ({error}): fetch it again.") from error


def parse_votes(text: str, name: str) -> dict[str, Votes]:
    r"""Parse the votes by the stem of the clip; a modality without votes is absent.

    >>> table = ',A,D,F,H,N,S,fileName\n100001,0,0,0,1,10,0,1001_IEO_NEU_XX\n'
    >>> parse_votes(table, "t.csv")
    {'1001_IEO_NEU_XX': {'votes_voice': [0, 0, 0, 1, 10, 0]}}

    Raises:
        CorpusError: it is another table, or has contradictory rows for a clip.
    """
    found: dict[str, Votes] = {}
    for line, row in _read_rows(text, name, ["", *VOTE_LETTERS, "fileName"]):
        modality = MODALITY_CODES.get(_parse_count(row[""], name, line) // 100_000)
        if modality is None:
            raise CorpusError(f"{name}, line {line}: {row['']} begins with none of 1, 2, 3: fetch the table again.")
        counts = [_parse_count(row[letter], name, line) for letter in VOTE_LETTERS]
        clip = found.setdefault(published_stem(row["fileName"]), {})
        if clip.get(VOTE_COLUMNS[modality], counts) != counts:
            raise CorpusError(f"{name}, line {line}: {row['fileName']} has other votes above: fetch the table again.")
        if any(counts):
            clip[VOTE_COLUMNS[modality]] = counts
    return found


def parse_actors(text: str, name: str) -> dict[str, Speaker]:
    r"""Parse sex and age of the actors by their number.

    >>> parse_actors('"ActorID","Age","Sex"\n1001,51,"Male"\n', "t.csv")
    {'1001': Speaker(sex='male', age=51)}

    Raises:
        CorpusError: it is another table.
    """
    found = {}
    for line, row in _read_rows(text, name, ["ActorID", "Age", "Sex"]):
        sex = row["Sex"].strip().lower()
        if sex not in ("male", "female"):
            raise CorpusError(
                f"{name}, line {line}: Sex is {row['Sex']!r}, expected Male or Female: correct the table."
            )
        found[row["ActorID"].strip()] = Speaker(sex, _parse_count(row["Age"], name, line))
    return found


def _read_rows(text: str, name: str, wanted: Iterable[str]) -> Iterator[tuple[int, Row]]:
    """Yield the rows of a table with their line numbers, after checking that it has the ``wanted`` columns."""
    reader = csv.DictReader(io.StringIO(text), restval="")
    missing = [column or "an unnamed one" for column in wanted if column not in (reader.fieldnames or ())]
    if missing:
        raise CorpusError(f"{name} lacks the columns {', '.join(missing)}: it is another table, fetch it again.")
    for row in reader:
        yield reader.line_num, row


def _parse_count(text: str, name: str, line: int) -> int:
    """Parse a non-negative whole number."""
    if not text.strip().isdecimal():
        raise CorpusError(f"{name}, line {line}: {text!r} is no whole number: fetch the table again.")
    return int(text)


def published_stem(name: str) -> str:
    """Convert the stem of a clip in old copies, which have X for XX, to that of published ones.

    >>> published_stem("1040_ITH_SAD_X"), published_stem("1040_IEO_SAD_HI")
    ('1040_ITH_SAD_XX', '1040_IEO_SAD_HI')
    """
    return f"{name}X" if name.endswith("_X") else name


# actors 1001 to 1091 in order: sex, age in years
ACTORS = """
M51 F21 F21 F42 M29 F58 F38 F46 F24 F27 M32 F23 F22 M24 M32 M61 M42 F25 M29 F61 F30 M22 M22 F59 F48 M33 M44 F57 F33 F42
M31 M30 M31 M74 M48 M49 F45 M21 M51 M42 M42 M37 F25 M40 M22 F22 F22 M38 F25 M62 M56 F33 F35 F36 F57 F52 M25 F36 M21 F28
F51 M56 F33 M53 M38 M25 M66 M34 M27 M25 M41 F33 F24 F31 F40 F25 M20 F21 F21 M21 M30 F20 M45 F46 M34 M33 M62 M23 F24 M50
F29
"""
SENTENCES = "DFA|IEO|IOM|ITH|ITS|IWL|IWW|MTI|TAI|TIE|TSI|WSI"


def _parse_name(path: PurePath) -> Clip:
    """Parse a file name.

    >>> _parse_name(PurePath("AudioWAV/1040_ITH_SAD_X.wav")).intensity
    'XX'

    Raises:
        NameRefused: ``unknown_name``.
    """
    actor, sentence, emotion, level = INFO.split(path)
    intensity = "XX" if level == "X" else level
    return INFO.clip(path, speaker=actor, emotion=emotion, intensity=intensity, statement=sentence)


INFO = CorpusInfo(
    name="crema_d",
    title="CREMA-D",
    language="en",
    sample_rate=16_000,
    licence="Open Database License 1.0, contents Database Contents License 1.0",
    citation="Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: Crowd-sourced Emotional "
    "Multimodal Actors Dataset. IEEE Trans. Affective Computing 5(4): 377-390. doi:10.1109/TAFFC.2014.2336244",
    source="https://github.com/CheyneyComputerScience/CREMA-D",
    example="1001_DFA_ANG_XX.wav",
    clips=7_442,
    hours=5.257,
    emotions={"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"},
    speakers={
        str(actor): Speaker("male" if code[0] == "M" else "female", int(code[1:]))
        for actor, code in enumerate(ACTORS.split(), start=1001)
    },
    stem=re.compile(rf"(\d{{4}})_({SENTENCES})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX?)", re.ASCII),
    parse=_parse_name,
    skip_folders=frozenset({"AudioMP3", "VideoFlash"}),
    tables=frozenset({ACTORS_TABLE, VOTES_TABLE}),
)
