"""``ser-features recipe``: the published systems as lines for ``dvc exp run``."""

import sys

import click

from pipeline import config
from pipeline.errors import SettingError
from pipeline.recipes import catalogue

PLACE = "NAME=FOLDER of a corpus.  [default: params.yaml's, or /data/NAME]"
RUNG = "How it is split, from the famous number to the honest one.  [default: published]"


@click.command()
@click.argument("name", required=False)
@click.option("--rung", type=click.Choice(list(catalogue.RUNGS)), default="published", help=RUNG)
@click.option("--on", multiple=True, metavar="NAME", help="A corpus instead of the recipe's own.")
@click.option("--data", multiple=True, metavar="NAME=FOLDER", help=PLACE)
@click.option("--note", is_flag=True, help="Say what was chosen where the publication is silent, instead.")
def recipe(name: str | None, rung: str, on: tuple[str, ...], data: tuple[str, ...], *, note: bool) -> None:
    """Print the command that runs a published system; without NAME, list them.

    The rungs of the ladder are: published, the split as published, faults and all; deduplicated, the same with each
    recording once; random, by clip with augmented copies on one side; speaker, by people never heard.

    To run it at once: eval "$(ser-features recipe conv2d_mfcc)". What another recipe left in params.yaml is set back.
    """
    if name is None:
        click.echo("\n".join(catalogue.listing()))
        return
    chosen = catalogue.load(name).over(on) if on else catalogue.load(name)
    if note:
        click.echo("\n".join(catalogue.described(chosen)))
        return
    changes = catalogue.overrides(chosen, rung, config.read(), dict(map(place, data)))
    click.echo(catalogue.command(chosen, rung, changes, encoding=sys.stdout.encoding))


def place(text: str) -> tuple[str, str]:
    """Read NAME=FOLDER.

    >>> place("ravdess=/data/RAVDESS")
    ('ravdess', '/data/RAVDESS')

    Raises:
        SettingError: it is something else.
    """
    name, sign, folder = text.partition("=")
    if not (name and sign and folder):
        raise SettingError(f"--data is {text!r}, expected NAME=FOLDER, such as ravdess=/data/RAVDESS.")
    return name, folder
