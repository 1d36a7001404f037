"""Limits of the web app: sizes, lengths, concurrency, and the middleware that enforces them.

Gradio brings many more routes than the page needs, some of which fetch other addresses on behalf of a visitor.
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
from pipeline.serving.inputs import WindowPlan, prepare_inputs
from pipeline.serving.predictor import Predictor
from pipeline.serving.results import Prediction

MAX_SAMPLES_PER_SECOND = 192_000  # two channels at 96 kHz; what decodes to more is no voice, or an attack
MEGABYTE = 2**20  # bytes


class TooLargeError(SerError):
    """A request has more bytes than the limit allows."""


class BusyError(SerError):
    """There are more requests than can be served at once."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a visitor may ask for."""

    megabytes: float = 25.0  # of a recording
    seconds: float = 600.0  # of a recording
    max_requests: int = 8  # recordings uploaded and not yet answered
    upload_timeout: float = 60.0  # s
    max_decoded: int = 2  # recordings decoded in memory at a time
    wait_timeout: float = 120.0  # s to wait for earlier requests
    delete_after: int = 900  # s until the page's uploads are deleted

    @property
    def size(self) -> int:
        """Bytes of a recording."""
        return round(self.megabytes * MEGABYTE)

    def refuse_size(self, size: int) -> None:
        """Refuse more bytes than allowed.

        Raises:
            TooLargeError: `size` is above the limit.
        """
        if size > self.size:
            raise TooLargeError(
                f"The recording has more than {self.megabytes:g} MB, the limit here: shorten it, or store it as FLAC."
            )


@dataclass(frozen=True)
class PredictedRecording:
    """A decoded recording and the prediction for it."""

    recording: decode.Recording
    prediction: Prediction


