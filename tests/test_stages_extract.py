"""From a manifest to shards: the same bytes for any number of workers, nothing made twice, librosa's numbers."""

import os
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile

from pipeline import config
from pipeline.errors import SerError, StoreError
from pipeline.signal import augment, conditioning, frontend
from pipeline.stages import extract, ingest
from pipeline.store import audio, clips, facts, recipe, shards

ROOT = Path(__file__).parents[1]
RATE = 16_000
PARAMS = config.read(ROOT / "params.yaml")
SETTINGS = recipe.from_params(PARAMS)


def speechlike(number: int, seconds: float = 1.5) -> np.ndarray:
    """A vibrato tone with harmonics between silences, another one for each number."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * (120 + 7 * number) * t + 2 * np.sin(2 * np.pi * 5 * t)
    sound = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.sin(np.pi * t / seconds) ** 2
    return np.concatenate([np.zeros(4000), 0.2 * sound, np.zeros(4000)])


@pytest.fixture
def corpus(tmp_path):
    """Six clips of two actors, and their manifest."""
    folder = tmp_path / "RAVDESS"
    for number in range(6):
        path = folder / f"Actor_{number % 2 + 1:02}/03-01-05-01-01-0{number % 2 + 1}-{number % 2 + 1:02}.wav"
        path = path.with_name(f"03-01-0{number + 1}-01-01-01-{number % 2 + 1:02}.wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, speechlike(number), RATE)
    ingest.run("ravdess", folder, tmp_path / "ravdess.parquet", limits=facts.Limits())
    return folder


def extracted(folder: Path, out: str = "features", settings=SETTINGS, processes=1, cache="cache") -> dict[str, Path]:
    base = folder.parent
    outputs = {view: base / out / view / "ravdess.parquet" for view in recipe.DTYPES}
    extract.run(
        folder,
        base / "ravdess.parquet",
        outputs,
        settings=settings,
        cache=clips.Cache(base / cache),
        processes=processes,
    )
    return outputs


def loaded(path: Path) -> tuple[pd.DataFrame, np.ndarray, shards.Layout]:
    file, layout = shards.open_shard(path)
    return shards.index(file).to_pandas(), np.concatenate(list(shards.tensors(file, layout))), layout


def test_four_rows_a_clip_in_the_layout_of_the_design(corpus):
    for view, path in extracted(corpus).items():
        index, tensors, layout = loaded(path)
        assert list(index.columns) == ["clip_id", "variant", "key", "valid_frames"]
        assert (
            index.groupby("clip_id")["variant"].apply(list).tolist() == [list(augment.variants(SETTINGS.augment))] * 6
        )
        assert index["key"].is_unique
        assert (layout.view, layout.dtype) == (view, recipe.DTYPES[view])
        assert tensors.shape == (24, *layout.shape)
        assert layout.shape == (151, {"mfcc": 22, "logmel": 64}[view])
        assert len(layout.rows) == layout.shape[1]
        assert len({tensor.tobytes() for tensor in tensors}) == 24  # no row is another one's copy
        assert tensors.astype(np.float32).std() > 1  # and it sounds


def test_workers_and_order_change_no_byte(corpus):
    one = extracted(corpus, "one", processes=1, cache="a")
    two = extracted(corpus, "two", processes=2, cache="b")
    for view in recipe.DTYPES:
        assert one[view].read_bytes() == two[view].read_bytes()


def test_nothing_is_made_twice(corpus, capsys, monkeypatch):
    first = extracted(corpus, "first")
    assert "0 from the clip cache, 6 to extract" in capsys.readouterr().out
    monkeypatch.setattr(audio, "load", lambda *args, **kwargs: pytest.fail("decoded again"))
    again = extracted(corpus, "again")
    assert "6 from the clip cache, 0 to extract" in capsys.readouterr().out
    assert first["logmel"].read_bytes() == again["logmel"].read_bytes()


def test_a_new_clip_is_the_only_one_extracted(corpus, capsys):
    extracted(corpus)
    soundfile.write(corpus / "Actor_01/03-01-07-01-01-01-01.wav", speechlike(9), RATE)
    ingest.run("ravdess", corpus, corpus.parent / "ravdess.parquet", limits=facts.Limits())
    extracted(corpus)
    assert "7 clips × 4 rows, 6 from the clip cache, 1 to extract" in capsys.readouterr().out


def test_a_setting_of_one_view_leaves_the_other_alone(corpus, capsys):
    before = extracted(corpus, "before")
    mfcc = replace(SETTINGS.features.mfcc, n_mfcc=30)
    changed = replace(SETTINGS, features=replace(SETTINGS.features, mfcc=mfcc))
    after = extracted(corpus, "after", settings=changed)
    assert before["logmel"].read_bytes() == after["logmel"].read_bytes()
    assert loaded(after["mfcc"])[1].shape[2] == 32
    tasks = extract.manifest.records(extract.manifest.read(corpus.parent / "ravdess.parquet"))
    other = replace(SETTINGS, features=replace(SETTINGS.features, mfcc=replace(mfcc, n_mfcc=31)))
    missing = extract.task(tasks[0], tuple(recipe.DTYPES), other, clips.Cache(corpus.parent / "cache")).views
    assert missing == ("mfcc",)


def test_a_pitch_range_leaves_original_and_noise_keys_alone():
    changed = replace(SETTINGS, augment=replace(SETTINGS.augment, pitch=(-3.0, 3.0)))
    old, new = (recipe.keys(s, "logmel", samples_sha256="ab" * 32, sample_rate=RATE) for s in (SETTINGS, changed))
    same = dict(zip(augment.variants(SETTINGS.augment), [a == b for a, b in zip(old, new, strict=True)], strict=True))
    assert same == {"original": True, "noise": True, "pitch": False, "pitch+noise": False}


OTHER = {int: lambda v: v + 2, float: lambda v: v / 2 + 1, bool: lambda v: not v, type(None): lambda v: 4000.0}


@pytest.mark.parametrize(
    ("view", "section", "field"),
    [
        (view, section, field.name)
        for view, cls in (("mfcc", frontend.Mfcc), ("logmel", frontend.LogMel))
        for section, owner in (("audio", conditioning.Audio), (view, cls))
        for field in fields(owner)
    ],
)
def test_every_setting_is_in_the_key(view, section, field):
    def changed(config):
        value = getattr(config, field)
        return replace(config, **{field: OTHER[type(value)](value)})

    if section == "audio":
        other = replace(SETTINGS, audio=changed(SETTINGS.audio))
    else:
        own = {section: changed(getattr(SETTINGS.features, section))}
        other = replace(SETTINGS, features=replace(SETTINGS.features, **own))
    old, new = (recipe.keys(s, view, samples_sha256="ab" * 32, sample_rate=RATE) for s in (SETTINGS, other))
    assert not set(old) & set(new)


@pytest.mark.parametrize("change", [{"samples_sha256": "cd" * 32}, {"sample_rate": 48_000}])
def test_the_recording_is_in_the_key(change):
    facts_of = {"samples_sha256": "ab" * 32, "sample_rate": RATE}
    old, new = (recipe.keys(SETTINGS, "mfcc", **(facts_of | each)) for each in ({}, change))
    assert not set(old) & set(new)


@pytest.mark.parametrize("module", [audio, conditioning, frontend])
def test_a_raised_version_makes_all_keys_new(module, monkeypatch):
    old = recipe.keys(SETTINGS, "mfcc", samples_sha256="ab" * 32, sample_rate=RATE)
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    assert not set(old) & set(recipe.keys(SETTINGS, "mfcc", samples_sha256="ab" * 32, sample_rate=RATE))


def test_a_raised_version_of_augmentation_spares_the_original(monkeypatch):
    old = recipe.keys(SETTINGS, "mfcc", samples_sha256="ab" * 32, sample_rate=RATE)
    monkeypatch.setattr(augment, "VERSION", augment.VERSION + 1)
    new = recipe.keys(SETTINGS, "mfcc", samples_sha256="ab" * 32, sample_rate=RATE)
    assert [a == b for a, b in zip(old, new, strict=True)] == [True, False, False, False]


def test_the_key_of_a_known_recording_is_frozen():
    """Whoever changes it on purpose raises a VERSION, or every cache serves old numbers."""
    assert recipe.keys(SETTINGS, "logmel", samples_sha256="ab" * 32, sample_rate=RATE)[0][:16] == "dc5014d571110ae1"


def test_a_damaged_entry_of_the_cache_is_made_again(corpus):
    first = extracted(corpus, "first")
    entries = sorted((corpus.parent / "cache").rglob("*.npy"))
    entries[0].write_bytes(b"damaged")
    again = extracted(corpus, "again")
    for view in recipe.DTYPES:
        assert first[view].read_bytes() == again[view].read_bytes()


def test_a_changed_file_is_named_and_loses_nothing_else(corpus):
    victim = corpus / "Actor_01/03-01-03-01-01-01-01.wav"
    whole = victim.read_bytes()
    soundfile.write(victim, speechlike(30), RATE)
    with pytest.raises(SerError, match="1 of 6 clips could not be read.*03-01-03.*changed since it was ingested"):
        extracted(corpus)
    assert not (corpus.parent / "features").exists()
    assert len(list((corpus.parent / "cache").rglob("*.npy"))) == 10  # the other five, both views
    victim.write_bytes(whole)
    extracted(corpus)


def test_valid_frames_say_where_the_padding_begins(corpus):
    index, tensors, _ = loaded(extracted(corpus)["logmel"])
    for row in range(0, 24, 4):
        frames = int(index["valid_frames"][row])
        assert 60 < frames < 151
        silence = tensors[row, frames + 4 :].astype(np.float32)
        assert silence.max() == silence.min() < tensors[row, : frames - 4].max() - 70


def killed(folder: Path) -> int:
    """Start an extraction in another process, kill its whole group in the middle and count the finished entries."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; import test_stages_extract as t;"
        "t.extracted(Path(sys.argv[1]), processes=2)"
    )
    words = [sys.executable, "-c", code, str(folder), str(Path(__file__).parent)]
    child = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cache = folder.parent / "cache"
    deadline = time.monotonic() + 60
    while len(list(cache.rglob("*.npy"))) < 3 and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.002)
    os.killpg(child.pid, 9)
    child.wait()
    return len(list(cache.rglob("*.npy")))


