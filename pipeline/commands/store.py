"""``ser-features store``: what the clip cache holds, whether it is whole, what can go."""

import json
import time
from dataclasses import asdict

import click

from pipeline import config
from pipeline.commands.features import VIEWS
from pipeline.commands.group import Group


@click.group(cls=Group)
def store() -> None:
    """The clip cache: what is in it, whether it is whole, what can go.

    It is where SER_STORE_URL says, else where store.url in params.yaml does, else in the user's cache folder.
    """


@store.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print everything, sizes in bytes and times in s since 1970.")
def store_ls(*, as_json: bool) -> None:
    """List drawers, the shards made of them, and what is unpacked for training, with sizes and ages."""
    from pipeline.store import holdings, inventory, listing, recipe  # late: --help starts in a blink

    params = config.read_or_empty()
    found = inventory.take(holdings.place(params))
    settings = recipe.from_params(params) if "features" in params else None
    current = {view: recipe.identity(settings, view) for view in VIEWS} if settings else {}
    lines = listing.inventory(found, time.time(), current)
    click.echo(json.dumps(asdict(found), indent=2) if as_json else "\n".join(lines))


@store.command("verify")
@click.option("--repair", is_flag=True, help="Delete what is damaged; the next extraction makes it again.")
def store_verify(*, repair: bool) -> None:
    """Read every byte of all segments, those of the shared place too; exit 1 if any is damaged."""
    from pipeline.store import holdings, tally, upkeep

    place = holdings.place(config.read_or_empty())
    checked = upkeep.verify(place)
    damaged = [each.item for each in checked if each.fault]
    deleted = upkeep.delete(place, damaged if repair else [])
    click.echo("\n".join(tally.verdict(checked, deleted)))
    if damaged:
        raise SystemExit(1)


OLDER_THAN = "Touch nothing younger, so that a running extraction loses nothing.  [default: 1]"


@store.command("gc")
@click.option("--older-than", "days", metavar="DAYS", type=click.FloatRange(min=0), default=1.0, help=OLDER_THAN)
@click.option("--dry-run", is_flag=True, help="Delete nothing, say what would go.")
@click.option("--shared", is_flag=True, help="Look through the shared place too.")
def store_gc(*, days: float, dry_run: bool, shared: bool) -> None:
    """Delete what no shard needs: segments, notes of shards that are gone, files unpacked for training.

    Unfinished files go after an hour and locks that nobody holds after a day, whatever DAYS is. A shard on another
    machine counts as there for 90 days after it was written.
    """
    from pipeline.store import holdings, tally, upkeep

    place = holdings.place(config.read_or_empty())
    found = upkeep.garbage(place, days=days, shared=shared)
    deleted = None if dry_run else upkeep.delete(place, found.old)
    click.echo("\n".join(tally.swept(found, deleted)))
    if deleted and deleted.failures:
        raise SystemExit(1)
