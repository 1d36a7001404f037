"""``ser-features corpora find``: which corpora lie on a disk, and the line that runs on them."""

from pathlib import Path

import click

from pipeline import config
from pipeline.commands.options import FOLDER
from pipeline.errors import CorpusError


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--write", is_flag=True, help="Point params.yaml at them, instead of printing the line that does so.")
def find(folder: Path, *, write: bool) -> None:
    """Recognise the corpora below FOLDER by their file names, in whatever layout: originals, mirrors, re-sorted trees.

    Of a corpus that is there more than once, the copy with most clips and least besides is taken. Only names are looked
    at: 'ser-features corpora verify' compares the recordings.
    """
    from pipeline.corpora import search, survey  # late: --help starts in a blink
    from pipeline.recipes import grammar
    from pipeline.store import settings

    found = search.search(survey.walk(folder, say=passed_over))
    click.echo("\n".join(survey.told(found, folder)))
    if not found.corpora:
        raise CorpusError(f"{folder} holds no corpus with a folder of its own; docs/corpora.md says how to add yours.")
    known = config.corpora(params) if (params := config.read_or_empty()) else {}
    wanted = {each.name: survey.located(folder, each.folder) for each in found.corpora}
    drop = [name for name in survey.unreal(known) if name not in wanted]
    if write:
        settings.point(wanted, drop=drop)
        click.echo(f"Written to {config.PARAMS}. Now run: dvc repro")
        return
    click.echo(f"\n{grammar.line(grammar.pointing(wanted, known, drop=drop))}")


def passed_over(error: OSError) -> None:
    """Say which folder could not be listed."""
    click.echo(f"passed over: {error.filename} ({error.strerror})", err=True)
