"""Parts that are not installed: one sentence each, with the command that installs it."""

import ast
import builtins
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.acquire import download
from pipeline.cli.main import main
from pipeline.core import errors
from pipeline.core.errors import SerError, SettingError
from pipeline.export import runtimes
from pipeline.extract import cluster, storage
from pipeline.serving import stream
from tests.paths import ROOT
from tests.training import artefacts, params

DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
HARMLESS = {"gpu"}  # without it TensorFlow computes on the CPU
WEB = ("fastapi", "gradio", "uvicorn")
EXPORT = ("onnxruntime", "ai_edge_litert", "tf2onnx")


def said(extra):
    return re.escape(f"which is not installed: pip install -c constraints.txt -e '.[{extra}]'") + "$"


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_every_extra_has_a_sentence_and_every_sentence_an_extra():
    assert set(errors.USES) == set(DECLARED) - HARMLESS


@pytest.mark.parametrize("extra", errors.USES)
def test_what_an_extra_brings_is_missed_by_its_name(extra, monkeypatch):
    monkeypatch.setitem(sys.modules, "a_part_of_it", None)
    with (
        pytest.raises(SettingError, match=f"^{re.escape(errors.USES[extra])} needs a_part_of_it, {said(extra)}"),
        errors.require_extra(extra),
    ):
        importlib.import_module("a_part_of_it")


@pytest.mark.parametrize("module", EXPORT)
def test_a_runtime_or_converter_that_is_missing(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingError, match=f"needs {module}, {said('export')}"):
        runtimes.import_runtime(module)


def test_the_other_extras_where_they_are_asked_for(monkeypatch):
    for module, extra, ask in (
        ("sounddevice", "listen", stream.list_devices),
        ("kagglehub", "kaggle", lambda: download.download_kaggle("owner/name")),
        ("distributed", "cluster", lambda: cluster.connect_client("tcp://127.0.0.1:1")),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(SettingError, match=f"needs {module}, {said(extra)}"):
            ask()


@pytest.mark.parametrize("module", WEB)
def test_the_web_page(module, monkeypatch):
    for name in [each for each in sys.modules if re.match(r"pipeline\.serving\.(app|page|limits)$", each)]:
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(sys.modules["pipeline.serving"], name.rpartition(".")[2], raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    done = CliRunner().invoke(main, ["serve"])
    assert done.exit_code == 1
    assert re.search(f"^Error: The web page needs {module}, {said('serve')}", done.output.strip()), done.output


def fails_with(error):
    """An importer of whose modules one raises an error."""
    original = builtins.__import__

    def importing(name, *rest, **more):
        if name == "sounddevice":
            raise error
        return original(name, *rest, **more)

    return importing


def test_a_library_of_the_system_and_a_package_that_is_broken(monkeypatch):
    monkeypatch.setattr(builtins, "__import__", fails_with(OSError("PortAudio library not found")))
    with pytest.raises(SettingError, match="PortAudio is missing .*sudo apt install libportaudio2$"):
        stream.list_devices()
    monkeypatch.setattr(builtins, "__import__", fails_with(ImportError("libx.so: cannot open shared object file")))
    with pytest.raises(
        SettingError, match=r"cannot be loaded \(libx.so.*pip install --force-reinstall -c .*listen\]'$"
    ):
        stream.list_devices()


def test_a_module_of_our_own_that_is_missing_is_a_bug():
    with pytest.raises(ModuleNotFoundError), errors.require_extra("serve"):
        importlib.import_module("pipeline.nowhere")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("s3://bucket/ser", f"^store.url s3://bucket/ser needs s3fs, {said('cluster')}"),
        ("gs://bucket/ser", "^store.url gs://bucket/ser needs a package that is none of .* extras: .*gcsfs"),
        ("nosuch://x", "^store.url nosuch://x cannot be used .*nosuch"),
    ],
)
def test_a_shared_place(url, sentence, monkeypatch):
    registry = importlib.import_module("fsspec.registry")
    for module in ("s3fs", "gcsfs"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(registry._registry, "s3", raising=False)
    with pytest.raises(SerError, match=sentence), storage.storage_errors(url):
        storage.filesystem(url)


def test_from_elsewhere_the_command_goes_to_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert errors.install_command("serve") == f"cd {ROOT} && pip install -c constraints.txt -e '.[serve]'"


PROGRAMS = {
    "train": ["-m", "pipeline.train"],
    "evaluate": ["-m", "pipeline.evaluate"],
    "predict": ["-c", "from pipeline.cli.main import main; main()", "predict", "--model", "BUNDLE", "x.wav"],
    "accelerator": ["-m", "benchmarks.accelerator"],
}
BACKENDS = {
    "jax": "KERAS_BACKEND=jax needs jax, which is not installed: ",
    "torch": "KERAS_BACKEND=torch needs torch, which is not installed: ",
    "tensorfow": "KERAS_BACKEND 'tensorfow' is unknown, did you mean 'tensorflow'? Known: jax, tensorflow, torch.",
    "numpy": "KERAS_BACKEND 'numpy' is unknown. Known: jax, tensorflow, torch.",
}


def prepared(folder: Path, bundle: Path) -> None:
    """Write what train and evaluate read before they import Keras."""
    made = artefacts(folder / "made")
    for source, target in (
        ("clips.parquet", "data/clips.parquet"),
        ("manifest.parquet", "data/manifest/own.parquet"),
        ("own.parquet", "features/logmel/own.parquet"),
        ("audit.json", "metrics/audit.json"),
    ):
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made / source, folder / target)
    shutil.copytree(bundle, folder / "models/trained")
    values = params()
    values["data"]["corpora"] = {"own": "data/raw/own"}
    (folder / "params.yaml").write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML


