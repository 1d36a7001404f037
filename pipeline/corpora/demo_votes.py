"""The demo's tables of CREMA-D: its actors, and votes that nobody gave, in the form of the publisher's."""

from collections.abc import Iterable, Sequence
from zlib import crc32

import numpy as np

from pipeline.corpora import crema_d
from pipeline.corpora.demo import Take
from pipeline.corpora.votes import ACTORS_TABLE, LETTERS, VOTES_TABLE, WAYS
from pipeline.labels import VOTED

FOLDER = "processedResults"
RIGHT = {"voice": 0.400, "face": 0.574, "multimodal": 0.631}  # share of ratings that are as intended, as published
NEUTRAL = 0.5  # share of the others that are neutral
LISTENERS = 10  # of each clip and way


def tables(takes: Iterable[Take], seed: int) -> dict[str, str]:
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
