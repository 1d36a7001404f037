"""Synthetic acted speech: sentences said by drawn speakers with the prosody of an emotion.

The emotions go the ways that Murray & Arnott (1993), Juslin & Laukka (2003) and Scherer (2003) report: anger loud,
fast, high and bright, sadness soft, slow, low and dull; calm goes the way of their tenderness. How far they go, and the
creak of disgust, is ours: a classifier is to find them in strangers, though not every time. Scores on such speech say
nothing about people.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from pipeline.core.errors import UnknownNameError
from pipeline.demo import tract

Array = npt.NDArray[np.float64]
VERSION = 1  # raise it when the same seed would give other numbers, here or in phones and tract
FULL = 20_000  # Hz, a rate that holds a voice
RANGE = (60, 600)  # Hz, of f0
PEAK = 0.9  # of full scale; louder clips are turned down


@dataclass(frozen=True)
class Emotion:
    """What differs from a speaker's own neutral voice. All units add up."""

    pitch: float = 0.0  # semitones
    span: float = 0.0  # doublings of the movement of f0
    rise: float = 0.0  # semitones at the end of the sentence
    level: float = 0.0  # dB
    tempo: float = 0.0  # doublings of the speed
    bright: float = 0.0  # dB, of the source above 1 kHz
    breath: float = 0.0  # dB
    jitter: float = 0.0  # doublings, shimmer too
    formants: float = 0.0  # doublings: a smile shortens the vocal tract


EMOTIONS = {
    "angry": Emotion(pitch=4.5, span=0.7, rise=-2, level=12, tempo=0.2, bright=10, breath=-6, jitter=0.7),
    "disgust": Emotion(pitch=-2.5, span=0.4, rise=-2, tempo=-0.5, bright=1, jitter=2.4, formants=-0.1),
    "fear": Emotion(pitch=7, span=-0.7, rise=1, level=2, tempo=0.4, bright=-1, breath=10, jitter=1.5),
    "happy": Emotion(pitch=5, span=1.1, rise=2, level=7, tempo=0.1, bright=5, breath=-4, formants=0.08),
    "neutral": Emotion(),
    "sad": Emotion(pitch=-2.5, span=-1, rise=-2, level=-9, tempo=-0.5, bright=-9, breath=9, jitter=0.5),
    "surprise": Emotion(pitch=8, span=1.3, rise=9, level=4, tempo=-0.1, bright=1, breath=1),
    "calm": Emotion(pitch=-1, span=-0.4, level=-4, tempo=-0.15, bright=-3, breath=3, jitter=-0.2),
}
SPREAD = Emotion(pitch=1.2, span=0.25, rise=1, level=1.5, tempo=0.08, bright=2, breath=2, jitter=0.4, formants=0.02)


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A body and its habits."""

    f0: float  # Hz, mean of neutral speech
    formants: float  # factor on those of a man: 1 / length of the vocal tract
    tempo: float  # factor
    span: float  # semitones, size of an accent
    bright: float  # dB, of the source above 1 kHz
    breath: float  # noise at the glottis beside the pulses, as a share
    jitter: float  # sd of the period, as a share
    expression: float  # factor on every emotion
    habits: Mapping[str, Emotion]  # own way of each emotion


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A studio and its task."""

    rate: int  # Hz
    level: float  # dBFS, RMS of neutral speech
    floor: float  # dBFS, RMS of the room
    silence: tuple[float, float]  # s before and after
    tempo: float = 1.0  # factor: reading aloud is slower than talking


def cast(rng: np.random.Generator, sex: str) -> Speaker:
    """Draw a speaker, ``female`` or ``male``: women have higher voices and shorter tracts."""
    female = sex == "female"
    return Speaker(
        f0=float((205 if female else 115) * 2 ** rng.normal(0, 0.15)),
        formants=float((1.16 if female else 1.0) * rng.normal(1, 0.03)),
        tempo=float(2 ** rng.normal(0, 0.1)),
        span=float(rng.uniform(1.5, 3.5)),
        bright=float(rng.normal(7, 2)),
        breath=float(0.03 * 2 ** rng.normal(0, 0.6)),
        jitter=float(0.006 * 2 ** rng.normal(0, 0.4)),
        expression=float(rng.uniform(0.7, 1.15)),
        habits={emotion: scatter(rng, 0.8) for emotion in EMOTIONS},
    )


def scatter(rng: np.random.Generator, size: float) -> Emotion:
    """Draw a deviation, ``size`` times the usual spread."""
    return Emotion(*(float(sd * size * rng.standard_normal()) for sd in astuple(SPREAD)))


def perform(rng: np.random.Generator, speaker: Speaker, emotion: str, strength: float) -> Emotion:
    """Mix the emotion with the speaker's expression and habits and with the chance of one take.

    Raises:
        UnknownNameError: an emotion without settings.
    """
    if emotion not in EMOTIONS:
        raise UnknownNameError("emotion", emotion, EMOTIONS)
    typical = speaker.expression * strength * np.array(astuple(EMOTIONS[emotion]))
    personal = np.array(astuple(speaker.habits[emotion])) + np.array(astuple(scatter(rng, 1.0)))
    return Emotion(*(typical + personal).tolist())


