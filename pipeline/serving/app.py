"""The web app: the page, the JSON API, example recordings, and the server that runs them."""

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

from pipeline.core import errors
from pipeline.core.errors import AudioError, SerError, SettingError
from pipeline.demo import voice
from pipeline.serving import page, results
from pipeline.serving.limits import BusyError, LimitsMiddleware, PredictionService, TooLargeError, error_response

DEFAULT_NAME = "The recording"  # for bytes without a file name
FORM_FIELD = "file"
STATUS_CODES: dict[type[Exception], int] = {TooLargeError: 413, AudioError: 422, BusyError: 503}


def _add_api_routes(app: FastAPI, service: PredictionService, names: Sequence[str]) -> None:
    """Add the routes of the JSON API.

    Args:
        app: the app.
        service: makes the predictions.
        names: of the bundles.
    """
    cards = [member.card for member in service.predictor.members]
    models = [results.bundle_record(card, path=name) for card, name in zip(cards, names, strict=True)]

    @app.post("/predict", openapi_extra=REQUEST_BODY)
    async def predict(request: Request) -> dict[str, Any]:
        """Predict the emotion of a recording: the body of the request, or the field ``file`` of a form."""
        with service.request():
            name, data = await asyncio.wait_for(_read_recording(request), service.limits.upload_timeout)
            found = await run_in_threadpool(service.predict, data, name=name)
        return {"models": models} | results.prediction_record(found.prediction)

    @app.get("/model")
    def model() -> dict[str, Any]:
        """Describe the models, their scores, and the limits of requests."""
        limits = {"megabytes": service.limits.megabytes, "seconds": service.limits.seconds}
        return {"models": models, "limits": limits}

    @app.get("/health")
    def health() -> dict[str, str]:
        """Confirm that the server is up."""
        return {"status": "ok"}

    for kind in (SerError, TimeoutError, HTTPException, ClientDisconnect):
        app.add_exception_handler(kind, _error_to_response)


REQUEST_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {FORM_FIELD: {"type": "string", "format": "binary"}}}
            },
        },
    }
}


async def _read_recording(request: Request) -> tuple[str, bytes]:
    """Read name and bytes of a recording; the middleware counts the bytes.

    Raises:
        AudioError: the form holds no recording.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return DEFAULT_NAME, await request.body()
    async with request.form(max_files=1, max_fields=8) as form:
        file = form.get(FORM_FIELD)
        if not isinstance(file, UploadFile):
            raise AudioError("empty", f"The form has no file in its field {FORM_FIELD!r}: send one recording there.")
        return file.filename or DEFAULT_NAME, await file.read()


def _error_to_response(_: Request, error: Exception) -> JSONResponse:
    """Turn an error into its status code and a sentence."""
    if isinstance(error, TimeoutError):
        return error_response(408, "The upload took too long: send a smaller recording.")
    if isinstance(error, HTTPException):
        return error_response(error.status_code, str(error.detail))
    if isinstance(error, ClientDisconnect):
        return error_response(400, "The connection closed before the whole recording had arrived.")
    return error_response(
        next((code for kind, code in STATUS_CODES.items() if isinstance(error, kind)), 500), str(error)
    )


BACKLOG = 64  # connections waiting to be accepted
SHUTDOWN_SECONDS = 2  # s that open connections have to finish when the server stops


def build_app(service: PredictionService, *, names: Sequence[str], folder: Path) -> FastAPI:
    """Build the app.

    Args:
        service: makes the predictions.
        names: of the bundles, for the API.
        folder: for uploads and examples; others should not be able to read it.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")  # Gradio has no other setting for it
    examples = folder / "examples"
    examples.mkdir(parents=True, exist_ok=True)
    app = FastAPI(title="ser-features", docs_url=None, redoc_url=None)  # those pages load scripts from a CDN
    app.add_middleware(LimitsMiddleware, limits=service.limits)
    _add_api_routes(app, service, names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gradio's own
        blocks = page.build_page(service, _write_examples(examples, service.predictor.labels))
        gr.mount_gradio_app(
            app,
            blocks,
            "/",
            max_file_size=service.limits.size,
            ssr_mode=False,
            pwa=False,
            run_history=False,
            **page.theme_options(),
        )
    return app


def bind_socket(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes any free one.

    Raises:
        SettingError: the port is taken, or this machine has no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), backlog=BACKLOG, family=family)
    except OSError as error:
        raise SettingError(
            f"{host}, port {port} cannot be used ({error.strerror}): give another with --port or --host."
        ) from error


def run_server(
    service: PredictionService, listener: socket.socket, *, names: Sequence[str], ready: Callable[[], None]
) -> None:
    """Serve until interrupted, then delete all uploads.

    Args:
        service: makes the predictions.
        listener: the socket to listen at.
        names: of the bundles.
        ready: is called before the first request is accepted.
    """
    with tempfile.TemporaryDirectory(prefix="ser-serve-") as folder:
        app = build_app(service, names=names, folder=Path(folder))
        config = uvicorn.Config(
            app,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        ready()
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:
            return


with errors.require_system_library("libsndfile"):
    import soundfile

EXAMPLE_RATE = 16_000  # Hz
EXAMPLE_SEED = 2024  # the demo draws its speakers from other streams
EMOTIONS = ("angry", "happy", "neutral", "sad", "fear")
EXAMPLE_TEXT = (
    "AY1 TH IH1 NG K AY0 HH AE1 V AX D AA1 K T ER0 Z AX P OY1 N T M AX N T"  # I think I have a doctor's appointment
)
STUDIO = voice.RecordingConditions(rate=EXAMPLE_RATE, level=-28, floor=-66, silence=(0.3, 0.3), tempo=1.0)
LONG_EXAMPLE, PAUSE = "all, with pauses", 3.0  # s
Array = npt.NDArray[np.float32]


def _write_examples(folder: Path, labels: Sequence[str]) -> dict[str, Path]:
    """Write a clip for each emotion among the labels and one of all of them with pauses; return the paths by name."""
    spoken = {name: _synthesise_example(name, number) for number, name in enumerate(EMOTIONS) if name in labels}
    room = np.random.default_rng(EXAMPLE_SEED).standard_normal(round(PAUSE * EXAMPLE_RATE), np.float32)
    pause = room * np.float32(10 ** (STUDIO.floor / 20))
    clips = spoken | {LONG_EXAMPLE: np.concatenate([part for clip in spoken.values() for part in (clip, pause)])}
    return {name: _write_wav(folder / f"synthetic {name}.wav", clip) for name, clip in clips.items()}


def _synthesise_example(emotion: str, number: int) -> Array:
    """Synthesise the text in an emotion, women and men in turn. Shape ``(samples,)``."""
    rng = np.random.default_rng([EXAMPLE_SEED, number])
    speaker = voice.sample_speaker(rng, ("female", "male")[number % 2])
    return voice.synthesise_speech(rng, speaker, emotion, EXAMPLE_TEXT, recording=STUDIO, strength=1.2)


def _write_wav(path: Path, clip: Array) -> Path:
    """Write a 16-bit WAV file."""
    soundfile.write(path, clip, EXAMPLE_RATE, subtype="PCM_16")
    return path
