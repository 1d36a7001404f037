"""``ser-features recipe``: what it prints can be typed."""

import shlex
import shutil

import pytest
from click.testing import CliRunner

from pipeline.cli.main import main
from pipeline.tools import recipes
from tests.paths import ROOT


@pytest.fixture
def typed(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, ["recipe", *words])


def settings(text):
    """Read the settings of a printed line as a shell would."""
    words = shlex.split(text.replace("\\\n", " "))
    assert words[:3] == ["dvc", "exp", "run"]
    return [words[place + 1] for place, word in enumerate(words) if word == "-S"]


def test_without_a_name_all_are_listed_with_their_claims(typed):
    lines = typed().output.splitlines()
    assert [line.split()[0] for line in lines] == recipes.recipe_names()
    assert "96.88 %" in next(line for line in lines if line.startswith("conv2d_mfcc"))


def test_a_line_names_the_rung_and_all_settings(typed):
    found = settings(typed("conv2d_mfcc", "--data", "ravdess=/data/RAVDESS").output)
    assert {"split.protocol=published", "split.mirrors=2", "train.optimizer=adam", "train.patience=null"} <= set(found)
    assert "data.corpora.ravdess=/data/RAVDESS" in found
    assert "~data.corpora.tess" in found


@pytest.mark.parametrize(
    ("rung", "change"),
    [
        ("published", "split.mirrors=2"),
        ("deduplicated", "split.mirrors=0"),
        ("random", "split.protocol=random"),
        ("speaker", "split.folds=emobox_ravdess"),
    ],
)
def test_each_rung_is_another_split(typed, rung, change):
    assert change in settings(typed("conv2d_mfcc", "--rung", rung).output)


def test_another_corpus_has_its_own_folds(typed):
    found = settings(typed("crnn_mfcc", "--on", "emodb", "--rung", "speaker", "--data", "emodb=/data/EmoDB").output)
    assert {"+data.corpora.emodb=/data/EmoDB", "split.folds=emodb_loso", "~data.corpora.ravdess"} <= set(found)


def test_several_corpora_are_cut_by_number(typed):
    found = settings(typed("crnn_mfcc", "--on", "ravdess", "--on", "tess", "--rung", "speaker").output)
    assert "split.folds=5" in found
    assert "~data.corpora.savee" in found
    assert "~data.corpora.tess" not in found


def test_a_folder_for_another_corpus_than_the_recipe_s_wants_on_and_the_sentence_says_so(typed):
    refused = typed("svm_mfcc", "--data", "tess=/data/TESS")
    assert refused.exit_code == 1
    remedy = "To run on tess instead, add --on tess."
    assert refused.output.strip().endswith(f"corpus 'tess' is unknown. Known: ravdess. {remedy}")
    found = settings(typed("svm_mfcc", "--data", "tess=/data/TESS", "--on", "tess").output)  # as it says
    assert {"data.corpora.tess=/data/TESS", "~data.corpora.ravdess"} <= set(found)


def test_a_folder_with_any_name_can_be_typed(typed):
    found = settings(typed("svm_mfcc", "--data", "ravdess=/data/Übung #1, it's='a'").output)
    assert """data.corpora.ravdess="/data/Übung #1, it's='a'\"""" in found


@pytest.mark.parametrize("name", ["a b", "a.b", "ä", "-", "A"])
def test_a_corpus_that_cannot_be_named_is_refused(typed, name):
    done = typed("svm_mfcc", f"--on={name}")
    assert done.exit_code == 1
    assert f"--on {name!r} cannot name a corpus" in done.output


def test_what_was_chosen_is_told(typed):
    said = typed("crnn_logmel", "--note").output
    assert "EmoDB has seven" in said
    assert "Claim: a picture only." in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["conv2d_mfc"], "did you mean 'conv2d_mfcc'"),
        (["conv2d_mfcc", "--data", "ravdess"], "expected NAME=FOLDER"),
        (["conv2d_mfcc", "--data", "ravdes=/x"], "did you mean 'ravdess'"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(typed, words, sentence):
    done = typed(*words)
    assert done.exit_code == 1
    assert sentence in done.output
