"""The data of one fold, and the SVM that is fitted on it; nothing here needs Keras."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.core.errors import SettingError
from pipeline.core.labels import VOTE_COLUMNS
from pipeline.dataset import inputs as dataset_inputs
from pipeline.dataset.inputs import ModelInputs
from pipeline.dataset.table import FeatureTable
from pipeline.train import models, svm
from pipeline.train import settings as train_settings
from pipeline.train.settings import Device, Train

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FoldData:
    """The training and validation rows of one fold, and the class of each."""

    table: FeatureTable
    clips: pd.DataFrame  # rows of this fold
    settings: Train
    seed: tuple[int, int]  # seed and fold, for the order of the batches; their sum seeds the weights

    @property
    def classes(self) -> int:
        return len(self.clips.attrs["classes"])

    @property
    def training(self) -> tuple[Numbers, Numbers]:
        """Numbers of the training rows in the table and their classes; -1 for ties, which have none."""
        return self._rows("train")

    @property
    def validation(self) -> tuple[Numbers, Numbers]:
        """Numbers of the validation rows in the table and their classes."""
        return self._rows("validation")

    def _rows(self, role: str) -> tuple[Numbers, Numbers]:
        chosen = self.clips[self.clips["role"] == role]
        codes = pd.Categorical(chosen["label"], categories=self.clips.attrs["classes"]).codes
        return self.table.find(chosen), np.asarray(codes, np.int64)

    def targets(self, arch: str) -> tuple[Numbers, dataset_inputs.Labels]:
        """Training rows that a model uses, and its targets: classes, or shares of votes with ``soft_labels``."""
        rows, labels = self.training
        listeners = self.settings.soft_labels
        if listeners is None or arch == train_settings.SVM:
            known = labels != dataset_inputs.UNLABELLED
            return rows[known], labels[known]
        votes = self.clips.loc[self.clips["role"] == "train", VOTE_COLUMNS[listeners]]
        shares = dataset_inputs.soft_targets(labels, dataset_inputs.count_votes(votes, self.clips.attrs["classes"]))
        known = shares.any(axis=1)
        return rows[known], shares[known]

    def inputs(self, arch: str) -> ModelInputs:
        """Prepare the rows as inputs of a model of this architecture."""
        return models.model_inputs(self.table, self.clips, arch, self.settings)


def soft_label_lines(clips: pd.DataFrame, settings: Train, *, arch: str) -> list[str]:
    """Describe in a line how many clips have shares of votes as targets; no line where all have one class.

    Raises:
        SettingError: no clip has votes, or there are ties and soft labels are off.
    """
    listeners, rows = settings.soft_labels, clips[clips["role"] == "train"].drop_duplicates("clip_id")
    ties = int(rows["label"].isna().sum())
    if listeners is None:
        if ties:
            raise SettingError(
                f"split.labels.ties is 'soft', and {ties} ties have no class, only votes: set train.soft_labels to "
                "voice, face or multimodal, or split.labels.ties to drop."
            )
        return []
    voted = int(rows[VOTE_COLUMNS[listeners]].notna().sum())
    if not voted:
        raise SettingError(
            f"train.soft_labels is {listeners!r}, and no clip of data/clips.parquet has such votes: get the tables of "
            "CREMA-D with 'ser-features corpora fetch crema_d', or set it to null."
        )
    if arch == train_settings.SVM:
        return [f"soft labels: none for the svm, which takes one class a clip; {ties} ties are left out"]
    return [
        f"soft labels: shares of votes ({listeners}) of {voted} clips, {ties} of them ties; the others have one class"
    ]


def check_batch_size(settings: Train, device: Device) -> None:
    """Refuse a batch size that the devices cannot share evenly.

    Raises:
        SettingError: the batch size is no multiple of ``device.count``.
    """
    if settings.batch_size % device.count:
        raise SettingError(
            f"params.yaml: train.batch_size is {settings.batch_size}, and {device.count} devices (device.count) share "
            f"it: set a multiple of {device.count}."
        )


def fit_fold_svm(data: FoldData, settings: svm.SvmSettings) -> models.SvmModel:
    """Fit the SVM on the training rows, and calibrate its probabilities on the validation rows."""
    inputs, (rows, labels) = data.inputs(train_settings.SVM), data.training
    validation, truth = data.validation
    values, own = inputs.gather(rows), models.fits_statistics(train_settings.SVM, data.settings)
    statistics = (
        dataset_inputs.fit_vector_statistics(values) if own else dataset_inputs.neutral_statistics(values.shape[1])
    )
    balanced = data.settings.class_weights
    known = labels != dataset_inputs.UNLABELLED
    fitted = svm.fit_svm(values[known], labels[known], data.classes, settings, balanced=balanced, statistics=statistics)
    return models.SvmModel(
        svm.calibrate_temperature(fitted, inputs.gather(validation), truth) if len(validation) else fitted
    )
