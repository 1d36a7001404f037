"""Who trains, validates and tests: laws that hold for any corpora, and the published folds on the published names."""

from functools import cache
from itertools import pairwise
from pathlib import PurePath

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.core.labels import Labels
from pipeline.corpora import checksums, folders
from pipeline.split.folds import Split, assign_splits
from pipeline.split.published_folds import FOLD_SETS
from pipeline.split.rows import SPLIT_COLUMNS, deduplicate_clips

EMOTIONS = ("angry", "happy", "sad")
VARIANTS = ("original", "noise", "aliased")  # not in alphabetical order


def corpus(name, speakers):
    """A corpus from ``id: (sex, clips)``; the id "" has no speaker."""
    rows = [
        (f"{name}/{person}-{n}", name, f"{name}/{person}" if person else "", sex, EMOTIONS[n % 3])
        for person, (sex, clips) in speakers.items()
        for n in range(clips)
    ]
    table = pd.DataFrame(rows, columns=["clip_id", "corpus", "speaker", "sex", "emotion"])
    return table.assign(samples_sha256=[f"hash of {clip}" for clip in table["clip_id"]])


@cache
def published(name):
    """All clips of a corpus as its publisher names them."""
    page = folders.corpus_info(name)
    listed = checksums.checksum_table(name)
    parsed = [page.parse(PurePath(path)) for path in listed["path"]]
    table = pd.DataFrame(
        {
            "clip_id": [f"{name}/{clip.path}" for clip in parsed],
            "corpus": name,
            "speaker": [clip.speaker for clip in parsed],
            "sex": [clip.sex for clip in parsed],
            "emotion": [clip.emotion for clip in parsed],
            "samples_sha256": listed["samples_sha256"].where(listed["samples_sha256"] != "", listed["sha256"]),
        }
    )
    return table.assign(samples_sha256=table["samples_sha256"].to_numpy())


def split(clips, *, seed=0, variants=("original",), **config):
    return assign_splits(clips, Split(**config), variants=list(variants), seed=seed)


def people(table, fold, role):
    return set(table.loc[(table["fold"] == fold) & (table["role"] == role), "speaker"]) - {""}


def groups_of(table):
    """The test speakers of each fold."""
    return [people(table, fold, "test") for fold in sorted(set(table["fold"]))]


def clips_of(table, role):
    return table[table["role"] == role].groupby("fold")["clip_id"].nunique().tolist()


@st.composite
def houses(draw):
    """One to three corpora with speakers of any number of clips, some clips without speaker."""
    names = draw(st.lists(st.sampled_from(["alpha", "beta", "gamma"]), min_size=1, max_size=3, unique=True))
    person = st.tuples(st.sampled_from(["male", "female", ""]), st.integers(1, 7))
    sizes = {name: draw(st.lists(person, min_size=1, max_size=7)) for name in names}
    tables_ = [corpus(name, {f"{n:02}": who for n, who in enumerate(size)}) for name, size in sizes.items()]
    return pd.concat([*tables_, corpus("stray", {"": ("", draw(st.integers(0, 3)))})], ignore_index=True)


@settings(max_examples=30, deadline=None)
@given(houses(), st.integers(2, 6), st.sampled_from([0.0, 0.2, 0.6]), st.integers(0, 2**32))
def test_what_every_split_by_speaker_must_hold(clips, folds, validation, seed):
    everyone = set(clips["speaker"]) - {""}
    assume(folds <= len(everyone))
    table = split(clips, folds=folds, validation=validation, seed=seed, variants=VARIANTS)

    assert tuple(table.columns) == SPLIT_COLUMNS
    assert table["fold"].dtype == np.int32
    assert set(table["fold"]) == set(range(folds))
    for fold in range(folds):
        train, held, test = (people(table, fold, role) for role in ("train", "validation", "test"))
        assert train | held | test == everyone
        assert len(train) + len(held) + len(test) == len(everyone)  # disjoint
        assert train
        assert test
    assert sorted(name for test in groups_of(table) for name in test) == sorted(everyone)  # each exactly once
    assert set(table.loc[table["role"] != "train", "variant"]) == {"original"}
    assert set(table.loc[table["speaker"] == "", "role"]) <= {"train"}
    versions = table.groupby(["fold", "clip_id"])["variant"].apply(tuple)
    training = table.groupby(["fold", "clip_id"])["role"].first() == "train"
    assert set(versions[training]) == {VARIANTS}  # all of them, in the order given
    assert len(versions) == folds * len(clips)
    assert table["fold"].is_monotonic_increasing
    assert all(a <= b for _, part in table.groupby("fold") for a, b in pairwise(part["clip_id"]))


