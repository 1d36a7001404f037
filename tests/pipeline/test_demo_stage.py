import hashlib
import os
import struct
from collections import Counter, defaultdict
from pathlib import PurePath

import numpy as np
import pytest
import soundfile

from pipeline.core import files, machine
from pipeline.core.errors import CorpusError, SettingError
from pipeline.core.labels import VOTE_COLUMNS, VOTED_EMOTIONS
from pipeline.corpora import checksums, crema_d, folders
from pipeline.demo import stage, tract, voice
from pipeline.demo import takes as demo_takes
from pipeline.demo.takes import CORPUS_SPECS

SEED = 5
CLIPS = 100  # the fewest at which every fault is there
RAVDESS, CREMA_D, TESS = "RAVDESS", "CREMA-D/AudioWAV", "TESS"
TITLES = {"RAVDESS": "ravdess", "CREMA-D": "crema_d", "TESS": "tess", "SAVEE": "savee"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "raw" / "demo"
    assert stage.run(folder, clips=CLIPS, seed=SEED) == len(demo_takes.plan_takes(CLIPS, SEED))
    return folder


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def where(take):
    return f"{take.spec.info.title}/{take.path}"


def by_corpus(takes):
    groups = defaultdict(list)
    for take in takes:
        groups[take.spec.info.name].append(take)
    return groups


def bad(take, takes):
    twins = {take.twin for take in takes if "AudioWAV" in take.twin} | {take.path for take in takes if take.twin}
    return (
        bool(take.pointer) or take.fault in ("silent", "truncated") or ("AudioWAV" in take.path and take.path in twins)
    )


# the plan


@pytest.mark.parametrize("clips", [60, 400, 1500])
def test_every_name_is_one_of_the_published_corpus_and_says_what_was_planned(clips):
    for name, takes in by_corpus(demo_takes.plan_takes(clips, SEED)).items():
        assert {take.path for take in takes} <= set(checksums.checksum_table(name)["path"])
        for take in takes:
            clip = folders.corpus_info(name).parse(PurePath(take.path))
            assert (clip.emotion, clip.speaker) == (take.emotion, f"{name}/{take.speaker}")


@pytest.mark.parametrize("clips", [60, 61, 100, 400, 1500])
def test_the_ordinary_clips_are_as_many_as_asked_and_no_file_comes_twice(clips):
    takes = demo_takes.plan_takes(clips, SEED)
    assert abs(len([take for take in takes if take.path not in demo_takes.FAULTY_PATHS]) - clips) <= 2
    assert len({where(take) for take in takes}) == len(takes)


def test_at_400_every_speaker_has_every_emotion():
    groups = by_corpus(demo_takes.plan_takes(400, SEED))
    speakers = {name: {take.speaker for take in takes} for name, takes in groups.items()}
    assert {name: len(ids) for name, ids in speakers.items()} == {"ravdess": 10, "crema_d": 12, "tess": 2, "savee": 4}
    for name, takes in groups.items():
        pairs = {(take.speaker, take.emotion) for take in takes}
        assert len(pairs) == len(speakers[name]) * len(set(folders.corpus_info(name).emotions.values()))


@pytest.mark.parametrize("clips", [60, 77, 100])
def test_a_small_demo_has_every_class_and_enough_speakers(clips):
    groups = by_corpus(demo_takes.plan_takes(clips, SEED))
    for name, takes in groups.items():
        assert {take.emotion for take in takes} == set(folders.corpus_info(name).emotions.values())
    for name, fewest in (("ravdess", 5), ("crema_d", 5), ("tess", 2), ("savee", 4)):
        assert len({take.speaker for take in groups[name]}) >= fewest


@pytest.mark.parametrize("name", ["ravdess", "crema_d"])
@pytest.mark.parametrize("clips", [60, 400])
def test_sexes_and_classes_are_balanced(name, clips):
    takes = [
        take for take in by_corpus(demo_takes.plan_takes(clips, SEED))[name] if take.path not in demo_takes.FAULTY_PATHS
    ]
    sexes = Counter(take.spec.info.speakers[take.speaker].sex for take in takes)
    emotions = Counter(take.emotion for take in takes)
    assert abs(sexes["male"] - sexes["female"]) <= 4
    assert max(emotions.values()) - min(emotions.values()) <= 4


def test_tess_lies_in_its_fourteen_odd_folders():
    takes = by_corpus(demo_takes.plan_takes(400, SEED))["tess"]
    older = {"Fear", "Pleasant_surprise", "Sad", "angry", "disgust", "happy", "neutral"}
    younger = {"angry", "disgust", "fear", "happy", "neutral", "pleasant_surprised", "sad"}
    expected = {f"OAF_{name}" for name in older} | {f"YAF_{name}" for name in younger}
    assert {PurePath(take.path).parts[0] for take in takes} == expected


@pytest.mark.parametrize("clips", range(60, 130, 3))
def test_no_corpus_has_more_bad_files_than_the_demo_allows(clips):
    for takes in by_corpus(demo_takes.plan_takes(clips, SEED)).values():
        assert sum(bad(take, takes) for take in takes) <= stage.Demo().max_bad * len(takes)


def test_more_clips_keep_the_others_and_another_seed_chooses_others():
    few, many, others = (
        {where(take) for take in demo_takes.plan_takes(*case)} for case in ((120, 5), (400, 5), (120, 6))
    )
    assert few < many
    assert few - others


def test_speakers_say_different_sentences_and_twins_follow_their_originals():
    takes = demo_takes.plan_takes(400, SEED)
    said = {take.path.split("_")[1] for take in takes if take.spec.info.name == "crema_d" and take.emotion == "fear"}
    assert len(said) >= 6
    paths = [take.path for take in takes]
    assert all(paths.index(take.twin) < paths.index(take.path) for take in takes if take.twin)


@pytest.mark.parametrize("clips", [0, 59, 1501])
def test_a_demo_that_cannot_be_is_refused(clips):
    with pytest.raises(SettingError, match=f"data.demo.clips is {clips}, expected 60 to 1500"):
        demo_takes.plan_takes(clips, SEED)


def test_the_strength_follows_the_level_in_the_name():
    takes = {take.path: take.strength for troupe in CORPUS_SPECS for take in demo_takes.list_published_takes(troupe)}
    low, middle, high = (takes[f"AudioWAV/1001_IEO_ANG_{level}.wav"] for level in ("LO", "MD", "HI"))
    assert low < middle < high
    assert takes["Actor_03/03-01-05-01-02-01-03.wav"] < 1 < takes["Actor_03/03-01-05-02-02-01-03.wav"]


@pytest.mark.parametrize("key", ["a01", "n30", "su15"])
def test_babble_can_be_said_and_belongs_to_its_number(key):
    assert 2 < sum(piece.seconds for piece, _ in tract.phone_segments(demo_takes.nonsense_sentence(key))) < 4
    takes = [take for take in demo_takes.list_published_takes(CORPUS_SPECS[3]) if take.path.endswith(f"/{key}.wav")]
    assert {take.text for take in takes} == {demo_takes.nonsense_sentence(key)}
    assert len(takes) == 4
    assert demo_takes.nonsense_sentence(key) != demo_takes.nonsense_sentence("a02")


# the files


def test_the_same_seed_gives_the_same_bytes(made, tmp_path):
    stage.run(tmp_path / "again", clips=CLIPS, seed=SEED)
    assert content(tmp_path / "again") == content(made)


def test_another_seed_gives_another_sound():
    take = demo_takes.plan_takes(60, SEED)[0]
    first, other = (stage.synthesise_take(take, seed) for seed in (1, 2))
    assert first.size != other.size or (first != other).any()


def test_speakers_keep_their_voice_and_takes_differ():
    ravdess = by_corpus(demo_takes.plan_takes(400, SEED))["ravdess"]
    mine = [take for take in ravdess if take.speaker == "04"]
    voices = [voice.sample_speaker(stage.take_rng(SEED, take, take.speaker), "female") for take in mine[:2]]
    assert voices[0] == voices[1]
    assert voices[0] != voice.sample_speaker(stage.take_rng(SEED, ravdess[0], "05"), "female")
    assert len({hashlib.sha256(stage.synthesise_take(take, SEED).tobytes()).digest() for take in mine[:4]}) == 4


def test_rates_channels_and_containers_are_those_of_the_corpora(made):
    odd = {
        f"{RAVDESS}/Actor_01/03-01-02-01-01-02-01.wav": (48_000, 2, "WAV"),
        f"{TESS}/OAF_Fear/OAF_food_fear.wav": (96_000, 1, "WAV"),
        f"{TESS}/YAF_angry/YAF_germ_angry.wav": (24_414, 1, "AIFF"),
    }
    usual = {"RAVDESS": 48_000, "CREMA-D": 16_000, "TESS": 24_414, "SAVEE": 44_100}
    for take in demo_takes.plan_takes(CLIPS, SEED):
        if not take.pointer:
            info = soundfile.info(made / where(take))
            expected = odd.get(where(take), (usual[take.spec.info.title], 1, "WAV"))
            assert (info.samplerate, info.channels, info.format) == expected
            assert info.subtype == "PCM_16"
    assert all((made / name).is_file() for name in odd)


def test_every_usable_clip_is_speech_of_a_likely_length(made):
    takes = demo_takes.plan_takes(CLIPS, SEED)
    for take in takes:
        if take.pointer or take.fault in ("silent", "truncated"):
            continue
        samples, rate = soundfile.read(made / where(take), dtype="int16", always_2d=True)
        assert 1 < len(samples) / rate < 9
        if take.fault != "clipped":
            assert 300 < np.abs(samples.astype(int)).max() <= 0.9 * 32767 + 1


@pytest.mark.parametrize(
    ("title", "low", "high"), [("RAVDESS", 3, 4.7), ("CREMA-D", 2, 3.3), ("TESS", 1.5, 2.7), ("SAVEE", 3, 5)]
)
def test_lengths_are_near_those_of_the_corpus(made, title, low, high):
    seconds = [
        soundfile.info(made / where(take)).duration
        for take in demo_takes.plan_takes(CLIPS, SEED)
        if take.spec.info.title == title and not take.pointer
    ]
    assert low < np.median(seconds) < high


def chunks(data):
    """Names of the chunks of a RIFF or FORM file."""
    names, at, order = [], 12, "<I" if data[:4] == b"RIFF" else ">I"
    while at < len(data):
        names.append(data[at : at + 4])
        (size,) = struct.unpack(order, data[at + 4 : at + 8])
        at += 8 + size + size % 2
    return names


def test_no_header_has_room_for_a_time_stamp(made):
    for path in made.rglob("[!.]*.wav"):
        data = path.read_bytes()
        if data[:4] in (b"RIFF", b"FORM"):
            assert chunks(data) in ([b"fmt ", b"data"], [b"COMM", b"SSND"])


# the faults


def test_both_channels_of_the_stereo_file_are_one(made):
    samples, _ = soundfile.read(made / RAVDESS / "Actor_01/03-01-02-01-01-02-01.wav", dtype="int16")
    assert samples.shape[1] == 2
    assert samples.any()
    np.testing.assert_array_equal(samples[:, 0], samples[:, 1])


@pytest.mark.parametrize(
    ("first", "second", "emotions"),
    [
        (f"{RAVDESS}/Actor_07/03-01-03-01-02-01-07.wav", f"{RAVDESS}/Actor_07/03-01-03-01-02-02-07.wav", {"happy"}),
        (f"{CREMA_D}/1013_WSI_DIS_XX.wav", f"{CREMA_D}/1013_WSI_SAD_XX.wav", {"disgust", "sad"}),
    ],
)
def test_the_published_twins_are_twins_here(made, first, second, emotions):
    assert (made / first).read_bytes() == (made / second).read_bytes()
    parsed = [folders.corpus_info(TITLES[name.split("/")[0]]).parse(PurePath(name)) for name in (first, second)]
    assert {clip.emotion for clip in parsed} == emotions


def test_nothing_else_is_a_twin(made):
    counts = Counter(hashlib.sha256(path.read_bytes()).digest() for path in made.rglob("*.wav"))
    assert sorted(counts.values())[-3:] == [1, 2, 2]


def test_the_pointer_is_that_of_the_published_file(made):
    data = (made / CREMA_D / "1015_TIE_FEA_XX.wav").read_bytes()
    table = checksums.checksum_table("crema_d").set_index("path")
    row = table.loc["AudioWAV/1015_TIE_FEA_XX.wav"]
    assert len(data) == 130
    assert data.decode().split() == [
        *["version", "https://git-lfs.github.com/spec/v1", "oid"], f"sha256:{row['sha256']}", "size", str(row["bytes"])
    ]  # fmt: skip


def test_the_truncated_file_promises_more_than_follows(made):
    data = (made / RAVDESS / "Actor_05/03-01-06-01-02-01-05.wav").read_bytes()
    at = data.index(b"data")
    (promised,) = struct.unpack("<I", data[at + 4 : at + 8])
    assert 0.5 < (len(data) - at - 8) / promised < 0.7


def test_the_silent_file_is_below_any_speech_but_not_zero(made):
    samples, rate = soundfile.read(made / CREMA_D / "1076_MTI_SAD_XX.wav", dtype="int16")
    assert samples.size > 1.5 * rate
    assert np.abs(samples).max() == 1
    assert samples.sum() in (-1, 0, 1)


def test_the_clipped_file_has_fifty_samples_at_full_scale(made):
    samples, _ = soundfile.read(made / TESS / "OAF_Pleasant_surprise/OAF_pad_ps.wav", dtype="int16")
    assert np.diff(np.flatnonzero(samples == 32767)).tolist() == [1] * 49


def test_system_files_lie_between_the_clips(made):
    known = {where(take) for take in demo_takes.plan_takes(CLIPS, SEED)} | {
        f"{title}/{files.SYNTHETIC_MARKER}" for title in TITLES
    }
    known |= {"CREMA-D/VideoDemographics.csv", "CREMA-D/processedResults/tabulatedVotes.csv"}
    rest = content(made).keys() - known
    assert {PurePath(name).name for name in rest} == {
        ".DS_Store", "._03-01-01-01-01-01-01.wav", "Thumbs.db", stage.CHECKSUM_FILE,
    }  # fmt: skip
    assert all(files.is_system_file(PurePath(name)) for name in rest - {stage.CHECKSUM_FILE})


def test_every_clip_of_crema_d_has_votes_and_every_actor_is_in_the_table(made):
    takes = by_corpus(demo_takes.plan_takes(CLIPS, SEED))["crema_d"]
    heard = crema_d.parse_votes((made / "CREMA-D/processedResults/tabulatedVotes.csv").read_text(), "votes")
    assert set(heard) == {PurePath(take.path).stem for take in takes}
    assert {(way, sum(counts)) for clip in heard.values() for way, counts in clip.items()} == {
        (way, 10) for way in VOTE_COLUMNS.values()
    }
    actors = crema_d.parse_actors((made / "CREMA-D/VideoDemographics.csv").read_text(), "actors")
    page = folders.corpus_info("crema_d")
    assert actors == {take.speaker: page.speakers[take.speaker] for take in takes}


def test_votes_are_as_often_as_intended_as_those_of_listeners():
    takes = by_corpus(demo_takes.plan_takes(1500, SEED))["crema_d"]
    for way, share in (("voice", 0.400), ("face", 0.574), ("multimodal", 0.631)):
        right = [demo_takes.draw_votes(take, way, SEED)[VOTED_EMOTIONS.index(take.emotion)] for take in takes]
        assert sum(right) / (10 * len(takes)) == pytest.approx(share, abs=4 * 0.5 / (10 * len(takes)) ** 0.5)


@pytest.mark.parametrize("title", TITLES)
def test_each_corpus_says_that_it_is_none(made, title):
    text = (made / title / "SYNTHETIC.txt").read_text(encoding="utf-8")
    assert "Synthetic speech" in text
    assert "say nothing about people" in text
    assert f"no part of {title}" in text


# the stage


def test_an_older_demo_is_replaced_and_nothing_is_left_beside(tmp_path, capsys):
    folder = tmp_path / "raw" / "demo"
    (folder / "RAVDESS" / "Actor_99").mkdir(parents=True)
    (folder / "RAVDESS" / files.SYNTHETIC_MARKER).touch()
    left = tmp_path / "raw" / "demo.4711-0123abcd.tmp"  # by a process that was killed
    (left / "half").mkdir(parents=True)
    os.utime(left, (0, 0))
    count = stage.run(folder, clips=60, seed=SEED)
    assert [path.name for path in folder.parent.iterdir()] == ["demo"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "CREMA-D",
        "RAVDESS",
        "SAVEE",
        stage.CHECKSUM_FILE,
        "TESS",
    ]
    assert not (folder / "RAVDESS" / "Actor_99").exists()
    printed = capsys.readouterr().out
    assert printed.startswith(f"{count} clips, ")
    assert printed.count("\n") == 1


def test_what_is_not_the_demos_is_never_deleted(tmp_path):
    recording = tmp_path / "RAVDESS" / "Actor_01" / "mine.wav"
    recording.parent.mkdir(parents=True)
    recording.touch()
    with pytest.raises(CorpusError, match="it holds RAVDESS, not made by it: move it away"):
        stage.run(tmp_path, clips=60, seed=SEED)
    assert recording.exists()
    assert list(tmp_path.parent.glob("*.tmp")) == []


def test_main_reads_its_settings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    calls = []
    monkeypatch.setattr(stage, "run", lambda folder, **options: calls.append((folder.as_posix(), options)))
    (tmp_path / "params.yaml").write_text("seed: 3\ndata:\n  demo:\n    clips: 70\n    max_bad: 0.2\n")
    stage.main()
    assert calls == [("data/raw/demo", {"clips": 70, "seed": 3})]


@pytest.mark.parametrize(
    ("section", "message"), [("clips: 10", "clips is 10, expected 60"), ("clip: 70", "did you mean 'clips'")]
)
def test_a_wrong_setting_is_one_line_and_exit_one(tmp_path, monkeypatch, section, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(f"seed: 3\ndata:\n  demo:\n    {section}\n")
    with pytest.raises(SystemExit, match=message) as caught:
        machine.run_stage(stage.main)
    assert "\n" not in str(caught.value)  # sys.exit with text: on stderr, exit code 1
    assert list(tmp_path.iterdir()) == [tmp_path / "params.yaml"]
