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
MOST = 1_024  # processes


@dataclass(frozen=True, kw_only=True)
class Execute:
    """How to run, never what comes out: no field of this class may reach a key or a parameter of a stage."""

    workers: int | None = None  # processes; null for one a core
    scheduler: str | None = None  # of a Dask cluster, such as tcp://host:8786; null for this machine

    def __post_init__(self) -> None:
        if self.workers is not None and not 1 <= self.workers <= MOST:
            raise SettingError(
                f"params.yaml: execute.workers is {self.workers}, expected 1 or more, up to {MOST}, or null."
            )

    @property
    def processes(self) -> int:
        """The number of processes to start on this machine."""
        return self.workers or machine.cores()

    @property
    def address(self) -> str:
        """The scheduler's address, or nothing: ``SER_SCHEDULER`` says it before params.yaml does."""
        return os.environ.get("SER_SCHEDULER") or self.scheduler or ""


@dataclass(frozen=True)
class Crew:
    """Some processes on this machine, or the workers of a Dask cluster."""

    processes: int = 1
    cluster: Mapper | None = None  # of `cluster.at`; passed in, so that only extract depends on Dask


def spread(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    crew: Crew,
    label: str,
    total: int | None = None,
    size: Callable[[Result], int] = lambda _: 1,
) -> Iterator[Result]:
    """Map over workers, in any order on a cluster, with a progress bar; alone in this process, where a debugger works.

    Args:
        function: what to do; it travels by name, so it stands at the top of a module.
        items: small things that travel well: paths and numbers, not arrays.
        crew: who does it.
        label: what the progress bar says.
        total: of the progress bar, where a result stands for several.
        size: how many a result stands for.

    Raises:
        SerError: a worker died, or the cluster cannot be reached.
    """
    alone = not crew.cluster and (crew.processes == 1 or len(items) <= 1)
    results = map(function, items) if alone else team(function, items, crew)
    return progress(results, len(items) if total is None else total, label, size)


def team(function: Callable[[Item], Result], items: Sequence[Item], crew: Crew) -> Iterator[Result]:
    """Map over processes, in order, or over a cluster, in the order in which results come."""
    try:
        if crew.cluster:
            yield from crew.cluster(function, items)
            return
        # one native thread a worker: with BLAS unlimited, two workers on two cores are three times slower
        with joblib.parallel_config(backend="loky", n_jobs=crew.processes, inner_max_num_threads=1):
            yield from joblib.Parallel(return_as="generator")(joblib.delayed(function)(item) for item in items)
    except BrokenProcessPool as error:
        raise SerError(
            "A worker process died, perhaps stopped by the system for want of memory. What was finished is kept: "
            "run the same command again, with fewer workers if it repeats (-S execute.workers=1)."
        ) from error


def progress(
    results: Iterable[Result], total: int, label: str, size: Callable[[Result], int] = lambda _: 1
) -> Iterator[Result]:
    """Show how far it is, on a terminal only."""
    with tqdm(total=total, desc=label, unit="clip", disable=None, file=sys.stderr) as bar:
        for result in results:
            bar.update(size(result))
            yield result
