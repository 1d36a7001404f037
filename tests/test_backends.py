"""A bundle trained on one backend of Keras answers the same on the others."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import importlib.util
import subprocess
import sys

import keras
import numpy as np
import pytest

from pipeline.serving.predictor import open_one
from tests.bundles import ROOT, SMALL, make_bundle

BACKENDS = ("tensorflow", "jax", "torch")
OTHERS = [name for name in BACKENDS if name != keras.backend.backend()]
ELSEWHERE = """
import sys
from pathlib import Path
import keras
import numpy as np
from pipeline.serving.predictor import open_one
folder, backend = Path(sys.argv[1]), sys.argv[2]
assert keras.backend.backend() == backend
for path in sorted(folder.glob("*.npy")):
    np.save(folder / f"{path.stem}-{backend}", open_one(folder / path.stem).probabilities(np.load(path)))
"""


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """A bundle of each arch, some clips beside it, and what it says of them here."""
    folder = tmp_path_factory.mktemp("bundles")
    found = {}
    for arch in SMALL:
        member = open_one(make_bundle(folder / arch, arch=arch, view="mfcc" if arch == "svm" else "logmel"))
        clips = np.random.default_rng(0).normal(-50, 20, (8, *member.hearing.shape)).astype(np.float32)
        np.save(folder / arch, clips)
        found[arch] = member.probabilities(clips)
    return folder, found


@pytest.mark.parametrize("other", OTHERS)
def test_a_bundle_answers_the_same_on_other_backends(answered, other):
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed here: 'make test-backends' has an environment for each backend")
    folder, found = answered
    places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"KERAS_BACKEND": other, "PYTHONPATH": places}
    words = [sys.executable, "-c", ELSEWHERE, str(folder), other]
    subprocess.run(words, env=environment, cwd=ROOT, check=True)
    for arch, here in found.items():
        there = np.load(folder / f"{arch}-{other}.npy")
        assert np.abs(there - here).max() <= 1e-4, arch
    told = [arch for arch, here in found.items() if np.ptp(here, axis=0).max() > 1e-3]
    assert len(told) >= len(found) - 2, "clips that all get the same show nothing; few random weights may do that"
