"""Deltas and chroma: against physics, against librosa, and where there is next to nothing to measure."""

import librosa
import numpy as np
import pytest
from scipy.signal import savgol_filter

from pipeline.dataset import functionals
from pipeline.signal import stft, views
from tests.sounds import hiss, tone

RATE = 16_000
CUTS = [(16_000, 1024, 256), (22_050, 2048, 512), (48_000, 4096, 1000), (8000, 400, 160)]


def vowel(samples):
    """A voice that glides from 110 to 190 Hz with two formants, a pause and a breath: speech enough for a filter."""
    time = np.arange(samples) / RATE
    phase = 2 * np.pi * np.cumsum(110 + 80 * time / time[-1]) / RATE
    partials = range(1, 30)
    heights = [1 / (1 + ((150 * k - 600) / 150) ** 2) + 0.3 / (1 + ((150 * k - 1700) / 200) ** 2) for k in partials]
    sound = sum(height * np.sin(k * phase) for k, height in zip(partials, heights, strict=True))
    sound[samples // 2 : 3 * samples // 4] = 0
    return (0.1 * sound + 0.01 * hiss(samples)).astype(np.float32)


def pause(samples):
    """Half sound, half digital silence."""
    sound = vowel(samples)
    sound[: samples // 2] = 0
    return sound


def spectrum(signal, *, n_fft, hop):
    """Time first."""
    return np.ascontiguousarray(librosa.stft(signal, n_fft=n_fft, hop_length=hop, dtype=np.complex128).T)


def librosas(bins, *, rate, n_fft):
    """The twelve classes, time first."""
    power = np.float32(np.abs(bins.T) ** 2)
    return librosa.feature.chroma_stft(S=power, sr=rate, n_fft=n_fft, tuning=0.0).T


def shares_of(bins, rate, n_fft):
    """Ours."""
    return views.chroma_from_power(stft.power_in_bands(bins, views.chroma_filters(rate, n_fft)))


SOUNDS = [hiss, vowel, pause]


def levels(sound, frames=120):
    """Rows of quite different sizes, as a view of MFCC has them."""
    power = np.float32(np.abs(spectrum(sound(256 * frames), n_fft=1024, hop=256)[:, :12]) ** 2)
    return np.float32([-40, 3, 0.1, 1] * 3) * np.log(power + np.float32(1e-10)) - np.float32(300)


# deltas


@pytest.mark.parametrize("frames", [3, 4, 8, 9, 10, 40])
@pytest.mark.parametrize("steepness", [-2.5, 0.0, 4.0])
def test_a_ramp_has_a_constant_delta_and_no_second(frames, steepness):
    rows = np.stack([steepness * np.arange(frames) - 7, np.full(frames, 3.0)], axis=1).astype(np.float32)
    np.testing.assert_allclose(functionals.delta(rows), np.tile([steepness, 0], (frames, 1)), atol=1e-5)
    np.testing.assert_allclose(functionals.delta(rows, order=2), np.zeros((frames, 2)), atol=1e-5)


@pytest.mark.parametrize("frames", [3, 5, 9, 31])
def test_a_falling_body_has_a_constant_second_delta(frames):
    rows = (9.81 / 2 * np.arange(frames)[:, None] ** 2).astype(np.float32)
    np.testing.assert_allclose(functionals.delta(rows, order=2), 9.81, rtol=1e-4)


def test_the_delta_of_a_slow_sine_is_its_cosine():
    time = np.arange(400)[:, None] / 50
    np.testing.assert_allclose(
        functionals.delta(np.sin(time).astype(np.float32))[4:-4], np.cos(time)[4:-4] / 50, atol=1e-4
    )


@pytest.mark.parametrize("order", [1, 2])
def test_time_runs_forwards(order):
    rows = levels(vowel)
    backwards = functionals.delta(rows[::-1], order=order)[::-1]
    np.testing.assert_allclose((-1) ** order * backwards, functionals.delta(rows, order=order), atol=1e-3)
    late = functionals.delta(rows[1:], order=order)
    np.testing.assert_allclose(late[8:-8], functionals.delta(rows, order=order)[9:-8], atol=1e-4)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("frames", [9, 10, 13, 120])
@pytest.mark.parametrize("sound", SOUNDS)
def test_deltas_equal_librosa(sound, frames, order):
    rows = levels(sound, frames)[:frames]
    ours, theirs = functionals.delta(rows, order=order), librosa.feature.delta(rows.T, order=order).T
    assert (ours.dtype, ours.shape) == (np.float32, rows.shape)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(rows).max())
    np.testing.assert_allclose(ours[:, 2], theirs[:, 2], rtol=0, atol=1e-5 * np.abs(rows[:, 2]).max())


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("frames", "width"), [(3, 3), (4, 3), (5, 5), (6, 5), (7, 7), (8, 7)])
def test_a_short_signal_takes_the_largest_odd_width_that_fits(frames, width, order):
    rows = np.random.default_rng(frames).normal(0, 30, (frames, 5)).astype(np.float32)
    theirs = savgol_filter(rows, width, deriv=order, polyorder=order, axis=0, mode="interp")
    np.testing.assert_allclose(functionals.delta(rows, order=order), theirs, rtol=0, atol=3e-4)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("frames", [0, 1, 2])
