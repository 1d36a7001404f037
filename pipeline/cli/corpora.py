"""``ser-features corpora``: list, find, fetch and verify corpora."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from pipeline.cli.group import FILE, FOLDER, NAMED, Group
from pipeline.core import config
from pipeline.core.errors import CorpusError, SettingError

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

    Call it again after an interruption: finished files are not downloaded again. SAVEE is given out after registration;
    the command says what to do and takes the zip with --from, as it does for every corpus. Kaggle needs your own
    account there, and pip install -c constraints.txt -e '.[kaggle]'.
    """
    from pipeline.acquire import fetch as acquire_fetch
    from pipeline.tools import recipes  # late: --help starts in a blink

    request = acquire_fetch.make_request(name, folder, archive=archive, kaggle=source == "kaggle")
    recipes.refuse_unkept(str(request.folder))
    if acquire_fetch.is_in_place(request):
        click.echo(f"{request.page.title} is in {request.folder} already, every file as published.")
    else:
        accept(acquire_fetch.licence_text(request.page), accept_licence)
        count = acquire_fetch.fetch_corpus(request)
        click.echo(f"{request.page.title}: {count:,} recordings in {request.folder}, every file as published.")
    click.echo(line(name, request.folder))


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
    from pipeline.acquire import survey
    from pipeline.tools import recipes

    params = config.read_if_any()
    known = config.corpora(params) if params else {}
    unreal = survey.unreal(known)
    if name in known and name not in unreal and not survey.same_folder(known[name], str(folder)):
        click.echo(f"params.yaml has {name} in {known[name]}; this line points it at {folder}:", err=True)
    drop = [each for each in unreal if each != name]
    changes = recipes.corpora_override({name: str(folder)}, known, drop=drop)
    return recipes.override_line(changes, encoding=sys.stdout.encoding)


NAME = "What to call a tree of emotion folders.  [default: as its folder is called]"
REPLACE = "Point names of params.yaml here even where they have another folder."


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--write", is_flag=True, help="Point params.yaml at them, instead of printing the line that does so.")
@click.option("--name", default="", help=NAME)
@click.option("--replace", "replacing", is_flag=True, help=REPLACE)
def find(folder: Path, *, write: bool, name: str, replacing: bool) -> None:
    """Recognise the corpora below FOLDER by their file names, in whatever layout: originals, mirrors, re-sorted trees.

    Of a corpus that is there more than once, the copy with most clips and least besides is taken. Only names are looked
    at: 'ser-features corpora verify' compares the recordings.

    A tree of emotion folders is called as its own folder is, with a number where params.yaml has that name for another
    one. Names whose folder is not there, or holds the demo, are free.
    """
    from pipeline.acquire import search, survey
    from pipeline.audio import formats  # late: --help starts in a blink

    if name:
        config.refuse_corpus_name(name, "--name")
    params = config.read_if_any()
    known = config.corpora(params) if params else {}
    paths = list(survey.walk(folder, say=passed_over))
    found = search.search(paths)
    named = survey.named(found, folder, known, replacing=replacing, name=name)
    say(survey.told(found, [each.name for each in named], folder))
    say(formats.told(survey.unread(paths), str(folder)), err=True)
    if not found.corpora:
        raise CorpusError(f"{folder} holds no corpus with a folder of its own; docs/corpora.md says how to add yours.")
    say(each.note for each in named if each.note)
    point({each.name: each.folder for each in named}, known, write=write)


def point(wanted: Mapping[str, str], known: Mapping[str, str], *, write: bool) -> None:
    """Point params.yaml at folders, or print the line that does so, and say which names have others until now."""
    from pipeline.acquire import survey
    from pipeline.tools import recipes

    gone = survey.unreal(known)
    say(f"{name} leaves {known[name]}, which {why}." for name, why in gone.items())
    drop = [name for name in gone if name not in wanted]
    changes = recipes.corpora_override(wanted, known, drop=drop)
    if not write:
        click.echo(f"\n{recipes.override_line(changes, encoding=sys.stdout.encoding)}")
    elif changes:
        survey.write_corpora(wanted, drop=drop)
        click.echo(f"Written to {config.PARAMS}. Now run: dvc repro")
    else:
        click.echo(f"{config.PARAMS} has nothing else: it stays as it is.")


def say(lines: Iterable[str], *, err: bool = False) -> None:
    """Print lines, and nothing where there are none."""
    for line in lines:
        click.echo(line, err=err)


def passed_over(error: OSError) -> None:
    """Say which folder could not be listed."""
    click.echo(f"passed over: {error.filename} ({error.strerror})", err=True)


@click.group(cls=Group)
def corpora() -> None:
    """The corpora: what they are and where."""


corpora.add_command(find)
corpora.add_command(fetch)


@corpora.command("list")
def corpora_list() -> None:
    """List the corpora: how large, under which licence, where params.yaml has them, and how much of each is there."""
    from pipeline.acquire import survey
    from pipeline.corpora import known, registry

    params = config.read_if_any()
    places = config.corpora(params) if params else {}
    names = [*known.KNOWN, *sorted(set(places) - set(known.KNOWN))]
    click.echo("\n".join(survey.overview([registry.corpus_info(name) for name in names], places)))


@corpora.command("verify")
@click.argument("name")
@click.argument("folder", type=FOLDER)
@click.option("--csv", "output", type=NAMED, help="Write a row for every published clip and every other file.")
def corpora_verify(name: str, folder: Path, output: Path | None) -> None:
    """Compare a corpus with what was published, file by file; exit 1 unless it is whole."""
    from pathlib import PurePath  # late: --help starts in a blink

    from pipeline import parallel
    from pipeline.acquire import verify
    from pipeline.audio import formats
    from pipeline.core import files
    from pipeline.corpora import registry

    written = files.Output(path=output, what="a table", ours=verify.is_table) if output else None
    if written:
        files.refuse_taken(written)
    found = verify.verify_folder(name, folder, processes=parallel.Execute().processes)
    unread = formats.unread(PurePath(path) for path in found["found"])
    click.echo(
        "\n".join([*verify.summary_lines(registry.corpus_info(name), found), *formats.told(unread, str(folder))])
    )
    if written:
        with files.replacing(written) as part:
            found.to_csv(part, index=False, lineterminator="\n")
    if not verify.is_whole(found):
        raise SystemExit(1)
