"""Score the bundle on the speakers it has not heard: ``python -m pipeline.stages.evaluate``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline import config
from pipeline.evaluation import leaks, truth, wording
from pipeline.evaluation.summary import chance, headline, spread, summary
from pipeline.networks import names
from pipeline.networks.settings import Train
from pipeline.serving import bundle, models
from pipeline.serving import card as cards
from pipeline.serving.release import release
from pipeline.stages import entry
from pipeline.store import files, manifest, mapped, predictions, roles
from pipeline.store.inputs import Inputs
from pipeline.store.statistics import Statistics


def run(
    source: Path,
    shards: Sequence[Path],
    manifests: Sequence[Path],
    folder: Path,
    audit: Path,
    *,
    output: Path,
    whole: Path,
    metrics: Path,
    seed: int,
    cache: Path,
) -> dict[str, Any]:
    """Predict the test rows of every trained fold; write predictions, the headline, and the bundle with all scores.

    Raises:
        StoreError: an artefact is missing or does not fit the others; the sentence names the stage to run.
    """
    clips = roles.read(source)
    card = cards.read(folder, stage="train")
    table = mapped.open_table(shards, cache)
    tested = clips[(clips["role"] == "test") & clips["fold"].isin(card.folds)].reset_index(drop=True)
    tested = tested.merge(sexes(manifests), on="clip_id", how="left", validate="many_to_one")
    each = predict(tested, clips, table, folder, card)
    probabilities = each.mean(axis=0)
    tested["predicted"] = np.asarray(card.labels)[probabilities.argmax(axis=1)]
    leak = leaks_of(files.read_json(audit, stage="split"), clips, table, card)
    scores = summary(tested, probabilities, card.labels, seed=seed) | {"leak": leak}
    scores["seeds"] = spread(tested, dict(zip(card.seeds, each, strict=True)), card.labels)
    scores["baseline"] = baseline(tested, clips, table, folder, card, seed=seed)
    figures = stamp(card, leak) | scores
    predictions.write(tested, probabilities, card.labels, output)
    release(folder, whole, figures, longest=longest(manifests, clips))
    files.write_json(headline(figures), metrics)
    print(result_line(figures))
    return figures


def sexes(manifests: Sequence[Path]) -> pd.DataFrame:
    """Gather the sex of each clip's speaker."""
    return pd.concat([manifest.read(path)[["clip_id", "sex"]] for path in manifests], ignore_index=True)


def longest(manifests: Sequence[Path], clips: pd.DataFrame) -> float:
    """Give the seconds of the longest clip that is used."""
    found = pd.concat([manifest.read(path)[["clip_id", "seconds"]] for path in manifests], ignore_index=True)
    return round(float(found.loc[found["clip_id"].isin(clips["clip_id"]), "seconds"].fillna(0).max()), 3)


def predict(
    tested: pd.DataFrame, clips: pd.DataFrame, table: mapped.Table, folder: Path, card: cards.Card, *, arch: str = ""
) -> npt.NDArray[np.float32]:
    """Give each row the probabilities of models that have not heard its speaker: the bundle's, or another's by name.

    Shape: ``(seeds, rows, classes)``; what stands beside the bundle's model has one seed.
    """
    numbers = table.find(tested)
    out = np.empty((1 if arch else len(card.seeds), len(tested), len(card.labels)), np.float32)
    for fold in card.folds:
        here = np.flatnonzero(tested["fold"] == fold)
        inputs = inputs_of(clips, table, card, fold, arch or card.arch)
        for number, place in enumerate(card.places(fold)[: len(out)]):
            model = bundle.load_model(folder, place, arch or card.arch)
            out[number, here] = model.probabilities(inputs, numbers[here])
    return out


def inputs_of(clips: pd.DataFrame, table: mapped.Table, card: cards.Card, fold: int, arch: str) -> Inputs:
    """Prepare the rows of a fold as train did."""
    return models.inputs(table, clips[clips["fold"] == fold], arch, trained_by(card))


def trained_by(card: cards.Card) -> Train:
    """Read the settings of the training from the bundle: params.yaml may have moved on."""
    return config.build(Train, card.params["train"], "train")


def baseline(
    tested: pd.DataFrame, clips: pd.DataFrame, table: mapped.Table, folder: Path, card: cards.Card, *, seed: int
) -> dict[str, Any]:
    """Score what stands beside the model: chance, and the support vector machine where the model is another."""
    found: dict[str, Any] = {"chance": chance(tested["label"])}
    if card.arch != names.SVM:
        [probabilities] = predict(tested, clips, table, folder, card, arch=names.SVM)
        found[names.SVM] = summary(tested, probabilities, card.labels, seed=seed)["test"]
    return found


