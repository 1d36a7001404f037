"""The program ``ser-features`` and its commands ``audit``, ``recipe`` and ``compare``."""

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
MODEL_LEAKS = ("statistics", "own_statistics")  # leaks that only evaluate can find


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
def audit(*, as_json: bool) -> None:
    """List the leaks between training and test data.

    Each kind of leak is listed with its share of the test rows: those of the current split and, if a model was
    evaluated on a split of the same protocol, those of the model. The exit code is 1 if anything leaks, but 0 for the
    protocol 'published', which leaks on purpose.
    """
    from pipeline.core import files
    from pipeline.report import tables  # imported late, so that --help starts quickly

    figures = files.read_json(AUDIT, stage="split")
    leak = figures["leak"] | _model_leaks(_evaluation_scores(), figures)
    if as_json:
        click.echo(json.dumps(figures | {"leak": leak}, indent=2))
    else:
        table, count = tables.leak_table({}, {"leak": leak}), figures["count"]
        click.echo(f"Protocol {figures['protocol']}, of {count['test_rows']:,} test rows in {count['folds']} folds:")
        for sentence, share, weight in table.rows:
            click.echo(f"{share.replace(chr(160), ' '):>8s}  {sentence}  ({weight})")
        click.echo(table.note.replace(chr(160), " "))
    if leak["contaminated"] and figures["protocol"] != "published":
        raise SystemExit(1)


def _evaluation_scores() -> dict[str, Any]:
    """Read the scores of the bundle or, in a clone without models, those under version control."""
    from pipeline.core import files
    from pipeline.report.tables import subsection  # imported late, so that --help starts quickly

    if BUNDLE.exists():
        return subsection(files.read_json(BUNDLE, stage="evaluate"), "scores")
    return dict(files.read_json(DETAILS, stage="report")) if DETAILS.exists() else {}


def _model_leaks(evaluation: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the leaks that the evaluation found, if it was of a split of the same protocol."""
    if not evaluation or evaluation.get("protocol") != figures["protocol"]:
        return {}
    leaks = {name: evaluation["leak"][name] for name in MODEL_LEAKS if name in evaluation["leak"]}
    return leaks | ({"contaminated": 1.0} if leaks.get("statistics") else {})


DATA_HELP = "Folder of a corpus.  [default: that in params.yaml, or /data/NAME]"
RUNG_HELP = "How the data are split; see above.  [default: published]"


@click.command()
@click.argument("name", required=False)
@click.option("--rung", type=click.Choice(list(recipes.RUNGS)), default="published", help=RUNG_HELP)
@click.option(
    "--on", multiple=True, metavar="NAME", help="Use this corpus instead of those of the recipe. May be repeated."
)
@click.option("--data", multiple=True, metavar="NAME=FOLDER", help=DATA_HELP)
@click.option(
    "--note", is_flag=True, help="Describe the recipe instead, and what was chosen where the publication is silent."
)
def recipe(name: str | None, rung: str, on: tuple[str, ...], data: tuple[str, ...], *, note: bool) -> None:
    """Print the command that runs a published system.

    Without NAME, list the recipes. To run one at once: eval "$(ser-features recipe conv2d_mfcc)". Settings that another
    recipe left in params.yaml are reset.

    The rungs, from the published score to one without leaks, are: published, the split as published, with its leaks;
    deduplicated, the same with each recording once; random, by clip, with augmented copies on the same side; speaker,
    tested on unseen speakers.
    """
    if name is None:
        click.echo("\n".join(recipes.recipe_lines()))
        return
    chosen = recipes.load_recipe(name).with_corpora(on) if on else recipes.load_recipe(name)
    if note:
        click.echo("\n".join(recipes.describe_recipe(chosen)))
        return
    changes = recipes.recipe_overrides(chosen, rung, config.read_params(), dict(map(_parse_folder, data)))
    click.echo(recipes.recipe_command(chosen, rung, changes, encoding=sys.stdout.encoding))


def _parse_folder(text: str) -> tuple[str, str]:
    """Parse NAME=FOLDER.

    >>> _parse_folder("ravdess=/data/RAVDESS")
    ('ravdess', '/data/RAVDESS')

    Raises:
        SettingError: the text has another form.
    """
    name, sign, folder = text.partition("=")
    if not (name and sign and folder):
        raise SettingError(f"--data is {text!r}, expected NAME=FOLDER, such as ravdess=/data/RAVDESS.")
    return name, folder


class NotComparableError(click.ClickException):
    """The revisions could not be compared; exit code 1 means that the second is worse."""

    exit_code = 2


@click.command()
@click.argument("before", metavar="REV")
@click.argument("after", metavar="[REV]", default="workspace")
@click.option(
    "--require", type=click.Choice(["better"]), help="Exit 1 unless the second is better; no difference fails too."
)
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON, shares from 0 to 1.")
def compare(before: str, after: str, *, require: str | None, as_json: bool) -> None:
    """Say whether the second REV scores better than the first.

    REV is a git revision (main, HEAD~1, a tag), a DVC experiment, or workspace, which is the default for the second.
    The verdict is 'better', 'worse' or, if the 95 % interval of the difference of UAR includes 0, 'no difference that
    these data can show'. The interval is a paired bootstrap over speakers if the predictions of both are available,
    else it follows from the interval of each. Runs with different protocols, classes or test clips, or with a leak, are
    'not comparable'.

    The exit code is 0 for better or no difference, 1 for worse, and 2 for not comparable.
    """
    from pipeline.tools import compare as tools_compare  # imported late, so that --help starts quickly
    from pipeline.tools import runs

    try:
        found = tools_compare.compare_runs(runs.read_run(before), runs.read_run(after))
    except SerError as error:
        raise NotComparableError(str(error)) from error
    click.echo(json.dumps(asdict(found), indent=2) if as_json else "\n".join(tools_compare.comparison_lines(found)))
    raise SystemExit(tools_compare.comparison_exit_code(found, strict=require == tools_compare.BETTER))


COMMANDS = (
    features.extract, features.inspect, corpora.corpora, audit, compare, recipe, features.store,
    models.predict, models.listen, models.serve, models.model, models.export,
)  # fmt: skip


@click.group(cls=Group)
@click.version_option(package_name="ser-features")
def main() -> None:
    """Speech emotion recognition: corpora, features, models and leak-free scores."""


for command in COMMANDS:
    main.add_command(command)
