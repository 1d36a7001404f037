"""Time one bundle on one core: ``python -m benchmarks.serving_probe BUNDLE CLIP STREAM ROUNDS``.

Prints a line of JSON with seconds.
"""

import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks.timing import seconds
from pipeline.audio import decode
from pipeline.core import machine
from pipeline.serving import stream as serving_stream
from pipeline.serving.inputs import WindowPlan, prepare_inputs
from pipeline.serving.predictor import Predictor, load_predictor
from pipeline.serving.results import Prediction

CALLS = 40  # per round
SLOW = 10  # calls of the notebook per round


def main() -> None:
    """Measure a clip and a stream."""
    model, clip, stream, rounds = sys.argv[1:]
    keep_to_one_core()
    predictor = load_predictor([Path(model)])
    plan = predictor.window_plan()
    implementations: dict[str, Callable[[], Any]] = {"warm": lambda: answer(Path(clip), predictor, plan)}
    if predictor.members[0].card.runtime == "keras":
        implementations["notebook"] = notebook(Path(clip), predictor)
    taken: dict[str, Any] = {name: [] for name in implementations} | {f"{name}_rounds": [] for name in implementations}
    for predict in implementations.values():
        predict(), predict()
    for _ in range(int(rounds)):
        for name, predict in implementations.items():
            some = [seconds(predict) for _ in range(CALLS if name == "warm" else SLOW)]
            taken[name] += some
            taken[f"{name}_rounds"].append(statistics.median(some))
    taken["stream"] = seconds(lambda: listened(Path(stream), predictor))
    print(json.dumps(taken))


def keep_to_one_core() -> None:
    """Restrict this process to one core, if the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def answer(clip: Path, predictor: Predictor, plan: WindowPlan) -> Prediction:
    """Predict a file."""
    inputs = prepare_inputs(decode.read_recording(clip), predictor.input_settings, plan, name=clip.name)
    (prediction,) = predictor.predict([inputs])
    return prediction


def listened(stream: Path, predictor: Predictor) -> int:
    """Predict a stream from a file at full speed; return the number of windows."""
    blocks, rate = serving_stream.replay_file(stream, speed=0)
    return sum(1 for _ in serving_stream.predict_stream(blocks, rate, predictor, predictor.window_plan(windows=True)))


def notebook(clip: Path, predictor: Predictor) -> Callable[[], Any]:
    """Return a function that predicts as notebooks do, with librosa and ``model.predict``."""
    import librosa

    settings, network = predictor.input_settings[0].settings, predictor.members[0].models[0].network  # type: ignore[attr-defined]
    audio, view = settings.audio, settings.features.logmel

    def predict() -> Any:
        signal, rate = librosa.load(clip, sr=audio.sample_rate)
        signal, _ = librosa.effects.trim(signal, top_db=audio.trim_db)
        signal = librosa.util.fix_length(signal, size=settings.samples)
        power = librosa.feature.melspectrogram(
            y=signal, sr=rate, n_fft=view.n_fft, hop_length=view.hop, n_mels=view.n_mels
        )
        return network.predict(librosa.power_to_db(power).T[None].astype(np.float32), verbose=0)

    return predict


if __name__ == "__main__":
    machine.run_stage(main)
