"""Synthetic acted speech: sentences by random speakers with the prosody of an emotion.

The directions of the changes follow Murray & Arnott (1993), Juslin & Laukka (2003) and Scherer (2003): anger is loud,
fast, high and bright, sadness soft, slow, low and dull; calm follows their tenderness. The sizes of the changes, and
the creaky voice of disgust, are chosen so that a classifier recognises unknown speakers often but not always. Scores on
such speech say nothing about people.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from pipeline.core.errors import UnknownNameError
from pipeline.demo import tract

Array = npt.NDArray[np.float64]
VERSION = 1  # increase when the same seed gives other samples, here or in `demo.tract`
MIN_SYNTHESIS_RATE = 20_000  # Hz, the lowest rate to synthesise at
F0_RANGE = (60, 600)  # Hz, of f0
MAX_PEAK = 0.9  # of full scale; louder clips are attenuated


@dataclass(frozen=True)
class Prosody:
    """Differences from a speaker's neutral voice, in units that are additive."""

    pitch: float = 0.0  # semitones
    span: float = 0.0  # doublings of the range of f0
    rise: float = 0.0  # semitones at the end of the sentence
    level: float = 0.0  # dB
    tempo: float = 0.0  # doublings of the speed
    bright: float = 0.0  # dB, of the source above 1 kHz
    breath: float = 0.0  # dB
    jitter: float = 0.0  # doublings of jitter and shimmer
    formants: float = 0.0  # doublings of the formants: a smile shortens the vocal tract


EMOTION_PROSODY = {
    "angry": Prosody(pitch=4.5, span=0.7, rise=-2, level=12, tempo=0.2, bright=10, breath=-6, jitter=0.7),
    "disgust": Prosody(pitch=-2.5, span=0.4, rise=-2, tempo=-0.5, bright=1, jitter=2.4, formants=-0.1),
    "fear": Prosody(pitch=7, span=-0.7, rise=1, level=2, tempo=0.4, bright=-1, breath=10, jitter=1.5),
    "happy": Prosody(pitch=5, span=1.1, rise=2, level=7, tempo=0.1, bright=5, breath=-4, formants=0.08),
    "neutral": Prosody(),
    "sad": Prosody(pitch=-2.5, span=-1, rise=-2, level=-9, tempo=-0.5, bright=-9, breath=9, jitter=0.5),
    "surprise": Prosody(pitch=8, span=1.3, rise=9, level=4, tempo=-0.1, bright=1, breath=1),
    "calm": Prosody(pitch=-1, span=-0.4, level=-4, tempo=-0.15, bright=-3, breath=3, jitter=-0.2),
}
PROSODY_SD = Prosody(pitch=1.2, span=0.25, rise=1, level=1.5, tempo=0.08, bright=2, breath=2, jitter=0.4, formants=0.02)


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """The voice and the habits of a speaker."""

    f0: float  # Hz, mean of neutral speech
    formants: float  # factor on those of a man, the inverse of the length of the vocal tract
    tempo: float  # factor
    span: float  # semitones, size of an accent
    bright: float  # dB, of the source above 1 kHz
    breath: float  # aspiration noise relative to the pulses
    jitter: float  # relative sd of the period
    expression: float  # factor on every emotion
    habits: Mapping[str, Prosody]  # personal deviation for each emotion


@dataclass(frozen=True, kw_only=True)
class RecordingConditions:
    """The recording conditions of a corpus."""

    rate: int  # Hz
    level: float  # dBFS, RMS of neutral speech
    floor: float  # dBFS, RMS of the room noise
    silence: tuple[float, float]  # s before and after
    tempo: float = 1.0  # factor: reading aloud is slower than spontaneous speech


def sample_speaker(rng: np.random.Generator, sex: str) -> Speaker:
    """Draw a random speaker, ``female`` or ``male``; women have higher voices and shorter vocal tracts."""
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
        habits={emotion: _sample_deviation(rng, 0.8) for emotion in EMOTION_PROSODY},
    )


def _sample_deviation(rng: np.random.Generator, size: float) -> Prosody:
    """Draw a random deviation with ``size`` times the standard deviations of ``SPREAD``."""
    return Prosody(*(float(sd * size * rng.standard_normal()) for sd in astuple(PROSODY_SD)))


def sample_prosody(rng: np.random.Generator, speaker: Speaker, emotion: str, strength: float) -> Prosody:
    """Combine an emotion with the speaker's expression and habits, and the random variation of one take.

    Raises:
        UnknownNameError: the emotion is unknown.
    """
    if emotion not in EMOTION_PROSODY:
        raise UnknownNameError("emotion", emotion, EMOTION_PROSODY)
    typical = speaker.expression * strength * np.array(astuple(EMOTION_PROSODY[emotion]))
    personal = np.array(astuple(speaker.habits[emotion])) + np.array(astuple(_sample_deviation(rng, 1.0)))
    return Prosody(*(typical + personal).tolist())


