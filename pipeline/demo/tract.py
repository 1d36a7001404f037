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
OPEN_QUOTIENT = 0.6  # open quotient: share of a period in which the glottis is open
UPPER_FORMANTS = (3500.0, 4500.0, 5600.0, 6700.0, 7800.0)  # Hz, upper formants of a man, which hardly move


def glottal_flow(rng: np.random.Generator, hertz: Array, *, jitter: float, rate: int) -> tuple[Array, Array]:
    """Return the derivative of the glottal flow, ``2t - 3t²`` while it is open, and the opening from 0.2 to 1.

    Jitter is the relative sd of the period; shimmer, that of the amplitude, is three times as large. Shapes:
    ``(samples,)``.
    """
    cycles = np.cumsum(hertz) / rate
    stretch, height = 1 + jitter * np.array([[1.0], [3.0]]) * rng.standard_normal((2, int(1.3 * cycles[-1]) + 2))
    phase = np.cumsum(hertz * stretch[cycles.astype(int)]) / rate
    cycle = phase.astype(int)
    time = (phase - cycle) / OPEN_QUOTIENT
    opened = time < 1
    return opened * time * (2 - 3 * time) * height[cycle], 0.2 + 0.8 * opened


def filter_formants(source: Array, formants: Array, *, rate: int) -> Array:
    """Filter with formants that change once per frame. Shapes: ``(samples,)`` and ``(frames, n)`` to ``(samples,)``."""
    blocks = source.reshape(len(formants), -1).copy()
    for track in formants.T:
        state = np.zeros(2)
        for block, poles in zip(blocks, resonator_denominator(track, formant_bandwidth(track), rate=rate), strict=True):
            block[:], state = lfilter([poles.sum()], poles, block, zi=state)
    return blocks.ravel()


def filter_upper_formants(signal: Array, *, scale: float, rate: int) -> Array:
    """Filter with the upper formants below the Nyquist frequency."""
    for hertz in scale * np.array(UPPER_FORMANTS):
        if hertz < 0.47 * rate:
            poles = resonator_denominator(hertz, formant_bandwidth(hertz), rate=rate)
            signal = lfilter([poles.sum()], poles, signal)
    return signal


def formant_bandwidth(hertz: Array) -> Array:
    """Return the bandwidth in Hz of a formant at ``hertz``."""
    return 50 + hertz / 25


def resonator_denominator(hertz: Array, width: Array, *, rate: int) -> Array:
    """Return the denominator of a two-pole filter; its sum as numerator gives gain 1 at 0 Hz. Shape: ``(..., 3)``.

    >>> resonator_denominator(np.array([500.0, 1500.0]), np.array([70.0, 110.0]), rate=16_000).shape
    (2, 3)
    """
    radius = np.exp(-np.pi * width / rate)
    return np.stack([np.ones_like(radius), -2 * radius * np.cos(2 * np.pi * hertz / rate), radius**2], axis=-1)


def frication_noise(noise: Array, centre: float, width: float, *, rate: int) -> Array:
    """Filter white noise to a band of ``width`` around ``centre`` in Hz, normalised to RMS 1."""
    poles = resonator_denominator(np.array(min(centre, 0.44 * rate)), np.array(width), rate=rate)
    return normalise_rms(lfilter([1, -2, 1], np.convolve(poles, poles), noise))


def boost_treble(signal: Array, decibels: float, *, rate: int) -> Array:
    """Raise frequencies above 1 kHz by a shelf filter that reaches half of ``decibels`` at 1 kHz."""
    gain = 10 ** (decibels / 20)
    dull = lowpass_filter(signal, 1000 * np.sqrt(gain), rate=rate)
    return dull + gain * (signal - dull)


def lowpass_filter(signal: Array, hertz: float, *, rate: int) -> Array:
    """Attenuate by 6 dB per octave above ``hertz``."""
    pole = np.exp(-2 * np.pi * hertz / rate)
    dull: Array = lfilter([1 - pole], [1, -pole], signal)
    return dull


def normalise_rms(signal: Array) -> Array:
    """Normalise to RMS 1."""
    scaled: Array = signal / np.sqrt(np.mean(np.square(signal)))
    return scaled


