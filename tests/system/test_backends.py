"""A bundle trained on one backend of Keras answers the same on the others, and they train alike."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import importlib.util
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest

from pipeline.serving.predictor import load_member
from tests.bundles import SMALL, make_bundle
from tests.paths import ROOT
from tests.training import artefacts

BACKENDS = ("tensorflow", "jax", "torch")
OTHERS = [name for name in BACKENDS if name != keras.backend.backend()]
ELSEWHERE = """
import sys
from pathlib import Path
import keras
import numpy as np
from pipeline.serving.predictor import load_member
folder, backend = Path(sys.argv[1]), sys.argv[2]
assert keras.backend.backend() == backend
for path in sorted(folder.glob("*.npy")):
    np.save(folder / f"{path.stem}-{backend}", load_member(folder / path.stem).probabilities(np.load(path)))
"""
TRAIN = """
import os, sys
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
from pathlib import Path
import numpy as np
import pipeline.core.config
from pipeline.train import architectures, batches, trainer
from pipeline.train.settings import Train
from pipeline.dataset import table
from pipeline.dataset.inputs import ModelInputs, neutral_statistics
from tests.training import CLASSES, params
folder, arch, target = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
values = params(arch=arch, epochs=3, learning_rate=0.003, patience=None, augment={"mixup": 0.2})
values["model"][arch] |= {"filters": [4, 8], "dropout": 0.0}
own = pipeline.core.config.read_section(Train, values, "train")
inputs = ModelInputs(table.open_table([folder / "own.parquet"], folder / "cache"), "bins")
shape, plain = inputs.table.layout.shape, neutral_statistics(inputs.table.layout.shape[1])
build = lambda: architectures.build_network(values, shape, len(CLASSES), statistics=plain)
fresh, weights = build(), folder / f"{arch}.npz"
if weights.exists():
    with np.load(weights) as kept:
        fresh.set_weights([kept[name] for name in kept.files])
else:
    np.savez(weights, *fresh.get_weights())
learner = trainer.build_training_model(build, plain.mean.shape, own)
learner.restart(fresh, inputs.measure(np.arange(72)), seed=0)
numbers = np.arange(144)
labels = np.array([int(name.split("-")[1].removesuffix(".wav")) % 3 for name, _ in inputs.table.rows.index])
every = {"weights": np.ones(3, np.float32), "batch_size": 16}
feed = batches.Batches(inputs, numbers[:72], labels[:72], shuffle=(1, 2), mixup=0.2, **every)
check = batches.Batches(inputs, numbers[72:], labels[72:], **every)
trainer.fit_network(learner, feed, check, own, rows=72).history.to_csv(target, index=False)
"""


@pytest.mark.parametrize("arch", ["cnn", "crnn"])
@pytest.mark.parametrize("other", OTHERS)
def test_backends_learn_the_same_from_the_same_weights(tmp_path, other, arch):
    """The same batches and mixtures too: what differs is the order in which numbers are added."""
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed here: 'make test-backends' has an environment for each backend")
    folder = artefacts(tmp_path)
    places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    found = []
    for backend in (keras.backend.backend(), other):
        target = folder / f"{arch}-{backend}.csv"
        environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": places}
        subprocess.run([sys.executable, "-c", TRAIN, str(folder), arch, str(target)], env=environment, check=True)
        found.append(pd.read_csv(target))
    one, two = found
    assert one["loss"].nunique() == 3
    for column in ("loss", "val_loss"):
        np.testing.assert_allclose(one[column], two[column], rtol=2e-3)


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """A bundle of each arch, some clips beside it, and what it says of them here."""
    folder = tmp_path_factory.mktemp("bundles")
    found = {}
    for arch in SMALL:
        member = load_member(make_bundle(folder / arch, arch=arch, view="mfcc" if arch == "svm" else "logmel"))
        clips = np.random.default_rng(0).normal(-50, 20, (8, *member.input_settings.shape)).astype(np.float32)
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
