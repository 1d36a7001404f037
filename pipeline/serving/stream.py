"""``listen``: predict while sound arrives, from a file in real time or from a microphone."""

import queue
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.audio import decode
from pipeline.core import extras
from pipeline.core.errors import SerError
from pipeline.serving.inputs import Plan
from pipeline.serving.predictor import Predictor
from pipeline.serving.results import Span
from pipeline.serving.vad import Samples, cut

BLOCK = 0.1  # s


def predict_stream(blocks: Iterable[Samples], rate: int, predictor: Predictor, plan: Plan) -> Iterator[Span]:
    """Judge each window as soon as it is there; the spans are those of the file that the blocks make up.

    Args:
        blocks: samples of shape ``(frames, channels)``, int16 or float32, in pieces of any length.
        rate: Hz.
        predictor: who judges.
        plan: how long windows are and how often they begin.
    """
    for window in cut(blocks, rate, seconds=plan.seconds, every=plan.every):
        found = None
        if window.spoken:
            values = [hearing.values(window.recording)[None] for hearing in predictor.hearings]
            found = predictor.probabilities(values)[0]
        yield Span(window.start, window.end, found)


def replay(path: Path, *, speed: float = 1.0) -> tuple[Iterator[Samples], int]:
    """Give the blocks of a file as a microphone would, and its rate in Hz.

    Args:
        path: of any file that libsndfile reads; it is decoded whole, as it is for `predict`.
        speed: how many times faster than the recording was made; 0 for as fast as it goes.

    Raises:
        AudioError: it holds no usable sound.
    """
    recording = decode.fetch(path)
    return paced(recording, speed), recording.sample_rate


def paced(recording: decode.Recording, speed: float) -> Iterator[Samples]:
    """Give blocks, each when its last sample is due."""
    begun, size = time.monotonic(), round(BLOCK * recording.sample_rate)
    for start in range(0, len(recording.samples), size):
        if speed:
            due = begun + (start + size) / recording.sample_rate / speed
            time.sleep(max(0.0, due - time.monotonic()))
        yield recording.samples[start : start + size]


BLOCK = 0.1  # s


def blocks(device: int | str | None = None) -> tuple[Iterator[Samples], int]:
    """Give the blocks of a microphone without end, and its rate in Hz.

    Raises:
        SerError: there is no microphone of this name, or what reads it is not installed.
    """
    sounddevice = library()
    try:
        about = sounddevice.query_devices(device, "input")
    except (ValueError, sounddevice.PortAudioError) as error:
        which = "the default microphone" if device is None else f"microphone {device!r}"
        raise SerError(f"{which} cannot be opened ({error}): see 'ser-features listen --devices'.") from error
    rate = int(about["default_samplerate"])
    return recorded(sounddevice, device, rate), rate


def recorded(sounddevice: Any, device: int | str | None, rate: int) -> Iterator[Samples]:
    """Record until whoever asks for blocks stops asking."""
    heard: queue.SimpleQueue[Samples] = queue.SimpleQueue()

    def take(block: Samples, _frames: int, _times: Any, status: Any) -> None:
        if status.input_overflow:
            print("sound was lost: this machine is too busy to listen", file=sys.stderr, flush=True)
        heard.put(np.array(block))  # a copy, for PortAudio uses its memory again

    stream = sounddevice.InputStream(
        samplerate=rate, blocksize=round(BLOCK * rate), device=device, channels=1, dtype="float32", callback=take
    )
    with stream:
        while True:
            yield heard.get()


def devices() -> str:
    """List the microphones and loudspeakers there are."""
    return str(library().query_devices())


def library() -> Any:
    """Import what reads microphones.

    Raises:
        SettingError: it is not installed.
    """
    with extras.needed("listen"), extras.system_library("PortAudio"):
        import sounddevice  # late: an extra that few need
    return sounddevice
