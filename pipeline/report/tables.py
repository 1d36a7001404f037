"""The tables of the report: scores, baselines, provenance; and the alternative texts of its figures."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pandas as pd

from pipeline.core import config
from pipeline.report.wording import INTERVAL, LEAKS, counted_unit
from pipeline.split.leakage import INFORMATION
from pipeline.text import (
    MISSING,
    finite_number,
    format_count,
    format_interval,
    format_percent,
    format_score,
    format_things,
)

Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text. The first cell of a row is its header; ``align`` has l (words) or r (numbers) by column."""

    caption: str
    head: tuple[str, ...]
    align: str
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    loud: Sequence[int] = ()  # rows to emphasise


def subsection(values: Values, *names: str) -> dict[str, Any]:
    """Look up a nested section, empty where it is missing or null.

    >>> subsection({"corpus": {"tess": {"uar": 0.5}}}, "corpus", "tess"), subsection({"leak": None}, "leak", "x")
    ({'uar': 0.5}, {})
    """
    found: Any = values
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def corpus_table(evaluation: Values) -> Table:
    corpora = subsection(evaluation, "corpus")
    pooled = {"all, pooled": subsection(evaluation, "test")} if len(corpora) != 1 else {}  # the same with one corpus
    rows = [
        (
            name,
            format_percent(s.get("uar")),
            format_interval(s.get("uar_ci95")),
            format_percent(s.get("wa")),
            format_score(s.get("macro_f1")),
            format_count(s.get("speakers")),
            format_count(s.get("clips")),
        )
        for name, s in (pooled | corpora).items()
    ]
    few = any(row[2] == MISSING for row in rows)
    return Table(
        caption="By corpus",
        head=("corpus", "UAR", "95 % interval", "accuracy", "macro F1", "speakers", "clips"),
        align="lrrrrrr",
        rows=rows,
        note=f"{MISSING}: no interval, {INTERVAL}." if few else "",
    )


def class_table(evaluation: Values, classes: Sequence[str]) -> Table:
    named = ((name, subsection(evaluation, "class", name)) for name in classes)
    return Table(
        caption="By emotion",
        head=("emotion", "recall", "precision", "F1", counted_unit(evaluation)),
        align="lrrrr",
        rows=[
            (
                name,
                format_percent(s.get("recall")),
                format_percent(s.get("precision")),
                format_score(s.get("f1")),
                format_count(s.get("support")),
            )
            for name, s in named
        ],
    )


def fold_table(evaluation: Values, training: Values, audit: Values) -> Table:
    """Scores, test data and training of each fold."""
    folds = subsection(evaluation, "folds")
    rows = []
    for name, scores in sorted(subsection(folds, "each").items(), key=lambda item: int(item[0])):
        trained, held = subsection(training, "folds", name), subsection(audit, "fold", name, "count")
        sizes = format_count(held.get("test_speakers")), format_count(held.get("test_rows"))
        epochs = format_count(trained.get("epochs")), format_count(trained.get("best_epoch"))
        rows.append((name, format_percent(scores.get("uar")), *sizes, *epochs, format_percent(trained.get("val_uar"))))
    spread = f"Mean {format_percent(folds.get('uar_mean'))}, standard deviation {format_percent(folds.get('uar_sd'))}."
    return Table(
        caption="By fold",
        head=("fold", "UAR", "test speakers", "test rows", "epochs", "best epoch", "validation UAR"),
        align="lrrrrrr",
        rows=rows,
        note=spread if len(rows) > 1 else "",
    )


def sex_table(evaluation: Values) -> Table:
    groups = subsection(evaluation, "group", "sex").items()
    rows = [(name or "unknown", format_percent(s.get("uar")), format_count(s.get("clips"))) for name, s in groups]
    return Table(caption="By sex of the speaker", head=("sex", "UAR", "clips"), align="lrr", rows=rows)


