"""The recipes of the published systems: DVC understands their lines, and they give the settings they promise."""

import shlex
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from pipeline.core import config
from pipeline.core.errors import UnknownNameError
from pipeline.signal import extractor
from pipeline.split import folds
from pipeline.tools import recipes
from pipeline.train import architectures
from pipeline.train.settings import Train
from tests.paths import ROOT

PUBLISHED = {"conv1d_mfcc", "crnn_mfcc", "conv2d_logmel", "crnn_logmel", "conv2d_mfcc"}
SHIPPED = config.read_params(ROOT / "params.yaml")
EACH = [(name, rung) for name in recipes.recipe_names() for rung in recipes.RUNGS]


@pytest.fixture
def params(tmp_path):
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path))


def run(path, name, rung, **folders):
    """Do to params.yaml what ``dvc exp run`` does with a recipe's line."""
    apply_overrides(path, recipes.recipe_overrides(recipes.load_recipe(name), rung, config.read_params(path), folders))
    return config.read_params(path)


def test_the_five_published_systems_are_there():
    assert set(recipes.recipe_names()) >= PUBLISHED


@pytest.mark.parametrize(("name", "rung"), EACH)
def test_dvc_reads_a_recipe_as_it_is_meant(name, rung, params):
    found = run(params, name, rung)
    for setting, value in recipes.load_recipe(name).settings_for(rung).items():
        assert config.get_setting(found, setting) == value
    assert set(found["data"]["corpora"]) == set(recipes.load_recipe(name).corpora)


@pytest.mark.parametrize(("name", "rung"), EACH)
def test_every_section_of_a_recipe_is_valid(name, rung, params):
    found = run(params, name, rung)
    extractor.shard_layout(extractor.settings_from_params(found), found["model"]["features"])
    config.read_section(folds.Split, found, "split")
    config.read_section(Train, found, "train")
    arch = found["model"]["arch"]
    assert arch == architectures.SVM or config.read_section(
        architectures.find_architecture(arch).config, found, f"model.{arch}"
    )


@pytest.mark.parametrize("first", recipes.recipe_names())
@pytest.mark.parametrize("second", recipes.recipe_names())
def test_a_recipe_leaves_nothing_behind_in_the_next(first, second, params, tmp_path):
    fresh = Path(shutil.copy(params, tmp_path / "fresh.yaml"))
    run(params, first, "published")
    assert dropped(run(params, second, "random")) == dropped(run(fresh, second, "random"))


def dropped(values):
    """Leave out the folders, of which a corpus that comes back has another."""
    return {name: value for name, value in values.items() if name != "data"}


def test_the_defaults_are_those_of_params_yaml():
    for name, value in config.flatten(recipes.read_recipe_yaml(recipes.DEFAULTS)):
        assert config.get_setting(SHIPPED, name) == value


def test_the_defaults_hold_whatever_a_recipe_sets():
    known = dict(config.flatten(recipes.read_recipe_yaml(recipes.DEFAULTS)))
    for name, rung in EACH:
        assert not set(recipes.load_recipe(name).settings_for(rung)) - set(known)


def shape(params):
    return extractor.shard_layout(extractor.settings_from_params(params), params["model"]["features"]).shape


@pytest.mark.parametrize(
    ("name", "frames", "rows"),
    [
        ("conv1d_mfcc", 108, 22),
        ("crnn_mfcc", 174, 40),
        ("conv2d_logmel", 173, 128),
        ("crnn_logmel", 259, 128),
        ("conv2d_mfcc", 174, 40),
    ],
)
def test_patches_have_the_published_shape(published, name, frames, rows):
    assert shape(published(name)) == (frames, rows)


def parameters(values, classes):
    frames, rows = shape(values)
    still = features_statistics(frames, rows, values["train"]["statistics"])
    return architectures.build_network(values, (frames, rows), classes, statistics=still).count_params()


def features_statistics(frames, rows, kind):
    import numpy as np

    from pipeline.dataset.inputs import Statistics

    size = (frames, rows) if kind == "cells" else (rows,)
    return Statistics(np.zeros(size, np.float32), np.ones(size, np.float32))


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    [("conv1d_mfcc", 7, 7_193_223), ("conv2d_logmel", 6, 22_661_638), ("conv2d_mfcc", 8, 885_064)],
)
def test_networks_have_the_published_number_of_parameters(published, name, classes, count):
    assert parameters(published(name), classes) == count


def test_thirteen_coefficients_give_the_other_line(published):
    values = published("conv1d_mfcc")
    values["features"]["mfcc"]["n_mfcc"] = 13
    frames, rows = shape(values)
    assert frames * rows == 1620


def test_corpora_are_pointed_at_their_folders_and_the_others_go():
    recipe = recipes.load_recipe("crnn_logmel")
    changes = recipes.recipe_overrides(recipe, "speaker", SHIPPED, {"emodb": "/data/my corpora/EmoDB"})
    assert '+data.corpora.emodb="/data/my corpora/EmoDB"' in changes
    assert {f"~data.corpora.{name}" for name in SHIPPED["data"]["corpora"]} <= set(changes)


def test_a_folder_with_a_blank_survives_shell_and_dvc(params):
    recipe = recipes.load_recipe("conv2d_mfcc")
    place = "/data/it's here/RAVDESS"
    line = recipes.recipe_command(
        recipe, "random", recipes.recipe_overrides(recipe, "random", SHIPPED, {"ravdess": place})
    )
    words = shlex.split(line.replace("\\\n", " "))
    apply_overrides(params, [word for before, word in pairwise(words) if before == "-S"])
    assert config.read_params(params)["data"]["corpora"] == {"ravdess": place}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: recipes.load_recipe("conv2d_mffc"), "did you mean 'conv2d_mfcc'"),
        (lambda: recipes.load_recipe("svm_mfcc").settings_for("publised"), "did you mean 'published'"),
        (
            lambda: recipes.recipe_overrides(recipes.load_recipe("svm_mfcc"), "random", SHIPPED, {"tess": "x"}),
            "corpus 'tess'",
        ),
    ],
)
def test_wrong_names_are_told(call, said):
    with pytest.raises(UnknownNameError, match=said):
        call()
