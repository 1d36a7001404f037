"""``ser-features predict``, ``listen``, ``serve``, ``model`` and ``export``."""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.group import PATH, echo_json, report_failures
from pipeline.core import errors
from pipeline.core import paths as core_paths
from pipeline.core.errors import SettingError

if TYPE_CHECKING:
    from pipeline.export.parity import Array
    from pipeline.serving.predictor import Predictor, RecordingSource
    from pipeline.serving.results import Prediction, SpanPrediction

BUNDLE = Path("models/bundle")
MODEL_OPTION = click.option(
    "--model", "models", multiple=True, type=PATH, default=[BUNDLE], show_default=True,
    help="A bundle. May be repeated: the probabilities are averaged.",
)  # fmt: skip
FOLD_OPTION = click.option(
    "--fold", type=int, help="Use the model of this fold only.  [default: the mean of all folds]"
)
EVERY_OPTION = click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    help="Seconds between the starts of two windows.",
)
WINDOWS_HELP = "Predict all recordings in windows, or none.  [default: those longer than any clip in training]"
STDIN = "-"


@click.command()
@click.argument("paths", nargs=-1, required=True)
@MODEL_OPTION
@FOLD_OPTION
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV, with a line for each recording and each window.")
@click.option("--windows/--whole", "windows", default=None, help=WINDOWS_HELP)
@EVERY_OPTION
@click.option(
    "--workers", type=click.IntRange(min=1), help="Number of processes for many files.  [default: one per core]"
)
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
    """Predict the emotion of recordings, with probabilities.

    PATHS are audio files, folders (all audio below them), quoted patterns such as 'clips/**/*.wav', or - for the bytes
    of one recording on standard input. Any format that libsndfile reads will do, at any rate, mono or stereo.
    Recordings longer than the clips in training are predicted in windows and get a timeline.

    A file that cannot be read is reported and the others are predicted; the exit code is then 1.
    """
    from pipeline.core import machine  # imported late, so that --help starts quickly
    from pipeline.serving import predictor as serving_predictor
    from pipeline.serving.predictor import load_predictor

    failures = list[str]()
    sources = _find_sources(paths, failures)
    with machine.suppress_stderr():
        predictor = load_predictor(models, fold=fold)
    plan = predictor.window_plan(every=every, windows=windows)
    predictions = list(
        serving_predictor.predict_recordings(
            sources, predictor, plan, processes=workers or machine.available_cores(), failures=failures
        )
    )
    _print_predictions(predictions, failures, predictor, models, form)
    rest = "the others were predicted." if predictions else "there were no others."
    report_failures(failures, rest, [source.path for source in sources if source.path])


def _find_sources(paths: Sequence[str], failures: list[str]) -> list[RecordingSource]:
    """Find the recordings below `paths`; those in the current folder are named by relative paths.

    A sentence for each path that cannot be read is appended to `failures`.
    """
    from pipeline.serving.predictor import RecordingSource
    from pipeline.tools.find_audio import find_audio_files

    if paths == (STDIN,):
        return [RecordingSource("standard input", data=sys.stdin.buffer.read())]
    if STDIN in paths:
        raise SettingError("'-' stands for one recording on standard input: give it alone, without other paths.")
    here = core_paths.current_folder()
    found = find_audio_files(paths, failures).values()
    return [RecordingSource(str(path.relative_to(here) if path.is_relative_to(here) else path), path) for path in found]


def _print_predictions(
    predictions: Sequence[Prediction],
    failures: Sequence[str],
    predictor: Predictor,
    models: Iterable[Path],
    form: str | None,
) -> None:
    """Print predictions as JSON, as CSV or as text."""
    from pipeline.serving import results

    cards = [member.card for member in predictor.members]
    if form == "json":
        bundles = [results.bundle_record(card, path=str(path)) for card, path in zip(cards, models, strict=True)]
        clips = [results.prediction_record(prediction) for prediction in predictions]
        echo_json({"models": bundles, "clips": clips, "failures": failures})
    elif form == "csv":
        click.echo(results.predictions_csv(predictions, predictor.labels), nl=False)
    else:
        click.echo("\n".join([*results.prediction_lines(predictions), *map(results.bundle_line, cards)]))


