"""Fixtures that several tests share."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import soundfile

from pipeline.core import config
from pipeline.tools import recipes
from tests.paths import ROOT

RATE = 48_000

# A cache of machine code for each test process: two that compile one of librosa's functions for different types at the
# same time, as happens right after installation, save each other's under their own name, and the next call crashes.
os.environ.setdefault(
    "NUMBA_CACHE_DIR", str(ROOT / ".pytest_cache" / f"numba-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}")
)


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real corpora, RAVDESS/ and EmoDB/ in it; without it the test is skipped."""
    folder = os.environ.get("SER_CORPORA")
    if not folder:
        pytest.skip("SER_CORPORA names no folder of real corpora")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of one small network with random weights, marked as the demo's, without scores."""
    from tests.bundles import make_bundle

    return make_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture(scope="session")
def published() -> Callable[[str], dict[str, Any]]:
    """Give what lays the settings of a recipe over params.yaml."""

    return lambda name: recipes.apply_recipe(config.read_params(ROOT / "params.yaml"), name)


class Workplace:
    """A folder with params.yaml and a manifest, in which the stage ``extract`` runs in processes of its own."""

    def __init__(self, folder: Path, corpus: Path, settings: dict[str, str]) -> None:
        self.folder, self.corpus, self.cache = folder, corpus, folder / "cache"
        (folder / "data/manifest").mkdir(parents=True)
        shutil.copy(corpus / "ravdess.parquet", folder / "data/manifest")
        params = (ROOT / "params.yaml").read_text(encoding="utf-8")
        for old, new in {"ravdess: data/raw/demo/RAVDESS": f"ravdess: {corpus / 'RAVDESS'}", **settings}.items():
            assert params.count(old) == 1, old
            params = params.replace(old, new)
        (folder / "params.yaml").write_text(params, encoding="utf-8")

    def environment(self, more: dict[str, object]) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "PYTHONPATH": str(ROOT), "SER_CACHE_DIR": str(self.cache)}
        return {**os.environ, **own, **{name: str(value) for name, value in more.items()}}

    def start(self, *words: str, **more: object) -> subprocess.Popen[str]:
        """Start an extraction as the leader of a process group; more are environment variables."""
        command = [sys.executable, "-m", "pipeline.extract", "ravdess", *words]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment(more), text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words: str, code: int = 0, **more: object) -> str:
        """Run an extraction and return what it says on both streams."""
        return self.ended(self.start(*words, **more), code)

    def ended(self, child: subprocess.Popen[str], code: int = 0) -> str:
        """Wait for the end of an extraction and return what it said."""
        said = "".join(child.communicate(timeout=240))
        assert child.returncode == code, said
        return said

    def refused(self, *words: str, **more: object) -> str:
        """Run an extraction that cannot go well, and return the sentence it ends with."""
        said = self.run(*words, code=1, **more)
        last = said.splitlines()[-1]
        assert last.startswith("ser-features: "), said
        assert "Traceback" not in said, said
        return last

    def shards(self) -> dict[str, bytes]:
        """The bytes of the shards, by view."""
        return {path.parent.name: path.read_bytes() for path in sorted(self.folder.glob("features/*/*.parquet"))}

    def segments(self, below: Path | None = None) -> dict[str, int]:
        """The finished segments in a clip cache and when each was written, in ns."""
        found = sorted((below or self.cache).rglob("*.arrow"))
        return {f"{path.parent.name}/{path.name}": path.stat().st_mtime_ns for path in found}

    def await_segments(self, child: subprocess.Popen[str], more_than: int = 0, below: Path | None = None) -> None:
        """Wait until there are more segments than that, while the extraction runs."""
        deadline = time.monotonic() + 120
        while len(self.segments(below)) <= more_than and child.poll() is None:
            assert time.monotonic() < deadline, "no segment appears"
            time.sleep(0.001)
        assert child.poll() is None, self.ended(child)

    def whole_clips(self, below: Path | None = None) -> int:
        """How many clips have all their rows in the cache, each in one whole segment."""
        from pipeline.extract import cache

        drawers: dict[str, list[str]] = {}
        for path in (below or self.cache).rglob("*.arrow"):
            assert cache.is_whole_segment(path), path
            drawers.setdefault(path.parent.name, []).extend(cache.read_segment(path).key)
        assert all(count == 1 for keys in drawers.values() for count in Counter(keys).values()), "a row was made twice"
        return self.clips_of(drawers)

    def clips_of(self, drawers: dict[str, list[str]]) -> int:
        """How many clips have all their rows among these keys, by drawer."""
        from pipeline.core import config, tables
        from pipeline.extract import cache
        from pipeline.signal import extractor

        settings = extractor.settings_from_params(config.read_params(self.folder / "params.yaml"))
        names = {view: cache.partition_name(extractor.view_identity(settings, view)) for view in extractor.DTYPES}
        had = {view: set(drawers.get(name, ())) for view, name in names.items()}
        rows = tables.manifest_records(tables.read_manifest(self.folder / "data/manifest/ravdess.parquet"))
        recordings = [(row["samples_sha256"], int(row["sample_rate"])) for row in rows]
        keys = extractor.row_keys(settings, extractor.DTYPES, recordings)
        return sum(all(set(own[view].values()) <= had[view] for view in extractor.DTYPES) for own in keys)


