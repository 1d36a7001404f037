"""The same work on a Dask cluster: its workers have this package, see the same files, and return receipts."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import joblib

from pipeline.errors import SettingError

Item = TypeVar("Item")
Result = TypeVar("Result")
PATIENCE = 120  # s to wait for the first worker


def spread(function: Callable[[Item], Result], items: Sequence[Item], scheduler: str) -> Iterator[Result]:
    """Map over the workers of the cluster at ``scheduler``, in the order in which results come.

    A task whose worker dies is given to another one.

    Raises:
        SettingError: Dask is not installed, or no scheduler answers.
    """
    client = connect(scheduler)
    try:
        with joblib.parallel_config(backend="dask", client=client, wait_for_workers_timeout=PATIENCE):
            work = (joblib.delayed(partial(alone, function))(item) for item in items)
            yield from joblib.Parallel(return_as="generator_unordered")(work)
    finally:
        client.close()


def alone(function: Callable[[Item], Result], item: Item) -> Result:
    """Do one piece of work with one native thread: the cluster has a worker for each core."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return function(item)


def connect(scheduler: str) -> Any:
    """Find the scheduler.

    Raises:
        SettingError: Dask is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise SettingError("execute.scheduler needs Dask: pip install -c constraints.txt -e '.[cluster]'.") from error
    try:
        return Client(scheduler, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SettingError(
            f"execute.scheduler {scheduler}: no Dask scheduler answers ({error}): start one with 'dask scheduler'."
        ) from error
