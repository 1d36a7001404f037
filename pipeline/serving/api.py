"""The JSON API: bytes in, what ``ser-features predict --json`` says out; what goes wrong is ``{"error": sentence}``."""

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from pipeline.errors import AudioError, SerError
from pipeline.serving import about, answers
from pipeline.serving.desk import BusyError, Desk, TooLargeError
from pipeline.serving.gate import refusal

UNNAMED = "The recording"  # bytes that came without a file name
FIELD = "file"
STATUS: dict[type[Exception], int] = {TooLargeError: 413, AudioError: 422, BusyError: 503}


def add(app: FastAPI, desk: Desk, names: Sequence[str]) -> None:
    """Put the API into an app.

    Args:
        app: of FastAPI.
        desk: who judges.
        names: of the bundles.
    """
    cards = [member.card for member in desk.predictor.members]
    models = [about.record(card, path=name) for card, name in zip(cards, names, strict=True)]

    @app.post("/predict", openapi_extra=BODY)
    async def predict(request: Request) -> dict[str, Any]:
        """Say what emotion is heard in a recording: the body of the request, or the field ``file`` of a form."""
        with desk.place():
            name, data = await asyncio.wait_for(received(request), desk.limits.upload)
            judged = await run_in_threadpool(desk.judge, data, name=name)
        return {"models": models} | answers.record(judged.answer)

    @app.get("/model")
    def model() -> dict[str, Any]:
        """Say who answers, how good that is, and what may be asked."""
        limits = {"megabytes": desk.limits.megabytes, "seconds": desk.limits.seconds}
        return {"models": models, "limits": limits}

    @app.get("/health")
    def health() -> dict[str, str]:
        """Say that the server is up."""
        return {"status": "ok"}

    for kind in (SerError, TimeoutError, HTTPException, ClientDisconnect):
        app.add_exception_handler(kind, explain)


BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {FIELD: {"type": "string", "format": "binary"}}}
            },
        },
    }
}


async def received(request: Request) -> tuple[str, bytes]:
    """Read name and bytes of a recording; the gate counts them.

    Raises:
        AudioError: a form without one.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return UNNAMED, await request.body()
    async with request.form(max_files=1, max_fields=8) as form:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise AudioError("empty", f"The form has no file in its field {FIELD!r}: send one recording there.")
        return file.filename or UNNAMED, await file.read()


def explain(_: Request, error: Exception) -> JSONResponse:
    """Turn an error into its status and a sentence."""
    if isinstance(error, TimeoutError):
        return refusal(408, "The recording took too long to arrive: send a smaller one.")
    if isinstance(error, HTTPException):
        return refusal(error.status_code, str(error.detail))
    if isinstance(error, ClientDisconnect):
        return refusal(400, "The recording broke off on its way.")
    return refusal(next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500), str(error))
