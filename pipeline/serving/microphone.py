"""Blocks of samples from a microphone, through sounddevice and PortAudio."""

import queue
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline import extras
from pipeline.errors import SerError
from pipeline.serving.windows import Samples

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
