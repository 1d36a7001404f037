"""RAVDESS, the spoken clips: 24 North American actors say two sentences in eight emotions.

A file name is seven two-digit fields: modality, channel, emotion, intensity, statement, repetition, actor.
Intensity is 01 normal, 02 strong (never for neutral); the statements are 01 "Kids are talking by the door",
02 "Dogs are sitting by the door"; odd actors are male, even ones female. Ages are published as a range only, 21-33.
"""

import re
from pathlib import PurePath

from pipeline.corpora.info import Clip, CorpusInfo, FileNameError, Speaker


def _parse_name(path: PurePath) -> Clip:
    """Parse a file name.

    >>> _parse_name(PurePath("Actor_12/03-01-06-01-02-01-12.wav")).emotion
    'fear'

    Raises:
        NameRefused: ``out_of_scope`` for song and for takes from the video, else ``unknown_name``.
    """
    modality, channel, emotion, intensity, statement, repetition, actor = INFO.split(path)
    if modality != "03" or channel == "02":
        kind = "a song" if channel == "02" else "from the video"
        remedy = "this corpus is the speech recordings 03-01-..., so move the file out"
        raise FileNameError("out_of_scope", f"{path.as_posix()} is {kind}: {remedy}.")
    return INFO.clip(
        path, speaker=actor, emotion=emotion, intensity=intensity, statement=statement, repetition=repetition
    )


INFO = CorpusInfo(
    name="ravdess",
    title="RAVDESS",
    language="en",
    sample_rate=48_000,
    licence="CC BY-NC-SA 4.0",
    citation="Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song "
    "(RAVDESS). PLoS ONE 13(5): e0196391. doi:10.1371/journal.pone.0196391",
    source="https://zenodo.org/records/1188976",
    example="03-01-06-01-02-01-12.wav",
    clips=1_440,
    hours=1.48,
    emotions={
        "01": "neutral",
        "02": "calm",
        "03": "happy",
        "04": "sad",
        "05": "angry",
        "06": "fear",
        "07": "disgust",
        "08": "surprise",
    },
    speakers={f"{actor:02}": Speaker("male" if actor % 2 else "female") for actor in range(1, 25)},
    stem=re.compile(r"(\d{2})-(0[12])-(\d{2})-(0[12])-(0[12])-(0[12])-(\d{2})", re.ASCII),
    parse=_parse_name,
)
