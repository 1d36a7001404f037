"""``ser-features corpora``: list, find, fetch and verify corpora."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from pipeline.cli.group import EXISTING_FILE, EXISTING_FOLDER, PATH, Group
from pipeline.core import config
from pipeline.core.errors import CorpusError, SettingError

TO_HELP = "Where to put it.  [default: data/raw/ and the title of the corpus]"
FROM_HELP = "A downloaded zip of the corpus, used instead of the network."


SOURCE_HELP = "Where to download from."


@click.command()
@click.argument("name")
@click.option("--to", "folder", type=PATH, help=TO_HELP)
@click.option("--from", "archive", type=EXISTING_FILE, help=FROM_HELP)
@click.option(
    "--source", type=click.Choice(["official", "kaggle"]), default="official", show_default=True, help=SOURCE_HELP
)
@click.option("--accept-licence", is_flag=True, help="Do not ask: I have read the licence and accept it.")
def fetch(name: str, folder: Path | None, *, archive: Path | None, source: str, accept_licence: bool) -> None:
    """Download a corpus and verify every file.

    NAME is ravdess, crema_d, tess, savee or emodb. After an interruption, run it again: finished files are not
    downloaded again. SAVEE requires a registration; the command explains it and then takes the zip with --from, which
    works for every corpus. Kaggle needs an account there and pip install -c constraints.txt -e '.[kaggle]'.
    """
    from pipeline.acquire import fetch as acquire_fetch
    from pipeline.tools import recipes  # imported late, so that --help starts quickly

    request = acquire_fetch.make_request(name, folder, archive=archive, kaggle=source == "kaggle")
    recipes.refuse_folder_name(str(request.folder))
    if acquire_fetch.is_in_place(request):
        click.echo(f"{request.page.title} is in {request.folder} already, every file as published.")
    else:
        _accept_licence(acquire_fetch.licence_text(request.page), accept_licence)
        count = acquire_fetch.fetch_corpus(request)
        click.echo(f"{request.page.title}: {count:,} recordings in {request.folder}, every file as published.")
    click.echo(corpora_command(name, request.folder))


def _accept_licence(licence: str, accepted: bool) -> None:
    """Show a licence and ask for its acceptance.

    Raises:
        SettingError: it was not accepted.
    """
    click.echo(licence, err=True)
    if accepted:
        return
    if not stdin_is_terminal():
        raise SettingError("There is no terminal to ask on: pass --accept-licence if you accept the licence.")
    if not click.confirm("Do you accept?", err=True):
        raise SettingError("The licence was not accepted: nothing was downloaded.")


def stdin_is_terminal() -> bool:
    """Say whether standard input can answer a question."""
    return sys.stdin.isatty()


def corpora_command(name: str, folder: Path) -> str:
    """Write the command that adds a corpus to params.yaml and removes those that are missing or synthetic."""
    from pipeline.acquire import survey
    from pipeline.tools import recipes

    params = config.read_params_if_present()
    known = config.corpus_folders(params) if params else {}
    unusable = survey.unreal(known)
    if name in known and name not in unusable and not survey.same_folder(known[name], str(folder)):
        click.echo(f"params.yaml has {name} in {known[name]}; this command changes it to {folder}:", err=True)
    drop = [each for each in unusable if each != name]
    changes = recipes.corpora_overrides({name: str(folder)}, known, drop=drop)
    return recipes.experiment_command(changes, encoding=sys.stdout.encoding)


NAME_HELP = "Name for a tree of emotion folders.  [default: the name of its folder]"
REPLACE_HELP = "Also change names that have another folder in params.yaml."


@click.command()
@click.argument("folder", type=EXISTING_FOLDER)
@click.option(
    "--write", is_flag=True, help="Write the corpora to params.yaml instead of printing the command that does so."
)
@click.option("--name", default="", help=NAME_HELP)
@click.option("--replace", "replacing", is_flag=True, help=REPLACE_HELP)
def find(folder: Path, *, write: bool, name: str, replacing: bool) -> None:
    """Recognise the corpora below FOLDER by their file names.

    Any layout works: originals, mirrors, re-sorted trees. Of a corpus that is found more than once, the copy with the
    most clips and the fewest other files is used. Only names are compared: 'ser-features corpora verify' compares the
    recordings.

    A tree with a folder per emotion is named after its own folder, with a number if params.yaml has that name for
    another one. Names in params.yaml whose folder is missing or holds the demo are reused.
    """
    from pipeline.acquire import search, survey
    from pipeline.audio import formats  # imported late, so that --help starts quickly

    if name:
        config.check_corpus_name(name, "--name")
    params = config.read_params_if_present()
    known = config.corpus_folders(params) if params else {}
    paths = list(survey.walk(folder, say=_report_skipped))
    found = search.search(paths)
    named = survey.named(found, folder, known, replacing=replacing, name=name)
    _echo_lines(survey.told(found, [each.name for each in named], folder))
    _echo_lines(formats.conversion_advice(survey.unread(paths), str(folder)), err=True)
    if not found.corpora:
        raise CorpusError(f"{folder} holds no corpus with a folder of its own; docs/corpora.md says how to add yours.")
    _echo_lines(each.note for each in named if each.note)
    _set_corpora({each.name: each.folder for each in named}, known, write=write)


def _set_corpora(wanted: Mapping[str, str], known: Mapping[str, str], *, write: bool) -> None:
    """Write corpus folders to params.yaml, or print the command that does so, and report the names that are dropped."""
    from pipeline.acquire import survey
    from pipeline.tools import recipes

    unusable = survey.unreal(known)
    _echo_lines(f"{name} leaves {known[name]}, which {why}." for name, why in unusable.items())
    drop = [name for name in unusable if name not in wanted]
    changes = recipes.corpora_overrides(wanted, known, drop=drop)
    if not write:
        click.echo(f"\n{recipes.experiment_command(changes, encoding=sys.stdout.encoding)}")
    elif changes:
        survey.write_corpora(wanted, drop=drop)
        click.echo(f"Written to {config.PARAMS}. Now run: dvc repro")
    else:
        click.echo(f"{config.PARAMS} has these folders already.")


def _echo_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Print lines, if there are any."""
    for line in lines:
        click.echo(line, err=err)


