"""CREMA-D: 91 US actors say twelve sentences in six emotions.

A file name is actor, sentence, emotion, level. The level is XX, unspecified, but for the sentence IEO, which was also
said at LO, MD and HI; old copies write X for XX. Sex and age of the actors are facts from the corpus' own
VideoDemographics.csv, made available under the Open Database License 1.0; this extract stays under it and serves copies
that lack the table. What listeners heard is in tabulatedVotes.csv, see ``votes``.
"""

import re
from pathlib import PurePath

from pipeline.corpora.clip import Clip, Page, Speaker
from pipeline.corpora.votes import ACTORS_TABLE, VOTES_TABLE

# actors 1001 to 1091 in order: sex, age in years
ACTORS = """
M51 F21 F21 F42 M29 F58 F38 F46 F24 F27 M32 F23 F22 M24 M32 M61 M42 F25 M29 F61 F30 M22 M22 F59 F48 M33 M44 F57 F33 F42
M31 M30 M31 M74 M48 M49 F45 M21 M51 M42 M42 M37 F25 M40 M22 F22 F22 M38 F25 M62 M56 F33 F35 F36 F57 F52 M25 F36 M21 F28
F51 M56 F33 M53 M38 M25 M66 M34 M27 M25 M41 F33 F24 F31 F40 F25 M20 F21 F21 M21 M30 F20 M45 F46 M34 M33 M62 M23 F24 M50
F29
"""
SENTENCES = "DFA|IEO|IOM|ITH|ITS|IWL|IWW|MTI|TAI|TIE|TSI|WSI"


def parse(path: PurePath) -> Clip:
    """Read what a file name says.

    >>> parse(PurePath("AudioWAV/1040_ITH_SAD_X.wav")).intensity
    'XX'

    Raises:
        NameRefused: ``unknown_name``.
    """
    actor, sentence, emotion, level = PAGE.split(path)
    intensity = "XX" if level == "X" else level
    return PAGE.clip(path, speaker=actor, emotion=emotion, intensity=intensity, statement=sentence)


PAGE = Page(
    name="crema_d",
    title="CREMA-D",
    language="en",
    sample_rate=16_000,
    licence="Open Database License 1.0, contents Database Contents License 1.0",
    citation="Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: Crowd-sourced Emotional "
    "Multimodal Actors Dataset. IEEE Trans. Affective Computing 5(4): 377-390. doi:10.1109/TAFFC.2014.2336244",
    source="https://github.com/CheyneyComputerScience/CREMA-D",
    example="1001_DFA_ANG_XX.wav",
    clips=7_442,
    hours=5.257,
    emotions={"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"},
    speakers={
        str(actor): Speaker("male" if code[0] == "M" else "female", int(code[1:]))
        for actor, code in enumerate(ACTORS.split(), start=1001)
    },
    stem=re.compile(rf"(\d{{4}})_({SENTENCES})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX?)", re.ASCII),
    parse=parse,
    skip_folders=frozenset({"AudioMP3", "VideoFlash"}),
    tables=frozenset({ACTORS_TABLE, VOTES_TABLE}),
)
