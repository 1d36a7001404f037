"""Compare an exported model with its network on real clips: answers, size and speed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline import text
from pipeline.audio import decode
from pipeline.core import config, tables
from pipeline.core.errors import AudioError, StoreError
from pipeline.report.tables import Table
from pipeline.text_table import table_lines

CALLS = 50  # that a latency is the median of
Array = npt.NDArray[np.float32]


class Heard(Protocol):
    """A model in any runtime."""

    def hear(self, values: Array) -> Array:
        """Give probabilities. Shape: ``(clips, frames, rows)`` to ``(clips, classes)``."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """The model of one fold in one format, and how it compares with the network of Keras."""

    target: str
    fold: int
    seed: int | None  # None where there is one
    numbers: str  # what weights and activations are
    size: int  # bytes of the file
    difference: float  # the largest, of probabilities
    same: float  # share of clips with the same answer
    milliseconds: float  # a clip

    @property
    def within(self) -> str:
        """Write the largest difference.

        >>> Made(target="", fold=0, seed=None, numbers="", size=0, difference=1.19e-7, same=1, milliseconds=0).within
        '1.2e-07'
        """
        return f"{self.difference:.2g}"


def compare_answers(
    model: Heard,
    wanted: Array,
    samples: Array,
    *,
    path: Path,
    target: str,
    member: tuple[int, int | None],
    numbers: str,
) -> Made:
    """Run a model on clips and compare its answers.

    Args:
        model: as it was opened from ``path``.
        wanted: probabilities by the network of Keras, of shape ``(clips, classes)``.
        samples: of shape ``(clips, frames, rows)``.
        path: the file, for its size.
        target: the name of the format.
        member: its fold and, where there are several, its seed.
        numbers: what weights and activations are.
    """
    found = model.hear(samples)
    return Made(
        target=target,
        fold=member[0],
        seed=member[1],
        numbers=numbers,
        size=path.stat().st_size,
        difference=float(np.abs(found - wanted).max()),
        same=float(np.mean(found.argmax(axis=1) == wanted.argmax(axis=1))),
        milliseconds=milliseconds(model, samples),
    )


def milliseconds(model: Heard, samples: Array) -> float:
    """Measure the median time of a call with one clip, after a first one that does not count."""
    model.hear(samples[:1])
    times = [once(model, samples[[number % len(samples)]]) for number in range(CALLS)]
    return float(np.median(times))


def once(model: Heard, clip: Array) -> float:
    """Measure one call in ms."""
    start = time.perf_counter()
    model.hear(clip)
    return 1000 * (time.perf_counter() - start)


def parity_table(some: Sequence[Made], clips: int) -> Table:
    """Write a row a model; fold and seed are named where there are several."""
    folds = len({made.fold for made in some}) > 1
    return Table(
        caption="Exported",
        head=("format", "numbers", "size", "largest difference", "same answer", "ms a clip"),
        align="llrrrr",
        rows=[row(made, folds) for made in some],
        note=f"Compared over {text.format_things(clips, 'clip')}; ms: median of calls with one clip on one thread.",
    )


def row(made: Made, folds: bool) -> tuple[str, ...]:
    """Write one model; a difference of nothing is that of the original."""
    fold, seed = f", fold {made.fold}" if folds else "", "" if made.seed is None else f", seed {made.seed}"
    name = f"{made.target}{fold}{seed}"
    figures = text.format_percent(made.same), f"{made.milliseconds:.2f}"
    return name, made.numbers, size(made.size), made.within if made.difference else "0", *figures


def size(count: int) -> str:
    """Write a number of bytes.

    >>> size(114_688), size(5_531_238)
    ('115 kB', '5.5 MB')
    """
    return f"{count / 1e3:,.0f} kB" if count < 1e6 else f"{count / 1e6:,.1f} MB"


def parity_lines(found: Table) -> list[str]:
    """Write a table as text, columns aligned."""
    lines = table_lines([found.head, *found.rows], found.align)
    return [*(line.replace(chr(160), " ") for line in lines), found.note]


PREDICTIONS, MANIFESTS = Path("models/predictions.parquet"), Path("data/manifest")
COUNT = 64  # clips, where none are named


class Hears(Protocol):
    """What makes the inputs of a model: `hearing.Hearing`."""

    def values(self, recording: decode.Recording) -> Array:
        """Make what the model takes. Shape: ``(samples, channels)`` to ``(frames, rows)``."""


def unheard(params: Mapping[str, Any]) -> list[Path]:
    """Find the recordings of test clips, spread over all of them.

    Raises:
        StoreError: the predictions or a manifest are missing.
    """
    frame, _, _ = tables.read_predictions(PREDICTIONS)
    rows = frame.drop_duplicates("clip_id").sort_values("clip_id").reset_index(drop=True)
    chosen = rows.iloc[spread(len(rows), COUNT)]
    places = config.corpora(params)
    return [path for corpus, some in chosen.groupby("corpus") for path in located(str(corpus), some, places)]


def located(corpus: str, clips: pd.DataFrame, places: Mapping[str, str]) -> list[Path]:
    """Find the recordings of clips of one corpus.

    Raises:
        StoreError: params.yaml has another corpus by now.
    """
    if corpus not in places:
        raise StoreError(
            f"{PREDICTIONS} holds clips of {corpus}, which data.corpora in params.yaml does not name: name recordings "
            "to compare with, as in 'ser-features export --to onnx clips/'."
        )
    rows = tables.read_manifest(MANIFESTS / f"{corpus}.parquet").set_index("clip_id")
    return [Path(places[corpus], path) for path in rows.loc[clips["clip_id"], "path"]]


def spread(length: int, count: int) -> list[int]:
    """Choose ``count`` numbers below ``length``, evenly.

    >>> spread(9, 3), spread(2, 3)
    ([0, 4, 8], [0, 1])
    """
    return sorted({round(number) for number in np.linspace(0, length - 1, min(length, count))})


def sample_values(paths: Sequence[Path], hearing: Hears) -> Array:
    """Make the inputs of a model. Shape ``(clips, frames, rows)``.

    Raises:
        AudioError: a file holds no usable sound.
    """
    return np.stack([hearing.values(recording(path)) for path in paths])


def recording(path: Path) -> decode.Recording:
    """Decode a file that holds sound."""
    found = decode.fetch(path)
    if not len(found.samples):
        raise AudioError("empty", f"{path} holds no samples: export it again.")
    return found
