"""``ser-features audit``: what leaks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

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
    from pipeline.evaluation import tables  # late: --help starts in a blink
    from pipeline.store import files

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
    from pipeline.evaluation.tables import part  # late: --help starts in a blink
    from pipeline.store import files

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
