"""Trees with a folder per emotion: every rule, on names that would tempt a guess."""

import pickle
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.labels import EMOTIONS
from pipeline.corpora.folders import emotion_of_folder, folder_corpus_info
from pipeline.corpora.info import FileNameError

ALIASES = {
    "angry": "angry anger ang wut",
    "disgust": "disgust disgusted dis ekel",
    "fear": "fear fearful fea afraid scared anxiety anxious angst",
    "happy": "happy happiness hap joy joyful freude",
    "neutral": "neutral neu",
    "sad": "sad sadness trauer",
    "surprise": "surprise surprised suprise suprised ps pleasant_surprise pleasant_surprised",
    "calm": "calm",
    "boredom": "boredom bored boredem langeweile",
}
PAIRS = [(word, emotion) for emotion, words in ALIASES.items() for word in words.split()]
SPLITS = ["train", "val", "valid", "validation", "dev", "test"]
SPEAKERS = st.from_regex(r"(actor|p|spk)_?[0-9]{1,3}", fullmatch=True)


def parse(path):
    return folder_corpus_info("mine").parse(PurePath(path))


@pytest.mark.parametrize(("word", "emotion"), PAIRS)
def test_every_alias(word, emotion):
    assert emotion_of_folder(word) == emotion
    clip = parse(f"{word}/x.wav")
    assert (clip.emotion, clip.emotion_code, clip.speaker) == (emotion, word, "")


def test_the_page_knows_its_aliases():
    assert dict(folder_corpus_info("mine").emotions) == dict(PAIRS)


@pytest.mark.parametrize(
    ("folder", "emotion"),
    [
        ("01_angry", "angry"),
        ("1. Angry", "angry"),
        ("07 - Fearful", "fear"),
        ("_sad", "sad"),
        ("OAF_Pleasant_surprise", "surprise"),
        ("YAF_pleasant_surprised", "surprise"),
        ("oaf-Fear", "fear"),
        ("3 YAF angry", "angry"),
        ("Pleasant - Surprise", "surprise"),
        ("Suprised", "surprise"),
    ],
)
def test_spellings_of_a_folder(folder, emotion):
    assert emotion_of_folder(folder) == emotion


@pytest.mark.parametrize(
    "folder",
    [*"ADFHNSWLETadfhnswlet", "", "01", "not_angry", "angry2", "sadly", "su", "sa", "OAF", "OAF_", "Actor_01", "misc"],
)
def test_what_is_no_alias(folder):
    assert emotion_of_folder(folder) is None


@given(
    pair=st.sampled_from(PAIRS),
    number=st.from_regex(r"([0-9]{1,3}( - |_|-| |\. ?))?", fullmatch=True),
    prefix=st.sampled_from(["", "OAF_", "yaf_"]),
    gap=st.sampled_from(["_", " ", "-"]),
    data=st.data(),
)
def test_numbering_case_and_gaps_do_not_matter(pair, number, prefix, gap, data):
    word, emotion = pair
    written = "".join(data.draw(st.sampled_from([letter, letter.upper()])) for letter in word.replace("_", gap))
    assert emotion_of_folder(number + prefix + written) == emotion


@given(st.text())
def test_an_alias_is_canonical_or_none(folder):
    assert emotion_of_folder(folder) in {None, *EMOTIONS}


@given(
    split=st.sampled_from(["", *SPLITS, "Train", "TEST"]),
    person=st.one_of(st.just(""), SPEAKERS),
    emotion=st.sampled_from(EMOTIONS),
    below=st.booleans(),
    stem=st.text("abcdefghij_0123456789", min_size=1),
)
def test_the_template_is_read_back(split, person, emotion, below, stem):
    parts = [emotion, person] if below else [person, emotion]
    path = PurePath(split, *parts, f"take {stem}.wav")
    clip = parse(path)
    assert (clip.corpus, clip.path, clip.emotion) == ("mine", path.as_posix(), emotion)
    assert clip.speaker == (f"mine/{person}" if person else "")
    assert (clip.sex, clip.age, clip.statement, clip.language) == ("", None, "", "")


@pytest.mark.parametrize("split", [*SPLITS, "Train", "TEST"])
def test_splits_are_no_speakers(split):
    assert parse(f"{split}/angry/x.wav").speaker == ""
    assert parse(f"{split}/anna/angry/x.wav").speaker == "mine/anna"


@pytest.mark.parametrize("path", ["corpus/anna/angry/x.wav", "anna/angry/take2/x.wav", "a/b/c/sad/x.wav"])
def test_of_several_folders_none_is_taken_for_the_speaker(path):
    assert parse(path).speaker == ""


def test_two_aliases_may_agree():
    clip = parse("Anger/anna/01 Angry/x.wav")
    assert (clip.emotion, clip.emotion_code, clip.speaker) == ("angry", "angry", "mine/anna")


