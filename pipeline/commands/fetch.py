"""``ser-features corpora fetch``: a corpus from its publisher."""

import sys
from pathlib import Path

import click

from pipeline import config
from pipeline.commands.options import FILE, NAMED
from pipeline.errors import SettingError

TO = "The folder it will be.  [default: data/raw/ and the title of the corpus]"
FROM = "A zip of the corpus that you have downloaded; no network is used then."


@click.command()
@click.argument("name")
@click.option("--to", "folder", type=NAMED, help=TO)
@click.option("--from", "archive", type=FILE, help=FROM)
@click.option("--source", type=click.Choice(["official", "kaggle"]), default="official", show_default=True)
@click.option("--accept-licence", is_flag=True, help="You have read the licence and accept it: do not ask.")
def fetch(name: str, folder: Path | None, *, archive: Path | None, source: str, accept_licence: bool) -> None:
    """Download the corpus NAME (ravdess, crema_d, tess, savee or emodb), check every file, and put it in place.

    Call it again after an interruption: it goes on where it was. SAVEE is given out after registration; the command
    says what to do and takes the zip with --from, as it does for every corpus. Kaggle needs your own account there, and
    pip install -c constraints.txt -e '.[kaggle]'.
    """
    from pipeline.recipes import grammar  # late: --help starts in a blink
    from pipeline.stages import fetch as stage

    what = stage.order(name, folder, archive=archive, kaggle=source == "kaggle")
    grammar.refuse_unkept(str(what.folder))
    if stage.there(what):
        click.echo(f"{what.page.title} is in {what.folder} already, every file as published.")
    else:
        accept(stage.licence(what.page), accept_licence)
        count = stage.run(what)
        click.echo(f"{what.page.title}: {count:,} recordings in {what.folder}, every file as published.")
    click.echo(line(name, what.folder))


def accept(licence: str, accepted: bool) -> None:
    """Show a licence and have it accepted.

    Raises:
        SettingError: it is not.
    """
    click.echo(licence, err=True)
    if accepted:
        return
    if not on_terminal():
        raise SettingError("Nobody is there to ask: say with --accept-licence that you accept the licence.")
    if not click.confirm("Do you accept?", err=True):
        raise SettingError("Without the licence accepted nothing was fetched.")


def on_terminal() -> bool:
    """Say whether a person can answer."""
    return sys.stdin.isatty()


def line(name: str, folder: Path) -> str:
    """Write the command that runs on a corpus, and on those of params.yaml that are recordings of people."""
    from pipeline.corpora import survey
    from pipeline.recipes import grammar

    params = config.read_if_any()
    known = config.corpora(params) if params else {}
    unreal = survey.unreal(known)
    if name in known and name not in unreal and not survey.same_folder(known[name], str(folder)):
        click.echo(f"params.yaml has {name} in {known[name]}; this line points it at {folder}:", err=True)
    drop = [each for each in unreal if each != name]
    changes = grammar.pointing({name: str(folder)}, known, drop=drop)
    return grammar.line(changes, encoding=sys.stdout.encoding)
