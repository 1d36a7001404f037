"""What the demo corpora hold: their speakers, file names, faults, and tables of votes.

A list of names gives, for a speaker and an emotion, every take of the published corpus with its text and the strength
of the emotion; TESS is cut down to the words of ``demo_texts``.

Names and faults are published, the sound is synthetic. This module says what there is, the stage makes it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, product, zip_longest
from typing import Any, Literal
from zlib import crc32

import numpy as np

from pipeline.core.errors import SettingError
from pipeline.core.labels import VOTED
from pipeline.corpora import crema_d, ravdess, savee, tess
from pipeline.corpora.crema_d import ACTORS_TABLE, LETTERS, VOTES_TABLE, WAYS
from pipeline.corpora.info import Page
from pipeline.demo import texts

Named = Iterator[tuple[str, str, float]]  # path below the folder of the corpus, ARPABET, strength
NORMAL, STRONG = 0.9, 1.3
LEVELS = {"LO": 0.6, "MD": NORMAL, "HI": STRONG}
FOLDERS = {  # where TESS' folders do not say what its file names say
    ("OAF", "fear"): "Fear",
    ("OAF", "ps"): "Pleasant_surprise",
    ("OAF", "sad"): "Sad",
    ("YAF", "ps"): "pleasant_surprised",
}


@dataclass(frozen=True, kw_only=True)
class Troupe:
    """What the takes of a corpus have in common."""

    page: Page
    names: Callable[[str, str], Named]  # of a speaker and an emotion code
    speakers: tuple[str, ...]
    share: float  # of all clips
    level: float  # dBFS, RMS of neutral speech
    floor: float  # dBFS, RMS of the room
    silence: tuple[float, float]  # s before and after the speech
    tempo: float = 1.0  # factor


def name_ravdess(actor: str, code: str) -> Named:
    """Name the 8 takes of an emotion; neutral has no strong ones, hence 4."""
    strengths = {"01": NORMAL} if code == "01" else {"01": NORMAL, "02": STRONG}
    for strength, statement, repetition in product(strengths, texts.RAVDESS, ("01", "02")):
        stem = f"03-01-{code}-{strength}-{statement}-{repetition}-{actor}"
        yield f"Actor_{actor}/{stem}.wav", texts.RAVDESS[statement], strengths[strength]


def name_crema_d(actor: str, code: str) -> Named:
    """Name the takes of an emotion; only IEO has levels, and 1076 has no ITS_NEU."""
    for sentence, text in texts.CREMA_D.items():
        levels = LEVELS if sentence == "IEO" and code != "NEU" else {"XX": 1.0}
        for level, strength in levels.items():
            if (actor, sentence, code) != ("1076", "ITS", "NEU"):
                yield f"AudioWAV/{actor}_{sentence}_{code}_{level}.wav", text, strength


def name_tess(speaker: str, code: str) -> Named:
    """Name a take per word; one says OA for OAF."""
    for word, text in texts.TESS.items():
        prefix = "OA" if (speaker, word, code) == ("OAF", "bite", "neutral") else speaker
        yield f"{speaker}_{FOLDERS.get((speaker, code), code)}/{prefix}_{word}_{code}.wav", text, 1.0


def name_savee(speaker: str, code: str) -> Named:
    """Name the 15 takes of an emotion, 30 of neutral; only the folder names the speaker."""
    for number in range(1, 31 if code == "n" else 16):
        key = f"{code}{number:02d}"
        yield f"{speaker}/{key}.wav", texts.babble(key), 1.0


TROUPES = (
    Troupe(
        page=ravdess.PAGE,
        names=name_ravdess,
        speakers=tuple(f"{actor:02d}" for actor in range(1, 11)),
        share=0.36,
        level=-42,
        floor=-85,
        silence=(1.0, 0.95),
    ),
    Troupe(
        page=crema_d.PAGE,
        names=name_crema_d,
        speakers=("1001", "1013", "1005", "1076", "1011", "1003", "1014", "1004", "1015", "1018", "1022", "1020"),
        share=0.38,
        level=-30,
        floor=-66,
        silence=(0.35, 0.3),
    ),
    Troupe(
        page=tess.PAGE,
        names=name_tess,
        speakers=("OAF", "YAF"),
        share=0.13,
        level=-30,
        floor=-70,
        silence=(0.03, 0.03),
        tempo=0.75,
    ),
    Troupe(
        page=savee.PAGE,
        names=name_savee,
        speakers=("DC", "JE", "JK", "KL"),
        share=0.13,
        level=-28,
        floor=-68,
        silence=(0.25, 0.25),
        tempo=0.9,
    ),
)


FEWEST, MOST = 60, 1500  # clips: below, a corpus would lack a class; above, the true names run out
BAD = 0.1  # share of unusable files that no corpus goes beyond

POINTER = """version https://git-lfs.github.com/spec/v1
oid sha256:994b54546a0f483d703f25c74911065ae4d193fbd560ddde60ba27d5c6b3221c
size 84394
"""
ODD: dict[str, dict[str, Any]] = {  # usable, each in a way that has broken a loader
    "Actor_01/03-01-02-01-01-02-01.wav": {"channels": 2},
    "Actor_07/03-01-03-01-02-01-07.wav": {},
    "Actor_07/03-01-03-01-02-02-07.wav": {"twin": "Actor_07/03-01-03-01-02-01-07.wav"},
    "OAF_Fear/OAF_food_fear.wav": {"rate": 96_000},
    "OAF_neutral/OA_bite_neutral.wav": {},
    "OAF_Pleasant_surprise/OAF_pad_ps.wav": {"fault": "clipped"},
    "YAF_angry/YAF_germ_angry.wav": {"container": "AIFF"},
}
BROKEN: list[dict[str, dict[str, Any]]] = [  # unusable, in the order in which they join
    {"Actor_05/03-01-06-01-02-01-05.wav": {"fault": "truncated"}},
    {"AudioWAV/1076_MTI_SAD_XX.wav": {"fault": "silent"}},
    {"AudioWAV/1015_TIE_FEA_XX.wav": {"pointer": POINTER}},
    {
        "AudioWAV/1013_WSI_DIS_XX.wav": {},
        "AudioWAV/1013_WSI_SAD_XX.wav": {"twin": "AudioWAV/1013_WSI_DIS_XX.wav"},
    },
]
RESERVED = frozenset(ODD).union(*BROKEN)


@dataclass(frozen=True, kw_only=True)
class Take:
    """A file to make."""

    troupe: Troupe
    path: str  # below the folder of the corpus
    speaker: str
    emotion: str  # canonical
    text: str  # ARPABET
    strength: float  # of the emotion
    rate: int  # Hz
    channels: int = 1
    container: Literal["WAV", "AIFF"] = "WAV"
    fault: Literal["", "clipped", "silent", "truncated"] = ""
    twin: str = ""  # path of the take whose bytes this file repeats
    pointer: str = ""  # text in place of sound


def plan(clips: int, seed: int) -> list[Take]:
    """List the files: ``clips`` ordinary ones and the odd ones on top, twins after their originals.

    The seed chooses among the takes of a speaker and an emotion; more clips add files and keep the others.

    >>> len(plan(400, seed=0)), len({take.speaker for take in plan(60, seed=0)})
    (412, 28)

    Raises:
        SettingError: a number of clips that gives no four corpora.
    """
    if not FEWEST <= clips <= MOST:
        raise SettingError(f"params.yaml: data.demo.clips is {clips}, expected {FEWEST} to {MOST}.")
    takes = [take for troupe in TROUPES for take in choose(troupe, round(clips * troupe.share), seed)]
    return sorted(takes, key=lambda take: (bool(take.twin), take.troupe.page.title, take.path))


def choose(troupe: Troupe, count: int, seed: int) -> list[Take]:
    """Choose the takes of one corpus."""
    every = {take.path: take for take in rehearse(troupe)}
    ordinary = (take for take in spread(troupe, every.values(), seed) if take.path not in RESERVED)
    return [*islice(ordinary, count), *(replace(every[path], **odd) for path, odd in faults(every, count).items())]


def rehearse(troupe: Troupe) -> Iterator[Take]:
    """List all takes of the published corpus that the speakers of the demo have."""
    for speaker in troupe.speakers:
        for code, emotion in troupe.page.emotions.items():
            for path, text, strength in troupe.names(speaker, code):
                yield Take(
                    troupe=troupe,
                    path=path,
                    speaker=speaker,
                    emotion=emotion,
                    text=text,
                    strength=strength,
                    rate=troupe.page.sample_rate,
                )


def spread(troupe: Troupe, takes: Iterable[Take], seed: int) -> Iterator[Take]:
    """Order takes so that any beginning is balanced over speakers and emotions as far as it can be."""
    cells: dict[tuple[str, str], list[Take]] = {cell: [] for cell in rounds(troupe)}
    for take in takes:
        cells[take.speaker, take.emotion].append(take)
    columns = [shuffle(column, seed) for column in cells.values()]
    return (take for take in chain.from_iterable(zip_longest(*columns)) if take)


def rounds(troupe: Troupe) -> Iterator[tuple[str, str]]:
    """Pair speakers and emotions, each speaker beginning elsewhere, until every pair has come."""
    emotions = list(troupe.page.emotions.values())
    stride = -(-len(emotions) // len(troupe.speakers))
    for turn in range(len(emotions)):
        for index, speaker in enumerate(troupe.speakers):
            yield speaker, emotions[(turn + stride * index) % len(emotions)]


def shuffle(column: list[Take], seed: int) -> list[Take]:
    """Shuffle the takes of one speaker and emotion, whatever the others are."""
    order = np.random.default_rng([seed, crc32(column[0].path.encode())]).permutation(len(column))
    return [column[index] for index in order]


def faults(every: Iterable[str], count: int) -> dict[str, dict[str, Any]]:
    """Give the odd files of a corpus of ``count`` ordinary ones: the usable, and of the others what it can bear."""
    names = set(every)
    chosen = {path: odd for path, odd in ODD.items() if path in names}
    bad = 0
    for group in BROKEN:
        if names.issuperset(group) and bad + len(group) <= BAD * (count + bad + len(group)):
            chosen |= group
            bad += len(group)
    return chosen


FOLDER = "processedResults"
RIGHT = {"voice": 0.400, "face": 0.574, "multimodal": 0.631}  # share of ratings that are as intended, as published
NEUTRAL = 0.5  # share of the others that are neutral
LISTENERS = 10  # of each clip and way


def crema_d_tables(takes: Iterable[Take], seed: int) -> dict[str, str]:
    """Write the tables of CREMA-D's takes: path below the folder of the corpus to text."""
    ours = sorted((take for take in takes if take.troupe.page is crema_d.PAGE), key=lambda take: take.path)
    return {ACTORS_TABLE: actors(ours), f"{FOLDER}/{VOTES_TABLE}": votes(ours, seed)}


