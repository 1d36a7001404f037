"""``ser-features``: text into objects, one call, one line."""

import json
from pathlib import Path

import click

from pipeline import config
from pipeline.errors import SerError


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
