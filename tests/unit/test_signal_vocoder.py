"""Stretch and pitch against librosa in double precision, against librosa as people run it, and against physics."""

import warnings

import librosa
import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import SettingError
from pipeline.signal import augment
from pipeline.signal.augment import pitch_shift, time_stretch
from tests.sounds import real_clips, tone

RATE = 16_000
RATES = [0.25, 0.8, 0.97, 1.15, 2.0]
SEMITONES = [-12.0, -2.0, 0.7, 3.3]
LENGTHS = [1, 2, 100, 511, 512, 1023, 2047, 2048, 5000, 20_011]


def voice(samples):
    """A gliding buzz over a floor of noise, its level rising: no bin is empty and no moment like another."""
    phase = 2 * np.pi * np.cumsum(np.linspace(120, 180, samples)) / RATE
    buzz = sum(np.sin(k * phase) / k for k in range(1, 40))
    floor = 1e-3 * np.random.default_rng(5).standard_normal(samples)
    return (np.linspace(0.1, 0.4, samples) * buzz + floor).astype(np.float32)


def voice_with_gaps(samples):
    """The same with digital silence before, between and after."""
    signal = voice(samples)
    for start, stop in ((0, 0.15), (0.4, 0.6), (0.9, 1)):
        signal[round(start * samples) : round(stop * samples)] = 0
    return signal


