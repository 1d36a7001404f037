"""Every setting of params.yaml with values beyond reason: refused by the first stage that reads it, or by none."""

import copy
import functools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


import keras
import numpy as np
import pytest

from pipeline import parallel
from pipeline.audio import decode
from pipeline.core import config
from pipeline.core.errors import SettingError
from pipeline.dataset import inputs
from pipeline.demo import stage, takes
from pipeline.extract import storage
from pipeline.ingest import measure
from pipeline.signal import extractor, stft
from pipeline.signal.settings import Augment, variant_names
from pipeline.split.folds import Split
from pipeline.train import architectures, folds, svm, trainer
from pipeline.train import settings as train_settings
from pipeline.train.settings import Train
from tests.paths import ROOT

PARAMS = config.read_params(ROOT / "params.yaml")
SHAPE = (151, 64)
WILD = [
    0, 1, -1, 2**31, 2**32, 2**63 - 1, 2**63, -(2**63), 10**400, 10**5000, 0.0, -1.0, 0.5, 1e308, float("nan"),
    float("inf"), float("-inf"), 1e-300, 5e-324, "", "no such", "ö\u202e", "x" * 500, "null", True, None, [], [0], [-1],
    [1, 1], [2**63], [float("nan")], [float("inf"), 1.0], [[]], ["no such"], [1] * 200, {}, {"a": 1},
]  # fmt: skip
ANY_TEXT = {"store.url", "execute.scheduler"}  # an address, which only its owner can judge


plan = functools.cache(takes.plan_takes)  # most changes are of something else


def reads_demo(params):
    return plan(config.read_section(stage.Demo, params, "data.demo").clips, config.read_seed(params))


def reads_ingest(params):
    config.check_share(config.get_setting(params, "data.demo.max_bad"), "data.demo.max_bad")
    return config.read_section(measure.ClipLimits, params, "ingest"), config.read_section(
        parallel.Execute, params, "execute"
    ).address


def reads_split(params):
    config.read_seed(params)
    return config.read_section(Split, params, "split"), config.read_section(Augment, params, "augment")


def reads_extract(params):
    settings = extractor.settings_from_params(params)
    rate = settings.audio.sample_rate
    notes = stft.empty_band_notes([settings.view(view) for view in extractor.DTYPES], rate)
    return settings, notes, config.read_section(storage.StorageSettings, params, "store").storage


def reads_train(params):
    config.read_seed(params)
    settings, device = (
        config.read_section(Train, params, "train"),
        config.read_section(train_settings.Device, params, "device"),
    )
    settings.chosen([0, 1, 2])
    folds.check_batch_size(settings, device)
    train_settings.model_view(params)
    svm.svm_settings(params)
    arch = config.read_text_setting(params, "model.arch")
    if arch != train_settings.SVM:
        config.read_section(architectures.find_architecture(arch).config, params, f"model.{arch}")
    return settings, arch


STAGES = {
    "demo": (reads_demo, ("seed", "data.demo")),
    "ingest": (reads_ingest, ("ingest", "execute")),
    "split": (reads_split, ("split", "augment")),
    "extract": (reads_extract, ("audio", "features", "store")),
    "train": (reads_train, ("train", "model", "device")),
}
LEAVES = [name for name, _ in config.flatten(PARAMS) if not name.startswith("data.corpora")]


def changed(name, value):
    params = copy.deepcopy(PARAMS)
    *path, last = name.split(".")
    part = params
    for word in path:
        part = part[word]
    part[last] = value
    if name.startswith("model.") and len(path) > 1 and path[1] != train_settings.SVM:
        params["model"]["arch"] = path[1]
    return params


def first_reader(name):
    return next(stage for stage, (_, roots) in STAGES.items() if any(f"{name}.".startswith(f"{r}.") for r in roots))


def refused_by(params):
    """The first stage that refuses, and its sentence; none where all accept."""
    for name, (read, _) in STAGES.items():
        try:
            read(params)
        except SettingError as error:
            return name, str(error)
    return None, ""


@pytest.mark.parametrize("name", LEAVES)
def test_a_wild_value_is_refused_by_the_first_stage_that_reads_it_or_by_none(name):
    wrong = 0
    for value in WILD:
        stage, said = refused_by(changed(name, value))
        if stage is None:
            continue
        wrong += 1
        assert stage == first_reader(name), (value, said)
        assert name.rsplit(".", 1)[-1] in said, (value, said)
        assert "\n" not in said
        assert len(said) < 700, said
    assert wrong > (3 if name in ANY_TEXT else 10)


WAVES = np.random.default_rng(0).uniform(-0.5, 0.5, (8000, 1)).astype(np.float32)
SOUND = [name for name in LEAVES if name.split(".")[0] in ("audio", "features", "augment")]


