"""The baseline of the networks: a support vector machine (SVM) on the functionals of a clip.

scikit-learn fits it; it is stored and applied as arrays, because a pickle from a stranger may run code.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core import config
from pipeline.core.errors import SettingError
from pipeline.dataset.inputs import Statistics
from pipeline.train.settings import SVM

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
COSTS = (1e-6, 1e6)  # below, nothing is learned; above, libsvm does not end
TEMPERATURES = (0.01, 100.0)


@dataclass(frozen=True, kw_only=True)
class SvmSettings:
    """Settings of the SVM, section ``model.svm`` of params.yaml."""

    c: float = 1.0  # cost of a training error: C of scikit-learn's `SVC`

    def __post_init__(self) -> None:
        low, high = COSTS
        if not low <= self.c <= high:
            raise SettingError(
                f"params.yaml: model.svm.c is {self.c}, expected a number above 0, from {low:g} to {high:g}."
            )


def svm_settings(params: Mapping[str, Any]) -> SvmSettings:
    """Read the section ``model.svm``."""
    return config.read_section(SvmSettings, params, f"model.{SVM}")


@dataclass(frozen=True, kw_only=True)
class FittedSvm:
    """A fitted SVM. Shapes: d features, v support vectors, k classes among the training clips."""

    mean: Array  # (d,), of the training rows
    variance: Array  # (d,)
    vectors: Floats  # (v, d), standardised support vectors, sorted by class
    counts: Integers  # (k,), support vectors of each class
    weights: Floats  # (k - 1, v), dual coefficients of libsvm
    intercepts: Floats  # (k (k - 1) / 2,)
    columns: Integers  # (k,), numbers of these classes; one without training clips is never predicted
    classes: Integers  # (), number of all classes
    gamma: Floats  # (), of the radial kernel
    temperature: Floats  # (), by which scores are divided before softmax

    def probabilities(self, values: Array) -> Array:
        """Predict probabilities, of which the largest is that of the class with most votes.

        Shape: ``(clips, d)`` to ``(clips, classes)``.
        """
        out = np.zeros((len(values), int(self.classes)), np.float32)
        out[:, self.columns] = _softmax(self.scores(values) / float(self.temperature))
        return out

    def scores(self, values: Array) -> Floats:
        """Count the pairs of classes (one against one) that each class wins; margins break ties.

        This is scikit-learn's ``decision_function_shape="ovr"``. Shape: ``(clips, d)`` to ``(clips, k)``.
        """
        kernel = self.kernel(values)
        votes, margins = np.zeros((2, len(values), len(self.columns)))
        for pair, (one, other) in enumerate(combinations(range(len(self.columns)), 2)):
            margin = self.pair_margin(kernel, one, other) + self.intercepts[pair]  # above 0: for the first
            votes[:, one] += margin >= 0
            votes[:, other] += margin < 0
            margins[:, one] += margin
            margins[:, other] -= margin
        return np.asarray(votes + margins / (3 * (np.abs(margins) + 1)))

    def kernel(self, values: Array) -> Floats:
        """Radial kernel of clips and support vectors. Shape: ``(clips, d)`` to ``(clips, v)``."""
        rows = _standardise(values, self.mean, self.variance)
        distances = (
            np.square(rows).sum(axis=1)[:, None] - 2 * rows @ self.vectors.T + np.square(self.vectors).sum(axis=1)
        )
        return np.asarray(np.exp(-float(self.gamma) * np.maximum(distances, 0)))

    def pair_margin(self, kernel: Floats, one: int, other: int) -> Floats:
        """Decision function of two classes, without its intercept. Shape: ``(clips, v)`` to ``(clips,)``."""
        ends = np.cumsum([0, *self.counts])
        first, second = slice(*ends[one : one + 2]), slice(*ends[other : other + 2])
        return kernel[:, first] @ self.weights[other - 1, first] + kernel[:, second] @ self.weights[one, second]

    @property
    def size(self) -> int:
        """Number of stored values."""
        return sum(array.size for array in asdict(self).values())

    def save(self, path: Path) -> None:
        np.savez(path, **asdict(self))


def load_svm(path: Path) -> FittedSvm:
    """Load an SVM from an npz file, without pickles: nothing in it can run code."""
    with np.load(path, allow_pickle=False) as arrays:
        return FittedSvm(**arrays)


def fit_svm(
    values: Array, labels: Integers, classes: int, settings: SvmSettings, *, balanced: bool, statistics: Statistics
) -> FittedSvm:
    """Fit an SVM with a radial kernel (scikit-learn's `SVC`, gamma "scale").

    Args:
        values: functionals, shape ``(clips, d)``.
        labels: class of each clip, a number below ``classes``. Shape: ``(clips,)``.
        classes: number of classes.
        settings: of the SVM.
        balanced: whether all classes have the same total weight, however many clips they have.
        statistics: mean and variance by which features are standardised, each of shape ``(d,)``.
    """
    from sklearn.svm import SVC  # late: loading a model needs no scikit-learn

    rows = _standardise(values, statistics.mean, statistics.variance)
    variance = rows.var()
    svc = SVC(C=settings.c, kernel="rbf", class_weight="balanced" if balanced else None).fit(rows, labels)
    return FittedSvm(
        mean=statistics.mean,
        variance=statistics.variance,
        vectors=svc.support_vectors_,
        counts=svc.n_support_.astype(np.int64),
        weights=_libsvm_sign(svc.dual_coef_, len(svc.classes_)),
        intercepts=_libsvm_sign(svc.intercept_, len(svc.classes_)),
        columns=svc.classes_.astype(np.int64),
        classes=np.array(classes, np.int64),
        gamma=np.array(1 / (values.shape[1] * variance) if variance else 1.0),
        temperature=np.array(1.0),
    )


def _libsvm_sign(values: Floats, classes: int) -> Floats:
    """Undo the change of sign that scikit-learn makes for two classes: above 0 is for the first, as in libsvm."""
    return -values if classes == 2 else values


def _standardise(values: Array, mean: Array, variance: Array) -> Floats:
    """Standardise features. Shape: ``(clips, d)``, unchanged."""
    return (values.astype(np.float64) - mean) / np.sqrt(variance.astype(np.float64))


def _softmax(scores: Floats) -> Floats:
    """Turn the scores of each clip into probabilities.

    >>> _softmax(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def calibrate_temperature(fitted: FittedSvm, values: Array, labels: Integers) -> FittedSvm:
    """Fit the temperature by the likelihood of validation clips; the predicted classes stay the same.

    Guo et al. (2017), On calibration of modern neural networks, section 4.2. Clips of classes without training clips
    are left out; without any others the SVM stays as it is.
    """
    from scipy.optimize import minimize_scalar

    known = np.isin(labels, fitted.columns)
    if not known.any():
        return fitted
    scores, truth = fitted.scores(values[known]), np.searchsorted(fitted.columns, labels[known])

    def negative_log_likelihood(log_temperature: float) -> float:
        found = _softmax(scores / np.exp(log_temperature))[np.arange(len(truth)), truth]
        return float(-np.log(np.maximum(found, 1e-300)).mean())

    low, high = np.log(TEMPERATURES)
    best = minimize_scalar(negative_log_likelihood, bounds=(low, high), method="bounded").x
    return replace(fitted, temperature=np.array(np.exp(best)))
