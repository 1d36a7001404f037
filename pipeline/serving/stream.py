"""``listen``: predict while sound arrives, from a file in real time or from a microphone."""

import queue
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.audio import decode
from pipeline.core import errors
from pipeline.core.errors import SerError
from pipeline.serving.inputs import WindowPlan
from pipeline.serving.predictor import Predictor
from pipeline.serving.results import SpanPrediction
from pipeline.serving.vad import Samples, split_windows

BLOCK_SECONDS = 0.1  # s, of samples handed on at a time


def predict_stream(
    blocks: Iterable[Samples], rate: int, predictor: Predictor, plan: WindowPlan
) -> Iterator[SpanPrediction]:
    """Predict each window as soon as it is complete; the result is that for a file of the same samples.

    Args:
        blocks: samples of shape ``(frames, channels)``, int16 or float32, in blocks of any length.
        rate: Hz.
        predictor: the loaded bundles.
        plan: length and step of the windows.
    """
    for window in split_windows(blocks, rate, seconds=plan.seconds, every=plan.every):
        probabilities = None
        if window.has_speech:
            values = [each.compute(window.recording)[None] for each in predictor.input_settings]
            probabilities = predictor.probabilities(values)[0]
        yield SpanPrediction(window.start, window.end, probabilities)


def replay_file(path: Path, *, speed: float = 1.0) -> tuple[Iterator[Samples], int]:
    """Return the blocks of a file, timed as from a microphone, and its rate in Hz.

    Args:
        path: of any file that libsndfile reads; it is decoded whole, as for ``predict``.
        speed: how many times faster than real time; 0 for as fast as possible.

    Raises:
        AudioError: it holds no usable sound.
    """
    recording = decode.read_recording(path)
    return _paced_blocks(recording, speed), recording.sample_rate


def _paced_blocks(recording: decode.Recording, speed: float) -> Iterator[Samples]:
    """Yield blocks, each when its last sample is due."""
    begin, size = time.monotonic(), round(BLOCK_SECONDS * recording.sample_rate)
    for start in range(0, len(recording.samples), size):
        if speed:
            due = begin + (start + size) / recording.sample_rate / speed
            time.sleep(max(0.0, due - time.monotonic()))
        yield recording.samples[start : start + size]


def microphone_blocks(device: int | str | None = None) -> tuple[Iterator[Samples], int]:
    """Return the endless blocks of a microphone, and its rate in Hz.

    Raises:
        SerError: there is no such microphone, or sounddevice is not installed.
    """
    sounddevice = _import_sounddevice()
    try:
        info = sounddevice.query_devices(device, "input")
    except (ValueError, sounddevice.PortAudioError) as error:
        which = "the default microphone" if device is None else f"microphone {device!r}"
        raise SerError(f"{which} cannot be opened ({error}): see 'ser-features listen --devices'.") from error
    rate = int(info["default_samplerate"])
    return _recorded_blocks(sounddevice, device, rate), rate


def _recorded_blocks(sounddevice: Any, device: int | str | None, rate: int) -> Iterator[Samples]:
    """Record until the caller stops iterating."""
    recorded: queue.SimpleQueue[Samples] = queue.SimpleQueue()

    def receive(block: Samples, _frames: int, _times: Any, status: Any) -> None:
        if status.input_overflow:
            print("sound was lost: this machine is too busy to keep up", file=sys.stderr, flush=True)
        recorded.put(np.array(block))  # a copy, because PortAudio reuses its memory

    stream = sounddevice.InputStream(
        samplerate=rate,
        blocksize=round(BLOCK_SECONDS * rate),
        device=device,
        channels=1,
        dtype="float32",
        callback=receive,
    )
    with stream:
        while True:
            yield recorded.get()


def list_devices() -> str:
    """List the microphones and loudspeakers of this machine."""
    return str(_import_sounddevice().query_devices())


def _import_sounddevice() -> Any:
    """Import sounddevice.

    Raises:
        SettingError: it is not installed.
    """
    with errors.require_extra("listen"), errors.require_system_library("PortAudio"):
        import sounddevice  # imported late: an optional extra
    return sounddevice