@pytest.mark.parametrize("name", SOUND)
def test_what_extract_accepts_makes_numbers(name):
    """In half a second of noise, all views and copies, without a warning."""
    small = {"audio.seconds": 0.4, "augment.copies": ["noise"]}
    for value in [*WILD, "max", "rows", "features", ["noise", "stretch"]]:
        params = changed(name, value)
        for other, kept in small.items():
            section, last = other.split(".")
            params[section][last] = params[section][last] if other == name else kept
        try:
            settings, _, _ = reads_extract(params)
        except SettingError:
            continue
        wanted = dict.fromkeys(extractor.DTYPES, variant_names(settings.augment))
        made = extractor.extract_features(decode.Recording(WAVES, 16_000, "WAV"), settings, "0" * 64, wanted)
        assert all(np.isfinite(entry.tensors).all() for entry in made.values()), value


@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**32, 20241231235959, 2**63 - 1])
def test_a_seed_that_is_read_seeds_every_stage(seed):
    params = changed("seed", seed) | {"model": PARAMS["model"] | {"cnn": {"filters": [2], "dropout": 0.5}}}
    assert refused_by(params) == (None, "")
    assert extractor.settings_from_params(params).seed == seed
    fresh = [
        architectures.build_network(
            params, (8, 4), 3, statistics=inputs.neutral_statistics(4), seed=trainer.network_seed((seed, fold))
        )
        for fold in (0, 1, 0)
    ]
    one, other, again = (network.get_weights()[0] for network in fresh)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    learner = trainer.build_training_model(
        lambda: architectures.build_network(params, (8, 4), 3, statistics=inputs.neutral_statistics(4)),
        (4,),
        Train(augment=SHIFTED),
    )
    learner.restart(fresh[0], inputs.neutral_statistics(4), seed=trainer.network_seed((seed, 1)))


SHIFTED = config.build_dataclass(
    Train, PARAMS["train"] | {"augment": PARAMS["train"]["augment"] | {"shift": 1}}, "train"
).augment


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 3])
def test_small_seeds_give_the_networks_they_always_gave(seed):
    assert [trainer.network_seed((seed, fold)) for fold in range(3)] == [seed, seed + 1, seed + 2]


@pytest.mark.parametrize(
    ("arch", "shape", "words"),
    [
        ("conv2d", (1, 64), r"model\.conv2d\.filters has 4 widths, .* the frames .* 1 where 16 are needed"),
        ("conv2d", (151, 15), r"halves the bins of the view, and there are 15 where 16"),
        ("crnn2d", (15, 64), r"model\.crnn2d\.filters .* there are 15 where 16"),
        ("crnn1d", (7, 3), r"model\.crnn1d\.filters has 3 widths, .* there are 7 where 8 .* audio\.seconds"),
        ("conv1d", (9, 1), r"model\.conv1d\.contours is 2, expected 0 to the 1 bins"),
    ],
)
def test_a_patch_too_small_for_a_network_is_told_before_anything_is_trained(arch, shape, words):
    with pytest.raises(SettingError, match=words):
        architectures.check_network(
            changed("model.arch", arch), shape, 4, statistics=inputs.neutral_statistics(shape[1])
        )


@pytest.mark.parametrize(("arch", "shape"), [("conv2d", (16, 16)), ("crnn2d", (16, 16)), ("crnn1d", (8, 1))])
def test_the_smallest_patches_that_are_let_pass_are_built(arch, shape):
    params = changed("model.arch", arch)
    architectures.check_network(params, shape, 4, statistics=inputs.neutral_statistics(shape[1]))
    assert architectures.build_network(
        params, shape, 4, statistics=inputs.neutral_statistics(shape[1])
    ).output_shape == (
        None,
        4,
    )


@pytest.mark.parametrize(("name", "value"), [("model.cnn.filters", [65536] * 4), ("model.conv2d.units", [65536] * 2)])
def test_a_network_larger_than_a_machine_is_counted_and_not_made(name, value):
    with pytest.raises(SettingError, match=r"makes a network of \d+,\d+,\d+,\d+ weights on 151 frames of 64 bins"):
        architectures.check_network(changed(name, value), SHAPE, 7, statistics=inputs.neutral_statistics(64))


@pytest.mark.parametrize("arch", architectures.ARCHITECTURES)
def test_weights_are_counted_as_keras_counts_them_and_nothing_of_it_stays(arch):
    params, own = changed("model.arch", arch), inputs.neutral_statistics(64)
    keras.utils.clear_session()
    counted = architectures.count_weights(params, SHAPE, 7, statistics=own)
    network = architectures.build_network(params, SHAPE, 7, statistics=own)
    assert counted == network.count_params()
    keras.utils.clear_session()
    fresh = architectures.build_network(params, SHAPE, 7, statistics=own)
    assert [layer.name for layer in network.layers] == [layer.name for layer in fresh.layers]
