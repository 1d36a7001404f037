"""Scores against scikit-learn, the papers' definitions written out slowly, and laws."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from pipeline.core.errors import StoreError, UnknownNameError
from pipeline.evaluate import metrics as evaluate_metrics
from pipeline.evaluate.metrics import headline_scores, summarize_scores

CLASSES = ("sad", "angry", "happy", "calm")  # not in alphabetical order
TRUTH = ["sad"] * 5 + ["angry"] * 3 + ["happy"] * 2
PREDICTED = ["sad", "sad", "sad", "happy", "calm", "angry", "sad", "sad", "happy", "sad"]
MATRIX = np.array([[3, 0, 1, 1], [2, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])  # by hand; calm is never spoken

pairs = st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1, max_size=60)


def theirs(function, truth, predicted, **options):
    """What scikit-learn says, which warns of classes that nobody spoke."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(truth, predicted, **options)


def test_confusion_counts_spoken_by_predicted():
    assert evaluate_metrics.confusion_matrix(TRUTH, PREDICTED, CLASSES).tolist() == MATRIX.tolist()
    assert (
        evaluate_metrics.confusion_matrix(pd.Series(TRUTH, index=range(5, 15)), PREDICTED, CLASSES).tolist()
        == MATRIX.tolist()
    )


def test_scores_of_an_asymmetric_example_by_hand():
    assert evaluate_metrics.recall_by_class(MATRIX)[:3] == pytest.approx([3 / 5, 1 / 3, 1 / 2])
    assert np.isnan(evaluate_metrics.recall_by_class(MATRIX)[3])
    assert evaluate_metrics.unweighted_average_recall(MATRIX) == pytest.approx((3 / 5 + 1 / 3 + 1 / 2) / 3)
    assert evaluate_metrics.accuracy(MATRIX) == 0.5
    assert evaluate_metrics.precision_by_class(MATRIX) == pytest.approx([3 / 6, 1, 1 / 2, 0])
    assert evaluate_metrics.f1_by_class(MATRIX) == pytest.approx([6 / 11, 1 / 2, 1 / 2, 0])
    assert evaluate_metrics.macro_f1(MATRIX) == pytest.approx((6 / 11 + 1 / 2 + 1 / 2) / 3)


@settings(max_examples=80, deadline=None)
@given(pairs)
def test_scores_are_those_of_scikit_learn(rows):
    truth, predicted = (list(side) for side in zip(*rows, strict=True))
    matrix, spoken = evaluate_metrics.confusion_matrix(truth, predicted, CLASSES), sorted(set(truth))
    assert matrix.tolist() == metrics.confusion_matrix(truth, predicted, labels=CLASSES).tolist()
    assert evaluate_metrics.unweighted_average_recall(matrix) == pytest.approx(
        theirs(metrics.balanced_accuracy_score, truth, predicted)
    )
    assert evaluate_metrics.accuracy(matrix) == pytest.approx(metrics.accuracy_score(truth, predicted))
    macro = metrics.f1_score(truth, predicted, labels=spoken, average="macro", zero_division=0)
    assert evaluate_metrics.macro_f1(matrix) == pytest.approx(macro)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, predicted, labels=CLASSES, zero_division=0
    )
    assert evaluate_metrics.precision_by_class(matrix) == pytest.approx(precision)
    assert np.nan_to_num(evaluate_metrics.recall_by_class(matrix)) == pytest.approx(recall)
    assert np.nan_to_num(evaluate_metrics.f1_by_class(matrix)) == pytest.approx(f1)
    assert matrix.sum(axis=1).tolist() == support.tolist()


def test_an_unknown_label_is_named():
    with pytest.raises(UnknownNameError, match="label 'angri' is unknown, did you mean 'angry'"):
        evaluate_metrics.confusion_matrix(pd.Series(["sad", "angri"], index=[7, 8]), ["sad", "sad"], CLASSES)


# Calibration


def slow_ece(probabilities, truth, bins):
    """Guo et al. 2017, equations 2 and 3, as printed: sum over m of |B_m| / n * |acc(B_m) - conf(B_m)|."""
    total = 0.0
    for m in range(1, bins + 1):
        inside = [
            (max(row), int(np.argmax(row) == spoken))
            for row, spoken in zip(probabilities, truth, strict=True)
            if (m - 1) / bins < max(row) <= m / bins
        ]
        if inside:
            confidence, accuracy = np.mean(inside, axis=0)
            total += len(inside) / len(truth) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("bins", [1, 7, 15, 20])