FRAME_SECONDS = 0.008  # s per frame of the tracks
FRICATION_BANDS = {  # centre and bandwidth of frication noise, Hz
    "s": (5600.0, 1700.0),
    "sh": (3100.0, 1300.0),
    "f": (6400.0, 5000.0),
    "t": (4300.0, 2500.0),
    "k": (2000.0, 900.0),
    "p": (1000.0, 1200.0),
}


class Segment(NamedTuple):
    """An articulatory target; gains are relative to a vowel."""

    formants: tuple[int, int, int]  # Hz, of an adult man
    seconds: float
    voice: float = 1.0
    breath: float = 0.0  # aspiration noise at the glottis, filtered by the formants
    hiss: float = 0.0  # frication noise, filtered to ``band``
    band: str = ""


VOWELS = {
    "IY": Segment((270, 2290, 3010), 0.11),
    "IH": Segment((390, 1990, 2550), 0.09),
    "EH": Segment((530, 1840, 2480), 0.10),
    "AE": Segment((660, 1720, 2410), 0.13),
    "AH": Segment((640, 1190, 2390), 0.10),
    "AA": Segment((730, 1090, 2440), 0.13),
    "AO": Segment((570, 840, 2410), 0.13),
    "UH": Segment((440, 1020, 2240), 0.09),
    "UW": Segment((300, 870, 2240), 0.12),
    "ER": Segment((490, 1350, 1690), 0.12),
    "AX": Segment((500, 1450, 2450), 0.06, 0.8),
}
DIPHTHONGS = {"EY": ("EH", "IY"), "AY": ("AA", "IH"), "OY": ("AO", "IH"), "OW": ("AO", "UH"), "AW": ("AA", "UH")}
CONSONANTS = {
    "W": (Segment((290, 610, 2150), 0.06, 0.5),),
    "Y": (Segment((260, 2070, 3020), 0.06, 0.5),),
    "R": (Segment((310, 1060, 1380), 0.07, 0.6),),
    "L": (Segment((310, 1050, 2880), 0.06, 0.5),),
    "M": (Segment((280, 900, 2200), 0.07, 0.3),),
    "N": (Segment((280, 1700, 2600), 0.06, 0.3),),
    "NG": (Segment((280, 2300, 2750), 0.08, 0.3),),
    "F": (Segment((340, 1100, 2080), 0.10, 0.0, 0.02, 0.11, "f"),),
    "V": (Segment((220, 1100, 2080), 0.06, 0.3, 0.02, 0.064, "f"),),
    "TH": (Segment((320, 1290, 2540), 0.09, 0.0, 0.02, 0.08, "f"),),
    "DH": (Segment((270, 1290, 2540), 0.05, 0.3, 0.01, 0.032, "f"),),
    "S": (Segment((320, 1390, 2530), 0.11, 0.0, 0.02, 0.4, "s"),),
    "Z": (Segment((240, 1390, 2530), 0.08, 0.25, 0.02, 0.24, "s"),),
    "SH": (Segment((300, 1840, 2750), 0.11, 0.0, 0.02, 0.48, "sh"),),
    "HH": (Segment((500, 1450, 2450), 0.06, 0.05, 0.15),),
    "P": (Segment((400, 1100, 2150), 0.07, 0.0), Segment((400, 1100, 2150), 0.03, 0.0, 0.12, 0.32, "p")),
    "T": (Segment((400, 1600, 2600), 0.06, 0.0), Segment((400, 1600, 2600), 0.03, 0.0, 0.10, 0.4, "t")),
    "K": (Segment((300, 1990, 2850), 0.06, 0.0), Segment((300, 1990, 2850), 0.035, 0.0, 0.12, 0.4, "k")),
    "B": (Segment((200, 1100, 2150), 0.06, 0.1), Segment((200, 1100, 2150), 0.01, 0.4, 0.02, 0.24, "p")),
    "D": (Segment((200, 1600, 2600), 0.05, 0.1), Segment((200, 1600, 2600), 0.015, 0.4, 0.02, 0.32, "t")),
    "G": (Segment((200, 1990, 2850), 0.05, 0.1), Segment((200, 1990, 2850), 0.02, 0.4, 0.02, 0.32, "k")),
    "CH": (Segment((350, 1800, 2820), 0.06, 0.0), Segment((350, 1800, 2820), 0.07, 0.0, 0.03, 0.48, "sh")),
    "JH": (Segment((260, 1800, 2820), 0.05, 0.1), Segment((260, 1800, 2820), 0.05, 0.3, 0.02, 0.32, "sh")),
    ",": (Segment((500, 1450, 2450), 0.12, 0.0),),
}
SEGMENTS = (
    CONSONANTS
    | {name: (vowel,) for name, vowel in VOWELS.items()}
    | {name: tuple(VOWELS[v]._replace(seconds=0.08) for v in pair) for name, pair in DIPHTHONGS.items()}
)


