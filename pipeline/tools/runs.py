"""Metrics and predictions of a git revision, a DVC experiment or the workspace, read for a comparison.

The project is the folder that holds dvc.yaml. It may lie at the top of its git repository or anywhere below, in a
worktree or a submodule, with DVC's folder beside it or further up: paths are found from the top of the repository down.
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
from pipeline.report.tables import part
from pipeline.split.leakage import contamination_warning, synthetic_corpora
from pipeline.text import finite_number, format_percent, format_things

ROUNDING = 1e-4  # metrics/details.json keeps four digits
TRUTH = ["clip_id", "corpus", "speaker", "label"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A revision: what ``metrics/details.json`` says, and its predictions or why they are not there."""

    name: str
    figures: Mapping[str, Any]
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)  # one per tested clip: TRUTH and predicted
    lack: str = ""  # why there are no rows


def section(side: Run, corpus: str) -> dict[str, Any]:
    """Give the scores of a corpus, or of all clips for ""."""
    return part(side.figures, "corpus", corpus) if corpus else part(side.figures, "test")


def value(side: Run, corpus: str, name: str) -> float | None:
    """Give one of these scores, None where there is none."""
    return finite_number(section(side, corpus).get(name))


def rows(side: Run, corpus: str) -> pd.DataFrame:
    """Give the predictions for a corpus, or all of them for ""."""
    return side.rows[side.rows["corpus"] == corpus] if corpus else side.rows


def uar(table: pd.DataFrame) -> float:
    """UAR of predictions."""
    spoken, predicted = list(table["label"]), list(table["predicted"])
    return metrics.uar(metrics.confusion(spoken, predicted, sorted({*spoken, *predicted})))


def checked(side: Run) -> Run:
    """Leave out predictions that do not give the UAR of ``metrics/details.json``: they are of another run."""
    known = value(side, "", "uar")
    if side.lack or (known is not None and abs(uar(side.rows) - known) <= ROUNDING):
        return side
    return replace(side, lack=f"the predictions of {side.name} do not give the UAR of its metrics/details.json")


def faults(one: Run, two: Run) -> list[str]:
    """Say why the two are not comparable; nothing where they are."""
    apart = [*protocols(one, two), *labels(one, two), *names(one, two)]
    return [*apart, *([] if apart else clips(one, two)), *leaks(one), *leaks(two)]


def protocols(one: Run, two: Run) -> Iterator[str]:
    """Say that they were split in different ways."""
    first, second = (str(side.figures.get("protocol")) for side in (one, two))
    if first != second:
        yield f"{one.name} has the protocol {first}, {two.name} has {second}"


def labels(one: Run, two: Run) -> Iterator[str]:
    """Say that others decided what was spoken."""
    first, second = (str(part(side.figures, "labels").get("source", "intended")) for side in (one, two))
    if first != second:
        yield f"{one.name} is judged by the labels {first}, {two.name} by {second}"


def names(one: Run, two: Run) -> Iterator[str]:
    """Name the classes and corpora that only one side was tested on, or only one side synthesised."""
    named = {
        "classes of only one": [set(part(side.figures, "class")) for side in (one, two)],
        "corpora of only one": [set(part(side.figures, "corpus")) for side in (one, two)],
        "synthetic speech in only one": [set(synthetic_corpora(side.figures)) for side in (one, two)],
    }
    for what, (first, second) in named.items():
        if odd := first ^ second:
            yield f"{what}: {', '.join(sorted(odd))}"


def clips(one: Run, two: Run) -> Iterator[str]:
    """Say how the tested clips differ, by the predictions, or without them by what metrics/details.json counts."""
    if not (one.lack or two.lack):
        first, second = (Counter(map(tuple, side.rows[TRUTH].to_numpy().tolist())) for side in (one, two))
        if first != second:
            ours, theirs = ((mine - other).total() for mine, other in ((first, second), (second, first)))
            yield (
                f"test clips or their labels: {format_things(ours, 'row')} only in {one.name}, "
                f"{theirs} only in {two.name}"
            )
    elif counts(one) != counts(two):
        sizes = [format_things(value(side, "", "clips"), "test clip") for side in (one, two)]
        yield f"other test clips by corpus, speaker or class: {sizes[0]} in {one.name}, {sizes[1]} in {two.name}"


def counts(side: Run) -> list[float | None]:
    """List what metrics/details.json counts: clips and speakers, of all and of each corpus, and rows of each class."""
    sections = ["", *sorted(part(side.figures, "corpus"))]
    classes = sorted(part(side.figures, "class"))
    sizes = [value(side, name, what) for name in sections for what in ("clips", "speakers")]
    return sizes + [finite_number(part(side.figures, "class", name).get("support")) for name in classes]


def leaks(side: Run) -> Iterator[str]:
    """Say that test rows were known to the model."""
    if contamination_warning(side.figures):
        share = format_percent(part(side.figures, "leak").get("contaminated"))
        yield f"test rows of {side.name} leak from training ({share})"


WORKSPACE = "workspace"  # DVC's own word
METRICS, PREDICTIONS = "metrics/details.json", "models/predictions.parquet"
BEFORE = "metrics/eval.json"  # where all scores were until 0.1


@dataclass(frozen=True)
class _Workspace:
    """The project as it lies on the disk. Only what is not there needs git or DVC."""

    folder: Path

    def read(self, path: str) -> bytes:
        """Read a file of the project."""
        return (self.folder / path).read_bytes()

    def locate(self, path: str) -> Path:
        """Find a file of the project, or the one in DVC's cache that would be checked out there."""
        own = self.folder / path
        if own.exists():
            return own
        with Repo(str(self.folder), uninitialized=True) as repo:
            return _cached(repo, str(own))


