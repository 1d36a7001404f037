"""Stage ``extract``: make the feature shards of one corpus, all views in one pass.

With ``--shard 2/8`` a job of an array makes the second eighth of the rows and keeps them in the clip cache, no more.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import parallel
from pipeline.core import config, errors, tables
from pipeline.core.errors import SerError, SettingError
from pipeline.extract import cache, cluster, storage, worker, writer
from pipeline.extract.worker import Batch, Piece, Receipt
from pipeline.extract.writer import Drawers, Records
from pipeline.signal import extractor, stft
from pipeline.signal.settings import variants


def run(
    folder: Path,
    source: Path,
    outputs: Mapping[str, Path],
    *,
    settings: extractor.Recipe,
    place: storage.Place,
    team: parallel.Crew,
    part: tuple[int, int] | None = None,
) -> int:
    """Write one shard a view for the usable clips of the manifest ``source``; return how many clips were decoded.

    Args:
        folder: of the corpus.
        source: its manifest.
        outputs: the shard of each view.
        settings: what is made.
        place: the clip cache.
        team: who makes it.
        part: number and count, from 1 on, to make that part of the rows and write no shard.

    Raises:
        SerError: some files could not be read any more; the others are in the cache by then.
    """
    rows = tables.manifest_records(tables.usable_clips(tables.read_manifest(source)).sort_values("clip_id"))
    refuse_offset(rows, settings.audio.offset)
    rows = rows[part[0] - 1 :: part[1]] if part else rows
    keys = name(rows, settings, outputs)
    drawers = {view: cache.Drawer(place, extractor.identity(settings, view)) for view in outputs}
    look(drawers, keys)
    pieces = [piece(row, own, drawers) for row, own in zip(rows, keys, strict=True)]
    count = sum(1 for each in pieces if each.keys)
    noted = stft.empty_band_notes([settings.view(view) for view in outputs], settings.audio.sample_rate)
    print(*noted, forecast(source.stem, len(rows), count, settings, outputs), sep="\n", flush=True)
    work = batches(pieces)
    front = writer.Front((each.first for each in work), len(rows))
    do = partial(worker.work, folder=folder.absolute(), settings=settings, place=place)
    shards = writer.Work(outputs, rows, keys, drawers, settings)
    with nullcontext() if part else writer.writing(shards, front):
        fill(work, do, team, front, label=f"extract {source.stem}")
    if part:
        return count
    storage.write_references(
        place, {outputs[view]: (drawers[view].name, used(drawers, keys, view)) for view in outputs}
    )
    return count


def refuse_offset(rows: Records, offset: float) -> None:
    """Refuse to skip all of every clip.

    Raises:
        SettingError: no clip lasts longer than what is skipped.
    """
    longest = max((row["seconds"] or 0.0 for row in rows), default=offset)
    if offset and longest <= offset:
        raise SettingError(
            f"params.yaml: audio.offset is {offset} s, and the longest clip lasts {longest:.3g} s, so that nothing of "
            "any is left: lower it."
        )


def name(rows: Records, settings: extractor.Recipe, views: Mapping[str, Path]) -> list[extractor.Keys]:
    """Name all rows of all clips."""
    return list(extractor.keys(settings, views, ((row["samples_sha256"], int(row["sample_rate"])) for row in rows)))


def every(keys: Sequence[extractor.Keys], view: str) -> list[str]:
    """The keys of one view, clip by clip."""
    return [key for own in keys for key in own[view].values()]


def look(drawers: Drawers, keys: Sequence[extractor.Keys]) -> None:
    """See what the cache holds of these clips."""
    for view, drawer in drawers.items():
        drawer.look(every(keys, view))


def used(drawers: Drawers, keys: Sequence[extractor.Keys], view: str) -> list[str]:
    """The segments a shard was made of."""
    return drawers[view].used(every(keys, view))


def piece(row: Mapping[str, Any], keys: extractor.Keys, drawers: Drawers) -> Piece:
    """Say what is missing of one clip."""
    missing = {view: set(drawer.missing(keys[view].values())) for view, drawer in drawers.items()}
    wanted = {view: {name: key for name, key in keys[view].items() if key in missing[view]} for view in keys}
    return Piece(
        row["path"], row["sha256"], row["samples_sha256"], {view: some for view, some in wanted.items() if some}
    )


def batches(pieces: Sequence[Piece]) -> list[Batch]:
    """Cut the work into runs of clips that each make a segment a view.

    The runs are those of the whole list, whatever is missing of it, so that two extractions at once mean the same ones.
    """
    size = min(64, max(4, -(-len(pieces) // 64)))
    runs = {start: pieces[start : start + size] for start in range(0, len(pieces), size)}
    wanted = {start: tuple(each for each in run if each.keys) for start, run in runs.items()}
    return [Batch(some, first=start) for start, some in wanted.items() if some]


def fill(
    work: Sequence[Batch], do: Callable[..., Receipt], team: parallel.Crew, front: writer.Front, *, label: str
) -> None:
    """Put what is missing into the cache; a bad file stops nothing but itself.

    What another process is making is left to it, and looked for when all else is done.

    Raises:
        SerError: there were bad files.
    """
    failures: list[str] = []
    total = spread(partial(do, patient=False), work, team, front, failures, label=label)
    if left := [each for each in work if each.first in front.unfinished]:
        spread(do, left, team, front, failures, label=f"{label}, begun elsewhere")
    if failures:
        raise SerError(f"{len(failures)} of {total} clips could not be read, first: {min(failures)}")


def spread(
    do: Callable[[Batch], Receipt],
    work: Sequence[Batch],
    team: parallel.Crew,
    front: writer.Front,
    failures: list[str],
    *,
    label: str,
) -> int:
    """Have batches made, move the front, gather what could not be read; return the number of clips."""
    total = sum(len(each.pieces) for each in work)
    for receipt in parallel.spread(do, work, crew=team, label=label, total=total, size=lambda receipt: receipt.clips):
        for about, sentence in receipt.told:
            errors.warn_once(about, sentence)
        failures += receipt.failures
        if failures:
            front.stop()
        if not receipt.busy:
            front.finish(receipt.first)
    return total


def forecast(corpus: str, clips: int, todo: int, settings: extractor.Recipe, views: Mapping[str, Path]) -> str:
    """Say before the work what there is to do."""
    layouts = [extractor.layout(settings, view) for view in views]
    a_row = sum(layout.shape[0] * layout.shape[1] * np.dtype(layout.dtype).itemsize for layout in layouts)
    copies = len(variants(settings.augment))
    work = f"{todo} to extract (at most {todo * copies * a_row / 2**20:.0f} MiB)"
    return f"{corpus}: {clips} clips × {copies} rows, {clips - todo} from the clip cache, {work}"


def part_of(text: str) -> tuple[int, int]:
    """Read ``i/N``.

    >>> part_of("2/8")
    (2, 8)
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected i/N with i from 1 to N, such as 2/8")
    return int(number), int(count)


def main() -> None:
    """Read params.yaml and extract the corpus named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.extract", description=__doc__)
    parser.add_argument("corpus")
    parser.add_argument("--shard", type=part_of, metavar="i/N", help="make this part of the rows, write no shard")
    options = parser.parse_args()
    params = config.read()
    execute = config.section(parallel.Execute, params, "execute")
    run(
        config.corpus(params, options.corpus),
        Path(f"data/manifest/{options.corpus}.parquet"),
        {view: Path(f"features/{view}/{options.corpus}.parquet") for view in extractor.DTYPES},
        settings=extractor.from_params(params),
        place=config.section(storage.Store, params, "store").place,
        team=parallel.Crew(execute.processes, cluster.at(execute.address)),
        part=options.shard,
    )
