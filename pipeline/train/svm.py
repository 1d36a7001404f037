"""The baseline beside the networks: a support vector machine over the functionals of a clip.

scikit-learn fits it; it is kept and applied as plain arrays, because a pickle from a stranger may run code.
"""

from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import SettingError
from pipeline.train.layers import Statistics

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
COSTS = (1e-6, 1e6)  # beyond, nothing is learnt, or libsvm does not end
TEMPERATURES = (0.01, 100.0)


@dataclass(frozen=True, kw_only=True)
class Svm:
    """Every field changes the machine."""

    c: float = 1.0  # how much an error in training costs

    def __post_init__(self) -> None:
        low, high = COSTS
        if not low <= self.c <= high:
            raise SettingError(
                f"params.yaml: model.svm.c is {self.c}, expected a number above 0, from {low:g} to {high:g}."
            )


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A fitted machine: d numbers a clip, v support vectors, k classes of which k - 1 and k (k - 1) / 2 are made."""

    mean: Array  # (d,), of the training rows
    variance: Array  # (d,)
    vectors: Floats  # (v, d), standardised, class after class
    counts: Whole  # (k,), vectors of each class
    weights: Floats  # (k - 1, v), libsvm's dual coefficients
    intercepts: Floats  # (k (k - 1) / 2,)
    columns: Whole  # (k,), which of the classes these are: one that nobody trained on is never heard
    classes: Whole  # (), how many there are
    gamma: Floats  # ()
    temperature: Floats  # (), divides the scores before they become probabilities

    def probabilities(self, values: Array) -> Array:
        """Give probabilities, of which the largest belongs to the class with most votes.

        Shape: ``(clips, d)`` to ``(clips, classes)``.
        """
        out = np.zeros((len(values), int(self.classes)), np.float32)
        out[:, self.columns] = softmax(self.scores(values) / float(self.temperature))
        return out

    def scores(self, values: Array) -> Floats:
        """Count the duels that each class wins; a share of a vote for its margins decides between equals.

        This is scikit-learn's ``decision_function_shape="ovr"``. Shape: ``(clips, d)`` to ``(clips, k)``.
        """
        near = self.kernel(values)
        votes, margins = np.zeros((2, len(values), len(self.columns)))
        for duel, (one, other) in enumerate(combinations(range(len(self.columns)), 2)):
            won = self.duel(near, one, other) + self.intercepts[duel]  # above 0: for the first
            votes[:, one] += won >= 0
            votes[:, other] += won < 0
            margins[:, one] += won
            margins[:, other] -= won
        return np.asarray(votes + margins / (3 * (np.abs(margins) + 1)))

    def kernel(self, values: Array) -> Floats:
        """Say how near clips are to the support vectors, 1 where they are equal. Shape ``(clips, v)``."""
        rows = standard(values, self.mean, self.variance)
        apart = np.square(rows).sum(axis=1)[:, None] - 2 * rows @ self.vectors.T + np.square(self.vectors).sum(axis=1)
        return np.asarray(np.exp(-float(self.gamma) * np.maximum(apart, 0)))

    def duel(self, near: Floats, one: int, other: int) -> Floats:
        """Weigh the vectors of two classes against each other. Shape: ``(clips, v)`` to ``(clips,)``."""
        ends = np.cumsum([0, *self.counts])
        first, second = slice(*ends[one : one + 2]), slice(*ends[other : other + 2])
        return near[:, first] @ self.weights[other - 1, first] + near[:, second] @ self.weights[one, second]

    @property
    def size(self) -> int:
        """How many numbers it consists of."""
        return sum(array.size for array in asdict(self).values())

    def save(self, path: Path) -> None:
        """Write it as an npz file."""
        np.savez(path, **asdict(self))


def load(path: Path) -> Machine:
    """Read a machine; nothing in the file can run."""
    with np.load(path, allow_pickle=False) as arrays:
        return Machine(**arrays)


def fit(values: Array, labels: Whole, classes: int, config: Svm, *, balanced: bool, statistics: Statistics) -> Machine:
    """Fit a machine with a radial kernel (scikit-learn's `SVC`, gamma "scale").

    Args:
        values: shape ``(clips, d)``.
        labels: the class of each clip, a number below ``classes``. Shape ``(clips,)``.
        classes: how many there are.
        config: its settings.
        balanced: whether classes weigh alike, however many clips they have.
        statistics: what each number is standardised by, of shape ``(d,)``: no kernel bears numbers of different size.
    """
    from sklearn.svm import SVC  # here, because who loads a network needs no scikit-learn

    rows = standard(values, statistics.mean, statistics.variance)
    spread = rows.var()
    machine = SVC(C=config.c, kernel="rbf", class_weight="balanced" if balanced else None).fit(rows, labels)
    return Machine(
        mean=statistics.mean,
        variance=statistics.variance,
        vectors=machine.support_vectors_,
        counts=machine.n_support_.astype(np.int64),
        weights=libsvm(machine.dual_coef_, len(machine.classes_)),
        intercepts=libsvm(machine.intercept_, len(machine.classes_)),
        columns=machine.classes_.astype(np.int64),
        classes=np.array(classes, np.int64),
        gamma=np.array(1 / (values.shape[1] * spread) if spread else 1.0),
        temperature=np.array(1.0),
    )


def libsvm(values: Floats, classes: int) -> Floats:
    """Undo the change of sign that scikit-learn makes for two classes, so that above 0 speaks for the first."""
    return -values if classes == 2 else values


def standard(values: Array, mean: Array, variance: Array) -> Floats:
    """Standardise. Same shape, ``(clips, d)``."""
    return (values.astype(np.float64) - mean) / np.sqrt(variance.astype(np.float64))


def softmax(scores: Floats) -> Floats:
    """Turn scores into probabilities, row by row.

    >>> softmax(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def calibrated(machine: Machine, values: Array, labels: Whole) -> Machine:
    """Choose the temperature under which clips the machine has not seen are likeliest; who wins stays the same.

    Guo et al. (2017), On calibration of modern neural networks, section 4.2. Clips of classes unknown to it are left
    out; without any it stays as it is.
    """
    from scipy.optimize import minimize_scalar

    known = np.isin(labels, machine.columns)
    if not known.any():
        return machine
    scores, truth = machine.scores(values[known]), np.searchsorted(machine.columns, labels[known])

    def surprise(power: float) -> float:
        chance = softmax(scores / np.exp(power))[np.arange(len(truth)), truth]
        return float(-np.log(np.maximum(chance, 1e-300)).mean())

    low, high = np.log(TEMPERATURES)
    best = minimize_scalar(surprise, bounds=(low, high), method="bounded").x
    return replace(machine, temperature=np.array(np.exp(best)))