@pytest.mark.parametrize("sharpness", [0.1, 1.0, 10.0])
def test_calibration_is_the_papers(bins, sharpness):
    rng = np.random.default_rng(4)
    probabilities = rng.dirichlet(np.full(5, sharpness), size=300)
    truth = rng.integers(5, size=300)
    assert evaluate_metrics.expected_calibration_error(probabilities, truth, bins=bins) == pytest.approx(
        slow_ece(probabilities, truth, bins)
    )
    assert evaluate_metrics.expected_calibration_error(probabilities, truth) == pytest.approx(
        slow_ece(probabilities, truth, 15)
    )


def test_bins_are_closed_above():
    """0.5 and 0.75 on the borders of four bins: 0.5 shares a bin with 0.4, where errors of both signs cancel."""
    probabilities = np.array([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25], [0.75, 0.25, 0], [1, 0, 0]])
    truth = np.array([0, 1, 0, 0])
    expected = (abs(0.5 - 0.4) + 0.25 + 0) / 4
    assert evaluate_metrics.expected_calibration_error(probabilities, truth, bins=4) == pytest.approx(expected)


def test_a_confident_liar_and_an_honest_oracle():
    sure = np.eye(3)[[0, 1, 2, 2]]
    assert evaluate_metrics.expected_calibration_error(sure, np.array([0, 1, 2, 2])) == 0.0
    assert evaluate_metrics.expected_calibration_error(sure, np.array([1, 2, 0, 0])) == 1.0
    assert (
        evaluate_metrics.expected_calibration_error(
            sure.astype(np.float32) * np.float32(1.0000001), np.array([0, 1, 2, 2])
        )
        < 1e-6
    )


# The bootstrap


def choir(speakers, clips, seed=0, classes=("a", "b", "c")):
    """Speakers who are recognised more or less well."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"s{n:02}" for n in range(speakers)], clips)
    truth = rng.choice(classes, size=len(names))
    luck = np.repeat(rng.random(speakers), clips)
    predicted = np.where(rng.random(len(names)) < luck, truth, rng.choice(classes, size=len(names)))
    return list(truth), list(predicted), list(names)


def slow_interval(truth, predicted, speakers, *, seed, repeats):
    """Write out every drawn clip and ask scikit-learn; the draws are how often each speaker was taken."""
    names = sorted(set(speakers))
    rng, found = np.random.default_rng(seed), []
    for times in rng.multinomial(len(names), [1 / len(names)] * len(names), size=repeats):
        rows = [
            k
            for name, n in zip(names, times, strict=True)
            for _ in range(n)
            for k, s in enumerate(speakers)
            if s == name
        ]
        found.append(theirs(metrics.balanced_accuracy_score, [truth[k] for k in rows], [predicted[k] for k in rows]))
    return np.percentile(found, 2.5), np.percentile(found, 97.5)


@pytest.mark.parametrize(("speakers", "clips"), [(5, 4), (9, 11)])
def test_the_bootstrap_is_its_slow_twin(speakers, clips):
    """Five speakers of four clips often lack a class in a draw."""
    rows = choir(speakers, clips)
    fast = evaluate_metrics.bootstrap_interval(*rows, seed=3, repeats=60)
    assert fast == pytest.approx(slow_interval(*rows, seed=3, repeats=60))


def test_identical_speakers_leave_no_doubt():
    truth, predicted = ["a", "a", "b"] * 6, ["a", "b", "b"] * 6
    low, high = evaluate_metrics.bootstrap_interval(truth, predicted, np.repeat(list("uvwxyz"), 3), seed=0)
    assert low == high == pytest.approx(0.75)


def test_speakers_all_right_or_all_wrong_follow_the_binomial():
    """The UAR of a draw is then the number of right speakers among n: here n = 40, half of them right."""
    truth, names = ["a", "b"] * 40, np.repeat([f"{n:02}" for n in range(40)], 2)
    predicted = [label if int(name) % 2 else "ba"["ab".index(label)] for label, name in zip(truth, names, strict=True)]
    low, high = evaluate_metrics.bootstrap_interval(truth, predicted, names, seed=0, repeats=4000)
    sd = np.sqrt(0.25 / 40)
    assert (low, high) == pytest.approx((0.5 - 1.96 * sd, 0.5 + 1.96 * sd), abs=0.026)  # a step is 1/40


def test_whole_speakers_are_drawn():
    """Twenty copies of each clip teach nothing new, so they must not narrow the interval."""
    truth, predicted, names = choir(8, 6)
    once = evaluate_metrics.bootstrap_interval(truth, predicted, names, seed=1)
    often = evaluate_metrics.bootstrap_interval(truth * 20, predicted * 20, names * 20, seed=1)
    assert once == pytest.approx(often)
    assert once[1] - once[0] > 0.1


def test_the_interval_does_not_depend_on_the_order_but_on_the_seed():
    rows = choir(8, 6)
    order = np.random.default_rng(0).permutation(48)
    mixed = [[column[k] for k in order] for column in rows]
    assert evaluate_metrics.bootstrap_interval(*rows, seed=1) == evaluate_metrics.bootstrap_interval(*mixed, seed=1)
    assert evaluate_metrics.bootstrap_interval(*rows, seed=1) != evaluate_metrics.bootstrap_interval(*rows, seed=2)


def test_few_or_nameless_speakers_have_no_interval():
    truth, predicted, names = choir(5, 6)
    assert evaluate_metrics.bootstrap_interval(truth, predicted, names, seed=0) is not None
    assert evaluate_metrics.bootstrap_interval(truth[:24], predicted[:24], names[:24], seed=0) is None
    assert evaluate_metrics.bootstrap_interval(truth, predicted, [*names[:-1], ""], seed=0) is None


# The summary

SPEAKERS = {"r/1": ("r", "male"), "r/2": ("r", "female"), "r/3": ("r", "female"), "t/1": ("t", None), "t/2": ("t", "")}


def heard(clips=8, seed=0):
    """Eight clips of each speaker; those of corpus t never say calm."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"{who}-{n}", k % 2, corpus, who, sex)
        for k, (who, (corpus, sex)) in enumerate(SPEAKERS.items())
        for n in range(clips)
    ]
    table = pd.DataFrame(rows, columns=["clip_id", "fold", "corpus", "speaker", "sex"])
    labels = rng.choice(CLASSES, size=len(table))
    table["label"] = np.where((labels == "calm") & (table["corpus"] == "t"), "sad", labels)
    columns = np.array([CLASSES.index(label) for label in table["label"]])
    probabilities = rng.dirichlet(np.ones(4), size=len(table)) + 0.4 * np.eye(4)[columns]
    return table, probabilities / probabilities.sum(axis=1, keepdims=True)


