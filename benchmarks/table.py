"""results.json as Markdown, for docs/performance.md."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks import figures
from benchmarks.corpus import ROOT
from benchmarks.figures import Results

PAGE = ROOT / "docs/performance.md"
BEGIN, END = "<!-- begin: python -m benchmarks --table -->", "<!-- end -->"


def markdown(results: Results) -> str:
    """All tables, those of parts that were not run left out."""
    tables = (commands, ratios, amounts, serving, training, shares, agreement, machine)
    return "\n\n".join(filter(None, (table_of(results) for table_of in tables))) + "\n"


def insert(results: Results, page: Path = PAGE) -> None:
    """Put the tables into the page in the place of those that stand there."""
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n{markdown(results)}{END}{tail}", encoding="utf-8")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a table, or nothing where it has no rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines]) if lines else ""


def commands(results: Results) -> str:
    """Say which command gave the figures, once for all parts that it ran."""
    spoken: dict[str, list[str]] = {}
    for part, run in results["runs"].items():
        clips = ", ".join(f"{count:,} clips of {corpus}" for corpus, count in run["clips"].items())
        spoken.setdefault(f"`{run['command']}`, {run['date']}, {clips}: {run['audio']}", []).append(part)
    only = len(spoken) == 1
    return "\n".join(words if only else f"- {', '.join(parts)}: {words}" for words, parts in spoken.items())


def ratios(results: Results) -> str:
    """Lay out how many times as fast ours is."""
    rows = [
        (each.label, each.other, f"**{times(each.median)}**", times(each.lowest), times(each.wanted))
        for each in figures.ratios(results)
    ]
    return table(("what", "ours against", "times as fast: median", "lowest round", "wanted, at least"), rows)


def times(value: float | None) -> str:
    """Write a ratio, if there is one.

    >>> times(3.456), times(34.56), times(3456.0), times(None)
    ('3.5 ×', '35 ×', '3,460 ×', '')
    """
    if value is None:
        return ""
    return f"{value:.1f} ×" if value < 10 else f"{float(f'{value:.3g}'):,.0f} ×"


def amounts(results: Results) -> str:
    """Lay out times and sizes."""
    rows = [
        (each.label, f"{each.value:g} {each.unit}", f"{each.wanted:g} {each.unit}" if each.wanted else "")
        for each in figures.amounts(results)
    ]
    return table(("what", "measured", "wanted, at most"), rows)


def shares(results: Results) -> str:
    """Lay out where the time goes."""
    every = figures.shares(results)
    rows = [(step, *(f"{100 * share[step]:.1f} %" for share in every.values())) for step in figures.STEPS if every]
    return table(("share of the time of", *(f"recipe: {name}" for name in every)), rows)


def agreement(results: Results) -> str:
    """Lay out the largest differences to librosa."""
    every = {name: each for name, each in results.get("agreement", {}).items() if name in ("params.yaml", "published")}
    names = next(iter(every.values()), {})
    rows = [
        (name, *(cell for each in every.values() for cell in gap(each[name])), f"{each_limit(every, name):g}")
        for name in names
    ]
    heads = (f"{recipe}: {what}" for recipe in every for what in ("largest", "99th percentile", "clips beyond"))
    return table(("difference to librosa", *heads, "limit"), rows)


def serving(results: Results) -> str:
    """Lay out what a model at work takes in each format."""
    found = figures.find(results, "serving/formats") or {}
    rows = [
        (name, f"{each['warm']:g} ms", f"{each['cold']:g} s", f"{each['many']:g} s", f"{each['stream']:.3f}")
        for name, each in found.items()
    ]
    heads = ("a clip, warm", "a clip, the whole command", "1,000 clips, the whole command", "a second of a stream, s")
    return table(("`crnn`", *heads), rows)


def training(results: Results) -> str:
    """Lay out what a clip takes in training, on each backend; and how much of it is the making of batches."""
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
    heads = (f"{own}: {what}" for own in backends for what in ("clips/s", "ms a clip", "of the peak", "input"))
    return table(("training", "batch", "GFLOP a clip", *heads), rows)


def trained(each: Mapping[str, float]) -> tuple[str, ...]:
    """Write what one backend takes."""
    rate, taken = f"{each['clips_per_second']:g}", f"{each['milliseconds']:g}"
    return rate, taken, f"{100 * each['share_of_peak']:.0f} %", f"{100 * each['input_share']:.1f} %"


def gap(summary: Mapping[str, float]) -> tuple[str, str, str]:
    """Write one summary."""
    return f"{summary['largest']:.2g}", f"{summary['percentile_99']:.2g}", f"{100 * summary['share_beyond']:.2g} %"


def each_limit(every: Mapping[str, Mapping[str, Mapping[str, float]]], name: str) -> float:
    """The limit of a quantity, the same in all recipes."""
    return next(iter(every.values()))[name]["limit"]


def machine(results: Results) -> str:
    """Say on what it ran."""
    of = results["machine"]
    packages = " ".join(f"{name} {version}" for name, version in of["packages"].items())
    return (
        f"{of['processor']}, {of['cores']} cores, {of['memory_gigabytes']} GiB, {of['system']}, "
        f"Python {of['python']}; {packages}."
    )
