"""Scaling by the clip, the Wiener filter and padded features, against librosa, SciPy and the definitions."""

import librosa
import numpy as np
import pytest
import scipy.signal

from pipeline.signal import extractor, preprocess, views
from pipeline.signal.settings import Audio, Augment, LogMel, Mfcc

RATE = 22_050
PUBLISHED = {"n_fft": 2048, "hop": 512, "n_mels": 128}
FRAMES = 174


def speech(seconds, *, seed=0):
    """Give noise that swells and fades."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.1 * np.sin(3 * time) ** 2 * rng.standard_normal(len(time))).astype(np.float32)


def settings(**changes):
    parts = {"pad": "features", "trim_db": None, "seconds": (FRAMES - 1) * 512 / RATE} | changes
    mfcc, logmel = Mfcc(n_mfcc=40, zcr=False, rms=False, **PUBLISHED), LogMel(**PUBLISHED)
    return extractor.ExtractorSettings(
        seed=0,
        audio=Audio(sample_rate=RATE, **parts),
        augment=Augment(),
        features=extractor.ViewSettings(mfcc=mfcc, logmel=logmel),
    )


def view(signal, config):
    return views.compute_views(signal, RATE, {"x": config})["x"]


def test_features_are_padded_as_published_programs_pad_them():
    signal = speech(2.0)
    made = extractor.stored_views(signal, settings(), ["mfcc"])["mfcc"]
    theirs = librosa.feature.mfcc(y=signal, sr=RATE, n_mfcc=40).T
    assert made.shape == (FRAMES, 40)
    np.testing.assert_allclose(made[: len(theirs)], theirs, atol=1e-3)
    assert not made[len(theirs) :].any()


def test_the_signal_is_padded_unless_told_otherwise():
    signal = speech(2.0)
    made = extractor.stored_views(signal, settings(pad="signal"), ["mfcc"])["mfcc"]
    theirs = librosa.feature.mfcc(y=np.pad(signal, (0, 173 * 512 - len(signal))), sr=RATE, n_mfcc=40).T
    np.testing.assert_allclose(made, theirs, atol=1e-3)
    assert made[-1, 0] < -100


@pytest.mark.parametrize("pad", ["signal", "features"])
def test_what_is_too_long_is_cut(pad):
    assert extractor.stored_views(speech(6.0), settings(pad=pad), ["mfcc"])["mfcc"].shape == (FRAMES, 40)


def test_padded_features_say_how_many_frames_are_sound():
    made = extractor.stored_views(speech(2.0), settings(), ["logmel"])["logmel"]
    entry = extractor.stack_variants([made], [speech(2.0)], settings(), "logmel")
    assert entry.valid_frames.tolist() == [1 + len(speech(2.0)) // 512]
    assert not made[entry.valid_frames[0] :].any()


@pytest.mark.parametrize("top_db", [80.0, 30.0, None])
def test_levels_relative_to_the_loudest_are_librosas(top_db):
    signal = speech(1.0)
    power = librosa.feature.melspectrogram(y=signal, sr=RATE, n_fft=2048, hop_length=512, n_mels=128)
    theirs = librosa.power_to_db(power, ref=np.max, top_db=top_db).T
    np.testing.assert_allclose(view(signal, LogMel(reference="max", top_db=top_db, **PUBLISHED)), theirs, atol=1e-3)


def test_a_clip_has_mean_zero_and_deviation_one():
    made = view(speech(1.0), LogMel(normalise="clip", **PUBLISHED)).astype(np.float64)
    assert abs(made.mean()) < 1e-5
    assert made.std() == pytest.approx(1, abs=1e-5)
    assert made.mean(axis=0).std() > 0.01  # its rows differ still


def test_each_row_has_mean_zero_and_deviation_one():
    made = view(speech(1.0), Mfcc(normalise="bins", **PUBLISHED)).astype(np.float64)
    np.testing.assert_allclose(made.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(made.std(axis=0), 1, atol=1e-3)


def test_a_louder_clip_is_the_same_after_scaling():
    config = LogMel(normalise="clip", **PUBLISHED)
    np.testing.assert_allclose(view(speech(1.0), config), view(4 * speech(1.0), config), atol=1e-4)


def test_silence_becomes_zero():
    for how in ("clip", "bins"):
        assert not view(np.zeros(8000, np.float32), LogMel(normalise=how, **PUBLISHED)).any()


def test_the_limit_holds_on_both_sides():
    whole, cut = (view(speech(1.0), LogMel(normalise="clip", limit=edge, **PUBLISHED)) for edge in (None, 1.0))
    np.testing.assert_array_equal(cut, np.clip(whole, -1, 1))
    assert whole.min() < -1
    assert whole.max() > 1


def test_mfcc_are_made_of_bands_that_are_not_scaled():
    plain, scaled = (
        view(speech(1.0), Mfcc(normalise=how, zcr=False, rms=False, **PUBLISHED)) for how in (None, "clip")
    )
    np.testing.assert_allclose(scaled, (plain - plain.mean()) / plain.std(), atol=1e-4)


def test_the_wiener_filter_is_scipys():
    signal = np.concatenate([np.zeros(500, np.float32), speech(0.2)])
    config = Audio(sample_rate=RATE, trim_db=None, wiener=True)
    with np.errstate(all="ignore"):
        theirs = scipy.signal.wiener(signal.astype(np.float64))
    np.testing.assert_allclose(preprocess.preprocess_signal(signal, config), theirs, atol=1e-7)
    assert np.isfinite(theirs).all()


@pytest.mark.parametrize("signal", [np.zeros(100), np.full(100, 0.25), np.zeros(1), np.zeros(0)])
def test_what_never_changes_passes_the_wiener_filter(signal):
    np.testing.assert_array_equal(preprocess.wiener_filter(signal.astype(np.float32)), signal)


def test_the_wiener_filter_takes_hiss_off_a_tone():
    time = np.arange(RATE) / RATE
    tone = np.where(time < 0.5, np.sin(2 * np.pi * 50 * time), 0).astype(np.float32)
    noisy = tone + np.random.default_rng(1).normal(0, 0.02, RATE).astype(np.float32)
    before, after = (np.square(each - tone)[RATE // 2 :].mean() for each in (noisy, preprocess.wiener_filter(noisy)))
    assert after < 0.6 * before
