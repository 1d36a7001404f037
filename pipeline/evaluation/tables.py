"""The report's tables of scores: metrics in, rows of text out. Nothing here knows HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.evaluation.leaks import INFORMATION
from pipeline.evaluation.wording import INTERVAL, LEAKS, MISSING, between, count, counted, number, percent, score

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
        (name, percent(s.get("uar")), between(s.get("uar_ci95")), percent(s.get("wa")), score(s.get("macro_f1")),
         count(s.get("speakers")), count(s.get("clips")))
        for name, s in (pooled | corpora).items()
    ]  # fmt: skip
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
            (name, percent(s.get("recall")), percent(s.get("precision")), score(s.get("f1")), count(s.get("support")))
            for name, s in named
        ],
    )


def by_fold(evaluation: Values, training: Values, audit: Values) -> Table:
    """What each fold held, how long it trained and what it scored."""
    folds = part(evaluation, "folds")
    rows = []
    for name, scores in sorted(part(folds, "each").items(), key=lambda item: int(item[0])):
        trained, held = part(training, "folds", name), part(audit, "fold", name, "count")
        sizes = count(held.get("test_speakers")), count(held.get("test_rows"))
        epochs = count(trained.get("epochs")), count(trained.get("best_epoch"))
        rows.append((name, percent(scores.get("uar")), *sizes, *epochs, percent(trained.get("val_uar"))))
    spread = f"Mean {percent(folds.get('uar_mean'))}, standard deviation {percent(folds.get('uar_sd'))}."
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
    rows = [(name or "unknown", percent(s.get("uar")), count(s.get("clips"))) for name, s in groups]
    return Table(caption="By sex of the speaker", head=("sex", "UAR", "clips"), align="lrr", rows=rows)


def by_speaker(evaluation: Values) -> Table:
    """The speakers it understands best and worst."""
    ends = ((name, part(evaluation, "speaker", name)) for name in ("best", "worst"))
    rows = [(name, str(s["name"]), percent(s.get("uar"))) for name, s in ends if s.get("name")]
    return Table(caption="Best and worst speaker", head=("", "speaker", "UAR"), align="llr", rows=rows)


def leaks(evaluation: Values, audit: Values) -> Table:
    """Shares of test rows that leak, faults first; evaluate's figures stand above split's."""
    found = part(audit, "leak") | part(evaluation, "leak")
    total = found.pop("contaminated", None)
    names = [name for name in LEAKS if name in found] + sorted(set(found) - set(LEAKS))
    rows = [(leak_sentence(name, found[name]), share(found[name]), weight(name)) for name in names]
    loud = [row for row, name in enumerate(names) if weight(name) == "fault" and number(found[name])]
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
    if number(total) is None:
        return ""
    return f"{percent(total)} of the test rows have at least one fault." if total else "No test row has a fault."


def leak_sentence(name: str, value: Any) -> str:
    """Describe a leak, and say what mends it where it occurs.

    >>> leak_sentence("seen_speaker", 0.0), leak_sentence("seen_speaker", 0.5)
    ('come from a speaker heard in training', 'come from a speaker heard in training: split by speaker')
    """
    sentence = LEAKS.get(name, name).rstrip(".")
    return sentence if number(value) else sentence.split(":")[0]


def share(value: Any) -> str:
    """Write a leak: a share, or evaluate's word where it has one."""
    return value if isinstance(value, str) else percent(value)


def weight(name: str) -> str:
    """Say whether a leak is a fault."""
    return "information" if name in (*INFORMATION, "own_statistics") else "fault"
