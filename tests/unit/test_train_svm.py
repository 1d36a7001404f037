"""The support vector machine: scikit-learn's own answers from plain arrays, and probabilities that can be believed."""

from itertools import pairwise

import librosa
import numpy as np
import pytest
from sklearn.svm import SVC

from pipeline.core.errors import SettingError
from pipeline.dataset import inputs
from pipeline.dataset.functionals import clip_functionals
from pipeline.train import svm


def clouds(classes, *, clips=30, width=6, apart=2.0, seed=0):
    """Give vectors around a point for each class, of very different sizes from column to column."""
    rng = np.random.default_rng(seed)
    labels = np.arange(classes * clips) % classes
    centres = np.random.default_rng(1).normal(0, apart, (classes, width))
    values = centres[labels] + rng.normal(size=(len(labels), width))
    return (values * 10.0 ** np.arange(width) + 5).astype(np.float32), labels


def fit(values, labels, classes, *, balanced=True):
    return svm.fit_svm(
        values, labels, classes, svm.SvmSettings(), balanced=balanced, statistics=inputs.fit_vector_statistics(values)
    )


@pytest.mark.parametrize("classes", [2, 3, 5, 8])
@pytest.mark.parametrize("balanced", [True, False])
def test_scores_and_winners_are_scikit_learns(classes, balanced):
    (values, labels), (others, _) = clouds(classes), clouds(classes, seed=9, apart=1.0)
    rows = (values - values.mean(axis=0, dtype=float)) / values.std(axis=0, dtype=float)
    asked = (others - values.mean(axis=0, dtype=float)) / values.std(axis=0, dtype=float)
    theirs = SVC(class_weight="balanced" if balanced else None, break_ties=True).fit(rows, labels)
    ours = fit(values, labels, classes, balanced=balanced)
    if classes > 2:
        np.testing.assert_allclose(ours.scores(others), theirs.decision_function(asked), atol=5e-4)
    assert (ours.probabilities(others).argmax(axis=1) == theirs.predict(asked)).all()


def test_probabilities_sum_to_one():
    values, labels = clouds(4)
    np.testing.assert_allclose(fit(values, labels, 4).probabilities(values).sum(axis=1), 1, atol=1e-6)


def test_a_class_that_nobody_trained_on_is_never_heard():
    values, labels = clouds(3)
    found = fit(values[labels != 1], labels[labels != 1], 4).probabilities(values)
    assert found.shape == (90, 4)
    assert not found[:, [1, 3]].any()


def test_rare_classes_weigh_alike_when_balanced():
    values, labels = clouds(2, clips=200, apart=0.4)
    some = (labels == 0) | (np.arange(400) % 20 == 1)
    shares = [
        (fit(values[some], labels[some], 2, balanced=on).probabilities(values).argmax(axis=1) == 1).mean()
        for on in (True, False)
    ]
    assert shares[0] > shares[1] + 0.1


def test_standardising_is_left_out_where_told():
    values, labels = clouds(3)
    still = inputs.neutral_statistics(values.shape[1])
    machine = svm.fit_svm(values, labels, 3, svm.SvmSettings(), balanced=True, statistics=still)
    theirs = SVC(class_weight="balanced", break_ties=True).fit(values.astype(float), labels)
    assert (machine.probabilities(values).argmax(axis=1) == theirs.predict(values)).all()


def test_it_comes_back_from_a_file_that_cannot_run_code(tmp_path):
    values, labels = clouds(3)
    machine = fit(values, labels, 3)
    machine.save(tmp_path / "svm.npz")
    np.testing.assert_array_equal(
        svm.load_svm(tmp_path / "svm.npz").probabilities(values), machine.probabilities(values)
    )
    evil = {"mean": np.array([print], dtype=object)}
    np.savez(tmp_path / "evil.npz", **evil)
    with pytest.raises(ValueError, match="allow_pickle"):
        svm.load_svm(tmp_path / "evil.npz")


def test_the_same_rows_give_the_same_file(tmp_path):
    values, labels = clouds(3)
    for name in "ab":
        fit(values, labels, 3).save(tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def surprise(machine, values, labels):
    return -np.log(np.maximum(machine.probabilities(values)[np.arange(len(labels)), labels], 1e-12)).mean()


@pytest.mark.parametrize("apart", [0.3, 3.0])
def test_the_temperature_makes_unseen_clips_likelier_and_changes_no_winner(apart):
    (values, labels), (held, truth) = clouds(4, apart=apart), clouds(4, apart=apart, seed=5)
    raw = fit(values, labels, 4)
    tuned = svm.calibrate_temperature(raw, held, truth)
    assert surprise(tuned, held, truth) < surprise(raw, held, truth)
    np.testing.assert_array_equal(tuned.probabilities(held).argmax(axis=1), raw.probabilities(held).argmax(axis=1))
    # no temperature nearby is better: the minimum of the definition
    near = [svm.replace(tuned, temperature=tuned.temperature * factor) for factor in (0.8, 1.0, 1.25)]
    found = [surprise(each, held, truth) for each in near]
    assert found[1] == min(found)


def test_clips_of_unknown_classes_do_not_tune_it():
    values, labels = clouds(3)
    machine = fit(values[labels != 1], labels[labels != 1], 3)
    assert svm.calibrate_temperature(machine, values[labels == 1], labels[labels == 1]) is machine


@pytest.mark.parametrize("c", [0.0, -1.0, np.nan, np.inf])
def test_a_price_of_errors_that_makes_no_sense_is_refused(c):
    with pytest.raises(SettingError, match=r"params\.yaml: model\.svm\.c is"):
        svm.SvmSettings(c=c)


def test_functionals_are_mean_and_deviation_of_rows_and_librosas_deltas():
    rng = np.random.default_rng(2)
    patches, valid = rng.normal(size=(3, 40, 5)).astype(np.float32), np.int32([40, 25, 12])
    found = clip_functionals(patches, valid)
    for patch, count, vector in zip(patches, valid, found, strict=True):
        rows = patch[:count]
        change = librosa.feature.delta(rows, axis=0)
        wanted = [rows.mean(axis=0), rows.std(axis=0), change.mean(axis=0), change.std(axis=0)]
        np.testing.assert_allclose(vector, np.concatenate(wanted), atol=1e-5)


def test_padding_says_nothing():
    patches = np.random.default_rng(3).normal(size=(2, 30, 4)).astype(np.float32)
    loud = patches.copy()
    loud[:, 20:] = 1e6
    np.testing.assert_array_equal(
        clip_functionals(patches, np.int32([20, 20])), clip_functionals(loud, np.int32([20, 20]))
    )


def test_a_clip_of_one_frame_has_no_change():
    assert clip_functionals(np.ones((1, 4, 2), np.float32), np.int32([1])).tolist() == [[1, 1, 0, 0, 0, 0, 0, 0]]


def test_machines_grow_with_what_is_hard():
    sizes = [fit(*clouds(3, apart=apart), 3).size for apart in (4.0, 1.0, 0.2)]
    assert all(easy < hard for easy, hard in pairwise(sizes))
