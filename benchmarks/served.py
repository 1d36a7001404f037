"""Hold what a bundle says of files against what evaluate wrote: ``python -m benchmarks.served [BUNDLE]``.

Run it where ``dvc repro`` ran. Every test clip goes from its file to probabilities as ``ser-features predict`` does it.
"""

import sys
from pathlib import Path

import numpy as np

from pipeline.audio import decode
from pipeline.core import config, machine, tables
from pipeline.serving.inputs import hear
from pipeline.serving.predictor import open_all


def main() -> None:
    """Compare fold by fold and print the largest difference."""
    bundle = Path(sys.argv[1] if len(sys.argv) > 1 else "models/bundle")
    frame, written, _ = tables.read_predictions(Path("models/predictions.parquet"))
    paths = recordings()
    worst, count = 0.0, 0
    for fold, some in frame.groupby("fold"):
        with machine.suppress_stderr():
            predictor = open_all([bundle], fold=int(str(fold)))
        plan = predictor.plan()
        heard = [hear(decode.fetch(paths[name]), predictor.hearings, plan, name=name) for name in some["clip_id"]]
        found = np.stack([answer.probabilities for answer in predictor.answers(heard)])
        worst, count = max(worst, float(np.abs(found - written[some.index]).max())), count + len(some)
    print(f"{bundle}: {count:,} test clips, largest difference from evaluate {worst:.1e}")


def recordings() -> dict[str, Path]:
    """Give the file of each clip_id."""
    places = config.corpora(config.read())
    return {
        row["clip_id"]: Path(place, row["path"])
        for corpus, place in places.items()
        for row in tables.manifest_records(tables.read_manifest(Path(f"data/manifest/{corpus}.parquet")))
    }


if __name__ == "__main__":
    machine.run_stage(main)
