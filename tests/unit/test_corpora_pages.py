"""One conformance suite over every page of the registry, and the published counts of the five corpora.

The suite finds new pages by itself. A page without a checksum table is tried on its example alone.
"""

import hashlib
import pickle
import re
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import PurePath

import pandas as pd
import pytest

from pipeline.core.errors import CorpusError, SettingError, UnknownNameError
from pipeline.core.labels import EMOTIONS
from pipeline.corpora import checksums
from pipeline.corpora.folders import corpus_info
from pipeline.corpora.info import Clip, CorpusInfo, FileNameError
from pipeline.corpora.registry import KNOWN_CORPORA, recognise_corpus
from tests.paths import ROOT

TEMPLATE = ROOT / "docs/corpus_page.py"
ORDER = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "calm", "boredom")
COUNTS = {  # clips per emotion, as published
    "ravdess": (192, 192, 192, 192, 96, 192, 192, 192, 0),
    "crema_d": (1271, 1271, 1271, 1271, 1087, 1271, 0, 0, 0),
    "tess": (400, 400, 400, 400, 400, 400, 400, 0, 0),
    "savee": (60, 60, 60, 60, 120, 60, 60, 0, 0),
    "emodb": (127, 46, 69, 71, 79, 62, 0, 0, 81),
}
SPEAKERS = {"ravdess": (12, 12), "crema_d": (48, 43), "tess": (0, 2), "savee": (4, 0), "emodb": (5, 5)}  # men, women
SEXES = {"ravdess": (720, 720), "crema_d": (3930, 3512), "tess": (0, 2800), "savee": (480, 0), "emodb": (233, 302)}
FILES = {  # bytes of all files, distinct contents by file, distinct contents by samples (0: none measured)
    "ravdess": (590_349_330, 1_439, 1_439),
    "crema_d": (605_899_936, 7_439, 0),
    "tess": (281_330_024, 2_800, 2_800),
    "savee": (162_569_106, 480, 0),
    "emodb": (47_626_698, 535, 422),
}
EMODB = """
03 male 31 14 5 1 4 7 7 11
08 female 34 12 10 0 6 11 9 10
09 female 21 13 4 8 1 4 4 9
10 male 32 10 8 1 8 4 3 4
11 male 26 11 8 2 10 8 7 9
12 male 30 12 5 2 6 2 4 4
13 female 32 12 10 8 7 10 5 9
14 female 35 16 8 8 12 8 10 7
15 male 25 13 9 5 8 6 4 11
16 female 31 14 14 11 7 11 9 5
"""  # speaker, sex, age; clips angry, boredom, disgust, fear, happy, sad, neutral


@pytest.fixture(params=[*KNOWN_CORPORA, "lausanne"])
def corpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> CorpusInfo:
    """Every page, and the template of docs/corpora.md, which anyone may copy."""
    if request.param not in KNOWN_CORPORA:
        plan = spec_from_file_location(request.param, TEMPLATE)
        module = module_from_spec(plan)
        monkeypatch.setitem(sys.modules, request.param, module)  # pickle looks functions up there
        plan.loader.exec_module(module)
        monkeypatch.setitem(KNOWN_CORPORA, request.param, module.INFO)
        clips.cache_clear()
    return KNOWN_CORPORA[request.param]


def published(corpus: CorpusInfo) -> list[PurePath]:
    if corpus.name not in checksums.table_names():
        return [PurePath(corpus.example)]
    return [PurePath(path) for path in checksums.checksum_table(corpus.name)["path"]]


@cache
def clips(name: str) -> list[Clip]:
    return [KNOWN_CORPORA[name].parse(path) for path in published(KNOWN_CORPORA[name])]


def measured(corpus: CorpusInfo) -> list[Clip]:
    if corpus.name not in checksums.table_names():
        pytest.skip(f"{corpus.name} has no checksum table to count in")
    return clips(corpus.name)


def test_the_page_is_filled(corpus):
    texts = ("title", "licence", "citation", "source", "example")
    assert all(getattr(corpus, text).strip() for text in texts)
    assert re.fullmatch(r"[a-z]{2}", corpus.language)
    assert corpus.source.startswith(("https://", "http://"))
    assert re.search(r"\((19|20)\d\d\)", corpus.citation), "a citation names its year"
    assert corpus.sample_rate >= 8_000
    assert corpus.clips > 0
    assert 0.5 < corpus.hours * 3600 / corpus.clips < 30, "seconds of a clip"


