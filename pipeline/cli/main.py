"""``ser-features``: the program, and its commands ``audit``, ``recipe`` and ``compare``."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pipeline.cli import corpora, features, models
from pipeline.cli.group import Group
from pipeline.core import config
from pipeline.core.errors import SerError, SettingError
from pipeline.tools import recipes

AUDIT, DETAILS, BUNDLE = Path("metrics/audit.json"), Path("metrics/details.json"), Path("models/bundle/bundle.json")
OF_THE_MODEL = ("statistics", "own_statistics")  # what only evaluate can see


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print all figures instead of sentences.")
def audit(*, as_json: bool) -> None:
    """Say what leaks between training and test; exit 1 if anything does.

    Every kind of leak is listed with its share of the test rows: those of the split that stands and, where a model was
    evaluated on a split of the same protocol, those of the model. A split of the protocol 'published' leaks on purpose,
    so that the exit code stays 0.
    """
    from pipeline.core import files
    from pipeline.report import tables  # late: --help starts in a blink

    figures = files.read_json(AUDIT, stage="split")
    leak = figures["leak"] | of_the_model(evaluation(), figures)
    if as_json:
        click.echo(json.dumps(figures | {"leak": leak}, indent=2))
    else:
        table = tables.leaks({}, {"leak": leak})
        click.echo(f"Protocol {figures['protocol']}, of {count(figures)}:")
        for sentence, share, weight in table.rows:
            click.echo(f"{share.replace(chr(160), ' '):>8s}  {sentence}  ({weight})")
        click.echo(table.note.replace(chr(160), " "))
    if leak["contaminated"] and figures["protocol"] != "published":
        raise SystemExit(1)


def evaluation() -> dict[str, Any]:
    """Read the scores of the bundle or, in a clone that has no models, those that git keeps."""
    from pipeline.core import files
    from pipeline.report.tables import part  # late: --help starts in a blink

    if BUNDLE.exists():
        return part(files.read_json(BUNDLE, stage="evaluate"), "scores")
    return dict(files.read_json(DETAILS, stage="report")) if DETAILS.exists() else {}


def of_the_model(evaluation: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, float]:
    """Give what the evaluation of a split of the same protocol adds."""
    if not evaluation or evaluation.get("protocol") != figures["protocol"]:
        return {}
    seen = {name: evaluation["leak"][name] for name in OF_THE_MODEL if name in evaluation["leak"]}
    return seen | ({"contaminated": 1.0} if seen.get("statistics") else {})


def count(figures: Mapping[str, Any]) -> str:
    """Say how much was audited."""
    found = figures["count"]
    return f"{found['test_rows']:,} test rows in {found['folds']} folds"


PLACE = "NAME=FOLDER of a corpus.  [default: params.yaml's, or /data/NAME]"
RUNG = "How it is split, from the famous number to the honest one.  [default: published]"


@click.command()
@click.argument("name", required=False)
@click.option("--rung", type=click.Choice(list(recipes.RUNGS)), default="published", help=RUNG)
@click.option("--on", multiple=True, metavar="NAME", help="A corpus instead of the recipe's own.")
@click.option("--data", multiple=True, metavar="NAME=FOLDER", help=PLACE)
@click.option("--note", is_flag=True, help="Say what was chosen where the publication is silent, instead.")
def recipe(name: str | None, rung: str, on: tuple[str, ...], data: tuple[str, ...], *, note: bool) -> None:
    """Print the command that runs a published system; without NAME, list them.

    The rungs of the ladder are: published, the split as published, faults and all; deduplicated, the same with each
    recording once; random, by clip with augmented copies on one side; speaker, by people never heard.

    To run it at once: eval "$(ser-features recipe conv2d_mfcc)". What another recipe left in params.yaml is set back.
    """
    if name is None:
        click.echo("\n".join(recipes.list_recipes()))
        return
    chosen = recipes.load_recipe(name).over(on) if on else recipes.load_recipe(name)
    if note:
        click.echo("\n".join(recipes.described(chosen)))
        return
    changes = recipes.overrides(chosen, rung, config.read(), dict(map(place, data)))
    click.echo(recipes.recipe_command(chosen, rung, changes, encoding=sys.stdout.encoding))


def place(text: str) -> tuple[str, str]:
    """Read NAME=FOLDER.

    >>> place("ravdess=/data/RAVDESS")
    ('ravdess', '/data/RAVDESS')

    Raises:
        SettingError: it is something else.
    """
    name, sign, folder = text.partition("=")
    if not (name and sign and folder):
        raise SettingError(f"--data is {text!r}, expected NAME=FOLDER, such as ravdess=/data/RAVDESS.")
    return name, folder


class Impossible(click.ClickException):
    """Nothing could be compared; 1 is kept for a second revision that is worse."""

    exit_code = 2


@click.command()
@click.argument("before", metavar="REV")
@click.argument("after", metavar="[REV]", default="workspace")
@click.option("--require", type=click.Choice(["better"]), help="Exit 1 unless it is better: no difference fails too.")
@click.option("--json", "as_json", is_flag=True, help="Print all figures, shares from 0 to 1.")
def compare(before: str, after: str, *, require: str | None, as_json: bool) -> None:
    """Say whether the second REV is better than the first, as far as the data can show it.

    REV is a git revision (main, HEAD~1, a tag), a DVC experiment, or workspace, which is what the second one is if it
    is not named. The verdict is 'better', 'worse' or 'no difference that these data can show', by whether the 95 %
    interval of the difference of UAR holds 0: over the same clips and speakers where the predictions of both can be
    had, else from the interval of each. Other protocols, classes or test clips, or a leak, are 'not comparable'.

    The exit code is 0 for better or no difference, 1 for worse, and 2 where nothing can be compared.
    """
    from pipeline.tools import compare as tools_compare  # late: --help starts in a blink
    from pipeline.tools import runs

    try:
        found = tools_compare.compare_runs(runs.read_run(before), runs.read_run(after))
    except SerError as error:
        raise Impossible(str(error)) from error
    click.echo(json.dumps(asdict(found), indent=2) if as_json else "\n".join(tools_compare.comparison_lines(found)))
    raise SystemExit(tools_compare.exit_code(found, strict=require == tools_compare.BETTER))


COMMANDS = (
    features.extract, features.inspect, corpora.corpora, audit, compare, recipe, features.store,
    models.predict, models.listen, models.serve, models.model, models.export,
)  # fmt: skip


@click.group(cls=Group)
@click.version_option(package_name="ser-features")
def main() -> None:
    """Speech emotion recognition: corpora, features, honest scores."""


for command in COMMANDS:
    main.add_command(command)
