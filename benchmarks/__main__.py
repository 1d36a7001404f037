"""Time our extraction against the published way, clip by clip in turn, in one process: ``make bench``.

Both make the same: two views of four rows a clip, 2.5 s at 22,050 Hz. Audio comes from ``SER_CORPORA``, else the demo.
"""

import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks import published_way
from pipeline.errors import AudioError
from pipeline.signal import augment, conditioning, frontend
from pipeline.store import audio, recipe

CLIPS = 60
RESULTS = Path(__file__).with_name("results.json")
SAME = recipe.Recipe(
    seed=42,
    audio=conditioning.Audio(sample_rate=22_050, trim_db=None, offset=0.6, seconds=2.5),
    augment=augment.Augment(noise=augment.Noise(snr_db=None, peak_share=(0.0, 0.035)), pitch=0.7),
    features=recipe.Features(
        mfcc=frontend.Mfcc(n_fft=2048, hop=512, n_mels=128), logmel=frontend.LogMel(n_fft=2048, hop=512, n_mels=128)
    ),
)


def ours(path: Path) -> Any:
    """Make both views of four rows of a file."""
    digest = hashlib.sha256(path.name.encode()).hexdigest()
    return recipe.make(audio.load(path, SAME.audio.sample_rate), SAME, digest, ("mfcc", "logmel"))


def theirs(path: Path) -> Any:
    """Make the same the published way."""
    return published_way.clip(path, np.random.default_rng(0))


def seconds(function: Callable[[Path], Any], path: Path) -> float:
    """Time one call."""
    start = time.perf_counter()
    function(path)
    return time.perf_counter() - start


def clips() -> list[Path]:
    """Spread the sample over speakers."""
    root = Path(os.environ.get("SER_CORPORA", "data/raw/demo"))
    every = sorted(path for path in root.rglob("*") if path.suffix in {".wav", ".flac"})
    whole = [path for path in every[:: max(1, len(every) // CLIPS)] if readable(path)]
    if len(whole) < 10:
        raise SystemExit(f"{root} holds {len(whole)} clips, 10 are needed: run 'make repro' first or set SER_CORPORA.")
    return whole[:CLIPS]


def readable(path: Path) -> bool:
    """Say whether a file is one of the whole ones and long enough for the published window."""
    try:
        return len(audio.load(path, 16_000)) > 16_000
    except AudioError:
        return False


def main() -> None:
    """Measure, print and write benchmarks/results.json."""
    paths = clips()
    with threadpool_limits(1):
        for warm in (ours, theirs):
            warm(paths[0])
        pairs = [(seconds(ours, path), seconds(theirs, path)) for path in tqdm(paths, unit="clip", disable=None)]
    ratios = sorted(other / own for own, other in pairs)
    results = {
        "clips": len(pairs),
        "ours_ms": round(1000 * statistics.median(own for own, _ in pairs), 2),
        "published_ms": round(1000 * statistics.median(other for _, other in pairs), 2),
        "ratio": {"median": round(statistics.median(ratios), 2), "lowest": round(ratios[0], 2)},
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"{len(pairs)} clips, both views of 4 rows each, one process, in turn")
    print(f"ours {results['ours_ms']} ms, published way {results['published_ms']} ms a clip (medians)")
    print(f"ratio: {results['ratio']['median']} (median), {results['ratio']['lowest']} (lowest)")


if __name__ == "__main__":
    main()