@settings(max_examples=20, deadline=None)
@given(houses(), st.integers(0, 99), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(clips, seed, random):
    assume(len(set(clips["speaker"]) - {""}) > 1)
    order = random.sample(range(len(clips)), len(clips))
    one = split(clips, folds=2, seed=seed, variants=VARIANTS)
    two = split(clips.iloc[order], folds=2, seed=seed, variants=VARIANTS)
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.parametrize("name", ["ravdess", "crema_d", "emodb"])
def test_another_seed_cuts_other_groups(name):
    cuts = [{frozenset(test) for test in groups_of(split(published(name), seed=seed))} for seed in (1, 1, 2)]
    assert cuts[0] == cuts[1]
    assert cuts[0] != cuts[2]  # as sets of groups: not merely renumbered


def test_another_seed_draws_other_validation_speakers():
    table = [split(published("ravdess"), folds="emobox_ravdess", seed=seed) for seed in (1, 2)]
    assert people(table[0], 0, "validation") != people(table[1], 0, "validation")
    assert people(table[0], 0, "validation") != people(table[0], 1, "validation")


@pytest.mark.parametrize("folds", [3, 5, 7])
@pytest.mark.parametrize("name", ["ravdess", "crema_d", "emodb"])
def test_every_fold_gets_its_share_of_speakers_and_of_both_sexes(name, folds):
    page = folders.corpus_info(name)
    for seed in range(3):
        tests = groups_of(split(published(name), folds=folds, seed=seed))
        for sexes in ({"female", "male"}, {"female"}, {"male"}):
            counts = [sum(page.speakers[who.split("/")[1]].sex in sexes for who in test) for test in tests]
            assert max(counts) - min(counts) <= 1


def test_speakers_come_before_clips():
    """Two women have many clips: the fold with two of the others would draw more men than its share."""
    sizes = {"a": ("female", 1), "b": ("female", 1), "c": ("female", 10), "d": ("female", 10)}
    clips = corpus("choir", {**sizes, **dict.fromkeys("efgh", ("male", 1))})
    for seed in range(10):
        assert sorted(map(len, groups_of(split(clips, folds=3, seed=seed)))) == [2, 3, 3]


def test_folds_hold_about_as_many_clips_where_speakers_differ():
    """EmoDB's speakers have 35 to 71 clips. Pairs drawn blindly reach a spread of 71 + 69 - 35 - 38 = 67."""
    spreads = [
        np.ptp(clips_of(split(published("emodb"), seed=seed, labels=Labels(scheme="all")), "test"))
        for seed in range(12)
    ]
    assert max(spreads) <= 30


def test_a_fold_takes_a_corpus_of_two_speakers_where_its_other_clips_are_fewest():
    """Each TESS speaker outweighs 23 of RAVDESS, so the fold of 4 RAVDESS speakers must be one with TESS."""
    both = pd.concat([published("ravdess"), published("tess")])
    for seed in range(5):
        tests = groups_of(split(both, seed=seed))
        actors = [sum(who.startswith("ravdess/") for who in test) for test in tests]
        voices = [sum(who.startswith("tess/") for who in test) for test in tests]
        assert sorted(actors) == [4, 5, 5, 5, 5]
        assert sorted(voices) == [0, 0, 0, 1, 1]
        assert voices[actors.index(4)] == 1


def test_a_corpus_is_cut_the_same_way_whatever_stands_beside_it():
    alone = groups_of(split(published("ravdess"), seed=3))
    beside = groups_of(split(pd.concat([published("emodb"), published("ravdess"), published("tess")]), seed=3))
    actors = [frozenset(who for who in test if who.startswith("ravdess/")) for test in beside]
    assert set(map(frozenset, alone)) == set(actors)


def test_validation_takes_its_share_of_the_training_speakers_and_of_both_sexes():
    table = split(published("ravdess"), folds="emobox_ravdess", validation=0.2)
    for fold in range(6):
        held = people(table, fold, "validation")
        assert len(held) == 4  # of 20
        assert sum(int(who[-2:]) % 2 for who in held) == 2  # odd actors are men


def test_every_fold_draws_its_validation_anew():
    """One draw for all 24 folds would pick the same places among the others: eight speakers at most."""
    table = split(published("ravdess"), folds="loso", validation=0.15)
    assert len(set.union(*(people(table, fold, "validation") for fold in range(24)))) > 16


def test_validation_draws_the_sexes_in_proportion():
    clips = corpus("choir", {f"{n:02}": ("male" if n < 4 else "female", 2) for n in range(13)})
    table = split(clips, folds=13, validation=0.5)
    for fold in range(13):
        held = people(table, fold, "validation")
        assert len(held) == 6  # of 12: 3 or 4 men, 8 or 9 women
        assert sum(who < "choir/04" for who in held) in {1, 2}


def test_every_corpus_of_three_or_more_gives_one_to_validation_and_keeps_one():
    clips = pd.concat(
        [
            corpus("duo", {"a": ("male", 9), "b": ("male", 9)}),
            corpus("trio", dict.fromkeys("abc", ("male", 3))),
            corpus("many", {f"{n:02}": ("female", 3) for n in range(12)}),
        ]
    )
    for share, many in ((0.05, 1), (0.99, 7)):
        table = split(clips, folds=3, validation=share)
        for fold in range(3):
            held = people(table, fold, "validation")
            assert sum(who.startswith("duo/") for who in held) == 0
            assert sum(who.startswith("trio/") for who in held) == 1
            assert sum(who.startswith("many/") for who in held) == many


def test_no_share_and_two_speakers_alone_mean_no_validation():
    assert "validation" not in set(split(published("ravdess"), validation=0)["role"])
    assert set(split(published("tess"), folds="tess_loso")["role"]) == {"train", "test"}


def test_a_corpus_too_small_for_the_folds_still_trains():
    """With two folds one of three speakers is left to train: it may not be given to validation."""
    table = split(corpus("trio", dict.fromkeys("abc", ("male", 3))), folds=2)
    assert all(people(table, fold, "train") for fold in (0, 1))


def test_clips_without_speaker_train_in_every_fold():
    clips = pd.concat([corpus("some", dict.fromkeys("abcd", ("male", 3))), corpus("stray", {"": ("", 2)})])
    clips["speaker"] = clips["speaker"].where(clips["speaker"] != "", None)
    stray = split(clips, folds=2).query("corpus == 'stray'")
    assert stray["role"].tolist() == ["train"] * 4
    assert set(stray["speaker"]) == {""}


def test_a_speaker_in_two_corpora_stays_on_one_side():
    """A re-sorted tree keeps the speakers its file names state."""
    first, second = (corpus(name, {f"{n:02}": ("male", 4) for n in range(6)}) for name in ("alpha", "beta"))
    second["speaker"] = second["speaker"].str.replace("beta/", "alpha/")
    table = split(pd.concat([first, second]), folds=3)
    roles = table.groupby(["fold", "speaker"])["role"].nunique()
    assert set(roles) == {1}
    assert [len(test) for test in groups_of(table)] == [2, 2, 2]


def test_labels_follow_the_scheme():
    table = split(published("emodb"), labels=Labels(scheme=7))
    assert not table["clip_id"].str.fullmatch(r"emodb/wav/.{5}L.*").any()  # L is boredom
    assert table["clip_id"].nunique() == 535 - 81
    calm = split(published("ravdess"), folds="loso").query("label == 'neutral' and role == 'test'")
    assert len(calm) == 96 + 192


# The published folds


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("emobox_ravdess", [4] * 6),
        ("luna_jimenez_ravdess", [5, 5, 5, 5, 4]),
        ("emobox_savee", [1] * 4),
        ("emodb_loso", [1] * 10),
        ("tess_loso", [1] * 2),
        ("audeering_cremad", [17]),
    ],
)
def test_a_named_set_places_every_speaker_of_its_corpus_once(name, sizes):
    places = FOLD_SETS[name]
    tested = [who for test in places.tests for who in test]
    assert [len(test) for test in places.tests] == sizes
    assert sorted([*tested, *places.validation, *places.others]) == sorted(folders.corpus_info(places.corpus).speakers)


