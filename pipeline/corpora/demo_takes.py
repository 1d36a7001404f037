"""The demo's four corpora: who speaks, in which studio, and what the files are called.

A list of names gives, for a speaker and an emotion, every take of the published corpus with its text and the strength
of the emotion; TESS is cut down to the words of ``demo_texts``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from pipeline.corpora import crema_d, demo_texts, ravdess, savee, tess
from pipeline.corpora.clip import Page

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
    for strength, statement, repetition in product(strengths, demo_texts.RAVDESS, ("01", "02")):
        stem = f"03-01-{code}-{strength}-{statement}-{repetition}-{actor}"
        yield f"Actor_{actor}/{stem}.wav", demo_texts.RAVDESS[statement], strengths[strength]


def name_crema_d(actor: str, code: str) -> Named:
    """Name the takes of an emotion; only IEO has levels, and 1076 has no ITS_NEU."""
    for sentence, text in demo_texts.CREMA_D.items():
        levels = LEVELS if sentence == "IEO" and code != "NEU" else {"XX": 1.0}
        for level, strength in levels.items():
            if (actor, sentence, code) != ("1076", "ITS", "NEU"):
                yield f"AudioWAV/{actor}_{sentence}_{code}_{level}.wav", text, strength


def name_tess(speaker: str, code: str) -> Named:
    """Name a take per word; one says OA for OAF."""
    for word, text in demo_texts.TESS.items():
        prefix = "OA" if (speaker, word, code) == ("OAF", "bite", "neutral") else speaker
        yield f"{speaker}_{FOLDERS.get((speaker, code), code)}/{prefix}_{word}_{code}.wav", text, 1.0


def name_savee(speaker: str, code: str) -> Named:
    """Name the 15 takes of an emotion, 30 of neutral; only the folder names the speaker."""
    for number in range(1, 31 if code == "n" else 16):
        key = f"{code}{number:02d}"
        yield f"{speaker}/{key}.wav", demo_texts.babble(key), 1.0


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
