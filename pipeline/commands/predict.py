"""``ser-features predict``: the emotion of any recordings, by trained bundles."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline import machine
from pipeline import paths as system
from pipeline.commands.group import echo_json, fail
from pipeline.commands.options import NAMED
from pipeline.errors import SettingError

if TYPE_CHECKING:
    from pipeline.serving.answers import Answer
    from pipeline.serving.predictor import Predictor
    from pipeline.stages.predict import Source

BUNDLE = Path("models/bundle")
MODEL = click.option(
    "--model", "models", multiple=True, type=NAMED, default=[BUNDLE], show_default=True,
    help="A bundle; several answer by their mean.",
)  # fmt: skip
FOLD = click.option("--fold", type=int, help="The model of this fold alone.  [default: the mean of all]")
EVERY = click.option(
    "--every", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds from window to window."
)
WINDOWS = "Hear all in windows, or nothing.  [default: what lasts longer than any clip in training]"
STDIN = "-"


@click.command()
@click.argument("paths", nargs=-1, required=True)
@MODEL
@FOLD
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV, a line for each recording and each window.")
@click.option("--windows/--whole", "windows", default=None, help=WINDOWS)
@EVERY
@click.option("--workers", type=click.IntRange(min=1), help="Processes, where files are many.  [default: one a core]")
def predict(
    paths: tuple[str, ...],
    models: tuple[Path, ...],
    *,
    fold: int | None,
    form: str | None,
    windows: bool | None,
    every: float,
    workers: int | None,
) -> None:
    """Say what emotion is heard in PATHS, with probabilities.

    PATHS are audio files, folders (all audio below them), quoted patterns such as 'clips/**/*.wav', and - for the bytes
    of a recording on standard input: any format libsndfile reads, any rate, mono or stereo. What lasts longer than the
    clips in training is heard in windows and gets a timeline.

    A file that cannot be read is reported, the others are judged, and the exit code is 1.
    """
    from pipeline.serving import quiet  # late: --help starts in a blink
    from pipeline.serving.predictor import open_all
    from pipeline.stages import predict as stage

    failures = list[str]()
    sources = named(paths, failures)
    with quiet.startup():
        predictor = open_all(models, fold=fold)
    plan = predictor.plan(every=every, windows=windows)
    answers = list(stage.predict(sources, predictor, plan, processes=workers or machine.cores(), failures=failures))
    show(answers, failures, predictor, models, form)
    rest = "the others are judged." if answers else "there was no other."
    fail(failures, rest, [source.path for source in sources if source.path])


def named(paths: Sequence[str], failures: list[str]) -> "list[Source]":
    """Find the recordings that a person names; their names are paths from the current folder where they lie in it.

    ``failures`` gets a sentence for each path that the system cannot look at.
    """
    from pipeline.corpora.gather import gather
    from pipeline.stages.predict import Source

    if paths == (STDIN,):
        return [Source("standard input", data=sys.stdin.buffer.read())]
    if STDIN in paths:
        raise SettingError("'-' stands for one recording on standard input: give it alone, without other paths.")
    here = system.here()
    found = gather(paths, failures).values()
    return [Source(str(path.relative_to(here) if path.is_relative_to(here) else path), path) for path in found]


def show(
    answers: "Sequence[Answer]",
    failures: Sequence[str],
    predictor: "Predictor",
    models: Iterable[Path],
    form: str | None,
) -> None:
    """Print answers in the form asked for."""
    from pipeline.serving import about
    from pipeline.serving import answers as texts

    cards = [member.card for member in predictor.members]
    if form == "json":
        described = [about.record(card, path=str(path)) for card, path in zip(cards, models, strict=True)]
        found = {"models": described, "clips": [texts.record(answer) for answer in answers], "failures": failures}
        echo_json(found)
    elif form == "csv":
        click.echo(texts.table_csv(answers, predictor.labels), nl=False)
    else:
        click.echo("\n".join([*texts.lines(answers), *map(about.line, cards)]))
