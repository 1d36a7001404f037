"""Say in words what each picture shows, for those who do not see it."""

from collections.abc import Sequence

from pipeline.evaluation import tables
from pipeline.evaluation.tables import Table, Values, part
from pipeline.evaluation.wording import number, percent, things


def describe(evaluation: Values, training: Values, mistakes: Table, classes: Sequence[str]) -> dict[str, str]:
    """Describe the pictures by name; the most frequent mistake stands first."""
    worst = [f" The most frequent mistake: {a} taken for {b}, {share}." for a, b, share, *_ in mistakes.rows[:1]]
    f1 = ", ".join(f"{row[0]} {row[3]}" for row in tables.by_class(evaluation, classes).rows)
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
    marked = [("svm, a mark on the pooled bar,", svm)] if number(svm.get("uar")) is not None else []
    corpora = [("pooled", part(evaluation, "test")), *marked, *part(evaluation, "corpus").items()]
    return [f"{name} {percent(scores.get('uar'))}" for name, scores in corpora]


def lowest(evaluation: Values) -> list[str]:
    """Name the emotion that is recognised least in each corpus.

    >>> lowest({"corpus": {"tess": {"recall": {"sad": 1, "fear": 0, "calm": None}}}})[0].split(",")[0]
    'In tess lowest: fear'
    """
    recalls = {corpus: part(evaluation, "corpus", corpus, "recall") for corpus in part(evaluation, "corpus")}
    spoken = {k: {n: v for n, v in each.items() if number(v) is not None} for k, each in recalls.items()}
    least = {corpus: min(each, key=each.__getitem__) for corpus, each in spoken.items() if each}
    return [f"In {corpus} lowest: {name}, {percent(spoken[corpus][name])}." for corpus, name in least.items()]


def epochs(training: Values) -> str:
    """Say how many folds were trained, and how long at most."""
    folds = part(training, "folds")
    most = max((fold.get("epochs") or 0 for fold in folds.values()), default=0)
    return f"{things(len(folds), 'fold')}, up to {most} epochs"
