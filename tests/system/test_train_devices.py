"""Several devices that share each batch learn what one learns: proved on two halves of a CPU."""

import importlib.util
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import json
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest

from pipeline.core.errors import SettingError
from pipeline.train import devices
from pipeline.train.devices import Device
from tests.paths import ROOT
from tests.training import artefacts

BACKENDS = ("tensorflow", "jax")
RUN = """
import json, sys
from pathlib import Path
from pipeline.train import stage
from tests.training import params
base, count, jobs = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
for name, (feed, arch, settings) in jobs.items():
    values = params(arch=arch, **{"epochs": 4, "folds": "first", "learning_rate": 3e-3} | settings)
    values["model"]["cnn"] |= {"dropout": 0.0}
    values["model"]["crnn1d"] |= {"filters": [4, 4], "units": 4, "dropout": 0.0}
    values["device"] = {"count": count, "resident": feed == "resident"}
    stage.run(
        base / "clips.parquet", [base / "own.parquet"], base / "audit.json", output=base / f"{count}-{name}",
        metrics=base / f"{count}-{name}.json", params=values, cache=base / "cache",
    )
"""
UNEVEN = {"batch_size": 30, "learning_rate": 1e-9}
JOBS = {"mapped": ("mapped", "cnn", {}), "resident": ("resident", "crnn1d", {}), "uneven": ("mapped", "cnn", UNEVEN)}
PROCESSES = [(1, list(JOBS)), (2, ["mapped"]), (2, ["resident"]), (5, ["uneven"])]


@pytest.fixture(scope="module", params=BACKENDS)
def trained(request, tmp_path_factory):
    """A folder with all trainings: those on one device in a process, each other in its own.

    A CPU is divided only once, and collectives of a second network on several devices would meet those of the first.
    """
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed here: 'make test-backends' has an environment for each backend")
    base = artefacts(tmp_path_factory.mktemp("devices"))
    places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"KERAS_BACKEND": request.param, "PYTHONPATH": places}
    for count, names in PROCESSES:
        words = [sys.executable, "-c", RUN, str(base), str(count), json.dumps({name: JOBS[name] for name in names})]
        done = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return base


def told(base, count, name):
    """The history of a training and its figures."""
    folder = base / f"{count}-{name}"
    return pd.read_csv(folder / "fold-0/history.csv"), json.loads((folder / "bundle.json").read_text())["training"]


@pytest.mark.parametrize("name", ["mapped", "resident"])
def test_two_devices_have_the_losses_of_one(trained, name):
    (one, alone), (two, both) = told(trained, 1, name), told(trained, 2, name)
    assert (alone["devices"], both["devices"]) == (1, 2)
    assert one["loss"].nunique() == 4
    for column in ("loss", "val_loss"):
        assert np.abs(one[column] - two[column]).max() < 1e-4, column
    pd.testing.assert_frame_equal(one[["val_uar", "val_accuracy"]], two[["val_uar", "val_accuracy"]])


def test_rows_that_cannot_be_shared_are_passed_over_or_weigh_nothing(trained):
    """72 rows in batches of 30 leave 12; with 3 devices, 12 rows to judge by are even, with 5 neither is."""
    (one, _), (five, _) = told(trained, 1, "uneven"), told(trained, 5, "uneven")
    assert np.abs(one["val_loss"] - five["val_loss"]).max() < 1e-4
    pd.testing.assert_frame_equal(one[["val_uar", "val_accuracy"]], five[["val_uar", "val_accuracy"]])


def test_what_cannot_be_is_said(monkeypatch):
    monkeypatch.setattr(devices, "split_cpu", lambda _: None)  # or this process would have 64 devices from here on
    with pytest.raises(SettingError, match=r"device\.count is 0, expected 1 to 1024"):
        Device(count=0)
    with pytest.raises(SettingError, match=r"device\.steps_per_call is 0"):
        Device(steps_per_call=0)
    with pytest.raises(SettingError, match=r"device\.count is 64, but "), devices.data_parallel(64):
        raise AssertionError


def test_the_device_is_named():
    assert devices.device_name().split(":")[0] in {"cpu", "gpu", "cuda", "tpu", "mps"}


def test_features_stay_where_they_are_on_a_cpu():
    if devices.on_accelerator():
        pytest.skip("there is an accelerator here")
    assert not devices.holds_features(Device(), 1)
    assert devices.holds_features(Device(resident=True), 2**60)


def test_features_go_to_an_accelerator_that_holds_them(monkeypatch):
    monkeypatch.setattr(devices, "device_name", lambda: "gpu:0")
    monkeypatch.setattr(devices, "memory_bytes", lambda: 1000)
    assert devices.holds_features(Device(), 500)
    assert not devices.holds_features(Device(), 501)
    assert not devices.holds_features(Device(resident=False), 1)


def test_several_steps_are_one_call_where_the_backend_has_such_calls(monkeypatch):
    torch = keras.backend.backend() == "torch"
    assert devices.steps_per_call(Device(steps_per_call=8)) == (1 if torch else 8)
    monkeypatch.setattr(devices, "device_name", lambda: "gpu:0")
    assert devices.steps_per_call(Device()) == (1 if torch else devices.ACCELERATOR_STEPS)
