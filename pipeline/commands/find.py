"""``ser-features corpora find``: which corpora lie on a disk, and the line that runs on them."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from pipeline import config
from pipeline.commands.options import FOLDER
from pipeline.errors import CorpusError

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
    from pipeline.corpora import formats, search, survey  # late: --help starts in a blink

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
    from pipeline.corpora import survey
    from pipeline.recipes import grammar
    from pipeline.store import settings

    gone = survey.unreal(known)
    say(f"{name} leaves {known[name]}, which {why}." for name, why in gone.items())
    drop = [name for name in gone if name not in wanted]
    changes = grammar.pointing(wanted, known, drop=drop)
    if not write:
        click.echo(f"\n{grammar.line(changes, encoding=sys.stdout.encoding)}")
    elif changes:
        settings.point(wanted, drop=drop)
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
