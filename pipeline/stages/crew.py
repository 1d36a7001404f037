"""Workers and progress bars, shared by the stages."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import joblib
from tqdm import tqdm

from pipeline.errors import SerError, SettingError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Execute:
    """How to run, never what comes out: no field of this class may reach a key or a parameter of a stage."""

    workers: int | None = None  # processes; null for one a core

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise SettingError(f"params.yaml: execute.workers is {self.workers}, expected 1 or more, or null.")

    @property
    def processes(self) -> int:
        """The number of processes to start."""
        return self.workers or joblib.cpu_count()


def spread(
    function: Callable[[Item], Result], items: Sequence[Item], *, processes: int, label: str
) -> Iterator[Result]:
    """Map over processes, in order, with a progress bar; with one process in this one, where a debugger works."""
    if processes == 1 or len(items) <= 1:
        return progress(map(function, items), len(items), label)
    # one native thread a worker: with BLAS unlimited, two workers on two cores are three times slower
    with joblib.parallel_config(backend="loky", n_jobs=processes, inner_max_num_threads=1):
        results = joblib.Parallel(return_as="generator")(joblib.delayed(function)(item) for item in items)
    return progress(results, len(items), label)


def progress(results: Iterable[Result], total: int, label: str) -> Iterator[Result]:
    """Show how far it is, on a terminal only."""
    return iter(tqdm(results, total=total, desc=label, unit="clip", disable=None, file=sys.stderr))


def stage(main: Callable[[], None]) -> None:
    """Run a stage's ``main``; an error the user can mend becomes one line and exit code 1."""
    try:
        main()
    except SerError as error:
        sys.exit(f"ser-features: {error}")
