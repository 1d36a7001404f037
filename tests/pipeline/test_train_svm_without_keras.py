"""An svm is trained, evaluated and loaded without Keras; where Keras is imported, it starts silently."""

import os
import subprocess
import sys

import pytest

from tests.training import ROOT, artefacts

HEAVY = "print(*sorted({'keras', 'tensorflow', 'jax', 'torch', 'pipeline.train.backend'} & set(sys.modules)))"
TRAIN = f"""
import sys
from pathlib import Path
from pipeline.train import stage
from tests.training import params
base, arch = Path(sys.argv[1]), sys.argv[2]
stage.run(
    base / "clips.parquet", [base / "own.parquet"], base / "audit.json", output=base / arch,
    metrics=base / "train.json", params=params(arch=arch, epochs=1, folds="first"), cache=base / "cache",
)
{HEAVY}
"""
EVALUATE = f"""
import sys
from pathlib import Path
from pipeline.evaluate import stage
base, arch = Path(sys.argv[1]), sys.argv[2]
stage.run(
    base / "clips.parquet", [base / "own.parquet"], [base / "manifest.parquet"], base / arch, base / "audit.json",
    output=base / "predictions.parquet", whole=base / "whole", metrics=base / "eval.json", seed=1, cache=base / "cache",
)
{HEAVY}
"""


def run(script, *words, code=0, **environment):
    places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": places, **environment},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return artefacts(tmp_path_factory.mktemp("svm"))


@pytest.mark.parametrize(("arch", "imported"), [("svm", ""), ("cnn", "keras pipeline.train.backend tensorflow")])
def test_an_svm_is_trained_and_evaluated_without_keras(base, arch, imported):
    """The network proves that the script sees Keras where it is imported, and that it starts silently."""
    if arch != "svm" and os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        pytest.skip("another backend is imported")
    for script in (TRAIN, EVALUATE):
        done = run(script, base, arch)
        assert done.stdout.splitlines()[-1] == imported
        assert done.stderr == ""


def test_an_svm_is_trained_where_no_backend_can_be_imported(base):
    assert run(TRAIN, base, "svm", KERAS_BACKEND="none").stderr == ""
    assert "KERAS_BACKEND 'none' is unknown" in run(TRAIN, base, "cnn", code=1, KERAS_BACKEND="none").stderr


def test_the_import_of_the_backend_writes_nothing():
    done = run("import pipeline.train.backend")
    assert (done.stdout, done.stderr) == ("", "")


def test_what_was_written_before_the_import_of_the_backend_failed_is_shown(tmp_path):
    (tmp_path / "jax.py").write_text("import os\nos.write(2, b'no driver')\nraise ImportError('broken')\n")
    places = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = run("import pipeline.train.backend", code=1, KERAS_BACKEND="jax", PYTHONPATH=places)
    assert done.stderr.startswith("no driver")
    assert "KERAS_BACKEND=jax needs what is installed and cannot be loaded (broken)" in done.stderr
