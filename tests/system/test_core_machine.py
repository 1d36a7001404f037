"""Settings of a user's machine reach no number, no picture and no text; its cores are counted in one place."""

import ast
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from pipeline import parallel
from pipeline.cli import group
from pipeline.cli.main import main
from pipeline.core import machine
from pipeline.core.errors import SettingError
from tests.paths import ROOT

MODULES = [*sorted((ROOT / "pipeline").rglob("*.py")), *sorted((ROOT / "benchmarks").glob("*.py"))]
DOORS = {"keras": "train/backend.py", "matplotlib": "core/plotting.py"}
RATE = 16_000
NETWORK = "models/bundle/fold-0/model.keras"
STAGES = ("ingest", "split", "extract", "train", "evaluate", "report")
# All that stands between recordings and answers, as programs run it, in one process: TensorFlow starts once.
WORK = f"""
import importlib, sys
from pipeline.cli.main import main
from pipeline.core.machine import run_stage
for name in {STAGES}:
    sys.argv = [name, *(["mine"] if name in ("ingest", "extract") else [])]
    run_stage(importlib.import_module(f"pipeline.{{name}}.stage").main)
for words in (["inspect", "CLIP"], ["predict", "CLIP"], ["predict", "--csv", "CLIP"], ["audit"], ["model", "show"],
              ["extract", "CLIP", "-o", "out.csv"], ["corpora", "list"]):
    main([word.replace("CLIP", "corpus/sad/b/0.wav") for word in words], standalone_mode=False)
"""
RC = "text.usetex: True\naxes.grid: True\nlines.linewidth: 8\nsavefig.bbox: tight\nimage.lut: 3\nfont.style: italic\n"


def corpus(folder):
    """Twelve tones of two speakers."""
    t = np.arange(RATE) / RATE
    for emotion, pitch in (("angry", 220.0), ("sad", 110.0)):
        for speaker, above in (("a", 1.0), ("b", 1.1)):
            for take in range(3):
                path = folder / emotion / speaker / f"{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = 0.01 * np.random.default_rng([take, int(pitch * above)]).standard_normal(RATE)
                soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch * above * t) + noise, RATE)


