"""Write shards while their clips are computed: a row group goes out once all its clips are in the cache."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from typing import Any

import numpy as np

from pipeline.core import files
from pipeline.core.errors import StoreError
from pipeline.dataset import shards
from pipeline.extract import cache
from pipeline.signal import extractor

GROUP = 16 * 2**20  # bytes of tensors in a row group: large enough to compress, small enough to hold
Drawers = Mapping[str, cache.Drawer]
Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Work:
    """What the shards are made of: the rows of the manifest in order, and their keys and drawers by view."""

    outputs: Mapping[str, Path]
    rows: Records
    keys: Sequence[extractor.Keys]
    drawers: Drawers
    settings: extractor.Recipe


class StoppedError(Exception):
    """There is no use in waiting for clips that nobody makes any more."""


class Front:
    """How far the clips of a manifest are in the cache, counted from the first."""

    def __init__(self, unfinished: Iterable[int], total: int) -> None:
        """Begin with the numbers of the clips at which unfinished runs begin, and the number of all clips."""
        self.unfinished, self.total = set(unfinished), total
        self.stopped = False
        self.moved = Condition()

    def finish(self, first: int) -> None:
        """Say that the run that begins with this clip is in the cache."""
        with self.moved:
            self.unfinished.discard(first)
            self.moved.notify_all()

    def stop(self) -> None:
        """Say that no more will come."""
        with self.moved:
            self.stopped = True
            self.moved.notify_all()

    def reach(self, clips: int) -> None:
        """Wait until so many clips are in the cache.

        Raises:
            StoppedError: they will never be.
        """
        with self.moved:
            self.moved.wait_for(lambda: self.stopped or min(self.unfinished, default=self.total) >= clips)
            if self.stopped:
                raise StoppedError


@contextmanager
def writing(work: Work, front: Front) -> Iterator[None]:
    """Write the shards in the background of a block that makes the clips; the end of the block waits for them.

    An error in the block leaves no shard and comes before any error of the writing, of which it may be the reason.

    Raises:
        StoreError: a shard could not be written.
    """
    with ThreadPoolExecutor(len(work.outputs)) as pool:
        results = [pool.submit(write, work, view, front) for view in work.outputs]
        try:
            yield
        except BaseException:
            front.stop()
            raise
        for result in results:
            result.result()


def write(work: Work, view: str, front: Front) -> None:
    """Write the shard of a view as far as the front reaches, then wait for it; what fails is put in a sentence.

    Raises:
        StoreError: rows are not there, or the shard cannot be written.
    """
    layout = extractor.layout(work.settings, view)
    files.remove_leftovers(work.outputs[view])
    try:
        shards.write(work.outputs[view], layout, groups(work, view, layout, front))
    except StoreError as error:
        raise StoreError(f"{error} What was finished is kept: {files.write_advice(error)} and run again.") from error


def groups(work: Work, view: str, layout: shards.Layout, front: Front) -> Iterator[shards.Rows]:
    """Read the cache in the order of the manifest, a row group at a time."""
    variants = len(layout.augment)
    bytes_a_clip = variants * layout.shape[0] * layout.shape[1] * np.dtype(layout.dtype).itemsize
    step = max(1, GROUP // bytes_a_clip)
    for start in range(0, len(work.rows), step):
        rows = work.rows[start : start + step]
        keys = [own[view] for own in work.keys[start : start + step]]
        front.reach(start + len(rows))
        names = [key for own in keys for key in own.values()]
        entry = fetch(work.drawers[view], names)
        yield shards.Rows(
            clip_id=[row["clip_id"] for row in rows for _ in range(variants)],
            variant=[variant for own in keys for variant in own],
            key=names,
            valid_frames=entry.valid_frames,
            tensors=entry.tensors,
        )


def fetch(drawer: cache.Drawer, names: Sequence[str]) -> extractor.Entry:
    """Get rows of the cache, which are there or were made since it was last looked at.

    Raises:
        StoreError: some were made and are not there.
    """
    if drawer.missing(names):
        drawer.look(names)
    if missing := drawer.missing(names):
        raise StoreError(
            f"{len(missing)} {drawer.identity['view']} rows just made are not in {drawer.folder}: workers on other "
            "machines need a store.url that all of them reach; on one machine, check the disk."
        )
    return drawer.get(names)
