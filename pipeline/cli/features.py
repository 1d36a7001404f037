"""``ser-features extract``, ``inspect`` and ``store``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.group import PATH, Group, report_failures
from pipeline.core import config

if TYPE_CHECKING:
    from pipeline.signal.extractor import ExtractorSettings

VIEWS = ("logmel", "mfcc")  # the names in extractor.DTYPES, whose import would slow --help
CLIPS_ARGUMENT = click.argument("clips", nargs=-1, required=True)
OUTPUT_HELP = (
    "The suffix chooses the format: .parquet, a feature shard as dvc repro writes it; .npz, NumPy arrays, all held in "
    "memory; .csv, a line for each frame, with seconds from the start of the trimmed signal.  "
    "[default: features.parquet]"
)
WORKERS_OPTION = click.option(
    "--workers", type=click.IntRange(min=1), help="Number of processes.  [default: execute.workers]"
)


@click.command()
@CLIPS_ARGUMENT
@click.option("-o", "--output", default="features.parquet", type=PATH, help=OUTPUT_HELP)
@click.option("--view", type=click.Choice(VIEWS), help="Features to extract.  [default: model.features]")
@click.option("--augmented", is_flag=True, help="Also write the augmented copies, the same as those of dvc repro.")
@WORKERS_OPTION
def extract(clips: tuple[str, ...], output: Path, *, view: str | None, augmented: bool, workers: int | None) -> None:
    """Write the features of audio files to one file.

    CLIPS are audio files, folders (all audio below them) and quoted patterns such as 'clips/**/*.wav'. Settings are
    those of params.yaml in the current folder; the features are bit for bit those that dvc repro stores.

    A file that cannot be read is reported and the others are written; the exit code is then 1.
    """
    from pipeline import parallel  # imported late, so that --help starts quickly
    from pipeline.signal import extractor
    from pipeline.tools import feature_files

    params = config.read_params()
    name = view or config.get_setting(params, "model.features")
    processes = workers or config.read_section(parallel.Execute, params, "execute").processes
    settings = extractor.settings_from_params(params)
    _warn_empty_bands(settings, [name])
    done = feature_files.export_features(
        clips, output, settings=settings, view=name, copies=augmented, processes=processes
    )
    rest = f"{output} holds the others." if done.rows else "there were no others, so nothing was written."
    report_failures(done.failures, rest, done.paths)
    click.echo(f"{done.rows:,} row{'s' * (done.rows > 1)} of {name} in {output}")


@click.command()
@CLIPS_ARGUMENT
@click.option("-o", "--output", type=PATH, help="An image file, or a folder for several images.")
@WORKERS_OPTION
def inspect(clips: tuple[str, ...], output: Path | None, *, workers: int | None) -> None:
    """Draw waveform, spectrogram and features of audio files.

    Each clip gets an image with waveform, spectrogram, MFCC, energy and zero-crossing rate, as the network receives
    them with the settings of params.yaml in the current folder. CLIPS are audio files, folders and quoted patterns; the
    image of clips/a.wav is a.png in the current folder.
    """
    from pipeline import parallel  # imported late, so that --help starts quickly
    from pipeline.signal import extractor
    from pipeline.tools import inspect as tools_inspect

    params = config.read_params()
    processes = workers or config.read_section(parallel.Execute, params, "execute").processes
    settings = extractor.settings_from_params(params)
    _warn_empty_bands(settings, extractor.DTYPES)
    done = tools_inspect.draw_pictures(clips, output, settings=settings, processes=processes)
    report_failures(done.failures, f"images drawn: {len(done.pictures)}.", done.paths)
    click.echo("\n".join(map(str, done.pictures)))


def _warn_empty_bands(settings: ExtractorSettings, views: Iterable[str]) -> None:
    """Warn of mel bands that hold no frequency of the FFT."""
    from pipeline.signal import stft  # imported late, so that --help starts quickly

    for note in stft.empty_band_notes([settings.view(view) for view in views], settings.audio.sample_rate):
        click.echo(note, err=True)


@click.group(cls=Group)
def store() -> None:
    """List, verify and clean the feature cache.

    The cache is at SER_STORE_URL, else at store.url in params.yaml, else in the user's cache folder.
    """


@store.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with sizes in bytes and times in s since 1970.")
def store_ls(*, as_json: bool) -> None:
    """List what the cache holds, with sizes and ages.

    That is: the partitions, the shards made from them, and the files unpacked for training.
    """
    from pipeline.signal import extractor
    from pipeline.upkeep import inventory, text

    params = config.read_params_if_present()
    found = inventory.take_inventory(inventory.storage_from_params(params))
    settings = extractor.settings_from_params(params) if "features" in params else None
    current = {view: extractor.view_identity(settings, view) for view in VIEWS} if settings else {}
    lines = text.format_inventory(found, time.time(), current)
    click.echo(json.dumps(asdict(found), indent=2) if as_json else "\n".join(lines))


@store.command("verify")
@click.option("--repair", is_flag=True, help="Delete what is damaged; the next run that needs it computes it again.")
def store_verify(*, repair: bool) -> None:
    """Read all files of the cache and report damage.

    These are the segments and the files unpacked for training, in shared storage too; files that other users do not let
    you read are counted. The exit code is 1 if any file is damaged.
    """
    from pipeline.upkeep import gc, inventory, text

    storage = inventory.storage_from_params(config.read_params_if_present())
    checked = gc.verify_store(storage)
    damaged = [each.item for each in checked if each.fault]
    deleted = gc.delete_garbage(storage, damaged if repair else [])
    click.echo("\n".join(text.format_verification(checked, deleted)))
    if damaged:
        raise SystemExit(1)


OLDER_THAN_HELP = "Keep everything younger, so that a running extraction loses nothing.  [default: 1]"


@store.command("gc")
@click.option("--older-than", "days", metavar="DAYS", type=click.FloatRange(min=0), default=1.0, help=OLDER_THAN_HELP)
@click.option("--dry-run", is_flag=True, help="Delete nothing, and list what would be deleted.")
@click.option("--shared", is_flag=True, help="Also clean shared storage.")
def store_gc(*, days: float, dry_run: bool, shared: bool) -> None:
    """Delete what no shard needs.

    These are segments, records of deleted shards, and files unpacked for training. Unfinished files are deleted after
    an hour and unused locks after a day, whatever DAYS is. A shard on another machine is assumed to exist for 90 days
    after it was written.
    """
    from pipeline.upkeep import gc, inventory, text

    storage = inventory.storage_from_params(config.read_params_if_present())
    found = gc.find_garbage(storage, days=days, shared=shared)
    deleted = None if dry_run else gc.delete_garbage(storage, found.old)
    click.echo("\n".join(text.format_garbage(found, deleted)))
    if deleted and deleted.failures:
        raise SystemExit(1)
