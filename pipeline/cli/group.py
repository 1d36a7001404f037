"""Shared by the commands: error handling, JSON output, path arguments."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from pipeline.core import machine, paths
from pipeline.core.errors import SerError, SettingError


class Group(click.Group):
    """Print expected errors as one line and exit 1; other exceptions keep their traceback."""

    def invoke(self, ctx: click.Context) -> object:
        machine.escape_unencodable()
        try:
            machine.check_filename_encoding()
            return super().invoke(ctx)
        except SerError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if refused := paths.explain_os_error(error):
                raise click.ClickException(str(refused)) from error
            raise


def report_failures(failures: Sequence[str], rest: str, files: Iterable[Path] = ()) -> None:
    """Print the failures of single files, and exit 1 if there are any.

    Args:
        failures: a sentence for each file that could not be read.
        rest: what was done with the other files.
        files: all files; those in unsupported formats get one command that converts them all.

    Raises:
        SerError: there were failures.
    """
    from pipeline.audio import formats  # imported late, so that --help starts quickly

    unread = [
        path for path in files if formats.format_by_name(path) and any(f.startswith(f"{path} is ") for f in failures)
    ]
    for failure in [*failures, *(formats.conversion_advice(unread) if len(unread) > 1 else ())]:
        click.echo(failure, err=True)
    if failures:
        raise SerError(f"{len(failures)} file{'s' * (len(failures) > 1)} could not be read; {rest}")


def echo_json(values: Any) -> None:
    """Print JSON; characters that standard output cannot encode become JSON escapes."""
    text = json.dumps(values, indent=2, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(values, indent=2)
    click.echo(text)


class PathType(click.ParamType):  # type: ignore[type-arg]  # older versions of click take no argument
    """A path; ``~`` is the home folder, and an empty path is refused."""

    name = "path"

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ARG002 - click's names
        return value if isinstance(value, Path) else paths.parse_path(value)


class FolderType(PathType):
    """A path to an existing folder."""

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = super().convert(value, param, ctx)
        if not paths.is_folder(path):
            state = "is not a folder" if path.exists() else "does not exist"
            raise SettingError(f"{paths.shorten_path(str(path))} {state}: name a folder.")
        return path


class FileType(PathType):
    """A path to an existing file."""

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = super().convert(value, param, ctx)
        if not paths.stat_path(path):
            raise SettingError(f"{paths.shorten_path(str(path))} does not exist: name a file.")
        if not path.is_file():
            raise SettingError(f"{paths.shorten_path(str(path))} is not a file: name a file.")
        return path


PATH, EXISTING_FOLDER, EXISTING_FILE = PathType(), FolderType(), FileType()
