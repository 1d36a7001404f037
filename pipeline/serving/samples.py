"""Real clips, as a bundle hears them: what exported models are compared and calibrated on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline import config
from pipeline.errors import AudioError, StoreError
from pipeline.store import audio, manifest, predictions

PREDICTIONS, MANIFESTS = Path("models/predictions.parquet"), Path("data/manifest")
COUNT = 64  # clips, where none are named
Array = npt.NDArray[np.float32]


class Hears(Protocol):
    """What makes the inputs of a model: `hearing.Hearing`."""

    def values(self, recording: audio.Recording) -> Array:
        """Make what the model takes. Shape: ``(samples, channels)`` to ``(frames, rows)``."""


def unheard(params: Mapping[str, Any]) -> list[Path]:
    """Find the recordings of test clips, spread over all of them.

    Raises:
        StoreError: the predictions or a manifest are missing.
    """
    frame, _, _ = predictions.read(PREDICTIONS)
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
    rows = manifest.read(MANIFESTS / f"{corpus}.parquet").set_index("clip_id")
    return [Path(places[corpus], path) for path in rows.loc[clips["clip_id"], "path"]]


def spread(length: int, count: int) -> list[int]:
    """Choose ``count`` numbers below ``length``, evenly.

    >>> spread(9, 3), spread(2, 3)
    ([0, 4, 8], [0, 1])
    """
    return sorted({round(number) for number in np.linspace(0, length - 1, min(length, count))})


def values(paths: Sequence[Path], hearing: Hears) -> Array:
    """Make the inputs of a model. Shape ``(clips, frames, rows)``.

    Raises:
        AudioError: a file holds no usable sound.
    """
    return np.stack([hearing.values(recording(path)) for path in paths])


def recording(path: Path) -> audio.Recording:
    """Decode a file that holds sound."""
    found = audio.fetch(path)
    if not len(found.samples):
        raise AudioError("empty", f"{path} holds no samples: export it again.")
    return found
