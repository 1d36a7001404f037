"""Shards that hold a pattern, and all else that the stage train needs, for the tests of training."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core import config, files, tables
from pipeline.dataset import shards
from pipeline.signal.settings import Audio, LogMel
from pipeline.split.rows import SPLIT_COLUMNS
from tests.paths import ROOT

CLASSES = ["angry", "happy", "sad"]
SHAPE = (24, 12)
LAYOUT = shards.Layout(
    view="logmel",
    shape=SHAPE,
    dtype="float16",
    unit="dB",
    rows=tuple("abcdefghijkl"),
    identity={"view": "logmel", "settings": {"audio": asdict(Audio()), "logmel": asdict(LogMel())}},
    augment={},
)
ABOUT = {"own": {"title": "own", "language": "en", "licence": "CC0-1.0", "citation": "nobody"}}  # of each corpus


def clip_table() -> pd.DataFrame:
    """Six speakers with twelve clips each, in two folds: two speakers test, one validates."""
    rows = []
    for fold in range(2):
        for speaker in range(6):
            role = {0: "test", 1: "test", 2: "validation"}.get((speaker + 3 * fold) % 6, "train")
            for clip in range(12):
                for variant in ("original", "noise") if role == "train" else ("original",):
                    name = f"own/{speaker}-{clip}.wav"
                    rows.append((name, variant, fold, role, CLASSES[clip % 3], "own", f"own/{speaker}"))
    return pd.DataFrame(rows, columns=SPLIT_COLUMNS)


def tensors(clip_id: str, variant: str) -> np.ndarray:
    """A band that is loud where the class says so, on top of a level of the speaker's own."""
    speaker, clip = (int(part) for part in re.findall(r"\d+", clip_id))
    rng = np.random.default_rng([speaker, clip, len(variant)])
    patch = rng.normal(-50 + speaker, 4, SHAPE)
    patch[:, 4 * (clip % 3) : 4 * (clip % 3) + 4] += 12
    return patch.astype(np.float16)


def artefacts(folder: Path) -> Path:
    """Write the artefacts that train and evaluate need."""
    table = clip_table()
    tables.write_splits(
        table,
        folder / "clips.parquet",
        classes=CLASSES,
        synthetic=["own"],
        split={"protocol": "speaker"},
        corpora=ABOUT,
    )
    index = [(f"own/{s}-{c}.wav", v) for s in range(6) for c in range(12) for v in ("original", "noise")]
    rows = shards.FeatureRows(
        clip_id=[name for name, _ in index],
        variant=[variant for _, variant in index],
        key=[str(number) for number in range(len(index))],
        valid_frames=np.full(len(index), SHAPE[0], np.int32),
        tensors=np.stack([tensors(*each) for each in index]),
    )
    shards.write_shard(folder / "own.parquet", LAYOUT, [rows])
    people = [
        {"clip_id": name, "path": name, "seconds": 2.5, "sex": "female" if name[4] in "024" else "male"}
        for name, v in index
        if v == "noise"
    ]
    tables.write_manifest(people, folder / "manifest.parquet", synthetic=True, about={})
    clean = {"leak": {"contaminated": 0.0, "seen_speaker": 0.0}, "count": {"test_rows": 24}}
    files.write_json({"stamp": "DEMO", "fold": {"0": clean, "1": clean}}, folder / "audit.json")
    return folder


def params(*, seed: int = 42, arch: str = "cnn", **settings: Any) -> dict[str, Any]:
    """The parameters of the repository with a small network and quick epochs; settings are of the section train."""
    values = config.read_params(ROOT / "params.yaml") | {"seed": seed}
    values["model"]["arch"] = arch
    values["model"]["cnn"]["filters"] = [4, 8]
    values["train"] |= {
        "epochs": 15,
        "batch_size": 16,
        "learning_rate": 0.01,
        "folds": "all",
        "patience": 15,
    } | settings
    return values
