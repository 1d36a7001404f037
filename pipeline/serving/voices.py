"""Recordings to try the page with: synthetic speech, made on the spot, of speakers that the demo's corpora lack."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline import extras
from pipeline.signal import voice

with extras.system_library("libsndfile"):
    import soundfile

RATE = 16_000  # Hz
SEED = 2024  # the demo makes its speakers from other streams
EMOTIONS = ("angry", "happy", "neutral", "sad", "fear")
TEXT = "AY1 TH IH1 NG K AY0 HH AE1 V AX D AA1 K T ER0 Z AX P OY1 N T M AX N T"  # I think I have a doctor's appointment
STUDIO = voice.Recording(rate=RATE, level=-28, floor=-66, silence=(0.3, 0.3), tempo=1.0)
LONG, PAUSE = "all, with pauses", 3.0  # s
Array = npt.NDArray[np.float32]


def make(folder: Path, labels: Sequence[str]) -> dict[str, Path]:
    """Write a clip for each emotion that a model knows, and one of them all with pauses between; give them by name."""
    spoken = {name: say(name, number) for number, name in enumerate(EMOTIONS) if name in labels}
    room = np.random.default_rng(SEED).standard_normal(round(PAUSE * RATE), np.float32)
    pause = room * np.float32(10 ** (STUDIO.floor / 20))
    clips = spoken | {LONG: np.concatenate([part for clip in spoken.values() for part in (clip, pause)])}
    return {name: write(folder / f"synthetic {name}.wav", clip) for name, clip in clips.items()}


def say(emotion: str, number: int) -> Array:
    """Speak the text in an emotion, women and men in turn. Shape ``(samples,)``."""
    rng = np.random.default_rng([SEED, number])
    speaker = voice.cast(rng, ("female", "male")[number % 2])
    return voice.speak(rng, speaker, emotion, TEXT, recording=STUDIO, strength=1.2)


def write(path: Path, clip: Array) -> Path:
    """Write a WAV file of 16 bits."""
    soundfile.write(path, clip, RATE, subtype="PCM_16")
    return path
