"""What a worker process does: extract the missing rows of a batch of clips and store them as segments.

Arrays never travel between processes: a worker gets paths and keys, and returns a `BatchResult`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.core import errors, machine
from pipeline.core.errors import AudioError
from pipeline.dataset.shards import FeatureRows
from pipeline.extract import cache as extract_cache
from pipeline.extract.storage import Storage
from pipeline.signal import extractor


@dataclass(frozen=True)
class ClipTask:
    """One clip to extract, and the keys of its missing rows by view and variant."""

    path: str
    sha256: str
    samples_sha256: str
    keys: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Batch:
    """Consecutive clips to extract."""

    tasks: tuple[ClipTask, ...]
    first: int = 0  # index in the manifest of the first clip of the batch

    @property
    def keys(self) -> dict[str, list[str]]:
        """All missing rows by view, clip by clip."""
        views = dict.fromkeys(view for task in self.tasks for view in task.keys)
        return {view: [key for task in self.tasks for key in task.keys.get(view, {}).values()] for view in views}

    @property
    def name(self) -> str:
        """Name of the batch, the same in every process that plans it."""
        return hashlib.sha256("".join(key for keys in self.keys.values() for key in keys).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class BatchResult:
    """The outcome of a batch."""

    clips: int
    made: int  # clips extracted by this process
    failures: tuple[str, ...] = ()  # a message for each clip that could not be read
    first: int = 0  # index in the manifest of the first clip of the batch
    busy: bool = False  # whether another process is extracting it
    warnings: tuple[tuple[str, str], ...] = ()  # subject and message, see `errors.warn_once`


def process_batch(
    batch: Batch, *, folder: Path, settings: extractor.ExtractorSettings, storage: Storage, wait: bool = True
) -> BatchResult:
    """Extract the rows of a batch that are not in the clip cache yet, and store them as segments.

    If another process is extracting the batch, ``wait`` for it, or return at once that it is busy.
    """
    with errors.collect_warnings() as warnings:
        result = _process_locked(batch, folder, settings, storage, wait=wait)
    return replace(result, warnings=tuple(warnings.items()))


def _process_locked(
    batch: Batch, folder: Path, settings: extractor.ExtractorSettings, storage: Storage, *, wait: bool
) -> BatchResult:
    machine.keep_freed_memory()
    identities = {view: extractor.view_identity(settings, view) for view in batch.keys}
    with storage.lock(batch.name, wait=wait) as held:
        if not held:
            return BatchResult(0, 0, first=batch.first, busy=True)
        missing = {
            view for view, keys in batch.keys.items() if not extract_cache.has_segment(storage, identities[view], keys)
        }
        tasks = [
            replace(task, keys={view: keys for view, keys in task.keys.items() if view in missing})
            for task in batch.tasks
            if missing & task.keys.keys()
        ]
        results = [extract_clip(task, folder, settings) for task in tasks]
        done = [(task, views) for task, views in zip(tasks, results, strict=True) if not isinstance(views, str)]
        blocks = {view: rows for view in identities if (rows := join_clips(done, view))}
        written = [extract_cache.write_rows(storage, identities[view], rows) for view, rows in blocks.items()]
        for partition, name in written:  # after all are on this machine, since the shared storage may be unreachable
            storage.upload(partition, name)
    failures = tuple(result for result in results if isinstance(result, str))
    return BatchResult(len(batch.tasks), len(done), failures, batch.first)


def extract_clip(
    task: ClipTask, folder: Path, settings: extractor.ExtractorSettings
) -> dict[str, extractor.ClipFeatures] | str:
    """Extract the missing rows of one clip, or return the message why it cannot be read."""
    try:
        recording = extractor.decode_clip(folder / task.path, settings.audio, sha256=task.sha256)
    except AudioError as error:
        return str(error)
    wanted = {view: tuple(keys) for view, keys in task.keys.items()}
    return extractor.extract_features(recording, settings, task.samples_sha256, wanted)


def join_clips(done: Sequence[tuple[ClipTask, Mapping[str, extractor.ClipFeatures]]], view: str) -> FeatureRows | None:
    """Join the rows of one view of several clips; None if there are none."""
    clips = [(task.keys[view], views[view]) for task, views in done if view in views]
    if not clips:
        return None
    return FeatureRows(
        key=[key for keys, _ in clips for key in keys.values()],
        tensors=np.concatenate([features.tensors for _, features in clips]),
        valid_frames=np.concatenate([features.valid_frames for _, features in clips]),
    )
