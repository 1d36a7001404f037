import pytest

from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.core.labels import EMOTIONS, Labels


@pytest.mark.parametrize(
    ("scheme", "classes"),
    [
        (4, {"angry", "happy", "neutral", "sad"}),
        (6, {"angry", "disgust", "fear", "happy", "neutral", "sad"}),
        ("7", {"angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"}),
        (8, {"angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "calm"}),
        ("all", set(EMOTIONS)),
    ],
)
def test_schemes_hold_the_classes_of_the_literature(scheme, classes):
    assert set(Labels(scheme=scheme).classes) == classes


@pytest.mark.parametrize(
    ("labels", "emotion", "label"),
    [
        (Labels(scheme=7, calm="neutral"), "calm", "neutral"),
        (Labels(scheme=7, calm="drop"), "calm", None),
        (Labels(scheme=7, calm="keep"), "calm", "calm"),
        (Labels(scheme=8, calm="drop"), "calm", "calm"),
        (Labels(scheme=7, boredom="neutral"), "boredom", "neutral"),
        (Labels(scheme=7, boredom="keep"), "boredom", "boredom"),
        (Labels(scheme=7), "boredom", None),
        (Labels(scheme=4), "fear", None),
        (Labels(scheme=4), "sad", "sad"),
    ],
)
def test_policies_speak_for_emotions_without_a_class(labels, emotion, label):
    assert labels.label(emotion) == label


def test_every_label_is_one_of_the_classes():
    for scheme in (4, 6, 7, 8, "all"):
        for policy in ("drop", "neutral", "keep"):
            labels = Labels(scheme=scheme, calm=policy, boredom=policy)
            assert {labels.label(emotion) for emotion in EMOTIONS} - {None} == set(labels.classes)


@pytest.mark.parametrize("wrong", [{"scheme": 5}, {"scheme": "eight"}, {"calm": "sad"}, {"boredom": "dropped"}])
def test_other_words_are_refused(wrong):
    with pytest.raises(UnknownNameError):
        Labels(**wrong)


def test_an_emotion_nobody_knows_is_refused():
    with pytest.raises(SettingError, match="'joy' is no canonical emotion"):
        Labels().label("joy")