def actors(takes: Sequence[Take]) -> str:
    """Write what the publisher tells of the actors who are there."""
    people = {name: crema_d.PAGE.speakers[name] for name in sorted({take.speaker for take in takes})}
    rows = [f'{name},{person.age},"{person.sex.title()}"' for name, person in people.items()]
    return "\n".join(['"ActorID","Age","Sex"', *rows, ""])


def votes(takes: Sequence[Take], seed: int) -> str:
    """Draw the votes for each take, way after way."""
    rows = [
        f'"{100_000 * way + number}",{",".join(map(str, draw(take, name, seed)))},"{stem(take)}"'
        for way, name in WAYS.items()
        for number, take in enumerate(takes, start=1)
    ]
    return "\n".join([",".join(f'"{column}"' for column in ("", *LETTERS, "fileName")), *rows, ""])


def draw(take: Take, way: str, seed: int) -> list[int]:
    """Draw how many listeners chose each of ``labels.VOTED``."""
    rng = np.random.default_rng([seed, crc32(f"{way}/{take.path}".encode())])
    counts: list[int] = rng.multinomial(LISTENERS, chances(take.emotion, RIGHT[way])).tolist()
    return counts


def chances(emotion: str, right: float) -> list[float]:
    """Say how likely each of ``labels.VOTED`` is chosen: errors are neutral by half.

    >>> [round(chance, 2) for chance in chances("angry", 0.2)]
    [0.2, 0.1, 0.1, 0.1, 0.4, 0.1]
    """
    others = [name for name in VOTED if name not in (emotion, "neutral")]
    quiet = 0.0 if emotion == "neutral" else NEUTRAL * (1 - right)
    rest = dict.fromkeys(others, (1 - right - quiet) / len(others))
    return [{"neutral": quiet, **rest, emotion: right}[name] for name in VOTED]


def stem(take: Take) -> str:
    """Name a take as the tables do."""
    return take.path.rpartition("/")[2].removesuffix(".wav")
