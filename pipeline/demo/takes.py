"""What the demo corpora hold: sentences in ARPABET, speakers, file names, faults, and tables of votes.

The sentences behind SAVEE's numbers are not published: each number stands for nonsense, the same for all speakers.

Names and faults are those of the published corpora (TESS is limited to the words of `TESS_WORDS`), the audio is
synthetic. This module only plans the takes; the stage writes them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, islice, product, zip_longest
from typing import Any, Literal
from zlib import crc32

import numpy as np

from pipeline.core.errors import SettingError
from pipeline.core.labels import VOTED_EMOTIONS
from pipeline.corpora import crema_d, ravdess, savee, tess
from pipeline.corpora.crema_d import ACTORS_TABLE, MODALITY_CODES, VOTE_LETTERS, VOTES_TABLE
from pipeline.corpora.info import CorpusInfo

RAVDESS = {
    "01": "K IH1 D Z AA0 R T AO1 K IH0 NG B AY1 DH AX D AO1 R",  # Kids are talking by the door
    "02": "D AO1 G Z AA0 R S IH1 T IH0 NG B AY1 DH AX D AO1 R",  # Dogs are sitting by the door
}
CREMA_D = {
    "DFA": "D OW1 N T F ER0 G EH1 T AX JH AE1 K AX T",  # Don't forget a jacket
    "IEO": "IH1 T S IH0 L EH1 V AX N AX K L AA1 K",  # It's eleven o'clock
    "IOM": "AY1 M AA1 N M AY0 W EY1 T AX DH AX M IY1 T IH0 NG",  # I'm on my way to the meeting
    # I think I have a doctor's appointment
    "ITH": "AY1 TH IH1 NG K AY0 HH AE1 V AX D AA1 K T ER0 Z AX P OY1 N T M AX N T",
    "ITS": "AY1 TH IH1 NG K AY0 V S IY1 N DH IH1 S B IY0 F AO1 R",  # I think I've seen this before
    "IWL": "AY1 W UH0 D L AY1 K AX N UW1 AX L AA1 R M K L AA1 K",  # I would like a new alarm clock
    "IWW": "AY1 W AH1 N D ER0 W AH1 T DH IH1 S IH0 Z AX B AW1 T",  # I wonder what this is about
    "MTI": "M EY1 B IY0 T AX M AA1 R OW0 IH0 T W IH0 L B IY0 K OW1 L D",  # Maybe tomorrow it will be cold
    "TAI": "DH IY0 EH1 R P L EY0 N IH0 Z AO1 L M OW0 S T F UH1 L",  # The airplane is almost full
    "TIE": "DH AE1 T IH1 Z IH0 G Z AE1 K T L IY0 W AH1 T HH AE1 P AX N D",  # That is exactly what happened
    "TSI": "DH AX S ER1 F AX S IH0 Z S L IH1 K",  # The surface is slick
    "WSI": "W IY0 L S T AA1 P IH0 N AX K AH1 P AX L AX V M IH1 N AX T S",  # We'll stop in a couple of minutes
}
TESS_WORDS = {
    "back": "B AE1 K",
    "bean": "B IY1 N",
    "bite": "B AY1 T",
    "boat": "B OW1 T",
    "chair": "CH EH1 R",
    "dog": "D AO1 G",
    "door": "D AO1 R",
    "fall": "F AO1 L",
    "five": "F AY1 V",
    "food": "F UW1 D",
    "germ": "JH ER1 M",
    "goose": "G UW1 S",
    "home": "HH OW1 M",
    "kite": "K AY1 T",
    "lose": "L UW1 Z",
    "moon": "M UW1 N",
    "neat": "N IY1 T",
    "pad": "P AE1 D",
    "page": "P EY1 JH",
    "road": "R OW1 D",
    "soup": "S UW1 P",
    "team": "T IY1 M",
    "voice": "V OY1 S",
    "week": "W IY1 K",
    "white": "W AY1 T",
    "yes": "Y EH1 S",
    "youth": "Y UW1 TH",
}
TESS = {word: f"S EY1 DH AX W ER1 D , {phones}" for word, phones in TESS_WORDS.items()}  # Say the word …
ONSETS = ["B", "D", "F", "G", "HH", "K", "L", "M", "N", "P", "R", "S", "SH", "T", "W", "Y"]
NUCLEI = ["AA", "AE", "AO", "AX", "AY", "EH", "EY", "IH", "IY", "OW", "UW"]
CODAS = ["", "", "", "D", "L", "N", "R", "S", "T", "Z"]


@cache
def nonsense_sentence(key: str, *, syllables: int = 12) -> str:
    """Return a sentence of nonsense syllables that depends only on the key.

    >>> nonsense_sentence("sa07", syllables=3)
    'R EY0 T G AA1 HH IY0 Z'
    """
    rng = np.random.default_rng(crc32(key.encode()))
    stressed = np.arange(syllables) % 3 == rng.integers(3)
    spoken = [f"{rng.choice(ONSETS)} {rng.choice(NUCLEI)}{int(beat)} {rng.choice(CODAS)}" for beat in stressed]
    return " ".join(" ".join(spoken).split())


NamedTakes = Iterator[tuple[str, str, float]]  # path relative to the corpus, ARPABET, strength of the emotion
NORMAL, STRONG = 0.9, 1.3
LEVEL_STRENGTHS = {"LO": 0.6, "MD": NORMAL, "HI": STRONG}
TESS_FOLDERS = {  # folders of TESS whose name differs from the code in its file names
    ("OAF", "fear"): "Fear",
    ("OAF", "ps"): "Pleasant_surprise",
    ("OAF", "sad"): "Sad",
    ("YAF", "ps"): "pleasant_surprised",
}


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """What the takes of one corpus have in common."""

    info: CorpusInfo
    names: Callable[[str, str], NamedTakes]  # all takes of a speaker and an emotion code
    speakers: tuple[str, ...]
    share: float  # of all clips
    level: float  # dBFS, RMS of neutral speech
    floor: float  # dBFS, RMS of the room
    silence: tuple[float, float]  # s before and after the speech
    tempo: float = 1.0  # factor


def _name_ravdess_takes(actor: str, code: str) -> NamedTakes:
    """Yield the 8 takes of an emotion, or 4 of neutral, which has no strong intensity."""
    strengths = {"01": NORMAL} if code == "01" else {"01": NORMAL, "02": STRONG}
    for strength, statement, repetition in product(strengths, RAVDESS, ("01", "02")):
        stem = f"03-01-{code}-{strength}-{statement}-{repetition}-{actor}"
        yield f"Actor_{actor}/{stem}.wav", RAVDESS[statement], strengths[strength]


def _name_crema_d_takes(actor: str, code: str) -> NamedTakes:
    """Yield the takes of an emotion; only IEO has levels, and 1076 has no ITS_NEU."""
    for sentence, text in CREMA_D.items():
        levels = LEVEL_STRENGTHS if sentence == "IEO" and code != "NEU" else {"XX": 1.0}
        for level, strength in levels.items():
            if (actor, sentence, code) != ("1076", "ITS", "NEU"):
                yield f"AudioWAV/{actor}_{sentence}_{code}_{level}.wav", text, strength


def _name_tess_takes(speaker: str, code: str) -> NamedTakes:
    """Yield one take per word; one file has OA for OAF."""
    for word, text in TESS.items():
        prefix = "OA" if (speaker, word, code) == ("OAF", "bite", "neutral") else speaker
        yield f"{speaker}_{TESS_FOLDERS.get((speaker, code), code)}/{prefix}_{word}_{code}.wav", text, 1.0


def _name_savee_takes(speaker: str, code: str) -> NamedTakes:
    """Yield the 15 takes of an emotion, or 30 of neutral; only the folder names the speaker."""
    for number in range(1, 31 if code == "n" else 16):
        key = f"{code}{number:02d}"
        yield f"{speaker}/{key}.wav", nonsense_sentence(key), 1.0


CORPUS_SPECS = (
    CorpusSpec(
        info=ravdess.INFO,
        names=_name_ravdess_takes,
        speakers=tuple(f"{actor:02d}" for actor in range(1, 11)),
        share=0.36,
        level=-42,
        floor=-85,
        silence=(1.0, 0.95),
    ),
    CorpusSpec(
        info=crema_d.INFO,
        names=_name_crema_d_takes,
        speakers=("1001", "1013", "1005", "1076", "1011", "1003", "1014", "1004", "1015", "1018", "1022", "1020"),
        share=0.38,
        level=-30,
        floor=-66,
        silence=(0.35, 0.3),
    ),
    CorpusSpec(
        info=tess.INFO,
        names=_name_tess_takes,
        speakers=("OAF", "YAF"),
        share=0.13,
        level=-30,
        floor=-70,
        silence=(0.03, 0.03),
        tempo=0.75,
    ),
    CorpusSpec(
        info=savee.INFO,
        names=_name_savee_takes,
        speakers=("DC", "JE", "JK", "KL"),
        share=0.13,
        level=-28,
        floor=-68,
        silence=(0.25, 0.25),
        tempo=0.9,
    ),
)


# clips: with fewer, a corpus would lack a class; with more, the published names run out
MIN_CLIPS, MAX_CLIPS = 60, 1500
MAX_BAD_SHARE = 0.1  # largest share of unusable files in a corpus

LFS_POINTER_TEXT = """version https://git-lfs.github.com/spec/v1
oid sha256:994b54546a0f483d703f25c74911065ae4d193fbd560ddde60ba27d5c6b3221c
size 84394
"""
UNUSUAL_TAKES: dict[str, dict[str, Any]] = {  # usable, but known to break loaders
    "Actor_01/03-01-02-01-01-02-01.wav": {"channels": 2},
    "Actor_07/03-01-03-01-02-01-07.wav": {},
    "Actor_07/03-01-03-01-02-02-07.wav": {"twin": "Actor_07/03-01-03-01-02-01-07.wav"},
    "OAF_Fear/OAF_food_fear.wav": {"rate": 96_000},
    "OAF_neutral/OA_bite_neutral.wav": {},
    "OAF_Pleasant_surprise/OAF_pad_ps.wav": {"fault": "clipped"},
    "YAF_angry/YAF_germ_angry.wav": {"container": "AIFF"},
}
UNUSABLE_TAKES: list[dict[str, dict[str, Any]]] = [  # unusable, in the order in which they are added
    {"Actor_05/03-01-06-01-02-01-05.wav": {"fault": "truncated"}},
    {"AudioWAV/1076_MTI_SAD_XX.wav": {"fault": "silent"}},
    {"AudioWAV/1015_TIE_FEA_XX.wav": {"pointer": LFS_POINTER_TEXT}},
    {
        "AudioWAV/1013_WSI_DIS_XX.wav": {},
        "AudioWAV/1013_WSI_SAD_XX.wav": {"twin": "AudioWAV/1013_WSI_DIS_XX.wav"},
    },
]
FAULTY_PATHS = frozenset(UNUSUAL_TAKES).union(*UNUSABLE_TAKES)


@dataclass(frozen=True, kw_only=True)
class Take:
    """A file to write."""

    spec: CorpusSpec
    path: str  # relative to the folder of the corpus
    speaker: str
    emotion: str  # canonical
    text: str  # ARPABET
    strength: float  # of the emotion
    rate: int  # Hz
    channels: int = 1
    container: Literal["WAV", "AIFF"] = "WAV"
    fault: Literal["", "clipped", "silent", "truncated"] = ""
    twin: str = ""  # path of the take that this file copies
    pointer: str = ""  # contents of a git-lfs pointer, instead of audio


def plan_takes(clips: int, seed: int) -> list[Take]:
    """List the takes: ``clips`` ordinary ones, plus the faulty ones; copies come after their originals.

    The seed selects among the takes of a speaker and an emotion; more clips only add files.

    >>> len(plan_takes(400, seed=0)), len({take.speaker for take in plan_takes(60, seed=0)})
    (412, 28)

    Raises:
        SettingError: the number of clips is out of range.
    """
    if not MIN_CLIPS <= clips <= MAX_CLIPS:
        raise SettingError(f"params.yaml: data.demo.clips is {clips}, expected {MIN_CLIPS} to {MAX_CLIPS}.")
    takes = [take for spec in CORPUS_SPECS for take in _choose_takes(spec, round(clips * spec.share), seed)]
    return sorted(takes, key=lambda take: (bool(take.twin), take.spec.info.title, take.path))


def _choose_takes(spec: CorpusSpec, count: int, seed: int) -> list[Take]:
    """Choose ``count`` ordinary takes of one corpus, and its faulty ones."""
    every = {take.path: take for take in list_published_takes(spec)}
    ordinary = (take for take in _order_balanced(spec, every.values(), seed) if take.path not in FAULTY_PATHS)
    return [
        *islice(ordinary, count),
        *(replace(every[path], **changes) for path, changes in _select_faulty_takes(every, count).items()),
    ]


def list_published_takes(spec: CorpusSpec) -> Iterator[Take]:
    """Yield all takes of the published corpus by the speakers of the demo."""
    for speaker in spec.speakers:
        for code, emotion in spec.info.emotions.items():
            for path, text, strength in spec.names(speaker, code):
                yield Take(
                    spec=spec,
                    path=path,
                    speaker=speaker,
                    emotion=emotion,
                    text=text,
                    strength=strength,
                    rate=spec.info.sample_rate,
                )


def _order_balanced(spec: CorpusSpec, takes: Iterable[Take], seed: int) -> Iterator[Take]:
    """Order takes so that every prefix is as balanced over speakers and emotions as possible."""
    cells: dict[tuple[str, str], list[Take]] = {cell: [] for cell in _pair_speakers_emotions(spec)}
    for take in takes:
        cells[take.speaker, take.emotion].append(take)
    columns = [_shuffle_takes(column, seed) for column in cells.values()]
    return (take for take in chain.from_iterable(zip_longest(*columns)) if take)


def _pair_speakers_emotions(spec: CorpusSpec) -> Iterator[tuple[str, str]]:
    """Yield all pairs of speaker and emotion, each speaker starting with another emotion."""
    emotions = list(spec.info.emotions.values())
    stride = -(-len(emotions) // len(spec.speakers))
    for turn in range(len(emotions)):
        for index, speaker in enumerate(spec.speakers):
            yield speaker, emotions[(turn + stride * index) % len(emotions)]


def _shuffle_takes(takes: list[Take], seed: int) -> list[Take]:
    """Shuffle the takes of one speaker and emotion, independently of the others."""
    order = np.random.default_rng([seed, crc32(takes[0].path.encode())]).permutation(len(takes))
    return [takes[index] for index in order]


def _select_faulty_takes(every: Iterable[str], count: int) -> dict[str, dict[str, Any]]:
    """Select the usable faulty files of a corpus, and as many unusable ones as ``BAD`` allows."""
    names = set(every)
    chosen = {path: changes for path, changes in UNUSUAL_TAKES.items() if path in names}
    bad = 0
    for group in UNUSABLE_TAKES:
        if names.issuperset(group) and bad + len(group) <= MAX_BAD_SHARE * (count + bad + len(group)):
            chosen |= group
            bad += len(group)
    return chosen


TABLES_FOLDER = "processedResults"
RECOGNITION_RATES = {"voice": 0.400, "face": 0.574, "multimodal": 0.631}  # published share of correct votes
NEUTRAL_ERROR_SHARE = 0.5  # share of neutral among the other votes
LISTENERS_PER_CLIP = 10  # per clip and modality


def crema_d_tables(takes: Iterable[Take], seed: int) -> dict[str, str]:
    """Return the text of CREMA-D's tables by path relative to the corpus."""
    ours = sorted((take for take in takes if take.spec.info is crema_d.INFO), key=lambda take: take.path)
    return {ACTORS_TABLE: _format_actors(ours), f"{TABLES_FOLDER}/{VOTES_TABLE}": _format_votes(ours, seed)}


