"""Limits of the web app: sizes, lengths, concurrency, and the middleware that enforces them.

Gradio brings many more routes than a page needs, among them some that fetch other addresses for a visitor.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.audio import decode
from pipeline.core.errors import AudioError, SerError
from pipeline.serving.inputs import Plan, hear
from pipeline.serving.predictor import Predictor
from pipeline.serving.results import Answer

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

    recording: decode.Recording
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


def read(data: bytes, limits: Limits, *, name: str) -> decode.Recording:
    """Decode a stranger's bytes.

    Raises:
        AudioError: they hold no usable sound, or too much.
    """
    path = name if PurePath(name).suffix else ""  # a file's name, not words for a recording that has none
    refuse_bulk(data, limits, name=name, path=path)
    recording = decode.decode(data, max_seconds=limits.seconds, name=name, path=path)
    if not len(recording.samples):
        raise AudioError("empty", f"{name} holds no samples: export it again.")
    return recording


def refuse_bulk(data: bytes, limits: Limits, *, name: str, path: str) -> None:
    """Refuse a recording that is short and small and would fill the memory all the same: many channels, a high rate.

    Raises:
        AudioError: its status is ``too_long``.
    """
    rate, channels, frames = decode.shape(data, name=name, path=path)
    seconds = frames / rate
    if seconds <= limits.seconds < seconds * rate * channels / DENSEST:
        raise AudioError(
            "too_long",
            f"{name} holds {seconds:.0f} s of {channels} channels at {rate / 1000:g} kHz, more than is unpacked here: "
            "export it as mono at 48 kHz.",
        )


ENVELOPE = 100_000  # bytes around a recording in a form
HERE = "/gradio_api/"
OPEN = {
    "/", "/predict", "/model", "/health", "/openapi.json", "/config", "/theme.css", "/favicon.ico", "/manifest.json",
    "/robots.txt",
    *(HERE + name for name in ("upload", "upload_progress", "queue/join", "queue/data", "startup-events", "info",
                               "run/predict", "reset", "cancel", "app_id", "theme.css")),
}  # fmt: skip
BELOW = ("/assets/", "/static/", f"{HERE}heartbeat/", f"{HERE}file=/")  # the last one: files of the page, never a URL


@dataclass
class Gate:
    """Middleware: counts the bytes of each request as they come, whatever its head states."""

    app: ASGIApp
    limits: Limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        if not is_open(scope["path"]):
            await refusal(404, "There is nothing here.")(scope, receive, send)
            return
        await self.bounded(scope, receive, send)

    async def bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a body that stays within the limit."""
        body = Body(receive, send, self.limits.size + ENVELOPE)
        try:
            if stated(scope) > body.most:
                body.over = True
            else:
                await self.app(scope, body.receive, body.send)
        except Exception:
            if not body.over:
                raise
        if body.over and not body.answering:
            try:
                self.limits.refuse_size(body.most)
            except TooLargeError as error:
                await refusal(413, str(error))(scope, receive, send)


@dataclass
class Body:
    """A body on its way in."""

    source: Receive
    out: Send
    most: int  # bytes
    seen: int = 0  # bytes
    over: bool = False
    answering: bool = False

    async def receive(self) -> Message:
        """Give the next piece.

        Raises:
            TooLargeError: there were too many.
        """
        message = await self.source()
        self.seen += len(message.get("body", b""))
        if self.seen > self.most:
            self.over = True
            raise TooLargeError
        return message

    async def send(self, message: Message) -> None:
        """Pass on the answer, unless it is one to half a body."""
        if self.answering or not self.over:
            self.answering = True
            await self.out(message)


def is_open(path: str) -> bool:
    """Say whether a path leads anywhere.

    >>> is_open("/predict"), is_open("/gradio_api/file=/tmp/a.wav"), is_open("/gradio_api/file=http://example.org/")
    (True, True, False)
    """
    return path in OPEN or path.startswith(BELOW)


def stated(scope: Scope) -> int:
    """Read how long the body is by its head; 0 where that does not say."""
    headers: dict[bytes, Any] = dict(scope["headers"])
    text = headers.get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0


def refusal(status: int, sentence: str) -> JSONResponse:
    """Answer with a sentence."""
    return JSONResponse({"error": sentence}, status)
