"""Protocols beside that by speaker: what each promises, what it leaks, and that the audit counts just that."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from pipeline.core.errors import SettingError
from pipeline.split.folds import Split, assign_splits
from pipeline.split.leakage import audit_leakage
from pipeline.split.rows import SPLIT_COLUMNS

EMOTIONS = ("angry", "happy", "sad")
VARIANTS = ("original", "noise", "pitch", "pitch+noise")


def corpus(name="a", speakers=6, clips=9, emotions=EMOTIONS):
    """Every speaker says every emotion equally often."""
    rows = [
        (
            f"{name}/{person}-{n:03}",
            name,
            f"{name}/{person}",
            ("male", "female")[person % 2],
            emotions[n % len(emotions)],
        )
        for person in range(speakers)
        for n in range(clips)
    ]
    table = pd.DataFrame(rows, columns=["clip_id", "corpus", "speaker", "sex", "emotion"])
    return table.assign(
        samples_sha256="hash of " + table["clip_id"], statement="s" + table["clip_id"].str[-1], name=table["clip_id"]
    )


def split(clips, seed=0, variants=VARIANTS, **config):
    return assign_splits(clips, Split(**config), variants=list(variants), seed=seed)


def leak(table, clips):
    return audit_leakage(
        table.merge(clips[["clip_id", "samples_sha256", "statement", "name"]], on="clip_id"), protocol="x"
    )["leak"]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(0, 2**40), st.sampled_from([0.0, 0.1, 0.2, 0.5]))
def test_random_tests_each_clip_once_with_its_class_even(folds, seed, share):
    clips = corpus(clips=15)
    table = split(clips, seed=seed, protocol="random", folds=folds, validation=share)
    assert tuple(table.columns) == SPLIT_COLUMNS
    assert not table.duplicated(["clip_id", "variant", "fold"]).any()
    tested = table[table["role"] == "test"]
    assert sorted(tested["clip_id"]) == sorted(clips["clip_id"])
    assert set(table.loc[table["role"] != "train", "variant"]) == {"original"}
    for _, fold in table.groupby("fold"):
        roles = fold.groupby("clip_id")["role"].nunique()
        assert (roles == 1).all(), "a clip is on two sides"
        counts = fold[fold["role"] == "test"]["label"].value_counts()
        assert counts.max() - counts.min() <= 1
        held = (fold["role"] == "validation").sum()
        rest = len(clips) - (fold["role"] == "test").sum()
        assert held == pytest.approx(share * rest, abs=3)
    shuffled = clips.sample(frac=1, random_state=1)
    again = split(shuffled, seed=seed, protocol="random", folds=folds, validation=share)
    pd.testing.assert_frame_equal(table, again)


def test_random_hears_its_test_speakers_and_leaks_nothing_else():
    clips = corpus(speakers=10, clips=30)
    clips.loc[1, "samples_sha256"] = clips.loc[0, "samples_sha256"]  # another emotion: both are left out
    clips.loc[4, "samples_sha256"] = clips.loc[7, "samples_sha256"]  # the same emotion: one stays
    found = leak(split(clips, protocol="random"), clips)
    assert found["seen_speaker"] == found["contaminated"] == 1
    assert found["validation_speaker"] > 0.9  # by chance a speaker may be absent there
    assert {name for name, share in found.items() if share} == {
        "seen_speaker", "validation_speaker", "contaminated", "seen_statement",
    }  # fmt: skip


def test_published_counts_rows_before_it_cuts_them():
    """Six copies of each clip there twice: a test row has none of the seven others in training in 0.2 ** 7 of cases."""
    clips = corpus(speakers=10, clips=60)
    table = split(clips, protocol="published", mirrors=2)
    assert tuple(table.columns) == SPLIT_COLUMNS
    for _, fold in table.groupby("fold"):
        parts = {role: len(part) for role, part in fold.groupby("role")}
        rows = 2 * len(VARIANTS) * len(clips)
        assert parts == {"train": 0.8 * rows, "test": 0.2 * rows, "validation": 0.2 * rows}
        test, validation = (fold[fold["role"] == role].drop(columns="role") for role in ("test", "validation"))
        pd.testing.assert_frame_equal(test.reset_index(drop=True), validation.reset_index(drop=True))
    tested = table[table["role"] == "test"]
    assert (tested.groupby(["clip_id", "variant"]).size() == 2).all()  # each row of each tree, once over all folds
    found = leak(table, clips)
    assert found["validation_is_test"] == found["seen_speaker"] == found["contaminated"] == 1
    assert found["same_clip"] > 0.999
    assert found["same_samples"] == pytest.approx(0.8, abs=0.03)  # its twin is in training
    assert found["augmented_test"] == 0.75


def test_published_without_copies_and_mirrors_leaks_speakers_alone():
    clips = corpus(speakers=10, clips=30)
    found = leak(split(clips, protocol="published", variants=("original",)), clips)
    assert (found["same_samples"], found["same_clip"], found["augmented_test"]) == (0, 0, 0)
    assert found["seen_speaker"] == found["validation_is_test"] == 1


def test_without_mirrors_each_recording_is_there_once():
    clips = corpus(speakers=10, clips=30).assign(times=3)
    clips.loc[4, "samples_sha256"] = clips.loc[7, "samples_sha256"]  # the same emotion: one stays
    table = split(clips, protocol="published", mirrors=0)
    rows = table[table["role"] != "validation"]
    assert (rows.groupby(["fold", "clip_id", "variant"]).size() == 1).all()
    assert rows["clip_id"].nunique() == len(clips) - 1
    assert leak(table, clips)["same_samples"] == 0


@pytest.mark.parametrize("protocol", ["speaker", "random", "published"])
def test_shuffled_labels_change_nothing_but_labels(protocol):
    clips = corpus(speakers=10, clips=30)
    plain, dealt, other = (
        split(clips, protocol=protocol, **chosen) for chosen in ({}, {"shuffle": True}, {"shuffle": True, "seed": 8})
    )
    pd.testing.assert_frame_equal(plain.drop(columns="label"), dealt.drop(columns="label"))
    assert len(dealt[["clip_id", "label"]].drop_duplicates()) == len(clips)
    once = [table.drop_duplicates("clip_id")["label"] for table in (plain, dealt, other)]
    assert sorted(once[0]) == sorted(once[1])
    assert (once[0].to_numpy() != once[1].to_numpy()).mean() > 0.5
    assert (once[1].to_numpy() != once[2].to_numpy()).any()


def test_published_counts_what_a_corpus_holds_twice():
    clips = corpus().assign(times=1)
    clips.loc[3, "times"] = 3
    table = split(clips, protocol="published", variants=("original",), folds=3)
    counts = table[table["role"] == "test"]["clip_id"].value_counts()
    assert counts[clips.loc[3, "clip_id"]] == 3
    assert (counts.drop(clips.loc[3, "clip_id"]) == 1).all()


def test_a_nearest_neighbour_lives_off_the_published_split_alone():
    """Features that know clip and speaker but not the class: retrieval scores where copies leak, chance where not."""
    clips, rng = corpus(speakers=24, clips=30), np.random.default_rng(0)
    voice = dict(zip(sorted(set(clips["speaker"])), rng.normal(0, 1, (24, 8)), strict=True))
    take = dict(zip(clips["clip_id"], rng.normal(0, 3, (len(clips), 8)), strict=True))

    def accuracy(**config):
        table = split(clips, folds=5, **config)
        table = table[table["fold"] == 0]
        features = np.stack([voice[s] + take[c] for s, c in zip(table["speaker"], table["clip_id"], strict=True)])
        features += rng.normal(0, 0.1, features.shape)
        train, test = (np.flatnonzero(table["role"] == role) for role in ("train", "test"))
        model = KNeighborsClassifier(1).fit(features[train], table["label"].iloc[train])
        return model.score(features[test], table["label"].iloc[test])

    assert accuracy(protocol="published") > 0.95
    assert accuracy(protocol="random") == pytest.approx(1 / 3, abs=0.12)
    assert accuracy(protocol="speaker") == pytest.approx(1 / 3, abs=0.12)


def test_corpus_tests_each_corpus_once_in_the_classes_that_all_have():
    clips = pd.concat(
        [corpus("a"), corpus("b", emotions=("angry", "sad", "fear")), corpus("c", emotions=("sad", "angry"))],
        ignore_index=True,
    )
    table = split(clips, protocol="corpus")
    assert set(table["label"]) == {"angry", "sad"}
    for number, name in enumerate("abc"):
        fold = table[table["fold"] == number]
        assert set(fold.loc[fold["role"] == "test", "corpus"]) == {name}
        assert name not in set(fold.loc[fold["role"] != "test", "corpus"])
        people = fold.groupby("role")["speaker"].agg(set)
        assert not people["train"] & people["validation"]
    assert leak(table, clips)["contaminated"] == 0


def test_clips_without_speaker_are_tested_with_their_corpus():
    clips = pd.concat([corpus("a"), corpus("b")], ignore_index=True)
    clips.loc[clips["corpus"] == "b", "speaker"] = ""
    table = split(clips, protocol="corpus")
    second = table[table["fold"] == 1]
    assert set(second.loc[second["role"] == "test", "corpus"]) == {"b"}
    assert set(second.loc[second["corpus"] == "b", "role"]) == {"test"}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"protocol": "corpus"}, "the data hold a alone: add a corpus to data.corpora"),
        ({"protocol": "random", "folds": 99}, "split.folds asks for 99 parts, and .* has 18 rows to cut"),
        ({"protocol": "random", "folds": "loso"}, "'loso', a set of speakers, and split.protocol is 'random'"),
        ({"protocol": "published", "mirrors": -1}, "split.mirrors is -1, expected 0 or more"),
    ],
)
def test_what_cannot_be_split_is_refused(config, words):
    with pytest.raises(SettingError, match=words):
        split(corpus(), **config)
