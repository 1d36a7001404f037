"""What options and arguments of commands have in common: how a path is read."""

from pathlib import Path

import click

from pipeline import paths
from pipeline.errors import SettingError


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
