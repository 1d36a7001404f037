"""Formant synthesis: ARPABET text to parameter tracks, glottal flow and resonances.

The glottal pulse is that of Klatt & Klatt (1990), the cascade of resonators that of Klatt (1980). Vowel formants are
the male means of Peterson & Barney (1952); consonants are modelled on Klatt (1980). A phone has one or two segments: a
diphthong two vowels, a stop a closure and a burst.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from pipeline.core.errors import UnknownNameError

Array = npt.NDArray[np.float64]
OPEN = 0.6  # open quotient: share of a period in which the glottis is open
STEADY = (3500.0, 4500.0, 5600.0, 6700.0, 7800.0)  # Hz, upper formants of a man, which hardly move


def glottis(rng: np.random.Generator, hertz: Array, *, jitter: float, rate: int) -> tuple[Array, Array]:
    """Return the derivative of the glottal flow, ``2t - 3t²`` while it is open, and the opening from 0.2 to 1.

    Jitter is the relative sd of the period; shimmer, that of the amplitude, is three times as large. Shapes:
    ``(samples,)``.
    """
    cycles = np.cumsum(hertz) / rate
    stretch, height = 1 + jitter * np.array([[1.0], [3.0]]) * rng.standard_normal((2, int(1.3 * cycles[-1]) + 2))
    phase = np.cumsum(hertz * stretch[cycles.astype(int)]) / rate
    cycle = phase.astype(int)
    time = (phase - cycle) / OPEN
    opened = time < 1
    return opened * time * (2 - 3 * time) * height[cycle], 0.2 + 0.8 * opened


def cascade(source: Array, formants: Array, *, rate: int) -> Array:
    """Filter with formants that change once per frame. Shapes: ``(samples,)`` and ``(frames, n)`` to ``(samples,)``."""
    blocks = source.reshape(len(formants), -1).copy()
    for track in formants.T:
        state = np.zeros(2)
        for block, poles in zip(blocks, resonator(track, width(track), rate=rate), strict=True):
            block[:], state = lfilter([poles.sum()], poles, block, zi=state)
    return blocks.ravel()


def crown(signal: Array, *, scale: float, rate: int) -> Array:
    """Filter with the upper formants below the Nyquist frequency."""
    for hertz in scale * np.array(STEADY):
        if hertz < 0.47 * rate:
            poles = resonator(hertz, width(hertz), rate=rate)
            signal = lfilter([poles.sum()], poles, signal)
    return signal


def width(hertz: Array) -> Array:
    """Return the bandwidth in Hz of a formant at ``hertz``."""
    return 50 + hertz / 25


def resonator(hertz: Array, width: Array, *, rate: int) -> Array:
    """Return the denominator of a two-pole filter; its sum as numerator gives gain 1 at 0 Hz. Shape: ``(..., 3)``.

    >>> resonator(np.array([500.0, 1500.0]), np.array([70.0, 110.0]), rate=16_000).shape
    (2, 3)
    """
    radius = np.exp(-np.pi * width / rate)
    return np.stack([np.ones_like(radius), -2 * radius * np.cos(2 * np.pi * hertz / rate), radius**2], axis=-1)


def hiss(noise: Array, centre: float, width: float, *, rate: int) -> Array:
    """Filter white noise to a band of ``width`` around ``centre`` in Hz, normalised to RMS 1."""
    poles = resonator(np.array(min(centre, 0.44 * rate)), np.array(width), rate=rate)
    return unit(lfilter([1, -2, 1], np.convolve(poles, poles), noise))


def brighten(signal: Array, decibels: float, *, rate: int) -> Array:
    """Raise frequencies above 1 kHz by a shelf filter that reaches half of ``decibels`` at 1 kHz."""
    gain = 10 ** (decibels / 20)
    dull = lowpass(signal, 1000 * np.sqrt(gain), rate=rate)
    return dull + gain * (signal - dull)


def lowpass(signal: Array, hertz: float, *, rate: int) -> Array:
    """Attenuate by 6 dB per octave above ``hertz``."""
    pole = np.exp(-2 * np.pi * hertz / rate)
    dull: Array = lfilter([1 - pole], [1, -pole], signal)
    return dull


def unit(signal: Array) -> Array:
    """Normalise to RMS 1."""
    scaled: Array = signal / np.sqrt(np.mean(np.square(signal)))
    return scaled


FRAME = 0.008  # s per frame of the tracks
BANDS = {  # centre and bandwidth of frication noise, Hz
    "s": (5600.0, 1700.0),
    "sh": (3100.0, 1300.0),
    "f": (6400.0, 5000.0),
    "t": (4300.0, 2500.0),
    "k": (2000.0, 900.0),
    "p": (1000.0, 1200.0),
}


class Piece(NamedTuple):
    """An articulatory target; gains are relative to a vowel."""

    formants: tuple[int, int, int]  # Hz, of an adult man
    seconds: float
    voice: float = 1.0
    breath: float = 0.0  # aspiration noise at the glottis, filtered by the formants
    hiss: float = 0.0  # frication noise, filtered to ``band``
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
    """Parameters of the vocal tract, one value every ``FRAME`` seconds."""

    formants: Array  # (frames, 3), Hz
    voice: Array  # (frames,)
    breath: Array  # (frames,)
    hiss: dict[str, Array]  # band: (frames,)
    stress: Array  # (frames,), about 1 on every stressed vowel


def spell(text: str) -> list[tuple[Piece, bool]]:
    """Return the segments of a text and whether each is stressed (a vowel followed by 1).

    >>> [(piece.seconds, stressed) for piece, stressed in spell("B AY1")]
    [(0.06, False), (0.01, False), (0.08, True), (0.08, True)]

    Raises:
        UnknownNameError: a phone is unknown.
    """
    pieces = []
    for phone in text.split():
        name = phone.rstrip("01")
        if name not in PIECES:
            raise UnknownNameError("phone", name, PIECES)
        pieces += [(piece, phone.endswith("1")) for piece in PIECES[name]]
    return pieces


def tracks(text: str, *, tempo: float, rng: np.random.Generator) -> Tracks:
    """Compute the durations of a text's segments and the smooth transitions between their targets.

    >>> tracks("DH AX D AO1 R", tempo=1.0, rng=np.random.default_rng(0)).formants.shape[1]
    3
    """
    pieces, stressed = zip(*spell(text), strict=True)
    counts = durations(np.array([piece.seconds for piece in pieces]), np.array(stressed), tempo=tempo, rng=rng)

    def interpolate(values: list[float] | list[bool] | list[tuple[int, int, int]], seconds: float) -> Array:
        return smooth(np.repeat(np.array(values, float), counts, axis=0), round(seconds / FRAME))

    return Tracks(
        formants=interpolate([piece.formants for piece in pieces], 0.06),
        voice=interpolate([piece.voice for piece in pieces], 0.02),
        breath=interpolate([piece.breath for piece in pieces], 0.02),
        hiss={band: interpolate([piece.hiss * (piece.band == band) for piece in pieces], 0.015) for band in BANDS},
        stress=interpolate(list(stressed), 0.14),
    )


def durations(
    seconds: Array, stressed: npt.NDArray[np.bool_], *, tempo: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the frames of each segment: longer with stress and at the end of the sentence, with random variation."""
    factor = np.where(stressed, 1.15, 0.95)
    factor[-3:] *= 1.35
    factor *= rng.lognormal(0, 0.1, seconds.size)
    return np.maximum(np.rint(seconds * factor / (tempo * FRAME)), 1).astype(np.int64)


def smooth(steps: Array, width: int) -> Array:
    """Smooth steps with a Hann window of ``2 * width`` frames, extending the end values."""
    taper = np.hanning(2 * width + 1)[1:-1]
    padded = np.pad(steps, [(width - 1, width - 1)] + [(0, 0)] * (steps.ndim - 1), mode="edge")
    columns = padded.reshape(len(padded), -1).T
    smoothed = [np.convolve(column, taper / taper.sum(), mode="valid") for column in columns]
    return np.stack(smoothed, axis=1).reshape(steps.shape)
