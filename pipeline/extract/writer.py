"""Write shards while their clips are extracted: a row group is written once all its clips are in the clip cache."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Condition
from typing import Any

from pipeline.core import files
from pipeline.core.errors import StoreError
from pipeline.dataset import shards
from pipeline.extract import cache
from pipeline.signal import extractor

Partitions = Mapping[str, cache.Partition]  # by view
Records = Sequence[Mapping[str, Any]]


class StoppedError(Exception):
    """The extraction has failed: clips that are waited for will not be extracted."""


class CacheProgress:
    """How many clips of a manifest, counted from the first, are in the clip cache."""

    def __init__(self, unfinished: Iterable[int], total: int) -> None:
        """Begin with the indices of the first clips of unfinished batches, and the number of all clips."""
        self.unfinished, self.total = set(unfinished), total
        self.stopped = False
        self.changed = Condition()

    def finish(self, first: int) -> None:
        """Report that the batch whose first clip has this index is in the cache."""
        with self.changed:
            self.unfinished.discard(first)
            self.changed.notify_all()

    def stop(self) -> None:
        """Report that the extraction has failed."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def wait_for(self, clips: int) -> None:
        """Wait until so many clips are in the cache.

        Raises:
            StoppedError: the extraction has failed.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.stopped or min(self.unfinished, default=self.total) >= clips)
            if self.stopped:
                raise StoppedError


@dataclass(frozen=True)
class ShardWriter:
    """Writes one shard per view from the clip cache."""

    outputs: Mapping[str, Path]  # by view
    records: Records  # of the manifest, in the order of the shards
    keys: Sequence[extractor.ClipKeys]  # of each record
    partitions: Partitions
    settings: extractor.ExtractorSettings

    @contextmanager
    def in_background(self, progress: CacheProgress) -> Iterator[None]:
        """Write the shards while the block extracts the clips; the end of the block waits for them.

        An error in the block leaves no shard and is raised before any error of the writing, which it may have caused.

        Raises:
            StoreError: a shard could not be written.
        """
        with ThreadPoolExecutor(len(self.outputs)) as pool:
            results = [pool.submit(self.write, view, progress) for view in self.outputs]
            try:
                yield
            except BaseException:
                progress.stop()
                raise
            for result in results:
                result.result()

    def write(self, view: str, progress: CacheProgress) -> None:
        """Write the shard of a view as its clips are extracted.

        Raises:
            StoreError: rows are missing, or the shard cannot be written.
        """
        layout = extractor.shard_layout(self.settings, view)
        files.remove_stale_files(self.outputs[view])
        try:
            shards.write_shard(self.outputs[view], layout, self.row_groups(view, layout, progress))
        except StoreError as error:
            raise StoreError(f"{error} Finished work is saved: {files.write_advice(error)} and run again.") from error

    def row_groups(self, view: str, layout: shards.Layout, progress: CacheProgress) -> Iterator[shards.FeatureRows]:
        """Read the clip cache in the order of the manifest, one row group at a time."""
        step = layout.clips_per_group
        for start in range(0, len(self.records), step):
            records = self.records[start : start + step]
            keys = [clip[view] for clip in self.keys[start : start + step]]
            progress.wait_for(start + len(records))
            rows = read_rows(self.partitions[view], [key for clip in keys for key in clip.values()])
            clip_ids = [record["clip_id"] for record in records for _ in layout.augment]
            yield replace(rows, clip_id=clip_ids, variant=[variant for clip in keys for variant in clip])


def read_rows(partition: cache.Partition, keys: Sequence[str]) -> shards.FeatureRows:
    """Read rows that were in the clip cache, or have been extracted since.

    Raises:
        StoreError: some were extracted and are not there.
    """
    if partition.missing(keys):
        partition.refresh(keys)
    if missing := partition.missing(keys):
        raise StoreError(
            f"{len(missing)} {partition.identity['view']} rows just made are not in {partition.folder}: workers on "
            "other machines need a store.url that all of them reach; on one machine, check the disk."
        )
    return partition.get(keys)
