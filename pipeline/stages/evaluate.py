"""Score the bundle on the speakers it has not heard: ``python -m pipeline.stages.evaluate``."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before Keras: TensorFlow's start-up notes are not for our users

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline import config
from pipeline.evaluation import leaks
from pipeline.evaluation.summary import summary
from pipeline.serving import bundle
from pipeline.stages import entry
from pipeline.store import batches, files, manifest, mapped, predictions, roles, statistics


def run(
    source: Path,
    shards: Sequence[Path],
    manifests: Sequence[Path],
    folder: Path,
    audit: Path,
    *,
    output: Path,
    metrics: Path,
    seed: int,
    cache: Path,
) -> dict[str, Any]:
    """Predict the test rows of every trained fold and write predictions and scores.

    Raises:
        StoreError: an artefact is missing or does not fit the others; the sentence names the stage to run.
    """
    clips = roles.read(source)
    card = bundle.read_card(folder)
    table = mapped.open_table(shards, cache)
    tested = clips[(clips["role"] == "test") & clips["fold"].isin(card.folds)].reset_index(drop=True)
    tested = tested.merge(sexes(manifests), on="clip_id", how="left", validate="many_to_one")
    probabilities = predict(tested, table, folder, card)
    tested["predicted"] = np.asarray(card.labels)[probabilities.argmax(axis=1)]
    leak = leaks_of(files.read_json(audit, stage="split"), clips, table, card)
    figures = stamp(card) | summary(tested, probabilities, card.labels, seed=seed) | {"leak": leak}
    predictions.write(tested, probabilities, card.labels, output)
    files.write_json(figures, metrics)
    print(headline(figures))
    return figures


def sexes(manifests: Sequence[Path]) -> pd.DataFrame:
    """Gather the sex of each clip's speaker."""
    return pd.concat([manifest.read(path)[["clip_id", "sex"]] for path in manifests], ignore_index=True)


def predict(tested: pd.DataFrame, table: mapped.Table, folder: Path, card: bundle.Card) -> npt.NDArray[np.float32]:
    """Give each row the probabilities of the network that has not heard its speaker. Shape: ``(rows, classes)``."""
    numbers = table.find(tested)
    out = np.empty((len(tested), len(card.labels)), np.float32)
    for fold in card.folds:
        here = np.flatnonzero(tested["fold"] == fold)
        feed = batches.Batches(table, numbers[here], batch_size=128)
        out[here] = bundle.load_model(folder, fold).predict(feed, verbose=0)
    return out


def leaks_of(audit: Mapping[str, Any], clips: pd.DataFrame, table: mapped.Table, card: bundle.Card) -> dict[str, float]:
    """Add to the split's audit what only the bundle can tell: on which rows its statistics were fitted."""
    folds = {}
    for fold in card.folds:
        clean = fitted_on_training(clips, table, card, fold)
        part = audit["fold"][str(fold)]
        found = {"statistics": float(not clean), "contaminated": part["leak"]["contaminated"] if clean else 1.0}
        folds[str(fold)] = part | {"leak": part["leak"] | found}
    return leaks.over({"fold": folds}, card.folds)


def fitted_on_training(clips: pd.DataFrame, table: mapped.Table, card: bundle.Card, fold: int) -> bool:
    """Compute the statistics of a fold anew and say whether the bundle's come from its training rows alone."""
    here = clips[clips["fold"] == fold]
    training = statistics.fit(table, table.find(here[here["role"] == "train"])).joined
    everything = statistics.fit(table, table.find(here)).joined
    kept = card.statistics[str(fold)]
    return leaks.fitted_on([*kept["mean"], *kept["variance"]], training, everything) == "training"


def stamp(card: bundle.Card) -> dict[str, Any]:
    """Say by which protocol, and which corpora are no people."""
    return {"protocol": card.split["protocol"], "synthetic": dict.fromkeys(card.synthetic, True)}


def headline(figures: Mapping[str, Any]) -> str:
    """Put the result into one line."""
    test, span = figures["test"], figures["test"]["uar_ci95"]
    known = span["low"] is not None
    interval = (
        f"95 % interval {span['low']:.1%} to {span['high']:.1%}" if known else "fewer than five speakers: no interval"
    )
    where = f"{test['clips']} clips of {test['speakers']} speakers"
    warning = "; synthetic speech, says nothing about people" if figures["synthetic"] else ""
    protocol = f"chance {test['chance']:.1%}, protocol {figures['protocol']}"
    return f"UAR {test['uar']:.1%} ({interval}) on {where}, {protocol}{warning}"


def main() -> None:
    """Read params.yaml and evaluate."""
    params = config.read()
    view, corpora = config.get(params, "model.features"), config.corpora(params)
    run(
        Path("data/clips.parquet"),
        [Path(f"features/{view}/{corpus}.parquet") for corpus in corpora],
        [Path(f"data/manifest/{corpus}.parquet") for corpus in corpora],
        Path("models/bundle"),
        Path("metrics/audit.json"),
        output=Path("models/predictions.parquet"),
        metrics=Path("metrics/eval.json"),
        seed=config.seed(params),
        cache=files.cache_folder() / "unpacked",
    )


if __name__ == "__main__":
    entry.stage(main)
