"""A training that is killed goes on where it stood, and ends where it would have ended."""

import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.extract.storage import Storage
from pipeline.train import checkpoints, models, stage
from pipeline.train.checkpoints import Checkpoint, TrainingState
from pipeline.upkeep import gc, inventory
from tests.paths import ROOT
from tests.training import artefacts, params

HERE = {"backend": "tensorflow", "device": "cpu:0"}
SETTINGS = {
    "epochs": 9,
    "folds": "first",
    "seeds": [3, 4],
    "patience": 5,
    "reduce_after": 1,
    "augment": {
        "shift": 3,
        "noise": 0.1,
        "time_masks": 1,
        "time_mask": 4,
        "frequency_masks": 1,
        "frequency_mask": 2,
        "mixup": 0.3,
    },
}


def workplace(folder: Path) -> Path:
    """A folder in which the stage train runs as DVC runs it."""
    made = artefacts(folder / "made")
    for source, target in (
        ("clips.parquet", "data/clips.parquet"),
        ("own.parquet", "features/logmel/own.parquet"),
        ("audit.json", "metrics/audit.json"),
    ):
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made / source, folder / target)
    values = params(**SETTINGS)
    values["data"]["corpora"] = {"own": "data/raw/own"}
    (folder / "params.yaml").write_text(json.dumps(values))  # JSON is YAML
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": places, "SER_CACHE_DIR": str(folder / "cache")}
    words = [sys.executable, "-m", "pipeline.train"]
    return subprocess.Popen(words, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE)


def finish(folder: Path) -> str:
    child = start(folder)
    said, _ = child.communicate(timeout=300)
    assert child.returncode == 0, said
    return said


def kill(folder: Path, sign: str) -> str:
    """Kill a training as soon as it says a sign; give what it said."""
    said = ""
    with start(folder) as child:
        assert child.stdout is not None
        for line in child.stdout:
            said += line
            if line.startswith(sign):
                child.kill()
    assert child.returncode == -9, said
    return said


def weights(folder: Path, place: str) -> list[np.ndarray]:
    return models.load_model(folder / "models/trained" / place, "cnn").network.get_weights()


def test_three_kills_change_nothing(tmp_path):
    calm, shaken = workplace(tmp_path / "calm"), workplace(tmp_path / "shaken")
    assert "Resuming" not in finish(calm)
    assert "Resuming" not in kill(shaken, "epoch 2 of 9")
    assert not (shaken / "models/trained").exists()
    second = kill(shaken, "epoch 5 of 9")
    assert "Resuming after epoch " in second
    assert "epoch 1 of 9" not in second
    kill(shaken, "fold 0, seed 4")
    fourth = kill(shaken, "epoch 3 of 9")  # of the second network
    assert fourth.index("Resuming after epoch ") < fourth.index("fold 0, seed 4") < fourth.index("epoch 1 of 9")
    last = finish(shaken)
    assert last.count("Resuming after epoch ") == 2  # the first network was done, the second begun
    for place in ("fold-0", "fold-0-seed-4"):
        for one, other in zip(weights(calm, place), weights(shaken, place), strict=True):
            np.testing.assert_array_equal(one, other)
        histories = [(each / "models/trained" / place / "history.csv").read_bytes() for each in (calm, shaken)]
        assert histories[0] == histories[1]
    assert not list((shaken / "cache").rglob("*.npz"))  # nothing is left to go on from


@pytest.fixture
def state():
    rng = np.random.default_rng(0)
    return TrainingState(
        rows=[{"loss": 0.1 + 0.2, "val_uar": 1 / 3}, {"loss": 1e-9, "val_uar": 0.5}],
        stopped=True,
        counters={"EarlyStopping": {"wait": 2, "best": 0.1}, "ReduceLROnPlateau": {}},
        arrays=[rng.normal(size=(3, 4)).astype(np.float32), np.array([7, 9], np.uint32), np.array(5, np.int64)],
        best=[rng.normal(size=2).astype(np.float32)],
    )


def test_a_state_is_read_as_it_was_written(state, tmp_path):
    checkpoint = Checkpoint(checkpoints.checkpoint_path(tmp_path, "a" * 64, "fold-0-seed-7"), HERE)
    second = Checkpoint(checkpoints.checkpoint_path(tmp_path, "b" * 64, "fold-0"), HERE)
    assert checkpoint.load() == (TrainingState(), "")
    checkpoint.save(state)
    found, word = checkpoint.load()
    assert word == "Resuming after epoch 2."
    assert replace(found, arrays=(), best=()) == replace(state, arrays=(), best=())
    for one, other in zip([*state.arrays, *state.best], [*found.arrays, *found.best], strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    second.save(state)
    assert [inventory.file_kind("training", each.path.name) for each in (checkpoint, second)] == ["checkpoint"] * 2
    checkpoints.clear_checkpoints(tmp_path, "a" * 64)
    assert not checkpoint.path.exists()
    assert second.path.exists()


def test_states_that_nobody_goes_on_from_are_swept_after_a_week(state, tmp_path, monkeypatch):
    monkeypatch.setenv("SER_CACHE_DIR", str(tmp_path))
    old, young = (checkpoints.checkpoint_path(tmp_path, letter * 64, "fold-0") for letter in "ab")
    for path in (old, young):
        Checkpoint(path, HERE).save(state)
    week = time.time() - 7.1 * 86_400
    os.utime(old, (week, week))
    found = gc.find_garbage(Storage())
    assert [item.path for item in found.old] == [str(old)]
    gc.delete_garbage(Storage(), found.old)
    assert (old.exists(), young.exists()) == (False, True)


def test_another_device_starts_anew_and_says_why(state, tmp_path):
    Checkpoint(tmp_path / "fold-0.npz", HERE).save(state)
    found, word = Checkpoint(tmp_path / "fold-0.npz", HERE | {"device": "gpu:0"}).load()
    assert found == TrainingState()
    assert word == (
        "The checkpoint was written with device cpu:0, where the same steps give other digits: this training starts "
        "anew."
    )


@pytest.mark.parametrize("harm", ["cut", "flip", "other"])
def test_a_damaged_state_starts_anew(state, tmp_path, harm):
    path = tmp_path / "fold-0.npz"
    Checkpoint(path, HERE).save(state)
    data = bytearray(path.read_bytes())
    if harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif harm == "flip":
        data[data.index(state.arrays[0].tobytes()) + 5] ^= 1
        path.write_bytes(data)
    else:
        np.savez(path, other=np.zeros(3))
    assert Checkpoint(path, HERE).load() == (
        TrainingState(),
        f"The checkpoint {path} is damaged: this training starts anew.",
    )


@pytest.mark.parametrize("change", [{"epochs": 8}, {"seeds": [3]}, {"augment": {"mixup": 0.2}}])
def test_other_settings_go_on_from_nothing(tmp_path, change):
    folder = artefacts(tmp_path)
    rest = (folder / "clips.parquet", [folder / "own.parquet"])
    keys = [
        stage.checkpoint_key(*rest, params(**each), tmp_path / "cache")
        for each in (SETTINGS, SETTINGS, SETTINGS | change)
    ]
    assert keys[0] == keys[1] != keys[2]


def test_where_it_is_computed_changes_no_key(tmp_path):
    folder = artefacts(tmp_path)
    rest = (folder / "clips.parquet", [folder / "own.parquet"])
    values = [params() | {"device": {"count": count}, "execute": {"workers": count}} for count in (1, 2)]
    assert len({stage.checkpoint_key(*rest, each, tmp_path / "cache") for each in values}) == 1
