"""The ladder from published scores to scores without leaks: each rung of each system by ``dvc exp run``.

``python -m benchmarks.ladder ravdess=/data/RAVDESS --recipe conv2d_mfcc`` runs four rungs one after the other in the
current repository and changes its params.yaml, dvc.lock and metrics: use a clone. Each finished rung is written to
benchmarks/ladder.json at once, so that an interrupted run can be resumed with ``--rung``.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

from benchmarks import ladder_plot, ladder_table
from benchmarks.ladder_table import RESULTS
from pipeline.core import config, files, machine
from pipeline.report import figures
from pipeline.tools import recipes

DETAILS = Path("metrics/details.json")
Row = dict[str, Any]


def main() -> None:
    """Parse the command line and run the rungs it names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ladder", description=__doc__)
    parser.add_argument("data", nargs="*", metavar="NAME=FOLDER", help="the corpora to run on")
    parser.add_argument("--recipe", action="append", choices=recipes.recipe_names(), help="[default: all]")
    parser.add_argument("--rung", action="append", choices=list(recipes.RUNGS), help="[default: all]")
    parser.add_argument(
        "--svm", action="store_true", help="train the SVM on the rows of the recipe instead of its network"
    )
    parser.add_argument(
        "--draw", action="store_true", help="draw the figure and write the tables of earlier runs, and run nothing"
    )
    options = parser.parse_args()
    if options.draw:
        show()
        return
    if not options.data:
        parser.error("name a corpus and its folder, such as ravdess=/data/RAVDESS")
    folders = dict(pair.split("=", 1) for pair in options.data)
    for name in options.recipe or recipes.recipe_names():
        for rung in options.rung or recipes.RUNGS:
            keep(climb(recipes.load_recipe(name).with_corpora(list(folders)), rung, folders, svm=options.svm))


def show() -> None:
    """Write the figure and the tables."""
    rows = ladder_table.read()
    ladder_table.insert(rows)
    figures.save_figure(ladder_plot.draw(rows), ladder_plot.PICTURE)


def climb(recipe: recipes.Recipe, rung: str, folders: dict[str, str], *, svm: bool) -> Row:
    """Run one rung and read its scores."""
    changes = recipes.recipe_overrides(recipe, rung, config.read_params(), folders) + ["model.arch=svm"] * svm
    settings = [word for change in changes for word in ("-S", change)]
    label = f"{recipe.name}-{'-'.join(folders)}-{rung}{'-svm' * svm}".replace("_", "-")
    subprocess.run(["dvc", "exp", "run", "--force", "-n", label, *settings], check=True)
    return row(recipe, rung, sorted(folders))


def row(recipe: recipes.Recipe, rung: str, corpora: list[str]) -> Row:
    """Extract from the metrics what the tables show."""
    scores = files.read_json(DETAILS, stage="report")
    training = scores["training"]
    folds = training["folds"].values()
    return {
        "recipe": recipe.name,
        "corpora": corpora,
        "rung": rung,
        "arch": training["arch"],
        "classes": len(scores["class"]),
        "folds": {"of": scores["folds"]["count"], **{k: v for k, v in scores["folds"].items() if "_" in k}},
        "rows": {role: sum(fold[f"{role}_rows"] for fold in folds) // len(folds) for role in ("train", "validation")},
        "epochs": [fold["epochs"] for fold in folds if "epochs" in fold],
        "test": scores["test"],
        "baseline": scores["baseline"],
        "leak": scores["leak"],
    }


def keep(found: Row) -> None:
    """Write a rung to the results, replacing its earlier one."""
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    kept = [each for each in rows if name(each) != name(found)]
    files.write_json(sorted([*kept, found], key=name), RESULTS)


def name(found: Row) -> tuple[str, ...]:
    """Return the key of a rung."""
    return (found["recipe"], "+".join(found["corpora"]), found["arch"], found["rung"])


if __name__ == "__main__":
    machine.run_stage(main)
