"""The views against librosa, against physics, and against what the settings say."""

import warnings
from dataclasses import fields, replace

import hypothesis
import librosa
import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.core import config
from pipeline.core.errors import SettingError
from pipeline.signal import fft, stft
from pipeline.signal import views as signal_views
from pipeline.signal.views import LogMel, Mfcc, compute_views
from tests.sounds import real_clips, tone

RATE = 16_000
CLOSE = 3e-4  # dB


def tone_then_silence(samples):
    """Digital silence from 40 % on: the range below the maximum, and the floor, are reached."""
    signal = tone(samples)
    signal[2 * samples // 5 :] = 0
    return signal


def hiss(samples):
    return (0.1 * np.random.default_rng(3).standard_normal(samples)).astype(np.float32)


def ramp(samples):
    """From below zero to above: a shift, an edge or a sign that is wrong shows."""
    return np.linspace(-0.5, 0.9, samples, dtype=np.float32)


SOUNDS = [tone_then_silence, hiss, ramp]
CUTS = [(1024, 256, 64), (2048, 512, 128), (400, 160, 23), (512, 200, 40), (1024, 1024, 64), (256, 3, 20)]


def theirs(signal, rate, settings):
    """Librosa's ZCR, RMS, MFCC and log-mel, time first."""
    cut = {"n_fft": settings.n_fft, "hop_length": settings.hop}
    bands = {"n_mels": settings.n_mels, "fmin": settings.fmin, "fmax": settings.fmax}
    frame = {"frame_length": settings.n_fft, "hop_length": settings.hop}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_fft=.* is too large")
        power = librosa.feature.melspectrogram(y=signal, sr=rate, **cut, **bands)
    levels = librosa.power_to_db(power, top_db=settings.top_db)
    return {
        "zcr": librosa.feature.zero_crossing_rate(signal, **frame)[0],
        "rms": librosa.feature.rms(y=signal, **frame)[0],
        "mfcc": librosa.feature.mfcc(S=levels, n_mfcc=settings.n_mfcc).T,
        "logmel": levels.T,
    }


def power(signal, *, n_fft, hop):
    real, imag = stft.stft_planes(signal, n_fft=n_fft, hop=hop)
    return real**2 + imag**2


def agree(signal, rate, settings):
    """Assert that both views equal librosa's."""
    bands = {field.name: getattr(settings, field.name) for field in fields(LogMel)}
    ours = compute_views(signal, rate, {"logmel": LogMel(**bands), "mfcc": settings})
    other = theirs(signal, rate, settings)
    assert {view.dtype for view in ours.values()} == {np.dtype(np.float32)}
    assert all(view.flags.c_contiguous for view in ours.values())
    np.testing.assert_allclose(ours["logmel"], other["logmel"], rtol=0, atol=CLOSE)
    np.testing.assert_allclose(ours["mfcc"][:, 0], other["zcr"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours["mfcc"][:, 1], other["rms"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours["mfcc"][:, 2:], other["mfcc"], rtol=0, atol=CLOSE)


@pytest.mark.parametrize("rate", [16_000, 22_050])
@pytest.mark.parametrize(("n_fft", "hop", "n_mels"), CUTS)
@pytest.mark.parametrize("sound", SOUNDS)
def test_the_views_equal_librosa(sound, n_fft, hop, n_mels, rate):
    for samples in (1, max(1, hop - 1), hop, n_fft, 20_011):
        agree(sound(samples), rate, Mfcc(n_fft=n_fft, hop=hop, n_mels=n_mels, n_mfcc=13))


@pytest.mark.parametrize(
    "change", [{"fmin": 60.0}, {"fmax": 7000.0}, {"fmin": 300.0, "fmax": 3400.0}, {"top_db": 35.0}, {"top_db": None}]
)
@pytest.mark.parametrize("sound", SOUNDS)
def test_every_range_equals_librosa(sound, change):
    agree(sound(30_000), RATE, Mfcc(n_mels=40, **change))


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_real_clips_equal_librosa(rate):
    for signal, own in real_clips(8):
        agree(soxr.resample(signal, own, rate), rate, Mfcc())


@pytest.mark.parametrize(
    "cut", [(16_000, 1024, 64, 0.0, None), (22_050, 2048, 128, 0.0, None), (44_100, 600, 31, 70.0, 9e3)]
)
def test_the_filters_equal_librosa(cut):
    rate, n_fft, n_mels, fmin, fmax = cut
    other = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax)
    np.testing.assert_allclose(stft.mel_filters(*cut), other, rtol=1e-6, atol=1e-9)


AWKWARD = st.sampled_from([0.0, -0.0, 1e-10, -1e-10, 2e-10, -2e-10, 1e-30, -1e-30, 0.5, -0.25])


@given(samples=st.lists(AWKWARD, min_size=1, max_size=200), half=st.integers(1, 24), share=st.floats(0.01, 1))
@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
def test_contours_equal_librosa_around_zero(samples, half, share):
    signal, n_fft = np.array(samples, np.float32), 2 * half
    cut = {"hop": max(1, round(share * n_fft)), "n_fft": n_fft}
    frame = {"hop_length": cut["hop"], "frame_length": n_fft}
    zcr = librosa.feature.zero_crossing_rate(signal, **frame)[0]
    np.testing.assert_allclose(signal_views.zero_crossing_rate(signal, **cut), zcr, rtol=0, atol=1e-7)
    np.testing.assert_allclose(
        signal_views.rms(signal, **cut), librosa.feature.rms(y=signal, **frame)[0], rtol=0, atol=1e-7
    )


@given(samples=st.integers(1, 5000), half=st.integers(16, 600), share=st.floats(0.01, 1), n_mels=st.integers(2, 16))
@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
def test_shapes_are_those_announced(samples, half, share, n_mels):
    cut = {"n_fft": 2 * half, "hop": max(1, round(2 * half * share)), "n_mels": n_mels}
    configs = {"logmel": LogMel(**cut), "mfcc": Mfcc(**cut, n_mfcc=2, rms=False)}
    for name, view in compute_views(hiss(samples), RATE, configs).items():
        assert view.shape == (1 + samples // cut["hop"], len(signal_views.bin_names(configs[name])))
        assert np.isfinite(view).all()


@pytest.mark.parametrize("band", [3, 17, 40, 60])
def test_a_tone_is_loudest_in_its_own_band(band):
    hertz = librosa.mel_frequencies(66, fmin=0, fmax=8000)[1 + band]  # the band's centre
    view = compute_views(tone(32_000, hertz=hertz), RATE, {"logmel": LogMel()})["logmel"]
    assert set(view[4:-4].argmax(axis=1)) == {band}


def test_doubling_the_amplitude_adds_six_decibels():
    quiet, loud = (compute_views(gain * hiss(16_000), RATE, {"x": LogMel()})["x"] for gain in (1, 2))
    np.testing.assert_allclose(loud - quiet, 20 * np.log10(2), atol=1e-4)


def test_a_shift_by_a_hop_shifts_the_frames_by_one():
    signal = hiss(9000)
    first, second = (power(x, n_fft=600, hop=250) for x in (signal, np.pad(signal, (250, 0))))
    np.testing.assert_allclose(second[1:], first, rtol=1e-5, atol=1e-7)


def test_power_holds_the_energy_of_the_windowed_frame():
    signal = hiss(4096)
    frame = signal[1536:2560].astype(np.float64) * np.hanning(1025)[:-1]  # centred at 2048
    bins = power(signal, n_fft=1024, hop=512)[4].astype(np.float64)
    assert (bins[0] + 2 * bins[1:-1].sum() + bins[-1]) / 1024 == pytest.approx(np.sum(frame**2), rel=1e-6)


def test_contours_of_a_tone():
    signal = tone(16_000, hertz=1000, level=0.3)
    assert signal_views.rms(signal, n_fft=1024, hop=256)[10:-10] == pytest.approx(0.3 / np.sqrt(2), rel=1e-3)
    assert signal_views.zero_crossing_rate(signal, n_fft=1024, hop=256)[10:-10] == pytest.approx(
        2 * 1000 / RATE, abs=2 / 1024
    )


def test_the_zeroth_coefficient_is_the_sum_of_the_bands():
    out = compute_views(hiss(8000), RATE, {"mfcc": Mfcc(zcr=False, rms=False), "logmel": LogMel()})
    np.testing.assert_allclose(out["mfcc"][:, 0], out["logmel"].sum(axis=1) / 8, rtol=1e-5)  # 8 = sqrt(64)


def test_silence_is_the_floor():
    out = compute_views(np.zeros(8000, np.float32), RATE, {"mfcc": Mfcc(n_mfcc=3), "logmel": LogMel()})
    np.testing.assert_allclose(out["logmel"], -100, atol=1e-4)
    np.testing.assert_allclose(out["mfcc"][5], [0, 0, -800, 0, 0], atol=1e-3)


@pytest.mark.parametrize(("samples", "hop"), [(1, 16), (200, 48), (5, 64)])
def test_machine_code_does_what_the_python_does(monkeypatch, samples, hop):
    """Plain Python checks every index, which the compiled code does not."""
    signal, configs = hiss(samples), {"a": LogMel(n_fft=64, hop=hop, n_mels=7), "b": Mfcc(n_fft=64, hop=hop, n_mels=20)}
    fast = compute_views(signal, RATE, configs)
    planes = stft.stft_planes(signal, n_fft=64, hop=hop)
    for owner in (signal_views, fft, signal_views):
        for name, each in vars(owner).copy().items():
            if hasattr(each, "machine"):
                monkeypatch.setattr(owner, name, each.__wrapped__)
    slow = compute_views(signal, RATE, configs)
    np.testing.assert_allclose(stft.stft_planes(signal, n_fft=64, hop=hop), planes, rtol=0, atol=1e-6)
    for name in configs:
        np.testing.assert_allclose(fast[name], slow[name], rtol=0, atol=1e-4)


def test_hours_come_in_blocks_that_change_no_number(monkeypatch):
    """Frames whose length is no power of two go through memory."""
    signal, configs = tone_then_silence(40_000), {"a": LogMel(n_fft=800), "b": Mfcc(n_fft=800, chroma=True)}
    whole = compute_views(signal, RATE, configs)
    monkeypatch.setattr(stft, "BLOCK_BYTES", 8 * 800 * 7)
    assert len(list(stft.frame_spectra(np.zeros(40_800, np.float32), 800, 256, 157))) == -(-157 // 7)
    for name, view in compute_views(signal, RATE, configs).items():
        assert view.tobytes() == whole[name].tobytes()


def test_deltas_and_chroma_follow_the_cepstrum():
    signal = hiss(9000) + tone(9000, hertz=311.1)
    settings = Mfcc(n_mfcc=3, zcr=False, deltas=2, chroma=True)
    names, view = signal_views.bin_names(settings), compute_views(signal, RATE, {"x": settings})["x"]
    assert [name.split("_")[0] for name in names] == [
        "rms",
        *3 * ["mfcc"],
        *3 * ["delta"],
        *3 * ["delta2"],
        *12 * ["chroma"],
    ]
    assert view.shape == (36, 22)
    cepstrum = view[:, 1:4].T
    np.testing.assert_allclose(view[:, 4:7].T, librosa.feature.delta(cepstrum), atol=CLOSE)
    np.testing.assert_allclose(view[:, 7:10].T, librosa.feature.delta(cepstrum, order=2), atol=CLOSE)
    other = librosa.feature.chroma_stft(y=signal, sr=RATE, n_fft=1024, hop_length=256, tuning=0.0)
    np.testing.assert_allclose(view[:, 10:].T, other, atol=1e-5)
    assert names[10 + int(view[:, 10:].mean(axis=0).argmax())] == "chroma_ds"  # 311.1 Hz


@pytest.mark.parametrize(
    ("flags", "rows"),
    [
        ({}, ("zcr", "rms", "mfcc_01", "mfcc_02")),
        ({"zcr": False}, ("rms", "mfcc_01", "mfcc_02")),
        ({"rms": False}, ("zcr", "mfcc_01", "mfcc_02")),
        ({"mfcc": False}, ("zcr", "rms")),
        ({"mfcc": False, "zcr": False}, ("rms",)),
    ],
)
def test_blocks_switch_off_and_keep_their_order(flags, rows):
    signal, settings = tone_then_silence(9000), Mfcc(n_mfcc=2)
    whole = dict(
        zip(signal_views.bin_names(settings), compute_views(signal, RATE, {"x": settings})["x"].T, strict=True)
    )
    some = replace(settings, **flags)
    assert signal_views.bin_names(some) == rows
    np.testing.assert_array_equal(compute_views(signal, RATE, {"x": some})["x"].T, [whole[row] for row in rows])
    assert [part.split(":")[0] for part in signal_views.view_unit(some).split("; ")] == list(
        dict.fromkeys(r[:4].strip("_") for r in rows)
    )


@pytest.mark.parametrize("n_fft", [4, 8, 16, 512, 1024, 2048, 8192])
@pytest.mark.parametrize("frames", [1, 7, 8, 20])
def test_the_spectrum_is_numpys(n_fft, frames):
    """The fast way against the plain one, for even and odd powers of two, and groups that are not full."""
    hop = max(2, n_fft // 3)
    signal = hiss((frames - 1) * hop + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    pieces = sliding_window_view(np.pad(signal, (n_fft // 2, n_fft)), n_fft)[::hop][:frames]
    bins = np.fft.rfft(pieces * window)
    real, imag = stft.stft_planes(signal, n_fft=n_fft, hop=hop)
    assert real.shape == imag.shape == bins.shape == (frames, n_fft // 2 + 1)
    np.testing.assert_allclose(real + 1j * imag, bins, rtol=0, atol=1e-7 * np.abs(bins).max())
    filters = stft.to_sparse(np.random.default_rng(n_fft).random((3, bins.shape[1]), np.float32))
    ours = stft.band_power(signal, filters, n_fft=n_fft, hop=hop)
    np.testing.assert_allclose(ours, stft.power_in_bands(bins, filters), rtol=1e-5)


@pytest.mark.parametrize("n_fft", [2, 6, 400, 1000, 1536])
def test_other_frames_take_the_plain_way(n_fft):
    signal = hiss(4000)
    real, imag = stft.stft_planes(signal, n_fft=n_fft, hop=n_fft // 2)
    other = librosa.stft(signal.astype(np.float64), n_fft=n_fft, hop_length=n_fft // 2).T
    np.testing.assert_allclose(real + 1j * imag, other, rtol=0, atol=1e-6 * np.abs(other).max())


def test_one_stft_serves_all_views_that_can_share_it(monkeypatch):
    calls, band_power = [], stft.band_power

    def counted(signal, filters, *, n_fft, hop):
        calls.append((n_fft, hop))
        return band_power(signal, filters, n_fft=n_fft, hop=hop)

    configs = {
        "a": LogMel(),
        "b": Mfcc(),
        "c": LogMel(n_mels=20),
        "d": Mfcc(hop=200),
        "e": LogMel(hop=200),
        "f": Mfcc(mfcc=False, hop=9),
        "g": Mfcc(mfcc=False, chroma=True),
    }
    with monkeypatch.context() as patch:
        patch.setattr(signal_views, "band_power", counted)
        together = compute_views(tone_then_silence(9000), RATE, configs)
    assert sorted(calls) == [(1024, 200), (1024, 256)]
    for name, settings in configs.items():
        alone = compute_views(tone_then_silence(9000), RATE, {name: settings})[name]
        assert together[name].tobytes() == alone.tobytes()


OTHER = {
    "n_fft": 800,
    "hop": 300,
    "n_mels": 50,
    "fmin": 50.0,
    "fmax": 7000.0,
    "top_db": 40.0,
    "n_mfcc": 13,
    "deltas": 1,
    "reference": "max",
    "normalise": "bins",
    "limit": 1.5,
}


@pytest.mark.parametrize(("base", "field"), [(c, field.name) for c in (LogMel(), Mfcc()) for field in fields(c)])
def test_every_setting_changes_the_view(base, field):
    signal = tone_then_silence(20_000) + np.float32(0.01) * hiss(20_000)
    other = replace(base, **{field: OTHER.get(field, not getattr(base, field))})
    first, second = (compute_views(signal, RATE, {"x": settings})["x"] for settings in (base, other))
    assert first.shape != second.shape or not np.allclose(first, second)


IMPOSSIBLE = {
    "n_fft": [0, 1023, -2],
    "hop": [0, -1, 1025],
    "n_mels": [0, 513],
    "fmin": [-1.0, np.nan, np.inf],
    "fmax": [0.0, -5.0, np.inf, np.nan],
    "top_db": [0.0, -80.0, np.inf, np.nan],
    "reference": ["'min'"],
    "normalise": ["'speaker'"],
    "limit": [0.0, -5.0, np.inf, np.nan],
}


@pytest.mark.parametrize("cls", [LogMel, Mfcc])
@pytest.mark.parametrize(("field", "value"), [(field, value) for field in IMPOSSIBLE for value in IMPOSSIBLE[field]])
def test_impossible_settings_are_named(cls, field, value):
    with pytest.raises(
        SettingError, match=rf"params\.yaml: features\.{cls.__name__.lower()}\.{field} is {value}, expected"
    ):
        cls(**{field: value.strip("'") if isinstance(value, str) else value})


@pytest.mark.parametrize("n_mfcc", [0, 65])
def test_no_more_coefficients_than_bands(n_mfcc):
    with pytest.raises(SettingError, match=rf"features\.mfcc\.n_mfcc is {n_mfcc}, expected .* n_mels \(64\)"):
        Mfcc(n_mfcc=n_mfcc)


def test_a_view_without_rows_is_refused():
    with pytest.raises(SettingError, match=r"features\.mfcc\.mfcc is False, expected true"):
        Mfcc(mfcc=False, zcr=False, rms=False)


@pytest.mark.parametrize(
    ("change", "name"), [({"fmax": 8000.1}, "fmax"), ({"fmin": 8000.0}, "fmin"), ({"fmin": 9e3}, "fmin")]
)
@pytest.mark.parametrize("cls", [LogMel, Mfcc])
def test_nothing_lies_above_half_the_rate(cls, change, name):
    with pytest.raises(
        SettingError, match=rf"features\.{cls.__name__.lower()}\.{name} is .* at 16000 Hz ends at 8000\.0 Hz"
    ):
        compute_views(hiss(2000), RATE, {"x": cls(**change)})
    assert compute_views(hiss(2000), 22_050, {"x": cls(**change)})["x"].shape[0] == 8
    assert compute_views(hiss(2000), RATE, {"x": cls(fmax=8000.0)})["x"].shape[0] == 8


def test_the_sections_are_read_from_params():
    params = {"features": {"mfcc": {"n_mfcc": 40, "fmax": 7000, "zcr": False}, "logmel": {"top_db": None}}}
    assert config.read_section(Mfcc, params, "features.mfcc") == Mfcc(n_mfcc=40, fmax=7000.0, zcr=False)
    assert config.read_section(LogMel, params, "features.logmel") == LogMel(top_db=None)


def test_the_numbers_are_those_of_this_version():
    glide = (0.4 * np.sin(np.cumsum(np.linspace(0.05, 1.5, 12_000)))).astype(np.float32)
    out = compute_views(np.pad(glide, (1000, 3000)), RATE, {"mfcc": Mfcc(), "logmel": LogMel()})
    assert signal_views.VERSION == 3
    np.testing.assert_allclose(
        out["logmel"][[5, 20, 30, 60], [4, 27, 38, 63]], [20.6413, 19.9156, 12.0215, -59.0867], atol=1e-3
    )
    np.testing.assert_allclose(
        out["mfcc"][30, [0, 1, 2, 3, 21]], [0.2734, 0.2827, -426.2026, -16.6866, -16.4032], atol=1e-3
    )