def speaker_table(evaluation: Values) -> Table:
    """The speakers with the highest and the lowest UAR."""
    ends = ((name, subsection(evaluation, "speaker", name)) for name in ("best", "worst"))
    rows = [(name, str(s["name"]), format_percent(s.get("uar"))) for name, s in ends if s.get("name")]
    return Table(caption="Best and worst speaker", head=("", "speaker", "UAR"), align="llr", rows=rows)


def leak_table(evaluation: Values, audit: Values) -> Table:
    """Shares of test rows with each leak, faults first; those of evaluate override those of split."""
    found = subsection(audit, "leak") | subsection(evaluation, "leak")
    total = found.pop("contaminated", None)
    names = [name for name in LEAKS if name in found] + sorted(set(found) - set(LEAKS))
    rows = [(_leak_description(name, found[name]), _format_leak(found[name]), _leak_kind(name)) for name in names]
    loud = [row for row, name in enumerate(names) if _leak_kind(name) == "fault" and finite_number(found[name])]
    return Table(
        caption="Leak audit",
        head=("Test rows that …", "share", "counts as"),
        align="lrl",
        rows=rows,
        loud=loud,
        note=_faults_sentence(total),
    )


def _faults_sentence(total: Any) -> str:
    """Sentence on the share of test rows with any fault."""
    if finite_number(total) is None:
        return ""
    return f"{format_percent(total)} of the test rows have at least one fault." if total else "No test row has a fault."


def _leak_description(name: str, value: Any) -> str:
    """Describe a leak and, where it occurs, its remedy.

    >>> _leak_description("seen_speaker", 0.0), _leak_description("seen_speaker", 0.5)
    ('come from a speaker heard in training', 'come from a speaker heard in training: split by speaker')
    """
    sentence = LEAKS.get(name, name).rstrip(".")
    return sentence if finite_number(value) else sentence.split(":")[0]


def _format_leak(value: Any) -> str:
    """Format the share of a leak, or the word that evaluate gives instead."""
    return value if isinstance(value, str) else format_percent(value)


def _leak_kind(name: str) -> str:
    """Classify a leak as fault or information."""
    return "information" if name in (*INFORMATION, "own_statistics") else "fault"