def test_fewer_than_three_frames_do_not_change(frames, order):
    rows = np.full((frames, 3), 5, np.float32) * np.arange(1, frames + 1, dtype=np.float32)[:, None]
    change = functionals.delta(rows, order=order)
    assert (change.shape, change.dtype) == ((frames, 3), np.float32)
    assert not change.any()


def test_rows_do_not_touch_each_other():
    rows = levels(vowel)
    together = functionals.delta(rows)
    for k in range(rows.shape[1]):
        np.testing.assert_allclose(together[:, [k]], functionals.delta(rows[:, [k]]), rtol=0, atol=1e-4)


# chroma


def strongest(signal, *, rate=RATE, n_fft=4096):
    """The class of the frames in the middle; all must agree."""
    shares = shares_of(spectrum(signal, n_fft=n_fft, hop=1024), rate, n_fft)[3:-3]
    (found,) = set(shares.argmax(axis=1))
    return views.PITCH_CLASSES[found]


@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
@pytest.mark.parametrize("octave", [-1, 0, 1, 2, 3])
def test_concert_pitch_is_an_a_in_every_octave(octave, rate):
    assert strongest(tone(rate, hertz=440 * 2.0**octave, rate=rate), rate=rate, n_fft=8192) == "a"


@pytest.mark.parametrize("step", range(12))
def test_each_semitone_is_the_next_class(step):
    assert strongest(tone(RATE, hertz=440 * 2 ** (step / 12))) == views.PITCH_CLASSES[(9 + step) % 12]


def test_a_chord_is_its_notes():
    chord = sum(tone(RATE, hertz=hertz) for hertz in (261.63, 329.63, 392.00))
    shares = shares_of(spectrum(chord, n_fft=4096, hop=1024), RATE, 4096)[8]
    assert {views.PITCH_CLASSES[k] for k in np.argsort(shares)[-3:]} == {"c", "e", "g"}


def test_loudness_does_not_matter():
    quiet, loud = (
        shares_of(spectrum(gain * vowel(16_000), n_fft=1024, hop=256), RATE, 1024) for gain in np.float32([1e-3, 1])
    )
    np.testing.assert_allclose(quiet, loud, atol=1e-5)
    np.testing.assert_array_equal(loud.max(axis=1), 1)
    assert loud.min() >= 0


@pytest.mark.parametrize(("rate", "n_fft", "hop"), CUTS)
@pytest.mark.parametrize("sound", SOUNDS)
def test_chroma_equals_librosa(sound, rate, n_fft, hop):
    bins = spectrum(sound(24_000), n_fft=n_fft, hop=hop)
    ours, theirs = shares_of(bins, rate, n_fft), librosas(bins, rate=rate, n_fft=n_fft)
    assert (ours.dtype, ours.shape) == (np.float32, (len(bins), 12))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("level", [0.0, 1e-44, 1e-38, 1e-30, 1e-10])
def test_next_to_nothing_is_what_librosa_makes_of_it(level):
    bins = np.zeros((3, 513), np.complex128)
    bins[1, 40] = np.sqrt(level)
    ours, theirs = shares_of(bins, RATE, 1024), librosas(bins, rate=RATE, n_fft=1024)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    assert not ours[[0, 2]].any()
