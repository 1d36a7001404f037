"""SAVEE: four British men say 15 sentences per emotion and 30 neutral ones, in seven emotions.

A file name is emotion and number. The speaker is the folder (DC/a01.wav) or, in some copies, a prefix (DC_a01.wav).
The assignment of numbers to sentences is not published: a statement is the emotion with its number. Ages are published
as a range only, 27-31.
"""

import re
from pathlib import PurePath

from pipeline.corpora.info import Clip, CorpusInfo, FileNameError, Speaker


def _parse_name(path: PurePath) -> Clip:
    """Parse a file name and, for the speaker, the folder above it.

    >>> _parse_name(PurePath("AudioData/JK/sa03.wav")).speaker
    'savee/JK'

    Raises:
        NameRefused: ``unknown_name``.
    """
    prefix, emotion, number = INFO.split(path)
    return INFO.clip(path, speaker=prefix or _speaker_folder(path), emotion=emotion, statement=f"{emotion}{number}")


def _speaker_folder(path: PurePath) -> str:
    """Return the nearest folder above a file that is named after a speaker."""
    for name in reversed(path.parts[:-1]):
        if name in INFO.speakers:
            return name
    remedy = "point data.corpora at the folder that holds DC, JE, JK and KL, or name the file DC_a01.wav"
    raise FileNameError("unknown_name", f"{path.as_posix()} lies in no folder of a SAVEE speaker: {remedy}.")


INFO = CorpusInfo(
    name="savee",
    title="SAVEE",
    language="en",
    sample_rate=44_100,
    licence="research use after registration with the authors, no redistribution",
    citation="Haq S, Jackson PJB (2010). Multimodal Emotion Recognition. In: Wang W (ed.), Machine Audition: "
    "Principles, Algorithms and Systems, IGI Global, 398-423. doi:10.4018/978-1-61520-919-4.ch017",
    source="http://personal.ee.surrey.ac.uk/Personal/P.Jackson/SAVEE/Register.html",
    example="DC_a01.wav",
    clips=480,
    hours=0.512,
    emotions={
        "a": "angry",
        "d": "disgust",
        "f": "fear",
        "h": "happy",
        "n": "neutral",
        "sa": "sad",
        "su": "surprise",
    },
    speakers={name: Speaker("male") for name in ("DC", "JE", "JK", "KL")},
    stem=re.compile(r"(?:(DC|JE|JK|KL)_)?(sa|su|a|d|f|h|n)(\d{2})", re.ASCII),
    parse=_parse_name,
)