SVM = "The inputs of the svm are mean and SD of each bin of the same view."
GUESS = "Chance: uniform guesses for UAR, always the most frequent emotion for accuracy."
ROOM = 28  # % of the scale: least distance of the centres of two labels on a narrow screen
END = 76  # % of the scale from which a label would overlap its end label


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A mark on the scale of the headline, and its label below. Positions are in % of the scale."""

    name: str
    text: str
    at: float
    middle: float  # centre of the label, which must not leave the scale
    low: bool = False  # whether the label is on a second line, since it would overlap another


def baseline_table(evaluation: Values, bundle: Values) -> Table:
    """Scores of the model, the svm and chance."""
    chance = {"uar": subsection(evaluation, "test").get("chance")} | subsection(evaluation, "baseline", "chance")
    svm = subsection(evaluation, "baseline", "svm")
    scores = {f"{bundle.get('arch', '?')}, this page": subsection(evaluation, "test"), "svm": svm, "chance": chance}
    return Table(
        caption="Baselines",
        head=("model", "UAR", "95 % interval", "accuracy"),
        align="lrrr",
        rows=[
            (name, format_percent(s.get("uar")), format_interval(s.get("uar_ci95")), format_percent(s.get("wa")))
            for name, s in scores.items()
            if finite_number(s.get("uar")) is not None
        ],
        note=" ".join([SVM] * bool(svm) + [GUESS] * ("wa" in chance)),
    )


def baseline_verdict(evaluation: Values) -> str:
    """Compare the model with the svm; "" without one, or with shuffled labels."""
    ours, theirs = (
        finite_number(subsection(evaluation, *names).get("uar")) for names in (("test",), ("baseline", "svm"))
    )
    if ours is None or theirs is None or evaluation.get("shuffled"):
        return ""
    points = round(100 * (ours - theirs), 1)
    return f"{points} points above the svm." if points > 0 else "The svm does as well or better."


def baseline_marks(evaluation: Values) -> list[Mark]:
    """Marks of chance and the svm on the scale, with labels that do not overlap."""
    chance = finite_number(subsection(evaluation, "test").get("chance"))
    svm = finite_number(subsection(evaluation, "baseline", "svm").get("uar"))
    first = [] if chance is None else [_position_mark("chance", chance)]
    return first if svm is None else [*first, _position_mark("svm", svm, sign="▲ ", others=first)]


def _position_mark(name: str, value: float, *, sign: str = "", others: Sequence[Mark] = ()) -> Mark:
    """Position a mark and its label.

    >>> _position_mark("svm", 0.45).middle, _position_mark("svm", 0.02).middle, _position_mark("svm", 0.9).low
    (45.0, 14, True)
    """
    middle = min(max(14, 100 * value), 86)
    low = middle > END or any(abs(middle - other.middle) < ROOM for other in others)
    return Mark(name=name, text=f"{sign}{name} {format_percent(value)}", at=100 * value, middle=middle, low=low)


SYNTHETIC = {"licence": "none needed", "citation": "nothing: synthesised by the demo, it holds no recording."}
EXECUTION = {"execute", "device", "store", "serve"}  # sections of params.yaml that change no result


def files_table(manifests: Mapping[str, pd.DataFrame], audit: Values) -> Table:
    """Usable files of each corpus, and why others are left out. Columns needed: status, warnings."""
    rows = [
        (
            name,
            format_count(len(files)),
            format_count((files["status"] == "ok").sum()),
            _count_words(_left_out_reasons(files)),
            _count_words(_file_warnings(files)),
        )
        for name, files in manifests.items()
    ]
    unused = subsection(audit, "left_out")
    listed = ", ".join(f"{number:,} ({reason.replace('_', ' ')})" for reason, number in unused.items() if number)
    return Table(
        caption="Files found, used and left out",
        head=("corpus", "files", "usable", "left out", "usable, with a warning"),
        align="lrrll",
        rows=rows,
        note=f"Usable, but in no fold: {listed}." if listed else "",
    )


def _left_out_reasons(files: pd.DataFrame) -> Iterable[str]:
    """Reasons why files are left out, one a file."""
    return (status for status in files["status"] if status != "ok")


def _file_warnings(files: pd.DataFrame) -> Iterable[str]:
    """Warnings of the usable files."""
    usable = files.loc[files["status"] == "ok", "warnings"].dropna()
    return (word.strip() for words in usable for word in words.split(",") if word.strip())


def _count_words(words: Iterable[str]) -> str:
    """Count words, the most frequent first.

    >>> _count_words(["silent", "duplicate", "duplicate"])
    '2 duplicate, 1 silent'
    """
    ordered = sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number:,} {word.replace('_', ' ')}" for word, number in ordered) or "none"


def corpora_table(bundle: Values) -> Table:
    """Licence and citation of each corpus, DOIs as links."""
    synthetic = set(bundle.get("synthetic") or ())
    rows = []
    for name in subsection(bundle, "corpora"):
        about = SYNTHETIC if name in synthetic else subsection(bundle, "corpora", name)
        rows.append((name, _link_dois(about.get("licence")), _link_dois(about.get("citation"))))
    return Table(caption="Corpora", head=("corpus", "licence", "please cite"), align="lll", rows=rows)


def _link_dois(text: Any) -> str:
    """Replace DOIs in a text by links.

    >>> _link_dois("doi:10.1371/journal.pone.0196391")
    'https://doi.org/10.1371/journal.pone.0196391'
    """
    return re.sub(r"\bdoi[: ]\s*(?=10\.)", "https://doi.org/", str(text or MISSING), flags=re.IGNORECASE)


def parameters_table(params: Values, bundle: Values) -> Table:
    """Settings that determine the results: without execution, paths of corpora and unused models."""
    chosen = {name: value for name, value in params.items() if name not in EXECUTION}
    chosen["data"] = {"demo": subsection(params, "data", "demo")} if bundle.get("synthetic") else {}
    for section, used in (("model", bundle.get("arch")), ("features", bundle.get("view"))):
        values = subsection(params, section).items()
        chosen[section] = {name: value for name, value in values if name == used or not isinstance(value, Mapping)}
    rows = [(name, _format_setting(value)) for name, value in config.flatten(chosen)]
    return Table(caption="Parameters", head=("params.yaml", "value"), align="ll", rows=rows)


def _format_setting(value: Any) -> str:
    """Format a setting as in YAML; paths on this machine are private.

    >>> [_format_setting(value) for value in (True, ["noise", "pitch"], None, "/home/me/corpus")]
    ['true', '[noise, pitch]', 'null', '(a folder)']
    """
    if isinstance(value, list):
        return f"[{', '.join(map(_format_setting, value))}]"
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, default=str)
    private = value.startswith("~") or any(kind(value).is_absolute() for kind in (PurePosixPath, PureWindowsPath))
    return "(a folder)" if private else value


def versions_table(bundle: Values, training: Values) -> Table:
    """Versions of the software, the backend and the device."""
    found = subsection(bundle, "versions") | {
        name: training[name] for name in ("backend", "device") if name in training
    }
    rows = [(name, str(value)) for name, value in found.items()]
    return Table(caption="Computed with", head=("software", "version"), align="ll", rows=rows)


def figure_descriptions(
    evaluation: Values, training: Values, mistakes: Table, classes: Sequence[str]
) -> dict[str, str]:
    """Alternative texts of the figures by name."""
    worst = [f" The most frequent mistake: {a} taken for {b}, {share}." for a, b, share, *_ in mistakes.rows[:1]]
    f1 = ", ".join(f"{row[0]} {row[3]}" for row in class_table(evaluation, classes).rows)
    return {
        "uar_by_corpus": f"Bars of UAR by corpus beside chance: {', '.join(_uar_phrases(evaluation))}.",
        "recall_by_corpus": " ".join(
            ["Matrix of recall, corpora by emotions, UAR first.", *_lowest_recalls(evaluation)]
        ),
        "confusion": f"Confusion matrix of {len(classes)} emotions, rows actual, columns predicted.{''.join(worst)}",
        "f1_by_class": f"Bars of F1 by emotion: {f1}.",
        "curves": f"Loss and share recognised in training and validation, {_epochs_phrase(training)}.",
    }


def _uar_phrases(evaluation: Values) -> list[str]:
    """Describe the bars of the UAR figure, and the mark of the svm if there is one."""
    svm = subsection(evaluation, "baseline", "svm")
    marked = [("svm, a mark on the pooled bar,", svm)] if finite_number(svm.get("uar")) is not None else []
    corpora = [("pooled", subsection(evaluation, "test")), *marked, *subsection(evaluation, "corpus").items()]
    return [f"{name} {format_percent(scores.get('uar'))}" for name, scores in corpora]


def _lowest_recalls(evaluation: Values) -> list[str]:
    """Describe the lowest recall in each corpus.

    >>> _lowest_recalls({"corpus": {"tess": {"recall": {"sad": 1, "fear": 0, "calm": None}}}})[0].split(",")[0]
    'In tess lowest: fear'
    """
    recalls = {
        corpus: subsection(evaluation, "corpus", corpus, "recall") for corpus in subsection(evaluation, "corpus")
    }
    known = {k: {n: v for n, v in each.items() if finite_number(v) is not None} for k, each in recalls.items()}
    least = {corpus: min(each, key=each.__getitem__) for corpus, each in known.items() if each}
    return [f"In {corpus} lowest: {name}, {format_percent(known[corpus][name])}." for corpus, name in least.items()]


def _epochs_phrase(training: Values) -> str:
    """Describe how many folds were trained, and for how many epochs at most."""
    folds = subsection(training, "folds")
    most = max((fold.get("epochs") or 0 for fold in folds.values()), default=0)
    return f"{format_things(len(folds), 'fold')}, up to {most} epochs"