def _report_skipped(error: OSError) -> None:
    """Report a folder that could not be listed."""
    click.echo(f"skipped: {error.filename} ({error.strerror})", err=True)


@click.group(cls=Group)
def corpora() -> None:
    """Find, download, list and verify corpora."""


corpora.add_command(find)
corpora.add_command(fetch)


@corpora.command("list")
def corpora_list() -> None:
    """List the corpora with size, licence, folder and clips found.

    The folder is that in params.yaml.
    """
    from pipeline.acquire import survey
    from pipeline.corpora import folders as corpora_folders
    from pipeline.corpora import registry

    params = config.read_params_if_present()
    folders = config.corpus_folders(params) if params else {}
    names = [*registry.KNOWN_CORPORA, *sorted(set(folders) - set(registry.KNOWN_CORPORA))]
    click.echo("\n".join(survey.overview([corpora_folders.corpus_info(name) for name in names], folders)))


@corpora.command("verify")
@click.argument("name")
@click.argument("folder", type=EXISTING_FOLDER)
@click.option(
    "--csv", "output", type=PATH, help="Write a table with a row for every published clip and every other file."
)
def corpora_verify(name: str, folder: Path, output: Path | None) -> None:
    """Compare the files of a corpus with the published ones.

    NAME is the corpus, FOLDER where it is. The exit code is 1 unless every file is there and as published.
    """
    from pathlib import PurePath  # imported late, so that --help starts quickly

    from pipeline import parallel
    from pipeline.acquire import verify
    from pipeline.audio import formats
    from pipeline.core import files
    from pipeline.corpora import folders as corpora_folders

    written = files.Output(path=output, what="a table", ours=verify.is_table) if output else None
    if written:
        files.check_output(written)
    found = verify.verify_folder(name, folder, processes=parallel.Execute().processes)
    unread = formats.list_unsupported(PurePath(path) for path in found["found"])
    click.echo(
        "\n".join(
            [
                *verify.summary_lines(corpora_folders.corpus_info(name), found),
                *formats.conversion_advice(unread, str(folder)),
            ]
        )
    )
    if written:
        with files.replace_output(written) as part:
            found.to_csv(part, index=False, lineterminator="\n")
    if not verify.is_whole(found):
        raise SystemExit(1)
