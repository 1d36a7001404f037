"""Command ``extract``: features of any audio files as Parquet, npz or CSV, without manifest or clip cache."""

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from pipeline import parallel
from pipeline.audio import decode
from pipeline.core import files, machine
from pipeline.core.errors import AudioError, SettingError
from pipeline.core.files import starts_with
from pipeline.dataset import shards
from pipeline.dataset.shards import FeatureRows, Layout
from pipeline.signal import extractor
from pipeline.tools.find_audio import find_audio_files

CSV_HEAD = {"clip_id": pa.string(), "variant": pa.string(), "frame": pa.int32(), "seconds": pa.float64()}  # of the CSV
ROW_COLUMNS = ("clip_id", "variant", "key", "valid_frames")


def _write_npz(path: Path, layout: Layout, groups: Iterable[FeatureRows]) -> int:
    """Write a new npz file without pickled objects, all rows at once; return their number.

    Its arrays: x of shape ``(rows, frames, bins)``; clip_id, variant, key and valid_frames of shape ``(rows,)``; rows,
    the names of the bins; layout, the metadata of a shard, as JSON.
    """
    rows = shards.concatenate_rows(list(groups))
    columns: dict[str, Any] = {name: np.asarray(getattr(rows, name)) for name in ROW_COLUMNS}
    text = layout.schema().metadata[b"ser"].decode()
    with files.atomic_write(path) as part, part.open("wb") as file:
        np.savez_compressed(file, x=rows.tensors, **columns, rows=np.array(layout.rows), layout=np.array(text))
    return len(rows.tensors)


def is_npz(path: Path) -> bool:
    """Say whether `_write_npz` wrote a file."""
    try:
        with zipfile.ZipFile(path) as file:
            return set(file.namelist()) == {f"{name}.npy" for name in ("x", *ROW_COLUMNS, "rows", "layout")}
    except (zipfile.BadZipFile, OSError):
        return False


def is_csv(path: Path) -> bool:
    """Say whether `_write_csv` wrote a file."""
    return starts_with(path, ",".join(f'"{name}"' for name in CSV_HEAD).encode())


def _write_csv(path: Path, layout: Layout, groups: Iterable[FeatureRows], times: npt.NDArray[np.float64]) -> int:
    """Write a new CSV file with one line per frame, group by group; return the number of rows.

    Numbers have the fewest digits from which the stored value, as float32, can be read back.

    Args:
        path: of the file.
        layout: of the tensors.
        groups: blocks of rows.
        times: shape ``(frames,)``, centres of the frames in s.
    """
    schema, count = csv_schema(layout), 0
    with files.atomic_write(path) as part, pa.csv.CSVWriter(part, schema) as writer:
        for rows in groups:
            writer.write_table(csv_lines(rows, schema, times))
            count += len(rows.clip_id)
    return count


def csv_schema(layout: Layout) -> pa.Schema:
    """Return the columns of the CSV file."""
    return pa.schema([*CSV_HEAD.items(), *((name, pa.float32()) for name in layout.rows)])


