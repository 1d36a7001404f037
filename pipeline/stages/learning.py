"""The rows of one fold, and the baseline fitted to them; nothing of its test rows is looked at but their speakers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import SettingError
from pipeline.labels import VOTES
from pipeline.networks import names, svm, targets
from pipeline.networks.settings import Train
from pipeline.serving import models
from pipeline.store import statistics
from pipeline.store.inputs import Inputs
from pipeline.store.mapped import Table

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Task:
    """The rows of one fold: those to learn from, those to be judged by, and the class of each."""

    table: Table
    clips: pd.DataFrame
    classes: int
    settings: Train
    seed: tuple[int, int]  # and the fold: of the order of the batches, and summed of the weights

    @property
    def learnt(self) -> tuple[Numbers, Numbers]:
        """Training rows and their classes; -1 for ties, which have none."""
        return self.pick("train")

    def taught(self, arch: str) -> tuple[Numbers, targets.Labels]:
        """Training rows that a kind of model is taught, and what it is taught: classes, or shares of votes."""
        rows, labels = self.learnt
        listeners = self.settings.soft_labels
        if listeners is None or arch == names.SVM:
            known = labels != targets.UNLABELLED
            return rows[known], labels[known]
        votes = self.clips.loc[self.clips["role"] == "train", VOTES[listeners]]
        shares = targets.soft(labels, targets.tally(votes, self.clips.attrs["classes"]))
        told = shares.any(axis=1)
        return rows[told], shares[told]

    @property
    def judged(self) -> tuple[Numbers, Numbers]:
        """Validation rows and their classes."""
        return self.pick("validation")

    def pick(self, role: str) -> tuple[Numbers, Numbers]:
        """Number the rows of a role, and their classes."""
        chosen = self.clips[self.clips["role"] == role]
        codes = pd.Categorical(chosen["label"], categories=self.clips.attrs["classes"]).codes
        return self.table.find(chosen), np.asarray(codes, np.int64)

    def inputs(self, arch: str) -> Inputs:
        """Prepare the rows for a kind of model."""
        return models.inputs(self.table, self.clips, arch, self.settings)


def soft_labels(clips: pd.DataFrame, settings: Train, *, arch: str) -> list[str]:
    """Say how many clips are learnt from by their votes, nothing where all have one class.

    Raises:
        SettingError: there are no votes to learn from, or ties that nothing but votes can teach.
    """
    listeners, rows = settings.soft_labels, clips[clips["role"] == "train"].drop_duplicates("clip_id")
    ties = int(rows["label"].isna().sum())
    if listeners is None:
        refuse_ties(ties)
        return []
    voted = int(rows[VOTES[listeners]].notna().sum())
    refuse_silence(voted, listeners)
    if arch == names.SVM:
        return [f"soft labels: none for the svm, which takes one class a clip; {ties} ties are left out"]
    return [
        f"soft labels: shares of votes ({listeners}) of {voted} clips, {ties} of them ties; the others have one class"
    ]


def refuse_ties(ties: int) -> None:
    """Stop at clips that have no class where only classes are learnt."""
    if ties:
        raise SettingError(
            f"split.labels.ties is 'soft', and {ties} ties have nothing but votes to learn from: set train.soft_labels "
            "to voice, face or multimodal, or split.labels.ties to drop."
        )


def refuse_silence(voted: int, listeners: str) -> None:
    """Stop where nobody has voted."""
    if not voted:
        raise SettingError(
            f"train.soft_labels is {listeners!r}, and no clip of data/clips.parquet has such votes: get the tables of "
            "CREMA-D with 'ser-features corpora fetch crema_d', or set it to null."
        )


def fit_machine(task: Task, settings: svm.Svm) -> models.Machine:
    """Fit the support vector machine, its probabilities by the validation rows."""
    inputs, (rows, labels), (judged, truth) = task.inputs(names.SVM), task.learnt, task.judged
    values, own = inputs.gather(rows), models.own_statistics(names.SVM, task.settings)
    fitted = statistics.over(values) if own else statistics.neutral(values.shape[1])
    balanced = task.settings.class_weights
    known = labels != targets.UNLABELLED
    machine = svm.fit(values[known], labels[known], task.classes, settings, balanced=balanced, statistics=fitted)
    return models.Machine(svm.calibrated(machine, inputs.gather(judged), truth) if len(judged) else machine)
