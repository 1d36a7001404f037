"""``ser-features listen``: the emotion in what is being said."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.options import NAMED
from pipeline.commands.predict import EVERY, FOLD, MODEL

if TYPE_CHECKING:
    from pipeline.serving.answers import Span

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
    from pipeline.serving import about, live, microphone, quiet  # late: --help starts in a blink
    from pipeline.serving.predictor import open_all

    if listing:
        click.echo(microphone.devices())
        return
    blocks, rate = live.replay(path, speed=speed) if path else microphone.blocks(number(device))
    with quiet.startup():
        predictor = open_all(models, fold=fold)
    plan = predictor.plan(every=every, windows=True)
    for member in predictor.members:
        click.echo(about.line(member.card), err=True)
    try:
        show(live.listen(blocks, rate, predictor, plan), predictor.labels, as_json=as_json)
    except KeyboardInterrupt:
        click.echo(err=True)


def number(device: str | None) -> int | str | None:
    """Read a device: its number or its name.

    >>> number("3"), number("USB")
    (3, 'USB')
    """
    return int(device) if device and device.isdecimal() else device


def show(spans: "Iterable[Span]", labels: tuple[str, ...], *, as_json: bool) -> None:
    """Print each window as it comes."""
    from pipeline.serving import answers

    for span in spans:
        click.echo(json.dumps(answers.window(span, labels)) if as_json else answers.timeline_line(span, labels).strip())
