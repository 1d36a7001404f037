"""LAUSANNE, a corpus that does not exist: six speakers say four sentences in five emotions.

Copy this file to ``pipeline/corpora/<name>.py``, and replace everything. Say here what a file name is made of, and
whatever somebody would have to ask the publisher: which codes mean what, what is not published, which files are odd.
"""

import re
from pathlib import PurePath

from pipeline.corpora.info import Clip, CorpusInfo, Speaker


def _parse_name(path: PurePath) -> Clip:
    """Read what a file name says.

    >>> _parse_name(PurePath("joy/f03_joy_s2.wav")).emotion
    'happy'

    Raises:
        NameRefused: ``unknown_name``.
    """
    speaker, emotion, sentence, take = INFO.split(path)
    return INFO.clip(path, speaker=speaker, emotion=emotion, statement=sentence, repetition=take)


INFO = CorpusInfo(
    name="lausanne",  # of the corpus in params.yaml, in metrics and in every speaker's name
    title="LAUSANNE",
    language="fr",
    sample_rate=44_100,
    licence="as the publisher's page says it",
    citation="Nobody N (2024). A corpus that does not exist. doi:10.0000/none",
    source="https://example.org/lausanne",
    example="f03_joy_s2.wav",
    clips=120,
    hours=0.1,
    emotions={"ang": "angry", "joy": "happy", "neu": "neutral", "sad": "sad", "bor": "boredom"},
    speakers={
        "f01": Speaker("female", 31),
        "f02": Speaker("female", 25),
        "f03": Speaker("female", 44),
        "m01": Speaker("male", 38),
        "m02": Speaker("male", 52),
        "m03": Speaker("male"),  # age not published
    },
    stem=re.compile(r"([fm]0[1-3])_(ang|joy|neu|sad|bor)_(s[1-4])(?:_take(\d))?", re.ASCII),
    parse=_parse_name,
)
