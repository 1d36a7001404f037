"""What commands have in common: how errors end."""

import io
import sys
from collections.abc import Sequence

import click

from pipeline import paths
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
        except OSError as error:
            if refused := paths.refusal(error):
                raise click.ClickException(str(refused)) from error
            raise


def fail(failures: Sequence[str], rest: str) -> None:
    """Print what went wrong with single files, a line each, and exit 1 if anything did.

    Raises:
        SerError: there were failures; ``rest`` says what became of the other files.
    """
    for failure in failures:
        click.echo(failure, err=True)
    if failures:
        raise SerError(f"{len(failures)} file{'s' * (len(failures) > 1)} could not be read; {rest}")