def theirs(effect, signal, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_fft=.* is too large")
        return effect(signal, **options)


def gap(ours, other):
    """The largest difference, as a share of the other's peak."""
    assert ours.shape == other.shape
    assert ours.dtype == np.float32
    return np.abs(ours - other).max() / max(np.abs(other).max(), 1e-6)


@pytest.mark.parametrize("n_fft", [2048, 512])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("sound", [voice, voice_with_gaps])
def test_stretch_equals_librosa_in_double_precision(sound, rate, n_fft):
    for samples in LENGTHS:
        if round(samples / rate) == 0:  # librosa gives another length then, we one sample
            continue
        signal = sound(samples)
        other = theirs(librosa.effects.time_stretch, signal.astype(np.float64), rate=rate, n_fft=n_fft)
        assert gap(time_stretch(signal, rate, n_fft=n_fft), other) < 5e-4


@pytest.mark.parametrize("n_fft", [2048, 512])
@pytest.mark.parametrize("semitones", SEMITONES)
@pytest.mark.parametrize("sound", [voice, voice_with_gaps])
def test_pitch_equals_librosa_in_double_precision(sound, semitones, n_fft):
    for samples in LENGTHS[1 if semitones <= -12 else 0 :]:  # one sample made half as long has no length in librosa
        signal = sound(samples)
        double = signal.astype(np.float64)
        other = theirs(librosa.effects.pitch_shift, double, sr=RATE, n_steps=semitones, n_fft=n_fft)
        assert gap(pitch_shift(signal, semitones, n_fft=n_fft), other) < 5e-4


def test_real_clips_equal_librosa_within_a_hundredth():
    for sound, rate in real_clips(6):
        signal = soxr.resample(sound, rate, RATE)[: 3 * RATE]
        double = signal.astype(np.float64)
        for rate in (0.85, 1.15):
            ours = time_stretch(signal, rate)
            assert gap(ours, librosa.effects.time_stretch(signal, rate=rate)) < 0.01
            assert gap(ours, librosa.effects.time_stretch(double, rate=rate)) < 5e-4
        for semitones in (-2.0, 0.7):
            ours = pitch_shift(signal, semitones)
            assert gap(ours, librosa.effects.pitch_shift(signal, sr=RATE, n_steps=semitones)) < 0.01
            assert gap(ours, librosa.effects.pitch_shift(double, sr=RATE, n_steps=semitones)) < 5e-4


def loudest(signal):
    """The frequency of the strongest partial, in Hz."""
    window = np.hanning(len(signal))
    return np.abs(np.fft.rfft(signal * window)).argmax() * RATE / len(signal)


def test_twelve_semitones_double_the_frequency():
    signal = tone(48_000, hertz=500)
    assert loudest(pitch_shift(signal, 12)) == pytest.approx(1000, abs=1)
    assert loudest(pitch_shift(signal, -12)) == pytest.approx(250, abs=1)
    assert loudest(pitch_shift(signal, 7)) == pytest.approx(500 * 2 ** (7 / 12), abs=1)


def test_a_stretch_changes_the_length_and_not_the_frequency():
    signal = tone(48_000, hertz=500)
    slow = time_stretch(signal, 0.8)
    assert slow.shape == (60_000,)
    assert loudest(slow) == pytest.approx(500, abs=1)
    loss = 10 * np.log10(np.mean(signal**2) / np.mean(slow[4000:-4000] ** 2))
    assert 0 <= loss < 1  # dB: the bins of one partial drift apart in phase, librosa's too


def test_what_comes_late_stays_late():
    signal = np.concatenate([np.zeros(30_000, np.float32), voice(10_000), np.zeros(8000, np.float32)])
    for ours, start, stop in ((time_stretch(signal, 1.25), 24_000, 32_000), (pitch_shift(signal, 2), 30_000, 40_000)):
        inside = np.sum(ours[start - 1100 : stop + 1100] ** 2)
        assert inside > 0.999 * np.sum(ours**2)


@given(samples=st.integers(1, 6000), rate=st.floats(0.3, 3), semitones=st.floats(-12, 12))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_lengths_are_those_announced(samples, rate, semitones):
    signal = voice(samples)
    slow, high = time_stretch(signal, rate), pitch_shift(signal, semitones)
    assert slow.shape == (max(1, round(samples / rate)),)
    assert high.shape == (samples,)
    assert np.isfinite(slow).all()
    assert np.isfinite(high).all()


@pytest.mark.parametrize(("effect", "nothing"), [(time_stretch, 1.0), (pitch_shift, 0.0)])
def test_no_change_is_a_copy(effect, nothing):
    signal = voice(3000)
    ours = effect(signal, nothing)
    np.testing.assert_array_equal(ours, signal)
    assert not np.shares_memory(ours, signal)


@pytest.mark.parametrize("samples", [1, 600, 9000])
def test_silence_stays_silence(samples):
    assert not time_stretch(np.zeros(samples, np.float32), 0.8).any()
    assert not pitch_shift(np.zeros(samples, np.float32), 1.5).any()


def test_the_input_is_left_alone_and_the_output_repeats():
    signal = voice_with_gaps(9000)
    before = signal.copy()
    for effect, strength in ((time_stretch, 0.9), (pitch_shift, -1.0)):
        assert effect(signal, strength).tobytes() == effect(signal, strength).tobytes()
    np.testing.assert_array_equal(signal, before)


@pytest.mark.parametrize("rate", [0.0, -1.0, np.inf, np.nan])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(SettingError, match=f"stretch rate is {rate}, expected"):
        time_stretch(voice(100), rate)


@pytest.mark.parametrize(("samples", "rate"), [(700, 0.25), (700, 2.6), (9, 0.5)])
def test_machine_code_does_what_the_python_does(monkeypatch, samples, rate):
    """Plain Python checks every index, which the compiled code does not."""
    fast = time_stretch(voice_with_gaps(samples), rate, n_fft=64)
    for name in ("_write_analysis", "_write_frames", "_overlap_add"):
        monkeypatch.setattr(augment, name, getattr(augment, name).__wrapped__)
    slow = time_stretch(voice_with_gaps(samples), rate, n_fft=64)
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-5)


def test_code_that_cannot_be_cached_is_compiled_all_the_same():
    space = {}
    exec("def double(x):\n    return 2 * x", space)  # of no file, so numba has no folder for it
    assert augment.compiled(space["double"])(21) == 42


def test_the_numbers_are_those_of_this_version():
    phase = np.cumsum(np.linspace(0.05, 0.9, 12_000))
    glide = (0.3 * np.sin(phase) + 0.1 * np.sin(2.5 * phase)).astype(np.float32)
    assert augment.VOCODER_VERSION == 3
    np.testing.assert_allclose(
        time_stretch(glide, 0.9)[[100, 3000, 9000, 13_000]], [-0.14733, -0.21343, 0.03104, 0.02661], atol=1e-4
    )
    np.testing.assert_allclose(
        pitch_shift(glide, 1.5)[[100, 3000, 9000, 11_900]], [-0.02114, 0.08461, -0.24995, -0.01115], atol=1e-4
    )
