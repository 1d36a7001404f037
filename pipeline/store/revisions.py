"""Read metrics and predictions of a git revision, a DVC experiment or the workspace. The only module that needs DVC."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException

from pipeline.errors import SettingError, StoreError
from pipeline.evaluation.sides import Side
from pipeline.evaluation.tables import part
from pipeline.evaluation.wording import number
from pipeline.store import predictions

WORKSPACE = "workspace"  # DVC's own word
METRICS, PREDICTIONS = "metrics/eval.json", "models/predictions.parquet"


def side(revision: str) -> Side:
    """Read one side of a comparison; predictions that this machine does not have are left out.

    Raises:
        SettingError: git and DVC know no such revision, or it has no scores.
        StoreError: its scores are damaged.
    """
    project = open_at(revision)
    figures = read_figures(project, revision)
    try:
        return Side(name=revision, figures=figures, rows=read_rows(project, revision))
    except (DvcException, KeyError, ValueError, StoreError):  # KeyError and ValueError: DVC knows no hash of them
        lack = f"the predictions of {revision} cannot be read from DVC's cache"
        return Side(name=revision, figures=figures, lack=lack)


def open_at(revision: str) -> DVCFileSystem:
    """Open the project as it is at a revision, from its top folder on."""
    project = DVCFileSystem(rev=None if revision == WORKSPACE else revision)
    try:
        project.repo.get_rev()  # opens the repository
    except DvcException as error:
        raise SettingError(
            f"{revision!r} cannot be read ({error}): name a git revision or a DVC experiment of this folder's "
            f"repository ('git log', 'dvc exp show'), or {WORKSPACE}."
        ) from error
    return project


def read_figures(project: DVCFileSystem, revision: str) -> dict[str, Any]:
    """Read the scores of a revision."""
    try:
        figures = json.loads(project.cat_file(f"/{METRICS}"))
    except FileNotFoundError:
        raise SettingError(
            f"{revision} has no {METRICS}: run 'dvc repro evaluate' and commit it, or name another revision."
        ) from None
    except ValueError as error:
        raise StoreError(f"{METRICS} of {revision} is damaged ({error}): run 'dvc repro -f evaluate' there.") from error
    if number(part(figures, "test").get("uar")) is None:
        raise StoreError(f"{METRICS} of {revision} holds no test.uar: run 'dvc repro -f evaluate' there.")
    return dict(figures)


def read_rows(project: DVCFileSystem, revision: str) -> pd.DataFrame:
    """Read the predictions of a revision, those of the workspace from its folder if they are there."""
    path = Path(project.repo.root_dir, PREDICTIONS)
    if revision != WORKSPACE or not path.exists():
        index, entry = project.repo.get_data_index_entry(str(path))
        path = Path(index.storage_map.get_cache(entry)[1])
    return predictions.read(path)[0].fillna({"speaker": ""})