def settings():
    """params.yaml of the repository, for the small corpus and one epoch."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(  corpora:.*\n)(?:    \w+: .*\n)+", r"\1    mine: corpus\n", text, count=1)
    return text.replace("  folds: 5 ", "  folds: 2 ").replace("  epochs: 40", "  epochs: 1")


def hostile(folder):
    """A machine whose owner has set everything that libraries look at; give its environment."""
    homes = {name: folder / name for name in ("home", "keras", "xdg", "mpl", "rc")}
    for home in homes.values():
        home.mkdir()
    kerasrc = {"floatx": "float16", "epsilon": 0.1, "backend": "jax", "image_data_format": "channels_first"}
    for place in (homes["keras"] / "keras.json", homes["home"] / ".keras/keras.json"):
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps(kerasrc), encoding="utf-8")
    for place in (folder, homes["mpl"], homes["rc"], homes["xdg"] / "matplotlib", homes["home"] / ".config/matplotlib"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "matplotlibrc").write_text(RC, encoding="utf-8")
    (folder / ".numba_config.yaml").write_text("disable_jit: 1\n", encoding="utf-8")
    set_by_owner = dict.fromkeys(machine.FIXED_VARIABLES, "1") | {
        "PANDAS_FUTURE_INFER_STRING": "0", "SKLEARN_ASSUME_FINITE": "True", "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit", "NUMBA_DISABLE_INTEL_SVML": "0",
    }  # fmt: skip
    return {
        **{name: value for name, value in set_by_owner.items() if not name.endswith("_")},
        "HOME": str(homes["home"]), "KERAS_HOME": str(homes["keras"]), "KERAS_BACKEND": "",
        "XDG_CONFIG_HOME": str(homes["xdg"]), "MPLCONFIGDIR": str(homes["mpl"]), "MATPLOTLIBRC": str(homes["rc"]),
        "MPLBACKEND": "a backend that is none", "LC_ALL": "C", "LANG": "tr_TR.ISO-8859-9", "TZ": "Asia/Kathmandu",
        "PYTHONHASHSEED": "7", "PYTHONOPTIMIZE": "1", "COLUMNS": "31", "NO_COLOR": "1",
    }  # fmt: skip


def run(folder, own):
    """Do the work in a folder of its own; give what was printed and what was written, by name."""
    corpus(folder / "corpus")
    (folder / "params.yaml").write_text(settings(), encoding="utf-8")
    common = {name: os.environ[name] for name in ("PATH", "NUMBA_CACHE_DIR")}
    common |= {"PYTHONPATH": str(ROOT), "HOME": str(folder), "SER_CACHE_DIR": str(folder / "cache")}
    common |= {"PYTHONHASHSEED": "1", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-c", WORK], cwd=folder, env=common | own, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    patterns = ("data/**/*.parquet", "features/**/*.parquet", "metrics/**/*", "models/**/*", "*.png", "out.csv")
    files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    written = {path.relative_to(folder).as_posix(): content(path) for path in files}
    return {"printed": without_times(done.stdout)} | written


def content(path):
    """What must be the same: weights of a network, whose archive holds the time of day, and all bytes else."""
    if path.suffix == ".keras":
        return network(path)
    text = path.suffix in (".json", ".html", ".md")
    return without_times(path.read_text(encoding="utf-8")) if text else hashlib.sha256(path.read_bytes()).hexdigest()


def network(path):
    """The hash of all weights of a network, and how each of its layers has its channels."""
    found = hashlib.sha256()
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
        weights.visititems(lambda name, _: found.update(name.encode()))
        weights.visititems(lambda _, part: found.update(part[()].tobytes() if isinstance(part, h5py.Dataset) else b""))
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    return found.hexdigest(), [layer["config"].get("data_format") for layer in layers]


def without_times(text):
    """Leave out how fast it was, what depends on it, and the checksum of an archive that holds the time of day."""
    text = re.sub(r'"speed": \{.*?\n  \}', "", text, flags=re.DOTALL)
    return re.sub(r"[\d,.]+ clips/s|[0-9a-f]{64}", "", text)


def test_the_same_bytes_whatever_the_settings_of_the_machine(tmp_path):
    """From recordings to manifest, features, weights, scores, pictures, page and printed answers."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "theirs").mkdir()
    plain, theirs = run(tmp_path / "plain", {}), run(tmp_path / "theirs", hostile(tmp_path / "theirs"))
    assert {"metrics/report.html", "metrics/plots/curves.png", "0.png", NETWORK} <= set(plain)
    assert plain[NETWORK][1].count("channels_last") > 4
    assert list(plain) == list(theirs)
    assert {name for name in plain if plain[name] != theirs[name]} == set()


@pytest.mark.parametrize("library", DOORS)
def test_one_module_imports_what_has_settings_of_its_own(library):
    """What goes round it would go round its settings: Keras and matplotlib, in the package and in the benchmark."""
    found = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {path.relative_to(ROOT).as_posix() for name in names if name.partition(".")[0] == library}
    assert found == {f"pipeline/{DOORS[library]}"}


def test_a_matplotlibrc_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"# gr\xfcn\naxes.grid: True\n")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.report"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1
    assert re.match(
        "ser-features: matplotlib cannot read its settings, a file called matplotlibrc", done.stderr.splitlines()[-1]
    )


def test_a_program_of_others_keeps_its_traceback(tmp_path):
    (tmp_path / "theirs.py").write_text(
        "from pipeline.core import errors\nraise errors.SerError('no')\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "theirs"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
    )  # fmt: skip
    assert "Traceback" in done.stderr


