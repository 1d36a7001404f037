"""``ser-features model``: what a trained bundle is."""

import json
from pathlib import Path

import click

from pipeline.commands.group import echo_json
from pipeline.commands.options import NAMED
from pipeline.commands.predict import BUNDLE


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
    from pipeline.serving import about, markdown
    from pipeline.serving import card as cards
    from pipeline.serving.predictor import read_card

    card = read_card(folder)
    if form == "line":
        click.echo(about.sentence(card))
    elif form == "json":
        echo_json(json.loads((folder / cards.NAME).read_text(encoding="utf-8")))
    else:
        text = markdown.page(card) if form == "markdown" else markdown.body(card).replace("\u00a0", " ")
        click.echo(text, nl=False)
