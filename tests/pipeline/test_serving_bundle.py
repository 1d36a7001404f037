"""A bundle from a stranger: what was altered is refused, and nothing in it runs."""

import io
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pickle
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from pipeline.cli.main import main
from pipeline.core.errors import StoreError
from pipeline.evaluate.stage import release_bundle
from pipeline.report import model_card
from pipeline.serving import predictor as predictors
from pipeline.train import bundle as train_bundle
from pipeline.train import models
from tests.bundles import make_bundle

LABELS = ("angry", "happy", "neutral", "sad")
SCORES = {
    "stamp": "",
    "protocol": "speaker",
    "normalise": "train",
    "transductive": False,
    "shuffled": False,
    "synthetic": {},
    "test": {
        "uar": 0.5321, "uar_ci95": {"low": 0.4861, "high": 0.5799}, "wa": 0.55, "macro_f1": 0.51, "ece": 0.1,
        "chance": 0.25, "rows": 240, "clips": 240, "speakers": 6,
    },
    "corpus": {
        "ravdess": {"uar": 0.5321, "uar_ci95": {"low": 0.4861, "high": 0.5799}, "wa": 0.55, "macro_f1": 0.51,
                    "speakers": 6, "clips": 240},
    },
    "class": {name: {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 60} for name in LABELS},
    "group": {"sex": {"female": {"uar": 0.58, "clips": 120}, "male": {"uar": 0.48, "clips": 120}}},
    "baseline": {"chance": {"uar": 0.25, "wa": 0.25}, "svm": {"uar": 0.45, "wa": 0.46}},
    "leak": {"contaminated": 0.0},
}  # fmt: skip


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle")


def refused(folder):
    """What every command that opens a bundle says of this one, on one line and without a traceback."""
    with pytest.raises(StoreError) as caught:
        predictors.load_predictor([folder])
    shown = CliRunner().invoke(main, ["model", "show", str(folder)])
    done = CliRunner().invoke(main, ["predict", "--model", str(folder), "-"], input=b"")
    assert done.exit_code == 1
    assert done.stderr == f"Error: {caught.value}\n"
    assert "\n" not in str(caught.value)
    return str(caught.value), shown


def sealed(folder, **changes):
    """Give a bundle that was altered a card that fits it again, as who means harm would."""
    values = json.loads((folder / train_bundle.CARD_FILE).read_text())
    values.pop("sha256")
    train_bundle.write_card(
        folder, train_bundle.Card(**values | changes | {"files": train_bundle.file_checksums(folder)})
    )


@pytest.mark.parametrize("name", ["model.keras"])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_changed_byte_in_the_weights_is_refused(bundle, name, place):
    path = bundle / "fold-0" / name
    data = bytearray(path.read_bytes())
    data[round(place * (len(data) - 1))] ^= 1
    path.write_bytes(data)
    said, shown = refused(bundle)
    assert f"{path} has changed since the bundle was written" in said
    assert shown.exit_code == 1


def test_a_renamed_label_is_refused(bundle):
    path = bundle / train_bundle.CARD_FILE
    path.write_text(path.read_text().replace('"angry"', '"happy!"'))
    said, shown = refused(bundle)
    assert f"{path} has changed since" in said
    assert shown.exit_code == 1


@pytest.mark.parametrize("change", ["more", "less", "other"])
def test_a_card_of_other_fields_is_refused(bundle, change):
    path = bundle / train_bundle.CARD_FILE
    values = json.loads(path.read_text())
    values |= {"more": {"extra": 1}, "less": {}, "other": {"folds": [1]}}[change]
    if change == "less":
        del values["stamp"]
    path.write_text(json.dumps(values | {"sha256": train_bundle.card_hash(values)} if change == "more" else values))
    assert "has changed since" in refused(bundle)[0]


def test_a_missing_and_a_foreign_file_are_refused_and_a_file_managers_note_is_not(bundle, tmp_path):
    (bundle / "fold-0/.DS_Store").write_bytes(b"")
    predictors.load_predictor([bundle])
    (bundle / "fold-0/more.py").write_text("print()")
    assert f"{bundle / 'fold-0/more.py'} has changed since" in refused(bundle)[0]
    (bundle / "fold-0/more.py").unlink()
    (bundle / "fold-0/model.keras").unlink()
    assert f"{bundle / 'fold-0/model.keras'} has changed since" in refused(bundle)[0]
    assert "is no bundle, because it holds no bundle.json" in refused(tmp_path / "nothing")[0]


def test_a_bundle_of_an_older_format_is_refused(bundle):
    path = bundle / train_bundle.CARD_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    assert "is not a bundle of format 6: train again" in refused(bundle)[0]
    path.write_text("[]")
    assert "is not a bundle of format 6" in refused(bundle)[0]
    path.write_text("{")
    assert "is damaged" in refused(bundle)[0]


def test_a_lambda_with_code_inside_is_refused_and_does_not_run(bundle, tmp_path):
    trace = tmp_path / "ran"
    shape = predictors.load_predictor([bundle]).input_settings[0].shape
    patch = keras.Input(shape)

    code = eval(f"lambda x: (open({str(trace)!r}, 'w').close(), x)[1]")
    harm = keras.layers.Lambda(code)(patch)
    harmful = keras.Model(patch, keras.layers.Dense(4)(keras.layers.Flatten()(harm)))
    harmful.save(bundle / "fold-0/model.keras")
    trace.unlink(missing_ok=True)
    sealed(bundle)
    said, _ = refused(bundle)
    assert "holds no model that may be loaded" in said
    assert not trace.exists()
    keras.saving.load_model(bundle / "fold-0/model.keras", safe_mode=False).predict_on_batch(np.zeros((1, *shape)))
    assert trace.exists(), "the layer does no harm where it may run, so that the test shows nothing"


