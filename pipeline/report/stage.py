"""Stage ``report``: draw the figures and write the report page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import text
from pipeline.core import config, files
from pipeline.core import tables as core_tables
from pipeline.core.errors import StoreError
from pipeline.core.plotting import Figure
from pipeline.report import figures as report_figures
from pipeline.report import page as report_page
from pipeline.report import wording
from pipeline.report.tables import Values, subsection
from pipeline.split import leakage

Tables = dict[str, pd.DataFrame]  # by the name of the CSV file
Figures = dict[str, Figure]  # by the name of the PNG file


def run(
    *,
    audit: Path,
    manifests: Sequence[Path],
    bundle: Path,
    predictions: Path,
    params: Mapping[str, Any],
    plots: Path,
    page: Path,
    details: Path,
) -> None:
    """Write CSV tables and PNG figures into the folder ``plots``, the report page, and all scores as JSON.

    Args:
        audit: metrics/audit.json.
        manifests: data/manifest/<corpus>.parquet of each corpus.
        bundle: folder of the model, with bundle.json and fold-<k>/history.csv.
        predictions: models/predictions.parquet.
        params: the settings to show, by section.
        plots: folder to replace.
        page: HTML file to write.
        details: metrics/details.json to write.

    Raises:
        StoreError: an artefact is missing, damaged or does not fit the others; the message names the stage to run.
    """
    leaks = files.read_json(audit, stage="split")
    card = read_scored_card(bundle / "bundle.json")
    scores, trained = subsection(card, "scores"), subsection(card, "training")
    found = {path.stem: core_tables.read_manifest(path) for path in manifests}
    rows = _read_predictions(predictions, card["labels"])
    tables = {
        "history": _read_histories(bundle, card["folds"]),
        "confusion": report_figures.confusion_table(rows),
        "f1_by_class": report_figures.f1_table(scores, card["labels"]),
        "uar_by_corpus": report_figures.uar_table(scores),
        "recall_by_corpus": report_figures.recall_table(scores, rows, card["labels"]),
    }
    best = {int(k): fold["best_epoch"] for k, fold in subsection(trained, "folds").items() if fold.get("best_epoch")}
    figures = _draw_figures(tables, card["labels"], best=best, scores=scores)
    pictures = _write_plots(tables, figures, plots, stamp=leakage.warning_stamp(scores))
    text = report_page.render_report(
        evaluation=scores,
        training=trained,
        audit=leaks,
        bundle=card,
        params=params,
        manifests=found,
        predictions=tables["confusion"],
        pictures=pictures,
    )
    with files.atomic_write(page) as aside:
        aside.write_text(text, encoding="utf-8")
    lasting = {name: value for name, value in trained.items() if name != "speed"}  # which differs from run to run
    files.write_json({**scores, "training": lasting}, details)


def read_scored_card(path: Path) -> Values:
    """Read the card of an evaluated bundle, without verifying the checksums of its files.

    Raises:
        StoreError: the card is missing or damaged, or has no classes, folds or scores.
    """
    card: Values = files.read_json(path, stage="evaluate")
    if not card.get("labels") or "folds" not in card:
        raise StoreError(f"{path} does not name labels and folds: run 'dvc repro -f evaluate'.")
    if text.finite_number(subsection(card, "scores", "test").get("uar")) is None:
        raise StoreError(f"{path} holds no scores: run 'dvc repro -f evaluate'.")
    return card


def _read_histories(bundle: Path, folds: Sequence[int]) -> pd.DataFrame:
    """Histories of all folds, empty for a model that is fitted in one step."""
    paths = {fold: bundle / f"fold-{fold}" / "history.csv" for fold in folds}
    return report_figures.history_table({fold: pd.read_csv(path) for fold, path in paths.items() if path.exists()})


def _read_predictions(path: Path, classes: Sequence[str]) -> pd.DataFrame:
    """Read the predictions of the test rows, sorted by clip and fold.

    Raises:
        StoreError: the predictions are missing, or of a model with other classes.
    """
    rows, _, labels = core_tables.read_predictions(path)
    if labels != list(classes):
        raise StoreError(
            f"{path} has the classes {', '.join(labels)}, and the bundle has {', '.join(classes)}: "
            "run 'dvc repro evaluate'."
        )
    return rows.sort_values(["clip_id", "fold"], ignore_index=True)


def _draw_figures(tables: Tables, classes: Sequence[str], *, best: Mapping[int, int], scores: Values) -> Figures:
    """Draw all figures, with a stamp where the scores need a warning."""
    stamp = leakage.warning_stamp(scores)
    uar = dict(zip(tables["uar_by_corpus"]["corpus"], tables["uar_by_corpus"]["uar"], strict=True))
    title = report_figures.LEFT_OUT_TITLE if scores.get("protocol") == "corpus" else report_figures.RECALL_TITLE
    return {
        "curves": report_figures.draw_curves(tables["history"], best=best, stamp=stamp),
        "confusion": report_figures.draw_confusion(
            tables["confusion"], classes, title=report_figures.CONFUSION_TITLE, stamp=stamp
        ),
        "f1_by_class": report_figures.draw_f1_by_class(
            tables["f1_by_class"], unit=wording.counted_unit(scores), stamp=stamp
        ),
        "uar_by_corpus": report_figures.draw_uar_by_corpus(tables["uar_by_corpus"], stamp=stamp),
        "recall_by_corpus": report_figures.draw_recall_by_corpus(
            tables["recall_by_corpus"], uar, title=title, stamp=stamp
        ),
    }


def _write_plots(tables: Tables, figures: Figures, folder: Path, *, stamp: str) -> dict[str, bytes]:
    """Write tables as CSV and figures as PNG; return the bytes of the PNG files."""
    with files.atomic_write(folder) as aside:
        aside.mkdir()
        for name, table in tables.items():
            rows = report_figures.add_stamp(table, stamp)
            rows.to_csv(aside / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")
        for name, figure in figures.items():
            report_figures.save_figure(figure, aside / f"{name}.png")
        return {name: (aside / f"{name}.png").read_bytes() for name in figures}


def bundle_settings(card: Values) -> dict[str, Any]:
    """Settings from the card of a bundle: params.yaml may have changed since."""
    made, view = subsection(card, "layout", "identity", "settings"), str(card.get("view"))
    features = {"audio": subsection(made, "audio"), "features": {view: subsection(made, view)}}
    return {
        **subsection(card, "params"),
        "split": subsection(card, "split"),
        "augment": subsection(card, "layout", "augment"),
        **features,
    }


def main() -> None:
    """Report on the bundle; params.yaml only gives the names of the corpora."""
    params = config.read_params()
    bundle = Path("models/bundle")
    run(
        audit=Path("metrics/audit.json"),
        manifests=[Path(f"data/manifest/{corpus}.parquet") for corpus in config.corpus_folders(params)],
        bundle=bundle,
        predictions=Path("models/predictions.parquet"),
        params=bundle_settings(read_scored_card(bundle / "bundle.json")),
        plots=Path("metrics/plots"),
        page=Path("metrics/report.html"),
        details=Path("metrics/details.json"),
    )
