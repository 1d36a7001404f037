"""Settings of a user's machine reach no number, no picture and no text; its cores are counted in one place."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import soundfile

from pipeline import machine

ROOT = Path(__file__).parents[1]
MODULES = [*sorted((ROOT / "pipeline").rglob("*.py")), *sorted((ROOT / "benchmarks").glob("*.py"))]
DOORS = {"keras": "networks/backend.py", "matplotlib": "evaluation/drawing.py"}
RATE = 16_000
NETWORK = "models/bundle/fold-0/model.keras"
STAGES = ("ingest", "split", "extract", "train", "evaluate", "report")
# All that stands between recordings and answers, as programs run it, in one process: TensorFlow starts once.
WORK = f"""
import importlib, sys
from pipeline import cli
from pipeline.stages import entry
for name in {STAGES}:
    sys.argv = [name, *(["mine"] if name in ("ingest", "extract") else [])]
    entry.stage(importlib.import_module(f"pipeline.stages.{{name}}").main)
for words in (["inspect", "CLIP"], ["predict", "CLIP"], ["predict", "--csv", "CLIP"], ["audit"], ["model", "show"],
              ["extract", "CLIP", "-o", "out.csv"], ["corpora", "list"]):
    cli.main([word.replace("CLIP", "corpus/sad/b/0.wav") for word in words], standalone_mode=False)
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
    set_by_owner = dict.fromkeys(machine.VARIABLES, "1") | {
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