@dataclass(frozen=True)
class _Commit:
    """The project in a commit; ``folder`` is its path in there, ``/`` at the top."""

    repo: Repo
    folder: str

    def read(self, path: str) -> bytes:
        """Read a file of the project."""
        whole = posixpath.join(self.folder, path)
        return bytes(self.repo.dvcfs.cat_file(f"/{posixpath.relpath(whole, self.repo.root_dir)}"))

    def locate(self, path: str) -> Path:
        """Find a file of the project in DVC's cache."""
        return _cached(self.repo, posixpath.join(self.folder, path))


def read_run(revision: str) -> Run:
    """Read one side of a comparison; predictions that this machine does not have are left out.

    Raises:
        SettingError: git and DVC know no such revision, or it has no scores.
        StoreError: its scores are damaged.
    """
    folder = config.project() or Path.cwd()
    with nullcontext(_Workspace(folder)) if revision == WORKSPACE else _committed(folder, revision) as project:
        figures = read_figures(project, revision)
        try:
            rows = tables.read_predictions(project.locate(PREDICTIONS))[0].fillna({"speaker": ""})
            return Run(name=revision, figures=figures, rows=rows)
        except (DvcException, KeyError, ValueError, OSError, StoreError):  # KeyError, ValueError: DVC knows no hash
            lack = f"the predictions of {revision} cannot be read from DVC's cache"
            return Run(name=revision, figures=figures, lack=lack)


@contextmanager
def _committed(folder: Path, revision: str) -> Iterator[_Commit]:
    """Open the project in this folder as it is at a revision.

    Raises:
        SettingError: there is no git repository, it knows no such revision, or git refuses to read it.
    """
    try:
        scm = SCM(str(folder))
    except DvcException as error:
        raise _unknown(revision, error) from error
    with closing(scm):
        yield _open(scm, folder, revision)


def _open(scm: Git, folder: Path, revision: str) -> _Commit:
    """Open the commit of a revision."""
    inside = posixpath.join("/", folder.resolve().relative_to(Path(scm.root_dir).resolve()).as_posix())
    try:
        system = GitFileSystem(scm=scm, rev=resolve_rev(scm, revision))
        return _Commit(Repo(inside, fs=system, scm=scm, uninitialized=True), posixpath.normpath(inside))
    except DvcException as error:
        rest = " This clone is shallow: 'git fetch --unshallow' brings its history." if _is_shallow(scm) else ""
        raise _unknown(revision, error, rest) from error
    except GitError as error:
        raise SettingError(
            f"{revision!r} cannot be read ({error}): if you trust that folder, tell git so with "
            f"git config --global --add safe.directory {shlex.quote(scm.root_dir)}"
        ) from error


def _unknown(revision: str, error: Exception, rest: str = "") -> SettingError:
    """Say that there is no such revision."""
    return SettingError(
        f"{revision!r} cannot be read ({error}): name a git revision or a DVC experiment of this folder's "
        f"repository ('git log', 'dvc exp show'), or {WORKSPACE}.{rest}"
    )


def _is_shallow(scm: Git) -> bool:
    """Say whether a clone lacks the older part of its history."""
    return bool(scm.dulwich.repo.get_shallow())


def read_figures(project: _Workspace | _Commit, revision: str) -> dict[str, Any]:
    """Read the scores of a revision."""
    try:
        figures = _read_json(project, METRICS, revision)
    except FileNotFoundError:
        return _figures_until_0_1(project, revision)
    if _uar(figures) is None:
        raise StoreError(f"{METRICS} of {revision} holds no test.uar: run 'dvc repro -f report' there.")
    return dict(figures)


def _figures_until_0_1(project: _Workspace | _Commit, revision: str) -> dict[str, Any]:
    """Read the scores of a revision from where they were before they had a file of their own."""
    try:
        figures = _read_json(project, BEFORE, revision)
    except FileNotFoundError:
        figures = {}
    if _uar(figures) is None:  # today that file holds the headline alone
        raise _without_scores(project, revision)
    return dict(figures)


def _uar(figures: Any) -> float | None:
    """Give the pooled UAR, None where there is none."""
    return finite_number(part(figures, "test").get("uar"))


def _read_json(project: _Workspace | _Commit, path: str, revision: str) -> Any:
    """Read a file of metrics.

    Raises:
        FileNotFoundError: the revision has none.
        StoreError: it is damaged.
    """
    try:
        return json.loads(project.read(path))
    except ValueError as error:
        raise StoreError(f"{path} of {revision} is damaged ({error}): run 'dvc repro -f report' there.") from error


def _without_scores(project: _Workspace | _Commit, revision: str) -> SettingError:
    """Say that a revision has no scores, or that this folder lies in no project."""
    if config.project() is None:
        return SettingError(f"no dvc.yaml lies in {Path.cwd()} or above it: go to the folder of the project.")
    path = METRICS if revision == WORKSPACE else posixpath.join(str(project.folder), METRICS).lstrip("/")
    return SettingError(f"{revision} has no {path}: run 'dvc repro' and commit it, or name another revision.")


def _cached(repo: Repo, path: str) -> Path:
    """Find what DVC would check out at a path in its cache."""
    index, entry = repo.get_data_index_entry(path)
    return Path(index.storage_map.get_cache(entry)[1])
