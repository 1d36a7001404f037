"""Each feature and effect, ours and librosa's alternately, on the same signals in one process with one thread."""

from collections.abc import Callable, Sequence
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from benchmarks import corpus, extraction, published_way
from benchmarks.corpus import SAME, Job
from benchmarks.timing import milliseconds, ratio, seconds
from pipeline.audio import decode
from pipeline.core import machine
from pipeline.signal import augment, extractor, preprocess, views

CLIPS = 30  # whose signals are used, in each round
RATE = SAME.audio.sample_rate
SOURCE_RATE = 48_000  # Hz, the input of resampling
SEMITONES, TEMPO, TOP_DB = 0.7, 0.9, 30.0
Array = npt.NDArray[np.float32]
Function = Callable[[Array], Any]


def our_views(*names: str) -> Function:
    """Return a function that computes views with the published settings."""
    return lambda signal: views.compute_views(signal, RATE, {name: SAME.view(name) for name in names})


def log_mel(signal: Array) -> Array:
    """Compute the log-mel view with librosa."""
    return librosa.power_to_db(librosa.feature.melspectrogram(y=signal, sr=RATE, n_mels=128))


PAIRS: dict[str, tuple[Function, Function]] = {  # ours, librosa's
    "MFCC, RMS, ZCR and log-mel": (our_views("mfcc", "logmel"), published_way.views),
    "log-mel": (our_views("logmel"), log_mel),
    "time stretch": (
        lambda signal: augment.time_stretch(signal, TEMPO),
        lambda signal: librosa.effects.time_stretch(signal, rate=TEMPO),
    ),
    "pitch shift": (
        lambda signal: augment.pitch_shift(signal, SEMITONES),
        lambda signal: librosa.effects.pitch_shift(signal, sr=RATE, n_steps=SEMITONES),
    ),
    "trim": (
        lambda signal: preprocess.trim_silence(signal, top_db=TOP_DB),
        lambda signal: librosa.effects.trim(signal, top_db=TOP_DB),
    ),
    "resample": (
        lambda signal: decode.resample(signal, SOURCE_RATE, RATE),
        lambda signal: librosa.resample(signal, orig_sr=SOURCE_RATE, target_sr=RATE),
    ),
}


def measure(job: Job) -> dict[str, Any]:
    """Return the ratio of each pair; resampling is the same code on both sides and shows the measurement noise."""
    some = signals(job)
    machine.keep_freed_memory()  # as our workers do; here librosa has it too
    with threadpool_limits(1):
        return {name: compare(ours, theirs, some, rounds=job.rounds) for name, (ours, theirs) in PAIRS.items()}


def signals(job: Job) -> list[Array]:
    """Decode, trim and crop some clips as the published systems do."""
    rows = extraction.records(job.first)
    some = [rows[index] for index in corpus.spread(len(rows), CLIPS)]
    conditioned = [
        extractor.prepare_signal(decode.read_recording(job.first.folder / row["path"]), SAME.audio) for row in some
    ]
    return [preprocess.fix_length(signal, SAME.samples) for signal in conditioned]


def compare(ours: Function, theirs: Function, clips: Sequence[Array], *, rounds: int) -> dict[str, Any]:
    """Time a pair alternately on each clip, and sum up each round."""
    for function in (ours, theirs):
        function(clips[0])
    every = np.array([one_round(ours, theirs, clips) for _ in range(rounds)])
    own, other = every.T.tolist()
    spent = {"ours": milliseconds(own, len(clips)), "librosa": milliseconds(other, len(clips))}
    return ratio(other, own) | {"milliseconds": spent}


def one_round(ours: Function, theirs: Function, clips: Sequence[Array]) -> tuple[float, float]:
    """Sum up the seconds of both over all signals, alternating the order."""
    pairs = [turn(ours, theirs, signal, swap=bool(number % 2)) for number, signal in enumerate(clips)]
    return sum(own for own, _ in pairs), sum(other for _, other in pairs)


def turn(ours: Function, theirs: Function, signal: Array, *, swap: bool) -> tuple[float, float]:
    """Time both on one signal, in the other order for `swap`."""
    if swap:
        other, own = seconds(lambda: theirs(signal)), seconds(lambda: ours(signal))
    else:
        own, other = seconds(lambda: ours(signal)), seconds(lambda: theirs(signal))
    return own, other
