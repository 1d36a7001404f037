"""From any audio files to a shard, an npz or a CSV: the numbers of the store, whatever the order and the format."""

import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from pipeline import parallel
from pipeline.core import config
from pipeline.core.errors import SettingError
from pipeline.dataset import shards
from pipeline.extract import stage
from pipeline.extract.storage import Storage
from pipeline.ingest import measure
from pipeline.ingest import stage as ingest_stage
from pipeline.signal import extractor
from pipeline.signal.settings import variant_names
from pipeline.tools import feature_files
from pipeline.tools.find_audio import find_audio_files
from tests.paths import ROOT
from tests.sounds import phrase

RATE = 16_000
SETTINGS = extractor.settings_from_params(config.read_params(ROOT / "params.yaml"))
VARIANTS = variant_names(SETTINGS.augment)
FORMATS = ("parquet", "npz", "csv")


@pytest.fixture
def folder(tmp_path):
    """Five clips of two actors: WAV and FLAC, one at 48 kHz with sound in one of two channels, one longer than 3 s."""
    top = tmp_path / "RAVDESS"
    for number in range(1, 6):
        path = top / f"Actor_{number % 2 + 1:02}/03-01-0{number}-01-01-01-{number % 2 + 1:02}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number == 2:
            sound = phrase(number, 1.0, rate=48_000)
            soundfile.write(path.with_suffix(".flac"), np.stack([sound, 0 * sound], axis=1), 48_000)
        else:
            soundfile.write(path, phrase(number, 4.0 if number == 3 else 1.0), RATE)
    return top


@pytest.fixture
def stored(folder):
    """The shards that the stage writes for this folder."""
    manifest = folder.parent / "ravdess.parquet"
    ingest_stage.run("ravdess", folder, manifest, limits=measure.ClipLimits())
    outputs = {view: folder.parent / "features" / view / "ravdess.parquet" for view in extractor.DTYPES}
    place = Storage(str(folder.parent / "cache"))
    stage.run(folder, manifest, outputs, settings=SETTINGS, storage=place, executor=parallel.Executor(1))
    return outputs


def exported(
    paths, output: Path, view="logmel", copies=False, processes=1, settings=SETTINGS
) -> feature_files.ExportResult:
    texts = [str(path) for path in paths]
    return feature_files.export_features(
        texts, output, settings=settings, view=view, copies=copies, processes=processes
    )


def loaded(path: Path) -> tuple[pd.DataFrame, np.ndarray, shards.Layout]:
    file, layout = shards.open_shard(path)
    return shards.read_index(file).to_pandas(), np.concatenate(list(shards.read_tensors(file, layout))), layout


@pytest.mark.parametrize("view", extractor.DTYPES)
def test_the_numbers_of_the_store_to_the_bit(folder, stored, view):
    output = folder.parent / "mine.parquet"
    assert exported([folder], output, view, copies=True) == feature_files.ExportResult(20, ())
    mine, x, layout = loaded(output)
    theirs, expected, their_layout = loaded(stored[view])
    assert ("ravdess/" + mine["clip_id"]).tolist() == theirs["clip_id"].tolist()
    for column in ("variant", "key", "valid_frames"):
        assert mine[column].tolist() == theirs[column].tolist()
    assert x.dtype == expected.dtype == extractor.DTYPES[view]
    assert x.tobytes() == expected.tobytes()
    assert layout == their_layout
    assert len({tensor.tobytes() for tensor in x}) == 20
    assert all(tensor.astype(np.float32).std() > 1 for tensor in x)  # they sound


def test_only_the_original_unless_copies_are_asked_for(folder, stored):
    output = folder.parent / "mine.parquet"
    assert exported([folder], output).rows == 5
    mine, x, layout = loaded(output)
    theirs, expected, _ = loaded(stored["logmel"])
    here = theirs["variant"] == "original"
    assert mine["key"].tolist() == theirs["key"][here].tolist()
    assert x.tobytes() == expected[here].tobytes()
    assert layout.augment == {"original": {}}