def test_a_killed_extraction_goes_on_where_it_was(corpus, capsys):
    for number in range(40):
        path = corpus / f"Actor_{number % 24 + 1:02}/03-01-08-01-0{number // 24 + 1}-02-{number % 24 + 1:02}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, speechlike(40 + number), RATE)
    ingest.run("ravdess", corpus, corpus.parent / "ravdess.parquet", limits=facts.Limits())
    whole = extracted(corpus, "whole", cache="other")
    finished = killed(corpus)
    assert 3 <= finished < 92, "killed too late to show anything"
    capsys.readouterr()
    again = extracted(corpus, "again")
    kept = int(capsys.readouterr().out.split(" from the clip cache")[0].split()[-1])
    assert kept >= finished // 2 - 1  # clips whose two views were both there
    for view in recipe.DTYPES:
        assert whole[view].read_bytes() == again[view].read_bytes()


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
        ours = conditioning.fit(conditioning.condition(audio.load(path, RATE), SETTINGS.audio), SETTINGS.samples)
        found = frontend.views(ours, RATE, {"mfcc": SETTINGS.features.mfcc, "logmel": SETTINGS.features.logmel})
        for view in recipe.DTYPES:
            assert np.abs(found[view] - expected[view]).max() <= 1e-3, (path.name, view)


def test_the_stored_rows_are_the_views_rounded_once(corpus):
    outputs = extracted(corpus)
    row = extract.manifest.records(extract.manifest.read(corpus.parent / "ravdess.parquet"))[0]
    signal = audio.load(corpus / row["path"], RATE)
    made = recipe.make(signal, SETTINGS, row["samples_sha256"], ("mfcc", "logmel"))
    for view, path in outputs.items():
        index, tensors, _ = loaded(path)
        here = index["clip_id"] == row["clip_id"]
        np.testing.assert_array_equal(tensors[here], made[view].tensors)
