"""``ser-features``: the program and its commands."""

import click

from pipeline.commands import audit, compare, corpora, export, features, listen, model, predict, recipe, serve, store
from pipeline.commands.group import Group

COMMANDS = (
    features.extract, features.inspect, corpora.corpora, audit.audit, compare.compare, recipe.recipe, store.store,
    predict.predict, listen.listen, serve.serve, model.model, export.export,
)  # fmt: skip


@click.group(cls=Group)
@click.version_option(package_name="ser-features")
def main() -> None:
    """Speech emotion recognition: corpora, features, honest scores."""


for command in COMMANDS:
    main.add_command(command)