def leaks_of(audit: Mapping[str, Any], clips: pd.DataFrame, table: mapped.Table, card: cards.Card) -> dict[str, float]:
    """Add to the split's audit what only the bundle can tell: on which rows its statistics were fitted."""
    own = float(trained_by(card).normalise == "speaker")
    folds = {}
    for fold in card.folds:
        clean = fitted_on_training(clips, table, card, fold)
        part = audit["fold"][str(fold)]
        found = {"statistics": float(not clean), "contaminated": part["leak"]["contaminated"] if clean else 1.0}
        folds[str(fold)] = part | {"leak": part["leak"] | {"own_statistics": own} | found}
    return leaks.over({"fold": folds}, card.folds)


def fitted_on_training(clips: pd.DataFrame, table: mapped.Table, card: cards.Card, fold: int) -> bool:
    """Compute the statistics of a fold anew and say whether the bundle's come from its training rows alone."""
    if not models.own_statistics(card.arch, trained_by(card)):
        return True
    kept = Statistics(*(np.array(card.statistics[str(fold)][name], np.float32) for name in ("mean", "variance")))
    here = clips[clips["fold"] == fold]
    inputs = inputs_of(clips, table, card, fold, card.arch)
    training_rows = inputs.measure(table.find(here[here["role"] == "train"])).joined
    everything = inputs.measure(table.find(here)).joined
    return leaks.fitted_on(kept.joined, training_rows, everything) == "training"


def stamp(card: cards.Card, leak: Mapping[str, float]) -> dict[str, Any]:
    """Say by which protocol, which corpora are no people, and what must be read before any number."""
    normalise = trained_by(card).normalise
    found = {
        "protocol": card.split["protocol"],
        "synthetic": dict.fromkeys(card.synthetic, True),
        "shuffled": bool(card.split.get("shuffle")),
        "labels": {"source": source(card), "soft": soft(card)},
        "normalise": normalise,
        "transductive": normalise == "speaker",
    }
    return {"stamp": wording.stamp(found | {"leak": leak})} | found


def source(card: cards.Card) -> str:
    """Name who decided what was spoken: the actor's intention, or a majority of listeners."""
    return str(card.split.get("labels", {}).get("source", "intended"))


def soft(card: cards.Card) -> str | None:
    """Name whose shares of votes the model learnt; the support vector machine takes one class a clip."""
    return None if card.arch == names.SVM else trained_by(card).soft_labels


def result_line(figures: Mapping[str, Any]) -> str:
    """Put the result into one line."""
    test, span = figures["test"], figures["test"]["uar_ci95"]
    known = span["low"] is not None
    interval = f"95 % interval {span['low']:.1%} to {span['high']:.1%}" if known else f"no interval: {wording.INTERVAL}"
    where = f"{wording.things(test['clips'], 'clip')} of {wording.people(test['speakers'])}"
    svm = figures["baseline"].get("svm")
    beside = f"svm {svm['uar']:.1%}, " if svm else ""
    protocol = f"{beside}chance {test['chance']:.1%}, protocol {figures['protocol']}"
    own = ", speaker-normalised (transductive)" if figures["transductive"] else ""
    labels = truth.labels(figures)
    judged = f"\nlabels: {labels}" if labels else ""
    several = wording.several(figures)
    together = f"\n{several}" if several else ""
    warning = f"\n{figures['stamp']}" if figures["stamp"] else ""
    return f"UAR {test['uar']:.1%} ({interval}) on {where}, {protocol}{own}{together}{judged}{warning}"


def main() -> None:
    """Read params.yaml and evaluate."""
    params = config.read()
    view, corpora = names.view(params), config.corpora(params)
    run(
        Path("data/clips.parquet"),
        [Path(f"features/{view}/{corpus}.parquet") for corpus in corpora],
        [Path(f"data/manifest/{corpus}.parquet") for corpus in corpora],
        Path("models/trained"),
        Path("metrics/audit.json"),
        output=Path("models/predictions.parquet"),
        whole=Path("models/bundle"),
        metrics=Path("metrics/eval.json"),
        seed=config.seed(params),
        cache=files.cache_folder() / "unpacked",
    )


if __name__ == "__main__":
    entry.stage(main)
