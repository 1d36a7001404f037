"""A corpus folder in, a manifest out; every kind of bad file in it with its reason."""

import lzma
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.core import files, tables
from pipeline.core.errors import CorpusError, StoreError
from pipeline.corpora import checksums, ravdess
from pipeline.ingest import measure, stage

RATE = 16_000
LENIENT = measure.ClipLimits(max_bad=1.0)
SCHEMA = [
    *(
        "clip_id",
        "corpus",
        "path",
        "sha256",
        "samples_sha256",
        "emotion",
        "emotion_code",
        "intensity",
        "speaker",
        "sex",
    ),
    *("age", "statement", "repetition", "language", "votes_voice", "votes_face", "votes_multimodal", "sample_rate"),
    *("channels", "frames", "seconds", "peak_dbfs", "rms_dbfs", "status", "warnings", "detail"),
]


def say(path: Path, hertz: float = 200.0, *, seconds: float = 1.0, subtype="PCM_16", rate=RATE) -> Path:
    """Write a tone; each pitch is another recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def name(emotion="05", statement="01", repetition="01", actor="01", modality="03", channel="01"):
    return f"Actor_{actor}/{modality}-{channel}-{emotion}-01-{statement}-{repetition}-{actor}.wav"


def ingested(folder, tmp_path, corpus="ravdess", limits=LENIENT, processes=1):
    output = tmp_path / f"{corpus}.parquet"
    return stage.run(corpus, folder, output, limits=limits, processes=processes).set_index("path")


@pytest.fixture
def folder(tmp_path):
    """Ten clean clips."""
    root = tmp_path / "RAVDESS"
    for number in range(10):
        say(root / name(actor=f"{number + 1:02}"), 100 + 10 * number)
    return root


def test_the_manifest_is_as_designed(folder, tmp_path):
    ingested(folder, tmp_path)
    frame = tables.read_manifest(tmp_path / "ravdess.parquet")
    assert list(frame.columns) == SCHEMA
    row = frame.set_index("path").loc[name(actor="04")]
    assert row["clip_id"] == f"ravdess/{name(actor='04')}"
    assert (row["emotion"], row["emotion_code"], row["speaker"], row["sex"]) == ("angry", "05", "ravdess/04", "female")
    assert (row["sample_rate"], row["channels"], row["seconds"], row["status"]) == (RATE, 1, 1.0, "ok")
    assert list(frame["path"]) == sorted(frame["path"])


def test_every_bad_file_is_there_with_its_reason(folder, tmp_path):
    samples = 0.5 * np.sin(np.arange(RATE) / 10)
    (folder / name(statement="02")).write_text("this is no sound")
    (folder / name(statement="02", actor="02")).write_bytes(b"")
    broken = samples.copy()
    broken[5] = np.nan
    soundfile.write(folder / name(statement="02", actor="03"), broken, RATE, subtype="FLOAT")
    soundfile.write(folder / name(statement="02", actor="04"), samples[:1], RATE)
    say(folder / name(statement="02", actor="05"), seconds=600)
    say(folder / name(emotion="09", actor="06"), 301)
    (folder / name(statement="02", actor="07")).write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    )
    whole = say(folder / name(statement="02", actor="08"), 302).read_bytes()
    (folder / name(statement="02", actor="08")).write_bytes(whole[:5000])
    soundfile.write(folder / name(statement="02", actor="09"), np.zeros(RATE), RATE)
    say(folder / name(channel="02", actor="10"), 303)
    say(folder / "Actor_01/holiday.wav", 304)
    say(folder / name(statement="02", repetition="02"), 100)  # the samples of actor 01's first clip
    found = ingested(folder, tmp_path)
    assert found["status"].to_dict() == {
        **{name(actor=f"{actor:02}"): "ok" for actor in range(1, 11)},
        name(statement="02"): "unreadable",
        name(statement="02", actor="02"): "empty",
        name(statement="02", actor="03"): "not_finite",
        name(statement="02", actor="04"): "too_short",
        name(statement="02", actor="05"): "too_long",
        name(emotion="09", actor="06"): "unknown_name",
        name(statement="02", actor="07"): "lfs_pointer",
        name(statement="02", actor="08"): "truncated",
        name(statement="02", actor="09"): "silent",
        name(channel="02", actor="10"): "out_of_scope",
        "Actor_01/holiday.wav": "unknown_name",
        name(statement="02", repetition="02"): "duplicate",
    }
    assert (found.loc[found["status"] != "ok", "detail"] != "").all()
    assert set(found["status"]) <= {"ok", *tables.REJECTION_REASONS}


def test_a_second_label_on_the_same_samples_puts_both_in_doubt(folder, tmp_path):
    shutil.copy(folder / name(actor="03"), folder / name(emotion="04", actor="03"))
    found = ingested(folder, tmp_path)
    assert list(found.index[found["status"] == "label_conflict"]) == [name(emotion="04", actor="03"), name(actor="03")]


def test_a_doubled_tree_counts_once(folder, tmp_path):
    shutil.copytree(folder, folder / "audio_speech_actors_01-24")
    found = ingested(folder, tmp_path, limits=measure.ClipLimits(max_bad=0.0))
    assert (found["status"] == "ok").sum() == 10
    assert (found["status"] == "duplicate").sum() == 10


def test_of_two_files_of_one_name_the_first_stays(folder, tmp_path):
    """Edited or re-encoded copies under the original name have other samples."""
    say(folder / "edited" / Path(name(actor="02")).name, 555)
    found = ingested(folder, tmp_path)
    assert found.loc["edited/03-01-05-01-01-01-02.wav", "status"] == "duplicate"
    assert found.loc[name(actor="02"), "status"] == "ok"


def test_the_published_one_of_two_stays(folder, tmp_path, monkeypatch):
    copy = say(folder / "edited" / Path(name(actor="02")).name, 555)
    published = frozenset({measure.measure_file(copy, LENIENT, name="x").samples_sha256})
    monkeypatch.setattr(checksums, "published_hashes", lambda corpus: published)
    found = ingested(folder, tmp_path)
    assert found.loc["edited/03-01-05-01-01-01-02.wav", "status"] == "ok"
    assert found.loc[name(actor="02"), "status"] == "duplicate"


def test_system_files_are_counted_and_have_no_row(folder, tmp_path, capsys):
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "Actor_01/._03-01-05-01-01-01-01.wav").write_bytes(b"x")
    (folder / "readme.txt").write_text("not audio")
    assert len(ingested(folder, tmp_path)) == 10
    assert "2 system files ignored" in capsys.readouterr().out


def test_workers_change_nothing(folder, tmp_path):
    for processes in (1, 2):
        (tmp_path / str(processes)).mkdir()
        ingested(folder, tmp_path / str(processes), processes=processes)
    assert (tmp_path / "1/ravdess.parquet").read_bytes() == (tmp_path / "2/ravdess.parquet").read_bytes()


def test_a_folder_that_moved_gives_the_same_manifest(folder, tmp_path):
    ingested(folder, tmp_path)
    before = (tmp_path / "ravdess.parquet").read_bytes()
    ingested(folder.rename(tmp_path / "elsewhere"), tmp_path)
    assert (tmp_path / "ravdess.parquet").read_bytes() == before


@pytest.mark.parametrize("state", ["missing", "empty", "no audio", "a file"])
def test_a_corpus_that_is_not_there_is_an_error_with_the_remedy(tmp_path, state):
    root = tmp_path / "RAVDESS"
    if state == "a file":
        root.write_text("x")
    elif state != "missing":
        root.mkdir()
    if state == "no audio":
        (root / "notes.txt").write_text("x")
    with pytest.raises(CorpusError, match=r"dvc exp run -S data.corpora.ravdess=.* or take it out") as error:
        ingested(root, tmp_path)
    assert str(root) in str(error.value)
    assert not list(tmp_path.glob("*.parquet*"))


def test_a_folder_of_pointers_says_git_lfs_pull(folder, tmp_path, capsys):
    for path in folder.rglob("*.wav"):
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(CorpusError, match="10 of 10 files .* are lfs_pointer.*git lfs pull"):
        ingested(folder, tmp_path, limits=measure.ClipLimits())
    assert not list(tmp_path.glob("*.parquet*"))


def test_too_many_bad_files_stop_with_a_table_of_reasons(folder, tmp_path, capsys):
    (folder / name(statement="02")).write_bytes(b"")
    (folder / name(statement="02", actor="02")).write_bytes(b"text")
    with pytest.raises(CorpusError, match=r"2 of 12 files .* \(ingest.max_bad allows 10.0%\)"):
        ingested(folder, tmp_path, limits=measure.ClipLimits(max_bad=0.1))
    table = capsys.readouterr().err
    assert "1  empty" in table
    assert "1  unreadable" in table
    ingested(folder, tmp_path, limits=measure.ClipLimits(max_bad=0.2))


def test_a_failed_ingest_leaves_the_last_manifest(folder, tmp_path):
    ingested(folder, tmp_path)
    before = (tmp_path / "ravdess.parquet").read_bytes()
    (folder / name(statement="02")).write_bytes(b"")
    with pytest.raises(CorpusError):
        ingested(folder, tmp_path, limits=measure.ClipLimits())
    assert (tmp_path / "ravdess.parquet").read_bytes() == before


def test_an_empty_class_folder_is_a_broken_copy(tmp_path):
    root = tmp_path / "own"
    say(root / "happy/ann/1.wav", 100)
    (root / "Sad").mkdir()
    with pytest.raises(CorpusError, match="Sad holds no audio"):
        ingested(root, tmp_path, corpus="own")
    say(root / "Sad/ben/1.wav", 110)
    found = ingested(root, tmp_path, corpus="own")
    assert found["speaker"].to_dict() == {"happy/ann/1.wav": "own/ann", "Sad/ben/1.wav": "own/ben"}


def test_other_versions_of_crema_d_are_not_read(tmp_path):
    root = tmp_path / "CREMA-D"
    say(root / "AudioWAV/1001_DFA_ANG_XX.wav")
    (root / "AudioMP3").mkdir()
    (root / "AudioMP3/1001_DFA_ANG_XX.mp3").write_bytes(b"x")
    assert list(ingested(root, tmp_path, corpus="crema_d").index) == ["AudioWAV/1001_DFA_ANG_XX.wav"]


VOTES = """"","A","D","F","H","N","S","fileName","numResponses"
"100001",4,0,0,0,5,1,"1001_DFA_ANG_XX",10
"200001",9,1,0,0,0,0,"1001_DFA_ANG_XX",10
"300001",8,1,0,0,1,0,"1001_DFA_ANG_XX",10
"100002",0,0,2,0,2,0,"1002_DFA_FEA_XX",4
"""
ACTORS = """"ActorID","Age","Sex","Race","Ethnicity"
1001,51,"Male","Caucasian","Not Hispanic"
1002,22,"Male","Caucasian","Not Hispanic"
"""


@pytest.fixture
def crema_d(tmp_path):
    """Three clips of two actors as the publisher lays them out; of one there are no votes."""
    root = tmp_path / "CREMA-D"
    for number, stem in enumerate(("1001_DFA_ANG_XX", "1002_DFA_FEA_X", "1002_DFA_SAD_XX")):
        say(root / f"AudioWAV/{stem}.wav", 100 + 10 * number)
    (root / "processedResults").mkdir()
    (root / "VideoDemographics.csv").write_text(ACTORS)
    (root / "processedResults/tabulatedVotes.csv").write_text(VOTES)
    (root / "SentenceFilenames.csv").write_text('"Stimulus_Number","Filename"\n')
    return root


def voted(found):
    """By stem: the votes for voice, face and both."""
    told = found[["votes_voice", "votes_face", "votes_multimodal"]].itertuples()
    return {Path(path).stem: [None if each is None else list(each) for each in votes] for path, *votes in told}


NOBODY = [None, None, None]
HEARD = {
    "1001_DFA_ANG_XX": [[4, 0, 0, 0, 5, 1], [9, 1, 0, 0, 0, 0], [8, 1, 0, 0, 1, 0]],
    "1002_DFA_FEA_X": [[0, 0, 2, 0, 2, 0], None, None],
    "1002_DFA_SAD_XX": NOBODY,
}


def test_votes_and_actors_come_from_the_publisher_s_tables(crema_d, tmp_path, capsys):
    found = ingested(crema_d, tmp_path, corpus="crema_d")
    assert voted(found) == HEARD
    assert found["sex"].to_list() == ["male", "male", "male"]
    assert found["age"].to_list() == [51, 22, 22]
    said = capsys.readouterr().out
    assert "    2  with votes of listeners, from tabulatedVotes.csv" in said
    assert "    1  without votes" in said
    assert (
        "VideoDemographics.csv takes precedence, which differs for 1002 (female 21 in our list, male 22 in the table)"
        in said
    )
    assert "    1  not read: .csv" in said  # SentenceFilenames.csv


@pytest.mark.parametrize("packed", [False, True])
def test_the_tables_may_lie_beside_the_folder_of_the_audio(crema_d, tmp_path, packed):
    if packed:
        (crema_d / "processedResults/tabulatedVotes.csv").unlink()
        (crema_d / "tabulatedVotes.csv.xz").write_bytes(lzma.compress(VOTES.encode()))
    assert voted(ingested(crema_d / "AudioWAV", tmp_path, corpus="crema_d")) == HEARD


def test_without_the_tables_the_list_of_the_page_serves_and_nobody_has_voted(crema_d, tmp_path, capsys):
    (crema_d / "processedResults/tabulatedVotes.csv").unlink()
    (crema_d / "VideoDemographics.csv").unlink()
    found = ingested(crema_d, tmp_path, corpus="crema_d")
    assert set(map(tuple, voted(found).values())) == {tuple(NOBODY)}
    assert found["age"].to_list() == [51, 21, 21]
    said = capsys.readouterr().out
    assert (
        "missing: VideoDemographics.csv, tabulatedVotes.csv; download with 'ser-features corpora fetch crema_d'" in said
    )


def test_the_tables_of_a_corpus_are_not_looked_for_in_another(folder, tmp_path, capsys):
    (folder / "tabulatedVotes.csv").write_text("no table")
    ingested(folder, tmp_path)
    said = capsys.readouterr().out
    assert "not there" not in said
    assert "1  not read: .csv" in said


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tabulatedVotes.csv", "FileName,VoiceVote\n", r"lacks the columns an unnamed one, A, D, F, H, N, S, fileName"),
        ("tabulatedVotes.csv", VOTES.replace('"100001",4', '"100001",4.5'), r"line 2: '4.5' is no whole number"),
        ("tabulatedVotes.csv", VOTES.replace('"100001"', '"400001"'), r"line 2: 400001 begins with none of 1, 2, 3"),
        ("tabulatedVotes.csv", VOTES.replace('"200001"', '"100001"'), r"line 3: 1001_DFA_ANG_XX has other votes above"),
        ("tabulatedVotes.csv", "version https://git-lfs.github.com/spec/v1\n", r"pointer of git-lfs .* 'git lfs pull'"),
        ("tabulatedVotes.csv.xz", "no xz", r"tabulatedVotes.csv.xz cannot be read"),
        ("VideoDemographics.csv", ACTORS.replace("Male", "M"), r"line 2: Sex is 'M', expected Male or Female"),
        ("VideoDemographics.csv", ACTORS.replace("51", ""), r"line 2: '' is no whole number"),
        ("tabulatedVotes.csv", VOTES.replace("4,0,0", "3,0,0"), r"tabulatedVotes.csv .* differ: keep the one"),
    ],
)
def test_a_damaged_table_is_told_in_a_sentence(crema_d, tmp_path, name, content, said):
    if "differ" not in said:
        (crema_d / "processedResults/tabulatedVotes.csv").unlink()
    (crema_d / name).write_text(content)
    with pytest.raises(CorpusError, match=said):
        ingested(crema_d, tmp_path, corpus="crema_d")
    assert not list(tmp_path.glob("*.parquet*"))


def test_the_demo_is_marked(folder, tmp_path):
    ingested(folder, tmp_path)
    assert tables.read_manifest(tmp_path / "ravdess.parquet").attrs["synthetic"] is False
    (folder / files.SYNTHETIC_MARKER).write_text("synthetic")
    ingested(folder, tmp_path)
    assert tables.read_manifest(tmp_path / "ravdess.parquet").attrs["synthetic"] is True


def test_a_manifest_that_is_missing_or_damaged_names_the_stage(tmp_path):
    with pytest.raises(StoreError, match="run 'dvc repro ingest@tess'"):
        tables.read_manifest(tmp_path / "tess.parquet")
    (tmp_path / "tess.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(StoreError, match="run 'dvc repro -f ingest@tess'"):
        tables.read_manifest(tmp_path / "tess.parquet")


@pytest.mark.parametrize(
    ("corpus", "folder", "rows", "usable", "stereo"),
    [("ravdess", "RAVDESS", 1440, 1439, 5), ("emodb", "EmoDB", 422, 422, 0)],
)
def test_real_corpora_give_what_was_published(corpora, tmp_path, corpus, folder, rows, usable, stereo):
    found = ingested(corpora / folder, tmp_path, corpus=corpus, limits=measure.ClipLimits(), processes=2)
    assert (len(found), (found["status"] == "ok").sum()) == (rows, usable)
    assert found["warnings"].str.contains("stereo").sum() == stereo
    assert not found["warnings"].str.contains("clipped").any()
    assert set(found["status"]) - {"ok"} <= {"duplicate"}


def test_a_real_tree_held_twice_gives_each_clip_once_and_says_so(corpora, tmp_path, capsys):
    for place in ("R", "R/audio_speech_actors_01-24"):
        shutil.copytree(corpora / "RAVDESS/Actor_07", tmp_path / place / "Actor_07")
    found = ingested(tmp_path / "R", tmp_path, limits=measure.ClipLimits(), processes=2)
    assert found["status"].value_counts().to_dict() == {"ok": 59, "duplicate": 61}
    said = capsys.readouterr().out
    assert (
        "60 of the duplicates repeat a clip under the same name: the folder contains the corpus more than once" in said
    )
    assert "known of 3 duplicate: one take of actor 07 was published as two repetitions" in said
    assert "not known" not in said


def test_the_nested_mirror_of_tess_gives_each_clip_once_and_says_so(tmp_path, capsys):
    outer = tmp_path / "TESS Toronto emotional speech set data"
    for number, stem in enumerate(("OAF_angry/OAF_back_angry", "YAF_sad/YAF_bar_sad", "OAF_neutral/OA_bite_neutral")):
        for top in (outer, outer / outer.name):
            say(top / f"{stem}.wav", 200 + 50 * number, rate=24_414)
    found = ingested(outer, tmp_path, corpus="tess", limits=measure.ClipLimits())
    assert found["status"].value_counts().to_dict() == {"ok": 3, "duplicate": 3}
    assert (
        "3 of the duplicates repeat a clip under the same name: the folder contains the corpus more than once"
        in capsys.readouterr().out
    )


def test_a_fault_that_was_not_published_is_told_from_one_that_was(tmp_path, capsys):
    say(tmp_path / "T/OAF_Fear/OAF_food_fear.wav", rate=96_000)
    say(tmp_path / "T/OAF_Fear/OAF_back_fear.wav", 200, rate=16_000)
    say(tmp_path / "T/OAF_Fear/OAF_bar_fear.wav", 300, rate=24_414)
    found = ingested(tmp_path / "T", tmp_path, corpus="tess")
    assert list(found["warnings"]) == ["other_rate", "", "other_rate"]
    said = capsys.readouterr().out
    assert "known of 1 other_rate: it was published at 96,000 Hz" in said
    assert "not known of 1 other_rate: OAF_Fear/OAF_back_fear.wav" in said


def test_a_linked_folder_is_refused_not_passed_over(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (folder / "Actor_11").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorpusError, match="Actor_11 is a link to a folder"):
        ingested(folder, tmp_path)


def test_a_corpus_without_a_usable_clip_is_an_error(tmp_path):
    say(tmp_path / "RAVDESS" / name(channel="02"))
    with pytest.raises(CorpusError, match="none of the 1 files .* can be used: .* is a song"):
        ingested(tmp_path / "RAVDESS", tmp_path)
    assert not list(tmp_path.glob("*.parquet*"))


def test_files_that_are_no_audio_by_their_name_are_counted(folder, tmp_path, capsys):
    for number in range(3):
        (folder / f"{number}.m4a").write_bytes(b"x")
    ingested(folder, tmp_path)
    assert "    3  not read: .m4a" in capsys.readouterr().out


def test_one_voice_under_two_speakers_belongs_to_nobody(tmp_path):
    root = tmp_path / "own"
    say(root / "happy/ann/1.wav", 100)
    say(root / "happy/eve/2.wav", 100)
    say(root / "sad/eve/3.wav", 110)
    found = ingested(root, tmp_path, corpus="own")
    assert found["status"].to_dict() == {
        "happy/ann/1.wav": "label_conflict", "happy/eve/2.wav": "label_conflict", "sad/eve/3.wav": "ok",
    }  # fmt: skip


def test_the_manifest_tells_the_terms_of_its_corpus(folder, tmp_path):
    say(folder / "Actor_01" / name())
    ingested(folder, tmp_path)
    assert tables.read_manifest(tmp_path / "ravdess.parquet").attrs["about"] == {
        "title": "RAVDESS",
        "language": "en",
        "licence": "CC BY-NC-SA 4.0",
        "citation": ravdess.INFO.citation,
    }