@pytest.mark.parametrize("path", ["Angry/sad/x.wav", "sad/anna/angry/x.wav", "fear/disgust/fear/x.wav"])
def test_two_aliases_that_disagree(path):
    with pytest.raises(FileNameError) as refused:
        parse(path)
    assert refused.value.status == "label_mismatch"
    assert all(repr(part) in str(refused.value) for part in PurePath(path).parts[:-1] if emotion_of_folder(part))


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("misc/x.wav", "the folder 'misc'"),
        ("train/Actor_01/x.wav", "the folder 'Actor_01'"),
        ("A/x.wav", "the folder 'A'"),
        ("x.wav", "no folder"),
        ("angry.wav", "no folder"),
    ],
)
def test_no_alias_names_the_folder(path, folder):
    with pytest.raises(FileNameError) as refused:
        parse(path)
    assert refused.value.status == "unknown_name"
    assert f"{path} lies in {folder}, expected one named angry," in str(refused.value)


def test_a_known_corpus_without_folders_is_sent_to_its_page():
    with pytest.raises(FileNameError, match=r"'AudioWAV', .* one of CREMA-D, so list it as crema_d") as refused:
        parse("AudioWAV/1001_DFA_ANG_XX.wav")
    assert refused.value.status == "unknown_name"


@pytest.mark.parametrize(
    ("path", "speaker", "sex", "age", "statement", "language"),
    [
        ("Angry/03-01-05-01-02-01-07.wav", "ravdess/07", "male", None, "02", "en"),
        ("test/anna/Fearful/1004_ITH_FEA_XX.flac", "crema_d/1004", "female", 42, "ITH", "en"),
        ("Suprised/OAF_back_ps.wav", "tess/OAF", "female", 64, "back", "en"),
        ("sadness/JK_sa03.wav", "savee/JK", "male", None, "sa03", "en"),
        ("sad/KL/sa03.wav", "savee/KL", "male", None, "sa03", "en"),
        ("JE/fold1/fear/f03.wav", "savee/JE", "male", None, "f03", "en"),
        ("angst/09a01Ab.wav", "emodb/09", "female", 21, "a01", "de"),
        ("Langeweile/16b10Lb.wav", "emodb/16", "female", 31, "b10", "de"),
    ],
)
def test_a_re_sorted_corpus_keeps_its_speakers(path, speaker, sex, age, statement, language):
    clip = parse(path)
    assert (clip.corpus, clip.path, clip.speaker) == ("mine", path, speaker)
    assert (clip.sex, clip.age, clip.statement, clip.language) == (sex, age, statement, language)


def test_intensity_and_repetition_come_along():
    clip = parse("happy/03-01-03-02-01-02-07.wav")
    assert (clip.intensity, clip.repetition, clip.emotion_code) == ("02", "02", "happy")


@pytest.mark.parametrize(
    "path",
    [
        "sad/03-01-05-01-02-01-07.wav",
        "happy/1004_ITH_FEA_XX.wav",
        "OAF_Sad/OAF_back_ps.wav",
        "angry/JK_sa03.wav",
        "fear/KL/a03.wav",
        "fear/09a01Fb.wav",
        "neutral/03-01-02-01-02-01-07.wav",  # calm is not neutral here: that is a policy, not a label
    ],
)
def test_a_name_that_contradicts_its_folder(path):
    with pytest.raises(FileNameError, match=r"the folder .* says") as refused:
        parse(path)
    assert refused.value.status == "label_mismatch"
    assert path in str(refused.value)


@pytest.mark.parametrize(
    ("path", "speaker"),
    [
        ("happy/a01.wav", ""),  # anger in SAVEE, were it in a folder of a SAVEE speaker
        ("happy/anna/a01.wav", "mine/anna"),
        ("happy/anna/n31_.wav", "mine/anna"),
        ("happy/01a01Wa.wav", ""),  # no speaker of EmoDB
        ("happy/03a03Wa.wav", ""),  # no sentence of EmoDB
        ("happy/x03a01Wa.wav", ""),
        ("happy/9999_DFA_ANG_XX.wav", ""),
        ("happy/my_OAF_back_sad.wav", ""),
        ("happy/OAF_back_sad_2.wav", ""),
        ("happy/03-01-05-01-02-01-77.wav", ""),
        ("happy/DC/a01_take.wav", "mine/DC"),
    ],
)
def test_weak_likeness_is_no_match(path, speaker):
    clip = parse(path)
    assert (clip.emotion, clip.speaker, clip.sex) == ("happy", speaker, "")


def test_the_page_travels_between_processes():
    mine = pickle.loads(pickle.dumps(folder_corpus_info("mine")))
    assert mine.parse(PurePath("sad/x.wav")) == parse("sad/x.wav")
    assert folder_corpus_info("other").parse(PurePath("sad/anna/x.wav")).speaker == "other/anna"
