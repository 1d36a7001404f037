"""From a manifest to shards: the same bytes for any number of workers, nothing made twice, librosa's numbers."""

import os
import threading
import time
from dataclasses import fields, replace
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile

from pipeline import parallel
from pipeline.audio import decode
from pipeline.core import config, tables
from pipeline.core.errors import SerError, StoreError
from pipeline.dataset import shards
from pipeline.extract import cache as extract_cache
from pipeline.extract import cluster, stage, worker, writer
from pipeline.extract.storage import Storage
from pipeline.ingest import measure
from pipeline.ingest import stage as ingest_stage
from pipeline.signal import augment, extractor, preprocess, views
from pipeline.signal import settings as signal_settings
from pipeline.signal.settings import Audio, Augment, variant_names
from tests.paths import ROOT
from tests.sounds import phrase

RATE = 16_000
PARAMS = config.read_params(ROOT / "params.yaml")
SETTINGS = extractor.settings_from_params(PARAMS)


@pytest.fixture
def corpus(tmp_path):
    """Six clips of two actors, and their manifest."""
    folder = tmp_path / "RAVDESS"
    for number in range(6):
        path = folder / f"Actor_{number % 2 + 1:02}/03-01-05-01-01-0{number % 2 + 1}-{number % 2 + 1:02}.wav"
        path = path.with_name(f"03-01-0{number + 1}-01-01-01-{number % 2 + 1:02}.wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, phrase(number, 1.5), RATE)
    ingest_stage.run("ravdess", folder, tmp_path / "ravdess.parquet", limits=measure.ClipLimits())
    return folder


def extracted(
    folder: Path, out: str = "features", settings=SETTINGS, processes=1, cache="cache", scheduler="", part=None
) -> dict[str, Path]:
    base = folder.parent
    outputs = {view: base / out / view / "ravdess.parquet" for view in extractor.DTYPES}
    stage.run(
        folder,
        base / "ravdess.parquet",
        outputs,
        settings=settings,
        storage=Storage(str(base / cache)),
        executor=parallel.Executor(processes, cluster.cluster_mapper(scheduler)),
        part=part,
    )
    return outputs


def row_keys(view, settings=SETTINGS, samples_sha256="ab" * 32, sample_rate=RATE) -> list[str]:
    """The keys of a clip's rows, in the order of the variants."""
    (keys,) = extractor.row_keys(settings, [view], [(samples_sha256, sample_rate)])
    assert tuple(keys[view]) == variant_names(settings.augment)
    return list(keys[view].values())


def segments_of(cache: Path, view: str = "") -> list[Path]:
    return sorted(cache.glob(f"{view}*/*.arrow"))


def rows_in(cache: Path) -> dict[str, set[str]]:
    """The keys of the finished rows, by drawer."""
    found = {}
    for path in segments_of(cache):
        found.setdefault(path.parent.name, []).extend(extract_cache.read_segment(path).key)
    assert all(len(keys) == len(set(keys)) for keys in found.values()), "a row was made twice"
    return {name: set(keys) for name, keys in found.items()}


def loaded(path: Path) -> tuple[pd.DataFrame, np.ndarray, shards.Layout]:
    file, layout = shards.open_shard(path)
    return shards.read_index(file).to_pandas(), np.concatenate(list(shards.read_tensors(file, layout))), layout


def test_four_rows_a_clip_in_the_layout_of_the_design(corpus):
    for view, path in extracted(corpus).items():
        index, tensors, layout = loaded(path)
        assert list(index.columns) == ["clip_id", "variant", "key", "valid_frames"]
        assert index.groupby("clip_id")["variant"].apply(list).tolist() == [list(variant_names(SETTINGS.augment))] * 6
        assert index["key"].is_unique
        assert (layout.view, layout.dtype) == (view, extractor.DTYPES[view])
        assert tensors.shape == (24, *layout.shape)
        assert layout.shape == (151, {"mfcc": 22, "logmel": 64}[view])
        assert len(layout.rows) == layout.shape[1]
        assert len({tensor.tobytes() for tensor in tensors}) == 24  # no row is another one's copy
        assert tensors.astype(np.float32).std() > 1  # and it sounds


def test_workers_and_order_change_no_byte(corpus):
    one = extracted(corpus, "one", processes=1, cache="a")
    two = extracted(corpus, "two", processes=2, cache="b")
    for view in extractor.DTYPES:
        assert one[view].read_bytes() == two[view].read_bytes()


def test_nothing_is_made_twice(corpus, capsys, monkeypatch):
    first = extracted(corpus, "first")
    assert "0 from the clip cache, 6 to extract" in capsys.readouterr().out
    monkeypatch.setattr(decode, "decode_audio", lambda *args, **kwargs: pytest.fail("decoded again"))
    again = extracted(corpus, "again")
    assert "6 from the clip cache, 0 to extract" in capsys.readouterr().out
    assert first["logmel"].read_bytes() == again["logmel"].read_bytes()


@pytest.fixture
def small_groups(monkeypatch):
    """Row groups of one clip, and batches of four and two: there is something to write before all is made."""
    monkeypatch.setattr(shards, "GROUP_BYTES", 1)


def wait_for(condition) -> None:
    """Give other threads ten seconds."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.01)


def test_shards_are_written_while_clips_are_made(corpus, small_groups, monkeypatch):
    expected, work = extracted(corpus, "quiet", cache="other"), worker.process_batch

    def late(some, **options):
        if some.first == 4:  # the first four clips are made: their row groups go out before the others are begun
            wait_for(lambda: written.count("mfcc") == written.count("logmel") == 4)
        return work(some, **options)

    written, table = [], shards.rows_to_arrow
    monkeypatch.setattr(worker, "process_batch", late)
    monkeypatch.setattr(
        shards, "rows_to_arrow", lambda rows, layout, schema: written.append(layout.view) or table(rows, layout, schema)
    )
    found = extracted(corpus)
    assert {view: path.read_bytes() for view, path in found.items()} == {
        view: path.read_bytes() for view, path in expected.items()
    }


def test_no_shard_is_left_where_the_making_fails_halfway(corpus, small_groups, monkeypatch):
    work, written = worker.process_batch, []
    table = shards.rows_to_arrow

    def failing(some, **options):
        if some.first == 4:
            wait_for(lambda: written)
            raise KeyboardInterrupt
        return work(some, **options)

    monkeypatch.setattr(worker, "process_batch", failing)
    monkeypatch.setattr(shards, "rows_to_arrow", lambda rows, *others: written.append(1) or table(rows, *others))
    with pytest.raises(KeyboardInterrupt):
        extracted(corpus)
    assert not [path for path in (corpus.parent / "features").rglob("*") if path.is_file()]
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_a_shard_that_cannot_be_written_stops_no_extraction(corpus):
    blocked = corpus.parent / "features/mfcc"
    blocked.parent.mkdir()
    blocked.write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"mfcc.*Finished work is saved: move what is in its place and run again"):
        extracted(corpus)
    assert [len(keys) for keys in rows_in(corpus.parent / "cache").values()] == [24, 24]
    assert not (corpus.parent / "features/mfcc/ravdess.parquet").exists()


def test_what_another_process_makes_is_left_to_it_until_all_else_is_done(corpus, capsys):
    """It holds the first of two batches; the second is made meanwhile, then the first is waited for."""
    place = Storage(str(corpus.parent / "cache"))
    rows, keys = named(corpus.parent / "ravdess.parquet")
    pieces = [
        worker.ClipTask(row["path"], row["sha256"], row["samples_sha256"], own)
        for row, own in zip(rows, keys, strict=True)
    ]
    first, second = stage.make_batches(pieces)
    thread = threading.Thread(target=extracted, args=[corpus])
    with place.lock(first.name) as held:
        assert held
        thread.start()
        wait_for(lambda: len(segments_of(place.folder)) == 2)
        thread.join(0.3)
        assert thread.is_alive(), "it did not wait"
        assert worker.process_batch(first, folder=corpus, settings=SETTINGS, storage=place, wait=False).busy
    thread.join(20)
    assert [len(keys) for keys in rows_in(place.folder).values()] == [24, 24]
    assert worker.process_batch(second, folder=corpus, settings=SETTINGS, storage=place).made == 0
    assert all(path.exists() for path in extracted(corpus).values())
    assert "6 from the clip cache, 0 to extract" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("order", "reached"), [([0, 4, 8], [4, 8, 10]), ([8, 4, 0], [0, 0, 10]), ([4, 0, 8], [0, 8, 10])]
)
def test_the_front_is_where_the_first_gap_is(order, reached):
    front, found = writer.CacheProgress([0, 4, 8], 10), []
    for first in order:
        front.finish(first)
        found.append(max(count for count in range(11) if min(front.unfinished, default=front.total) >= count))
        front.wait_for(found[-1])  # returns at once
    assert found == reached
    front.stop()
    with pytest.raises(writer.StoppedError):
        front.wait_for(1)


def test_what_killed_processes_left_of_a_shard_goes_after_an_hour(corpus):
    folder = corpus.parent / "features/mfcc"
    folder.mkdir(parents=True)
    old, young, other = (
        folder / f"{name}.tmp"
        for name in ("ravdess.parquet.1-0000000a", "ravdess.parquet.2-0000000b", "x.parquet.1-0000000a")
    )
    for path in (old, young, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (time.time() - 4000,) * 2)
    extracted(corpus)
    assert {path.name for path in folder.iterdir()} == {"ravdess.parquet", young.name, other.name}


def test_a_new_clip_is_the_only_one_extracted(corpus, capsys):
    extracted(corpus)
    soundfile.write(corpus / "Actor_01/03-01-07-01-01-01-01.wav", phrase(9, 1.5), RATE)
    ingest_stage.run("ravdess", corpus, corpus.parent / "ravdess.parquet", limits=measure.ClipLimits())
    extracted(corpus)
    assert "7 clips × 4 rows, 6 from the clip cache, 1 to extract" in capsys.readouterr().out


def test_a_setting_of_one_view_leaves_the_other_alone(corpus, capsys):
    before = extracted(corpus, "before")
    capsys.readouterr()
    mfcc = replace(SETTINGS.features.mfcc, n_mfcc=30)
    changed = replace(SETTINGS, features=replace(SETTINGS.features, mfcc=mfcc))
    after = extracted(corpus, "after", settings=changed)
    assert before["logmel"].read_bytes() == after["logmel"].read_bytes()
    assert loaded(after["mfcc"])[1].shape[2] == 32
    assert "0 from the clip cache, 6 to extract" in capsys.readouterr().out
    log_mels = [drawer for drawer in rows_in(corpus.parent / "cache") if drawer.startswith("logmel")]
    assert len(log_mels) == 1  # no log-mel row was made again, though the clips were decoded


def test_a_pitch_range_leaves_original_and_noise_keys_alone():
    changed = replace(SETTINGS, augment=replace(SETTINGS.augment, pitch=(-3.0, 3.0)))
    old, new = (row_keys("logmel", s) for s in (SETTINGS, changed))
    same = dict(zip(variant_names(SETTINGS.augment), [a == b for a, b in zip(old, new, strict=True)], strict=True))
    assert same == {"original": True, "noise": True, "pitch": False, "pitch+noise": False}


OTHER = {
    int: lambda v: v + 2 if v else 1,
    float: lambda v: v / 2 + 1,
    bool: lambda v: not v,
    type(None): lambda v: 4000.0,
}
WORDS = {"pad": "features", "reference": "max", "normalise": "clip"}


@pytest.mark.parametrize(
    ("view", "section", "field"),
    [
        (view, section, field.name)
        for view, cls in (("mfcc", signal_settings.Mfcc), ("logmel", signal_settings.LogMel))
        for section, owner in (("audio", Audio), (view, cls))
        for field in fields(owner)
    ],
)
def test_every_setting_is_in_the_key(view, section, field):
    def changed(config):
        value = getattr(config, field)
        return replace(config, **{field: WORDS.get(field) or OTHER[type(value)](value)})

    if section == "audio":
        other = replace(SETTINGS, audio=changed(SETTINGS.audio))
    else:
        own = {section: changed(getattr(SETTINGS.features, section))}
        other = replace(SETTINGS, features=replace(SETTINGS.features, **own))
    old, new = (row_keys(view, s) for s in (SETTINGS, other))
    assert not set(old) & set(new)


@pytest.mark.parametrize("change", [{"samples_sha256": "cd" * 32}, {"sample_rate": 48_000}])
def test_the_recording_is_in_the_key(change):
    facts_of = {"samples_sha256": "ab" * 32, "sample_rate": RATE}
    old, new = (row_keys("mfcc", **(facts_of | each)) for each in ({}, change))
    assert not set(old) & set(new)


@pytest.mark.parametrize("module", [decode, preprocess, views])
def test_a_raised_version_makes_all_keys_new(module, monkeypatch):
    old = row_keys("mfcc")
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    assert not set(old) & set(row_keys("mfcc"))


def test_a_raised_version_of_augmentation_spares_the_original(monkeypatch):
    old = row_keys("mfcc")
    monkeypatch.setattr(augment, "VERSION", augment.VERSION + 1)
    new = row_keys("mfcc")
    assert [a == b for a, b in zip(old, new, strict=True)] == [True, False, False, False]


def test_the_key_of_a_known_recording_is_frozen():
    """Whoever changes it on purpose raises a VERSION, or every cache serves old numbers."""
    assert row_keys("logmel")[0][:16] == "4ce0da20038d2538"


@pytest.mark.parametrize("place", ["start", "keys", "tensor", "end", "cut", "empty"])
def test_a_damaged_segment_is_found_reported_and_made_again(corpus, capsys, place):
    first = extracted(corpus, "first")
    whole = {path: path.read_bytes() for path in segments_of(corpus.parent / "cache")}
    victim = segments_of(corpus.parent / "cache", "logmel")[-1]
    victim.write_bytes(damaged(victim.read_bytes(), place))
    capsys.readouterr()
    again = extracted(corpus, "again")
    seen = capsys.readouterr()
    assert f"{victim} is damaged and was deleted" in seen.err
    assert "2 from the clip cache, 4 to extract" in seen.out or "4 from the clip cache, 2 to extract" in seen.out
    assert {path: path.read_bytes() for path in segments_of(corpus.parent / "cache")} == whole
    for view in extractor.DTYPES:
        assert first[view].read_bytes() == again[view].read_bytes()


def damaged(data: bytes, place: str) -> bytes:
    """Flip one bit, or lose the end."""
    if place in ("cut", "empty"):
        return data[: {"cut": len(data) // 2, "empty": 0}[place]]
    at = {"start": 3, "keys": data.index(b"ARROW1") + 1500, "tensor": len(data) // 2, "end": len(data) - 40}[place]
    return data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]


def test_a_changed_file_is_named_and_loses_nothing_else(corpus):
    victim = corpus / "Actor_01/03-01-03-01-01-01-01.wav"
    whole = victim.read_bytes()
    soundfile.write(victim, phrase(30, 1.5), RATE)
    with pytest.raises(SerError, match="1 of 6 clips could not be read.*03-01-03.*changed since it was ingested"):
        extracted(corpus)
    assert not [path for path in (corpus.parent / "features").rglob("*") if path.is_file()]
    assert [len(keys) for keys in rows_in(corpus.parent / "cache").values()] == [20, 20]  # the other five, both views
    victim.write_bytes(whole)
    extracted(corpus)


def test_valid_frames_say_where_the_padding_begins(corpus):
    index, tensors, _ = loaded(extracted(corpus)["logmel"])
    for row in range(0, 24, 4):
        frames = int(index["valid_frames"][row])
        assert 60 < frames < 151
        silence = tensors[row, frames + 4 :].astype(np.float32)
        assert silence.max() == silence.min() < tensors[row, : frames - 4].max() - 70


def test_a_shard_that_is_none_names_the_stage(tmp_path):
    path = tmp_path / "tess.parquet"
    with pytest.raises(StoreError, match="run 'dvc repro extract@tess'"):
        shards.open_shard(path)
    path.write_bytes(b"nothing")
    with pytest.raises(StoreError, match="run 'dvc repro -f extract@tess'"):
        shards.open_shard(path)


def librosas(signal: np.ndarray) -> dict[str, np.ndarray]:
    """The views by librosa's own calls, time first."""
    options = {"y": signal, "sr": RATE, "n_fft": 1024, "hop_length": 320, "n_mels": 64}
    mel = librosa.power_to_db(librosa.feature.melspectrogram(**options))
    mfcc = librosa.feature.mfcc(n_mfcc=20, **options)
    zcr = librosa.feature.zero_crossing_rate(signal, frame_length=1024, hop_length=320)
    rms = librosa.feature.rms(y=signal, frame_length=1024, hop_length=320)
    return {"logmel": mel.T, "mfcc": np.vstack([zcr, rms, mfcc]).T}


def test_real_clips_equal_librosa_from_file_to_view(corpora):
    """Mix, resample, trim, fit and analyse with librosa alone, then compare before rounding to the stored dtype."""
    paths = sorted(corpora.glob("RAVDESS/*/*.flac"))[::97] + sorted(corpora.glob("EmoDB/wav/*.flac"))[::53]
    assert len(paths) > 20
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        signal = librosa.resample(librosa.to_mono(samples.T), orig_sr=rate, target_sr=RATE, res_type="soxr_hq")
        trimmed, _ = librosa.effects.trim(signal, top_db=30)
        expected = librosas(librosa.util.fix_length(trimmed, size=3 * RATE))
        ours = preprocess.fix_length(
            preprocess.preprocess_signal(decode.load_signal(path, RATE), SETTINGS.audio), SETTINGS.samples
        )
        found = views.compute_views(ours, RATE, {"mfcc": SETTINGS.features.mfcc, "logmel": SETTINGS.features.logmel})
        for view in extractor.DTYPES:
            assert np.abs(found[view] - expected[view]).max() <= 1e-3, (path.name, view)


@pytest.mark.parametrize("seconds", [1.1, 1.8, 2.5])
def test_what_is_made_together_changes_no_number(tmp_path, seconds):
    """The vocoder may take over the spectrum of a view; it must not matter whether that view is wanted."""
    path = tmp_path / "x.wav"
    soundfile.write(path, phrase(3, 1.5), RATE)
    features = replace(SETTINGS.features, logmel=views.LogMel(n_fft=2048, hop=512))
    settings = replace(
        SETTINGS, features=features, audio=replace(SETTINGS.audio, seconds=seconds),
        augment=Augment(copies=("pitch", "stretch", "pitch+noise")),
    )  # fmt: skip
    names, recording = variant_names(settings.augment), decode.read_recording(path)
    together = extractor.extract_features(recording, settings, "ab" * 32, dict.fromkeys(extractor.DTYPES, names))
    for view in extractor.DTYPES:
        for number, name in enumerate(names):
            alone = extractor.extract_features(recording, settings, "ab" * 32, {view: (name,)})[view]
            assert alone.tensors[0].tobytes() == together[view].tensors[number].tobytes()


def test_a_window_is_cut_before_it_is_resampled(tmp_path):
    """As the published systems do it: what lies outside the window does not ring into it."""
    path, rate = tmp_path / "x.wav", 48_000
    noise = 0.3 * np.random.default_rng(1).standard_normal(4 * rate)
    soundfile.write(path, noise, rate)
    settings = Audio(sample_rate=22_050, trim_db=None, offset=0.6, seconds=2.5)
    found = extractor.prepare_signal(decode.read_recording(path), settings)
    window, _ = soundfile.read(path, start=round(0.6 * rate), frames=round(2.5 * rate), dtype="float32")
    expected = librosa.resample(window, orig_sr=rate, target_sr=22_050)  # what librosa.load does
    assert found.shape == expected.shape == (55_125,)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    part = extractor.decode_clip(path, settings, sha256="")
    assert (part.first, part.samples.shape) == (28_800, (120_000, 1))
    assert extractor.prepare_signal(part, settings).tobytes() == found.tobytes()
    short = extractor.prepare_signal(decode.read_recording(path), replace(settings, offset=3.9))
    assert len(short) == 2205
    assert extractor.prepare_signal(decode.read_recording(path), replace(settings, offset=9.0)).tolist() == [0.0]


def test_the_stored_rows_are_the_views_rounded_once(corpus):
    outputs = extracted(corpus)
    row = tables.manifest_records(tables.read_manifest(corpus.parent / "ravdess.parquet"))[0]
    wanted = dict.fromkeys(extractor.DTYPES, variant_names(SETTINGS.augment))
    made = extractor.extract_features(
        decode.read_recording(corpus / row["path"]), SETTINGS, row["samples_sha256"], wanted
    )
    for view, path in outputs.items():
        index, tensors, _ = loaded(path)
        here = index["clip_id"] == row["clip_id"]
        np.testing.assert_array_equal(tensors[here], made[view].tensors)


def test_a_batch_of_which_one_view_was_kept_makes_the_other_alone(corpus):
    """A worker killed between its two files: the first stays as it is."""
    first = extracted(corpus, "first")
    lost = segments_of(corpus.parent / "cache", "logmel")
    for path in lost:
        path.unlink()
    kept = {path: path.stat().st_mtime_ns for path in segments_of(corpus.parent / "cache")}
    work = worker.Batch(
        tuple(
            worker.ClipTask(row["path"], row["sha256"], row["samples_sha256"], keys)
            for row, keys in zip(*named(corpus.parent / "ravdess.parquet"), strict=True)
        )
    )
    runs = [worker.Batch(work.tasks[start : start + 4]) for start in (0, 4)]  # as the extraction cuts them
    place = Storage(str(corpus.parent / "cache"))
    receipts = [worker.process_batch(run, folder=corpus, settings=SETTINGS, storage=place) for run in runs]
    assert [receipt.made for receipt in receipts] == [4, 2]
    assert segments_of(corpus.parent / "cache", "logmel") == lost
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert [worker.process_batch(run, folder=corpus, settings=SETTINGS, storage=place).made for run in runs] == [0, 0]
    assert extracted(corpus, "again")["logmel"].read_bytes() == first["logmel"].read_bytes()


def named(source: Path) -> tuple[list[dict], list[extractor.ClipKeys]]:
    """The rows of a manifest and their keys, as the stage has them."""
    rows = tables.manifest_records(tables.read_manifest(source).sort_values("clip_id"))
    return rows, stage.clip_keys(rows, SETTINGS, dict.fromkeys(extractor.DTYPES, source))