def test_the_page_is_found_by_its_name(corpus):
    assert corpus_info(corpus.name) is corpus


def test_emotions_and_speakers_are_canonical(corpus):
    assert corpus.emotions
    assert set(corpus.emotions.values()) <= set(EMOTIONS)
    assert corpus.speakers
    assert {speaker.sex for speaker in corpus.speakers.values()} <= {"male", "female"}
    assert all(speaker.age is None or 16 <= speaker.age <= 100 for speaker in corpus.speakers.values())


def test_the_example_parses(corpus):
    clip = corpus.parse(PurePath(corpus.example))
    assert clip.emotion in EMOTIONS
    assert recognise_corpus(PurePath(corpus.example)) == corpus.name


def test_every_published_name_parses(corpus):
    for clip, path in zip(clips(corpus.name), published(corpus), strict=True):
        room, identity = clip.speaker.split("/")
        assert (clip.corpus, clip.path, room) == (corpus.name, str(path), corpus.name)
        assert clip.emotion == corpus.emotions[clip.emotion_code]
        speaker = corpus.speakers[identity]
        assert (clip.sex, clip.age, clip.language) == (speaker.sex, speaker.age, corpus.language)
        assert clip.statement, "without a statement no split can keep sentences apart"


def test_the_page_promises_what_the_table_holds(corpus):
    found = measured(corpus)
    assert len(found) == corpus.clips
    assert {clip.emotion_code for clip in found} == set(corpus.emotions)
    assert {clip.speaker for clip in found} == {f"{corpus.name}/{speaker}" for speaker in corpus.speakers}


def test_no_two_clips_say_the_same(corpus):
    found = Counter(replace(clip, path="") for clip in measured(corpus))
    assert found.most_common(1)[0][1] == 1


def test_each_stem_is_of_one_page(corpus):
    for path in published(corpus):
        assert [other.name for other in KNOWN_CORPORA.values() if other.stem.fullmatch(path.stem)] == [corpus.name]
        assert recognise_corpus(path) == corpus.name


@pytest.mark.parametrize("extension", [".wav", ".WAV", ".flac", ".Ogg"])
@pytest.mark.parametrize("above", ["", "data", "Some Where/2024/x"])
def test_depth_and_extension_change_nothing(corpus, above, extension):
    for clip, path in zip(clips(corpus.name), published(corpus), strict=True):
        moved = PurePath(above) / path.with_suffix(extension)
        assert corpus.parse(moved) == replace(clip, path=moved.as_posix())


@pytest.mark.parametrize("mangle", ["x{}", "{}x1", "{} ", "{}.wav", "{}\n", "._{}", "copy of {}", "{}(1)"])
def test_a_name_counts_only_as_a_whole(corpus, mangle):
    name = mangle.format(PurePath(corpus.example).stem) + ".wav"
    with pytest.raises(FileNameError, match=re.escape(corpus.title)) as refused:
        corpus.parse(PurePath("some/folder", name))
    assert refused.value.status == "unknown_name"
    assert corpus.example in str(refused.value)
    assert recognise_corpus(PurePath("some/folder", name)) is None


def test_pages_and_refusals_travel_between_processes(corpus):
    assert pickle.loads(pickle.dumps(corpus)) == corpus
    with pytest.raises(FileNameError) as refused:
        corpus.parse(PurePath("nonsense.wav"))
    back = pickle.loads(pickle.dumps(refused.value))
    assert (back.status, str(back)) == (refused.value.status, str(refused.value))
    assert isinstance(back, CorpusError)


def test_files_in_skipped_folders_are_nobody_s(corpus):
    for folder in corpus.skip_folders:
        path = PurePath("below", folder, "deeper", corpus.example)
        assert corpus.skips(path)
        assert recognise_corpus(path) is None
    assert not corpus.skips(PurePath(corpus.example))


# the published numbers of the five


@pytest.mark.parametrize("name", COUNTS)
def test_clips_per_emotion(name):
    found = Counter(clip.emotion for clip in clips(name))
    assert tuple(found[emotion] for emotion in ORDER) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_speakers_and_clips_per_sex(name):
    sexes = Counter(speaker.sex for speaker in KNOWN_CORPORA[name].speakers.values())
    assert (sexes["male"], sexes["female"]) == SPEAKERS[name]
    found = Counter(clip.sex for clip in clips(name))
    assert (found["male"], found["female"]) == SEXES[name]


