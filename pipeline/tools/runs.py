"""Metrics and predictions of a git revision, a DVC experiment or the workspace, read for a comparison.

The project is the folder that holds dvc.yaml: the top of its git repository or any folder below, in a worktree or a
submodule, with ``.dvc`` next to it or further up. Paths are therefore resolved from the top of the repository.
"""

import json
import posixpath
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from dvc.exceptions import DvcException
from dvc.fs import GitFileSystem
from dvc.repo import Repo
from dvc.scm import SCM, Git, resolve_rev
from pygit2 import GitError

from pipeline.core import config, tables
from pipeline.core.errors import SettingError, StoreError
from pipeline.evaluate import metrics
from pipeline.report.tables import subsection
from pipeline.split.leakage import contamination_warning, synthetic_corpora
from pipeline.text import finite_number, format_percent, format_things

UAR_TOLERANCE = 1e-4  # metrics/details.json has four digits
TRUTH_COLUMNS = ["clip_id", "corpus", "speaker", "label"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A revision: its ``metrics/details.json``, and its predictions or why they are missing."""

    name: str
    figures: Mapping[str, Any]
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)  # one per test clip: TRUTH and predicted
    lack: str = ""  # why there are none


def corpus_scores(run: Run, corpus: str) -> dict[str, Any]:
    """Return the scores of a corpus, or of all clips for ""."""
    return subsection(run.figures, "corpus", corpus) if corpus else subsection(run.figures, "test")


def corpus_score(run: Run, corpus: str, name: str) -> float | None:
    """Return one of these scores, None if it is missing."""
    return finite_number(corpus_scores(run, corpus).get(name))


def corpus_predictions(run: Run, corpus: str) -> pd.DataFrame:
    """Return the predictions for a corpus, or for all clips for ""."""
    return run.rows[run.rows["corpus"] == corpus] if corpus else run.rows


def predictions_uar(table: pd.DataFrame) -> float:
    labels, predicted = list(table["label"]), list(table["predicted"])
    return metrics.unweighted_average_recall(metrics.confusion_matrix(labels, predicted, sorted({*labels, *predicted})))


def drop_foreign_predictions(run: Run) -> Run:
    """Drop predictions that do not give the UAR of ``metrics/details.json``: they are from another run."""
    known = corpus_score(run, "", "uar")
    if run.lack or (known is not None and abs(predictions_uar(run.rows) - known) <= UAR_TOLERANCE):
        return run
    return replace(run, lack=f"the predictions of {run.name} do not give the UAR of its metrics/details.json")


def incomparable_reasons(one: Run, two: Run) -> list[str]:
    """List why two runs are not comparable; empty if they are."""
    differences = [*_protocol_differences(one, two), *_label_differences(one, two), *_class_differences(one, two)]
    return [
        *differences,
        *([] if differences else _clip_differences(one, two)),
        *_leak_reports(one),
        *_leak_reports(two),
    ]


def _protocol_differences(one: Run, two: Run) -> Iterator[str]:
    first, second = (str(run.figures.get("protocol")) for run in (one, two))
    if first != second:
        yield f"{one.name} has the protocol {first}, {two.name} has {second}"


def _label_differences(one: Run, two: Run) -> Iterator[str]:
    """Report labels from different sources, such as intended and rated by listeners."""
    first, second = (str(subsection(run.figures, "labels").get("source", "intended")) for run in (one, two))
    if first != second:
        yield f"{one.name} is evaluated on the labels {first}, {two.name} on {second}"


def _class_differences(one: Run, two: Run) -> Iterator[str]:
    """Report classes and corpora of one run only, and corpora that are synthetic in one run only."""
    named = {
        "classes of only one": [set(subsection(run.figures, "class")) for run in (one, two)],
        "corpora of only one": [set(subsection(run.figures, "corpus")) for run in (one, two)],
        "synthetic speech in only one": [set(synthetic_corpora(run.figures)) for run in (one, two)],
    }
    for what, (first, second) in named.items():
        if odd := first ^ second:
            yield f"{what}: {', '.join(sorted(odd))}"


def _clip_differences(one: Run, two: Run) -> Iterator[str]:
    """Report different test clips, by the predictions or, without them, by the counts of metrics/details.json."""
    if not (one.lack or two.lack):
        first, second = (Counter(map(tuple, run.rows[TRUTH_COLUMNS].to_numpy().tolist())) for run in (one, two))
        if first != second:
            extra, missing = (first - second).total(), (second - first).total()
            yield (
                f"test clips or their labels: {format_things(extra, 'row')} only in {one.name}, "
                f"{missing} only in {two.name}"
            )
    elif _row_counts(one) != _row_counts(two):
        sizes = [format_things(corpus_score(run, "", "clips"), "test clip") for run in (one, two)]
        yield f"other test clips by corpus, speaker or class: {sizes[0]} in {one.name}, {sizes[1]} in {two.name}"


def _row_counts(run: Run) -> list[float | None]:
    """List the counts of metrics/details.json: clips and speakers of all and of each corpus, and rows of each class."""
    sections = ["", *sorted(subsection(run.figures, "corpus"))]
    classes = sorted(subsection(run.figures, "class"))
    sizes = [corpus_score(run, name, what) for name in sections for what in ("clips", "speakers")]
    return sizes + [finite_number(subsection(run.figures, "class", name).get("support")) for name in classes]


def _leak_reports(run: Run) -> Iterator[str]:
    """Report test rows that leak from training."""
    if contamination_warning(run.figures):
        share = format_percent(subsection(run.figures, "leak").get("contaminated"))
        yield f"test rows of {run.name} leak from training ({share})"


WORKSPACE = "workspace"  # as DVC calls it
METRICS, PREDICTIONS = "metrics/details.json", "models/predictions.parquet"
OLD_METRICS = "metrics/eval.json"  # which held all scores until version 0.1


@dataclass(frozen=True)
class _Workspace:
    """The project in the working directory. Only missing files need git or DVC."""

    folder: Path

    def read(self, path: str) -> bytes:
        """Read a file of the project."""
        return (self.folder / path).read_bytes()

    def locate(self, path: str) -> Path:
        """Find a file of the project, or that in DVC's cache which would be checked out there."""
        own = self.folder / path
        if own.exists():
            return own
        with Repo(str(self.folder), uninitialized=True) as repo:
            return _cached_file(repo, str(own))


@dataclass(frozen=True)
class _Commit:
    """The project in a commit; `folder` is its path in the repository, ``/`` at the top."""

    repo: Repo
    folder: str

    def read(self, path: str) -> bytes:
        """Read a file of the project."""
        whole = posixpath.join(self.folder, path)
        return bytes(self.repo.dvcfs.cat_file(f"/{posixpath.relpath(whole, self.repo.root_dir)}"))

    def locate(self, path: str) -> Path:
        """Find a file of the project in DVC's cache."""
        return _cached_file(self.repo, posixpath.join(self.folder, path))


def read_run(revision: str) -> Run:
    """Read a run; predictions that are not on this machine are left out.

    Raises:
        SettingError: git and DVC know no such revision, or it has no scores.
        StoreError: its scores are damaged.
    """
    folder = config.project_folder() or Path.cwd()
    with nullcontext(_Workspace(folder)) if revision == WORKSPACE else _committed(folder, revision) as project:
        figures = _read_scores(project, revision)
        try:
            rows = tables.read_predictions(project.locate(PREDICTIONS))[0].fillna({"speaker": ""})
            return Run(name=revision, figures=figures, rows=rows)
        except (DvcException, KeyError, ValueError, OSError, StoreError):  # KeyError, ValueError: DVC knows no hash
            lack = f"the predictions of {revision} cannot be read from DVC's cache"
            return Run(name=revision, figures=figures, lack=lack)


@contextmanager
def _committed(folder: Path, revision: str) -> Iterator[_Commit]:
    """Open the project in this folder at a revision.

    Raises:
        SettingError: there is no git repository, it has no such revision, or git refuses to read it.
    """
    try:
        scm = SCM(str(folder))
    except DvcException as error:
        raise _unknown_revision(revision, error) from error
    with closing(scm):
        yield _open_commit(scm, folder, revision)


def _open_commit(scm: Git, folder: Path, revision: str) -> _Commit:
    inside = posixpath.join("/", folder.resolve().relative_to(Path(scm.root_dir).resolve()).as_posix())
    try:
        system = GitFileSystem(scm=scm, rev=resolve_rev(scm, revision))
        return _Commit(Repo(inside, fs=system, scm=scm, uninitialized=True), posixpath.normpath(inside))
    except DvcException as error:
        rest = " This clone is shallow: 'git fetch --unshallow' brings its history." if _is_shallow(scm) else ""
        raise _unknown_revision(revision, error, rest) from error
    except GitError as error:
        raise SettingError(
            f"{revision!r} cannot be read ({error}): if you trust that folder, run "
            f"git config --global --add safe.directory {shlex.quote(scm.root_dir)}"
        ) from error


def _unknown_revision(revision: str, error: Exception, rest: str = "") -> SettingError:
    return SettingError(
        f"{revision!r} cannot be read ({error}): name a git revision or a DVC experiment of this folder's "
        f"repository ('git log', 'dvc exp show'), or {WORKSPACE}.{rest}"
    )


def _is_shallow(scm: Git) -> bool:
    """Say whether a clone lacks part of its history."""
    return bool(scm.dulwich.repo.get_shallow())


def _read_scores(project: _Workspace | _Commit, revision: str) -> dict[str, Any]:
    try:
        figures = _read_json(project, METRICS, revision)
    except FileNotFoundError:
        return _scores_until_0_1(project, revision)
    if _pooled_uar(figures) is None:
        raise StoreError(f"{METRICS} of {revision} holds no test.uar: run 'dvc repro -f report' there.")
    return dict(figures)


def _scores_until_0_1(project: _Workspace | _Commit, revision: str) -> dict[str, Any]:
    """Read the scores of a revision from metrics/eval.json, where they were until version 0.1."""
    try:
        figures = _read_json(project, OLD_METRICS, revision)
    except FileNotFoundError:
        figures = {}
    if _pooled_uar(figures) is None:  # since then, that file holds only the main scores
        raise _missing_scores(project, revision)
    return dict(figures)


def _pooled_uar(figures: Any) -> float | None:
    return finite_number(subsection(figures, "test").get("uar"))


def _read_json(project: _Workspace | _Commit, path: str, revision: str) -> Any:
    """Read a metrics file.

    Raises:
        FileNotFoundError: the revision does not have it.
        StoreError: it is damaged.
    """
    try:
        return json.loads(project.read(path))
    except ValueError as error:
        raise StoreError(f"{path} of {revision} is damaged ({error}): run 'dvc repro -f report' there.") from error


def _missing_scores(project: _Workspace | _Commit, revision: str) -> SettingError:
    """Explain that a revision has no scores, or that this folder is in no project."""
    if config.project_folder() is None:
        return SettingError(f"there is no dvc.yaml in {Path.cwd()} or above: go to the folder of the project.")
    path = METRICS if revision == WORKSPACE else posixpath.join(str(project.folder), METRICS).lstrip("/")
    return SettingError(f"{revision} has no {path}: run 'dvc repro' and commit it, or name another revision.")


def _cached_file(repo: Repo, path: str) -> Path:
    """Find the file in DVC's cache that would be checked out at a path."""
    index, entry = repo.get_data_index_entry(path)
    return Path(index.storage_map.get_cache(entry)[1])
