"""``ser-features predict``, ``listen``, ``serve``, ``model`` and ``export``."""

import ipaddress
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.group import NAMED, echo_json, fail
from pipeline.core import extras
from pipeline.core import paths as core_paths
from pipeline.core.errors import SettingError

if TYPE_CHECKING:
    from pipeline.serving.predictor import Predictor, Source
    from pipeline.serving.results import Answer

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
    from pipeline.core import machine  # late: --help starts in a blink
    from pipeline.serving import predictor as serving_predictor
    from pipeline.serving.predictor import open_all

    failures = list[str]()
    sources = named(paths, failures)
    with machine.suppress_stderr():
        predictor = open_all(models, fold=fold)
    plan = predictor.plan(every=every, windows=windows)
    answers = list(
        serving_predictor.predict_all(sources, predictor, plan, processes=workers or machine.cores(), failures=failures)
    )
    show_predictions(answers, failures, predictor, models, form)
    rest = "the others are judged." if answers else "there was no other."
    fail(failures, rest, [source.path for source in sources if source.path])


def named(paths: Sequence[str], failures: list[str]) -> "list[Source]":
    """Find the recordings that a person names; their names are paths from the current folder where they lie in it.

    ``failures`` gets a sentence for each path that the system cannot look at.
    """
    from pipeline.serving.predictor import Source
    from pipeline.tools.find_audio import find_audio_files

    if paths == (STDIN,):
        return [Source("standard input", data=sys.stdin.buffer.read())]
    if STDIN in paths:
        raise SettingError("'-' stands for one recording on standard input: give it alone, without other paths.")
    here = core_paths.here()
    found = find_audio_files(paths, failures).values()
    return [Source(str(path.relative_to(here) if path.is_relative_to(here) else path), path) for path in found]


def show_predictions(
    answers: "Sequence[Answer]",
    failures: Sequence[str],
    predictor: "Predictor",
    models: Iterable[Path],
    form: str | None,
) -> None:
    """Print answers in the form asked for."""
    from pipeline.serving import results

    cards = [member.card for member in predictor.members]
    if form == "json":
        described = [results.bundle_record(card, path=str(path)) for card, path in zip(cards, models, strict=True)]
        found = {
            "models": described,
            "clips": [results.answer_record(answer) for answer in answers],
            "failures": failures,
        }
        echo_json(found)
    elif form == "csv":
        click.echo(results.table_csv(answers, predictor.labels), nl=False)
    else:
        click.echo("\n".join([*results.answer_lines(answers), *map(results.bundle_line, cards)]))


if TYPE_CHECKING:
    from pipeline.serving.results import Span

DEVICE = "Which microphone, by number or a part of its name; see --devices.  [default: the system's]"
FILE = "Listen to a file instead, as if it were spoken now."
SPEED = "With --file: how many times faster; 0 is as fast as it goes."


@click.command()
@MODEL
@FOLD
@EVERY
@click.option("--device", help=DEVICE)
@click.option("--devices", "listing", is_flag=True, help="List microphones and end.")
@click.option("--file", "path", type=NAMED, help=FILE)
@click.option("--speed", type=click.FloatRange(min=0), default=1.0, show_default=True, help=SPEED)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each window.")
def listen(
    models: tuple[Path, ...],
    *,
    fold: int | None,
    every: float,
    device: str | None,
    listing: bool,
    path: Path | None,
    speed: float,
    as_json: bool,
) -> None:
    """Say what emotion is heard in what the microphone hears, until Ctrl-C.

    Sound is heard in windows as long as the clips in training, a new one every second; one without speech gets a dash.
    Nothing is recorded or sent anywhere. Needs pip install -c constraints.txt -e '.[listen]'.
    """
    from pipeline.core import machine
    from pipeline.serving import results, stream
    from pipeline.serving.predictor import open_all

    if listing:
        click.echo(stream.devices())
        return
    blocks, rate = stream.replay(path, speed=speed) if path else stream.blocks(number(device))
    with machine.suppress_stderr():
        predictor = open_all(models, fold=fold)
    plan = predictor.plan(every=every, windows=True)
    for member in predictor.members:
        click.echo(results.bundle_line(member.card), err=True)
    try:
        show_spans(stream.predict_stream(blocks, rate, predictor, plan), predictor.labels, as_json=as_json)
    except KeyboardInterrupt:
        click.echo(err=True)


def number(device: str | None) -> int | str | None:
    """Read a device: its number or its name.

    >>> number("3"), number("USB")
    (3, 'USB')
    """
    return int(device) if device and device.isdecimal() else device


def show_spans(spans: "Iterable[Span]", labels: tuple[str, ...], *, as_json: bool) -> None:
    """Print each window as it comes."""
    from pipeline.serving import results

    for span in spans:
        click.echo(json.dumps(results.window(span, labels)) if as_json else results.timeline_line(span, labels).strip())


LOOPBACK = "127.0.0.1"
EXPOSED = (
    "WARNING: {0} is no loopback address: anyone who reaches this machine can use the page, there is no password and "
    "no encryption."
)


