"""Read metrics and predictions of a git revision, a DVC experiment or the workspace. The only module that needs DVC.

The project is the folder that holds dvc.yaml. It may lie at the top of its git repository or anywhere below, in a
worktree or a submodule, with DVC's folder beside it or further up: paths are found from the top of the repository down.
"""

import json
import posixpath
import shlex
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.fs import GitFileSystem
from dvc.repo import Repo
from dvc.scm import SCM, Git, resolve_rev
from pygit2 import GitError

from pipeline import config
from pipeline.errors import SettingError, StoreError
from pipeline.evaluation.sides import Side
from pipeline.evaluation.tables import part
from pipeline.evaluation.wording import number
from pipeline.store import predictions

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


def side(revision: str) -> Side:
    """Read one side of a comparison; predictions that this machine does not have are left out.

    Raises:
        SettingError: git and DVC know no such revision, or it has no scores.
        StoreError: its scores are damaged.
    """
    folder = config.project() or Path.cwd()
    with nullcontext(_Workspace(folder)) if revision == WORKSPACE else _committed(folder, revision) as project:
        figures = read_figures(project, revision)
        try:
            rows = predictions.read(project.locate(PREDICTIONS))[0].fillna({"speaker": ""})
            return Side(name=revision, figures=figures, rows=rows)
        except (DvcException, KeyError, ValueError, OSError, StoreError):  # KeyError, ValueError: DVC knows no hash
            lack = f"the predictions of {revision} cannot be read from DVC's cache"
            return Side(name=revision, figures=figures, lack=lack)


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
    return number(part(figures, "test").get("uar"))


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
