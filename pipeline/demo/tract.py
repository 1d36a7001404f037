"""A synthetic vocal tract: sentences in ARPABET become tracks, and glottis and resonances make sound of them.

The pulse is that of Klatt & Klatt (1990), the cascade of resonators that of Klatt (1980).

Vowel formants are the male means of Peterson & Barney (1952), consonants are modelled on Klatt (1980). A phone
is one or two pieces: a diphthong two vowels, a stop a closure and a burst.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from pipeline.core.errors import UnknownNameError

Array = npt.NDArray[np.float64]
OPEN = 0.6  # share of a period in which the glottis is open
STEADY = (3500.0, 4500.0, 5600.0, 6700.0, 7800.0)  # Hz, the formants of a man that hardly move


def glottis(rng: np.random.Generator, hertz: Array, *, jitter: float, rate: int) -> tuple[Array, Array]:
    """Derive the flow through the glottis: ``2t - 3t²`` while it is open. Shapes: ``(samples,)``.

    Jitter is the sd of the period as a share; shimmer, that of its height, is three times as large. Beside the flow
    comes how open the glottis is, 0.2 to 1.
    """
    beats = np.cumsum(hertz) / rate
    stretch, height = 1 + jitter * np.array([[1.0], [3.0]]) * rng.standard_normal((2, int(1.3 * beats[-1]) + 2))
    phase = np.cumsum(hertz * stretch[beats.astype(int)]) / rate
    cycle = phase.astype(int)
    time = (phase - cycle) / OPEN
    opened = time < 1
    return opened * time * (2 - 3 * time) * height[cycle], 0.2 + 0.8 * opened


def cascade(source: Array, formants: Array, *, rate: int) -> Array:
    """Filter with resonances that move once a frame. Shapes: ``(samples,)`` and ``(frames, n)`` to ``(samples,)``."""
    blocks = source.reshape(len(formants), -1).copy()
    for track in formants.T:
        state = np.zeros(2)
        for block, poles in zip(blocks, resonator(track, width(track), rate=rate), strict=True):
            block[:], state = lfilter([poles.sum()], poles, block, zi=state)
    return blocks.ravel()


def crown(signal: Array, *, scale: float, rate: int) -> Array:
    """Filter with the steady upper formants, as far as the rate has room for them."""
    for hertz in scale * np.array(STEADY):
        if hertz < 0.47 * rate:
            poles = resonator(hertz, width(hertz), rate=rate)
            signal = lfilter([poles.sum()], poles, signal)
    return signal


def width(hertz: Array) -> Array:
    """Give a formant at ``hertz`` its bandwidth in Hz."""
    return 50 + hertz / 25


def resonator(hertz: Array, width: Array, *, rate: int) -> Array:
    """Give the denominator of two poles; its sum as numerator makes the gain 1 at 0 Hz. Shape: ``(..., 3)``.

    >>> resonator(np.array([500.0, 1500.0]), np.array([70.0, 110.0]), rate=16_000).shape
    (2, 3)
    """
    radius = np.exp(-np.pi * width / rate)
    return np.stack([np.ones_like(radius), -2 * radius * np.cos(2 * np.pi * hertz / rate), radius**2], axis=-1)


def hiss(noise: Array, centre: float, width: float, *, rate: int) -> Array:
    """Squeeze white noise into a band, in Hz. RMS 1."""
    poles = resonator(np.array(min(centre, 0.44 * rate)), np.array(width), rate=rate)
    return unit(lfilter([1, -2, 1], np.convolve(poles, poles), noise))


def brighten(signal: Array, decibels: float, *, rate: int) -> Array:
    """Raise what lies well above 1 kHz; half of the decibels are reached there."""
    gain = 10 ** (decibels / 20)
    dull = lowpass(signal, 1000 * np.sqrt(gain), rate=rate)
    return dull + gain * (signal - dull)


def lowpass(signal: Array, hertz: float, *, rate: int) -> Array:
    """Lose 6 dB per octave above ``hertz``."""
    pole = np.exp(-2 * np.pi * hertz / rate)
    dull: Array = lfilter([1 - pole], [1, -pole], signal)
    return dull


def unit(signal: Array) -> Array:
    """Scale to RMS 1."""
    scaled: Array = signal / np.sqrt(np.mean(np.square(signal)))
    return scaled


FRAME = 0.008  # s between two values of a track
BANDS = {  # centre and width of frication, Hz
    "s": (5600.0, 1700.0),
    "sh": (3100.0, 1300.0),
    "f": (6400.0, 5000.0),
    "t": (4300.0, 2500.0),
    "k": (2000.0, 900.0),
    "p": (1000.0, 1200.0),
}


class Piece(NamedTuple):
    """A target the tract moves to; gains are relative to a vowel."""

    formants: tuple[int, int, int]  # Hz, of an adult man
    seconds: float
    voice: float = 1.0
    breath: float = 0.0  # noise at the glottis, through the tract
    hiss: float = 0.0  # noise at a narrowing, through its own band
    band: str = ""


VOWELS = {
    "IY": Piece((270, 2290, 3010), 0.11),
    "IH": Piece((390, 1990, 2550), 0.09),
    "EH": Piece((530, 1840, 2480), 0.10),
    "AE": Piece((660, 1720, 2410), 0.13),
    "AH": Piece((640, 1190, 2390), 0.10),
    "AA": Piece((730, 1090, 2440), 0.13),
    "AO": Piece((570, 840, 2410), 0.13),
    "UH": Piece((440, 1020, 2240), 0.09),
    "UW": Piece((300, 870, 2240), 0.12),
    "ER": Piece((490, 1350, 1690), 0.12),
    "AX": Piece((500, 1450, 2450), 0.06, 0.8),
}
GLIDES = {"EY": ("EH", "IY"), "AY": ("AA", "IH"), "OY": ("AO", "IH"), "OW": ("AO", "UH"), "AW": ("AA", "UH")}
CONSONANTS = {
    "W": (Piece((290, 610, 2150), 0.06, 0.5),),
    "Y": (Piece((260, 2070, 3020), 0.06, 0.5),),
    "R": (Piece((310, 1060, 1380), 0.07, 0.6),),
    "L": (Piece((310, 1050, 2880), 0.06, 0.5),),
    "M": (Piece((280, 900, 2200), 0.07, 0.3),),
    "N": (Piece((280, 1700, 2600), 0.06, 0.3),),
    "NG": (Piece((280, 2300, 2750), 0.08, 0.3),),
    "F": (Piece((340, 1100, 2080), 0.10, 0.0, 0.02, 0.11, "f"),),
    "V": (Piece((220, 1100, 2080), 0.06, 0.3, 0.02, 0.064, "f"),),
    "TH": (Piece((320, 1290, 2540), 0.09, 0.0, 0.02, 0.08, "f"),),
    "DH": (Piece((270, 1290, 2540), 0.05, 0.3, 0.01, 0.032, "f"),),
    "S": (Piece((320, 1390, 2530), 0.11, 0.0, 0.02, 0.4, "s"),),
    "Z": (Piece((240, 1390, 2530), 0.08, 0.25, 0.02, 0.24, "s"),),
    "SH": (Piece((300, 1840, 2750), 0.11, 0.0, 0.02, 0.48, "sh"),),
    "HH": (Piece((500, 1450, 2450), 0.06, 0.05, 0.15),),
    "P": (Piece((400, 1100, 2150), 0.07, 0.0), Piece((400, 1100, 2150), 0.03, 0.0, 0.12, 0.32, "p")),
    "T": (Piece((400, 1600, 2600), 0.06, 0.0), Piece((400, 1600, 2600), 0.03, 0.0, 0.10, 0.4, "t")),
    "K": (Piece((300, 1990, 2850), 0.06, 0.0), Piece((300, 1990, 2850), 0.035, 0.0, 0.12, 0.4, "k")),
    "B": (Piece((200, 1100, 2150), 0.06, 0.1), Piece((200, 1100, 2150), 0.01, 0.4, 0.02, 0.24, "p")),
    "D": (Piece((200, 1600, 2600), 0.05, 0.1), Piece((200, 1600, 2600), 0.015, 0.4, 0.02, 0.32, "t")),
    "G": (Piece((200, 1990, 2850), 0.05, 0.1), Piece((200, 1990, 2850), 0.02, 0.4, 0.02, 0.32, "k")),
    "CH": (Piece((350, 1800, 2820), 0.06, 0.0), Piece((350, 1800, 2820), 0.07, 0.0, 0.03, 0.48, "sh")),
    "JH": (Piece((260, 1800, 2820), 0.05, 0.1), Piece((260, 1800, 2820), 0.05, 0.3, 0.02, 0.32, "sh")),
    ",": (Piece((500, 1450, 2450), 0.12, 0.0),),
}
PIECES = (
    CONSONANTS
    | {name: (vowel,) for name, vowel in VOWELS.items()}
    | {name: tuple(VOWELS[v]._replace(seconds=0.08) for v in pair) for name, pair in GLIDES.items()}
)


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """What the vocal tract does, a value every ``FRAME`` seconds."""

    formants: Array  # (frames, 3), Hz
    voice: Array  # (frames,)
    breath: Array  # (frames,)
    hiss: dict[str, Array]  # band: (frames,)
    stress: Array  # (frames,), a bump of height about 1 on every stressed vowel


def spell(text: str) -> list[tuple[Piece, bool]]:
    """Give the pieces of a text and whether they are stressed (a vowel followed by 1).

    >>> [(piece.seconds, stressed) for piece, stressed in spell("B AY1")]
    [(0.06, False), (0.01, False), (0.08, True), (0.08, True)]

    Raises:
        UnknownNameError: a phone that is not in ``PIECES``.
    """
    pieces = []
    for phone in text.split():
        name = phone.rstrip("01")
        if name not in PIECES:
            raise UnknownNameError("phone", name, PIECES)
        pieces += [(piece, phone.endswith("1")) for piece in PIECES[name]]
    return pieces


def tracks(text: str, *, tempo: float, rng: np.random.Generator) -> Tracks:
    """Time a text and let its targets run into each other.

    >>> tracks("DH AX D AO1 R", tempo=1.0, rng=np.random.default_rng(0)).formants.shape[1]
    3
    """
    pieces, stressed = zip(*spell(text), strict=True)
    counts = durations(np.array([piece.seconds for piece in pieces]), np.array(stressed), tempo=tempo, rng=rng)

    def lay(values: list[float] | list[bool] | list[tuple[int, int, int]], seconds: float) -> Array:
        return smooth(np.repeat(np.array(values, float), counts, axis=0), round(seconds / FRAME))

    return Tracks(
        formants=lay([piece.formants for piece in pieces], 0.06),
        voice=lay([piece.voice for piece in pieces], 0.02),
        breath=lay([piece.breath for piece in pieces], 0.02),
        hiss={band: lay([piece.hiss * (piece.band == band) for piece in pieces], 0.015) for band in BANDS},
        stress=lay(list(stressed), 0.14),
    )


def durations(
    seconds: Array, stressed: npt.NDArray[np.bool_], *, tempo: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Frames of each piece: stress and the end of a sentence lengthen, and no two utterances are timed alike."""
    factor = np.where(stressed, 1.15, 0.95)
    factor[-3:] *= 1.35
    factor *= rng.lognormal(0, 0.1, seconds.size)
    return np.maximum(np.rint(seconds * factor / (tempo * FRAME)), 1).astype(np.int64)


def smooth(steps: Array, width: int) -> Array:
    """Turn steps into glides with a Hann window of ``2 * width`` frames, ends held."""
    taper = np.hanning(2 * width + 1)[1:-1]
    padded = np.pad(steps, [(width - 1, width - 1)] + [(0, 0)] * (steps.ndim - 1), mode="edge")
    columns = padded.reshape(len(padded), -1).T
    glides = [np.convolve(column, taper / taper.sum(), mode="valid") for column in columns]
    return np.stack(glides, axis=1).reshape(steps.shape)
