"""The tables of the report: scores, baselines, provenance, and the words for readers who see no pictures."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pandas as pd

from pipeline.core import config
from pipeline.report.wording import INTERVAL, LEAKS, counted
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
    """A table of text. The first cell of a row names it; ``align`` has l for words and r for numbers, by column."""

    caption: str
    head: tuple[str, ...]
    align: str
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    loud: Sequence[int] = ()  # rows that must not be overlooked


def part(values: Values, *names: str) -> dict[str, Any]:
    """Give a nested section, empty where it is missing or null.

    >>> part({"corpus": {"tess": {"uar": 0.5}}}, "corpus", "tess"), part({"leak": None}, "leak", "x")
    ({'uar': 0.5}, {})
    """
    found: Any = values
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def by_corpus(evaluation: Values) -> Table:
    """Scores of each corpus."""
    corpora = part(evaluation, "corpus")
    pooled = {"all, pooled": part(evaluation, "test")} if len(corpora) != 1 else {}  # of one corpus it says the same
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


def by_class(evaluation: Values, classes: Sequence[str]) -> Table:
    """Precision, recall, F1 of each class."""
    named = ((name, part(evaluation, "class", name)) for name in classes)
    return Table(
        caption="By emotion",
        head=("emotion", "recall", "precision", "F1", counted(evaluation)),
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


def by_fold(evaluation: Values, training: Values, audit: Values) -> Table:
    """What each fold held, how long it trained and what it scored."""
    folds = part(evaluation, "folds")
    rows = []
    for name, scores in sorted(part(folds, "each").items(), key=lambda item: int(item[0])):
        trained, held = part(training, "folds", name), part(audit, "fold", name, "count")
        sizes = format_count(held.get("test_speakers")), format_count(held.get("test_rows"))
        epochs = format_count(trained.get("epochs")), format_count(trained.get("best_epoch"))
        rows.append((name, format_percent(scores.get("uar")), *sizes, *epochs, format_percent(trained.get("val_uar"))))
    spread = f"Mean {format_percent(folds.get('uar_mean'))}, standard deviation {format_percent(folds.get('uar_sd'))}."
    return Table(
        caption="By fold",
        head=("fold", "UAR", "test speakers", "test rows", "epochs", "epoch kept", "validation UAR"),
        align="lrrrrrr",
        rows=rows,
        note=spread if len(rows) > 1 else "",
    )


def by_sex(evaluation: Values) -> Table:
    """Scores of each sex."""
    groups = part(evaluation, "group", "sex").items()
    rows = [(name or "unknown", format_percent(s.get("uar")), format_count(s.get("clips"))) for name, s in groups]
    return Table(caption="By sex of the speaker", head=("sex", "UAR", "clips"), align="lrr", rows=rows)


def by_speaker(evaluation: Values) -> Table:
    """The speakers it understands best and worst."""
    ends = ((name, part(evaluation, "speaker", name)) for name in ("best", "worst"))
    rows = [(name, str(s["name"]), format_percent(s.get("uar"))) for name, s in ends if s.get("name")]
    return Table(caption="Best and worst speaker", head=("", "speaker", "UAR"), align="llr", rows=rows)


def leaks(evaluation: Values, audit: Values) -> Table:
    """Shares of test rows that leak, faults first; evaluate's figures stand above split's."""
    found = part(audit, "leak") | part(evaluation, "leak")
    total = found.pop("contaminated", None)
    names = [name for name in LEAKS if name in found] + sorted(set(found) - set(LEAKS))
    rows = [(leak_sentence(name, found[name]), share(found[name]), weight(name)) for name in names]
    loud = [row for row, name in enumerate(names) if weight(name) == "fault" and finite_number(found[name])]
    return Table(
        caption="Leak audit",
        head=("Test rows that …", "share", "counts as"),
        align="lrl",
        rows=rows,
        loud=loud,
        note=sum_of_faults(total),
    )


def sum_of_faults(total: Any) -> str:
    """Say how many test rows have a fault of any kind."""
    if finite_number(total) is None:
        return ""
    return f"{format_percent(total)} of the test rows have at least one fault." if total else "No test row has a fault."


def leak_sentence(name: str, value: Any) -> str:
    """Describe a leak, and say what mends it where it occurs.

    >>> leak_sentence("seen_speaker", 0.0), leak_sentence("seen_speaker", 0.5)
    ('come from a speaker heard in training', 'come from a speaker heard in training: split by speaker')
    """
    sentence = LEAKS.get(name, name).rstrip(".")
    return sentence if finite_number(value) else sentence.split(":")[0]


def share(value: Any) -> str:
    """Write a leak: a share, or evaluate's word where it has one."""
    return value if isinstance(value, str) else format_percent(value)


