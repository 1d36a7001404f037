"""``ser-features extract``, ``inspect`` and ``store``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.group import NAMED, Group, fail
from pipeline.core import config

if TYPE_CHECKING:
    from pipeline.signal.extractor import Recipe

VIEWS = ("logmel", "mfcc")  # the names of recipe.DTYPES, known before that is imported
CLIPS = click.argument("clips", nargs=-1, required=True)
FORMATS = (
    "By its suffix: .parquet, a feature shard as dvc repro writes it; .npz, NumPy arrays, all held in memory; "
    ".csv, a line for each frame, its seconds counted from where trimming begins.  [default: features.parquet]"
)
WORKERS = click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: execute.workers]")


@click.command()
@CLIPS
@click.option("-o", "--output", default="features.parquet", type=NAMED, help=FORMATS)
@click.option("--view", type=click.Choice(VIEWS), help="What to extract.  [default: model.features]")
@click.option("--augmented", is_flag=True, help="Write the augmented copies too, drawn as the store draws them.")
@WORKERS
def extract(clips: tuple[str, ...], output: Path, *, view: str | None, augmented: bool, workers: int | None) -> None:
    """Write the features of CLIPS, to the bit the numbers that the store holds.

    CLIPS are audio files, folders (all audio below them) and quoted patterns such as 'clips/**/*.wav'. Settings are
    those of params.yaml in the current folder.

    A file that cannot be read is reported, the others are written, and the exit code is 1.
    """
    from pipeline import parallel  # late: --help starts in a blink
    from pipeline.signal import extractor
    from pipeline.tools import feature_files

    params = config.read()
    name = view or config.get(params, "model.features")
    processes = workers or config.section(parallel.Execute, params, "execute").processes
    settings = extractor.from_params(params)
    say(settings, [name])
    done = feature_files.export(clips, output, settings=settings, view=name, copies=augmented, processes=processes)
    rest = f"{output} holds the others." if done.rows else "there was no other, so nothing was written."
    fail(done.failures, rest, done.paths)
    click.echo(f"{done.rows:,} row{'s' * (done.rows > 1)} of {name} in {output}")


@click.command()
@CLIPS
@click.option("-o", "--output", type=NAMED, help="A picture, or a folder for several.")
@WORKERS
def inspect(clips: tuple[str, ...], output: Path | None, *, workers: int | None) -> None:
    """Draw CLIPS: waveform, spectrogram, MFCC, energy and zero crossings on one sheet each.

    What is drawn is what a network sees by params.yaml in the current folder. CLIPS are audio files, folders and quoted
    patterns; the picture of clips/a.wav is a.png in the current folder.
    """
    from pipeline import parallel  # late: --help starts in a blink
    from pipeline.signal import extractor
    from pipeline.tools import inspect as tools_inspect

    params = config.read()
    processes = workers or config.section(parallel.Execute, params, "execute").processes
    settings = extractor.from_params(params)
    say(settings, extractor.DTYPES)
    done = tools_inspect.inspect(clips, output, settings=settings, processes=processes)
    fail(done.failures, f"pictures drawn: {len(done.pictures)}.", done.paths)
    click.echo("\n".join(map(str, done.pictures)))


def say(settings: Recipe, views: Iterable[str]) -> None:
    """Say on standard error what is odd about the bands of views."""
    from pipeline.signal import stft  # late: --help starts in a blink

    for note in stft.empty_band_notes([settings.view(view) for view in views], settings.audio.sample_rate):
        click.echo(note, err=True)


@click.group(cls=Group)
def store() -> None:
    """The clip cache: what is in it, whether it is whole, what can go.

    It is where SER_STORE_URL says, else where store.url in params.yaml does, else in the user's cache folder.
    """


@store.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print everything, sizes in bytes and times in s since 1970.")
def store_ls(*, as_json: bool) -> None:
    """List drawers, the shards made of them, and what is unpacked for training, with sizes and ages."""
    from pipeline.signal import extractor
    from pipeline.upkeep import inventory, text

    params = config.read_if_any()
    found = inventory.take_inventory(inventory.place(params))
    settings = extractor.from_params(params) if "features" in params else None
    current = {view: extractor.identity(settings, view) for view in VIEWS} if settings else {}
    lines = text.inventory_text(found, time.time(), current)
    click.echo(json.dumps(asdict(found), indent=2) if as_json else "\n".join(lines))


@store.command("verify")
@click.option("--repair", is_flag=True, help="Delete what is damaged; the next run that needs it makes it again.")
def store_verify(*, repair: bool) -> None:
    """Read every byte of all segments and files unpacked for training; exit 1 if any is damaged.

    Those of the shared place too; what other users do not let you read is counted.
    """
    from pipeline.upkeep import gc, inventory, text

    place = inventory.place(config.read_if_any())
    checked = gc.verify_store(place)
    damaged = [each.item for each in checked if each.fault]
    deleted = gc.delete_garbage(place, damaged if repair else [])
    click.echo("\n".join(text.verify_text(checked, deleted)))
    if damaged:
        raise SystemExit(1)


OLDER_THAN = "Touch nothing younger, so that a running extraction loses nothing.  [default: 1]"


@store.command("gc")
@click.option("--older-than", "days", metavar="DAYS", type=click.FloatRange(min=0), default=1.0, help=OLDER_THAN)
@click.option("--dry-run", is_flag=True, help="Delete nothing, say what would go.")
@click.option("--shared", is_flag=True, help="Look through the shared place too.")
def store_gc(*, days: float, dry_run: bool, shared: bool) -> None:
    """Delete what no shard needs: segments, notes of shards that are gone, files unpacked for training.

    Unfinished files go after an hour and locks that nobody holds after a day, whatever DAYS is. A shard on another
    machine counts as there for 90 days after it was written.
    """
    from pipeline.upkeep import gc, inventory, text

    place = inventory.place(config.read_if_any())
    found = gc.find_garbage(place, days=days, shared=shared)
    deleted = None if dry_run else gc.delete_garbage(place, found.old)
    click.echo("\n".join(text.gc_text(found, deleted)))
    if deleted and deleted.failures:
        raise SystemExit(1)