def test_cores_are_counted_in_one_place():
    counting = re.compile(r"cpu_count")
    found = [path.relative_to(ROOT).as_posix() for path in MODULES if counting.search(path.read_text(encoding="utf-8"))]
    assert found == ["pipeline/core/machine.py"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system ties no process to cores")
def test_a_process_that_is_tied_to_one_core_counts_one():
    tie = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    script = f"{tie}; import pipeline.core.machine; print(pipeline.core.machine.available_cores())"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize("words", [["predict", "CLIP"], ["extract", "CLIP", "-o", "t.npz"], ["inspect", "CLIP"]])
@pytest.mark.parametrize(("own", "wanted"), [([], 5), (["--workers", "3"], 3)])
def test_commands_start_a_process_a_core_unless_told(words, own, wanted, tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus(tmp_path / "corpus")
    (tmp_path / "params.yaml").write_text(settings(), encoding="utf-8")
    monkeypatch.setattr(machine, "available_cores", lambda: 5)
    monkeypatch.setattr("pipeline.serving.predictor.SERIAL_RECORDINGS", 0)
    asked = []

    def noted(processes=1, scheduler=""):
        asked.append(processes)
        return real(1)

    real = parallel.Executor
    monkeypatch.setattr(parallel, "Executor", noted)
    model = ["--model", str(tiny_bundle)] if words[0] == "predict" else []
    done = CliRunner().invoke(main, [*(word.replace("CLIP", "corpus/sad/a/0.wav") for word in words), *model, *own])
    assert done.exit_code == 0, done.output
    assert asked == [wanted]


def test_stages_start_a_process_a_core_unless_told(monkeypatch):
    monkeypatch.setattr(machine, "available_cores", lambda: 5)
    assert (parallel.Execute().processes, parallel.Execute(workers=2).processes) == (5, 2)


@pytest.mark.parametrize("limit", ["0", "-1", "two", ""])
def test_a_limit_that_is_none_gets_a_sentence(limit, monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", limit)
    with pytest.raises(SettingError, match=f"LOKY_MAX_CPU_COUNT is {limit!r}, expected a number of cores"):
        machine.available_cores()


LETTERS = "2 × 3 тоска é 😀 \\udcff"
SAY = f"""
import sys
from pathlib import Path
import pipeline.parallel
from pipeline.core.machine import run_stage
from pipeline.core.errors import SerError
def main():
    print("{LETTERS}")
    print("{LETTERS}", file=sys.stderr)
    list(pipeline.parallel.show_progress([1], 1, "{LETTERS}"))
    raise SerError("{LETTERS}")
run_stage(main)
"""


@pytest.mark.parametrize(
    "encoding", ["ascii", "ascii:strict", "latin-1", "latin-1:strict", "cp1252", "utf-8", "utf-8:strict"]
)
def test_a_letter_that_a_terminal_cannot_show_is_written_by_its_number(encoding):
    done = subprocess.run(
        [sys.executable, "-c", SAY], cwd=ROOT, capture_output=True, check=False,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )  # fmt: skip
    shown = "2 × 3 тоска é 😀 \udcff".encode(encoding.partition(":")[0], "backslashreplace")
    assert done.stdout == shown + b"\n"
    assert done.stderr == shown + b"\nser-features: " + shown + b"\n"
    assert done.returncode == 1


class Stream(io.TextIOWrapper):
    """Standard output in some encoding."""

    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding, errors="backslashreplace")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_any_encoding(encoding, monkeypatch):
    values = {"path": "é тоска 😀 \udcff.wav"}
    stream = Stream(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    group.echo_json(values)
    stream.flush()
    assert json.loads(stream.buffer.getvalue().decode(encoding)) == values


def test_names_that_are_not_read_as_utf_8_are_refused():
    odd = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    words = [sys.executable, "-m", "pipeline.split"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | odd)
    assert (done.returncode, done.stderr.count("set PYTHONUTF8=1")) == (1, 1), done.stderr
