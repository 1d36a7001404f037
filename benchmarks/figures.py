"""The labelled ratios, times and sizes of results.json, for the tables and the figure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

Results = Mapping[str, Any]
STEPS = {  # steps of `shares` that are shown together
    "decode": ("read and check the file", "decode"),
    "mix, resample, trim": ("mix, resample, trim",),
    "noise": ("noise",),
    "vocoder": ("vocoder",),
    "STFT, mel": ("STFT, mel bands",),
    "dB, DCT, RMS, ZCR": ("dB, DCT, RMS, zero crossings",),
    "write": ("write segments", "write shards"),
    "rest": ("names, look-up", "rest"),
}


@dataclass(frozen=True)
class Times:
    """A speed-up: how many times as long the other implementation takes as ours."""

    label: str
    other: str
    path: str  # in results.json
    wanted: float | None = None  # the target, at least
    median: float = 0.0
    lowest: float = 0.0


@dataclass(frozen=True)
class Amount:
    """A time or a size."""

    label: str
    unit: str
    path: str
    wanted: float | None = None  # the target, at most
    value: float = 0.0


RATIOS = (
    Times("extraction, to finished shards", "the published way", "extraction/shards", 5.0),
    Times("extraction, to arrays", "the published way", "extraction/arrays", 6.0),
    Times("MFCC, RMS, ZCR and log-mel", "librosa", "rows/MFCC, RMS, ZCR and log-mel"),
    Times("log-mel", "librosa", "rows/log-mel"),
    Times("time stretch", "librosa", "rows/time stretch"),
    Times("pitch shift", "librosa", "rows/pitch shift"),
    Times("trim", "librosa", "rows/trim"),
    Times("resample", "librosa", "rows/resample"),
    Times("extraction, all cached", "the first run", "resuming/call/cold_over_cached", 3.0),
    Times("the same, whole command", "the first run", "resuming/command/cold_over_cached", 3.0),
    Times("32 random rows, as stored", "Parquet", "loading/batch/parquet_over_stored"),
    Times("32 random rows, as float32", "Parquet", "loading/batch/parquet_over_float32"),
    Times("whole table, as stored", "CSV", "loading/whole/csv_over_stored", 100.0),
    Times("whole table, as float32", "CSV", "loading/whole/csv_over_float32"),
    Times("one clip, file to prediction", "a notebook", "serving/formats/keras/notebook_over_warm"),
)
AMOUNTS = (
    Amount("extract, empty cache", "s", "resuming/call/seconds/cold"),
    Amount("extract, all cached", "s", "resuming/call/seconds/cached"),
    Amount("extract, one clip added", "s", "resuming/call/seconds/one_added"),
    Amount("the whole command, empty cache", "s", "resuming/command/seconds/cold"),
    Amount("the whole command, all cached", "s", "resuming/command/seconds/cached"),
    Amount("the whole command, one clip added", "s", "resuming/command/seconds/one_added", 5.0),
    Amount("32 random rows, as stored", "ms", "loading/batch/milliseconds/stored", 0.2),
    Amount("32 random rows, as float32", "ms", "loading/batch/milliseconds/float32", 1.0),
    Amount("32 random rows, as Keras gets them", "ms", "loading/batch/milliseconds/keras"),
    Amount("one clip, file to prediction, warm, one core", "ms", "serving/formats/keras/warm", 20.0),
    Amount("the same, librosa and model.predict", "ms", "serving/formats/keras/notebook"),
    Amount("an epoch of crnn on TensorFlow, relative to a bare script", "×", "training/ours_over_bare/median", 1.1),
    Amount("a second of a stream, one core", "s", "serving/formats/keras/stream", 0.1),
)
PEAK = 600.0  # MB


def ratios(results: Results) -> list[Times]:
    """List the ratios of the parts that were run."""
    found = [(each, find(results, each.path)) for each in RATIOS]
    return [replace(each, median=value["median"], lowest=value["lowest"]) for each, value in found if value]


def amounts(results: Results) -> list[Amount]:
    """List the times and sizes of the parts that were run."""
    found = [(each, find(results, each.path)) for each in (*AMOUNTS, *peaks(results))]
    return [replace(each, value=value) for each, value in found if value is not None]


def peaks(results: Results) -> list[Amount]:
    """List the peak memory at each size."""
    kinds = {"worker": "a worker", "main": "the main process"}
    return [
        Amount(f"peak memory of {words}, {int(clips):,} clips", "MB", f"memory/megabytes/{clips}/{kind}", PEAK)
        for kind, words in kinds.items()
        for clips in find(results, "memory/megabytes") or ()
    ]


def shares(results: Results) -> dict[str, dict[str, float]]:
    """Return the shares of the time of an extraction, by settings and by the steps of `STEPS`."""
    every = {name: each for name, each in results.get("shares", {}).items() if isinstance(each, Mapping)}
    return {
        name: {step: sum(each[part] for part in parts) for step, parts in STEPS.items()} for name, each in every.items()
    }


def find(results: Results, path: str) -> Any:
    """Look up a value; None if it is missing.

    >>> find({"a": {"b": 1}}, "a/b"), find({}, "a/b")
    (1, None)
    """
    value: Any = results
    for name in path.split("/"):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