def uar_of(table, probabilities, rows):
    predicted = np.array(CLASSES)[probabilities.argmax(axis=1)]
    return round(theirs(metrics.balanced_accuracy_score, table["label"][rows], predicted[rows]), 4)


def test_the_summary_pools_and_separates():
    table, probabilities = heard()
    table.index = range(100, 140)  # probabilities go by position
    found = summarize_scores(table, probabilities, CLASSES, seed=5)
    table.index = range(40)
    predicted = np.array(CLASSES)[probabilities.argmax(axis=1)]

    def uar(rows):
        return uar_of(table, probabilities, rows)

    everything = np.ones(40, bool)
    assert found["test"]["uar"] == uar(everything)
    assert found["test"]["wa"] == round(float(np.mean(predicted == table["label"])), 4)
    assert found["test"]["macro_f1"] == round(metrics.f1_score(table["label"], predicted, average="macro"), 4)
    truth = [CLASSES.index(label) for label in table["label"]]
    assert found["test"]["ece"] == round(slow_ece(probabilities, truth, 15), 4)
    assert (found["test"]["clips"], found["test"]["speakers"], found["test"]["chance"]) == (40, 5, 0.25)
    low, high = evaluate_metrics.bootstrap_interval(table["label"], predicted, table["speaker"], seed=5)
    assert found["test"]["uar_ci95"] == {"low": round(low, 4), "high": round(high, 4)}

    corpora = {name: uar(table["corpus"] == name) for name in "rt"}
    assert {name: part["uar"] for name, part in found["corpus"].items()} == corpora
    assert found["corpus"]["t"]["chance"] == 0.3333  # three classes occur
    assert found["corpus"]["t"]["uar_ci95"] == {"low": None, "high": None}
    inside = np.flatnonzero(table["corpus"] == "t")
    assert found["corpus"]["t"]["ece"] == round(slow_ece(probabilities[inside], np.array(truth)[inside], 15), 4)
    assert (found["corpus"]["r"]["clips"], found["corpus"]["r"]["speakers"]) == (24, 3)
    spoken = sorted(set(table["label"][inside]))
    here = metrics.recall_score(table["label"][inside], predicted[inside], labels=spoken, average=None)
    own = found["corpus"]["t"]["recall"]
    assert [own[name] for name in spoken] == pytest.approx(here, abs=1e-4)
    assert [name for name, value in own.items() if value is None] == [c for c in CLASSES if c not in spoken]

    folds = [uar(table["fold"] == fold) for fold in (0, 1)]
    right = predicted == table["label"]
    shares = [round(float(right[table["fold"] == fold].mean()), 4) for fold in (0, 1)]
    assert found["folds"]["each"] == {str(k): {"uar": folds[k], "wa": shares[k]} for k in (0, 1)}
    assert found["folds"]["wa_mean"] == pytest.approx(np.mean(shares), abs=1e-4)
    assert found["folds"]["count"] == 2
    assert found["folds"]["uar_mean"] == pytest.approx(np.mean(folds), abs=1e-4)
    assert found["folds"]["uar_sd"] == pytest.approx(abs(folds[0] - folds[1]) / np.sqrt(2), abs=1e-4)

    sexes = {"male": [0], "female": [1, 2], "unknown": [3, 4]}
    rows = {sex: np.isin(np.arange(40) // 8, who) for sex, who in sexes.items()}
    assert found["group"]["sex"] == {sex: {"uar": uar(rows[sex]), "clips": 8 * len(who)} for sex, who in sexes.items()}

    each = {who: uar(table["speaker"] == who) for who in SPEAKERS}
    assert found["speaker"]["worst"] == {"name": min(each, key=each.get), "uar": min(each.values())}
    assert found["speaker"]["best"] == {"name": max(each, key=each.get), "uar": max(each.values())}


def test_the_summary_gives_each_class_its_own_figures():
    table, probabilities = heard()
    classes = (*CLASSES, "fear")  # neither spoken nor predicted
    found = summarize_scores(table, np.column_stack([probabilities, np.zeros(40)]), classes, seed=0)["class"]
    predicted = np.array(CLASSES)[probabilities.argmax(axis=1)]
    expected = metrics.precision_recall_fscore_support(table["label"], predicted, labels=CLASSES)
    for k, name in enumerate(CLASSES):
        values = [round(float(column[k]), 4) for column in expected]
        assert list(found[name].values()) == values
        assert list(found[name]) == ["precision", "recall", "f1", "support"]
    assert found["fear"] == {"precision": 0.0, "recall": None, "f1": None, "support": 0}


def test_the_summary_is_json_that_dvc_can_show():
    table, probabilities = heard()
    table["fold"] = table["fold"].astype(np.int32)
    found = summarize_scores(table, probabilities.astype(np.float32), CLASSES, seed=0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert "[" not in json.dumps(found)


def test_one_fold_has_no_deviation_and_nameless_clips_no_speaker():
    table, probabilities = heard()
    found = summarize_scores(table.assign(fold=0, speaker=None), probabilities, CLASSES, seed=0)
    assert found["folds"]["uar_sd"] is None
    assert found["folds"]["uar_mean"] == found["test"]["uar"]
    assert found["speaker"] == {"worst": {"name": None, "uar": None}, "best": {"name": None, "uar": None}}
    assert found["test"]["speakers"] == 0
    assert found["test"]["uar_ci95"]["low"] is None


def test_a_clip_tested_in_two_versions_is_one_clip():
    table, probabilities = heard()
    twice = summarize_scores(pd.concat([table, table]), np.vstack([probabilities, probabilities]), CLASSES, seed=0)
    assert twice["test"]["clips"] == 40
    assert twice["class"]["sad"]["support"] == 2 * (table["label"] == "sad").sum()


def test_guessing_scores_chance():
    rng = np.random.default_rng(1)
    table = pd.concat([heard(seed=seed)[0] for seed in range(100)])
    found = summarize_scores(table, rng.dirichlet(np.ones(4), size=len(table)), CLASSES, seed=0)
    assert found["test"]["uar"] == pytest.approx(found["test"]["chance"], abs=0.03)


def test_probabilities_that_do_not_fit_or_are_no_numbers_are_refused():
    table, probabilities = heard()
    with pytest.raises(StoreError, match=r"are \(39, 4\), expected \(40, 4\)"):
        summarize_scores(table, probabilities[:39], CLASSES, seed=0)
    probabilities[[3, 5], 1] = np.nan
    with pytest.raises(StoreError, match=r"2 of 40 predictions are not finite.*: lower train\.learning_rate"):
        summarize_scores(table, probabilities, CLASSES, seed=0)


def test_the_headline_is_flat_and_leaves_out_what_is_unknown():
    span = {"low": 0.5, "high": 0.7}
    test = {"uar": 0.6, "uar_ci95": span, "wa": 0.65, "macro_f1": 0.55, "ece": 0.1}
    figures = {"test": test, "baseline": {"svm": {"uar": 0.4}}, "leak": {"contaminated": 0.25}}
    known = {"uar": 0.6, "accuracy": 0.65, "f1": 0.55, "leaks": 0.25}
    assert headline_scores(figures) == known | {"uar_low": 0.5, "uar_high": 0.7, "svm": 0.4}
    none = {**figures, "test": test | {"uar_ci95": {"low": None, "high": None}}, "baseline": {}}
    assert headline_scores(none) == known | {"svm": 0.6}  # the svm is the model