def test_emobox_counts_on_the_published_names():
    table = split(published("ravdess"), folds="emobox_ravdess", labels=Labels(scheme=8), validation=0)
    assert clips_of(table, "test") == [240, 240, 240, 239, 240, 240]  # actor 07 has one recording twice
    assert people(table, 1, "test") == {"ravdess/04", "ravdess/10", "ravdess/12", "ravdess/14"}
    assert clips_of(table, "train") == [1199, 1199, 1199, 1200, 1199, 1199]


def test_the_fixed_validation_of_crema_d():
    """91 actors: 17 test, 18 validate, 56 train; six clips with conflicting labels are out."""
    table = split(published("crema_d"), folds="audeering_cremad", validation=0)
    groups = [people(table, 0, role) for role in ("test", "validation", "train")]
    assert [len(group) for group in groups] == [17, 18, 56]
    assert "crema_d/1049" in groups[1]
    assert "crema_d/1091" in groups[0]
    assert len(table) == 7442 - 6


def test_leave_one_speaker_out_over_several_corpora():
    both = pd.concat([published("emodb"), published("tess")])
    tests = groups_of(split(both, folds="loso"))
    assert [len(test) for test in tests] == [1] * 12


def test_an_absent_speaker_is_fine_while_every_fold_tests_somebody():
    some = published("ravdess")
    table = split(some[some["speaker"] != "ravdess/11"], folds="emobox_ravdess")
    assert people(table, 0, "test") == {"ravdess/01", "ravdess/20", "ravdess/21"}


