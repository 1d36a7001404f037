"""The gate before page and API: only what the page needs is reachable, and no request body grows beyond a limit.

Gradio brings many more routes than a page needs, among them some that fetch other addresses for a visitor.
"""

from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.serving.desk import Limits, TooLargeError

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
