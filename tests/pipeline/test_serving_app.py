"""The web app without a browser: what the API answers, and what the middleware and the limits refuse."""

import asyncio
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from matplotlib.figure import Figure

from pipeline.audio import decode
from pipeline.cli import models
from pipeline.core.errors import AudioError, SettingError
from pipeline.serving import page, pictures, results
from pipeline.serving.inputs import prepare_inputs
from pipeline.serving.limits import (
    FORM_OVERHEAD,
    BusyError,
    Limits,
    LimitsMiddleware,
    PredictionService,
    TooLargeError,
    decode_upload,
)
from pipeline.serving.predictor import Predictor, load_predictor
from pipeline.serving.results import Prediction, SpanPrediction
from tests.sounds import buzz

pytest.importorskip("gradio", reason="the extra 'serve' is not installed")

RATE = 16_000
MB = 2**20
SMALL = Limits(megabytes=1, seconds=30, max_requests=2, upload_timeout=3)


def wav(samples: np.ndarray, rate: int = RATE, **more: Any) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, **({"format": "WAV", "subtype": "PCM_16"} | more))
    return out.getvalue()


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Path) -> Predictor:
    return load_predictor([tiny_bundle])


@contextmanager
def serving(service: PredictionService, folder: Path) -> Iterator[int]:
    """Run the app at a free port of this machine, and give the port."""
    import uvicorn

    from pipeline.serving import app

    listener = app.bind_socket("127.0.0.1", 0)
    built = app.build_app(service, names=["bundle"], folder=folder)
    server = uvicorn.Server(uvicorn.Config(built, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def service(predictor: Predictor) -> PredictionService:
    return PredictionService(predictor, predictor.window_plan(), SMALL)


@pytest.fixture(scope="module")
def port(service: PredictionService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(service, tmp_path_factory.mktemp("serving")) as number:
        yield number


def ask(port: int, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Send one request; a body that is no bytes is sent in chunks, without a stated length."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET" if body is None else "POST", path, body, named)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text) if "json" in response.getheader("content-type", "") else text


def form(name: str, data: bytes, field: str = "file") -> tuple[bytes, str]:
    head = f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + data + b"\r\n--edge--\r\n", "multipart/form-data; boundary=edge"


def own_answer(predictor: Predictor, data: bytes, name: str) -> dict[str, Any]:
    inputs = prepare_inputs(decode.decode_audio(data), predictor.input_settings, predictor.window_plan(), name=name)
    return results.prediction_record(predictor.predict([inputs])[0])


@pytest.mark.parametrize("seconds", [1.0, 3.0, 9.0])
def test_the_api_answers_what_the_predictor_does(port, predictor, seconds):
    data = wav(buzz(seconds))
    status, answer = ask(port, "/predict", data)
    own = own_answer(predictor, data, "The recording")
    card = predictor.members[0].card
    assert status == 200
    assert answer.pop("models") == [results.bundle_record(card, path="bundle")]
    assert ("timeline" in answer) == (seconds > 5)
    assert set(answer) == set(own)
    assert answer["emotion"] == own["emotion"]
    assert answer["probabilities"] == pytest.approx(own["probabilities"], abs=1e-6)


def test_a_form_answers_the_same_and_keeps_the_name(port):
    data = wav(buzz(2))
    body, kind = form("my <b>.wav", data)
    _, bare = ask(port, "/predict", data)
    status, answer = ask(port, "/predict", body, Content_Type=kind)
    assert status == 200
    assert answer == bare | {"path": "my <b>.wav"}


def test_the_model_says_how_good_it_is_and_what_may_be_asked(port, predictor):
    record = results.bundle_record(predictor.members[0].card, path="bundle")
    assert ask(port, "/model") == (200, {"models": [record], "limits": {"megabytes": 1, "seconds": 30}})
    assert ask(port, "/health") == (200, {"status": "ok"})


WHOLE = wav(buzz(2))
BAD = {
    "empty": (b"", 422, "has no bytes"),
    "text": (b"no sound at all", 422, "is no audio"),
    "cut": (WHOLE[: len(WHOLE) // 2], 422, "ends before the length"),
    "no samples": (wav(np.zeros(0)), 422, "holds no samples"),
    "too long": (wav(np.zeros(31 * 1000), 1000), 422, "the limit is 30 s"),
    "too large": (bytes(MB + 1), 413, "more than 1 MB"),
    "far too large": (bytes(3 * MB), 413, "more than 1 MB"),
    "not finite": (wav(np.full(RATE, np.nan, np.float32), subtype="FLOAT"), 422, "NaN"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", 422, "Git-LFS"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recording_gets_a_sentence_and_the_next_an_answer(port, name):
    data, status, words = BAD[name]
    found = ask(port, "/predict", data)
    assert found[0] == status
    assert set(found[1]) == {"error"}
    assert words in found[1]["error"]
    assert found[1]["error"].endswith(".")
    assert ask(port, "/predict", WHOLE)[0] == 200


@pytest.mark.parametrize(
    ("head", "name", "title", "files"),
    [
        (b"\0\0\0\x20ftypM4A ", "my memo.m4a", "MPEG-4", "'my memo.m4a' 'my memo.wav'"),
        (b"\x1aE\xdf\xa3", "", "Matroska", "recording.mka recording.wav"),
    ],
)  # fmt: skip
def test_what_telephones_and_browsers_record_is_named(port, head, name, title, files):
    body, kind = form(name, head + bytes(900)) if name else (head + bytes(900), "application/octet-stream")
    status, answer = ask(port, "/predict", body, Content_Type=kind)
    sentence = f"{name or 'The recording'} is {title}, which is not read here; convert it: ffmpeg -i {files}"
    assert (status, answer) == (422, {"error": sentence})


def test_a_bad_form_gets_a_sentence(port):
    body, kind = form("a.wav", WHOLE, field="other")
    status, answer = ask(port, "/predict", body, Content_Type=kind)
    assert (status, "field 'file'" in answer["error"]) == (422, True)
    status, answer = ask(port, "/predict", b"--nonsense", Content_Type=kind)
    assert status in (400, 422)
    assert answer["error"]


@pytest.mark.parametrize("path", ["/predict", "/gradio_api/upload", "/gradio_api/queue/join"])
def test_the_size_is_counted_where_no_length_is_stated(port, path):
    body, kind = form("a.wav", bytes(3 * MB))
    headers = {"Content_Type": kind} if path.endswith("upload") else {"Content_Type": "application/json"}
    status, answer = ask(
        port, path, (body[start : start + 100_000] for start in range(0, len(body), 100_000)), **headers
    )
    assert status == 413
    assert "more than 1 MB" in (
        answer["error"] if isinstance(answer, dict) else answer.decode().replace("aximum", "ore than 1 MB")
    )


@pytest.mark.parametrize("answer", [0, 50 * MB])
def test_nothing_beyond_the_limit_is_read(answer):
    pulled, sent = [], []

    async def without_end() -> dict[str, Any]:
        pulled.append(100_000)
        return {"type": "http.request", "body": bytes(100_000), "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def greedy(scope: Any, receive: Any, send: Any) -> None:
        while True:
            await receive()

    head = [(b"content-length", str(answer).encode())] if answer else []
    scope = {"type": "http", "path": "/predict", "headers": head, "method": "POST"}
    asyncio.run(LimitsMiddleware(greedy, SMALL)(scope, without_end, send))
    assert sent[0]["status"] == 413
    assert sum(pulled) <= (0 if answer else MB + FORM_OVERHEAD + 100_000)


def test_what_the_page_does_not_need_is_not_there(port, tmp_path):
    for path in ("/docs", "/monitoring", "/gradio_api/file=http://127.0.0.1/", "/gradio_api/proxy=https://x.hf.space/a",
                 "/gradio_api/vibe-code", "/runs", "/gradio_api/process_recording"):  # fmt: skip
        assert ask(port, path)[0] == 404, path
    secret = tmp_path / "secret.txt"
    secret.write_text("mine", encoding="utf-8")
    assert ask(port, f"/gradio_api/file={secret}")[0] == 403
    assert ask(port, "/")[0] == 200


def test_one_request_too_many_is_turned_away(port, service):
    with service.request(), service.request():
        status, answer = ask(port, "/predict", WHOLE)
    assert (status, "try again" in answer["error"]) == (503, True)
    assert ask(port, "/predict", WHOLE)[0] == 200


def test_a_recording_that_does_not_arrive_frees_its_place(port, service):
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nRIFF")
        slow.settimeout(30)
        start = time.monotonic()
        reply = slow.recv(10_000)
        assert 2 < time.monotonic() - start < 20
    assert reply.startswith(b"HTTP/1.1 408")
    with service.request(), service.request():
        pass


def test_answers_are_the_same_for_many_at_once(predictor, tmp_path):
    service = PredictionService(predictor, predictor.window_plan())
    clips = [wav(buzz(seconds)) for seconds in (1, 2, 7, 3, 1.5, 8)]
    alone = [own_answer(predictor, clip, "The recording") for clip in clips]
    found: dict[int, Any] = {}

    def one(number: int) -> None:
        found[number] = results.prediction_record(service.predict(clips[number], name="The recording").prediction)

    threads = [threading.Thread(target=one, args=[number]) for number in range(len(clips))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, own in enumerate(alone):
        assert found[number]["probabilities"] == pytest.approx(own["probabilities"], abs=1e-6)


def test_a_turn_is_not_waited_for_for_ever(predictor):
    service = PredictionService(predictor, predictor.window_plan(), Limits(wait_timeout=0.05))
    with service.lock, pytest.raises(BusyError, match="try again"):
        service.predict(WHOLE, name="x")
    service.predict(WHOLE, name="x")


def test_a_small_file_may_not_unpack_to_much():
    bomb = wav(np.zeros((10 * 48_000, 8)), 48_000, format="FLAC")
    assert len(bomb) < 0.1 * MB
    with pytest.raises(AudioError, match="8 channels at 48 kHz"):
        decode_upload(bomb, Limits(seconds=15), name="x")
    assert (
        len(decode_upload(bomb, Limits(seconds=60), name="x").samples) == 480_000
    )  # less than 60 s of what is allowed
    with pytest.raises(TooLargeError, match="more than 25 MB"):
        Limits().refuse_size(25 * MB + 1)
    Limits().refuse_size(25 * MB)


def test_nothing_from_outside_becomes_html():
    evil = "<script>alert(1)</script>"
    found = Prediction(
        name=evil, seconds=70, labels=[evil, "b"], probabilities=np.float32([0.7, 0.3]), notes=[evil],
        timeline=[SpanPrediction(0, 70, np.float32([0.7, 0.3]))],
    )  # fmt: skip
    text = page.prediction_html(found, "data:,", f"'{evil}") + page.error_html(evil)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 8
    assert "alt='Waveform and spectrogram and timeline of the recording. &#x27;" in text


def test_the_head_says_the_score_and_the_stamp(predictor):
    from dataclasses import replace

    card = predictor.members[0].card
    assert "DEMO: synthetic speech" in page.header_html([card])
    assert "Never evaluated" in page.header_html([card])
    scores = {"test": {"uar": 0.5, "uar_ci95": {"low": 0.4, "high": 0.6}, "chance": 0.25}, "stamp": "CONTAMINATED 9 %"}
    evaluated = page.header_html([replace(card, scores=scores)]).replace("\u00a0", " ")
    assert "UAR 50.0 % (40.0 to 60.0 %) on unseen speakers; chance is 25.0 %" in evaluated
    assert "CONTAMINATED 9 %" in evaluated
    assert "says nothing" not in page.header_html([replace(card, stamp="")])


def test_the_timeline_is_coloured_by_probability_and_grey_where_nobody_speaks():
    spans = [
        SpanPrediction(0, 3, np.float32([1, 0])),
        SpanPrediction(1, 4, None),
        SpanPrediction(2, 5, np.float32([0.5, 0.5])),
    ]
    found = pictures.timeline_colours(spans, 2)
    first = np.array([0xD5, 0x5E, 0x00]) / 255
    assert found.shape == (2, 3, 3)
    np.testing.assert_allclose(found[0, 0], first)
    np.testing.assert_allclose(found[1, 0], 1)
    np.testing.assert_allclose(found[:, 1], 1)
    np.testing.assert_allclose(found[0, 2], (1 + first) / 2)
    axes = Figure().subplots()
    pictures.draw_timeline(axes, spans, ["a", "b"])
    [bar] = axes.collections[1].get_paths()
    assert (bar.get_extents().x0, bar.get_extents().x1) == (2.0, 3.0)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]


def test_the_picture_has_a_panel_more_for_a_long_recording(service):
    for seconds, panels in ((2, 2), (8, 3)):
        predicted = service.predict(wav(buzz(seconds)), name="x")
        figure = pictures.draw_recording(predicted.recording, service.predictor.input_settings[0], predicted.prediction)
        assert len(figure.axes) == panels
        assert {axes.get_xlim() for axes in figure.axes} == {(0.0, float(seconds))}
        assert pictures.data_url(figure).startswith("data:image/png;base64,iVBOR")


def test_silence_gets_an_answer_that_says_so(port):
    status, answer = ask(port, "/predict", wav(np.zeros(RATE)))
    assert (status, answer["emotion"], answer["notes"]) == (200, None, ["silence"])


def test_a_taken_port_gets_a_sentence():
    from pipeline.serving import app

    with app.bind_socket("127.0.0.1", 0) as taken, pytest.raises(SettingError, match="give another with --port"):
        app.bind_socket("127.0.0.1", taken.getsockname()[1])


def started(bundle: Path, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "pipeline.cli.main", "serve", "--model", str(bundle), "--port", "0", *more]
    script = "import sys; from pipeline.cli.main import main; main(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", script, *words[3:]],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def test_the_command_listens_at_loopback_alone_and_ends_cleanly(tiny_bundle):
    import signal

    child = started(tiny_bundle)
    line = child.stdout.readline()
    try:
        assert line.startswith("http://127.0.0.1:"), line + child.stderr.read()
        port = int(line.split()[0].rpartition(":")[2])
        assert ask(port, "/predict", WHOLE)[0] == 200
        here = socket.gethostbyname(socket.gethostname())
        if not here.startswith("127."):
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((here, port), timeout=5)
    finally:
        child.send_signal(signal.SIGINT)
        out, errors = child.communicate(timeout=60)
    assert (child.returncode, out, errors) == (0, "", "")


def test_the_command_warns_where_others_can_come_in(tiny_bundle, monkeypatch):
    from pipeline.serving import app

    monkeypatch.setattr(app, "run_server", lambda service, listener, *, names, ready: listener.close())
    for host, loud in (("127.0.0.1", False), ("0.0.0.0", True)):
        done = CliRunner().invoke(models.serve, ["--model", str(tiny_bundle), "--port", "0", "--host", host])
        assert done.exit_code == 0, done.output
        assert ("WARNING" in done.stderr) == loud


def test_a_missing_extra_gets_a_sentence(monkeypatch):
    for name in ("pipeline.serving.app", "pipeline.serving.page", "gradio"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    import pipeline.serving

    monkeypatch.delattr(pipeline.serving, "app", raising=False)
    from pipeline.cli.main import main

    done = CliRunner().invoke(main, ["serve"])
    assert done.exit_code == 1
    assert "pip install -c constraints.txt -e '.[serve]'" in done.output
    assert "Traceback" not in done.output


def test_only_this_machine_is_called(predictor, tmp_path, monkeypatch):
    called = []
    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        called.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    with serving(PredictionService(predictor, predictor.window_plan(), SMALL), tmp_path) as port:
        assert ask(port, "/")[0] == 200
        assert ask(port, "/predict", WHOLE)[0] == 200
    assert called
    assert {address[0] for address in called} <= {"127.0.0.1", "localhost"}


def test_uploads_are_private_and_deleted(predictor, tmp_path):
    limits = Limits(megabytes=1, seconds=30, delete_after=1)
    body, kind = form("../../mine.wav", WHOLE, field="files")
    with serving(PredictionService(predictor, predictor.window_plan(), limits), tmp_path) as port:
        status, [path] = ask(port, "/gradio_api/upload", body, Content_Type=kind)
        place = Path(path)
        assert status == 200
        assert place.is_relative_to(tmp_path / "uploads")
        assert ask(port, f"/gradio_api/file={place.parent}")[0] == 403
        deadline = time.monotonic() + 20
        while place.exists():
            assert time.monotonic() < deadline, "the upload is still there"
            time.sleep(0.1)
