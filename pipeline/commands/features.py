"""``ser-features extract`` and ``inspect``: features of any audio, as tables and as pictures."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline import config
from pipeline.commands.group import fail
from pipeline.commands.options import NAMED

if TYPE_CHECKING:
    from pipeline.store.recipe import Recipe

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
    from pipeline.stages import crew, export  # late: --help starts in a blink
    from pipeline.store import recipe

    params = config.read()
    name = view or config.get(params, "model.features")
    processes = workers or config.section(crew.Execute, params, "execute").processes
    settings = recipe.from_params(params)
    say(settings, [name])
    done = export.export(clips, output, settings=settings, view=name, copies=augmented, processes=processes)
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
    from pipeline.stages import crew  # late: --help starts in a blink
    from pipeline.stages import inspect as stage
    from pipeline.store import recipe

    params = config.read()
    processes = workers or config.section(crew.Execute, params, "execute").processes
    settings = recipe.from_params(params)
    say(settings, recipe.DTYPES)
    done = stage.inspect(clips, output, settings=settings, processes=processes)
    fail(done.failures, f"pictures drawn: {len(done.pictures)}.", done.paths)
    click.echo("\n".join(map(str, done.pictures)))


def say(settings: "Recipe", views: Iterable[str]) -> None:
    """Say on standard error what is odd about the bands of views."""
    from pipeline.signal import banks  # late: --help starts in a blink

    for note in banks.notes([settings.view(view) for view in views], settings.audio.sample_rate):
        click.echo(note, err=True)
