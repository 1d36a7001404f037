"""Prediction on one core in every format: a clip warm and cold, a thousand clips, a stream.

It is compared with the usual notebook: librosa for the features, ``model.predict`` for the prediction.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks import untrained
from benchmarks.corpus import ROOT, Job
from benchmarks.timing import clocked, milliseconds, ratio
from pipeline.audio import decode
from pipeline.core import config, tables

LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
CLIP = 3.0  # s
STREAM = 60.0  # s
MANY = 1_000  # clips
COLD = 3  # starts of the command
ONE = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
TARGETS = ("onnx", "litert", "litert-int8")


def measure(job: Job) -> dict[str, Any]:
    """Measure ``crnn`` on clips of the first corpus, in Keras and in each export format."""
    folder = job.scratch / "serving"
    folder.mkdir()
    sounds = gathered(job)
    clip, stream = folder / "clip.wav", folder / "stream.wav"
    write(clip, sounds, CLIP)
    write(stream, sounds, STREAM)
    bundles = exported(bundle(folder / "keras"), folder, sounds)
    found = {name: probe(path, clip, stream, job) for name, path in bundles.items()}
    for name, path in bundles.items():
        found[name]["cold"] = round(statistics.median(command(path, clip) for _ in range(COLD)), 2)
    many = copies(sounds, folder / "many")
    for name, path in bundles.items():
        found[name]["many"] = round(command(path, many), 1)
    return {"formats": found, "clips": MANY, "stream_seconds": STREAM}


def gathered(job: Job) -> list[Path]:
    """List the recordings of the first corpus."""
    return [job.first.folder / row["path"] for row in tables.manifest_records(tables.read_manifest(job.first.manifest))]


def write(target: Path, sounds: list[Path], length: float) -> None:
    """Write concatenated recordings as 16-bit WAV, cropped to `length` in s, at the rate of the first."""
    recordings = map(decode.read_recording, sounds)
    first = next(recordings)
    parts, size = [decode.to_mono(first.samples)], round(length * first.sample_rate)
    while sum(map(len, parts)) < size:
        after = next(recordings)
        parts.append(decode.resample(decode.to_mono(after.samples), after.sample_rate, first.sample_rate))
    soundfile.write(target, np.concatenate(parts)[:size], first.sample_rate, subtype="PCM_16")


def bundle(folder: Path) -> Path:
    """Write an untrained bundle of ``crnn`` with the settings of params.yaml."""
    params = config.read_params(ROOT / "params.yaml")
    params["model"] |= {"arch": "crnn", "features": "logmel"}
    network = untrained.network(params, len(LABELS))
    return untrained.write(folder, params, {0: network}, labels=LABELS, longest=5.0)


def exported(source: Path, folder: Path, sounds: list[Path]) -> dict[str, Path]:
    """Export a bundle to every format; return the folder of each, with that of Keras."""
    from pipeline.export import command as export_command
    from pipeline.serving import inputs
    from pipeline.train import bundle as train_bundle

    settings = inputs.input_settings(train_bundle.read_card(source), name=source.name)
    samples = np.stack([settings.compute(decode.read_recording(path)) for path in sounds[:: max(1, len(sounds) // 64)]])
    bundles = {"keras": source} | {target: folder / target for target in TARGETS}
    for target in TARGETS:
        export_command.export_bundle(source, bundles[target], target=target, samples=samples)
    return bundles


def copies(sounds: list[Path], folder: Path) -> Path:
    """Fill a folder with a thousand clips, repeating them if there are fewer."""
    folder.mkdir()
    for number in range(MANY):
        source = sounds[number % len(sounds)]
        shutil.copy(source, folder / f"{number:04}{source.suffix}")
    return folder


def probe(model: Path, clip: Path, stream: Path, job: Job) -> dict[str, Any]:
    """Measure one format in a process on one core."""
    words = ["-m", "benchmarks.serving_probe", str(model), str(clip), str(stream), str(job.rounds)]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=os.environ | ONE, capture_output=True, text=True, check=True
    )
    taken = json.loads(done.stdout.splitlines()[-1])
    return summary(taken)


def summary(taken: Mapping[str, Any]) -> dict[str, Any]:
    """Summarise the times of one process."""
    found = {"warm": milliseconds(taken["warm"]), "stream": round(taken["stream"] / STREAM, 4)}
    if taken.get("notebook"):
        rounds = (taken["notebook_rounds"], taken["warm_rounds"])
        found |= {"notebook": milliseconds(taken["notebook"]), "notebook_over_warm": ratio(*rounds)}
    return found


def command(model: Path, what: Path) -> float:
    """Time ``ser-features predict``, including start-up."""
    words = ["-c", "from pipeline.cli.main import main; main()", "predict", "--csv", "--model", str(model), str(what)]
    options: dict[str, Any] = {"cwd": ROOT, "env": os.environ, "stdout": subprocess.DEVNULL, "check": True}
    taken, _ = clocked(lambda: subprocess.run([sys.executable, *words], **options))
    return taken
