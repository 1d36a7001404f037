"""Stage ``extract``: write the feature shards of one corpus, all views in one pass.

With ``--shard 2/8``, a job of an array extracts the second eighth of the clips into the clip cache and writes no shard.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import parallel
from pipeline.core import config, errors, tables
from pipeline.core.errors import SerError, SettingError
from pipeline.extract import cache, cluster, worker, writer
from pipeline.extract.storage import Storage, StorageSettings, write_references
from pipeline.extract.worker import Batch, BatchResult, ClipTask
from pipeline.extract.writer import Partitions, Records
from pipeline.signal import extractor, stft
from pipeline.signal.settings import variant_names


def run(
    folder: Path,
    source: Path,
    outputs: Mapping[str, Path],
    *,
    settings: extractor.ExtractorSettings,
    storage: Storage,
    executor: parallel.Executor,
    part: tuple[int, int] | None = None,
) -> int:
    """Write one shard per view for the usable clips of the manifest ``source``; return how many were extracted.

    Args:
        folder: of the corpus.
        source: its manifest.
        outputs: the shard of each view.
        settings: of the extractor.
        storage: of the clip cache.
        executor: runs the work.
        part: ``(i, N)`` to extract the i-th of N parts of the clips and write no shard.

    Raises:
        SerError: some files could not be read; the others are in the cache by then.
    """
    records = tables.manifest_records(tables.usable_clips(tables.read_manifest(source)).sort_values("clip_id"))
    _refuse_offset(records, settings.audio.offset)
    records = records[part[0] - 1 :: part[1]] if part else records
    keys = clip_keys(records, settings, outputs)
    partitions = {view: cache.Partition(storage, extractor.view_identity(settings, view)) for view in outputs}
    for view, partition in partitions.items():
        partition.refresh(_view_keys(keys, view))
    tasks = [clip_task(record, own, partitions) for record, own in zip(records, keys, strict=True)]
    count = sum(1 for task in tasks if task.keys)
    notes = stft.empty_band_notes([settings.view(view) for view in outputs], settings.audio.sample_rate)
    print(*notes, _plan_text(source.stem, len(records), count, settings, outputs), sep="\n", flush=True)
    work = make_batches(tasks)
    progress = writer.CacheProgress((batch.first for batch in work), len(records))
    process = partial(worker.process_batch, folder=folder.absolute(), settings=settings, storage=storage)
    shard_writer = writer.ShardWriter(outputs, records, keys, partitions, settings)
    with nullcontext() if part else shard_writer.in_background(progress):
        _fill_cache(work, process, executor, progress, label=f"extract {source.stem}")
    if not part:
        write_references(
            storage,
            {outputs[view]: (each.name, each.segments_of(_view_keys(keys, view))) for view, each in partitions.items()},
        )
    return count


def _refuse_offset(records: Records, offset: float) -> None:
    """Check that the offset does not skip all of every clip.

    Raises:
        SettingError: no clip is longer than the offset.
    """
    longest = max((record["seconds"] or 0.0 for record in records), default=offset)
    if offset and longest <= offset:
        raise SettingError(
            f"params.yaml: audio.offset is {offset} s, but the longest clip lasts {longest:.3g} s: lower it."
        )


def clip_keys(
    records: Records, settings: extractor.ExtractorSettings, views: Mapping[str, Path]
) -> list[extractor.ClipKeys]:
    """Return the keys of all rows of all clips."""
    recordings = ((record["samples_sha256"], int(record["sample_rate"])) for record in records)
    return list(extractor.row_keys(settings, views, recordings))


def _view_keys(keys: Sequence[extractor.ClipKeys], view: str) -> list[str]:
    """Return the keys of one view, clip by clip."""
    return [key for own in keys for key in own[view].values()]


def clip_task(record: Mapping[str, Any], keys: extractor.ClipKeys, partitions: Partitions) -> ClipTask:
    """Return what is missing of one clip."""
    missing = {view: set(partition.missing(keys[view].values())) for view, partition in partitions.items()}
    wanted = {view: {name: key for name, key in keys[view].items() if key in missing[view]} for view in keys}
    return ClipTask(
        record["path"], record["sha256"], record["samples_sha256"], {view: own for view, own in wanted.items() if own}
    )


def make_batches(tasks: Sequence[ClipTask]) -> list[Batch]:
    """Split the work into runs of clips, each of which makes one segment per view.

    The runs depend on the whole list, not on what is missing, so that simultaneous extractions have the same batches.
    """
    size = min(64, max(4, -(-len(tasks) // 64)))
    runs = {start: tasks[start : start + size] for start in range(0, len(tasks), size)}
    wanted = {start: tuple(task for task in run if task.keys) for start, run in runs.items()}
    return [Batch(run, first=start) for start, run in wanted.items() if run]


def _fill_cache(
    work: Sequence[Batch],
    process: Callable[..., BatchResult],
    executor: parallel.Executor,
    progress: writer.CacheProgress,
    *,
    label: str,
) -> None:
    """Extract what is missing into the clip cache; files that cannot be read do not stop the others.

    Batches that another process is extracting are left to it until all others are done.

    Raises:
        SerError: some files could not be read.
    """
    failures: list[str] = []
    total = _process_batches(partial(process, wait=False), work, executor, progress, failures, label=label)
    if left := [batch for batch in work if batch.first in progress.unfinished]:
        _process_batches(process, left, executor, progress, failures, label=f"{label}, begun elsewhere")
    if failures:
        raise SerError(f"{len(failures)} of {total} clips could not be read, first: {min(failures)}")


def _process_batches(
    process: Callable[[Batch], BatchResult],
    work: Sequence[Batch],
    executor: parallel.Executor,
    progress: writer.CacheProgress,
    failures: list[str],
    *,
    label: str,
) -> int:
    """Have batches extracted, report them as finished, and collect failures; return the number of clips."""
    total = sum(len(batch.tasks) for batch in work)
    for result in parallel.parallel_map(
        process, work, crew=executor, label=label, total=total, size=lambda result: result.clips
    ):
        for subject, message in result.warnings:
            errors.warn_once(subject, message)
        failures += result.failures
        if failures:
            progress.stop()
        if not result.busy:
            progress.finish(result.first)
    return total


def _plan_text(
    corpus: str, clips: int, todo: int, settings: extractor.ExtractorSettings, views: Mapping[str, Path]
) -> str:
    """Return the line that is printed before the work."""
    size = todo * sum(extractor.shard_layout(settings, view).clip_bytes for view in views)
    rows = len(variant_names(settings.augment))
    work = f"{todo} to extract (at most {size / 2**20:.0f} MiB)"
    return f"{corpus}: {clips} clips × {rows} rows, {clips - todo} from the clip cache, {work}"


def _array_part(text: str) -> tuple[int, int]:
    """Parse ``i/N``.

    >>> _array_part("2/8")
    (2, 8)
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected i/N with i from 1 to N, such as 2/8")
    return int(number), int(count)


def main() -> None:
    """Extract the corpus named on the command line with the settings of params.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.extract", description=__doc__)
    parser.add_argument("corpus")
    parser.add_argument(
        "--shard", type=_array_part, metavar="i/N", help="extract this part of the clips, write no shard"
    )
    options = parser.parse_args()
    params = config.read_params()
    execute = config.read_section(parallel.Execute, params, "execute")
    run(
        config.corpus_folder(params, options.corpus),
        Path(f"data/manifest/{options.corpus}.parquet"),
        {view: Path(f"features/{view}/{options.corpus}.parquet") for view in extractor.DTYPES},
        settings=extractor.settings_from_params(params),
        storage=config.read_section(StorageSettings, params, "store").storage,
        executor=parallel.Executor(execute.processes, cluster.cluster_mapper(execute.address)),
        part=options.shard,
    )
