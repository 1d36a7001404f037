"""Compare the predictions of a bundle with those of evaluate: ``python -m benchmarks.served [BUNDLE]``.

Run it where ``dvc repro`` ran. Every test clip is predicted from its file as by ``ser-features predict``.
"""

import sys
from pathlib import Path

import numpy as np

from pipeline.audio import decode
from pipeline.core import config, machine, tables
from pipeline.serving.inputs import prepare_inputs
from pipeline.serving.predictor import load_predictor


def main() -> None:
    """Compare fold by fold and print the largest difference."""
    bundle = Path(sys.argv[1] if len(sys.argv) > 1 else "models/bundle")
    frame, written, _ = tables.read_predictions(Path("models/predictions.parquet"))
    paths = recordings()
    worst, count = 0.0, 0
    for fold, some in frame.groupby("fold"):
        with machine.suppress_stderr():
            predictor = load_predictor([bundle], fold=int(str(fold)))
        plan, settings = predictor.window_plan(), predictor.input_settings
        inputs = [
            prepare_inputs(decode.read_recording(paths[name]), settings, plan, name=name) for name in some["clip_id"]
        ]
        found = np.stack([prediction.probabilities for prediction in predictor.predict(inputs)])
        worst, count = max(worst, float(np.abs(found - written[some.index]).max())), count + len(some)
    print(f"{bundle}: {count:,} test clips, largest difference from evaluate {worst:.1e}")


def recordings() -> dict[str, Path]:
    """Return the file of each clip_id."""
    folders = config.corpus_folders(config.read_params())
    return {
        row["clip_id"]: Path(folder, row["path"])
        for corpus, folder in folders.items()
        for row in tables.manifest_records(tables.read_manifest(Path(f"data/manifest/{corpus}.parquet")))
    }


if __name__ == "__main__":
    machine.run_stage(main)