@click.command()
@MODEL
@FOLD
@EVERY
@click.option("--host", default=LOOPBACK, show_default=True, help="The address to listen at.")
@click.option("--port", type=click.IntRange(0, 65_535), default=7860, show_default=True, help="0: any that is free.")
@click.option(
    "--max-mb", type=click.FloatRange(min=0.01), default=25, show_default=True, help="Megabytes of a recording."
)
@click.option(
    "--max-seconds", type=click.FloatRange(min=1), default=600, show_default=True, help="Length of a recording."
)
def serve(
    models: tuple[Path, ...],
    *,
    fold: int | None,
    every: float,
    host: str,
    port: int,
    max_mb: float,
    max_seconds: float,
) -> None:
    """Serve a web page where a voice is uploaded or recorded, and a JSON API beside it.

    It can be reached from this machine alone unless --host says otherwise. Ctrl-C ends it.
    """
    with extras.needed("serve"):
        from pipeline.serving import app  # late: --help starts in a blink
    from pipeline.core import machine
    from pipeline.serving.limits import Desk, Limits
    from pipeline.serving.predictor import open_all

    door = app.bind(host, port)
    if not is_loopback(host):
        click.secho(EXPOSED.format(host), err=True, bold=True)
    with machine.suppress_stderr():
        predictor = open_all(models, fold=fold)
    desk = Desk(predictor, predictor.plan(every=every), Limits(megabytes=max_mb, seconds=max_seconds))
    app.run_server(
        desk, door, names=[path.name for path in models], ready=lambda: click.echo(greeting(door.getsockname()))
    )


def is_loopback(host: str) -> bool:
    """Say whether an address is reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def greeting(address: tuple[str, int]) -> str:
    """Say where the page is.

    >>> greeting(("127.0.0.1", 7860))
    'http://127.0.0.1:7860  (Ctrl-C ends it)'
    """
    host, port = address[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}  (Ctrl-C ends it)"


@click.group()
def model() -> None:
    """A trained bundle: what it was trained on, how good it is, what it is not for."""


@model.command()
@click.argument("folder", type=NAMED, default=BUNDLE)
@click.option("--markdown", "form", flag_value="markdown", help="With the head that model hubs read.")
@click.option("--line", "form", flag_value="line", help="The score in one sentence.")
@click.option("--json", "form", flag_value="json", help="All that stands on the card.")
def show(folder: Path, form: str | None) -> None:
    """Print the card of the bundle FOLDER, after checking every byte of it.

    What it was trained on and on what terms, its scores for speakers never heard, by corpus and by sex, and its limits.
    """
    # late: --help starts in a blink
    from pipeline.report import model_card
    from pipeline.serving import results
    from pipeline.serving.predictor import read_card
    from pipeline.train import bundle

    card = read_card(folder)
    if form == "line":
        click.echo(results.bundle_sentence(card))
    elif form == "json":
        echo_json(json.loads((folder / bundle.NAME).read_text(encoding="utf-8")))
    else:
        text = model_card.page(card) if form == "markdown" else model_card.body(card).replace("\u00a0", " ")
        click.echo(text, nl=False)


if TYPE_CHECKING:
    from pipeline.export.parity import Array

TARGETS = ("onnx", "litert", "litert-int8")  # the names of export.TARGETS, known before that is imported
TOLERANCE = "The largest difference of probabilities let through.  [default: 0.0001, of litert-int8 0.1]"


@click.command()
@click.argument("clips", nargs=-1)
@click.option("--to", "targets", type=click.Choice(TARGETS), multiple=True, required=True, help="May be repeated.")
@click.option("--model", type=NAMED, default=Path("models/bundle"), show_default=True)
@click.option(
    "-o", "--output", type=NAMED, default=Path("models/export"), show_default=True,
    help="Each format becomes a bundle in a folder of its name there.",
)  # fmt: skip
@click.option("--tolerance", type=click.FloatRange(min=0), help=TOLERANCE)
def export(
    clips: tuple[str, ...], targets: tuple[str, ...], *, model: Path, output: Path, tolerance: float | None
) -> None:
    """Write a trained bundle for ONNX Runtime or LiteRT, and compare it with the networks of Keras.

    What is written is run on CLIPS and let go only if it gives the same probabilities. CLIPS are audio files, folders
    and quoted patterns; without any, 64 test clips of the pipeline's own data are taken. litert-int8 is calibrated on
    every other one: name clips like those that it will hear.
    """
    from pipeline.core import files  # late: --help starts in a blink
    from pipeline.export import command, convert, parity

    convert.one_thread()
    for target in targets:
        files.refuse_taken(command.to_write(output / target), [model])
    samples = inputs(clips, model)
    made = command.originals(model, samples)
    for target in dict.fromkeys(targets):
        made += command.export(model, output / target, target=target, samples=samples, tolerance=tolerance)
    click.echo("\n".join(parity.parity_lines(parity.parity_table(made, len(samples)))))
    click.echo("\n".join(f"Written to {output / target}" for target in dict.fromkeys(targets)))


def inputs(clips: tuple[str, ...], model: Path) -> "Array":
    """Make the inputs of a bundle from the recordings that are named, or from test clips."""
    from pipeline.audio import formats
    from pipeline.core import config
    from pipeline.export import parity
    from pipeline.serving import inputs as serving_inputs
    from pipeline.tools import find_audio
    from pipeline.train import bundle

    paths = list(find_audio.find_audio_files(clips).values()) if clips else parity.unheard(config.read())
    unread = formats.unread(paths)
    if unread and len(unread) < len(paths):  # of those alone the first is refused
        click.echo("\n".join(formats.told(unread)), err=True)
        paths = [path for path in paths if path not in unread]
    return parity.sample_values(paths, serving_inputs.of(bundle.read(model), name=str(model)))