@pytest.mark.parametrize("view", extractor.DTYPES)
def test_all_formats_hold_the_same(folder, view):
    for suffix in FORMATS:
        assert exported([folder], folder.parent / f"f.{suffix}", view, copies=True).rows == 20
    index, x, layout = loaded(folder.parent / "f.parquet")

    with np.load(folder.parent / "f.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["clip_id", "key", "layout", "rows", "valid_frames", "variant", "x"]
        assert arrays["x"].dtype == x.dtype
        assert arrays["x"].tobytes() == x.tobytes()
        for name in index:
            assert arrays[name].tolist() == index[name].tolist()
        assert tuple(arrays["rows"]) == layout.rows
        assert arrays["layout"].item() == json.dumps(vars(layout), sort_keys=True)

    lines = pd.read_csv(folder.parent / "f.csv")
    assert list(lines.columns) == ["clip_id", "variant", "frame", "seconds", *layout.rows]
    frames = layout.shape[0]
    assert lines["clip_id"].tolist() == np.repeat(index["clip_id"].to_numpy(), frames).tolist()
    assert lines["variant"].tolist() == np.repeat(index["variant"].to_numpy(), frames).tolist()
    assert lines["frame"].tolist() == list(range(frames)) * 20
    assert lines["seconds"].tolist() == pytest.approx([0.02 * frame for frame in range(frames)] * 20)
    values = lines[list(layout.rows)].to_numpy()
    assert values.astype(x.dtype).reshape(x.shape).tobytes() == x.tobytes()
    np.testing.assert_array_equal(values.astype(np.float32), x.astype(np.float32).reshape(values.shape))


def test_the_seconds_of_a_frame_are_those_of_its_centre(tmp_path):
    """A click in a quiet clip is loudest in the frame whose seconds are the click's."""
    sound = np.full(2 * RATE, 1e-4)
    sound[::2] *= -1
    sound[round(1.22 * RATE)] = 0.9
    soundfile.write(tmp_path / "click.wav", sound, RATE, subtype="FLOAT")
    whole = replace(SETTINGS, audio=replace(SETTINGS.audio, trim_db=None))
    exported([tmp_path / "click.wav"], tmp_path / "f.csv", settings=whole)
    lines = pd.read_csv(tmp_path / "f.csv")
    bands = lines[[name for name in lines if name.startswith("mel_")]]
    assert lines["seconds"][bands.sum(axis=1).idxmax()] == 1.22


@pytest.mark.parametrize("suffix", FORMATS)
def test_order_workers_and_batches_change_no_byte(folder, suffix, monkeypatch):
    files = sorted(folder.rglob("*.*"))
    one, two, three = (folder.parent / f"{name}.{suffix}" for name in ("one", "two", "three"))
    exported([folder], one, copies=True)
    exported([folder / "Actor_02", *files[::-1], folder], two, copies=True, processes=2)
    assert one.read_bytes() == two.read_bytes()
    monkeypatch.setattr(feature_files, "CLIPS_PER_RUN", 2)
    exported([folder], three, copies=True)
    assert one.read_bytes() == three.read_bytes()


def test_few_clips_are_held_at_a_time(folder, monkeypatch):
    held = []
    real = shards.rows_to_arrow
    monkeypatch.setattr(shards, "rows_to_arrow", lambda rows, *rest: held.append(rows.clip_id) or real(rows, *rest))
    monkeypatch.setattr(shards, "GROUP_BYTES", 2 * 151 * 64 * 2)
    exported([folder], folder.parent / "f.parquet")
    assert [len(clips) for clips in held] == [2, 2, 1]
    monkeypatch.undo()
    exported([folder], folder.parent / "g.parquet")
    (index, x, layout), (other, y, same) = (loaded(folder.parent / name) for name in ("f.parquet", "g.parquet"))
    assert index.equals(other)
    assert layout == same
    assert x.tobytes() == y.tobytes()


def test_files_folders_and_patterns(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    every = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.*"))]
    assert list(find_audio_files(["RAVDESS"])) == list(find_audio_files([str(folder)])) == every
    assert list(find_audio_files(["RAVDESS/**/*.*"])) == list(find_audio_files(["RAVDESS/*"])) == every
    assert list(find_audio_files(["RAVDESS/**"])) == every
    assert [f"RAVDESS/{name}" for name in every] == list(find_audio_files(["**/*.wav", "**/*.flac"]))
    assert list(find_audio_files(["RAVDESS/*/*.flac"])) == ["Actor_01/03-01-02-01-01-01-01.flac"] == every[:1]


def test_names_begin_below_the_folder_that_all_paths_share(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    one = "03-01-01-01-01-01-02.wav"
    assert list(find_audio_files([f"RAVDESS/Actor_02/{one}"])) == [one]
    assert next(iter(find_audio_files(["RAVDESS/Actor_02"]))) == one
    assert list(find_audio_files(["RAVDESS/Actor_02", "RAVDESS/Actor_01"]))[-1].startswith("Actor_02/")
    shutil.copytree(folder, "other/RAVDESS")
    names = list(find_audio_files([f"other/RAVDESS/Actor_02/{one}", f"RAVDESS/Actor_02/{one}"]))
    assert names == [f"RAVDESS/Actor_02/{one}", f"other/RAVDESS/Actor_02/{one}"]


def test_a_file_that_several_paths_name_is_taken_once(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "link").symlink_to(folder / "Actor_02")
    name = "03-01-01-01-01-01-02.wav"
    paths = [f"Actor_02/{name}", "Actor_02/03-01-01*", f"Actor_01/../Actor_02/{name}", f"link/{name}"]
    assert find_audio_files(paths) == {name: folder.resolve() / "Actor_02" / name}


def test_names_full_of_signs_and_files_of_the_system(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    for name in ("take[1].wav", "take1.wav", 'a,"b".WAV', "ä ö.flac", "._take1.wav", "notes.txt", ".DS_Store"):
        (tmp_path / "clips" / name).touch()
    assert list(find_audio_files(["clips/take[1].wav"])) == ["take[1].wav"]
    assert list(find_audio_files(["clips/take[1-2].wav"])) == ["take1.wav"]
    assert (
        list(find_audio_files(["clips"]))
        == list(find_audio_files(["clips/*"]))
        == ['a,"b".WAV', "take1.wav", "take[1].wav", "ä ö.flac"]
    )
    assert list(find_audio_files(["clips/notes.txt"])) == ["notes.txt"]  # who names a file means it


def test_awkward_names_survive_all_formats(tmp_path):
    name = 'a, "b"\'s ö $1.wav'
    soundfile.write(tmp_path / name, phrase(3, 1.0), RATE)
    for suffix in FORMATS:
        exported([tmp_path / name], tmp_path / f"f.{suffix}")
    assert loaded(tmp_path / "f.parquet")[0]["clip_id"].tolist() == [name]
    assert np.load(tmp_path / "f.npz")["clip_id"].tolist() == [name]
    assert set(pd.read_csv(tmp_path / "f.csv")["clip_id"]) == {name}


@pytest.mark.parametrize("path", ["nothing.wav", "nothing/*.wav", "**/*.mp3", "empty", "empty/**"])
def test_a_path_that_matches_nothing_is_named(folder, monkeypatch, path):
    monkeypatch.chdir(folder.parent)
    Path("empty").mkdir()
    with pytest.raises(SettingError) as raised:
        exported(["RAVDESS", path], Path("f.parquet"))
    assert str(raised.value) == f"{path} {'holds' if path == 'empty' else 'matches'} no audio file: check the path."
    assert not Path("f.parquet").exists()


@pytest.mark.parametrize("name", ["f.txt", "f", "f.parquet.gz", "f.PNG"])
def test_another_suffix_is_refused_before_any_work(folder, name, monkeypatch):
    monkeypatch.setattr(feature_files, "extract_rows", lambda *args, **kwargs: pytest.fail("worked"))
    with pytest.raises(SettingError, match="expected one of .parquet, .npz, .csv"):
        exported([folder], folder.parent / name)


def spoil(folder: Path) -> list[str]:
    """Put one file of each bad sort among the good ones; give a word of each sentence expected, by name."""
    good = (folder / "Actor_02/03-01-01-01-01-01-02.wav").read_bytes()
    (folder / "b_cut.wav").write_bytes(good[:2000])
    (folder / "c_empty.wav").touch()
    (folder / "d_pointer.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    (folder / "e_text.wav").write_text("no sound")
    soundfile.write(folder / "f_zero.wav", np.zeros(0), RATE)
    return ["b_cut.wav", "c_empty.wav", "d_pointer.wav", "e_text.wav", "f_zero.wav"]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("suffix", FORMATS)
def test_bad_files_stop_nothing_but_themselves(folder, suffix, processes):
    clean, spoilt = folder.parent / f"clean.{suffix}", folder.parent / f"spoilt.{suffix}"
    exported([folder], clean)
    bad = spoil(folder)
    outcome = exported([folder], spoilt, processes=processes)
    assert outcome.rows == 5
    assert [Path(failure.split(" ")[0]).name for failure in outcome.failures] == bad
    assert all(failure.endswith(".") and "\n" not in failure for failure in outcome.failures)
    assert clean.read_bytes() == spoilt.read_bytes()


def test_where_no_file_is_good_the_output_is_left_alone(folder):
    output = folder.parent / "f.parquet"
    exported([folder], output)
    before = output.read_bytes()
    assert exported([folder / name for name in spoil(folder)], output).rows == 0
    assert output.read_bytes() == before


def test_a_name_that_is_no_utf_8_is_a_bad_file(folder):
    path = os.fsencode(folder) + b"/Actor_01/\xff.wav"
    try:
        shutil.copy(folder / "Actor_02/03-01-01-01-01-01-02.wav", path)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    outcome = exported([folder], folder.parent / "f.csv")
    assert outcome.rows == 5
    assert len(outcome.failures) == 1
    assert "xff.wav' is no UTF-8 name: rename the file." in outcome.failures[0]


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_error_in_the_middle_leaves_the_old_output(folder, suffix, monkeypatch):
    def breaking(named, **keys):
        count.append(named)
        if len(count) > 2:
            raise SettingError("it breaks off")
        return make(named, **keys)

    make, count = feature_files.extract_rows, []
    output = folder.parent / f"f.{suffix}"
    exported([folder], output)
    before = output.read_bytes()
    monkeypatch.setattr(feature_files, "extract_rows", breaking)
    with pytest.raises(SettingError, match="it breaks off"):
        exported([folder], output)
    assert output.read_bytes() == before
    assert len(count) == 3
    assert not list(folder.parent.glob("*.tmp"))


def test_csv_numbers_read_back_whatever_they_are():
    """All float16, and float32 of every size, through the text and back to the same bits."""
    from pipeline.tools import feature_files

    rng = np.random.default_rng(5)
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    singles = rng.integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    for values in (halves[np.isfinite(halves)], singles[np.isfinite(singles)]):
        x = values[: len(values) // 4 * 4].reshape(1, -1, 4)
        layout = shards.Layout(
            view="v", shape=x.shape[1:], dtype=x.dtype.name, unit="", rows=tuple("abcd"), identity={}, augment={}
        )
        rows = shards.FeatureRows(["k"], x, np.ones(1, np.int32), ["c"], ["original"])
        sink = io.BytesIO()
        table = feature_files.csv_lines(rows, feature_files.csv_schema(layout), np.arange(x.shape[1]) * 0.01)
        feature_files.pa.csv.write_csv(table, sink)
        read = pd.read_csv(io.BytesIO(sink.getvalue()))[list("abcd")].to_numpy().astype(x.dtype)
        np.testing.assert_array_equal(read, x[0])