def test_the_five_together():
    found = [clip for name in COUNTS for clip in clips(name)]
    assert len(found) == 12_697
    assert len({clip.speaker for clip in found}) == 131
    assert Counter(clip.emotion for clip in found)["neutral"] == 1_782


@pytest.mark.parametrize("line", EMODB.split("\n")[1:-1])
def test_emodb_speaker_by_speaker(line):
    speaker, sex, age, *counts = line.split()
    mine = [clip for clip in clips("emodb") if clip.speaker == f"emodb/{speaker}"]
    assert {(clip.sex, clip.age) for clip in mine} == {(sex, int(age))}
    found = Counter(clip.emotion for clip in mine)
    order = ("angry", "boredom", "disgust", "fear", "happy", "sad", "neutral")
    assert [found[emotion] for emotion in order] == [int(count) for count in counts]


def test_crema_d_actors_are_the_publisher_s():
    speakers = KNOWN_CORPORA["crema_d"].speakers
    ages = pd.Series([speaker.age for speaker in speakers.values()])
    assert (ages.min(), ages.median(), ages.max()) == (20, 33, 74)
    lines = "".join(f"{actor},{speaker.age},{speaker.sex}\n" for actor, speaker in speakers.items())
    # of VideoDemographics.csv: sed 1d | awk -F, '{gsub(/"/,"",$3); printf "%s,%s,%s\n",$1,$2,tolower($3)}' | sha256sum
    assert hashlib.sha256(lines.encode()).hexdigest() == (
        "bbdf047e11a91cd96ad1d2ed361aad82a0ca2ffec91494734dd16d2a008bb681"
    )


def test_crema_d_levels_and_gaps():
    found = clips("crema_d")
    assert Counter(clip.intensity for clip in found) == {"XX": 6_077, "LO": 455, "MD": 455, "HI": 455}
    assert {clip.statement for clip in found if clip.intensity != "XX"} == {"IEO"}
    statements = Counter(clip.statement for clip in found)
    assert (statements["IEO"], statements["DFA"], statements["TIE"], statements["WSI"]) == (1_456, 546, 545, 540)
    assert len(statements) == 12
    assert KNOWN_CORPORA["crema_d"].parse(PurePath("1040_ITH_SAD_X.wav")).intensity == "XX"
    per_actor = Counter(clip.speaker for clip in found)
    assert sum(count == 82 for count in per_actor.values()) == 86
    assert per_actor["crema_d/1008"] == 76


def test_ravdess_fields_are_not_swapped():
    found = clips("ravdess")
    assert Counter(clip.intensity for clip in found) == {"01": 768, "02": 672}
    assert not [clip for clip in found if clip.emotion == "neutral" and clip.intensity == "02"]
    assert set(Counter(clip.speaker for clip in found).values()) == {60}
    clip = KNOWN_CORPORA["ravdess"].parse(PurePath("03-01-06-02-01-02-11.wav"))
    assert (clip.intensity, clip.statement, clip.repetition) == ("02", "01", "02")
    assert (clip.emotion, clip.speaker, clip.sex) == ("fear", "ravdess/11", "male")


def test_tess_words_and_ages():
    words = Counter(clip.statement for clip in clips("tess"))
    assert (len(words), set(words.values())) == (200, {14})
    assert {(clip.speaker, clip.age) for clip in clips("tess")} == {("tess/OAF", 64), ("tess/YAF", 26)}


def test_savee_statements_are_emotion_and_number():
    found = [clip.statement for clip in clips("savee") if clip.speaker == "savee/KL"]
    assert len(found) == len(set(found)) == 120
    assert {"sa15", "su01", "n30"} <= set(found)


def test_emodb_sentences_and_takes():
    sentences = Counter(clip.statement for clip in clips("emodb"))
    assert (len(sentences), sentences["a01"], sentences["a05"], sentences["b10"]) == (10, 49, 62, 52)
    assert KNOWN_CORPORA["emodb"].parse(PurePath("08b09Fd.wav")).repetition == "d"
    assert KNOWN_CORPORA["emodb"].parse(PurePath("08b09F.wav")).repetition == ""


