"""Labels by listeners: majorities, ties and clips without votes in every protocol, worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.core.labels import VOTE_COLUMNS, VOTED_EMOTIONS, Labels
from pipeline.dataset import inputs
from pipeline.split.folds import Split, assign_splits
from pipeline.train.settings import Train

SPEAKERS, NOISE = 6, ("original", "noise")
CAST = [  # of each speaker: what the actor intended, and how the voice was heard as A D F H N S
    ("angry", [7, 0, 0, 1, 2, 0]),
    ("happy", [0, 0, 0, 1, 9, 0]),  # neutral
    ("sad", [1, 0, 0, 0, 4, 4]),  # a tie
    ("fear", [0, 0, 6, 0, 0, 3]),
    ("neutral", None),
]
HEARD = ("angry", "neutral", "tie", "fear", "nobody")


def table():
    """Six speakers of a corpus with votes, and six of one without, who say the same."""
    rows = [
        (f"{corpus}/{who}-{n}", corpus, f"{corpus}/{who}", ("male", "female")[who % 2], emotion, votes)
        for corpus, asked in (("crema_d", True), ("own", False))
        for who in range(SPEAKERS)
        for n, (emotion, votes) in enumerate((emotion, votes if asked else None) for emotion, votes in CAST)
    ]
    frame = pd.DataFrame(rows, columns=["clip_id", "corpus", "speaker", "sex", "emotion", "votes_voice"])
    hashes = [f"hash of {clip}" for clip in frame["clip_id"]]
    return frame.assign(samples_sha256=hashes, votes_face=None, votes_multimodal=frame["votes_voice"])


def split(clips, *, variants=NOISE, seed=0, validation=0.34, protocol="speaker", shuffle=False, **labels):
    config = Split(protocol=protocol, folds=3, validation=validation, shuffle=shuffle, labels=Labels(**labels))
    return assign_splits(clips, config, variants=variants, seed=seed)


def labels_of(found):
    """The label of each clip by its number in CAST, crema_d's and the other's; "" for none."""
    once = found.drop_duplicates("clip_id").assign(label=found["label"].fillna(""))
    both = []
    for name in ("crema_d", "own"):
        here = once[once["corpus"] == name]
        pairs = set(zip(here["clip_id"].str[-1].astype(int), here["label"], strict=True))
        assert len(pairs) == len({number for number, _ in pairs})
        both.append(dict(sorted(pairs)))
    return both


OWN = {n: emotion for n, (emotion, _) in enumerate(CAST)}
PROTOCOLS = ["speaker", "corpus", "random", "published"]


@pytest.mark.parametrize("protocol", ["speaker", "random", "published"])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, OWN),
        ({"source": "voice"}, {0: "angry", 1: "neutral", 3: "fear"}),
        ({"source": "voice", "ties": "intended"}, {0: "angry", 1: "neutral", 2: "sad", 3: "fear"}),
        ({"source": "voice", "ties": "soft"}, {0: "angry", 1: "neutral", 2: "", 3: "fear"}),
        ({"source": "voice", "scheme": 4}, {0: "angry", 1: "neutral"}),
    ],
)
def test_a_clip_counts_as_what_most_listeners_heard(protocol, settings, expected):
    heard, own = labels_of(split(table(), protocol=protocol, **settings))
    assert heard == expected
    assert own == {n: emotion for n, emotion in OWN.items() if settings.get("scheme") != 4 or emotion != "fear"}


def test_left_out_corpora_share_the_classes_that_listeners_heard():
    heard, own = labels_of(split(table(), protocol="corpus", source="voice"))
    assert set(heard.values()) == set(own.values()) == {"angry", "neutral", "fear"}  # nobody heard happy or sad


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_tie_trains_where_its_speaker_does_and_nowhere_else(protocol):
    found = split(table(), protocol=protocol, source="voice", ties="soft")
    ties = found[found["label"].isna()]
    assert set(ties["role"]) == {"train"}
    trains = {(fold, who) for fold, who in found.loc[found["role"] == "train", ["fold", "speaker"]].to_numpy().tolist()}
    expected = {(fold, who, variant) for fold, who in trains if who.startswith("crema_d") for variant in NOISE}
    assert set(map(tuple, ties[["fold", "speaker", "variant"]].to_numpy().tolist())) == expected
    assert len(ties) == len(expected)
    without = split(table(), protocol=protocol, source="voice")
    pd.testing.assert_frame_equal(found[found["label"].notna()].reset_index(drop=True), without)
    assert all((part["variant"].to_numpy() == NOISE).all() for _, part in ties.groupby(["fold", "clip_id"]))


def test_a_tie_with_an_emotion_that_is_no_class_does_not_train():
    clips = table()
    clips["votes_voice"] = [[0, 5, 0, 0, 5, 0] if votes == CAST[2][1] else votes for votes in clips["votes_voice"]]
    assert not split(clips, source="voice", ties="soft", scheme=4)["label"].isna().any()
    assert split(clips, source="voice", ties="soft", scheme=6)["label"].isna().any()


@pytest.mark.parametrize("settings", [{}, {"source": "voice", "ties": "soft"}])
def test_every_row_carries_the_votes_of_its_clip(settings):
    found = split(table(), **settings)
    cast = dict(zip(table()["clip_id"], table()["votes_voice"], strict=True))
    assert [votes if isinstance(votes, list) else None for votes in found["votes_voice"]] == [
        cast[clip] for clip in found["clip_id"]
    ]
    assert found["votes_face"].isna().all()


def test_shuffling_deals_label_and_votes_together_and_ties_among_ties():
    plain, dealt = (split(table(), source="voice", ties="soft", shuffle=shuffle) for shuffle in (False, True))
    columns = ["label", *VOTE_COLUMNS.values()]
    pd.testing.assert_frame_equal(plain.drop(columns=columns), dealt.drop(columns=columns))
    assert (plain["label"].isna() == dealt["label"].isna()).all()
    once = [
        found.drop_duplicates("clip_id")[["label", "votes_voice"]].fillna("").astype(str).agg("|".join, axis=1)
        for found in (plain, dealt)
    ]
    assert sorted(once[0]) == sorted(once[1])
    assert (once[0] != once[1]).mean() > 0.3


def test_listeners_who_were_never_asked_are_an_error_with_the_remedy():
    with pytest.raises(SettingError, match=r"source is 'face', and no corpus .* 'ser-features corpora fetch crema_d'"):
        split(table(), source="face")
    with pytest.raises(SettingError, match="no corpus has votes"):
        split(table().drop(columns=[*VOTE_COLUMNS.values()]), source="voice")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"source": "voise"}, "split.labels.source 'voise' is unknown, did you mean 'voice'"),
        ({"source": "voice", "ties": "keep"}, "split.labels.ties 'keep' is unknown"),
        ({"ties": "soft"}, "split.labels.ties is 'soft', and while split.labels.source is 'intended' there are none"),
    ],
)
def test_settings_that_cannot_work_are_told(settings, said):
    with pytest.raises(SettingError, match=said):
        Labels(**settings)


def test_an_unknown_kind_of_soft_labels_is_told():
    with pytest.raises(UnknownNameError, match="train.soft_labels 'sound' is unknown. Known: face, multimodal, voice"):
        Train(soft_labels="sound")


# what a network is taught


def test_shares_are_over_the_classes_there_are_and_sum_to_one():
    classes = ["angry", "happy", "neutral", "surprise"]
    votes = inputs.count_votes([[2, 3, 0, 1, 5, 0], [0, 4, 4, 0, 0, 0], None, [0, 0, 0, 0, 7, 0]], classes)
    found = inputs.soft_targets(np.array([2, 1, 3, -1]), votes)
    assert found.tolist() == [[2 / 8, 1 / 8, 5 / 8, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert found.dtype == np.float32
    assert found.sum(axis=1) == pytest.approx(1)


def test_a_tie_without_votes_for_a_class_teaches_nothing():
    assert inputs.soft_targets(np.array([-1, 0]), np.zeros((2, 3))).tolist() == [[0, 0, 0], [1, 0, 0]]


def test_votes_are_counted_in_the_order_of_the_classes():
    classes = list(reversed(VOTED_EMOTIONS))
    assert inputs.count_votes([np.arange(6, dtype=np.int32)], classes).tolist() == [[5, 4, 3, 2, 1, 0]]


def test_classes_weigh_by_the_sum_of_their_shares():
    shares = np.array([[1, 0], [0.5, 0.5], [0.5, 0.5], [1, 0]], np.float32)  # 3 and 1 of 4
    assert inputs.class_weights(shares, 2, balanced=True).tolist() == pytest.approx([4 / 6, 2])
    classes = np.array([0, 0, 1])
    same = inputs.class_weights(np.eye(2, dtype=np.float32)[classes], 2, balanced=True)
    assert same.tolist() == inputs.class_weights(classes, 2, balanced=True).tolist()