def csv_lines(rows: FeatureRows, schema: pa.Schema, times: npt.NDArray[np.float64]) -> pa.Table:
    """Convert rows to lines, one per frame."""
    count, frames, _ = rows.tensors.shape
    row, frame = np.divmod(np.arange(count * frames), frames)
    values = rows.tensors.reshape(count * frames, -1).T.astype(np.float32, order="C")
    head: list[Any] = [pa.array(rows.clip_id).take(row), pa.array(rows.variant).take(row), frame, times[frame]]
    columns = [pa.array(column, field.type) for column, field in zip([*head, *values], schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


IS_OURS: Mapping[str, Callable[[Path], bool]] = {  # by suffix: whether this command wrote a file
    ".parquet": shards.is_shard, ".npz": is_npz, ".csv": is_csv,
}  # fmt: skip
CLIPS_PER_RUN = 1000  # clips


@dataclass(frozen=True)
class ExportResult:
    """How many rows were written, and a message for each file that gave none."""

    rows: int
    failures: tuple[str, ...]
    paths: tuple[Path, ...] = field(default=(), compare=False)  # of all files


def export_features(
    paths: Sequence[str],
    output: Path,
    *,
    settings: extractor.ExtractorSettings,
    view: str,
    copies: bool,
    processes: int,
) -> ExportResult:
    """Extract one view of the recordings that ``paths`` name into a file; bad files do not stop the others.

    Args:
        paths: files, folders and glob patterns.
        output: a feature shard, an npz or a CSV file, by its suffix; it is not touched if no file gave a row.
        settings: of the extractor.
        view: mfcc or logmel.
        copies: whether to write the augmented variants too, as in the clip cache.
        processes: number of processes, which does not affect the result.

    Raises:
        SettingError: another suffix, or a path that matches nothing.
    """
    if output.suffix not in IS_OURS:
        raise SettingError(f"{output} has the suffix {output.suffix!r}, expected one of {', '.join(IS_OURS)}.")
    target = files.Output(path=output, what="a file of features", ours=IS_OURS[output.suffix])
    files.check_output(target)
    settings = settings if copies else replace(settings, augment=replace(settings.augment, copies=()))
    layout = extractor.shard_layout(settings, view)
    failures: list[str] = []
    recordings = list(find_audio_files(paths, failures).items())
    groups = _row_groups(_extract_all(recordings, settings, view, failures, processes=processes), layout)
    first = next(groups, None)
    every = tuple(path for _, path in recordings)
    if first is None:
        return ExportResult(0, tuple(failures), every)
    groups = chain([first], groups)
    with files.replace_output(target) as part:
        if output.suffix == ".npz":
            rows = _write_npz(part, layout, groups)
        elif output.suffix == ".csv":
            rows = _write_csv(part, layout, groups, _frame_times(settings, view))
        else:
            rows = shards.write_shard(part, layout, groups)
    return ExportResult(rows, tuple(failures), every)


def _extract_all(
    recordings: Sequence[tuple[str, Path]],
    settings: extractor.ExtractorSettings,
    view: str,
    failures: list[str],
    *,
    processes: int,
) -> Iterator[FeatureRows]:
    """Yield the rows of each clip, in runs of clips, so that rows not yet written never fill the memory.

    ``failures`` gets a message for each file that gave none.
    """
    work = partial(extract_rows, settings=settings, view=view)
    for start in range(0, len(recordings), CLIPS_PER_RUN):
        run = recordings[start : start + CLIPS_PER_RUN]
        where = f" {start + 1}–{start + len(run)} of {len(recordings)}" if len(recordings) > CLIPS_PER_RUN else ""
        for result in parallel.parallel_map(
            work, run, crew=parallel.Executor(processes), label=f"extract {view}{where}"
        ):
            if isinstance(result, str):
                failures.append(result)
            else:
                yield result


def extract_rows(recording: tuple[str, Path], *, settings: extractor.ExtractorSettings, view: str) -> FeatureRows | str:
    """Extract the rows of one clip, given as clip_id and path, or return the message why there are none."""
    clip_id, path = recording
    if clip_id != clip_id.encode(errors="replace").decode():
        return f"{os.fsencode(path)!r} is no UTF-8 name: rename the file."
    machine.keep_freed_memory()
    try:
        decoded = decode.read_recording(path)
    except AudioError as error:
        return str(error)
    if not len(decoded.samples):
        return f"{path} holds no samples: export it again."
    sha256 = decode.hash_samples(decoded.samples)
    (keys,) = extractor.row_keys(settings, [view], [(sha256, decoded.sample_rate)])
    variants = tuple(keys[view])
    features = extractor.extract_features(decoded, settings, sha256, {view: variants})[view]
    return FeatureRows(
        key=tuple(keys[view].values()),
        tensors=features.tensors,
        valid_frames=features.valid_frames,
        clip_id=(clip_id,) * len(variants),
        variant=variants,
    )


def _row_groups(clips: Iterator[FeatureRows], layout: Layout) -> Iterator[FeatureRows]:
    """Join the rows of clips to row groups."""
    while group := list(islice(clips, layout.clips_per_group)):
        yield shards.concatenate_rows(group)


def _frame_times(settings: extractor.ExtractorSettings, view: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the centres of the frames in s, counted from where trimming begins. Shape ``(frames,)``."""
    return np.arange(settings.frames(view)) * settings.view(view).hop / settings.audio.sample_rate