@pytest.mark.parametrize("name", FILES)
def test_tables_hold_the_published_files(name):
    table = checksums.checksum_table(name)
    assert list(table.columns) == ["path", "bytes", "sha256", "samples_sha256"]
    assert table["path"].is_monotonic_increasing
    assert not table.isna().any(axis=None)
    assert table["sha256"].str.fullmatch("[0-9a-f]{64}").all()
    assert table["samples_sha256"].str.fullmatch("([0-9a-f]{64})?").all()
    samples = set(table["samples_sha256"]) - {""}
    assert (table["bytes"].sum(), table["sha256"].nunique(), len(samples)) == FILES[name]
    assert checksums.published_hashes(name) == set(table["sha256"]) | samples


def test_a_table_is_the_caller_s_own():
    mine = checksums.checksum_table("savee")
    mine["bytes"] = 0
    assert checksums.checksum_table("savee")["bytes"].min() > 0


def test_corpora_without_a_table():
    assert checksums.published_hashes("my_corpus") == frozenset()
    with pytest.raises(UnknownNameError, match=r"'emo_db' is unknown, did you mean 'emodb'\?"):
        checksums.checksum_table("emo_db")


@pytest.mark.parametrize(
    ("name", "path", "status", "hint"),
    [
        ("ravdess", "Actor_01/03-01-09-01-01-01-01.wav", "unknown_name", "emotion '09'"),
        ("ravdess", "Actor_25/03-01-05-01-01-01-25.wav", "unknown_name", "speaker '25', only 01 to 24"),
        ("ravdess", "03-01-05-01-01-01-00.wav", "unknown_name", "speaker '00'"),
        ("ravdess", "03-01-05-03-01-01-01.wav", "unknown_name", "named like"),
        ("ravdess", "٠3-01-05-01-01-01-05.wav", "unknown_name", "named like"),
        ("ravdess", "03-02-05-01-01-01-05.wav", "out_of_scope", "a song"),
        ("ravdess", "01-02-05-01-01-01-05.wav", "out_of_scope", "a song"),
        ("ravdess", "01-01-05-01-01-01-05.wav", "out_of_scope", "from the video"),
        ("ravdess", "02-01-05-01-01-01-05.mp4", "out_of_scope", "from the video"),
        ("crema_d", "1092_DFA_ANG_XX.wav", "unknown_name", "speaker '1092', only 1001 to 1091"),
        ("crema_d", "1001_DFA_SUR_XX.wav", "unknown_name", "ANG, DIS, FEA, HAP, NEU, SAD"),
        ("crema_d", "1001_ABC_ANG_XX.wav", "unknown_name", "1001_DFA_ANG_XX.wav"),
        ("tess", "OAF_back_calm.wav", "unknown_name", "ps, sad"),
        ("savee", "a01.wav", "unknown_name", "no folder of a SAVEE speaker"),
        ("savee", "AudioData/dc.old/a01.wav", "unknown_name", "DC_a01.wav"),
        ("savee", "DC/a٠١.wav", "unknown_name", "named like"),
        ("savee", "DC/c01.wav", "unknown_name", "sa, su"),
        ("emodb", "01a01Fa.wav", "unknown_name", "speaker '01', only 03, 08"),
        ("emodb", "03a03Fa.wav", "unknown_name", "03a01Fa.wav"),
        ("emodb", "03a01fa.wav", "unknown_name", "W, L, E, A, F, T, N"),
        ("emodb", "٠٣a01Fa.wav", "unknown_name", "named like"),
    ],
)
def test_refusals_name_the_file_and_the_reason(name, path, status, hint):
    with pytest.raises(FileNameError) as refused:
        KNOWN_CORPORA[name].parse(PurePath(path))
    assert refused.value.status == status
    assert path in str(refused.value)
    assert hint in str(refused.value)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize("name", ["CREMA-D", "crema-d", "", "2tess", "_tess", "tess\n", "täss", "a/b", "a b"])
def test_names_that_cannot_name_a_corpus(name):
    with pytest.raises(SettingError, match="such as my_corpus"):
        corpus_info(name)


def test_any_other_name_is_a_tree_of_folders():
    mine = corpus_info("crema_e2")
    assert (mine.name, mine.clips, mine.speakers) == ("crema_e2", 0, {})
    assert mine.parse(PurePath("sad/1.wav")).corpus == "crema_e2"