def recordings(folder: Path, count: int, seconds: float) -> Path:
    """A corpus of stereo clips at 48 kHz, each another chirp on one channel and noise on the other; its manifest."""
    from pipeline.ingest import measure, stage

    times = np.arange(round(seconds * RATE)) / RATE
    for number in range(count):
        actor, rest = number % 24 + 1, number // 24
        path = folder / f"RAVDESS/Actor_{actor:02}/03-01-0{rest % 8 + 1}-01-0{rest // 8 + 1}-01-{actor:02}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        chirp = 0.3 * np.sin(2 * np.pi * (110 + 3 * number + 200 * times) * times) * np.sin(np.pi * times / seconds)
        noise = 0.01 * np.random.default_rng(number).standard_normal(len(times))
        soundfile.write(path, np.stack([chirp, noise], axis=1), RATE)
    stage.run("ravdess", folder / "RAVDESS", folder / "ravdess.parquet", limits=measure.ClipLimits(min_seconds=0.1))
    return folder


@pytest.fixture(scope="session")
def workplaces(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Workplace]:
    """Make workplaces; those with as many clips of the same length share a corpus."""
    made: dict[tuple[int, float], Path] = {}

    def make(clips: int = 24, seconds: float = 0.4, **settings: str) -> Workplace:
        """Clips of so many seconds, in two processes; settings are lines of params.yaml that are changed."""
        if (clips, seconds) not in made:
            made[clips, seconds] = recordings(tmp_path_factory.mktemp("corpus"), clips, seconds)
        lines = {"  seconds: 3.0": f"  seconds: {seconds}", "  workers:   ": "  workers: 2 "}
        lines |= {f"{name}:": f"{name}: {value} #" for name, value in settings.items()}
        return Workplace(tmp_path_factory.mktemp("workplace"), made[clips, seconds], lines)

    return make


class Publisher(ThreadingHTTPServer):
    """A server on this machine that stands in for those of the publishers, with their faults."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.files: dict[str, bytes] = {}  # path to content
        # path to what goes wrong at its next requests: a status, "cut 9" for the end of the connection after 9 bytes,
        # or "hang 9" for a wait there until the test is over
        self.faults: dict[str, list[int | str]] = defaultdict(list)
        self.sent: Counter[str] = Counter()  # bytes of content
        self.asked: list[str] = []  # paths
        self.busy = threading.Lock()
        self.over = threading.Event()

    def handle_error(self, *_: object) -> None:
        """Be quiet where a client hangs up."""


class Answer(BaseHTTPRequestHandler):
    """One request to a publisher."""

    server: Publisher

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).lstrip("/")
        with self.server.busy:
            self.server.asked.append(path)
            fault = self.server.faults[path].pop(0) if self.server.faults[path] else ""
        if isinstance(fault, int) or path not in self.server.files:
            self.send_error(fault if isinstance(fault, int) else 404)
            return
        body = self.server.files[path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.give(path, body[: int(fault.split()[1])] if fault else body)
        if fault.startswith("hang"):
            self.server.over.wait(20)

    def give(self, path: str, content: bytes) -> None:
        with self.server.busy:
            self.server.sent[path] += len(content)
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads that are tried again twice, at once."""
    import pooch

    from pipeline.acquire import download

    monkeypatch.setattr(download, "RETRIES", 2)
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def publisher(impatient: None) -> Iterator[Publisher]:
    """A server that gives out what a test puts into it."""
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()
