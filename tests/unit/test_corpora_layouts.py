"""The shapes in which the five corpora lie on people's disks, as lists of paths."""

from collections import Counter
from dataclasses import replace
from pathlib import PurePath

import pytest

from pipeline.core.files import is_audio_file, is_system_file
from pipeline.corpora import checksums
from pipeline.corpora.folders import corpus_info
from pipeline.corpora.info import FileNameError
from pipeline.corpora.registry import KNOWN_CORPORA, recognise_corpus

FOUR = {"crema_d": "Crema", "ravdess": "Ravdess", "savee": "Savee", "tess": "Tess"}
TESS = """
OAF_Fear OAF_Pleasant_surprise OAF_Sad OAF_angry OAF_disgust OAF_happy OAF_neutral
YAF_angry YAF_disgust YAF_fear YAF_happy YAF_neutral YAF_pleasant_surprised YAF_sad
"""
RESORTED = {
    "angry": "Angry",
    "disgust": "Disgusted",
    "fear": "Fearful",
    "happy": "Happy",
    "neutral": "Neutral",
    "sad": "Sad",
    "surprise": "Suprised",  # theirs
}


def official(name):
    return [PurePath(path) for path in checksums.checksum_table(name)["path"]]


def flat(path):
    """The name a file has where a whole corpus lies in one folder."""
    speaker = path.parent.name if path.parent.name in KNOWN_CORPORA["savee"].speakers else ""
    return f"{speaker}_{path.name}" if speaker else path.name


def bare(clip):
    return replace(clip, path="")


@pytest.mark.parametrize(
    "layout",
    [
        *[("ravdess", root) for root in ("Audio_Speech_Actors_01-24", "Ravdess/audio_speech_actors_01-24")],
        *[("crema_d", root) for root in ("CREMA-D-master", "data/x")],
        *[("tess", root) for root in ("Tess", "TESS Toronto emotional speech set data", "tess toronto/sad")],
        *[("savee", root) for root in ("AudioData", "SAVEE/AudioData/JE of old")],
        *[("emodb", root) for root in ("emodb", "16k/emodb")],
    ],
    ids="-".join,
)
def test_a_folder_above_changes_nothing(layout):
    name, root = layout
    for path in official(name):
        assert bare(KNOWN_CORPORA[name].parse(root / path)) == bare(KNOWN_CORPORA[name].parse(path))


@pytest.mark.parametrize("name", ["ravdess", "crema_d", "tess", "savee", "emodb"])
@pytest.mark.parametrize("root", ["", "ALL", "16k/wav"])
def test_all_files_in_one_folder(name, root):
    for path in official(name):
        moved = PurePath(root, flat(path))
        assert bare(KNOWN_CORPORA[name].parse(moved)) == bare(KNOWN_CORPORA[name].parse(path))
        assert recognise_corpus(moved) == name


@pytest.mark.parametrize(
    ("name", "outer"),
    [("ravdess", "audio_speech_actors_01-24"), ("tess", "TESS Toronto emotional speech set data")],
)
def test_the_tree_twice_gives_each_clip_twice(name, outer):
    paths = official(name)
    found = Counter(bare(KNOWN_CORPORA[name].parse(path)) for path in [*paths, *(outer / path for path in paths)])
    assert (found.total(), len(found), set(found.values())) == (2 * len(paths), len(paths), {2})


def test_four_corpora_under_one_root():
    tree = [PurePath("root", FOUR[name], flat(path)) for name in FOUR for path in official(name)]
    found = Counter(recognise_corpus(path) for path in tree)
    assert found == {"crema_d": 7_442, "ravdess": 1_440, "savee": 480, "tess": 2_800}
    assert found.total() == 12_162


def test_tess_folders_are_not_trusted():
    assert sorted({path.parent.name for path in official("tess")}) == sorted(TESS.split())
    clips = [KNOWN_CORPORA["tess"].parse(PurePath(folder, "YAF_pad_ps.wav")) for folder in TESS.split()]
    assert {(clip.speaker, clip.emotion) for clip in clips} == {("tess/YAF", "surprise")}


@pytest.mark.parametrize(
    ("name", "path", "speaker", "emotion"),
    [
        ("ravdess", "Actor_01/03-01-08-02-02-01-01.wav", "ravdess/01", "surprise"),
        ("ravdess", "Actor_02/03-01-02-02-02-01-03.WAV", "ravdess/03", "calm"),  # the name, not the folder
        ("crema_d", "AudioWAV/1001_DFA_ANG_XX.wav", "crema_d/1001", "angry"),
        ("crema_d", "Crema/1040_ITH_SAD_X.wav", "crema_d/1040", "sad"),
        ("tess", "OAF_neutral/OA_bite_neutral.wav", "tess/OAF", "neutral"),
        ("tess", "YAF_pleasant_surprised/YAF_back_ps.wav", "tess/YAF", "surprise"),
        ("savee", "AudioData/DC/a01.wav", "savee/DC", "angry"),
        ("savee", "KL/su03.wav", "savee/KL", "surprise"),
        ("savee", "DC/copy/JK/wav/sa01.wav", "savee/JK", "sad"),
        ("savee", "ALL/JE_d01.wav", "savee/JE", "disgust"),
        ("savee", "KL/JE_f01.wav", "savee/JE", "fear"),
        ("emodb", "wav/16b10Lb.wav", "emodb/16", "boredom"),
        ("emodb", "16k/emodb/wav/03a01Fa.flac", "emodb/03", "happy"),
    ],
)
def test_one_file_of_each_layout(name, path, speaker, emotion):
    clip = KNOWN_CORPORA[name].parse(PurePath(path))
    assert (clip.corpus, clip.speaker, clip.emotion, clip.path) == (name, speaker, emotion, path)
    assert recognise_corpus(PurePath(path)) == name


