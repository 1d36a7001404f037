"""The model card, ``README.md`` of a bundle: Markdown with YAML metadata, as model hubs show it.

Sections follow Mitchell et al. (2019), Model cards for model reporting, doi:10.1145/3287560.3287596.
"""

import io
from dataclasses import asdict
from importlib import resources
from typing import Any

import jinja2
from ruamel.yaml import YAML

from pipeline import text as core_text
from pipeline.report import tables, wording
from pipeline.report.tables import Table, subsection
from pipeline.split import leakage
from pipeline.text import finite_number
from pipeline.train.bundle import Card

MODEL_CARD_FILE = "README.md"
TITLE = "Speech emotion recognition"


def card_page(card: Card) -> str:
    """Render the model card; the same card gives the same text."""
    return f"---\n{hub_metadata(card)}---\n{card_text(card)}"


def hub_metadata(card: Card) -> str:
    """YAML metadata for model hubs: licence, languages, tags and scores."""
    out = io.StringIO()
    yaml = YAML()
    yaml.width = 1000
    languages = sorted({page["language"] for page in card.corpora.values()} - {""})
    about: dict[str, Any] = {"language": languages} if languages else {}
    about |= {
        "license": "other",
        "license_name": "that-of-the-corpora",
        "library_name": card.runtime,
        "pipeline_tag": "audio-classification",
        "tags": ["speech-emotion-recognition", "audio-classification", *(["synthetic"] if card.synthetic else [])],
    }
    yaml.dump(about | _model_index(card), out)
    return out.getvalue()


def _model_index(card: Card) -> dict[str, Any]:
    """Pooled scores as ``model-index`` of the metadata, empty before evaluation."""
    test = subsection(card.scores, "test")
    if finite_number(test.get("uar")) is None:
        return {}
    kinds = {"recall": ("UAR", "uar"), "accuracy": ("Accuracy", "wa"), "f1": ("Macro F1", "macro_f1")}
    metrics = [{"type": kind, "name": name, "value": test[key]} for kind, (name, key) in kinds.items()]
    names = ", ".join(_corpus_titles(card).values())
    result = {
        "task": {"type": "audio-classification", "name": TITLE},
        "dataset": {"type": " ".join(card.corpora), "name": names},
        "metrics": metrics,
    }
    return {"model-index": [{"name": f"{card.arch} on {card.view}", "results": [result]}]}


def _corpus_titles(card: Card) -> dict[str, str]:
    """Titles of the corpora by name; those of the demo are marked as synthetic."""
    demo = {name: f"{name} (synthetic demo)" for name in card.synthetic}
    return {name: demo.get(name, about["title"]) for name, about in card.corpora.items()}


def card_text(card: Card) -> str:
    """Markdown text of the model card."""
    values = asdict(card)
    audio = card.layout["identity"]["settings"]["audio"]
    test = subsection(card.scores, "test")
    shown = [
        tables.corpus_table(card.scores),
        tables.sex_table(card.scores),
        tables.class_table(card.scores, card.labels),
    ]
    return _card_template().render(
        card=card,
        audio=audio,
        bins=card.layout["shape"][1],
        titles=_corpus_titles(card),
        test=test,
        warnings=leakage.score_warnings(card.scores),
        protocol=wording.explain_protocol(card.scores),
        transductive=wording.explain_transductive(card.scores),
        verdict=wording.interpret_uar(test, control=bool(card.scores.get("shuffled"))),
        beside=markdown_table(tables.baseline_table(card.scores, values)),
        scores="\n\n".join(map(markdown_table, shown)),
        sources=markdown_table(tables.corpora_table(values)),
        settings=markdown_table(tables.parameters_table(_card_settings(card), values)),
        versions=markdown_table(tables.versions_table(values, {})),
    )


def _card_settings(card: Card) -> dict[str, Any]:
    """Settings of features and training, by section of params.yaml."""
    made = card.layout["identity"]["settings"]
    return {**card.params, "split": card.split, "audio": made["audio"], "features": {card.view: made[card.view]}}


def markdown_table(table: Table) -> str:
    r"""Format a table as Markdown, its note below.

    >>> print(markdown_table(Table(caption="", head=("a", "b"), align="lr", rows=[("x|y", "1")])))
    | a | b |
    |---|---:|
    | x\|y | 1 |
    """
    rule = "".join({"l": "---|", "r": "---:|"}[way] for way in table.align)
    lines = [_markdown_row(table.head), f"|{rule}", *(_markdown_row(cells) for cells in table.rows)]
    return "\n".join(lines) + (f"\n\n{table.note}" if table.note else "")


def _markdown_row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _card_template() -> jinja2.Template:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(
        percent=core_text.format_percent,
        between=core_text.format_interval,
        things=core_text.format_things,
        people=core_text.format_speakers,
    )
    text = resources.files("pipeline.report").joinpath("card.md").read_text(encoding="utf-8")
    return environment.from_string(text)
