"""TESS: two women from Toronto, one older, one younger, say 200 words in seven emotions.

A file name is speaker, word, emotion: OAF_back_fear says "Say the word back". It is trusted over the folder, whose
wording differs between the speakers. One file says OA for OAF. ``ps`` is pleasant surprise, the only kind of surprise.
"""

import re
from pathlib import PurePath

from pipeline.corpora.info import Clip, CorpusInfo, Speaker


def _parse_name(path: PurePath) -> Clip:
    """Parse a file name.

    >>> _parse_name(PurePath("OAF_neutral/OA_bite_neutral.wav")).speaker
    'tess/OAF'

    Raises:
        NameRefused: ``unknown_name``.
    """
    speaker, word, emotion = INFO.split(path)
    return INFO.clip(path, speaker="OAF" if speaker == "OA" else speaker, emotion=emotion, statement=word)


INFO = CorpusInfo(
    name="tess",
    title="TESS",
    language="en",
    sample_rate=24_414,
    licence="non-commercial; re-publications say CC BY-NC 4.0 or CC BY-NC-ND 4.0, so take it as CC BY-NC-ND 4.0",
    citation="Pichora-Fuller MK, Dupuis K (2020). Toronto emotional speech set (TESS), V1. Borealis. "
    "doi:10.5683/SP2/E8H2MF",
    source="https://doi.org/10.5683/SP2/E8H2MF",
    example="OAF_back_fear.wav",
    clips=2_800,
    hours=1.598,
    emotions={
        "angry": "angry",
        "disgust": "disgust",
        "fear": "fear",
        "happy": "happy",
        "neutral": "neutral",
        "ps": "surprise",
        "sad": "sad",
    },
    speakers={"OAF": Speaker("female", 64), "YAF": Speaker("female", 26)},
    stem=re.compile(r"(OAF|YAF|OA)_([a-z]+)_(angry|disgust|fear|happy|neutral|ps|sad)"),
    parse=_parse_name,
)