@dataclass(frozen=True, kw_only=True)
class ParameterTracks:
    """Parameters of the vocal tract, one value every ``FRAME`` seconds."""

    formants: Array  # (frames, 3), Hz
    voice: Array  # (frames,)
    breath: Array  # (frames,)
    hiss: dict[str, Array]  # band: (frames,)
    stress: Array  # (frames,), about 1 on every stressed vowel


def phone_segments(text: str) -> list[tuple[Segment, bool]]:
    """Return the segments of a text and whether each is stressed (a vowel followed by 1).

    >>> [(piece.seconds, stressed) for piece, stressed in phone_segments("B AY1")]
    [(0.06, False), (0.01, False), (0.08, True), (0.08, True)]

    Raises:
        UnknownNameError: a phone is unknown.
    """
    pieces = []
    for phone in text.split():
        name = phone.rstrip("01")
        if name not in SEGMENTS:
            raise UnknownNameError("phone", name, SEGMENTS)
        pieces += [(piece, phone.endswith("1")) for piece in SEGMENTS[name]]
    return pieces


def parameter_tracks(text: str, *, tempo: float, rng: np.random.Generator) -> ParameterTracks:
    """Compute the durations of a text's segments and the smooth transitions between their targets.

    >>> parameter_tracks("DH AX D AO1 R", tempo=1.0, rng=np.random.default_rng(0)).formants.shape[1]
    3
    """
    pieces, stressed = zip(*phone_segments(text), strict=True)
    counts = _segment_durations(np.array([piece.seconds for piece in pieces]), np.array(stressed), tempo=tempo, rng=rng)

    def interpolate(values: list[float] | list[bool] | list[tuple[int, int, int]], seconds: float) -> Array:
        return smooth_steps(np.repeat(np.array(values, float), counts, axis=0), round(seconds / FRAME_SECONDS))

    return ParameterTracks(
        formants=interpolate([piece.formants for piece in pieces], 0.06),
        voice=interpolate([piece.voice for piece in pieces], 0.02),
        breath=interpolate([piece.breath for piece in pieces], 0.02),
        hiss={
            band: interpolate([piece.hiss * (piece.band == band) for piece in pieces], 0.015)
            for band in FRICATION_BANDS
        },
        stress=interpolate(list(stressed), 0.14),
    )


def _segment_durations(
    seconds: Array, stressed: npt.NDArray[np.bool_], *, tempo: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the frames of each segment: longer with stress and at the end of the sentence, with random variation."""
    factor = np.where(stressed, 1.15, 0.95)
    factor[-3:] *= 1.35
    factor *= rng.lognormal(0, 0.1, seconds.size)
    return np.maximum(np.rint(seconds * factor / (tempo * FRAME_SECONDS)), 1).astype(np.int64)


def smooth_steps(steps: Array, width: int) -> Array:
    """Smooth steps with a Hann window of ``2 * width`` frames, extending the end values."""
    taper = np.hanning(2 * width + 1)[1:-1]
    padded = np.pad(steps, [(width - 1, width - 1)] + [(0, 0)] * (steps.ndim - 1), mode="edge")
    columns = padded.reshape(len(padded), -1).T
    smoothed = [np.convolve(column, taper / taper.sum(), mode="valid") for column in columns]
    return np.stack(smoothed, axis=1).reshape(steps.shape)
