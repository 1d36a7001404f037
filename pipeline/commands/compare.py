"""``ser-features compare``: two revisions side by side, a gate for CI."""

import json
from dataclasses import asdict

import click

from pipeline.errors import SerError


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
    from pipeline.evaluation import comparison, verdicts  # late: --help starts in a blink
    from pipeline.store import revisions

    try:
        found = comparison.compare(revisions.side(before), revisions.side(after))
    except SerError as error:
        raise Impossible(str(error)) from error
    click.echo(json.dumps(asdict(found), indent=2) if as_json else "\n".join(verdicts.lines(found)))
    raise SystemExit(comparison.exit_code(found, strict=require == comparison.BETTER))
