"""The desk where visitors hand in recordings: what is too large, too long or one too many goes back with a sentence."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath

from pipeline.errors import AudioError, SerError
from pipeline.serving.answers import Answer
from pipeline.serving.heard import Plan, hear
from pipeline.serving.predictor import Predictor
from pipeline.store import audio

DENSEST = 192_000  # samples in a second, two channels at 96 kHz: what unpacks to more is no voice, or meant to do harm
BYTES = 2**20  # of a megabyte


class TooLargeError(SerError):
    """More bytes than the limit allows."""


class BusyError(SerError):
    """More requests than can be served at once."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a visitor may ask for."""

    megabytes: float = 25.0  # of a recording
    seconds: float = 600.0  # of a recording
    at_once: int = 8  # recordings handed in and not yet answered
    upload: float = 60.0  # s that a recording may take to arrive
    heard: int = 2  # recordings unpacked in memory
    turn: float = 120.0  # s to wait for those who came before
    kept: int = 900  # s until the page's uploads are deleted

    @property
    def size(self) -> int:
        """Bytes of a recording."""
        return round(self.megabytes * BYTES)

    def refuse_size(self, size: int) -> None:
        """Refuse too many bytes.

        Raises:
            TooLargeError: there are more than allowed.
        """
        if size > self.size:
            raise TooLargeError(
                f"The recording has more than {self.megabytes:g} MB, the limit here: cut it, or store it as FLAC."
            )


@dataclass(frozen=True)
class Judged:
    """A recording and what was heard in it."""

    recording: audio.Recording
    answer: Answer


@dataclass
class Desk:
    """Few recordings are heard at a time, for each takes memory; models and pictures are not made for threads."""

    predictor: Predictor
    plan: Plan
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.places = threading.BoundedSemaphore(self.limits.at_once)
        self.ears = threading.BoundedSemaphore(self.limits.heard)
        self.lock = threading.BoundedSemaphore(1)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places, from the first byte to the answer.

        Raises:
            BusyError: all are taken.
        """
        if not self.places.acquire(blocking=False):
            raise BusyError(f"{self.limits.at_once} recordings are being judged just now: try again in a minute.")
        try:
            yield
        finally:
            self.places.release()

    @contextmanager
    def turn(self, some: threading.Semaphore) -> Iterator[None]:
        """Wait until those who came before are done with the ears or the lock.

        Raises:
            BusyError: that takes too long.
        """
        if not some.acquire(timeout=self.limits.turn):
            raise BusyError(f"Others were not done within {self.limits.turn:g} s: try again in a minute.")
        try:
            yield
        finally:
            some.release()

    def judge(self, data: bytes, *, name: str) -> Judged:
        """Judge the bytes of a recording.

        Raises:
            TooLargeError: there are too many of them.
            AudioError: they hold no usable sound, or too much.
            BusyError: others take too long.
        """
        self.limits.refuse_size(len(data))
        with self.turn(self.ears):
            recording = read(data, self.limits, name=name)
            heard = hear(recording, self.predictor.hearings, self.plan, name=name)
            with self.turn(self.lock):
                return Judged(recording, self.predictor.answers([heard])[0])


def read(data: bytes, limits: Limits, *, name: str) -> audio.Recording:
    """Decode a stranger's bytes.

    Raises:
        AudioError: they hold no usable sound, or too much.
    """
    path = name if PurePath(name).suffix else ""  # a file's name, not words for a recording that has none
    refuse_bulk(data, limits, name=name, path=path)
    recording = audio.decode(data, max_seconds=limits.seconds, name=name, path=path)
    if not len(recording.samples):
        raise AudioError("empty", f"{name} holds no samples: export it again.")
    return recording


def refuse_bulk(data: bytes, limits: Limits, *, name: str, path: str) -> None:
    """Refuse a recording that is short and small and would fill the memory all the same: many channels, a high rate.

    Raises:
        AudioError: its status is ``too_long``.
    """
    rate, channels, frames = audio.shape(data, name=name, path=path)
    seconds = frames / rate
    if seconds <= limits.seconds < seconds * rate * channels / DENSEST:
        raise AudioError(
            "too_long",
            f"{name} holds {seconds:.0f} s of {channels} channels at {rate / 1000:g} kHz, more than is unpacked here: "
            "export it as mono at 48 kHz.",
        )
