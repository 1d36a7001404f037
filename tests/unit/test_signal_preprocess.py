"""Trimming against librosa, the rest against what it promises."""

from dataclasses import fields, replace

import librosa
import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import config
from pipeline.core.errors import SettingError
from pipeline.signal import preprocess
from pipeline.signal.preprocess import fix_length, preprocess_signal, trim_silence
from pipeline.signal.settings import Audio
from tests.sounds import hiss, real_clips

RATE = 16_000


def word(before, loud, after, *, floor=1e-4):
    """A loud noise between two stretches of quiet noise, or of digital silence where the floor is 0."""
    return np.concatenate(
        [hiss(before, level=floor, seed=0), hiss(loud, level=0.1, seed=1), hiss(after, level=floor, seed=2)]
    )


@pytest.mark.parametrize("top_db", [10, 30, 60])
@pytest.mark.parametrize("floor", [0.0, 1e-4, 0.02])
@pytest.mark.parametrize(
    "shape", [(9000, 8000, 12_345), (0, 5000, 7000), (7000, 5001, 0), (1, 1, 1), (40_000, 1, 40_000)]
)
def test_trim_equals_librosa(shape, floor, top_db):
    signal = word(*shape, floor=floor)
    np.testing.assert_array_equal(trim_silence(signal, top_db=top_db), librosa.effects.trim(signal, top_db=top_db)[0])


def test_trim_equals_librosa_on_real_clips():
    lengths = []
    for sound, rate in real_clips(6):
        signal = soxr.resample(sound, rate, RATE)
        ours = trim_silence(signal, top_db=30)
        np.testing.assert_array_equal(ours, librosa.effects.trim(signal, top_db=30)[0])
        lengths.append((len(ours), len(signal)))
    assert len(lengths) == 12
    assert sum(4000 < short < whole for short, whole in lengths) >= 6


def test_trim_takes_the_ends_and_leaves_the_middle():
    signal = np.concatenate([word(20_000, 8000, 10_000), word(10_000, 8000, 30_000)])
    ours = trim_silence(signal, top_db=30)
    start = int(np.flatnonzero(signal == ours[0])[0])
    assert 16_000 < start <= 20_000  # a frame may reach back by its length
    assert 36_000 < len(ours) < 44_000


@pytest.mark.parametrize("samples", [1, 511, 48_000])
def test_an_all_silent_signal_comes_back_whole(samples):
    assert trim_silence(np.zeros(samples, np.float32), top_db=30).shape == (samples,)


@given(samples=st.integers(1, 9000), loud=st.integers(0, 9000), top_db=st.floats(0.1, 90))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_trim_keeps_at_least_the_loudest_sample(samples, loud, top_db):
    signal = np.zeros(samples, np.float32)
    signal[loud % samples] = 1
    assert 1 in trim_silence(signal, top_db=top_db)


def test_fit_cuts_and_pads_at_the_end():
    ramp = np.arange(1, 6, dtype=np.float32)
    assert fix_length(ramp, 3).tolist() == [1, 2, 3]
    assert fix_length(ramp, 7).tolist() == [1, 2, 3, 4, 5, 0, 0]
    assert fix_length(ramp, 5).tolist() == ramp.tolist()
    assert fix_length(ramp, 7).dtype == np.float32


def test_condition_trims_then_skips_then_cuts():
    signal = word(20_000, 40_000, 9000)
    whole = trim_silence(signal, top_db=25)
    ours = preprocess_signal(signal, Audio(trim_db=25.0, offset=0.5, seconds=1.25))
    np.testing.assert_array_equal(ours, whole[8000:28_000])


def test_condition_counts_seconds_at_its_own_rate():
    ramp = np.linspace(-1, 1, 50_000, dtype=np.float32)
    ours = preprocess_signal(ramp, Audio(sample_rate=22_050, trim_db=None, offset=0.1, seconds=2.0))
    np.testing.assert_array_equal(ours, ramp[2205 : 2205 + 44_100])


def test_a_short_clip_stays_short():
    assert preprocess_signal(hiss(1000), Audio(trim_db=None)).shape == (1000,)


@pytest.mark.parametrize(("samples", "offset"), [(0, 0.0), (0, 1.0), (8000, 0.5), (8000, 2.0), (1, 0.1)])
def test_nothing_left_becomes_one_zero(samples, offset):
    for trim_db in (30.0, None):
        assert preprocess_signal(hiss(samples), Audio(offset=offset, trim_db=trim_db)).tolist() == [0]


OTHER = {"sample_rate": 8000, "trim_db": 10.0, "wiener": True, "offset": 0.25, "seconds": 1.0}
LATER = {"pad"}  # decides what is made of the signal: test_signal_scaling.py


@pytest.mark.parametrize("field", [field.name for field in fields(Audio) if field.name not in LATER])
def test_every_setting_changes_the_signal(field):
    base = Audio(seconds=2.0)
    signal = np.concatenate([word(9000, 40_000, 9000, floor=1e-4), hiss(9000, level=0.01)])
    other = preprocess_signal(signal, replace(base, **{field: OTHER[field]}))
    assert other.tobytes() != preprocess_signal(signal, base).tobytes()


def test_no_trimming_keeps_the_silence():
    signal = word(20_000, 8000, 20_000)
    assert len(preprocess_signal(signal, Audio(trim_db=None))) == 48_000
    assert len(preprocess_signal(signal, Audio())) < 20_000


IMPOSSIBLE = {
    "sample_rate": [0, 16, 10**6],
    "trim_db": [0.0, -30.0, np.inf],
    "offset": [-0.1, np.nan, np.inf],
    "seconds": [0.0, -1.0, np.inf, np.nan],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field in IMPOSSIBLE for value in IMPOSSIBLE[field]])
def test_impossible_settings_are_named(field, value):
    with pytest.raises(SettingError, match=rf"params\.yaml: audio\.{field} is {value}, expected"):
        Audio(**{field: value})


def test_the_section_is_read_from_params():
    section = config.read_section(Audio, {"audio": {"trim_db": None, "seconds": 2, "sample_rate": 22_050}}, "audio")
    assert section == Audio(trim_db=None, seconds=2.0, sample_rate=22_050)


def test_the_numbers_are_those_of_this_version():
    ramp = np.linspace(-0.5, 1, 30_000, dtype=np.float32)
    ours = preprocess_signal(np.pad(ramp, (20_000, 9000)), Audio(trim_db=25.0, offset=0.1))
    assert preprocess.VERSION == 1
    assert len(ours) == 30_144
    np.testing.assert_allclose(ours[[0, 1000, 28_000]], [-0.4471982, -0.3971966, 0.9528484], rtol=1e-6)
