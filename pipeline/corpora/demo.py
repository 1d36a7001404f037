"""The plan of the demo: which files there are, under names of the true corpora and with the faults these have.

Names and faults are published, the sound is synthetic. This module says what there is, the stage makes it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice, zip_longest
from typing import Any, Literal
from zlib import crc32

import numpy as np

from pipeline.corpora.demo_takes import TROUPES, Troupe
from pipeline.errors import SettingError

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
