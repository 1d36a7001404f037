"""The results in ladder.json, as lines of the ladder and as the Markdown tables of docs/results.md."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.corpus import ROOT
from benchmarks.table import table
from pipeline.text import MISSING, format_count
from pipeline.tools import recipes

PAGE = ROOT / "docs/results.md"
RESULTS = ROOT / "benchmarks/ladder.json"
BEGIN, END = "<!-- begin: python -m benchmarks.ladder --draw -->", "<!-- end -->"
RUNGS = {
    "published": "as published",
    "deduplicated": "each recording once",
    "random": "copies kept together",
    "speaker": "unseen speakers",
}
LEAKS = {
    "same_samples": "same recording in training",
    "same_clip": "version of the clip in training",
    "seen_speaker": "speaker in training",
    "validation_is_test": "also validates",
}
SVM = "svm on the same rows"
BASELINE = "svm_mfcc"  # a recipe that is not a published system
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Line:
    """The scores of one model on all rungs."""

    recipe: str
    model: str
    classes: int
    claim: float | None  # accuracy
    same: bool  # whether it was run on the corpora of the claim
    scores: Mapping[str, Row]  # rung -> scores of the test rows
    spread: Row  # over the folds of the rung `speaker`; empty if not all were run


def read(path: Path = RESULTS) -> list[Row]:
    """Read the results."""
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def lines(rows: Sequence[Row]) -> list[Line]:
    """Group rungs into lines: each network, followed by the SVM trained on the same rows."""
    found = []
    for recipe in dict.fromkeys(each["recipe"] for each in rows):
        own = [each for each in rows if each["recipe"] == recipe]
        networks = {each["rung"]: each for each in own if each["arch"] != "svm"}
        svms = {each["rung"]: each for each in own if each["arch"] == "svm"}
        system = recipes.load_recipe(recipe)
        same = {name for each in own for name in each["corpora"]} == set(system.corpora)
        named: dict[str, Any] = {"recipe": recipe, "classes": own[0]["classes"], "same": same}
        baselines = {rung: each["baseline"]["svm"] for rung, each in networks.items()}
        alone = {rung: each["test"] for rung, each in svms.items()}
        if networks:
            tested = {rung: each["test"] for rung, each in networks.items()}
            found.append(Line(**named, model=recipe, claim=system.accuracy, scores=tested, spread=spread(networks)))
        if baselines | alone:
            model = SVM if networks or recipe != BASELINE else recipe
            found.append(Line(**named, model=model, claim=None, scores=baselines | alone, spread=spread(svms)))
    return found


def spread(rungs: Mapping[str, Row]) -> Row:
    """Return mean and SD over the folds of the rung `speaker`."""
    return rungs.get("speaker", {}).get("folds", {})


def markdown(rows: Sequence[Row]) -> str:
    """Write all tables."""
    return "\n\n".join([scores(rows), leaks(rows), sizes(rows)]) + "\n"


def insert(rows: Sequence[Row], page: Path = PAGE) -> None:
    """Replace the tables of the page."""
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n{markdown(rows)}{END}{tail}", encoding="utf-8")


def scores(rows: Sequence[Row]) -> str:
    """Write the table of accuracy and UAR on every rung."""
    head = ("system", "classes", "claims", *RUNGS.values(), "95 % interval of the last UAR", "its mean ± SD over folds")
    return table(head, [score_row(line) for line in lines(rows)])


def score_row(line: Line) -> tuple[str, ...]:
    """Write a row of scores."""
    label = f"`{line.recipe}`" + (f": {SVM}" if line.model == SVM else "")
    cells = [cell(line.scores.get(rung)) for rung in RUNGS]
    last = line.scores.get("speaker", {}).get("uar_ci95", {})
    interval = f"{100 * last['low']:.1f}–{100 * last['high']:.1f}" if last.get("low") else MISSING
    folds = f"{percent(line.spread['uar_mean'])} ± {percent(line.spread['uar_sd'])}" if spreads(line) else MISSING
    return (label, str(line.classes), percent(line.claim), *cells, interval, folds)


def spreads(line: Line) -> bool:
    """Say whether several folds were run."""
    return line.spread.get("uar_sd") is not None


def cell(score: Row | None) -> str:
    """Write accuracy, and UAR in brackets.

    >>> cell({"wa": 0.958, "uar": 0.9612})
    '**95.8** (96.1)'
    """
    return f"**{percent(score['wa'])}** ({percent(score['uar'])})" if score else MISSING


def percent(share: float | None) -> str:
    """Write a share in percent, without the sign."""
    return MISSING if share is None else f"{100 * share:.1f}"


def leaks(rows: Sequence[Row]) -> str:
    """Write the table of leaks on each rung."""
    head = ("recipe", "rung", *(f"% {words}" for words in LEAKS.values()))
    found = {(each["recipe"], each["rung"]): each["leak"] for each in rows}
    ordered = sorted(found, key=lambda key: (key[0], list(RUNGS).index(key[1])))
    return table(head, [(f"`{key[0]}`", RUNGS[key[1]], *shares(found[key])) for key in ordered])


def shares(leak: Row) -> Iterable[str]:
    """Write the shares of leaks in percent."""
    return (f"{100 * leak[name]:.0f}" for name in LEAKS)


def sizes(rows: Sequence[Row]) -> str:
    """Write the table of row counts and epochs."""
    head = ("recipe", "model", "rung", "training rows per fold", "validation rows", "test rows", "folds", "epochs")
    ordered = sorted(rows, key=lambda row: (row["recipe"], row["arch"], list(RUNGS).index(row["rung"])))
    return table(head, [size_row(row) for row in ordered])


def size_row(row: Row) -> tuple[str, ...]:
    """Write the row counts and epochs of one rung."""
    numbers = (row["rows"]["train"], row["rows"]["validation"], row["test"]["rows"], row["folds"]["of"])
    epochs = ", ".join(map(str, row["epochs"])) or MISSING
    return (f"`{row['recipe']}`", row["arch"], RUNGS[row["rung"]], *map(format_count, numbers), epochs)
