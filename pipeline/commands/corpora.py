"""``ser-features corpora``: what they are and where."""

import click

from pipeline import config
from pipeline.commands import fetch
from pipeline.commands.group import Group


@click.group(cls=Group)
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


corpora.add_command(fetch.fetch)