@dataclass
class PredictionService:
    """A predictor that threads may share.

    Few recordings are decoded at a time, because each takes memory; models and Matplotlib run in one thread at a time,
    because they are not thread-safe.
    """

    predictor: Predictor
    plan: WindowPlan
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.requests = threading.BoundedSemaphore(self.limits.max_requests)
        self.decoders = threading.BoundedSemaphore(self.limits.max_decoded)
        self.lock = threading.BoundedSemaphore(1)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count as one of the simultaneous requests, from the first byte to the answer.

        Raises:
            BusyError: there are `Limits.max_requests` already.
        """
        if not self.requests.acquire(blocking=False):
            raise BusyError(f"The server is busy with {self.limits.max_requests} recordings: try again in a minute.")
        try:
            yield
        finally:
            self.requests.release()

    @contextmanager
    def acquire(self, semaphore: threading.Semaphore) -> Iterator[None]:
        """Hold `decoders` or `lock`, after waiting for earlier requests.

        Raises:
            BusyError: they take longer than `Limits.wait_timeout`.
        """
        if not semaphore.acquire(timeout=self.limits.wait_timeout):
            raise BusyError(
                f"Earlier requests did not finish within {self.limits.wait_timeout:g} s: try again in a minute."
            )
        try:
            yield
        finally:
            semaphore.release()

    def predict(self, data: bytes, *, name: str) -> PredictedRecording:
        """Decode the bytes of a recording and predict its emotion.

        Raises:
            TooLargeError: there are too many bytes.
            AudioError: they hold no usable sound, or too much.
            BusyError: earlier requests take too long.
        """
        self.limits.refuse_size(len(data))
        with self.acquire(self.decoders):
            recording = decode_upload(data, self.limits, name=name)
            inputs = prepare_inputs(recording, self.predictor.input_settings, self.plan, name=name)
            with self.acquire(self.lock):
                return PredictedRecording(recording, self.predictor.predict([inputs])[0])


def decode_upload(data: bytes, limits: Limits, *, name: str) -> decode.Recording:
    """Decode an upload within the limits.

    Raises:
        AudioError: it holds no usable sound, or too much.
    """
    path = name if PurePath(name).suffix else ""  # without a suffix it is the placeholder for a missing file name
    _refuse_dense(data, limits, name=name, path=path)
    recording = decode.decode_audio(data, max_seconds=limits.seconds, name=name, path=path)
    if not len(recording.samples):
        raise AudioError("empty", f"{name} holds no samples: export it again.")
    return recording


def _refuse_dense(data: bytes, limits: Limits, *, name: str, path: str) -> None:
    """Refuse a small, short recording whose many channels or high rate would fill the memory.

    Raises:
        AudioError: its status is ``too_long``.
    """
    rate, channels, frames = decode.stream_info(data, name=name, path=path)
    seconds = frames / rate
    if seconds <= limits.seconds < seconds * rate * channels / MAX_SAMPLES_PER_SECOND:
        raise AudioError(
            "too_long",
            f"{name} holds {seconds:.0f} s of {channels} channels at {rate / 1000:g} kHz, more than is decoded here: "
            "export it as mono at 48 kHz.",
        )


FORM_OVERHEAD = 100_000  # bytes around a recording in a form
GRADIO_PREFIX = "/gradio_api/"
PUBLIC_PATHS = {
    "/", "/predict", "/model", "/health", "/openapi.json", "/config", "/theme.css", "/favicon.ico", "/manifest.json",
    "/robots.txt",
    *(
        GRADIO_PREFIX + name
        for name in ("upload", "upload_progress", "queue/join", "queue/data", "startup-events", "info", "run/predict",
                     "reset", "cancel", "app_id", "theme.css")
    ),
}  # fmt: skip
PUBLIC_PREFIXES = (
    "/assets/",
    "/static/",
    f"{GRADIO_PREFIX}heartbeat/",
    f"{GRADIO_PREFIX}file=/",
)  # the last: files of the page, never a URL


@dataclass
class LimitsMiddleware:
    """Middleware that serves the public paths alone and counts the bytes of each request as they arrive.

    The Content-Length header is not trusted.
    """

    app: ASGIApp
    limits: Limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        if not _is_public(scope["path"]):
            await error_response(404, "There is no such page.")(scope, receive, send)
            return
        await self._limited(scope, receive, send)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on until its body exceeds the limit, and answer 413 then."""
        body = CountedBody(receive, send, self.limits.size + FORM_OVERHEAD)
        try:
            if _content_length(scope) > body.limit:
                body.exceeded = True
            else:
                await self.app(scope, body.receive, body.send)
        except Exception:
            if not body.exceeded:
                raise
        if body.exceeded and not body.answering:
            try:
                self.limits.refuse_size(body.limit)
            except TooLargeError as error:
                await error_response(413, str(error))(scope, receive, send)


@dataclass
class CountedBody:
    """A request body that is counted while it arrives."""

    source: Receive
    out: Send
    limit: int  # bytes
    received: int = 0  # bytes
    exceeded: bool = False
    answering: bool = False

    async def receive(self) -> Message:
        """Receive the next piece.

        Raises:
            TooLargeError: the body exceeds the limit.
        """
        message = await self.source()
        self.received += len(message.get("body", b""))
        if self.received > self.limit:
            self.exceeded = True
            raise TooLargeError
        return message

    async def send(self, message: Message) -> None:
        """Pass on the answer, unless it is an answer to half a body."""
        if self.answering or not self.exceeded:
            self.answering = True
            await self.out(message)


def _is_public(path: str) -> bool:
    """Say whether a path is served.

    >>> _is_public("/predict"), _is_public("/gradio_api/file=/tmp/a.wav"), _is_public("/gradio_api/file=http://example.org/")
    (True, True, False)
    """
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES)


def _content_length(scope: Scope) -> int:
    """Read the Content-Length header; 0 where it is missing."""
    headers: dict[bytes, Any] = dict(scope["headers"])
    text = headers.get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0


def error_response(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)
