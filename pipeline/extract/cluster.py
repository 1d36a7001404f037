"""Extraction on a Dask cluster, whose workers must see the same files."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from pipeline.core import extras
from pipeline.core.errors import SerError, SettingError
from pipeline.parallel import Mapper

Item = TypeVar("Item")
Result = TypeVar("Result")
ANSWER = 10  # s to wait for the scheduler's answer
PATIENCE = 120  # s to wait for the first worker


def at(scheduler: str) -> Mapper | None:
    """Return a mapper over the workers of the cluster at ``scheduler``, or None for an empty address."""
    return partial(spread, scheduler=scheduler) if scheduler else None


def spread(function: Callable[[Item], Result], items: Sequence[Item], scheduler: str) -> Iterator[Result]:
    """Map over the workers of the cluster at ``scheduler``; results come in the order of completion.

    If a worker dies, its task goes to another one. Dask's own futures are used because joblib waits for ever for a task
    that Dask has given up.

    Raises:
        SettingError: Dask is not installed, or no scheduler answers.
        SerError: no worker comes, workers die again and again, or the scheduler does.
    """
    client = connect(scheduler)
    from distributed import as_completed

    try:
        await_worker(client, scheduler)
        # no other reference to the futures: Dask would recompute results that are held when their worker dies
        for task in as_completed(
            [client.submit(alone, function, item, pure=False) for item in items], loop=client.loop
        ):
            with explained(scheduler):
                result = task.result()
            yield result
    finally:
        client.close()


def alone(function: Callable[[Item], Result], item: Item) -> Result:
    """Call a function with one native thread, since the cluster has one worker per core."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return function(item)


def connect(scheduler: str) -> Any:
    """Connect to the scheduler.

    Raises:
        SettingError: Dask is not installed, or no scheduler answers.
    """
    with extras.needed("cluster"):
        from distributed import Client
    try:
        found = asyncio.run(kind(scheduler))  # first: a client without a scheduler blocks the process for a minute
    except Exception as error:
        raise nobody(scheduler, str(error) or f"nothing within {ANSWER} s") from error
    if found != "Scheduler":
        raise nobody(scheduler, f"it is a {found.lower()}")
    return Client(scheduler, set_as_default=False)


async def kind(address: str) -> str:
    """Return what answers at an address: ``Scheduler`` or ``Worker``."""
    from distributed.core import rpc
    from distributed.security import Security

    security = Security().get_connection_args("client")
    async with rpc(address, timeout=ANSWER, connection_args=security) as other:
        return str((await asyncio.wait_for(other.identity(), ANSWER))["type"])


def nobody(scheduler: str, reason: str) -> SettingError:
    return SettingError(
        f"execute.scheduler {scheduler}: no Dask scheduler answers ({reason}): start one with 'dask scheduler', or "
        "correct the address."
    )


def await_worker(client: Any, scheduler: str) -> None:
    """Wait for the first worker.

    Raises:
        SerError: there is none in time.
    """
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise SerError(
            f"execute.scheduler {scheduler} has no worker, nor got one within {PATIENCE} s: start some with "
            f"'dask worker {scheduler} --nthreads 1'."
        ) from error


@contextmanager
def explained(scheduler: str) -> Iterator[None]:
    """Convert failures of the cluster to `SerError`; errors of the work itself pass.

    Raises:
        SerError: workers died, or the scheduler did.
    """
    from distributed import CancelledError, KilledWorker
    from distributed.comm import CommClosedError

    kept = "What was finished is kept: run the same command again"
    try:
        yield
    except KilledWorker as error:
        raise SerError(
            f"execute.scheduler {scheduler}: several workers died over the same clips, perhaps stopped for want of "
            f"memory. {kept}, with more memory for each."
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise SerError(f"execute.scheduler {scheduler} was lost while it worked. {kept}.") from error
