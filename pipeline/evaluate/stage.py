"""Stage ``evaluate``: score the bundle on speakers that its models were not trained on."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline import text
from pipeline.core import config, files, tables
from pipeline.dataset import table as dataset_table
from pipeline.dataset.inputs import ModelInputs, Statistics
from pipeline.evaluate.metrics import chance_scores, headline_scores, scores_by_seed, summarize_scores
from pipeline.report import model_card, wording
from pipeline.split import leakage
from pipeline.train import bundle, models, settings
from pipeline.train.settings import Train


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
    """Predict the test rows of every trained fold; write predictions, ``metrics``, and the bundle with all scores.

    Raises:
        StoreError: an artefact is missing or does not fit the others; the message names the stage to run.
    """
    clips = tables.read_splits(source)
    card = bundle.read_card(folder, stage="train")
    table = dataset_table.open_table(shards, cache)
    tested = clips[(clips["role"] == "test") & clips["fold"].isin(card.folds)].reset_index(drop=True)
    tested = tested.merge(_read_sexes(manifests), on="clip_id", how="left", validate="many_to_one")
    each = _predict_test_rows(tested, clips, table, folder, card)
    probabilities = each.mean(axis=0)
    tested["predicted"] = np.asarray(card.labels)[probabilities.argmax(axis=1)]
    leak = _leaks_with_statistics(files.read_json(audit, stage="split"), clips, table, card)
    scores = summarize_scores(tested, probabilities, card.labels, seed=seed) | {"leak": leak}
    scores["seeds"] = scores_by_seed(tested, dict(zip(card.seeds, each, strict=True)), card.labels)
    scores["baseline"] = _baseline_scores(tested, clips, table, folder, card, seed=seed)
    figures = _provenance(card, leak) | scores
    tables.write_predictions(tested, probabilities, card.labels, output)
    release_bundle(folder, whole, figures, longest=_longest_clip(manifests, clips))
    files.write_json(headline_scores(figures), metrics)
    print(_result_lines(figures))
    return figures


def _read_sexes(manifests: Sequence[Path]) -> pd.DataFrame:
    """Sex of each clip's speaker. Columns: clip_id, sex."""
    return pd.concat([tables.read_manifest(path)[["clip_id", "sex"]] for path in manifests], ignore_index=True)


def _longest_clip(manifests: Sequence[Path], clips: pd.DataFrame) -> float:
    """Length of the longest clip of the splits in seconds."""
    found = pd.concat([tables.read_manifest(path)[["clip_id", "seconds"]] for path in manifests], ignore_index=True)
    return round(float(found.loc[found["clip_id"].isin(clips["clip_id"]), "seconds"].fillna(0).max()), 3)


def _predict_test_rows(
    tested: pd.DataFrame,
    clips: pd.DataFrame,
    table: dataset_table.FeatureTable,
    folder: Path,
    card: bundle.Card,
    *,
    arch: str = "",
) -> npt.NDArray[np.float32]:
    """Predict each test row by the models of its fold: the bundle's own, or its baseline ``arch``, which has one seed.

    Shape: ``(seeds, rows, classes)``.
    """
    numbers = table.find(tested)
    out = np.empty((1 if arch else len(card.seeds), len(tested), len(card.labels)), np.float32)
    for fold in card.folds:
        here = np.flatnonzero(tested["fold"] == fold)
        inputs = _fold_inputs(clips, table, card, fold, arch or card.arch)
        for number, place in enumerate(card.places(fold)[: len(out)]):
            model = models.load_model(folder / place, arch or card.arch)
            out[number, here] = model.probabilities(inputs, numbers[here])
    return out


def _fold_inputs(
    clips: pd.DataFrame, table: dataset_table.FeatureTable, card: bundle.Card, fold: int, arch: str
) -> ModelInputs:
    return models.model_inputs(table, clips[clips["fold"] == fold], arch, _training_settings(card))


def _training_settings(card: bundle.Card) -> Train:
    """Settings of the training, from the bundle: params.yaml may have changed since."""
    return config.build_dataclass(Train, card.params["train"], "train")


def _baseline_scores(
    tested: pd.DataFrame,
    clips: pd.DataFrame,
    table: dataset_table.FeatureTable,
    folder: Path,
    card: bundle.Card,
    *,
    seed: int,
) -> dict[str, Any]:
    """Scores of the baselines: chance and, unless it is the model itself, the svm."""
    found: dict[str, Any] = {"chance": chance_scores(tested["label"])}
    if card.arch != settings.SVM:
        [probabilities] = _predict_test_rows(tested, clips, table, folder, card, arch=settings.SVM)
        found[settings.SVM] = summarize_scores(tested, probabilities, card.labels, seed=seed)["test"]
    return found


