"""Judge sound while it comes: from any iterator of blocks, such as those of a file in real time."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.serving.answers import Span
from pipeline.serving.heard import Plan
from pipeline.serving.predictor import Predictor
from pipeline.serving.windows import Samples, cut
from pipeline.store import audio

BLOCK = 0.1  # s


def listen(blocks: Iterable[Samples], rate: int, predictor: Predictor, plan: Plan) -> Iterator[Span]:
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
    recording = audio.fetch(path)
    return paced(recording, speed), recording.sample_rate


def paced(recording: audio.Recording, speed: float) -> Iterator[Samples]:
    """Give blocks, each when its last sample is due."""
    begun, size = time.monotonic(), round(BLOCK * recording.sample_rate)
    for start in range(0, len(recording.samples), size):
        if speed:
            due = begun + (start + size) / recording.sample_rate / speed
            time.sleep(max(0.0, due - time.monotonic()))
        yield recording.samples[start : start + size]
