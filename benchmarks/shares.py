"""Shares of the extraction time: the functions of a run in one process are timed when they are called."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from unittest import mock

from threadpoolctl import threadpool_limits

from benchmarks import corpus, extraction
from benchmarks.corpus import Job
from pipeline.audio import decode
from pipeline.extract import cache, stage, worker, writer
from pipeline.signal import augment, extractor, stft, views

REST = "rest"
STEPS: dict[str, tuple[tuple[Any, Callable[..., Any]], ...]] = {  # step -> where functions are called by, and which
    "read and check the file": ((decode, decode.read_recording),),
    "decode": ((decode, decode.decode_audio),),
    "mix, resample, trim": ((extractor, extractor.prepare_signal),),
    "noise": ((augment, augment.add_noise_at_snr), (augment, augment.add_noise_at_peak_share)),
    "vocoder": ((augment, augment.analyse_signal), (augment, augment.pitch_shift), (augment, augment.time_stretch)),
    "STFT, mel bands": ((views, stft.band_power), (augment, stft.stft_planes)),  # one loop does both
    "dB, DCT, RMS, zero crossings": ((views, views.compute_views),),
    "names, look-up": ((stage, stage.clip_keys), (cache.Partition, cache.Partition.refresh), (stage, stage.clip_task)),
    "write segments": ((cache, cache.write_rows), (worker, worker.join_clips)),
    "write shards": ((writer.ShardWriter, writer.ShardWriter.write),),
}


@dataclass
class Clock:
    """Seconds by step, without those of nested steps."""

    spent: dict[str, float] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)
    since: float = 0.0

    def advance(self) -> None:
        """Add the time since the last call to the innermost open step."""
        now = time.perf_counter()
        if self.open:
            self.spent[self.open[-1]] = self.spent.get(self.open[-1], 0.0) + now - self.since
        self.since = now

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time of the block to a step."""
        self.advance()
        self.open.append(name)
        try:
            yield
        finally:
            self.advance()
            self.open.pop()

    def timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Wrap a function so that its calls are added to a step."""

        @wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            with self.step(name):
                return function(*args, **options)

        return call


def measure(job: Job) -> dict[str, Any]:
    """Return the shares with the settings of params.yaml and with the published ones."""
    return {
        "params.yaml": of_recipe(job, corpus.standard(), "standard"),
        "published": of_recipe(job, corpus.SAME, "same"),
        "clips": corpus.count(job.first),
    }


def of_recipe(job: Job, settings: extractor.ExtractorSettings, name: str) -> dict[str, float]:
    """Extract twice, into two empty caches, and return the shares of the second run, which sum to 1."""
    clock = Clock()
    with threadpool_limits(1):
        extraction.run(extraction.warm(job), job.scratch / f"shares/warm-{name}", settings=settings, workers=1)
        with watched(clock), clock.step(REST):
            extraction.run(job.first, job.scratch / f"shares/{name}", settings=settings, workers=1)
    total = sum(clock.spent.values())
    return {step: round(clock.spent.get(step, 0.0) / total, 4) for step in (*STEPS, REST)}


@contextmanager
def watched(clock: Clock) -> Iterator[None]:
    """Time the steps within the block."""
    with ExitStack() as stack:
        for name, functions in STEPS.items():
            for owner, function in functions:
                stack.enter_context(mock.patch.object(owner, function.__name__, clock.timed(function, name)))
        stack.enter_context(mock.patch.object(writer.ShardWriter, "in_background", afterwards))
        yield


@contextmanager
def afterwards(shard_writer: writer.ShardWriter, progress: writer.CacheProgress) -> Iterator[None]:
    """Write the shards after the block instead of in parallel, because a `Clock` follows one thread."""
    yield
    for view in shard_writer.outputs:
        shard_writer.write(view, progress)
