"""The web app: the page, the JSON API beside it, example recordings, and the server that runs them."""

import asyncio
import os
import socket
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import numpy.typing as npt
import uvicorn
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from pipeline.core import extras
from pipeline.core.errors import AudioError, SerError, SettingError
from pipeline.demo import voice
from pipeline.serving import page, results
from pipeline.serving.limits import BusyError, Desk, Gate, TooLargeError, refusal

UNNAMED = "The recording"  # bytes that came without a file name
FIELD = "file"
STATUS: dict[type[Exception], int] = {TooLargeError: 413, AudioError: 422, BusyError: 503}


def add_api(app: FastAPI, desk: Desk, names: Sequence[str]) -> None:
    """Put the API into an app.

    Args:
        app: of FastAPI.
        desk: who judges.
        names: of the bundles.
    """
    cards = [member.card for member in desk.predictor.members]
    models = [results.bundle_record(card, path=name) for card, name in zip(cards, names, strict=True)]

    @app.post("/predict", openapi_extra=BODY)
    async def predict(request: Request) -> dict[str, Any]:
        """Say what emotion is heard in a recording: the body of the request, or the field ``file`` of a form."""
        with desk.place():
            name, data = await asyncio.wait_for(received(request), desk.limits.upload)
            judged = await run_in_threadpool(desk.judge, data, name=name)
        return {"models": models} | results.answer_record(judged.answer)

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


BACKLOG = 64  # connections that wait to be accepted
FAREWELL = 2  # s for open connections when the server ends


def build_app(desk: Desk, *, names: Sequence[str], folder: Path) -> FastAPI:
    """Build the app.

    Args:
        desk: who judges.
        names: of the bundles, for the API.
        folder: for uploads and examples, which nobody else should read.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")  # Gradio has no other way to be told
    examples = folder / "examples"
    examples.mkdir(parents=True, exist_ok=True)
    app = FastAPI(title="ser-features", docs_url=None, redoc_url=None)  # their pages would fetch scripts from afar
    app.add_middleware(Gate, limits=desk.limits)
    add_api(app, desk, names)
    made = make_examples(examples, desk.predictor.labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gradio's own
        blocks = page.build_page(desk, made)
        gr.mount_gradio_app(
            app,
            blocks,
            "/",
            max_file_size=desk.limits.size,
            ssr_mode=False,
            pwa=False,
            run_history=False,
            **page.look(),
        )
    return app


def bind(host: str, port: int) -> socket.socket:
    """Take a port, 0 for any that is free.

    Raises:
        SettingError: it is taken, or there is no such address here.
    """
    try:
        return socket.create_server((host, port), backlog=BACKLOG, family=family(host))
    except OSError as error:
        raise SettingError(
            f"{host}, port {port} cannot be used ({error.strerror}): give another with --port or --host."
        ) from error


def family(host: str) -> socket.AddressFamily:
    """Say which kind of address it is."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def run_server(desk: Desk, door: socket.socket, *, names: Sequence[str], ready: Callable[[], None]) -> None:
    """Serve until interrupted; uploads are gone afterwards.

    Args:
        desk: who judges.
        door: where to listen.
        names: of the bundles.
        ready: is called before the first visitor is let in.
    """
    with tempfile.TemporaryDirectory(prefix="ser-serve-") as folder:
        app = build_app(desk, names=names, folder=Path(folder))
        config = uvicorn.Config(
            app, log_level="warning", server_header=False, timeout_keep_alive=5, timeout_graceful_shutdown=FAREWELL
        )
        ready()
        try:
            uvicorn.Server(config).run(sockets=[door])
        except KeyboardInterrupt:
            return


with extras.system_library("libsndfile"):
    import soundfile

RATE = 16_000  # Hz
SEED = 2024  # the demo makes its speakers from other streams
EMOTIONS = ("angry", "happy", "neutral", "sad", "fear")
TEXT = "AY1 TH IH1 NG K AY0 HH AE1 V AX D AA1 K T ER0 Z AX P OY1 N T M AX N T"  # I think I have a doctor's appointment
STUDIO = voice.Recording(rate=RATE, level=-28, floor=-66, silence=(0.3, 0.3), tempo=1.0)
LONG, PAUSE = "all, with pauses", 3.0  # s
Array = npt.NDArray[np.float32]


def make_examples(folder: Path, labels: Sequence[str]) -> dict[str, Path]:
    """Write a clip for each emotion that a model knows, and one of them all with pauses between; give them by name."""
    spoken = {name: say(name, number) for number, name in enumerate(EMOTIONS) if name in labels}
    room = np.random.default_rng(SEED).standard_normal(round(PAUSE * RATE), np.float32)
    pause = room * np.float32(10 ** (STUDIO.floor / 20))
    clips = spoken | {LONG: np.concatenate([part for clip in spoken.values() for part in (clip, pause)])}
    return {name: write(folder / f"synthetic {name}.wav", clip) for name, clip in clips.items()}


def say(emotion: str, number: int) -> Array:
    """Speak the text in an emotion, women and men in turn. Shape ``(samples,)``."""
    rng = np.random.default_rng([SEED, number])
    speaker = voice.cast(rng, ("female", "male")[number % 2])
    return voice.speak(rng, speaker, emotion, TEXT, recording=STUDIO, strength=1.2)


def write(path: Path, clip: Array) -> Path:
    """Write a WAV file of 16 bits."""
    soundfile.write(path, clip, RATE, subtype="PCM_16")
    return path
