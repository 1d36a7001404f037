"""EmoDB, the Berlin database: ten German actors say ten sentences in seven emotions.

A file name is speaker, sentence, emotion (the first letter of the German word) and a letter that counts the takes.
Sex and age are those of the publisher; one widely used table has the sexes of 09, 10, 12 and 13 swapped.
"""

import re
from pathlib import PurePath

from pipeline.corpora.info import Clip, CorpusInfo, Speaker


def _parse_name(path: PurePath) -> Clip:
    """Parse a file name.

    >>> _parse_name(PurePath("wav/14a07Wc.wav")).emotion
    'angry'

    Raises:
        NameRefused: ``unknown_name``.
    """
    speaker, sentence, emotion, take = INFO.split(path)
    return INFO.clip(path, speaker=speaker, emotion=emotion, statement=sentence, repetition=take)


INFO = CorpusInfo(
    name="emodb",
    title="EmoDB",
    language="de",
    sample_rate=16_000,
    licence="free with citation; later editions name CC0 1.0 or CC BY 4.0, so give attribution",
    citation="Burkhardt F, Paeschke A, Rolfes M, Sendlmeier WF, Weiss B (2005). A Database of German Emotional Speech. "
    "Proc. Interspeech 2005, 1517-1520. doi:10.21437/Interspeech.2005-446",
    source="http://emodb.bilderbar.info/",
    example="03a01Fa.wav",
    clips=535,
    hours=0.413,
    emotions={
        "W": "angry",  # Wut
        "L": "boredom",  # Langeweile
        "E": "disgust",  # Ekel
        "A": "fear",  # Angst: includes anxiety
        "F": "happy",  # Freude
        "T": "sad",  # Trauer
        "N": "neutral",
    },
    speakers={
        "03": Speaker("male", 31),
        "08": Speaker("female", 34),
        "09": Speaker("female", 21),
        "10": Speaker("male", 32),
        "11": Speaker("male", 26),
        "12": Speaker("male", 30),
        "13": Speaker("female", 32),
        "14": Speaker("female", 35),
        "15": Speaker("male", 25),
        "16": Speaker("female", 31),
    },
    stem=re.compile(r"(\d{2})(a0[12457]|b0[1239]|b10)([WLEAFTN])([a-z]?)", re.ASCII),
    parse=_parse_name,
)