@pytest.mark.parametrize(
    ("program", "backend"),
    [*(("train", backend) for backend in BACKENDS), *((program, "jax") for program in [*PROGRAMS][1:])],
)
def test_a_backend_that_is_not_there(program, backend, tiny_bundle, tmp_path):
    """Stages and commands import Keras for networks alone, benchmarks at once."""
    prepared(tmp_path, tiny_bundle)
    blocked = "import sys\nsys.modules.update(jax=None, torch=None)\n"
    (tmp_path / "sitecustomize.py").write_text(blocked, encoding="utf-8")
    places = os.pathsep.join(map(str, (tmp_path, ROOT)))
    words = [word.replace("BUNDLE", str(tiny_bundle)) for word in PROGRAMS[program]]
    (tmp_path / "x.wav").touch()
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": places},
    )  # fmt: skip
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert BACKENDS[backend] in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("stage", ["demo", "ingest", "extract"])
def test_a_missing_libsndfile_ends_a_stage_in_a_sentence(stage, tmp_path):
    (tmp_path / "soundfile.py").write_text("raise OSError('cannot load libsndfile.so')\n", encoding="utf-8")
    places = os.pathsep.join(map(str, (tmp_path, ROOT)))
    done = subprocess.run(
        [sys.executable, "-m", f"pipeline.{stage}"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": places},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "ser-features: The system's library libsndfile is missing (cannot load libsndfile.so): on Debian and Ubuntu, "
        "sudo apt install libsndfile1\n"
    )


def test_no_text_names_a_package_of_an_index_that_it_is_not_on():
    wrong = re.compile(r"install\s+['\"]?ser-features")
    paths = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "pipeline").rglob("*.py")]
    assert [path.name for path in paths if wrong.search(path.read_text(encoding="utf-8"))] == []


def test_commands_in_texts_name_extras_that_there_are():
    paths = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "pipeline").rglob("*.py")]
    named = [name for path in paths for name in re.findall(r"-e '\.\[([a-z,]+)\]'", path.read_text(encoding="utf-8"))]
    assert len(named) > 5
    assert {part for name in named for part in name.split(",")} <= set(DECLARED)


def test_whatever_is_imported_late_and_not_by_everybody_goes_through_the_table():
    """Each import of a module that comes with an extra stands in ``with extras.needed``, or in a module behind one."""
    behind = {"serving/app.py", "serving/page.py", "serving/limits.py", "train/devices.py"}
    parts = {*WEB, *EXPORT, "sounddevice", "kagglehub", "s3fs", "jax", "torch", "starlette"}
    loose = set()
    for path in (ROOT / "pipeline").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        guarded = {id(inner) for each in ast.walk(tree) if isinstance(each, ast.With) for inner in ast.walk(each)}
        for node in ast.walk(tree):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if {name.partition(".")[0] for name in named} & parts and id(node) not in guarded:
                loose.add(path.relative_to(ROOT / "pipeline").as_posix())
    assert loose <= behind