def weight(name: str) -> str:
    """Say whether a leak is a fault."""
    return "information" if name in (*INFORMATION, "own_statistics") else "fault"


SVM = "The svm was given mean and SD of each row of the same view."
GUESS = "Chance: guessing evenly for UAR, always naming the most frequent emotion for accuracy."
ROOM = 28  # % of the scale, on a narrow screen, that two texts below it need from middle to middle
END = 76  # % of the scale from which a text would run into its last number


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A number on the scale of the headline, and its text below. Places are in % of the scale."""

    name: str
    text: str
    at: float
    middle: float  # of the text, which must not leave the scale
    low: bool = False  # the text stands on a second line, out of the way of others


def baseline_table(evaluation: Values, bundle: Values) -> Table:
    """Compare the model with the baseline and with chance."""
    chance = {"uar": part(evaluation, "test").get("chance")} | part(evaluation, "baseline", "chance")
    svm = part(evaluation, "baseline", "svm")
    scores = {f"{bundle.get('arch', '?')}, this page": part(evaluation, "test"), "svm": svm, "chance": chance}
    return Table(
        caption="Beside it",
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
    """Say how far the model is above the svm, "" where there is none or nothing to learn."""
    ours, theirs = (finite_number(part(evaluation, *names).get("uar")) for names in (("test",), ("baseline", "svm")))
    if ours is None or theirs is None or evaluation.get("shuffled"):
        return ""
    points = round(100 * (ours - theirs), 1)
    return f"{points} points above the svm." if points > 0 else "The svm does as well or better."


def baseline_marks(evaluation: Values) -> list[Mark]:
    """Place chance and the svm on the scale, and their texts so that none runs into another."""
    chance = finite_number(part(evaluation, "test").get("chance"))
    svm = finite_number(part(evaluation, "baseline", "svm").get("uar"))
    first = [] if chance is None else [mark("chance", chance)]
    return first if svm is None else [*first, mark("svm", svm, sign="▲ ", others=first)]


def mark(name: str, value: float, *, sign: str = "", others: Sequence[Mark] = ()) -> Mark:
    """Place one number.

    >>> mark("svm", 0.45).middle, mark("svm", 0.02).middle, mark("svm", 0.9).low
    (45.0, 14, True)
    """
    middle = min(max(14, 100 * value), 86)
    low = middle > END or any(abs(middle - other.middle) < ROOM for other in others)
    return Mark(name=name, text=f"{sign}{name} {format_percent(value)}", at=100 * value, middle=middle, low=low)


SYNTHETIC = {"licence": "none needed", "citation": "nothing: synthesised by the demo, it holds no recording."}
EXECUTION = {"execute", "device", "store", "serve"}  # how to run, never what comes out


def quarantine(manifests: Mapping[str, pd.DataFrame], audit: Values) -> Table:
    """How many files of each corpus may be used, and why the others may not. Columns needed: status, warnings."""
    rows = [
        (
            name,
            format_count(len(files)),
            format_count((files["status"] == "ok").sum()),
            tally(reasons(files)),
            tally(oddities(files)),
        )
        for name, files in manifests.items()
    ]
    unused = part(audit, "left_out")
    said = ", ".join(f"{number:,} ({reason.replace('_', ' ')})" for reason, number in unused.items() if number)
    return Table(
        caption="Files found, used and left out",
        head=("corpus", "files", "usable", "left out", "usable, but noted"),
        align="lrrll",
        rows=rows,
        note=f"Usable, but in no fold: {said}." if said else "",
    )


def reasons(files: pd.DataFrame) -> Iterable[str]:
    """Why files are left out, once per file."""
    return (status for status in files["status"] if status != "ok")


def oddities(files: pd.DataFrame) -> Iterable[str]:
    """What is odd about the usable files, once per file and oddity."""
    usable = files.loc[files["status"] == "ok", "warnings"].dropna()
    return (word.strip() for words in usable for word in words.split(",") if word.strip())


def tally(words: Iterable[str]) -> str:
    """Count words, the most frequent first.

    >>> tally(["silent", "duplicate", "duplicate"])
    '2 duplicate, 1 silent'
    """
    ordered = sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number:,} {word.replace('_', ' ')}" for word, number in ordered) or "none"


def sources(bundle: Values) -> Table:
    """Where the speech comes from and on what terms; a DOI becomes an address."""
    synthetic = set(bundle.get("synthetic") or ())
    rows = []
    for name in part(bundle, "corpora"):
        page = SYNTHETIC if name in synthetic else part(bundle, "corpora", name)
        rows.append((name, addressed(page.get("licence")), addressed(page.get("citation"))))
    return Table(caption="Speech used", head=("corpus", "licence", "please cite"), align="lll", rows=rows)


def addressed(text: Any) -> str:
    """Give a text with its DOI written as an address.

    >>> addressed("doi:10.1371/journal.pone.0196391")
    'https://doi.org/10.1371/journal.pone.0196391'
    """
    return re.sub(r"\bdoi[: ]\s*(?=10\.)", "https://doi.org/", str(text or MISSING), flags=re.IGNORECASE)


def parameters(params: Values, bundle: Values) -> Table:
    """The settings behind the numbers: not how it ran, not where the corpora lay, not the networks left aside."""
    chosen = {name: value for name, value in params.items() if name not in EXECUTION}
    chosen["data"] = {"demo": part(params, "data", "demo")} if bundle.get("synthetic") else {}
    for section, kept in (("model", bundle.get("arch")), ("features", bundle.get("view"))):
        values = part(params, section).items()
        chosen[section] = {name: value for name, value in values if name == kept or not isinstance(value, Mapping)}
    rows = [(name, plain(value)) for name, value in config.flat(chosen)]
    return Table(caption="Parameters", head=("params.yaml", "value"), align="ll", rows=rows)


def plain(value: Any) -> str:
    """Write a setting as YAML would; a place on this machine is nobody else's business.

    >>> plain(True), plain(["noise", "pitch"]), plain(None), plain("/home/me/corpus")
    ('true', '[noise, pitch]', 'null', '(a folder)')
    """
    if isinstance(value, list):
        return f"[{', '.join(map(plain, value))}]"
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, default=str)
    here = value.startswith("~") or any(kind(value).is_absolute() for kind in (PurePosixPath, PureWindowsPath))
    return "(a folder)" if here else value


def versions(bundle: Values, training: Values) -> Table:
    """With what it was computed."""
    found = part(bundle, "versions") | {name: training[name] for name in ("backend", "device") if name in training}
    rows = [(name, str(value)) for name, value in found.items()]
    return Table(caption="Computed with", head=("software", "version"), align="ll", rows=rows)


def describe_picture(evaluation: Values, training: Values, mistakes: Table, classes: Sequence[str]) -> dict[str, str]:
    """Describe the pictures by name; the most frequent mistake stands first."""
    worst = [f" The most frequent mistake: {a} taken for {b}, {share}." for a, b, share, *_ in mistakes.rows[:1]]
    f1 = ", ".join(f"{row[0]} {row[3]}" for row in by_class(evaluation, classes).rows)
    return {
        "uar_by_corpus": f"Bars of UAR by corpus beside chance: {', '.join(bars(evaluation))}.",
        "recall_by_corpus": f"Matrix of recall, corpora by emotions, UAR first. {' '.join(lowest(evaluation))}".strip(),
        "confusion": f"Confusion matrix of {len(classes)} emotions, rows spoken, columns predicted.{''.join(worst)}",
        "f1_by_class": f"Bars of F1 by emotion: {f1}.",
        "curves": f"Loss and share recognised in training and validation, {epochs(training)}.",
    }


def bars(evaluation: Values) -> list[str]:
    """Name the bars of UAR, and the svm's mark where there is one."""
    svm = part(evaluation, "baseline", "svm")
    marked = [("svm, a mark on the pooled bar,", svm)] if finite_number(svm.get("uar")) is not None else []
    corpora = [("pooled", part(evaluation, "test")), *marked, *part(evaluation, "corpus").items()]
    return [f"{name} {format_percent(scores.get('uar'))}" for name, scores in corpora]


def lowest(evaluation: Values) -> list[str]:
    """Name the emotion that is recognised least in each corpus.

    >>> lowest({"corpus": {"tess": {"recall": {"sad": 1, "fear": 0, "calm": None}}}})[0].split(",")[0]
    'In tess lowest: fear'
    """
    recalls = {corpus: part(evaluation, "corpus", corpus, "recall") for corpus in part(evaluation, "corpus")}
    spoken = {k: {n: v for n, v in each.items() if finite_number(v) is not None} for k, each in recalls.items()}
    least = {corpus: min(each, key=each.__getitem__) for corpus, each in spoken.items() if each}
    return [f"In {corpus} lowest: {name}, {format_percent(spoken[corpus][name])}." for corpus, name in least.items()]


def epochs(training: Values) -> str:
    """Say how many folds were trained, and how long at most."""
    folds = part(training, "folds")
    most = max((fold.get("epochs") or 0 for fold in folds.values()), default=0)
    return f"{format_things(len(folds), 'fold')}, up to {most} epochs"
