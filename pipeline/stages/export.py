"""Features of any audio files, for ad hoc use: the numbers of the store without manifest, clip cache or DVC."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np

from pipeline.corpora.gather import gather
from pipeline.errors import AudioError, SettingError
from pipeline.stages import batch, crew
from pipeline.store import audio, clips, outputs, plain, recipe, shards

OURS: Mapping[str, Callable[[Path], bool]] = {  # by suffix: what tells that this command wrote a file
    ".parquet": shards.is_shard, ".npz": plain.is_npz, ".csv": plain.is_csv,
}  # fmt: skip
SUFFIXES = tuple(OURS)
GROUP = 16 * 2**20  # bytes of tensors written at once
RUN = 1000  # clips


@dataclass(frozen=True)
class Outcome:
    """How many rows were written, and a sentence for each file that gave none."""

    rows: int
    failures: tuple[str, ...]
    paths: tuple[Path, ...] = field(default=(), compare=False)  # of all files


@dataclass(frozen=True)
class Made:
    """The rows of one clip."""

    clip_id: str
    keys: Mapping[str, str]  # by variant
    entry: clips.Entry


def export(
    paths: Sequence[str], output: Path, *, settings: recipe.Recipe, view: str, copies: bool, processes: int
) -> Outcome:
    """Write the rows of one view for the recordings that ``paths`` name; a bad file stops nothing but itself.

    Args:
        paths: files, folders and glob patterns.
        output: a feature shard, an npz or a CSV file by its suffix; it is not touched when no file gave a row.
        settings: what decides the numbers.
        view: mfcc or logmel.
        copies: whether to write the augmented variants too, as the store draws them.
        processes: how many to start; they change no byte.

    Raises:
        SettingError: another suffix, or a path that matches nothing.
    """
    if output.suffix not in SUFFIXES:
        raise SettingError(f"{output} has the suffix {output.suffix!r}, expected one of {', '.join(SUFFIXES)}.")
    outputs.refuse_taken(place := to_write(output))
    wanted = settings if copies else replace(settings, augment=replace(settings.augment, copies=()))
    failures: list[str] = []
    found = list(gather(paths, failures).items())
    groups = grouped(whole(spread(found, wanted, view, crew.Crew(processes)), failures), wanted, view)
    first = next(groups, None)
    every = tuple(path for _, path in found)
    if first is None:
        return Outcome(0, tuple(failures), every)
    with outputs.replacing(place) as part:
        rows = write(part, output.suffix, wanted, view, chain([first], groups))
    return Outcome(rows, tuple(failures), every)


def to_write(output: Path) -> outputs.Output:
    """Describe the file that is written."""
    return outputs.Output(path=output, what="a file of features", ours=OURS[output.suffix])


def spread(
    found: Sequence[tuple[str, Path]], settings: recipe.Recipe, view: str, team: crew.Crew
) -> Iterator[Made | str]:
    """Make clips in runs, so that what is made and not yet written never fills the memory."""
    work = partial(make, settings=settings, view=view)
    for start in range(0, len(found), RUN):
        some = found[start : start + RUN]
        where = f" {start + 1}–{start + len(some)} of {len(found)}" if len(found) > RUN else ""
        yield from crew.spread(work, some, crew=team, label=f"extract {view}{where}")


def make(named: tuple[str, Path], *, settings: recipe.Recipe, view: str) -> Made | str:
    """Make the rows of one clip, or say why there are none."""
    clip_id, path = named
    if clip_id != clip_id.encode(errors="replace").decode():
        return f"{os.fsencode(path)!r} is no UTF-8 name: rename the file."
    batch.keep_memory()
    try:
        recording = audio.fetch(path)
    except AudioError as error:
        return str(error)
    if not len(recording.samples):
        return f"{path} holds no samples: export it again."
    sha256 = audio.samples_hash(recording.samples)
    (keys,) = recipe.keys(settings, [view], [(sha256, recording.sample_rate)])
    entry = recipe.make(recording, settings, sha256, {view: tuple(keys[view])})[view]
    return Made(clip_id, keys[view], entry)


def whole(results: Iterable[Made | str], failures: list[str]) -> Iterator[Made]:
    """Let through what could be made, and collect the sentences of what could not."""
    for result in results:
        if isinstance(result, str):
            failures.append(result)
        else:
            yield result


def grouped(made: Iterator[Made], settings: recipe.Recipe, view: str) -> Iterator[shards.Rows]:
    """Join clips to groups of rows, as they come."""
    layout = recipe.layout(settings, view)
    a_clip = len(layout.augment) * layout.shape[0] * layout.shape[1] * np.dtype(layout.dtype).itemsize
    size = max(1, GROUP // a_clip)
    while some := list(islice(made, size)):
        yield shards.Rows(
            clip_id=[each.clip_id for each in some for _ in each.keys],
            variant=[variant for each in some for variant in each.keys],
            key=[key for each in some for key in each.keys.values()],
            valid_frames=np.concatenate([each.entry.valid_frames for each in some]),
            tensors=np.concatenate([each.entry.tensors for each in some]),
        )


def write(output: Path, suffix: str, settings: recipe.Recipe, view: str, groups: Iterable[shards.Rows]) -> int:
    """Write rows in the format that the suffix names; return their number."""
    layout = recipe.layout(settings, view)
    if suffix == ".npz":
        return plain.write_npz(output, layout, groups)
    if suffix == ".csv":
        return plain.write_csv(output, layout, groups, times(settings, view))
    return shards.write(output, layout, groups)


def times(settings: recipe.Recipe, view: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Give the seconds of the frames' centres, counted from what trimming kept. Shape ``(frames,)``."""
    frames, _ = recipe.layout(settings, view).shape
    return np.arange(frames) * settings.view(view).hop / settings.audio.sample_rate
