"""What commands have in common: how errors end."""

import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from pipeline.errors import SerError


class Group(click.Group):
    """Show our own errors as one line and exit 1; let bugs through with their traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; a letter that standard output cannot write is written by its number."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except SerError as error:
            raise click.ClickException(str(error)) from error


def fail(failures: Sequence[str], rest: str, paths: Iterable[Path] = ()) -> None:
    """Print what went wrong with single files, a line each, and exit 1 if anything did.

    Args:
        failures: a sentence for each file.
        rest: what became of the others.
        paths: all files; those in formats that are not read get a line that converts them all.

    Raises:
        SerError: there were failures.
    """
    from pipeline.corpora import formats  # late: --help starts in a blink

    unread = [path for path in paths if formats.by_name(path) and any(f.startswith(f"{path} is ") for f in failures)]
    for failure in [*failures, *(formats.told(unread) if len(unread) > 1 else ())]:
        click.echo(failure, err=True)
    if failures:
        raise SerError(f"{len(failures)} file{'s' * (len(failures) > 1)} could not be read; {rest}")