def _leaks_with_statistics(
    audit: Mapping[str, Any], clips: pd.DataFrame, table: dataset_table.FeatureTable, card: bundle.Card
) -> dict[str, float]:
    """Add to the split's audit on which rows the bundle's statistics were fitted."""
    own = float(_training_settings(card).normalise == "speaker")
    folds = {}
    for fold in card.folds:
        clean = _fits_training_rows(clips, table, card, fold)
        part = audit["fold"][str(fold)]
        found = {"statistics": float(not clean), "contaminated": part["leak"]["contaminated"] if clean else 1.0}
        folds[str(fold)] = part | {"leak": part["leak"] | {"own_statistics": own} | found}
    return leakage.average_leaks({"fold": folds}, card.folds)


def _fits_training_rows(clips: pd.DataFrame, table: dataset_table.FeatureTable, card: bundle.Card, fold: int) -> bool:
    """Recompute the statistics of a fold, and check whether the bundle's come from its training rows alone."""
    if not models.fits_statistics(card.arch, _training_settings(card)):
        return True
    stored = Statistics(*(np.array(card.statistics[str(fold)][name], np.float32) for name in ("mean", "variance")))
    here = clips[clips["fold"] == fold]
    inputs = _fold_inputs(clips, table, card, fold, card.arch)
    training_rows = inputs.measure(table.find(here[here["role"] == "train"])).joined
    everything = inputs.measure(table.find(here)).joined
    return leakage.identify_fitted_rows(stored.joined, training_rows, everything) == "training"


def _provenance(card: bundle.Card, leak: Mapping[str, float]) -> dict[str, Any]:
    """Protocol, synthetic corpora, labels and normalisation, and the stamp that warns of them."""
    normalise = _training_settings(card).normalise
    found = {
        "protocol": card.split["protocol"],
        "synthetic": dict.fromkeys(card.synthetic, True),
        "shuffled": bool(card.split.get("shuffle")),
        "labels": {"source": _label_source(card), "soft": _soft_labels(card)},
        "normalise": normalise,
        "transductive": normalise == "speaker",
    }
    return {"stamp": leakage.warning_stamp(found | {"leak": leak})} | found


def _label_source(card: bundle.Card) -> str:
    """Source of the labels: the actor's intention, or a majority of listeners."""
    return str(card.split.get("labels", {}).get("source", "intended"))


def _soft_labels(card: bundle.Card) -> str | None:
    """Listeners whose shares of votes were the targets; the svm takes one class a clip."""
    return None if card.arch == settings.SVM else _training_settings(card).soft_labels


def _result_lines(figures: Mapping[str, Any]) -> str:
    """Summarise the result for the terminal."""
    test, ends = figures["test"], figures["test"]["uar_ci95"]
    known = ends["low"] is not None
    interval = f"95 % interval {ends['low']:.1%} to {ends['high']:.1%}" if known else f"no interval: {wording.INTERVAL}"
    where = f"{text.format_things(test['clips'], 'clip')} of {text.format_speakers(test['speakers'])}"
    svm = figures["baseline"].get("svm")
    compared = f"svm {svm['uar']:.1%}, " if svm else ""
    protocol = f"{compared}chance {test['chance']:.1%}, protocol {figures['protocol']}"
    own = ", speaker-normalised (transductive)" if figures["transductive"] else ""
    labels = wording.describe_label_source(figures)
    labelled = f"\nlabels: {labels}" if labels else ""
    several = wording.describe_ensemble(figures)
    ensemble = f"\n{several}" if several else ""
    warning = f"\n{figures['stamp']}" if figures["stamp"] else ""
    return f"UAR {test['uar']:.1%} ({interval}) on {where}, {protocol}{own}{ensemble}{labelled}{warning}"


def main() -> None:
    """Read params.yaml and evaluate."""
    params = config.read_params()
    view, corpora = settings.model_view(params), config.corpus_folders(params)
    run(
        Path("data/clips.parquet"),
        [Path(f"features/{view}/{corpus}.parquet") for corpus in corpora],
        [Path(f"data/manifest/{corpus}.parquet") for corpus in corpora],
        Path("models/trained"),
        Path("metrics/audit.json"),
        output=Path("models/predictions.parquet"),
        whole=Path("models/bundle"),
        metrics=Path("metrics/eval.json"),
        seed=config.read_seed(params),
        cache=files.cache_folder() / "unpacked",
    )


def release_bundle(trained: Path, output: Path, scores: Mapping[str, Any], *, longest: float) -> None:
    """Copy a bundle, with the scores in its card and README.md, the model card for people.

    Args:
        trained: the bundle without scores.
        output: the bundle to write.
        scores: of all test rows and groups.
        longest: s, the longest clip it was trained and tested on.
    """
    card = replace(bundle.read_card(trained, stage="train"), scores=scores, longest=longest)
    with files.atomic_write(output) as part:
        shutil.copytree(trained, part)
        (part / model_card.MODEL_CARD_FILE).write_text(model_card.card_page(card), encoding="utf-8")
        bundle.write_card(part, replace(card, files=bundle.file_checksums(part)))
