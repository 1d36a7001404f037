"""Compare the pipeline with the usual alternatives: ``python -m benchmarks [PART …]``, or ``make bench`` for all parts.

The audio is that of the corpora in ``SER_CORPORA``, else that of the demo. Writes benchmarks/results.json, and the
figure and tables of docs/performance.md.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import (
    agreement,
    corpus,
    extraction,
    figures,
    loading,
    memory,
    plot,
    results,
    resuming,
    rows,
    serving,
    shares,
    table,
    training,
)  # fmt: skip
from benchmarks.corpus import Job
from benchmarks.timing import clocked
from pipeline.core import machine
from pipeline.core.machine import available_cores

PARTS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "extraction": extraction.measure,
    "resuming": resuming.measure,
    "rows": rows.measure,
    "shares": shares.measure,
    "loading": loading.measure,
    "memory": memory.measure,
    "agreement": agreement.measure,
    "serving": serving.measure,
    "training": training.measure,
}


def main() -> None:
    """Parse the command line and run the parts it names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", choices=[*PARTS, "all"], default="all", help=", ".join(PARTS)
    )
    parser.add_argument("--clips", type=int, default=360, help="largest number of clips per corpus (%(default)s)")
    parser.add_argument(
        "--workers", type=int, default=min(2, available_cores()), help="number of processes (%(default)s)"
    )
    parser.add_argument("--table", action="store_true", help="print the tables of the last run and measure nothing")
    parser.add_argument("--draw", action="store_true", help="redraw the figure and rewrite the tables of the last run")
    options = parser.parse_args()
    if options.table:
        print(table.markdown(results.read()), end="")
    elif options.draw:
        show(results.read())
    else:
        parts = list(PARTS) if "all" in options.parts else options.parts
        measured = run(parts, clips=options.clips, workers=options.workers)
        every = results.merge(results.read(), measured, tuple(PARTS))
        results.write(every)
        show(every)


def run(parts: list[str], *, clips: int, workers: int) -> dict[str, Any]:
    """Measure some parts in a temporary folder."""
    measured: dict[str, Any] = {"machine": results.machine(), "runs": {}}
    with tempfile.TemporaryDirectory(prefix="ser-bench-") as folder:
        job = Job(
            corpora=corpus.gather(Path(folder), clips=clips, workers=workers), scratch=Path(folder), workers=workers
        )
        for part in parts:
            seconds, measured[part] = clocked(lambda: PARTS[part](job))  # noqa: B023  called at once
            measured["runs"][part] = results.about(job, seconds)
            say(part, measured, seconds)
    return measured


def say(part: str, measured: dict[str, Any], seconds: float) -> None:
    """Print the results of a part."""
    print(f"{part}, {seconds:.0f} s")
    for each in figures.ratios({part: measured[part]}):
        print(f"  {table.times(each.median):>9}  {each.label}, compared with {each.other}")
    for each in figures.amounts({part: measured[part]}):
        print(f"  {each.value:>6g} {each.unit}  {each.label}")


def show(every: dict[str, Any]) -> None:
    """Write the figure and the tables to docs."""
    plot.save(every)
    table.insert(every)


if __name__ == "__main__":
    machine.run_stage(main)