# What is refused


def mix(*names):
    return pd.concat([published(name) for name in names])


def rename(clips, old, new):
    return clips.assign(speaker=clips["speaker"].replace(old, new))


def dev_and_test_only():
    clips, places = published("crema_d"), FOLD_SETS["audeering_cremad"]
    return clips[~clips["speaker"].isin(places.full_ids(places.others))]


@pytest.mark.parametrize(
    ("clips", "config", "message"),
    [
        (
            lambda: mix("ravdess", "tess"),
            {"folds": "emobox_ravdess"},
            "hold tess too: list only ravdess in data.corpora",
        ),
        (lambda: rename(mix("tess"), "tess/OAF", "tess/MAF"), {"folds": "tess_loso"}, "does not place tess/MAF: leave"),
        (
            lambda: mix("tess").query("speaker != 'tess/OAF'"),
            {"folds": "tess_loso"},
            "fold 0 tests tess/OAF, .* complete",
        ),
        (dev_and_test_only, {"folds": "audeering_cremad"}, "fold 0 leaves no clip to train on"),
        (lambda: mix("tess").query("speaker != 'tess/OAF'"), {"folds": "loso"}, "fold 0 leaves no clip to train on"),
        (lambda: mix("tess"), {}, "split.folds is 5, and the clips name 2 speakers, .*: add speakers who say"),
        (lambda: mix("tess").assign(speaker=""), {"folds": 2}, "none of the 2800 clips names its speaker"),
        (
            lambda: mix("tess").assign(emotion="boredom"),
            {"folds": 2},
            "none of the 2800 clips has an emotion of the cl",
        ),
    ],
)
def test_impossible_folds_are_refused_with_a_remedy(clips, config, message):
    with pytest.raises(SettingError, match=message):
        split(clips(), **config)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"protocol": "speakers"}, UnknownNameError, "did you mean 'speaker'"),
        ({"folds": "emobox_ravdes"}, UnknownNameError, "did you mean 'emobox_ravdess'"),
        ({"folds": 1}, SettingError, "expected 2 or more"),
        ({"validation": 1.0}, SettingError, "expected a share from 0 to below 1"),
        ({"validation": -0.1}, SettingError, "expected a share from 0 to below 1"),
    ],
)
def test_settings_that_cannot_work(config, error, message):
    with pytest.raises(error, match=message):
        Split(**config)