@pytest.mark.parametrize(
    "path",
    [
        "Audio_Song_Actors_01-24/Actor_01/03-02-05-01-01-01-01.wav",
        "Actor_01/01-01-05-01-01-01-01.mp4",
        "Actor_01/01-01-05-01-01-01-01.wav",
        "Actor_01/02-01-05-01-01-01-01.mp4",
    ],
)
def test_song_and_video_are_ravdess_but_out_of_scope(path):
    assert recognise_corpus(PurePath(path)) == "ravdess"
    with pytest.raises(FileNameError) as refused:
        KNOWN_CORPORA["ravdess"].parse(PurePath(path))
    assert refused.value.status == "out_of_scope"


def test_mp3_and_video_copies_of_crema_d_are_never_read():
    crema_d = KNOWN_CORPORA["crema_d"]
    for path in ("AudioMP3/1001_DFA_ANG_XX.mp3", "CREMA-D/VideoFlash/1001_DFA_ANG_XX.flv"):
        assert crema_d.skips(PurePath(path))
        assert recognise_corpus(PurePath(path)) is None
    assert not crema_d.skips(PurePath("AudioWAV/1001_DFA_ANG_XX.wav"))
    assert not crema_d.skips(PurePath("AudioMP3"))


def test_four_corpora_sorted_by_emotion_keep_their_speakers():
    mine = corpus_info("audio_emotions")
    clips = [KNOWN_CORPORA[name].parse(path) for name in FOUR for path in official(name)]
    kept = [clip for clip in clips if clip.emotion != "calm"]
    again = [mine.parse(PurePath("Emotions", RESORTED[clip.emotion], flat(PurePath(clip.path)))) for clip in kept]
    assert len(again) == 12_162 - 192
    assert len({clip.speaker for clip in again}) == 24 + 91 + 2 + 4
    for old, new in zip(kept, again, strict=True):
        assert new == replace(old, corpus="audio_emotions", path=new.path, emotion_code=new.emotion_code)
        assert new.emotion_code == RESORTED[old.emotion].casefold()


def test_song_among_sorted_files_stays_out():
    with pytest.raises(FileNameError) as refused:
        corpus_info("audio_emotions").parse(PurePath("Emotions/Angry/03-02-05-01-01-01-01.wav"))
    assert refused.value.status == "out_of_scope"


@pytest.mark.parametrize(
    "path",
    [
        "__MACOSX/Actor_01/._03-01-01-01-01-01-01.wav",
        "__MACOSX/x.wav",
        "a/__MACOSX/b/x.wav",
        "Actor_01/._03-01-01-01-01-01-01.wav",
        ".DS_Store",
        "wav/.ds_store",
        "Thumbs.db",
        "Crema/thumbs.DB",
        "desktop.ini",
        "Tess/Desktop.ini",
    ],
)
def test_system_files(path):
    assert is_system_file(PurePath(path))


@pytest.mark.parametrize(
    "path", ["Actor_01/x.wav", "a_.wav", ".hidden.wav", "MACOSX/x.wav", "._old/x.wav", "Thumbs.wav"]
)
def test_people_s_files(path):
    assert not is_system_file(PurePath(path))


@pytest.mark.parametrize(
    "extension",
    [
        "wav",
        "bwf",
        "rf64",
        "w64",
        "aif",
        "aiff",
        "aifc",
        "au",
        "snd",
        "caf",
        "flac",
        "ogg",
        "oga",
        "opus",
        "mp3",
        "mp2",
    ],
)
def test_audio_in_any_case(extension):
    for written in (extension, extension.upper(), extension.title()):
        assert is_audio_file(PurePath("some.folder", f"03a01Fa.{written}"))


@pytest.mark.parametrize(
    "path",
    [
        "lablaut/03a01Fa.lablaut",
        "silb/03a01Fa.silb",
        "erkennung.txt",
        "AudioData/Info.txt",
        "VideoFlash/1001_DFA_ANG_XX.flv",
        "01-01-05-01-01-01-01.mp4",
        "a.wav.part",
        "wav",
        ".wav",
        "x.wav/readme",
    ],
)
def test_other_files_are_no_audio(path):
    assert not is_audio_file(PurePath(path))
