"""Judge sound while it comes: from any iterator of blocks, such as those of a file in real time."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import soundfile

from pipeline.errors import AudioError
from pipeline.serving.answers import Span
from pipeline.serving.heard import Plan
from pipeline.serving.predictor import Predictor
from pipeline.serving.windows import Samples, cut

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
        path: of any file that libsndfile reads.
        speed: how many times faster than the recording was made; 0 for as fast as it is read.

    Raises:
        AudioError: it cannot be read.
    """
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError("unreadable", f"{path} is no audio that libsndfile reads.") from error
    return paced(file, speed), int(file.samplerate)


def paced(file: soundfile.SoundFile, speed: float) -> Iterator[Samples]:
    """Give blocks, each when its last sample is due."""
    begun = time.monotonic()
    with file:
        for number, block in enumerate(file.blocks(round(BLOCK * file.samplerate), dtype="float32", always_2d=True), 1):
            if speed:
                time.sleep(max(0.0, begun + number * BLOCK / speed - time.monotonic()))
            yield block
