"""The audit: one small table per fault, and a clean one; each figure must move alone."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.core.errors import StoreError
from pipeline.split.folds import Split, assign_splits
from pipeline.split.leakage import LEAK_FAULTS, LEAK_NOTES, audit_leakage, identify_fitted_rows

COLUMNS = ["role", "clip_id", "variant", "speaker", "label", "samples_sha256", "statement", "name"]
# four clips in test and one each to train and validate, all different in everything
CLEAN = [
    ("test", "c/1", "original", "c/a", "sad", "h1", "s1", "n1"),
    ("test", "c/2", "original", "c/a", "sad", "h2", "s2", "n2"),
    ("test", "c/3", "original", "c/b", "happy", "h3", "s3", "n3"),
    ("test", "c/4", "original", "c/b", "happy", "h4", "s4", "n4"),
    ("train", "c/5", "original", "c/c", "sad", "h5", "s5", "n5"),
    ("train", "c/5", "noise", "c/c", "sad", "h5", "s5", "n5"),
    ("validation", "c/6", "original", "c/d", "sad", "h6", "s6", "n6"),
]
NONE = dict.fromkeys([*LEAK_FAULTS, *LEAK_NOTES, "contaminated"], 0.0)


def table(*rows, fold=0):
    return pd.DataFrame([*rows], columns=COLUMNS).assign(corpus="c", fold=np.int32(fold))


def leaks(*more):
    return audit_leakage(table(*CLEAN, *more), protocol="any")["leak"]


def test_a_clean_split_has_no_faults():
    figures = audit_leakage(table(*CLEAN), protocol="speaker")
    assert figures["leak"] == NONE
    assert figures["protocol"] == "speaker"


@pytest.mark.parametrize(
    ("row", "fault", "share"),
    [
        # another clip with the samples of one test clip, also as a version of it
        (("train", "c/7", "original", "c/e", "sad", "h2", "s7", "n7"), "same_samples", 0.25),
        (("train", "c/7", "noise", "c/e", "sad", "h2", "s7", "n7"), "same_samples", 0.25),
        # a version of a test clip, as augmenting before the split leaves it behind; its speaker is hidden
        (("train", "c/3", "noise", "", "happy", "", "", ""), "same_clip", 0.25),
        # a speaker of two test clips
        (("train", "c/7", "original", "c/b", "sad", "h7", "s7", "n7"), "seen_speaker", 0.5),
        (("test", "c/7", "noise", "c/e", "sad", "h7", "s7", "n7"), "augmented_test", 0.2),
        (("validation", "c/4", "noise", "c/e", "happy", "h7", "s7", "n7"), "validation_is_test", 0.25),
        (("validation", "c/7", "original", "c/e", "happy", "h4", "s7", "n7"), "validation_is_test", 0.25),
        (("validation", "c/7", "original", "c/a", "happy", "h7", "s7", "n7"), "validation_speaker", 0.5),
    ],
)
def test_each_fault_moves_its_own_figure(row, fault, share):
    figures = audit_leakage(table(*CLEAN, row), protocol="any")
    assert figures["leak"] == {**NONE, fault: share, "contaminated": share}
    assert ": " in LEAK_FAULTS[fault]  # the remedy


def test_the_same_file_name_twice_is_a_mirror():
    """The speaker is unknown, else it would be seen as well."""
    test = ("test", "c/7", "original", "", "sad", "h7", "s7", "take")
    mirror = ("train", "c/copy/7", "original", "", "sad", "h8", "s8", "take")
    assert leaks(test, mirror) == {**NONE, "same_name": 0.2, "unknown_speaker": 0.2, "contaminated": 0.2}
    assert leaks(test, (*mirror[:4], "happy", *mirror[5:]))["same_name"] == 0.0  # 1.wav in a folder per emotion
    assert leaks(test, (*mirror[:3], "c/x", *mirror[4:]))["same_name"] == 0.0  # a01.wav in a folder per speaker
    assert leaks(test, (*mirror[:7], ""))["same_name"] == 0.0
    elsewhere = pd.concat([table(*CLEAN, test), table(mirror).assign(corpus="d")])
    assert audit_leakage(elsewhere, protocol="any")["leak"]["same_name"] == 0.0


def test_the_same_name_in_another_corpus_is_no_mirror():
    other = table(("train", "d/1", "original", "d/a", "sad", "h7", "s1", "n1")).assign(corpus="d")
    figures = audit_leakage(pd.concat([table(*CLEAN), other]), protocol="any")["leak"]
    assert figures == NONE  # nor is the same code of a statement the same statement


def test_a_row_in_training_and_test_is_the_same_samples_and_the_same_clip():
    found = leaks(("train", *CLEAN[0][1:]))
    assert {name for name, share in found.items() if share} == {
        *("same_samples", "same_clip", "seen_speaker", "seen_statement", "contaminated"),
    }
    assert found["same_samples"] == found["same_clip"] == 0.25
    assert found["same_name"] == 0.0  # one file, not two


def test_a_statement_heard_before_is_no_fault():
    found = leaks(("train", "c/7", "original", "c/e", "sad", "h7", "s1", "n7"))
    assert found == {**NONE, "seen_statement": 0.25}


def test_contaminated_counts_each_row_once():
    one = ("train", "c/7", "original", "c/a", "sad", "h1", "s7", "n7")  # samples of c/1, speaker of c/1 and c/2
    two = ("validation", "c/3", "original", "c/e", "sad", "h7", "s7", "n7")
    found = leaks(one, two)
    assert (found["same_samples"], found["seen_speaker"], found["validation_is_test"]) == (0.25, 0.5, 0.25)
    assert found["contaminated"] == 0.75


@pytest.mark.parametrize("nothing", ["", None])
def test_nothing_equals_nothing(nothing):
    """Hash, speaker, statement and name are empty on both sides."""
    rows = table(*CLEAN).assign(samples_sha256=nothing, speaker=nothing, statement=nothing, name=nothing)
    assert audit_leakage(rows, protocol="any")["leak"] == {**NONE, "unknown_speaker": 1.0}


def test_folds_are_audited_apart_and_together():
    """What trains in one fold may test in another; the shares of all folds weigh rows, not folds."""
    swapped = [("train" if role == "test" else "test" if role == "train" else role, *rest) for role, *rest in CLEAN]
    swapped = [row for row in swapped if row[2] == "original"]
    speaker = ("train", "c/8", "original", "c/c", "sad", "h8", "s8", "n8")
    figures = audit_leakage(pd.concat([table(*CLEAN), table(*swapped, speaker, fold=1)]), protocol="any")
    assert figures["fold"]["0"]["leak"] == NONE
    assert figures["fold"]["1"]["leak"] == {**NONE, "seen_speaker": 1.0, "contaminated": 1.0}
    assert figures["leak"] == {**NONE, "seen_speaker": 0.2, "contaminated": 0.2}  # one row of five


def test_counts():
    figures = audit_leakage(pd.concat([table(*CLEAN), table(*CLEAN, fold=3)]), protocol="any")
    speakers = {"speakers": 4, "train_speakers": 1, "validation_speakers": 1, "test_speakers": 2}
    one = {**speakers, "clips": 6, "train_rows": 2, "validation_rows": 1, "test_rows": 4}
    assert figures["fold"]["3"]["count"] == one
    assert figures["count"] == {"folds": 2, **one, "train_rows": 4, "validation_rows": 2, "test_rows": 8}
    assert list(figures["fold"]) == ["0", "3"]


def test_the_figures_are_json_without_lists():
    figures = audit_leakage(table(*CLEAN), protocol="any")
    assert json.loads(json.dumps(figures)) == figures
    assert "[" not in json.dumps(figures)


def test_one_leak_in_a_crowd_is_not_rounded_away():
    crowd = [("test", f"c/{n}", "original", f"c/{n}", "sad", f"h{n}", "", f"n{n}") for n in range(100, 30_100)]
    train = ("train", "c/x", "original", "c/x", "sad", "h100", "", "nx")
    assert audit_leakage(table(*crowd, train), protocol="any")["leak"]["same_samples"] == 0.0001


def test_a_fold_without_test_rows_is_refused():
    with pytest.raises(StoreError, match="fold 2 of the clips table has no test rows"):
        audit_leakage(table(*CLEAN[4:], fold=2), protocol="any")


# Whole splits


def house(speakers=6, clips=5):
    rows = [(f"c/{s}-{n}", f"c/{s}", f"{s}-{n}", f"s{n}") for s in range(speakers) for n in range(clips)]
    made = pd.DataFrame(rows, columns=["clip_id", "speaker", "name", "statement"])
    return made.assign(corpus="c", sex="male", emotion="sad", samples_sha256="hash " + made["name"])


def test_a_split_by_speaker_passes_its_own_audit():
    clips = house()
    rows = assign_splits(clips, Split(folds=3), variants=["original", "noise"], seed=1)
    rows = rows.merge(clips[["clip_id", "samples_sha256", "statement", "name"]], on="clip_id")
    assert audit_leakage(rows, protocol="speaker")["leak"] == {**NONE, "seen_statement": 1.0}


def test_augmenting_before_the_split_is_found():
    """Four versions, one in five tests: a test row has none of its three siblings in training in 0.2 ** 3 of cases."""
    clips = house(speakers=40, clips=100)
    rows = pd.concat([clips.assign(variant=name) for name in ("original", "noise", "pitch", "both")])
    chance = np.random.default_rng(0).random(len(rows))
    rows = rows.assign(label="sad", fold=0, role=np.where(chance < 0.2, "test", "train"))
    found = audit_leakage(rows, protocol="published")["leak"]
    assert found["same_clip"] == pytest.approx(1 - 0.2**3, abs=0.005)
    assert found["augmented_test"] == pytest.approx(0.75, abs=0.03)
    assert found["same_samples"] == 0.0
    assert found["same_name"] == 0.0


def test_every_file_twice_is_found():
    """A tree that holds each file twice, split at random: four test rows in five have their double in training."""
    clips = house(speakers=40, clips=100)
    rows = pd.concat([clips, clips.assign(clip_id="c/copy/" + clips["clip_id"])])
    chance = np.random.default_rng(0).random(len(rows))
    rows = rows.assign(variant="original", label="sad", fold=0, role=np.where(chance < 0.2, "test", "train"))
    found = audit_leakage(rows, protocol="published")["leak"]
    assert found["same_samples"] == found["same_name"] == pytest.approx(0.8, abs=0.03)
    assert found["same_clip"] == 0.0


def test_test_doubling_as_validation_is_found():
    held = [("validation", *row[1:]) for row in CLEAN[:4]]
    found = leaks(*held)
    assert found["validation_is_test"] == found["validation_speaker"] == found["contaminated"] == 1.0


# Statistics


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_statistics_name_the_rows_they_were_fitted_on(scale):
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(200, 13)) + np.arange(13)) * scale
    train, everything = values[:150].mean(axis=0), values.mean(axis=0)
    noise = 1e-6 * scale * rng.normal(size=13)
    assert identify_fitted_rows((train + noise).astype(np.float32), train, everything) == "training"
    assert identify_fitted_rows(everything + noise, train, everything) == "everything"
    assert identify_fitted_rows(values[150:].mean(axis=0), train, everything) == "neither"


def test_one_number_off_is_enough():
    train, everything = np.array([0.0, 5.0, 9.0]), np.array([0.2, 5.1, 9.0])
    assert identify_fitted_rows([0.0, 5.0, 9.1], train, everything) == "neither"
    assert identify_fitted_rows([0.0, 5.0, 9.1], train, everything, tolerance=0.02) == "training"


def test_the_nearer_one_is_named_within_the_tolerance():
    assert identify_fitted_rows([1.0004], [1.0], [1.0005]) == "everything"
    assert identify_fitted_rows([1.0], [1.0], [1.0]) == "training"


def test_statistics_of_another_shape_or_without_numbers_fit_neither():
    assert identify_fitted_rows([1.0], [1.0, 2.0], [1.0, 3.0]) == "neither"
    assert identify_fitted_rows([np.nan], [1.0], [2.0]) == "neither"
