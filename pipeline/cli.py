"""``ser-features``: text into objects, one call, one line."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from pipeline import config
from pipeline.errors import SerError

VIEWS = ("logmel", "mfcc")  # the names of recipe.DTYPES, known before that is imported


class Group(click.Group):
    """Show our own errors as one line and exit 1; let bugs through with their traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except SerError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Group)
@click.version_option(package_name="ser-features")
def main() -> None:
    """Speech emotion recognition: corpora, features, honest scores."""


def fail(failures: Sequence[str], rest: str) -> None:
    """Print what went wrong with single files, a line each, and exit 1 if anything did.

    Raises:
        SerError: there were failures; ``rest`` says what became of the other files.
    """
    for failure in failures:
        click.echo(failure, err=True)
    if failures:
        raise SerError(f"{len(failures)} file{'s' * (len(failures) > 1)} could not be read; {rest}")


CLIPS = click.argument("clips", nargs=-1, required=True)
FORMATS = (
    "By its suffix: .parquet, a feature shard as dvc repro writes it; .npz, NumPy arrays, all held in memory; "
    ".csv, a line for each frame, its seconds counted from where trimming begins.  [default: features.parquet]"
)
WORKERS = click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: execute.workers]")


@main.command()
@CLIPS
@click.option("-o", "--output", default="features.parquet", type=click.Path(path_type=Path), help=FORMATS)
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
    done = export.export(clips, output, settings=settings, view=name, copies=augmented, processes=processes)
    fail(done.failures, f"{output} holds the others." if done.rows else "there was no other, so nothing was written.")
    click.echo(f"{done.rows:,} row{'s' * (done.rows > 1)} of {name} in {output}")


@main.command()
@CLIPS
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A picture, or a folder for several.")
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
    done = stage.inspect(clips, output, settings=recipe.from_params(params), processes=processes)
    fail(done.failures, f"pictures drawn: {len(done.pictures)}.")
    click.echo("\n".join(map(str, done.pictures)))


@main.group(cls=Group)
def corpora() -> None:
    """The corpora: what they are and where."""


@corpora.command("list")
def corpora_list() -> None:
    """List the corpora that are known by their file names, and where params.yaml has them."""
    from pipeline.corpora import registry  # late: --help starts in a blink

    places = config.corpora(config.read()) if config.PARAMS.exists() else {}
    for name in [*registry.KNOWN, *sorted(set(places) - set(registry.KNOWN))]:
        page = registry.page(name)
        size = f"{page.clips:,} clips" if page.clips else "a folder for each emotion"
        click.echo(f"{name:8s}  {size:24s}  {places.get(name, 'not in params.yaml'):24s}  {page.licence}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print all figures instead of sentences.")
def audit(*, as_json: bool) -> None:
    """Say what leaks between training and test in the split that stands; exit 1 if anything does."""
    from pipeline.evaluation import leaks
    from pipeline.store import files

    figures = files.read_json(Path("metrics/audit.json"), stage="split")
    faults = leaks.faults(figures)
    count = figures["count"]
    clean = f"Nothing leaks: {count['test_rows']} test rows in {count['folds']} folds, protocol {figures['protocol']}."
    click.echo(json.dumps(figures, indent=2) if as_json else "\n".join(faults) or clean)
    if faults and figures["protocol"] != "published":
        raise SystemExit(1)


@main.group(cls=Group)
def store() -> None:
    """The clip cache: what is in it, whether it is whole, what can go.

    It is where SER_STORE_URL says, else where store.url in params.yaml does, else in the user's cache folder.
    """


@store.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print everything, sizes in bytes and times in s since 1970.")
def store_ls(*, as_json: bool) -> None:
    """List drawers, the shards made of them, and what is unpacked for training, with sizes and ages."""
    from pipeline.store import holdings, inventory, listing, recipe  # late: --help starts in a blink

    params = config.read() if config.PARAMS.exists() else {}
    found = inventory.take(holdings.place(params))
    settings = recipe.from_params(params) if "features" in params else None
    current = {view: recipe.identity(settings, view) for view in VIEWS} if settings else {}
    lines = listing.inventory(found, time.time(), current)
    click.echo(json.dumps(asdict(found), indent=2) if as_json else "\n".join(lines))


@store.command("verify")
@click.option("--repair", is_flag=True, help="Delete what is damaged; the next extraction makes it again.")
def store_verify(*, repair: bool) -> None:
    """Read every byte of all segments, those of the shared place too; exit 1 if any is damaged."""
    from pipeline.store import holdings, tally, upkeep

    place = holdings.place(config.read() if config.PARAMS.exists() else {})
    checked = upkeep.verify(place)
    damaged = [each.item for each in checked if each.fault]
    deleted = upkeep.delete(place, damaged if repair else [])
    click.echo("\n".join(tally.verdict(checked, deleted)))
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
    from pipeline.store import holdings, tally, upkeep

    place = holdings.place(config.read() if config.PARAMS.exists() else {})
    found = upkeep.garbage(place, days=days, shared=shared)
    deleted = None if dry_run else upkeep.delete(place, found.old)
    click.echo("\n".join(tally.swept(found, deleted)))
    if deleted and deleted.failures:
        raise SystemExit(1)
