"""``ser-features corpora``: what they are and where."""

from pathlib import Path

import click

from pipeline import config
from pipeline.commands import fetch, find
from pipeline.commands.group import Group
from pipeline.commands.options import FOLDER, NAMED


@click.group(cls=Group)
def corpora() -> None:
    """The corpora: what they are and where."""


corpora.add_command(find.find)
corpora.add_command(fetch.fetch)


@corpora.command("list")
def corpora_list() -> None:
    """List the corpora: how large, under which licence, where params.yaml has them, and how much of each is there."""
    from pipeline.corpora import registry, survey  # late: --help starts in a blink

    params = config.read_if_any()
    places = config.corpora(params) if params else {}
    names = [*registry.KNOWN, *sorted(set(places) - set(registry.KNOWN))]
    click.echo("\n".join(survey.overview([registry.page(name) for name in names], places)))


@corpora.command("verify")
@click.argument("name")
@click.argument("folder", type=FOLDER)
@click.option("--csv", "output", type=NAMED, help="Write a row for every published clip and every other file.")
def corpora_verify(name: str, folder: Path, output: Path | None) -> None:
    """Compare a corpus with what was published, file by file; exit 1 unless it is whole."""
    from pathlib import PurePath  # late: --help starts in a blink

    from pipeline.corpora import formats, registry, wholeness
    from pipeline.stages import crew, verify
    from pipeline.store import outputs

    written = outputs.Output(path=output, what="a table", ours=wholeness.is_table) if output else None
    if written:
        outputs.refuse_taken(written)
    found = verify.run(name, folder, processes=crew.Execute().processes)
    unread = formats.unread(PurePath(path) for path in found["found"])
    click.echo("\n".join([*wholeness.summary(registry.page(name), found), *formats.told(unread, str(folder))]))
    if written:
        with outputs.replacing(written) as part:
            found.to_csv(part, index=False, lineterminator="\n")
    if not wholeness.is_whole(found):
        raise SystemExit(1)