DEVICE_HELP = "Microphone, by number or part of its name; see --devices.  [default: that of the system]"
FILE_HELP = "Play back a file in real time instead."
SPEED_HELP = "With --file: speed relative to real time; 0 for as fast as possible."


@click.command()
@MODEL_OPTION
@FOLD_OPTION
@EVERY_OPTION
@click.option("--device", help=DEVICE_HELP)
@click.option("--devices", "listing", is_flag=True, help="List the microphones and exit.")
@click.option("--file", "path", type=PATH, help=FILE_HELP)
@click.option("--speed", type=click.FloatRange(min=0), default=1.0, show_default=True, help=SPEED_HELP)
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
    """Predict emotions live from a microphone, until Ctrl-C.

    Windows are as long as the clips in training, and one starts every second (see --every). A window without speech
    gets a dash. Nothing is stored or sent anywhere. Needs pip install -c constraints.txt -e '.[listen]'.
    """
    from pipeline.core import machine
    from pipeline.serving import results, stream
    from pipeline.serving.predictor import load_predictor

    if listing:
        click.echo(stream.list_devices())
        return
    blocks, rate = stream.replay_file(path, speed=speed) if path else stream.microphone_blocks(_parse_device(device))
    with machine.suppress_stderr():
        predictor = load_predictor(models, fold=fold)
    plan = predictor.window_plan(every=every, windows=True)
    for member in predictor.members:
        click.echo(results.bundle_line(member.card), err=True)
    try:
        _print_spans(stream.predict_stream(blocks, rate, predictor, plan), predictor.labels, as_json=as_json)
    except KeyboardInterrupt:
        click.echo(err=True)


def _parse_device(device: str | None) -> int | str | None:
    """Parse a device: its number or its name.

    >>> _parse_device("3"), _parse_device("USB")
    (3, 'USB')
    """
    return int(device) if device and device.isdecimal() else device


def _print_spans(spans: Iterable[SpanPrediction], labels: tuple[str, ...], *, as_json: bool) -> None:
    """Print the prediction for each window as soon as it is made."""
    from pipeline.serving import results

    for span in spans:
        click.echo(
            json.dumps(results.span_record(span, labels)) if as_json else results.timeline_line(span, labels).strip()
        )


LOOPBACK = "127.0.0.1"
EXPOSED_WARNING = (
    "WARNING: {0} is not a loopback address: anyone who can reach this machine can use the page, without password and "
    "encryption."
)


