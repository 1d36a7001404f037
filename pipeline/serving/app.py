"""The web app: the page at ``/`` and the JSON API beside it, behind one gate, and the server that runs them."""

import os
import socket
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI

from pipeline.errors import SettingError
from pipeline.serving import api, page, voices
from pipeline.serving.desk import Desk
from pipeline.serving.gate import Gate

BACKLOG = 64  # connections that wait to be accepted
FAREWELL = 2  # s for open connections when the server ends


def build(desk: Desk, *, names: Sequence[str], folder: Path) -> FastAPI:
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
    api.add(app, desk, names)
    made = voices.make(examples, desk.predictor.labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gradio's own
        blocks = page.build(desk, made)
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


def run(desk: Desk, door: socket.socket, *, names: Sequence[str], ready: Callable[[], None]) -> None:
    """Serve until interrupted; uploads are gone afterwards.

    Args:
        desk: who judges.
        door: where to listen.
        names: of the bundles.
        ready: is called before the first visitor is let in.
    """
    with tempfile.TemporaryDirectory(prefix="ser-serve-") as folder:
        app = build(desk, names=names, folder=Path(folder))
        config = uvicorn.Config(
            app, log_level="warning", server_header=False, timeout_keep_alive=5, timeout_graceful_shutdown=FAREWELL
        )
        ready()
        try:
            uvicorn.Server(config).run(sockets=[door])
        except KeyboardInterrupt:
            return
