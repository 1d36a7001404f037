"""``ser-features serve``: a web page and a JSON API for trained bundles."""

import ipaddress
from pathlib import Path

import click

from pipeline import extras
from pipeline.commands.predict import EVERY, FOLD, MODEL

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
    from pipeline.serving import quiet
    from pipeline.serving.desk import Desk, Limits
    from pipeline.serving.predictor import open_all

    door = app.bind(host, port)
    if not is_loopback(host):
        click.secho(EXPOSED.format(host), err=True, bold=True)
    with quiet.startup():
        predictor = open_all(models, fold=fold)
    desk = Desk(predictor, predictor.plan(every=every), Limits(megabytes=max_mb, seconds=max_seconds))
    app.run(desk, door, names=[path.name for path in models], ready=lambda: click.echo(greeting(door.getsockname())))


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