@click.command()
@MODEL_OPTION
@FOLD_OPTION
@EVERY_OPTION
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=7860,
    show_default=True,
    help="Port to listen at; 0 for any free one.",
)
@click.option(
    "--max-mb", type=click.FloatRange(min=0.01), default=25, show_default=True, help="Largest recording, in megabytes."
)
@click.option(
    "--max-seconds", type=click.FloatRange(min=1), default=600, show_default=True, help="Longest recording, in seconds."
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
    """Serve a web page and a JSON API for predictions.

    On the page, speech can be uploaded or recorded. It can be reached only from this machine unless --host is given.
    Stop it with Ctrl-C. Needs pip install -c constraints.txt -e '.[serve]'.
    """
    with errors.require_extra("serve"):
        from pipeline.serving import app  # imported late, so that --help starts quickly
    from pipeline.core import machine
    from pipeline.serving.limits import Limits, PredictionService
    from pipeline.serving.predictor import load_predictor

    listener = app.bind_socket(host, port)
    if not _is_loopback(host):
        click.secho(EXPOSED_WARNING.format(host), err=True, bold=True)
    with machine.suppress_stderr():
        predictor = load_predictor(models, fold=fold)
    service = PredictionService(
        predictor, predictor.window_plan(every=every), Limits(megabytes=max_mb, seconds=max_seconds)
    )
    app.run_server(
        service,
        listener,
        names=[path.name for path in models],
        ready=lambda: click.echo(_address_line(listener.getsockname())),
    )


def _is_loopback(host: str) -> bool:
    """Say whether an address can be reached only from this machine.

    >>> _is_loopback("127.0.0.1"), _is_loopback("::1"), _is_loopback("localhost"), _is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address_line(address: tuple[str, int]) -> str:
    """Write the address of the page.

    >>> _address_line(("127.0.0.1", 7860))
    'http://127.0.0.1:7860  (stop with Ctrl-C)'
    """
    host, port = address[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}  (stop with Ctrl-C)"


@click.group()
def model() -> None:
    """Show the model card of a trained bundle."""


@model.command()
@click.argument("folder", type=PATH, default=BUNDLE)
@click.option(
    "--markdown", "form", flag_value="markdown", help="Print Markdown with the metadata that model hubs read."
)
@click.option("--line", "form", flag_value="line", help="Print the score in one sentence.")
@click.option("--json", "form", flag_value="json", help="Print the whole bundle.json.")
def show(folder: Path, form: str | None) -> None:
    """Print the model card of a bundle.

    FOLDER is the bundle; its files are verified first. The card states the training data and their licences, the scores
    on unseen speakers, by corpus and by sex, and the limits of use.
    """
    # imported late, so that --help starts quickly
    from pipeline.report import model_card
    from pipeline.serving import results
    from pipeline.serving.predictor import read_bundle_card
    from pipeline.train import bundle

    card = read_bundle_card(folder)
    if form == "line":
        click.echo(results.bundle_sentence(card))
    elif form == "json":
        echo_json(json.loads((folder / bundle.CARD_FILE).read_text(encoding="utf-8")))
    else:
        text = model_card.card_page(card) if form == "markdown" else model_card.card_text(card).replace("\u00a0", " ")
        click.echo(text, nl=False)


TARGETS = ("onnx", "litert", "litert-int8")  # the names in export.command.TARGETS, whose import would slow --help
TOLERANCE_HELP = "Largest allowed difference of probabilities.  [default: 0.0001, for litert-int8 0.1]"


@click.command()
@click.argument("clips", nargs=-1)
@click.option(
    "--to", "targets", type=click.Choice(TARGETS), multiple=True, required=True, help="Format. May be repeated."
)
@click.option("--model", type=PATH, default=BUNDLE, show_default=True, help="The bundle to export.")
@click.option(
    "-o", "--output", type=PATH, default=Path("models/export"), show_default=True,
    help="Folder for the exported bundles, one per format.",
)  # fmt: skip
@click.option("--tolerance", type=click.FloatRange(min=0), help=TOLERANCE_HELP)
def export(
    clips: tuple[str, ...], targets: tuple[str, ...], *, model: Path, output: Path, tolerance: float | None
) -> None:
    """Export a trained bundle to ONNX Runtime or LiteRT.

    The exported models are run on CLIPS and kept only if their probabilities agree with those of Keras. CLIPS are audio
    files, folders and quoted patterns; without any, 64 test clips of the pipeline are used. litert-int8 is calibrated
    on every other clip: name clips that resemble those it will be used for.
    """
    from pipeline.core import files  # imported late, so that --help starts quickly
    from pipeline.export import command, convert, parity

    convert.limit_to_one_thread()
    for target in targets:
        files.check_output(command.output_bundle(output / target), [model])
    samples = export_samples(clips, model)
    made = command.measure_originals(model, samples)
    for target in dict.fromkeys(targets):
        made += command.export_bundle(model, output / target, target=target, samples=samples, tolerance=tolerance)
    click.echo("\n".join(parity.parity_lines(parity.parity_table(made, len(samples)))))
    click.echo("\n".join(f"Written to {output / target}" for target in dict.fromkeys(targets)))


def export_samples(clips: tuple[str, ...], model: Path) -> Array:
    """Compute the inputs of a bundle from the named recordings, or from test clips."""
    from pipeline.audio import formats
    from pipeline.core import config
    from pipeline.export import parity
    from pipeline.serving import inputs as serving_inputs
    from pipeline.tools import find_audio
    from pipeline.train import bundle

    paths = (
        list(find_audio.find_audio_files(clips).values()) if clips else parity.sample_test_clips(config.read_params())
    )
    unread = formats.list_unsupported(paths)
    if unread and len(unread) < len(paths):  # if all are, decoding refuses the first
        click.echo("\n".join(formats.conversion_advice(unread)), err=True)
        paths = [path for path in paths if path not in unread]
    settings = serving_inputs.input_settings(bundle.read_card(model), name=str(model))
    return parity.compute_samples(paths, settings.compute)
