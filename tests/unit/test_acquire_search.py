"""Corpora found in heaps of files: each layout that is about, alone and all at once."""

from pathlib import PurePath

import pytest

from pipeline.acquire.search import search
from pipeline.corpora import checksums
from pipeline.corpora.registry import KNOWN_CORPORA

FOUR = {"crema_d": "Crema", "ravdess": "Ravdess", "savee": "Savee", "tess": "Tess"}
NESTED = "TESS Toronto emotional speech set data"
RESORTED = {
    "angry": "Angry", "disgust": "Disgusted", "fear": "Fearful", "happy": "Happy", "neutral": "Neutral", "sad": "Sad",
    "surprise": "Suprised",
}  # fmt: skip


def official(name):
    return [PurePath(path) for path in checksums.checksum_table(name)["path"]]


def flat(name):
    """Give the names that files have where a corpus lies in one folder."""
    speakers = KNOWN_CORPORA["savee"].speakers
    paths = official(name)
    return [
        PurePath(f"{path.parent.name}_{path.name}" if path.parent.name in speakers else path.name) for path in paths
    ]


def below(root, paths):
    return [PurePath(root, path) for path in paths]


def resorted(root, names=tuple(FOUR)):
    """Lay corpora out by emotion, as one mirror does: without calm."""
    found = []
    for name in names:
        for path, bare in zip(official(name), flat(name), strict=True):
            emotion = KNOWN_CORPORA[name].parse(path).emotion
            found += [PurePath(root, RESORTED[emotion], bare)] if emotion in RESORTED else []
    return found


def places(paths):
    return {found.name: (found.folder.as_posix(), found.clips) for found in search(paths).corpora}


SIZES = {"ravdess": 1_440, "crema_d": 7_442, "tess": 2_800, "savee": 480, "emodb": 535}


@pytest.mark.parametrize(("name", "size"), SIZES.items())
@pytest.mark.parametrize("root", [".", "a", "a/b c/d"])
def test_an_original_lies_where_its_table_begins(name, size, root):
    assert places(below(root, official(name))) == {name: (root, size)}


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_a_corpus_in_one_folder_is_that_folder(name, size):
    assert places(below("Downloads/all of it", flat(name))) == {name: ("Downloads/all of it", size)}


@pytest.mark.parametrize(
    ("name", "outer", "inner"),
    [("ravdess", "archive", "archive/audio_speech_actors_01-24"), ("tess", NESTED, f"{NESTED}/{NESTED}")],
)
def test_of_a_tree_held_twice_one_half_is_taken(name, outer, inner):
    result = search([*below(outer, official(name)), *below(inner, official(name))])
    (found,) = result.corpora
    assert (found.folder.as_posix(), found.clips, len(found.elsewhere)) == (inner, SIZES[name], SIZES[name])


def test_four_in_one_are_four():
    tree = [path for name, folder in FOUR.items() for path in below(f"root/{folder}", flat(name))]
    assert places(tree) == {name: (f"root/{folder}", SIZES[name]) for name, folder in FOUR.items()}


def test_corpora_sorted_by_emotion_are_one_tree():
    assert places(resorted("data/Emotions")) == {"emotions": ("data/Emotions", 12_162 - 192)}


def test_one_corpus_sorted_by_emotion_stays_itself():
    assert places(resorted("mine", ["ravdess"])) == {"ravdess": ("mine", 1_440 - 192)}


def test_everything_at_once_names_each_corpus_once():
    heap = [
        *(path for name in SIZES for path in below(f"originals/{name.upper()}", official(name))),
        *below("originals/CREMA_D/AudioMP3", [path.with_suffix(".mp3") for path in flat("crema_d")]),
        *below("kaggle/ravdess", official("ravdess")),
        *below("kaggle/ravdess/audio_speech_actors_01-24", official("ravdess")),
        *below(f"kaggle/{NESTED}", official("tess")),
        *below(f"kaggle/{NESTED}/{NESTED}", official("tess")),
        *below("kaggle/savee/ALL", flat("savee")),
        *(path for name, folder in FOUR.items() for path in below(f"four/{folder}", flat(name))),
        *resorted("sorted/Emotions"),
        PurePath("sorted/Emotions/Happy/03-02-03-01-01-01-01.wav"),  # a song, as that mirror holds it
        PurePath("mine/train/happy/1.wav"),
        PurePath("mine/test/sad/2.wav"),
    ]
    result = search(heap)
    found = [(each.name, each.folder.as_posix(), each.clips) for each in result.corpora]
    expected = [(name, f"originals/{name.upper()}", size) for name, size in SIZES.items()]
    assert found == [*expected, ("mine", "mine", 2)]
    assert PurePath("sorted/Emotions") in result.copies
    assert not result.mixed


def test_corpora_that_cannot_be_taken_apart_are_named_as_such():
    result = search(below("heap", [*flat("ravdess"), *flat("savee")]))
    assert not result.corpora
    assert result.mixed == {"ravdess": 1_440, "savee": 480}


def test_a_few_strays_are_borne_as_ingest_bears_them():
    strays = [PurePath("R/notes.wav"), PurePath("R/hello.flac")]
    assert places([*below("R", official("ravdess")), *strays]) == {"ravdess": ("R", 1_440)}


def test_song_belongs_to_ravdess_and_is_no_clip_of_it():
    song = below("R/Song/Actor_01", [f"03-02-01-01-01-{take}-01.wav" for take in ("01", "02")])
    assert places(song) == {}
    speech = below("R/Speech", official("ravdess"))
    assert places([*speech, *song]) == {"ravdess": ("R/Speech", 1_440)}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["mine/angry/1.wav", "mine/sad/2.wav"], {"mine": ("mine", 2)}),
        (["mine/train/angry/1.wav", "mine/test/sad/ann/2.wav"], {"mine": ("mine", 2)}),
        ([f"mine/{who}/angry/1.wav" for who in ("ann", "ben", "cleo")], {"mine": ("mine", 3)}),
        (["one/angry/1.wav", "two/angry/1.wav"], {"one": ("one", 1), "two": ("two", 1)}),
        (["My Corpus (2024)/Wut/1.wav"], {"my_corpus_2024": ("My Corpus (2024)", 1)}),
        (["mine/other/1.wav", "mine/angry/._1.wav", "mine/angry/notes.txt"], {}),
    ],
)
def test_trees_of_emotion_folders_are_corpora_of_their_own(paths, expected):
    assert places(map(PurePath, paths)) == expected


def test_half_a_corpus_is_counted_as_half():
    half = [path for path in official("tess") if path.name.startswith("YAF")]
    (found,) = search(below("x", half)).corpora
    assert (found.clips, found.published) == (1_400, 2_800)