def synthesise_speech(
    rng: np.random.Generator,
    speaker: Speaker,
    emotion: str,
    text: str,
    *,
    recording: RecordingConditions,
    strength: float = 1.0,
) -> npt.NDArray[np.float32]:
    """Synthesise a text (ARPABET, stressed vowels marked 1) in an emotion. Shape: ``(samples,)``, peak at most 0.9.

    >>> rng = np.random.default_rng(0)
    >>> studio = RecordingConditions(rate=16_000, level=-30, floor=-60, silence=(0.1, 0.1))
    >>> synthesise_speech(rng, sample_speaker(rng, "female"), "sad", "AX L OW1 N", recording=studio).shape
    (14047,)

    Raises:
        UnknownNameError: the emotion or a phone is unknown.
    """
    studio = replace(recording, rate=_synthesis_rate(recording.rate))
    prosody = sample_prosody(rng, speaker, emotion, strength)
    tracks = tract.parameter_tracks(text, tempo=recording.tempo * speaker.tempo * 2**prosody.tempo, rng=rng)
    hertz = f0_contour(rng, tracks.stress, speaker, prosody)
    speech = render_tracks(rng, tracks, hertz, speaker=speaker, prosody=prosody, rate=studio.rate)
    signal = resample_poly(_add_room(rng, speech, studio, gain=prosody.level), recording.rate, studio.rate)
    bounded: npt.NDArray[np.float32] = (signal * min(1.0, MAX_PEAK / np.abs(signal).max())).astype(np.float32)
    return bounded


def _synthesis_rate(rate: int) -> int:
    """Choose a rate to synthesise at: at least ``FULL``, where pulses hardly alias, in an integer ratio to ``rate``.

    >>> _synthesis_rate(16_000), _synthesis_rate(24_414), _synthesis_rate(44_100), _synthesis_rate(96_000)
    (32000, 24414, 22050, 24000)
    """
    if rate < MIN_SYNTHESIS_RATE:
        return rate * -(-MIN_SYNTHESIS_RATE // rate)
    return rate // max(times for times in range(1, rate // MIN_SYNTHESIS_RATE + 1) if rate % times == 0)


def f0_contour(rng: np.random.Generator, stress: Array, speaker: Speaker, prosody: Prosody) -> Array:
    """Draw f0 in Hz: accents on stressed vowels, declination, and a final movement. Shape: ``(frames,)``."""
    time = np.linspace(0, 1, stress.size)
    heights = np.interp(time, np.linspace(0, 1, 6), rng.uniform(0.3, 1.7, 6))
    wobble = np.interp(time, np.linspace(0, 1, 12), 0.2 * rng.standard_normal(12))
    movement = heights * stress - stress.mean() + 0.7 * (0.5 - time) + wobble
    turn = prosody.rise * np.clip((time - 0.7) / 0.3, 0, 1) ** 2
    semitones = prosody.pitch + speaker.span * 2**prosody.span * movement + turn
    hertz: Array = speaker.f0 * np.exp2(semitones / 12)
    return hertz.clip(*F0_RANGE)


def loudness_contour(stress: Array) -> Array:
    """Return the amplitude: higher with stress, falling over the sentence, with a final fade. Shape: ``(frames,)``."""
    time = np.linspace(0, 1, stress.size)
    return (0.8 + 0.3 * stress) * (1 - 0.35 * time) * np.clip((1 - time) / 0.1, 0, 1)


def render_tracks(
    rng: np.random.Generator,
    tracks: tract.ParameterTracks,
    hertz: Array,
    *,
    speaker: Speaker,
    prosody: Prosody,
    rate: int,
) -> Array:
    """Render parameter tracks as audio. Shape: ``(frames,)`` to ``(samples,)``, RMS 1."""
    block = round(tract.FRAME_SECONDS * rate)

    def upsample(track: Array) -> Array:
        return np.interp((np.arange(track.size * block) + 0.5) / block, np.arange(track.size) + 0.5, track)

    voice = upsample(tracks.voice * loudness_contour(tracks.stress))
    flow, opened = tract.glottal_flow(rng, upsample(hertz), jitter=speaker.jitter * 2**prosody.jitter, rate=rate)
    for decibels in (speaker.bright, prosody.bright):
        flow = tract.boost_treble(flow, decibels, rate=rate)
    noise = rng.standard_normal(voice.size)
    leak = speaker.breath * 10 ** (prosody.breath / 20) * voice * opened
    source = voice * tract.normalise_rms(flow) + (leak + upsample(tracks.breath)) * noise
    scale = speaker.formants * 2**prosody.formants
    speech = tract.filter_upper_formants(
        tract.filter_formants(source, scale * tracks.formants, rate=rate), scale=scale, rate=rate
    )
    speech = tract.normalise_rms(speech)
    for band, track in tracks.hiss.items():
        if track.any():
            speech += upsample(track) * tract.frication_noise(noise, *tract.FRICATION_BANDS[band], rate=rate)
    return tract.normalise_rms(speech)


def _add_room(rng: np.random.Generator, speech: Array, studio: RecordingConditions, *, gain: float) -> Array:
    """Set the level of speech, and add silence and room noise."""
    before, after = (round(seconds * studio.rate * rng.lognormal(0, 0.15)) for seconds in studio.silence)
    signal = np.pad(speech * 10 ** ((studio.level + gain) / 20), (before, after))
    room = tract.lowpass_filter(rng.standard_normal(signal.size), 1000, rate=studio.rate)
    return signal + tract.normalise_rms(room) * 10 ** (studio.floor / 20)
