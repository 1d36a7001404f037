"""Take the times of one bundle, in a process that keeps to one core: ``python -m benchmarks.serving_probe``.

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
from pipeline.serving.inputs import Plan, hear
from pipeline.serving.predictor import Predictor, open_all
from pipeline.serving.results import Answer

CALLS = 40  # a round
SLOW = 10  # calls a round of the way of notebooks


def main() -> None:
    """Measure a clip and a stream."""
    model, clip, stream, rounds = sys.argv[1:]
    keep_to_one_core()
    predictor = open_all([Path(model)])
    plan = predictor.plan()
    ways: dict[str, Callable[[], Any]] = {"warm": lambda: answer(Path(clip), predictor, plan)}
    if predictor.members[0].card.runtime == "keras":
        ways["notebook"] = notebook(Path(clip), predictor)
    taken: dict[str, Any] = {name: [] for name in ways} | {f"{name}_rounds": [] for name in ways}
    for way in ways.values():
        way(), way()
    for _ in range(int(rounds)):
        for name, way in ways.items():
            some = [seconds(way) for _ in range(CALLS if name == "warm" else SLOW)]
            taken[name] += some
            taken[f"{name}_rounds"].append(statistics.median(some))
    taken["stream"] = seconds(lambda: listened(Path(stream), predictor))
    print(json.dumps(taken))


def keep_to_one_core() -> None:
    """Leave this process one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def answer(clip: Path, predictor: Predictor, plan: Plan) -> Answer:
    """Go from a file to its probabilities."""
    heard = hear(decode.fetch(clip), predictor.hearings, plan, name=clip.name)
    (found,) = predictor.answers([heard])
    return found


def listened(stream: Path, predictor: Predictor) -> int:
    """Listen to a file as fast as it goes; give the number of windows."""
    blocks, rate = serving_stream.replay(stream, speed=0)
    return sum(1 for _ in serving_stream.predict_stream(blocks, rate, predictor, predictor.plan(windows=True)))


def notebook(clip: Path, predictor: Predictor) -> Callable[[], Any]:
    """Do as notebooks do: librosa for the features, ``predict`` for the answer."""
    import librosa

    hearing, network = predictor.hearings[0], predictor.members[0].models[0].network  # type: ignore[attr-defined]
    sound, view = hearing.settings.audio, hearing.settings.features.logmel

    def way() -> Any:
        signal, rate = librosa.load(clip, sr=sound.sample_rate)
        signal, _ = librosa.effects.trim(signal, top_db=sound.trim_db)
        signal = librosa.util.fix_length(signal, size=hearing.settings.samples)
        power = librosa.feature.melspectrogram(
            y=signal, sr=rate, n_fft=view.n_fft, hop_length=view.hop, n_mels=view.n_mels
        )
        return network.predict(librosa.power_to_db(power).T[None].astype(np.float32), verbose=0)

    return way


if __name__ == "__main__":
    machine.run_stage(main)
