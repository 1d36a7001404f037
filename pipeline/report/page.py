"""The report page: one self-contained HTML file without scripts."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import jinja2
import numpy as np
import pandas as pd

from pipeline import text as core_text
from pipeline.report import figures, style, tables, wording
from pipeline.report.tables import Table, Values, subsection
from pipeline.report.wording import NORMALISED
from pipeline.split import leakage
from pipeline.text import finite_number, format_count, format_percent, format_speakers, format_things, interval_ends


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG embedded in the page. Sizes are in CSS pixels, 96 an inch."""

    source: str
    alt: str
    width: int
    height: int


def render_report(
    *,
    evaluation: Values,
    training: Values,
    audit: Values,
    bundle: Values,
    params: Values,
    manifests: Mapping[str, pd.DataFrame],
    predictions: pd.DataFrame,
    pictures: Mapping[str, bytes],
) -> str:
    """Render the report as HTML; the same arguments give the same text.

    Args:
        evaluation: scores of the bundle.
        training: metrics of its training.
        audit: metrics/audit.json.
        bundle: the card of the bundle.
        params: params.yaml.
        manifests: by corpus, a row per file found, with columns status and warnings.
        predictions: a row per test row, columns actual and predicted.
        pictures: PNG files curves, confusion, f1_by_class, uar_by_corpus, recall_by_corpus.
    """
    classes = list(bundle.get("labels", ()))
    wrong = _mistakes_table(predictions, classes, unit=wording.counted_unit(evaluation))
    alternatives = tables.figure_descriptions(evaluation, training, wrong, classes)
    return _report_template().render(
        test=subsection(evaluation, "test"),
        warnings=leakage.score_warnings(evaluation),
        said=_interpretation(evaluation),
        marks=tables.baseline_marks(evaluation),
        beside=tables.baseline_table(evaluation, bundle),
        facts=_key_facts(evaluation, training, audit, bundle),
        pictures={name: _embed_png(pictures[name], text) for name, text in alternatives.items()},
        leaks=tables.leak_table(evaluation, audit),
        corpora=tables.corpus_table(evaluation),
        emotions=tables.class_table(evaluation, classes),
        mistakes=wrong,
        folds=tables.fold_table(evaluation, training, audit),
        people=[tables.sex_table(evaluation), tables.speaker_table(evaluation)],
        files=tables.files_table(manifests, audit),
        sources=tables.corpora_table(bundle),
        parameters=tables.parameters_table(params, bundle),
        versions=tables.versions_table(bundle, training),
    )


def _report_template() -> jinja2.Template:
    """Template of the page; text from metrics and corpora is escaped."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(
        percent=format_percent, between=core_text.format_interval, ends=interval_ends, number=finite_number
    )
    text = resources.files("pipeline.report").joinpath("report.html").read_text(encoding="utf-8")
    return environment.from_string(text)


def _interpretation(evaluation: Values) -> str:
    """Interpret the UAR: relative to chance and the svm, under its protocol, for which speakers."""
    sentences = (
        wording.interpret_uar(subsection(evaluation, "test"), control=bool(evaluation.get("shuffled"))),
        tables.baseline_verdict(evaluation),
        wording.explain_protocol(evaluation),
        wording.explain_transductive(evaluation),
    )
    return " ".join(filter(None, sentences))


def _key_facts(evaluation: Values, training: Values, audit: Values, bundle: Values) -> list[tuple[str, str]]:
    """Key facts by name: protocol, classes, corpora, model, test data."""
    test, names = subsection(evaluation, "test"), [*subsection(bundle, "corpora")]
    classes, folds = bundle.get("labels", ()), finite_number(subsection(evaluation, "folds").get("count"))
    total = len(subsection(audit, "fold")) or folds
    model = f"{bundle.get('arch', '?')} on {bundle.get('view', '?')}"
    size = finite_number(training.get("parameters"))
    repeated = wording.counted_unit(evaluation) == "rows"
    rows = f", some of them more than once: {format_things(test['rows'], 'row')}" if repeated else ""
    return [
        ("Protocol", str(evaluation.get("protocol", "unknown"))),
        (f"{len(classes)} classes", ", ".join(classes)),
        *(("Labels", text) for text in [wording.describe_label_source(evaluation)] if text),
        ("Corpora" if len(names) > 1 else "Corpus", ", ".join(names)),
        ("Model", f"{model}, {format_count(size)} parameters" if size else model),
        *(("Normalised", text) for name, text in NORMALISED.items() if name == evaluation.get("normalise")),
        ("Tested on", f"{format_speakers(test.get('speakers'))}, {format_things(test.get('clips'), 'clip')}{rows}"),
        ("Folds", f"{format_count(folds)} of {format_count(total)}{', pooled' if folds and folds > 1 else ''}"),
        *(("Answers", text) for text in [wording.describe_ensemble(evaluation)] if text),
    ]


def _mistakes_table(predictions: pd.DataFrame, classes: Sequence[str], *, unit: str, most: int = 5) -> Table:
    """The confusions with the largest share of a true class."""
    clips = figures.confusion_counts(predictions, classes)
    shares, numbers = figures.normalise_rows(clips).fillna(0).to_numpy(), clips.to_numpy()
    pairs = sorted(np.argwhere(numbers * (1 - np.eye(len(classes)))).tolist(), key=lambda p: (-shares[*p], p))
    rows = [
        (classes[i], classes[j], format_percent(shares[i, j]), format_count(numbers[i, j])) for i, j in pairs[:most]
    ]
    return Table(
        caption="Most frequent mistakes",
        head=("actual", "predicted", "share of class", unit),
        align="llrr",
        rows=rows,
    )


def _embed_png(png: bytes, alt: str) -> Picture:
    """Embed a PNG in the size for which it was drawn."""
    width, height = (int.from_bytes(png[at : at + 4], "big") * 96 // style.DPI for at in (16, 20))
    return Picture(source=f"data:image/png;base64,{b64encode(png).decode()}", alt=alt, width=width, height=height)