class Harm:
    """What a pickle does that means harm."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_among_the_arrays_of_an_svm_does_not_run(tmp_path):
    bundle = make_bundle(tmp_path / "svm", arch="svm", view="mfcc")
    trace = tmp_path / "ran"
    harmful = io.BytesIO()
    np.lib.format.write_array(harmful, np.array([Harm(trace)], object), allow_pickle=True)
    with zipfile.ZipFile(bundle / "fold-0/svm.npz", "w") as out:
        out.writestr("mean.npy", harmful.getvalue())
    sealed(bundle)
    assert "holds no model that may be loaded" in refused(bundle)[0]
    assert not trace.exists()
    pickle.loads(pickle.dumps(Harm(trace))).close()
    assert trace.exists(), "the pickle does no harm where it may run, so that the test shows nothing"


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_a_network_that_is_none_gets_a_sentence(bundle, content):
    path = bundle / "fold-0/model.keras"
    path.write_bytes(path.read_bytes()[:3000] if content is None else content)
    sealed(bundle)
    assert "holds no model that may be loaded" in refused(bundle)[0]


def test_a_network_of_other_classes_than_the_card_gets_a_sentence(bundle):
    sealed(bundle, labels=["angry", "happy", "sad"])
    assert "gives 4 probabilities, and its card names 3 labels" in refused(bundle)[0]


@pytest.fixture
def judged(bundle, tmp_path):
    """A bundle with scores."""
    release_bundle(bundle, tmp_path / "judged", SCORES, longest=5.27)
    return tmp_path / "judged"


def test_a_released_bundle_carries_scores_and_the_page_for_hubs(judged, bundle):
    card = train_bundle.read_card(judged)
    assert (card.scores, card.longest) == (SCORES, 5.27)
    assert replace(card, scores={}, longest=5.0, files={}) == replace(train_bundle.read_card(bundle), files={})
    assert set(card.files) == {"README.md", "fold-0/model.keras"}
    assert (judged / "README.md").read_text() == model_card.card_page(
        replace(card, files=train_bundle.read_card(bundle).files)
    )


def test_the_page_has_the_head_that_hubs_read(judged):
    _, head, body = (judged / "README.md").read_text().split("---\n", 2)
    values = YAML(typ="safe").load(head)
    assert values["library_name"] == "keras"
    assert values["pipeline_tag"] == "audio-classification"
    assert values["language"] == ["en"]
    (result,) = values["model-index"][0]["results"]
    assert {metric["name"]: metric["value"] for metric in result["metrics"]} == {
        "UAR": 0.5321, "Accuracy": 0.55, "Macro F1": 0.51,
    }  # fmt: skip
    for title in ("How well it does", "What it is good for, and what not", "How to use it", "Training data"):
        assert f"\n## {title}\n" in body


def test_model_show_says_what_must_be_known(judged):
    result = CliRunner().invoke(main, ["model", "show", str(judged)], catch_exceptions=False)
    said = " ".join(result.output.split())
    assert not result.output.startswith("---")
    assert "**UAR 53.2 %** (unweighted average recall, 95 % interval 48.6 to 58.0 %) on 240 clips of 6 speakers" in said
    assert "| ravdess | 53.2 % | 48.6 to 58.0 % | 55.0 % | 0.510 | 6 | 240 |" in said
    assert "| female | 58.0 % | 120 |" in said
    assert "| svm | 45.0 % |" in said
    assert "not what a person feels" in said
    marked = CliRunner().invoke(main, ["model", "show", str(judged), "--markdown"])
    assert marked.output == (judged / "README.md").read_text()
    whole = CliRunner().invoke(main, ["model", "show", str(judged), "--json"])
    assert json.loads(whole.output)["scores"] == SCORES


def test_one_sentence_tells_a_stranger_how_good_it_is(judged, bundle):
    said = CliRunner().invoke(main, ["model", "show", str(judged), "--line"]).output
    assert said.startswith(
        "The cnn recognises 53.2 % of the clips of each emotion on average (UAR, 95 % interval 48.6 to 58.0 %), "
    )
    assert "on unseen speakers: 240 clips of 6 speakers." in said
    untold = CliRunner().invoke(main, ["model", "show", str(bundle), "--line"]).output
    assert untold == "The cnn was never evaluated: run 'dvc repro'.\n"


def test_a_model_of_recordings_names_their_licence_and_the_demo_says_what_it_is(bundle):
    card = train_bundle.read_card(bundle)
    assert "synthesised by the demo" in model_card.card_text(card)
    assert "CC BY-NC-SA 4.0" in model_card.card_text(replace(card, synthetic=[]))
    assert "ravdess (synthetic demo)" in model_card.hub_metadata(replace(card, scores=SCORES))
    assert "It has not been evaluated." in model_card.card_text(card)


def test_the_labels_number_is_that_of_the_models_answers(bundle):
    model = models.load_model(bundle / "fold-0", "cnn")
    assert model.predict(np.zeros((2, 151, 64), np.float32)).shape == (2, 4)