def speak(
    rng: np.random.Generator, speaker: Speaker, emotion: str, text: str, *, recording: Recording, strength: float = 1.0
) -> npt.NDArray[np.float32]:
    """Say a text (ARPABET, stressed vowels marked 1) in an emotion. Shape: ``(samples,)``, peak at most ``PEAK``.

    >>> rng = np.random.default_rng(0)
    >>> studio = Recording(rate=16_000, level=-30, floor=-60, silence=(0.1, 0.1))
    >>> speak(rng, cast(rng, "female"), "sad", "AX L OW1 N", recording=studio).shape
    (14047,)

    Raises:
        UnknownNameError: an emotion or a phone that is not known.
    """
    studio = replace(recording, rate=inner(recording.rate))
    manner = perform(rng, speaker, emotion, strength)
    tracks = tract.tracks(text, tempo=recording.tempo * speaker.tempo * 2**manner.tempo, rng=rng)
    hertz = intonation(rng, tracks.stress, speaker, manner)
    speech = utter(rng, tracks, hertz, speaker=speaker, manner=manner, rate=studio.rate)
    signal = resample_poly(place(rng, speech, studio, gain=manner.level), recording.rate, studio.rate)
    bounded: npt.NDArray[np.float32] = (signal * min(1.0, PEAK / np.abs(signal).max())).astype(np.float32)
    return bounded


def inner(rate: int) -> int:
    """Choose a rate to synthesise at: above ``FULL``, where pulses hardly alias, and simply related to ``rate``.

    >>> inner(16_000), inner(24_414), inner(44_100), inner(96_000)
    (32000, 24414, 22050, 24000)
    """
    if rate < FULL:
        return rate * -(-FULL // rate)
    return rate // max(times for times in range(1, rate // FULL + 1) if rate % times == 0)


def intonation(rng: np.random.Generator, stress: Array, speaker: Speaker, manner: Emotion) -> Array:
    """Draw f0 in Hz: accents on stressed vowels over a falling line, a turn at the end. Shape: ``(frames,)``."""
    time = np.linspace(0, 1, stress.size)
    heights = np.interp(time, np.linspace(0, 1, 6), rng.uniform(0.3, 1.7, 6))
    wobble = np.interp(time, np.linspace(0, 1, 12), 0.2 * rng.standard_normal(12))
    movement = heights * stress - stress.mean() + 0.7 * (0.5 - time) + wobble
    turn = manner.rise * np.clip((time - 0.7) / 0.3, 0, 1) ** 2
    semitones = manner.pitch + speaker.span * 2**manner.span * movement + turn
    hertz: Array = speaker.f0 * np.exp2(semitones / 12)
    return hertz.clip(*RANGE)


def loudness(stress: Array) -> Array:
    """Make a sentence louder where it is stressed, softer as it goes on, and let it fade. Shape: ``(frames,)``."""
    time = np.linspace(0, 1, stress.size)
    return (0.8 + 0.3 * stress) * (1 - 0.35 * time) * np.clip((1 - time) / 0.1, 0, 1)


def utter(
    rng: np.random.Generator, tracks: tract.Tracks, hertz: Array, *, speaker: Speaker, manner: Emotion, rate: int
) -> Array:
    """Sound the tracks. Shape: ``(frames,)`` to ``(samples,)``, RMS 1."""
    block = round(tract.FRAME * rate)

    def fine(track: Array) -> Array:
        return np.interp((np.arange(track.size * block) + 0.5) / block, np.arange(track.size) + 0.5, track)

    voice = fine(tracks.voice * loudness(tracks.stress))
    flow, opened = tract.glottis(rng, fine(hertz), jitter=speaker.jitter * 2**manner.jitter, rate=rate)
    for decibels in (speaker.bright, manner.bright):
        flow = tract.brighten(flow, decibels, rate=rate)
    noise = rng.standard_normal(voice.size)
    leak = speaker.breath * 10 ** (manner.breath / 20) * voice * opened
    source = voice * tract.unit(flow) + (leak + fine(tracks.breath)) * noise
    scale = speaker.formants * 2**manner.formants
    speech = tract.crown(tract.cascade(source, scale * tracks.formants, rate=rate), scale=scale, rate=rate)
    speech = tract.unit(speech)
    for band, track in tracks.hiss.items():
        if track.any():
            speech += fine(track) * tract.hiss(noise, *tract.BANDS[band], rate=rate)
    return tract.unit(speech)


def place(rng: np.random.Generator, speech: Array, studio: Recording, *, gain: float) -> Array:
    """Set the level and put the speech into its room."""
    before, after = (round(seconds * studio.rate * rng.lognormal(0, 0.15)) for seconds in studio.silence)
    signal = np.pad(speech * 10 ** ((studio.level + gain) / 20), (before, after))
    room = tract.lowpass(rng.standard_normal(signal.size), 1000, rate=studio.rate)
    return signal + tract.unit(room) * 10 ** (studio.floor / 20)
