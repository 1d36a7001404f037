"""Texts of the demo in ARPABET: the sentences of RAVDESS and CREMA-D, words of TESS, nonsense syllables for SAVEE.

The sentences behind SAVEE's numbers are not published: each number stands for nonsense, the same for all speakers.
"""

from functools import cache
from zlib import crc32

import numpy as np

RAVDESS = {
    "01": "K IH1 D Z AA0 R T AO1 K IH0 NG B AY1 DH AX D AO1 R",  # Kids are talking by the door
    "02": "D AO1 G Z AA0 R S IH1 T IH0 NG B AY1 DH AX D AO1 R",  # Dogs are sitting by the door
}
CREMA_D = {
    "DFA": "D OW1 N T F ER0 G EH1 T AX JH AE1 K AX T",  # Don't forget a jacket
    "IEO": "IH1 T S IH0 L EH1 V AX N AX K L AA1 K",  # It's eleven o'clock
    "IOM": "AY1 M AA1 N M AY0 W EY1 T AX DH AX M IY1 T IH0 NG",  # I'm on my way to the meeting
    # I think I have a doctor's appointment
    "ITH": "AY1 TH IH1 NG K AY0 HH AE1 V AX D AA1 K T ER0 Z AX P OY1 N T M AX N T",
    "ITS": "AY1 TH IH1 NG K AY0 V S IY1 N DH IH1 S B IY0 F AO1 R",  # I think I've seen this before
    "IWL": "AY1 W UH0 D L AY1 K AX N UW1 AX L AA1 R M K L AA1 K",  # I would like a new alarm clock
    "IWW": "AY1 W AH1 N D ER0 W AH1 T DH IH1 S IH0 Z AX B AW1 T",  # I wonder what this is about
    "MTI": "M EY1 B IY0 T AX M AA1 R OW0 IH0 T W IH0 L B IY0 K OW1 L D",  # Maybe tomorrow it will be cold
    "TAI": "DH IY0 EH1 R P L EY0 N IH0 Z AO1 L M OW0 S T F UH1 L",  # The airplane is almost full
    "TIE": "DH AE1 T IH1 Z IH0 G Z AE1 K T L IY0 W AH1 T HH AE1 P AX N D",  # That is exactly what happened
    "TSI": "DH AX S ER1 F AX S IH0 Z S L IH1 K",  # The surface is slick
    "WSI": "W IY0 L S T AA1 P IH0 N AX K AH1 P AX L AX V M IH1 N AX T S",  # We'll stop in a couple of minutes
}
TESS_WORDS = {
    "back": "B AE1 K",
    "bean": "B IY1 N",
    "bite": "B AY1 T",
    "boat": "B OW1 T",
    "chair": "CH EH1 R",
    "dog": "D AO1 G",
    "door": "D AO1 R",
    "fall": "F AO1 L",
    "five": "F AY1 V",
    "food": "F UW1 D",
    "germ": "JH ER1 M",
    "goose": "G UW1 S",
    "home": "HH OW1 M",
    "kite": "K AY1 T",
    "lose": "L UW1 Z",
    "moon": "M UW1 N",
    "neat": "N IY1 T",
    "pad": "P AE1 D",
    "page": "P EY1 JH",
    "road": "R OW1 D",
    "soup": "S UW1 P",
    "team": "T IY1 M",
    "voice": "V OY1 S",
    "week": "W IY1 K",
    "white": "W AY1 T",
    "yes": "Y EH1 S",
    "youth": "Y UW1 TH",
}
TESS = {word: f"S EY1 DH AX W ER1 D , {phones}" for word, phones in TESS_WORDS.items()}  # Say the word …
ONSETS = ["B", "D", "F", "G", "HH", "K", "L", "M", "N", "P", "R", "S", "SH", "T", "W", "Y"]
NUCLEI = ["AA", "AE", "AO", "AX", "AY", "EH", "EY", "IH", "IY", "OW", "UW"]
CODAS = ["", "", "", "D", "L", "N", "R", "S", "T", "Z"]


@cache
def nonsense_sentence(key: str, *, syllables: int = 12) -> str:
    """Return a sentence of nonsense syllables that depends only on the key.

    >>> nonsense_sentence("sa07", syllables=3)
    'R EY0 T G AA1 HH IY0 Z'
    """
    rng = np.random.default_rng(crc32(key.encode()))
    stressed = np.arange(syllables) % 3 == rng.integers(3)
    spoken = [f"{rng.choice(ONSETS)} {rng.choice(NUCLEI)}{int(beat)} {rng.choice(CODAS)}" for beat in stressed]
    return " ".join(" ".join(spoken).split())
