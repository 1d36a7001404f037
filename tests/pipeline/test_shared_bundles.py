"""The bundles that other tests share are what they should be: readable, the same each time, not deaf."""

import numpy as np

from pipeline.serving.predictor import load_predictor
from tests.bundles import LABELS, make_bundle


def test_a_tiny_bundle_is_open_to_all_and_hears_a_difference(tiny_bundle):
    predictor = load_predictor([tiny_bundle])
    shape = predictor.input_settings[0].shape
    clips = np.random.default_rng(1).normal(-50, 20, (3, *shape)).astype(np.float32)
    clips += np.float32([[[0]], [[10]], [[-30]]])
    found = predictor.probabilities([clips])
    assert predictor.labels == LABELS
    assert np.abs(found[0] - found[1:]).max(axis=1).min() > 0.05


def test_the_same_arguments_give_the_same_models(tiny_bundle, tmp_path):
    again, other = make_bundle(tmp_path / "again"), make_bundle(tmp_path / "other", seed=1)
    shape = load_predictor([tiny_bundle]).input_settings[0].shape
    clip = np.random.default_rng(1).normal(-50, 20, (1, *shape)).astype(np.float32)
    first, twin, stranger = (load_predictor([each]).probabilities([clip]) for each in (tiny_bundle, again, other))
    np.testing.assert_allclose(first, twin, atol=1e-6)
    assert np.abs(first - stranger).max() > 0.01
