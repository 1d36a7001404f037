"""Extraction on a Dask cluster, whose workers must see the same files."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from pipeline.core import errors
from pipeline.core.errors import SerError, SettingError
from pipeline.parallel import Mapper

Item = TypeVar("Item")
Result = TypeVar("Result")
ANSWER_SECONDS = 10  # s to wait for the scheduler's answer
WORKER_SECONDS = 120  # s to wait for the first worker


def cluster_mapper(scheduler: str) -> Mapper | None:
    """Return a mapper over the workers of the cluster at ``scheduler``, or None for an empty address."""
    return partial(_map_on_cluster, scheduler=scheduler) if scheduler else None


def _map_on_cluster(function: Callable[[Item], Result], items: Sequence[Item], scheduler: str) -> Iterator[Result]:
    """Map over the workers of the cluster at ``scheduler``; results come in the order of completion.

    If a worker dies, its task goes to another one. Dask's own futures are used because joblib waits for ever for a task
    that Dask has given up.

    Raises:
        SettingError: Dask is not installed, or no scheduler answers.
        SerError: no worker comes, workers die again and again, or the scheduler does.
    """
    client = connect_client(scheduler)
    from distributed import as_completed

    try:
        _await_worker(client, scheduler)
        # no other reference to the futures: Dask would recompute results that are held when their worker dies
        for task in as_completed(
            [client.submit(_call_single_threaded, function, item, pure=False) for item in items], loop=client.loop
        ):
            with _cluster_errors(scheduler):
                result = task.result()
            yield result
    finally:
        client.close()


def _call_single_threaded(function: Callable[[Item], Result], item: Item) -> Result:
    """Call a function with one native thread, since the cluster has one worker per core."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return function(item)


def connect_client(scheduler: str) -> Any:
    """Connect to the scheduler.

    Raises:
        SettingError: Dask is not installed, or no scheduler answers.
    """
    with errors.require_extra("cluster"):
        from distributed import Client
    try:
        found = asyncio.run(
            _server_type(scheduler)
        )  # first: a client without a scheduler blocks the process for a minute
    except Exception as error:
        raise _no_scheduler(scheduler, str(error) or f"nothing within {ANSWER_SECONDS} s") from error
    if found != "Scheduler":
        raise _no_scheduler(scheduler, f"it is a {found.lower()}")
    return Client(scheduler, set_as_default=False)


async def _server_type(address: str) -> str:
    """Return what answers at an address: ``Scheduler`` or ``Worker``."""
    from distributed.core import rpc
    from distributed.security import Security

    security = Security().get_connection_args("client")
    async with rpc(address, timeout=ANSWER_SECONDS, connection_args=security) as other:
        return str((await asyncio.wait_for(other.identity(), ANSWER_SECONDS))["type"])


def _no_scheduler(scheduler: str, reason: str) -> SettingError:
    return SettingError(
        f"execute.scheduler {scheduler}: no Dask scheduler answers ({reason}): start one with 'dask scheduler', or "
        "correct the address."
    )


def _await_worker(client: Any, scheduler: str) -> None:
    """Wait for the first worker.

    Raises:
        SerError: there is none in time.
    """
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError as error:
        raise SerError(
            f"execute.scheduler {scheduler} has no worker, nor got one within {WORKER_SECONDS} s: start some with "
            f"'dask worker {scheduler} --nthreads 1'."
        ) from error


@contextmanager
def _cluster_errors(scheduler: str) -> Iterator[None]:
    """Convert failures of the cluster to `SerError`; errors of the work itself pass.

    Raises:
        SerError: workers died, or the scheduler did.
    """
    from distributed import CancelledError, KilledWorker
    from distributed.comm import CommClosedError

    kept = "Finished work is saved: run the same command again"
    try:
        yield
    except KilledWorker as error:
        raise SerError(
            f"execute.scheduler {scheduler}: several workers died over the same clips, perhaps stopped for want of "
            f"memory. {kept}, with more memory for each."
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise SerError(f"execute.scheduler {scheduler} was lost while it worked. {kept}.") from error
