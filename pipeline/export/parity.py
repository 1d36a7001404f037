"""Compare an exported model with its Keras network on real clips: probabilities, size and latency."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline import text
from pipeline.audio import decode
from pipeline.core import config, tables
from pipeline.core.errors import AudioError, StoreError
from pipeline.export.runtimes import Classifier
from pipeline.report.tables import Table
from pipeline.text import table_lines

LATENCY_CALLS = 50  # whose median is the latency
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ParityResult:
    """The model of one fold in one format, compared with its Keras network."""

    target: str
    fold: int
    seed: int | None  # None if the bundle has a single one
    numbers: str  # type of weights and activations
    size: int  # bytes of the file
    difference: float  # of probabilities, the largest
    same: float  # share of clips with the same likeliest class
    milliseconds: float  # per clip


def measure_parity(
    model: Classifier,
    expected: Array,
    samples: Array,
    *,
    path: Path,
    target: str,
    member: tuple[int, int | None],
    numbers: str,
) -> ParityResult:
    """Run a model on clips and compare its probabilities, size and latency.

    Args:
        model: loaded from ``path``.
        expected: probabilities of the Keras network, of shape ``(clips, classes)``.
        samples: of shape ``(clips, frames, bins)``.
        path: the file, for its size.
        target: name of the format.
        member: fold and, if there are several, seed.
        numbers: type of weights and activations.
    """
    found = model.predict(samples)
    return ParityResult(
        target=target,
        fold=member[0],
        seed=member[1],
        numbers=numbers,
        size=path.stat().st_size,
        difference=float(np.abs(found - expected).max()),
        same=float(np.mean(found.argmax(axis=1) == expected.argmax(axis=1))),
        milliseconds=_median_latency(model, samples),
    )


def _median_latency(model: Classifier, samples: Array) -> float:
    """Measure the median latency of a call with one clip, after a warm-up call."""
    model.predict(samples[:1])
    times = [_time_call(model, samples[[number % len(samples)]]) for number in range(LATENCY_CALLS)]
    return float(np.median(times))


def _time_call(model: Classifier, clip: Array) -> float:
    """Measure one call, in ms."""
    start = time.perf_counter()
    model.predict(clip)
    return 1000 * (time.perf_counter() - start)


def parity_table(some: Sequence[ParityResult], clips: int) -> Table:
    """Make a table with a row per model; fold and seed are named if there are several."""
    folds = len({made.fold for made in some}) > 1
    return Table(
        caption="Exported",
        head=("format", "numbers", "size", "largest difference", "same class", "ms per clip"),
        align="llrrrr",
        rows=[_parity_row(made, folds) for made in some],
        note=f"Compared over {text.format_things(clips, 'clip')}; ms: median of calls with one clip on one thread.",
    )


def _parity_row(made: ParityResult, folds: bool) -> tuple[str, ...]:
    fold, seed = f", fold {made.fold}" if folds else "", "" if made.seed is None else f", seed {made.seed}"
    name = f"{made.target}{fold}{seed}"
    figures = text.format_percent(made.same), f"{made.milliseconds:.2f}"
    return name, made.numbers, _format_bytes(made.size), f"{made.difference:.2g}", *figures


def _format_bytes(count: int) -> str:
    """Write a file size.

    >>> _format_bytes(114_688), _format_bytes(5_531_238)
    ('115 kB', '5.5 MB')
    """
    return f"{count / 1e3:,.0f} kB" if count < 1e6 else f"{count / 1e6:,.1f} MB"


def parity_lines(found: Table) -> list[str]:
    """Write a table as text, columns aligned."""
    lines = table_lines([found.head, *found.rows], found.align)
    return [*(line.replace(chr(160), " ") for line in lines), found.note]


PREDICTIONS, MANIFESTS = Path("models/predictions.parquet"), Path("data/manifest")
SAMPLE_COUNT = 64  # clips to compare with if none are named


def sample_test_clips(params: Mapping[str, Any]) -> list[Path]:
    """Find the recordings of test clips, evenly chosen from all of them.

    Raises:
        StoreError: the predictions or a manifest are missing.
    """
    frame, _, _ = tables.read_predictions(PREDICTIONS)
    rows = frame.drop_duplicates("clip_id").sort_values("clip_id").reset_index(drop=True)
    chosen = rows.iloc[_evenly_spaced(len(rows), SAMPLE_COUNT)]
    folders = config.corpus_folders(params)
    return [
        path for corpus, clips in chosen.groupby("corpus") for path in _recording_paths(str(corpus), clips, folders)
    ]


def _recording_paths(corpus: str, clips: pd.DataFrame, folders: Mapping[str, str]) -> list[Path]:
    """Find the recordings of clips of one corpus.

    Raises:
        StoreError: params.yaml no longer names the corpus.
    """
    if corpus not in folders:
        raise StoreError(
            f"{PREDICTIONS} holds clips of {corpus}, which data.corpora in params.yaml does not name: name recordings "
            "to compare with, as in 'ser-features export --to onnx clips/'."
        )
    rows = tables.read_manifest(MANIFESTS / f"{corpus}.parquet").set_index("clip_id")
    return [Path(folders[corpus], path) for path in rows.loc[clips["clip_id"], "path"]]


def _evenly_spaced(length: int, count: int) -> list[int]:
    """Choose ``count`` evenly spaced numbers below ``length``.

    >>> _evenly_spaced(9, 3), _evenly_spaced(2, 3)
    ([0, 4, 8], [0, 1])
    """
    return sorted({round(number) for number in np.linspace(0, length - 1, min(length, count))})


def compute_samples(paths: Sequence[Path], compute: Callable[[decode.Recording], Array]) -> Array:
    """Compute the model inputs of recordings. Shape ``(clips, frames, bins)``.

    Args:
        paths: the files.
        compute: the input of one recording: ``(samples, channels)`` to ``(frames, bins)``.

    Raises:
        AudioError: a file holds no usable sound.
    """
    return np.stack([compute(_decode_recording(path)) for path in paths])


def _decode_recording(path: Path) -> decode.Recording:
    """Decode a file, or refuse an empty one."""
    decoded = decode.read_recording(path)
    if not len(decoded.samples):
        raise AudioError("empty", f"{path} holds no samples: export it again.")
    return decoded
