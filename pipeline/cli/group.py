"""What commands share: how errors end them, JSON output, arguments that are paths."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from pipeline.core import machine, paths
from pipeline.core.errors import SerError, SettingError


class Group(click.Group):
    """Show our own errors as one line and exit 1; let bugs through with their traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        machine.show_all_letters()
        try:
            machine.refuse_other_names()
            return super().invoke(ctx)
        except SerError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if refused := paths.refusal(error):
                raise click.ClickException(str(refused)) from error
            raise


def fail(failures: Sequence[str], rest: str, files: Iterable[Path] = ()) -> None:
    """Print what went wrong with single files, a line each, and exit 1 if anything did.

    Args:
        failures: a sentence for each file.
        rest: what became of the others.
        files: all of them; those in formats that are not read get a line that converts them all.

    Raises:
        SerError: there were failures.
    """
    from pipeline.audio import formats  # late: --help starts in a blink

    unread = [path for path in files if formats.by_name(path) and any(f.startswith(f"{path} is ") for f in failures)]
    for failure in [*failures, *(formats.told(unread) if len(unread) > 1 else ())]:
        click.echo(failure, err=True)
    if failures:
        raise SerError(f"{len(failures)} file{'s' * (len(failures) > 1)} could not be read; {rest}")


def echo_json(values: Any) -> None:
    """Print JSON; letters that standard output cannot write as JSON escapes them, which any reader of JSON undoes."""
    text = json.dumps(values, indent=2, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(values, indent=2)
    click.echo(text)


class Named(click.ParamType):  # type: ignore[type-arg]  # older versions of click take no argument
    """A path that a person names; ``~`` is the home folder, an empty one is refused."""

    name = "path"

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ARG002 - click's names
        """Read a path."""
        return value if isinstance(value, Path) else paths.named(value)


class Folder(Named):
    """A folder that is there."""

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Read a path and look at it."""
        path = super().convert(value, param, ctx)
        if not paths.is_folder(path):
            state = "is not a folder" if path.exists() else "does not exist"
            raise SettingError(f"{paths.short(str(path))} {state}: name a folder.")
        return path


class File(Named):
    """A file that is there."""

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Read a path and look at it."""
        path = super().convert(value, param, ctx)
        if not paths.look(path):
            raise SettingError(f"{paths.short(str(path))} does not exist: name a file.")
        if not path.is_file():
            raise SettingError(f"{paths.short(str(path))} is not a file: name one.")
        return path


NAMED, FOLDER, FILE = Named(), Folder(), File()
