"""``ser-features audit``: what leaks."""

import json
from pathlib import Path

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print all figures instead of sentences.")
def audit(*, as_json: bool) -> None:
    """Say what leaks between training and test in the split that stands; exit 1 if anything does."""
    from pipeline.evaluation import leaks
    from pipeline.store import files

    figures = files.read_json(Path("metrics/audit.json"), stage="split")
    faults = leaks.faults(figures)
    count = figures["count"]
    clean = f"Nothing leaks: {count['test_rows']} test rows in {count['folds']} folds, protocol {figures['protocol']}."
    click.echo(json.dumps(figures, indent=2) if as_json else "\n".join(faults) or clean)
    if faults and figures["protocol"] != "published":
        raise SystemExit(1)
