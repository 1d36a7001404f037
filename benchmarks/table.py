"""The results as Markdown tables, for docs/performance.md."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks import figures
from benchmarks.corpus import ROOT
from benchmarks.figures import Results

PAGE = ROOT / "docs/performance.md"
BEGIN, END = "<!-- begin: python -m benchmarks --table -->", "<!-- end -->"


def markdown(results: Results) -> str:
    """Write the tables of all parts that were run."""
    tables = (commands, ratios, amounts, serving, training, shares, agreement, machine)
    return "\n\n".join(filter(None, (table_of(results) for table_of in tables))) + "\n"


def insert(results: Results, page: Path = PAGE) -> None:
    """Replace the tables of the page."""
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n{markdown(results)}{END}{tail}", encoding="utf-8")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; "" if it has no rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines]) if lines else ""


def commands(results: Results) -> str:
    """Write the commands, each with the parts it measured."""
    parts_of: dict[str, list[str]] = {}
    for part, run in results["runs"].items():
        clips = ", ".join(f"{count:,} clips of {corpus}" for corpus, count in run["clips"].items())
        parts_of.setdefault(f"`{run['command']}`, {run['date']}, {clips}: {run['audio']}", []).append(part)
    only = len(parts_of) == 1
    return "\n".join(words if only else f"- {', '.join(parts)}: {words}" for words, parts in parts_of.items())


def ratios(results: Results) -> str:
    """Write the table of speed-ups."""
    rows = [
        (each.label, each.other, f"**{times(each.median)}**", times(each.lowest), times(each.wanted))
        for each in figures.ratios(results)
    ]
    return table(("what", "compared with", "speed-up: median", "lowest round", "target, at least"), rows)


def times(value: float | None) -> str:
    """Write a ratio; "" if there is none.

    >>> times(3.456), times(34.56), times(3456.0), times(None)
    ('3.5 ×', '35 ×', '3,460 ×', '')
    """
    if value is None:
        return ""
    return f"{value:.1f} ×" if value < 10 else f"{float(f'{value:.3g}'):,.0f} ×"


def amounts(results: Results) -> str:
    """Write the table of times and sizes."""
    rows = [
        (each.label, f"{each.value:g} {each.unit}", f"{each.wanted:g} {each.unit}" if each.wanted else "")
        for each in figures.amounts(results)
    ]
    return table(("what", "measured", "target, at most"), rows)


def shares(results: Results) -> str:
    """Write the table of shares of the extraction time."""
    every = figures.shares(results)
    rows = [(step, *(f"{100 * share[step]:.1f} %" for share in every.values())) for step in figures.STEPS if every]
    return table(("share of the time", *(f"settings: {name}" for name in every)), rows)


def agreement(results: Results) -> str:
    """Write the table of differences from librosa."""
    every = {name: each for name, each in results.get("agreement", {}).items() if name in ("params.yaml", "published")}
    names = next(iter(every.values()), {})
    rows = [
        (name, *(cell for each in every.values() for cell in gap(each[name])), f"{each_limit(every, name):g}")
        for name in names
    ]
    heads = (f"{settings}: {what}" for settings in every for what in ("largest", "99th percentile", "clips beyond"))
    return table(("difference from librosa", *heads, "limit"), rows)


def serving(results: Results) -> str:
    """Write the table of prediction times in each format."""
    found = figures.find(results, "serving/formats") or {}
    rows = [
        (name, f"{each['warm']:g} ms", f"{each['cold']:g} s", f"{each['many']:g} s", f"{each['stream']:.3f}")
        for name, each in found.items()
    ]
    heads = ("one clip, warm", "one clip, whole command", "1,000 clips, whole command", "one second of a stream, s")
    return table(("`crnn`", *heads), rows)


def training(results: Results) -> str:
    """Write the table of training speed on each backend, with the share of making batches."""
    found = figures.find(results, "training/networks") or {}
    backends = list(figures.find(results, "training/matrix_gigaflops") or ())
    rows = [
        (
            name,
            f"{first['batch']}",
            f"{first['gigaflops']:g}",
            *(cell for own in backends for cell in trained(each[own])),
        )
        for name, each in found.items()
        for first in [next(iter(each.values()))]
    ]
    heads = (f"{own}: {what}" for own in backends for what in ("clips/s", "ms per clip", "of the peak", "input"))
    return table(("training", "batch", "GFLOP per clip", *heads), rows)


def trained(each: Mapping[str, float]) -> tuple[str, ...]:
    """Write the cells of one backend."""
    rate, taken = f"{each['clips_per_second']:g}", f"{each['milliseconds']:g}"
    return rate, taken, f"{100 * each['share_of_peak']:.0f} %", f"{100 * each['input_share']:.1f} %"


def gap(summary: Mapping[str, float]) -> tuple[str, str, str]:
    """Write the cells of one summary."""
    return f"{summary['largest']:.2g}", f"{summary['percentile_99']:.2g}", f"{100 * summary['share_beyond']:.2g} %"


def each_limit(every: Mapping[str, Mapping[str, Mapping[str, float]]], name: str) -> float:
    """Return the limit of a quantity, the same for all settings."""
    return next(iter(every.values()))[name]["limit"]


def machine(results: Results) -> str:
    """Describe the machine."""
    of = results["machine"]
    packages = " ".join(f"{name} {version}" for name, version in of["packages"].items())
    return (
        f"{of['processor']}, {of['cores']} cores, {of['memory_gigabytes']} GiB, {of['system']}, "
        f"Python {of['python']}; {packages}."
    )
