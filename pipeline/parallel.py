"""Worker processes and progress bars."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

import joblib
from tqdm import tqdm

from pipeline.core import machine
from pipeline.core.errors import SerError, SettingError

Item = TypeVar("Item")
Result = TypeVar("Result")
Mapper = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]
MAX_WORKERS = 1_024  # processes


@dataclass(frozen=True, kw_only=True)
class Execute:
    """How to run: no setting here affects a result, so none may be part of a cache key or a stage's parameters."""

    workers: int | None = None  # processes; null for one per core
    scheduler: str | None = None  # of a Dask cluster, such as tcp://host:8786; null for this machine

    def __post_init__(self) -> None:
        if self.workers is not None and not 1 <= self.workers <= MAX_WORKERS:
            raise SettingError(
                f"params.yaml: execute.workers is {self.workers}, expected 1 or more, up to {MAX_WORKERS}, or null."
            )

    @property
    def processes(self) -> int:
        """The number of worker processes on this machine."""
        return self.workers or machine.available_cores()

    @property
    def address(self) -> str:
        """The scheduler's address, or ``""``: ``SER_SCHEDULER`` overrides params.yaml."""
        return os.environ.get("SER_SCHEDULER") or self.scheduler or ""


@dataclass(frozen=True)
class Executor:
    """Where to run: processes on this machine, or the workers of a Dask cluster."""

    processes: int = 1
    cluster: Mapper | None = None  # from `extract.cluster`; passed in, so that only extract depends on Dask


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    crew: Executor,
    label: str,
    total: int | None = None,
    size: Callable[[Result], int] = lambda _: 1,
) -> Iterator[Result]:
    """Apply a function to items in parallel, with a progress bar; a cluster yields results in order of completion.

    With one process or one item everything runs in this process, where a debugger works.

    Args:
        function: defined at the top level of a module, because it is pickled by name.
        items: small picklable values such as paths and numbers, not arrays.
        crew: the processes or the cluster to use.
        label: the title of the progress bar.
        total: the length of the progress bar, if one result counts for several clips.
        size: the number of clips that a result counts for.

    Raises:
        SerError: a worker died, or the cluster is not reachable.
    """
    alone = not crew.cluster and (crew.processes == 1 or len(items) <= 1)
    results = map(function, items) if alone else _map_in_workers(function, items, crew)
    return show_progress(results, len(items) if total is None else total, label, size)


def _map_in_workers(function: Callable[[Item], Result], items: Sequence[Item], crew: Executor) -> Iterator[Result]:
    """Apply a function in worker processes, in order, or on a cluster, in order of completion."""
    try:
        if crew.cluster:
            yield from crew.cluster(function, items)
            return
        # one native thread per worker: with unlimited BLAS threads, two workers on two cores are three times slower
        with joblib.parallel_config(backend="loky", n_jobs=crew.processes, inner_max_num_threads=1):
            yield from joblib.Parallel(return_as="generator")(joblib.delayed(function)(item) for item in items)
    except BrokenProcessPool as error:
        raise SerError(
            "A worker process died, perhaps killed by the system for lack of memory. Finished work is saved: "
            "run the same command again, with fewer workers if it happens again (-S execute.workers=1)."
        ) from error


def show_progress(
    results: Iterable[Result], total: int, label: str, size: Callable[[Result], int] = lambda _: 1
) -> Iterator[Result]:
    """Yield the results with a progress bar, which is shown only on a terminal."""
    with tqdm(total=total, desc=label, unit="clip", disable=None, file=sys.stderr) as bar:
        for result in results:
            bar.update(size(result))
            yield result