@pytest.mark.parametrize("variants", [["noise"], ["original", "noise", "noise"]])
def test_variants_are_different_and_one_is_the_original(variants):
    with pytest.raises(SettingError, match="expected different names"):
        split(published("tess"), folds=2, variants=variants)


# Recordings that are there twice


def recordings(*rows):
    table = pd.DataFrame(rows, columns=["clip_id", "speaker", "emotion", "samples_sha256"])
    return table.assign(corpus=table["clip_id"].str.split("/").str[0], sex="male")


@pytest.mark.parametrize(
    ("rows", "kept", "why"),
    [
        (
            [("a/2", "a/x", "sad", "1"), ("a/1", "a/x", "sad", "1"), ("a/3", "a/x", "sad", "2")],
            ["a/1", "a/3"],
            ["duplicate"],
        ),
        ([("a/1", "a/x", "sad", "1"), ("b/1", "b/x", "sad", "1")], ["a/1"], ["duplicate"]),
        ([("a/1", "a/x", "sad", "1"), ("b/1", "b/y", "sad", "1")], [], ["speaker_conflict"] * 2),
        (
            [("a/1", "a/x", "sad", "1"), ("a/2", "a/x", "happy", "1"), ("a/3", "a/x", "sad", "1")],
            [],
            ["label_conflict"] * 3,
        ),
        ([("a/1", "", "sad", "1"), ("b/1", "b/x", "sad", "1")], ["b/1"], ["duplicate"]),
        ([("a/1", None, "sad", "1"), ("b/1", "", "sad", "1")], ["a/1"], ["duplicate"]),
        ([("a/1", "a/x", "sad", ""), ("a/2", "a/x", "happy", "")], ["a/1", "a/2"], []),
        ([("a/1", "a/x", "sad", None), ("a/2", "a/y", "happy", None)], ["a/1", "a/2"], []),
    ],
)
def test_one_clip_per_recording_and_none_where_they_disagree(rows, kept, why):
    left, dropped = deduplicate_clips(recordings(*rows))
    assert left["clip_id"].tolist() == kept
    assert dropped["reason"].tolist() == why
    assert len(left) + len(dropped) == len(rows)
    assert "reason" not in left


def test_the_published_corpora_hold_seven_clips_too_many():
    """RAVDESS one repetition twice; CREMA-D three recordings under two emotions each."""
    _, dropped = deduplicate_clips(mix("ravdess", "crema_d", "tess", "emodb"))
    assert dropped["reason"].value_counts().to_dict() == {"label_conflict": 6, "duplicate": 1}
    assert dropped.query("reason == 'duplicate'")["clip_id"].tolist() == ["ravdess/Actor_07/03-01-03-01-02-02-07.wav"]


def test_a_mirror_never_stands_on_two_sides():
    """The same tree twice, as public copies have it, gives the folds of the tree once."""
    clips = published("ravdess")
    mirror = clips.assign(clip_id=clips["clip_id"].str.replace("ravdess/", "ravdess/copy/"))
    once, twice = split(clips), split(pd.concat([mirror, clips]))
    pd.testing.assert_frame_equal(once, twice)