def _format_actors(takes: Sequence[Take]) -> str:
    """Format the table of the actors among the takes."""
    speakers = {name: crema_d.INFO.speakers[name] for name in sorted({take.speaker for take in takes})}
    rows = [f'{name},{speaker.age},"{speaker.sex.title()}"' for name, speaker in speakers.items()]
    return "\n".join(['"ActorID","Age","Sex"', *rows, ""])


def _format_votes(takes: Sequence[Take], seed: int) -> str:
    """Format the table of votes, sorted by modality."""
    rows = [
        f'"{100_000 * code + number}",{",".join(map(str, draw_votes(take, modality, seed)))},"{_take_stem(take)}"'
        for code, modality in MODALITY_CODES.items()
        for number, take in enumerate(takes, start=1)
    ]
    return "\n".join([",".join(f'"{column}"' for column in ("", *VOTE_LETTERS, "fileName")), *rows, ""])


def draw_votes(take: Take, modality: str, seed: int) -> list[int]:
    """Draw the votes for each of ``labels.VOTED_EMOTIONS``."""
    rng = np.random.default_rng([seed, crc32(f"{modality}/{take.path}".encode())])
    counts: list[int] = rng.multinomial(
        LISTENERS_PER_CLIP, _vote_probabilities(take.emotion, RECOGNITION_RATES[modality])
    ).tolist()
    return counts


def _vote_probabilities(emotion: str, right: float) -> list[float]:
    """Return the probability of each of ``labels.VOTED_EMOTIONS``; half of the errors are neutral.

    >>> [round(chance, 2) for chance in _vote_probabilities("angry", 0.2)]
    [0.2, 0.1, 0.1, 0.1, 0.4, 0.1]
    """
    others = [name for name in VOTED_EMOTIONS if name not in (emotion, "neutral")]
    neutral = 0.0 if emotion == "neutral" else NEUTRAL_ERROR_SHARE * (1 - right)
    rest = dict.fromkeys(others, (1 - right - neutral) / len(others))
    return [{"neutral": neutral, **rest, emotion: right}[name] for name in VOTED_EMOTIONS]


def _take_stem(take: Take) -> str:
    """Return the name of a take as in the tables."""
    return take.path.rpartition("/")[2].removesuffix(".wav")
