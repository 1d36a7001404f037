"""Copies: what is drawn, what depends on what, and what the drawn numbers do to the sound."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import config
from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.signal import augment
from pipeline.signal.augment import Step, apply_steps, draw_steps, random_generator, variant_identity, white_noise
from pipeline.signal.settings import Augment, Noise, variant_names

RATE = 16_000
FIRST, SECOND = "00c0ffee" * 8, "00c0ffef" + "00c0ffee" * 7  # hashes of two recordings


def tone(samples=32_000, *, hertz=440.0, level=0.5):
    """A tone that dips further than it rises: its peak and its largest distance from zero differ."""
    wave = np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)
    return (level * (wave - 0.3)).astype(np.float32)


def drawn(variant, chosen=None, *, seed=0, recording=FIRST):
    return draw_steps(variant, chosen or Augment(copies=()), random_generator(seed, recording, variant))


def test_variants_are_the_original_and_the_copies_in_order():
    assert variant_names(Augment()) == ("original", "noise", "pitch", "pitch+noise")
    assert variant_names(Augment(copies=("stretch#2", "noise"))) == ("original", "stretch#2", "noise")
    assert variant_names(Augment(copies=())) == ("original",)


def test_the_original_is_left_alone():
    assert drawn("original") == ()
    assert apply_steps(tone(), ()).tobytes() == tone().tobytes()
    assert variant_identity(Augment(), "original") == {}


@pytest.mark.parametrize("variant", ["noise", "pitch", "stretch", "stretch+pitch+noise", "noise+pitch#12"])
def test_steps_come_in_the_order_of_the_name(variant):
    assert [step.name for step in drawn(variant)] == variant.split("#")[0].split("+")


def test_a_draw_depends_on_seed_recording_and_name_alone():
    draws = [
        drawn("pitch+noise", seed=seed, recording=recording) for seed in (0, 1) for recording in (FIRST, SECOND)
    ] + [drawn(f"pitch+noise#{n}") for n in (2, 3)]
    assert len({step.value for steps in draws for step in steps}) == 12
    assert len({steps[1].seed for steps in draws}) == 6
    assert draws[0] == drawn("pitch+noise", Augment(copies=("stretch", "pitch+noise")))


def test_equal_copies_of_one_clip_sound_different():
    first, second = (apply_steps(tone(), drawn(name)) for name in ("noise", "noise#2"))
    assert np.corrcoef(first - tone(), second - tone())[0, 1] == pytest.approx(0, abs=0.05)


def test_other_copies_change_nothing():
    some = Augment(copies=("noise", "pitch", "stretch"))
    more = Augment(copies=("stretch", "pitch#2", "noise", "noise+stretch", "pitch"))
    for variant in some.copies:
        assert drawn(variant, some) == drawn(variant, more)
        assert variant_identity(some, variant) == variant_identity(more, variant)


@given(
    low=st.floats(-24, 24),
    high=st.floats(-24, 24),
    seed=st.integers(0, 2**31),
    name=st.sampled_from(["pitch", "pitch#2"]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_draw_stays_in_its_range(low, high, seed, name):
    low, high = sorted((low, high))
    (step,) = drawn(name, Augment(pitch=(low, high)), seed=seed)
    assert low <= step.value <= high
    assert step.value in (low, high, round(step.value, 4))


def test_draws_fill_their_range():
    values = [drawn("stretch", seed=seed)[0].value for seed in range(300)]
    assert min(values) == pytest.approx(0.85, abs=0.01)
    assert max(values) == pytest.approx(1.15, abs=0.01)
    assert np.mean(values) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("variant", ["pitch", "stretch", "noise"])
def test_a_number_is_taken_as_it_is(variant):
    chosen = Augment(pitch=0.123456, stretch=0.923456, noise=Noise(snr_db=None, peak_share=0.0000123))
    (step,) = drawn(variant, chosen)
    assert step.value == {"pitch": 0.123456, "stretch": 0.923456, "noise": 0.0000123}[variant]


@pytest.mark.parametrize("variant", ["noise", "pitch+noise", "stretch"])
@pytest.mark.parametrize("noise", [Noise(), Noise(snr_db=None, peak_share=(0.0, 0.035))])
def test_a_draw_survives_json(variant, noise):
    steps = drawn(variant, Augment(noise=noise))
    again = tuple(Step(**step) for step in json.loads(json.dumps([asdict(step) for step in steps])))
    assert again == steps
    assert apply_steps(tone(), again).tobytes() == apply_steps(tone(), steps).tobytes()


@pytest.mark.parametrize("snr", [-5.0, 0.0, 12.5, 30.0])
def test_noise_meets_its_snr(snr):
    signal = np.pad(tone(), (0, 16_000))  # the power is that of the whole, silence included
    (step,) = drawn("noise", Augment(noise=Noise(snr_db=snr)))
    noise = apply_steps(signal, (step,)) - signal
    assert 10 * np.log10(np.mean(signal**2) / np.mean(noise**2)) == pytest.approx(snr, abs=0.1)
    assert np.std(noise[-8000:]) == pytest.approx(np.std(noise[:8000]), rel=0.05)


def test_noise_by_share_is_a_share_of_the_highest_sample():
    signal = tone()
    assert -signal.min() > 1.5 * signal.max()
    (step,) = drawn("noise", Augment(noise=Noise(snr_db=None, peak_share=0.02)))
    assert step.name == "noise_share"
    assert np.std(apply_steps(signal, (step,)) - signal) == pytest.approx(0.02 * signal.max(), rel=0.02)


def test_noise_is_white_and_normal():
    (step,) = drawn("noise")
    noise = apply_steps(tone(), (step,)) - tone()
    noise = noise / np.std(noise)
    assert np.mean(noise) == pytest.approx(0, abs=0.02)
    assert np.mean(noise**4) == pytest.approx(3, abs=0.15)
    assert np.mean(noise[1:] * noise[:-1]) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_noise_by_the_table_is_normal_noise(seed):
    noise = white_noise(200_003, seed=seed)
    assert (noise.shape, noise.dtype) == ((200_003,), np.float32)
    assert scipy.stats.kstest(noise, "norm").pvalue > 0.01
    spectrum = np.abs(np.fft.rfft(noise[:200_000].reshape(-1, 1000))) ** 2 / 1000  # mean 1 in every bin, 200 frames
    assert np.abs(spectrum.mean(axis=0)[1:-1] - 1).max() < 0.35  # five standard errors
    assert np.abs(np.correlate(noise[:20_000], noise[:20_000], "full")[20_000:20_050] / 20_000).max() < 0.04
    assert white_noise(200_003, seed=seed).tobytes() == noise.tobytes()
    assert white_noise(7, seed=seed).tobytes() == noise[:7].tobytes()
    assert noise[:1000].tobytes() != white_noise(1000, seed=seed + 1).tobytes()


def test_steps_are_taken_one_after_the_other():
    first, second = Step(name="stretch", value=0.9), Step(name="noise", value=20.0, seed=4)
    ours = apply_steps(tone(), (first, second))
    assert ours.tobytes() == apply_steps(augment.time_stretch(tone(), 0.9), (second,)).tobytes()
    assert ours.tobytes() != apply_steps(apply_steps(tone(), (second,)), (first,)).tobytes()
    assert apply_steps(tone(), (Step(name="pitch", value=1.5),)).tobytes() == augment.pitch_shift(tone(), 1.5).tobytes()


@pytest.mark.parametrize("variant", ["noise", "pitch", "stretch", "stretch+pitch+noise"])
@pytest.mark.parametrize("noise", [Noise(), Noise(snr_db=None, peak_share=0.5)])
def test_silence_stays_silence(variant, noise):
    assert not apply_steps(np.zeros(5000, np.float32), drawn(variant, Augment(noise=noise))).any()


@pytest.mark.parametrize("variant", ["noise", "stretch+pitch+noise"])
@pytest.mark.parametrize("samples", [1, 700, 9000])
def test_a_copy_is_float32_and_leaves_the_signal_alone(variant, samples):
    signal = tone(samples)
    ours = apply_steps(signal, drawn(variant))
    assert ours.dtype == np.float32
    assert np.isfinite(ours).all()
    assert signal.tobytes() == tone(samples).tobytes()


CHANGES = {
    "noise": Augment(noise=Noise(snr_db=(15.0, 31.0))),
    "pitch": Augment(pitch=(-2.0, 2.5)),
    "stretch": Augment(stretch=1.1),
}


@pytest.mark.parametrize("variant", ["noise", "pitch", "stretch", "pitch+noise", "stretch+noise#3"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_is_in_the_identity_of_the_copies_that_use_it(variant, name):
    same = variant_identity(CHANGES[name], variant) == variant_identity(Augment(), variant)
    assert same == (name not in variant)
    assert (drawn(variant, CHANGES[name]) == drawn(variant)) == same


def test_every_kind_and_strength_of_noise_is_told_apart():
    kinds = [Noise(), Noise(snr_db=20.0), Noise(snr_db=None, peak_share=0.1), Noise(snr_db=None, peak_share=(0.0, 0.1))]
    assert len({json.dumps(variant_identity(Augment(noise=kind), "noise"), sort_keys=True) for kind in kinds}) == 4
    assert len({apply_steps(tone(), drawn("noise", Augment(noise=kind))).tobytes() for kind in kinds}) == 4


def test_an_identity_names_the_code_it_ran_through(monkeypatch):
    before = {variant: variant_identity(Augment(), variant) for variant in ("noise", "pitch", "stretch+noise")}
    monkeypatch.setattr(augment, "VOCODER_VERSION", 99)
    assert {variant for variant, value in before.items() if value != variant_identity(Augment(), variant)} == {
        "pitch",
        "stretch+noise",
    }
    monkeypatch.setattr(augment, "VERSION", 99)
    assert variant_identity(Augment(), "noise") != before["noise"]


@pytest.mark.parametrize(
    "name", ["nois", "pitch+echo", "", "pitch+", "noise#1", "noise#02", "noise#", "pitch#2+noise", "Noise"]
)
def test_unknown_steps_are_named(name):
    with pytest.raises(UnknownNameError, match=r"params\.yaml: augment\.copies: .* Known: noise, pitch, stretch"):
        Augment(copies=("noise", name))


@pytest.mark.parametrize("copies", [("noise", "pitch", "noise"), ("original",), ("noise", "original")])
def test_each_copy_is_listed_once(copies):
    with pytest.raises(SettingError, match=r"params\.yaml: augment\.copies is .*, expected each name once"):
        Augment(copies=copies)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pitch", (2.0, -2.0)),
        ("pitch", 25.0),
        ("pitch", np.nan),
        ("stretch", 0.0),
        ("stretch", (0.9, 5.0)),
        ("stretch", -1.0),
    ],
)
def test_impossible_strengths_are_named(field, value):
    with pytest.raises(
        SettingError, match=rf"params\.yaml: augment\.{field} is .*, expected a number or \[low, high\] from"
    ):
        Augment(**{field: value})


@pytest.mark.parametrize("snr", [(30.0, 15.0), np.inf, np.nan, -100.0])
def test_impossible_noise_is_named(snr):
    with pytest.raises(SettingError, match=r"params\.yaml: augment\.noise\.snr_db is .*, expected a number"):
        Noise(snr_db=snr)
    with pytest.raises(SettingError, match=r"params\.yaml: augment\.noise\.peak_share is .*, expected a number"):
        Noise(snr_db=None, peak_share=-0.1)


@pytest.mark.parametrize("noise", [{"peak_share": 0.02}, {"peak_share": 0.02, "snr_db": 20.0}, {"snr_db": None}])
def test_noise_has_one_measure(noise):
    with pytest.raises(SettingError, match="give one of them a strength and set the other to null"):
        Noise(**noise)


def test_a_negative_seed_is_refused():
    with pytest.raises(SettingError, match="seed of the augmentation is -1"):
        random_generator(-1, FIRST, "noise")


def test_the_section_is_read_from_params():
    params = {"copies": ["stretch", "noise#2"], "noise": {"snr_db": None, "peak_share": [0, 0.035]}, "pitch": 1}
    assert config.read_section(Augment, {"augment": params}, "augment") == Augment(
        copies=("stretch", "noise#2"), noise=Noise(snr_db=None, peak_share=(0.0, 0.035)), pitch=1.0
    )


def test_the_numbers_are_those_of_this_version():
    steps = drawn("pitch+noise", Augment(), seed=7)
    assert augment.VERSION == 2
    assert steps == (Step(name="pitch", value=1.9978), Step(name="noise", value=27.0057, seed=2620439628))
    np.testing.assert_allclose(
        apply_steps(tone(4000), steps)[[0, 1000, 3999]], [-0.15171, -0.51733, 0.04071], atol=1e-4
    )
