import base64
import copy
import itertools
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from pipeline.core import files, tables
from pipeline.core.errors import StoreError
from pipeline.report import figures
from pipeline.report import stage as report_stage
from pipeline.report import tables as report_tables
from pipeline.split import leakage
from tests.paths import ROOT

CLASSES = ["angry", "neutral", "sad"]
SCORES = {
    "protocol": "speaker",
    "synthetic": {},
    "test": {
        "uar": 0.6173, "uar_ci95": {"low": 0.5712, "high": 0.6601}, "wa": 0.6021, "macro_f1": 0.5934, "ece": 0.1,
        "chance": 0.3333, "clips": 1440, "speakers": 26,
    },
    "folds": {"count": 2, "uar_mean": 0.6111, "uar_sd": 0.0432, "each": {"0": {"uar": 0.6417}, "3": {"uar": 0.5806}}},
    "corpus": {
        "ravdess": {"uar": 0.5507, "uar_ci95": {"low": 0.5013, "high": 0.6098}, "wa": 0.5409, "macro_f1": 0.5311,
                    "ece": 0.1, "chance": 0.3333, "clips": 1238, "speakers": 24,
                    "recall": {"angry": 0.7304, "neutral": 0.6206, "sad": 0.3011}},
        "tess": {"uar": 0.9862, "uar_ci95": {"low": None, "high": None}, "wa": 0.9764, "macro_f1": 0.9666,
                 "ece": 0.1, "chance": 0.5, "clips": 202, "speakers": 2,
                 "recall": {"angry": 1.0, "neutral": 0.9724, "sad": None}},
    },
    "class": {
        "angry": {"precision": 0.7101, "recall": 0.7202, "f1": 0.7303, "support": 500},
        "neutral": {"precision": 0.4101, "recall": 0.4202, "f1": 0.4303, "support": 440},
        "sad": {"precision": 0.8, "recall": None, "f1": None, "support": 0},
    },
    "group": {"sex": {"female": {"uar": 0.6345, "clips": 720}, "male": {"uar": 0.5987, "clips": 719}}},
    "speaker": {"worst": {"name": "ravdess/07", "uar": 0.3121}, "best": {"name": "tess/OAF", "uar": 0.9878}},
    "baseline": {
        "svm": {"uar": 0.4471, "uar_ci95": {"low": 0.4012, "high": 0.4983}, "wa": 0.4502, "macro_f1": 0.44, "ece": 0.1},
        "chance": {"uar": 0.3333, "wa": 0.3472},
    },
    "normalise": "train",
    "leak": {"same_samples": 0.0, "same_clip": 0.0, "seen_speaker": 0.0, "seen_statement": 1.0, "statistics": 0.0,
             "contaminated": 0.0},
}  # fmt: skip
CARD = {
    "arch": "crnn",
    "view": "logmel",
    "labels": CLASSES,
    "protocol": "speaker",
    "synthetic": [],
    "folds": [0, 3],
    "corpora": {
        "ravdess": {"licence": "CC BY-NC-SA 4.0", "citation": "Livingstone (2018). doi:10.1371/journal.pone.0196391"},
        "tess": {"licence": "<script>alert(1)</script> http://example.org/licence", "citation": "Dupuis & Co"},
    },
    "versions": {"keras": "3.12.7", "backend": "tensorflow", "<script>": "<script>alert(2)</script>"},
}
TRAINED = {
    "arch": "crnn", "view": "logmel", "backend": "tensorflow", "device": "cpu:0", "parameters": 417432,
    "folds": {"0": {"epochs": 3, "best_epoch": 2, "val_uar": 0.5001}, "3": {"epochs": 2, "best_epoch": 1}},
}  # fmt: skip
AUDIT = {
    "protocol": "speaker",
    "leak": {"same_samples": 0.0, "same_name": 0.0, "seen_speaker": 0.5},
    "fold": {str(fold): {"count": {"test_speakers": 5 + fold, "test_rows": 321 + fold}} for fold in range(5)},
    "left_out": {"duplicates_across_corpora": 0, "label_scheme": 1384},
}
PARAMS = {
    "seed": 4242,
    "data": {"corpora": {"ravdess": "/data/secret/RAVDESS", "tess": "data/TESS"}, "demo": {"clips": 77}},
    "features": {"mfcc": {"n_mfcc": 20}, "logmel": {"n_mels": 64, "fmax": None}},
    "model": {"arch": "crnn", "features": "logmel", "cnn": {"kernels": 3}, "crnn": {"units": 64}},
    "train": {"folds": [0, 3], "table": "/home/me/table.csv"},
    "execute": {"workers": 8},
}
HEARD = [  # clip, fold, spoken, taken for; not in the order of their names
    ("ravdess/b", 0, "angry", "sad"),
    ("ravdess/a", 0, "angry", "angry"),
    ("tess/d", 3, "neutral", "neutral"),
    ("ravdess/c", 3, "angry", "angry"),
]
HISTORY = (
    "epoch,loss,uar,learning_rate,val_loss,val_uar,accuracy,val_accuracy\n"
    "1,2.123456,0.25,0.001,2.2,0.3,0.26,0.31\n2,1.5,0.5,0.001,1.75,0.5001,0.51,0.5101\n"
)
OLD_HISTORY = "epoch,loss,uar,learning_rate,val_loss,val_uar\n1,2.1,0.25,0.001,2.2,0.3\n"  # before it had accuracy
FILES = [
    ("ok", "clipped,stereo"),
    ("ok", "stereo"),
    ("ok", ""),
    ("silent", "stereo"),
    ("silent", None),
    ("empty", None),
]


class Page(HTMLParser):
    """Elements with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def write_predictions(path, labels=CLASSES):
    frame = pd.DataFrame(HEARD, columns=["clip_id", "fold", "label", "predicted"])
    frame = frame.assign(corpus=frame["clip_id"].str.split("/").str[0], speaker="ravdess/01", sex="male")
    even = np.full((len(frame), len(labels)), 1 / len(labels), np.float32)
    tables.write_predictions(frame.assign(variant="original"), even, labels, path)


def fabricate(root, *, scores=SCORES, card=CARD, history=HISTORY, training=TRAINED):
    """Write all that the stage reads, as the other stages write it, and give the arguments of ``run``."""
    for path, values in {
        "metrics/audit.json": AUDIT,
        "models/bundle/bundle.json": card | {"scores": scores, "training": training},
    }.items():
        files.write_json(values, root / path)
    for fold in card["folds"] if history else ():
        (root / f"models/bundle/fold-{fold}").mkdir()
        (root / f"models/bundle/fold-{fold}/history.csv").write_text(history)
    write_predictions(root / "models/predictions.parquet")
    for corpus in card["corpora"]:
        rows = [{"path": f"{k}.wav", "status": s, "warnings": w} for k, (s, w) in enumerate(FILES)]
        tables.write_manifest(rows, root / f"data/manifest/{corpus}.parquet", synthetic=False, about={})
    return {
        "audit": root / "metrics/audit.json",
        "manifests": [root / f"data/manifest/{corpus}.parquet" for corpus in card["corpora"]],
        "bundle": root / "models/bundle",
        "predictions": root / "models/predictions.parquet",
        "params": PARAMS,
        "plots": root / "metrics/plots",
        "page": root / "metrics/report.html",
        "details": root / "metrics/details.json",
    }


def changed(values, **sections):
    return {**copy.deepcopy(values), **sections}


@pytest.fixture
def drawn(monkeypatch):
    """Leave out the rendering, which takes most of the time, and collect the figures instead."""
    collected = []

    def note(figure, path):
        collected.append(figure)
        path.write_bytes(bytes(24))

    monkeypatch.setattr(figures, "save_figure", note)
    return collected


@pytest.fixture
def page_of(drawn, tmp_path):
    def run(**inputs):
        arguments = fabricate(tmp_path, **inputs)
        report_stage.run(**arguments)
        return Page(arguments["page"].read_text(encoding="utf-8").replace("\u00a0", " "))

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The stage's arguments after one run."""
    arguments = fabricate(tmp_path_factory.mktemp("report"))
    report_stage.run(**arguments)
    return arguments


@pytest.fixture(scope="module")
def page(made):
    return Page(made["page"].read_text(encoding="utf-8").replace("\u00a0", " "))


def test_it_writes_five_tables_five_pictures_and_a_page_and_nothing_else(made):
    names = ("curves", "confusion", "f1_by_class", "uar_by_corpus", "recall_by_corpus")
    expected = {f"{name}.png" for name in names} | {f"{name}.csv" for name in ("history", *names[1:])}
    assert {path.name for path in made["plots"].iterdir()} == expected
    beside = {path.name for path in made["plots"].parent.iterdir()}
    assert beside == {"audit.json", "details.json", "plots", "report.html"}


def test_all_scores_are_written_without_the_clock(drawn, tmp_path):
    arguments = fabricate(tmp_path, training=TRAINED | {"speed": {"clips_per_second": 335.4}})
    report_stage.run(**arguments)
    assert json.loads(arguments["details"].read_text()) == SCORES | {"training": TRAINED}


def test_a_second_run_gives_the_same_bytes_and_forgets_what_was_there(made, tmp_path):
    again = fabricate(tmp_path)
    (tmp_path / "metrics/plots").mkdir()
    (tmp_path / "metrics/plots/old.png").touch()
    report_stage.run(**again)
    first = {path.name: path.read_bytes() for path in (made["page"], *made["plots"].iterdir())}
    assert {path.name: path.read_bytes() for path in (again["page"], *again["plots"].iterdir())} == first


def test_confusion_csv_has_a_row_per_clip_in_the_order_of_their_names(made):
    lines = (made["plots"] / "confusion.csv").read_text().splitlines()
    assert lines == ["actual,predicted", "angry,angry", "angry,sad", "angry,angry", "neutral,neutral"]


def test_history_csv_has_a_row_per_fold_and_epoch(made):
    lines = (made["plots"] / "history.csv").read_text().splitlines()
    assert lines[0] == "fold,epoch,loss,val_loss,uar,val_uar,accuracy,val_accuracy,learning_rate"
    assert lines[1:3] == ["0,1,2.12346,2.2,0.25,0.3,0.26,0.31,0.001", "0,2,1.5,1.75,0.5,0.5001,0.51,0.5101,0.001"]
    assert [line[:4] for line in lines[3:]] == ["3,1,", "3,2,"]


def test_the_other_tables_hold_the_metrics_and_leave_null_empty(made):
    assert (made["plots"] / "f1_by_class.csv").read_text().splitlines() == [
        "class,precision,recall,f1,support",
        "angry,0.7101,0.7202,0.7303,500",
        "neutral,0.4101,0.4202,0.4303,440",
        "sad,0.8,,,0",
    ]
    assert (made["plots"] / "uar_by_corpus.csv").read_text().splitlines() == [
        "corpus,uar,low,high,clips,speakers,chance,svm",
        "pooled,0.6173,0.5712,0.6601,1440,26,0.3333,0.4471",
        "ravdess,0.5507,0.5013,0.6098,1238,24,0.3333,",
        "tess,0.9862,,,202,2,0.5,",
    ]
    assert (made["plots"] / "recall_by_corpus.csv").read_text().splitlines() == [
        "corpus,class,recall,clips",
        "ravdess,angry,0.7304,3",  # of the four predictions of this test
        "ravdess,neutral,0.6206,0",
        "ravdess,sad,0.3011,0",
        "tess,angry,1,0",
        "tess,neutral,0.9724,1",
        "tess,sad,,0",
    ]


@pytest.mark.parametrize(
    "words",
    [
        "61.7 %", "95 % interval 57.1 to 66.0 %", "chance 33.3 %", "28.4 points above chance",
        "Protocol speaker", "3 classes angry, neutral, sad", "Corpora ravdess, tess", "26 speakers, 1,440 clips",
        "crnn on logmel, 417,432 parameters", "2 of 5, pooled",
        "all, pooled 61.7 % 57.1 to 66.0 % 60.2 % 0.593 26 1,440",
        "ravdess 55.1 % 50.1 to 61.0 % 54.1 % 0.531 24 1,238", "tess 98.6 % – 97.6 % 0.967 2 202",
        "crnn, this page 61.7 % 57.1 to 66.0 % 60.2 %", "svm 44.7 % 40.1 to 49.8 % 45.0 %", "chance 33.3 % – 34.7 %",
        "▲ svm 44.7 %", "17.0 points above the svm", "Normalised by the training rows",
        "angry 72.0 % 71.0 % 0.730 500", "sad – 80.0 % – 0",
        "0 64.2 % 5 321 3 2 50.0 %", "3 58.1 % 8 324 2 1 –", "Mean 61.1 %, standard deviation 4.3 %",
        "female 63.4 % 720", "worst ravdess/07 31.2 %", "best tess/OAF 98.8 %",
        "ravdess 6 3 2 silent, 1 empty 2 stereo, 1 clipped", "1,384 (label scheme)",
        "say a sentence that is in the training data 100 % information", "No test row has a fault",
        "come from a speaker heard in training 0 % fault",
        "angry sad 33.3 % 1",
        "dvc repro", "keras 3.12.7", "device cpu:0", "seed 4242", "model.crnn.units 64", "train.folds [0, 3]",
        "features.logmel.fmax null",
    ],
)  # fmt: skip
def test_the_page_says(page, words):
    assert words in page.text


@pytest.mark.parametrize("words", ["n_mfcc", "model.cnn", "workers", "data.demo", "duplicates across", "/home/me"])
def test_the_page_does_not_say(page, words):
    assert words not in page.text


def test_nothing_is_loaded_from_elsewhere(made, page):
    text = made["page"].read_text(encoding="utf-8")
    assert not page.all("script")
    assert not [value for _, attributes in page.elements for name, value in attributes.items() if name.startswith("on")]
    loaded = [
        a[name] for tag, a in page.elements for name in ("src", "href", "srcset", "data") if name in a and tag != "a"
    ]
    assert loaded
    assert all(address.startswith("data:") for address in loaded)
    assert not re.search(r"url\(|@import", text)
    assert {a["href"] for a in page.all("a")} == {
        "https://doi.org/10.1371/journal.pone.0196391",
        "http://example.org/licence",
    }


def test_no_place_of_this_machine_is_on_the_page(made):
    text = made["page"].read_text(encoding="utf-8")
    assert "secret" not in text
    assert str(made["page"].parent) not in text


def test_pictures_are_the_files_and_are_described(made, page):
    images = {image["src"] for image in page.all("img")}
    files_there = {base64.b64encode(path.read_bytes()).decode() for path in made["plots"].glob("*.png")}
    assert images == {f"data:image/png;base64,{content}" for content in files_there}
    alts = " ".join(image["alt"] for image in page.all("img"))
    assert "tess 98.6 %" in alts
    assert "angry taken for sad, 33.3 %" in alts
    assert "svm, a mark on the pooled bar, 44.7 %" in alts
    assert "In ravdess lowest: sad, 30.1 %. In tess lowest: neutral, 97.2 %." in alts
    assert {image["width"] for image in page.all("img")} == {"614"}


def test_tables_are_captioned_and_their_heads_scoped(page):
    assert len(page.all("caption")) == len(page.all("table")) >= 11
    assert {head.get("scope") for head in page.all("th")} == {"col", "row"}


def test_a_clean_run_on_recorded_speech_has_no_banner(page):
    assert "DEMO" not in page.text
    assert "CONTAMINATED" not in page.text
    assert not [a for a in page.all("div") if a.get("class") == "warning"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"synthetic": {"ravdess": True, "tess": True}}, "DEMO: synthetic speech, says nothing about people"),
        ({"synthetic": {"tess": True}}, "tess: synthesised by the demo, and scored here beside recorded speech"),
        ({"leak": {"contaminated": 0.9937, "same_clip": 0.9937}}, "CONTAMINATED 99 %"),
        ({"leak": {"contaminated": 0.0001, "same_clip": 0.0001}}, "CONTAMINATED < 1 %"),
        ({"protocol": "published", "leak": {}}, "CONTAMINATED"),
        ({"shuffled": True}, "SHUFFLED labels: a control, must be chance"),
        ({"shuffled": True, "leak": {"contaminated": 0.5}}, "SHUFFLED labels: a control, must be chance"),
    ],
)
def test_what_must_not_be_believed_says_so_on_the_page_and_in_every_picture(page_of, drawn, change, said):
    scores = changed(SCORES, **change)
    page = page_of(scores=scores)
    assert said in page.text
    assert [a for a in page.all("div") if a.get("class") == "warning"]
    stamps = {" · ".join(text.get_text() for text in figure.texts).replace("\n", " · ") for figure in drawn}
    assert stamps == {leakage.warning_stamp(scores)}
    assert len(drawn) == 5


def test_every_table_carries_the_stamp_in_its_last_column(page_of, tmp_path):
    page_of(scores=changed(SCORES, shuffled=True, leak={"contaminated": 0.9937}))
    tables = {path.name: pd.read_csv(path) for path in (tmp_path / "metrics/plots").glob("*.csv")}
    assert len(tables) == 5
    for table in tables.values():
        assert table.columns[-1] == "stamp"
        assert set(table["stamp"]) == {"SHUFFLED labels: a control, must be chance · CONTAMINATED 99\u00a0%"}


def test_without_a_stamp_no_table_has_a_column_for_it(made):
    heads = [path.read_text().splitlines()[0] for path in made["plots"].glob("*.csv")]
    assert not [head for head in heads if "stamp" in head]


@pytest.mark.parametrize(
    ("change", "said", "unsaid"),
    [
        ({}, "not in the training data: expect this UAR for new speakers", "comparable"),
        ({"synthetic": {"ravdess": True, "tess": True}}, "not in the training data.", "expect this"),
        ({"leak": {"contaminated": 0.2, "seen_speaker": 0.2}}, "CONTAMINATED", "not in the training data"),
        ({"protocol": "random"}, "expect less for new speakers", "expect this"),
        ({"protocol": "published"}, "no estimate for new recordings", "expect this"),
        ({"transductive": True, "normalise": "speaker"}, "not in the training data. Transductive: each", "expect this"),
        ({"protocol": "corpus", "transductive": True}, "no estimate for a single clip of a new speaker", "expect this"),
        ({"protocol": "random", "transductive": True}, "expect less for new speakers. Transductive:", "expect this"),
        ({"shuffled": True}, "The interval misses chance: with random labels", "expect this"),
        ({"shuffled": True}, "SHUFFLED", "points above"),
    ],
)
def test_no_more_is_promised_than_the_split_and_the_speech_allow(page_of, change, said, unsaid):
    text = page_of(scores=changed(SCORES, **change)).text
    assert said in text
    assert unsaid not in text


@pytest.mark.parametrize(("times", "unit"), [(1, "clips"), (2, "rows")])
def test_what_stands_twice_is_counted_in_rows(page_of, drawn, times, unit):
    text = page_of(scores=changed(SCORES, test=SCORES["test"] | {"rows": times * SCORES["test"]["clips"]})).text
    assert f"precision F1 {unit}" in text
    assert f"predicted share of class {unit}" in text
    assert f"test {unit} of the class" in " ".join(axes.get_xlabel() for figure in drawn for axes in figure.axes)


def test_corpora_are_those_of_the_model_even_without_a_test_speaker(page_of):
    page = page_of(scores=changed(SCORES, corpus={"tess": SCORES["corpus"]["tess"]}))
    assert "Corpora ravdess, tess" in page.text


def test_a_leak_that_is_there_stands_out_with_its_remedy(page_of):
    leak = {"seen_speaker": 0.25, "same_clip": 0.0, "seen_statement": 1.0, "contaminated": 0.25}
    page = page_of(scores=changed(SCORES, leak=leak))
    assert "come from a speaker heard in training: split by speaker 25.0 % fault" in page.text
    assert "have a version of the same clip in training 0 % fault" in page.text
    assert [row.get("class") for row in page.all("tr")].count("loud") == 1  # a known sentence is no fault


@pytest.mark.parametrize("interval", [None, {"low": None, "high": None}])
def test_without_an_interval_the_page_says_why(drawn, tmp_path, interval):
    arguments = fabricate(tmp_path)
    scores = changed(SCORES, test=SCORES["test"] | {"uar_ci95": interval})
    whole = CARD | {"scores": scores, "training": TRAINED}
    (arguments["bundle"] / "bundle.json").write_text(json.dumps(whole))
    report_stage.run(**arguments)
    page = Page(arguments["page"].read_text(encoding="utf-8"))
    assert "No interval: it takes five test speakers or more" in page.text
    assert "nan" not in page.text
    assert "None" not in page.text
    assert "pooled,0.6173,,,1440" in (arguments["plots"] / "uar_by_corpus.csv").read_text()


def test_an_interval_that_holds_chance_is_called_by_its_name(page_of):
    test = SCORES["test"] | {"uar": 0.36, "uar_ci95": {"low": 0.32, "high": 0.4}}
    assert "do not show that it recognises anything" in page_of(scores=changed(SCORES, test=test)).text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.3, 0.4, "The interval holds chance, as it must"), (0.34, 0.4, "misses chance"), (0.2, 0.33, "misses chance")],
)
def test_a_control_is_right_where_its_interval_holds_chance(page_of, low, high, said):
    test = SCORES["test"] | {"uar": 0.36, "uar_ci95": {"low": low, "high": high}}
    assert said in page_of(scores=changed(SCORES, test=test, shuffled=True)).text


def test_how_the_rows_were_normalised_is_among_the_facts(page_of):
    page = page_of(scores=changed(SCORES, normalise="speaker", transductive=True))
    assert "Normalised each speaker apart" in page.text


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            {"source": "voice", "soft": None},
            "Labels what most listeners heard in the voice, in corpora that have votes Co",
        ),
        (
            {"source": "intended", "soft": "face"},
            "Labels what the actors intended; trained on shares of viewers of the s",
        ),
    ],
)
def test_whose_labels_these_are_is_among_the_facts(page_of, labels, said):
    assert said in page_of(scores=changed(SCORES, labels=labels)).text


def test_the_intention_of_the_actors_needs_no_word(page):
    assert "Labels" not in page.text


def test_a_speakers_own_statistics_are_information_and_no_fault(page_of):
    page = page_of(scores=changed(SCORES, leak={"own_statistics": 1.0, "seen_speaker": 0.0, "contaminated": 0.0}))
    assert "mean and SD of their own speaker's test clips 100 % information" in page.text
    assert "loud" not in [row.get("class") for row in page.all("tr")]
    assert "CONTAMINATED" not in page.text


@pytest.mark.parametrize(("rows", "said"), [(2880, True), (1440, False), (None, False)])
def test_rows_are_counted_where_there_are_more_of_them_than_clips(page_of, rows, said):
    page = page_of(scores=changed(SCORES, test=SCORES["test"] | {"rows": rows}))
    assert ("26 speakers, 1,440 clips, some of them more than once: 2,880 rows" in page.text) is said


def test_an_svm_that_does_as_well_is_not_hidden(page_of):
    baseline = {"svm": {"uar": 0.6173, "wa": 0.6}, "chance": {"uar": 0.3333, "wa": 0.4}}
    page = page_of(scores=changed(SCORES, baseline=baseline))
    assert "The svm does as well or better" in page.text
    assert "above the svm" not in page.text


@pytest.mark.parametrize("baseline", [None, {}, {"chance": {"uar": 0.3333, "wa": 0.3472}}])
def test_without_an_svm_chance_stands_beside_the_model_alone(page_of, tmp_path, baseline):
    page = page_of(scores=changed(SCORES, baseline=baseline))
    assert not re.search(r"\bsvm \d|The svm", page.text)
    assert not [mark for mark in page.all("i") if mark.get("class") == "svm"]
    assert "crnn, this page 61.7 %" in page.text
    assert f"chance 33.3 % – {'34.7 %' if baseline else '–'}" in page.text
    assert "pooled,0.6173,0.5712,0.6601,1440,26,0.3333,\n" in (tmp_path / "metrics/plots/uar_by_corpus.csv").read_text()


@pytest.mark.parametrize("svm", [0.0, 0.2, 0.34, 0.5, 0.61, 0.77, 0.9, 1.0])
@pytest.mark.parametrize("chance", [0.125, 0.3333, 0.5])
def test_no_text_of_the_scale_stands_on_another_or_leaves_it(svm, chance):
    """In a browser 390 px wide the longest of these texts takes 27 % of the scale, and its end, 100 %, takes 11 %."""
    marks = report_tables.baseline_marks({"test": {"chance": chance}, "baseline": {"svm": {"uar": svm}}})
    spans = [(mark.low, mark.middle - 14, mark.middle + 14) for mark in marks] + [(False, 89, 100)]
    assert [mark.at for mark in marks] == [100 * chance, 100 * svm]
    assert all(low >= 0 and high <= 100 for _, low, high in spans)
    for first, second in itertools.combinations(spans, 2):
        assert first[0] != second[0] or first[2] <= second[1] or second[2] <= first[1]


@pytest.mark.parametrize(("protocol", "title"), [("corpus", "Left-out corpus"), ("speaker", "Recall by corpus")])
def test_the_matrix_over_corpora_is_named_after_its_protocol(page_of, drawn, protocol, title):
    page_of(scores=changed(SCORES, protocol=protocol))
    titles = [axes.get_title(loc="left") for figure in drawn for axes in figure.axes]
    assert [text for text in titles if text.startswith(title)]
    assert len([text for text in titles if "orpus" in text]) == 2  # this one and UAR by corpus


def test_an_evaluation_from_before_recall_by_corpus_is_reported_too(page_of, tmp_path):
    corpora = {name: {k: v for k, v in values.items() if k != "recall"} for name, values in SCORES["corpus"].items()}
    page = page_of(scores=changed(SCORES, corpus=corpora))
    assert "ravdess 55.1 %" in page.text
    assert "tess,neutral,,1\n" in (tmp_path / "metrics/plots/recall_by_corpus.csv").read_text()


def test_a_clip_tested_more_than_once_counts_once_in_recall_by_corpus():
    rows = [("tess", "a", "sad"), ("tess", "a", "sad"), ("tess", "b", "sad"), ("savee", "a", "sad")]
    heard = pd.DataFrame(rows, columns=["corpus", "clip_id", "label"])
    scores = {"corpus": {"savee": {"recall": {"sad": 0.5}}, "tess": {"recall": {"sad": 0.25}}}}
    table = figures.recall_table(scores, heard, ["fear", "sad"])
    assert table["clips"].tolist() == [0, 1, 0, 2]
    assert table["recall"].tolist()[1::2] == [0.5, 0.25]


def test_a_history_without_accuracy_keeps_its_columns_empty(page_of, drawn, tmp_path):
    page_of(history=OLD_HISTORY)
    lines = (tmp_path / "metrics/plots/history.csv").read_text().splitlines()
    assert lines[0] == "fold,epoch,loss,val_loss,uar,val_uar,accuracy,val_accuracy,learning_rate"
    assert lines[1] == "0,1,2.1,2.2,0.25,0.3,,,0.001"
    assert len(drawn[0].axes) == 2


def test_dvc_draws_every_picture_and_only_columns_that_are_there(made):
    plots = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    pictures = {plot for plot in plots if isinstance(plot, str)}
    assert pictures == {f"metrics/plots/{path.name}" for path in made["plots"].glob("*.png")}
    drawn_by_dvc = [values for plot in plots if not isinstance(plot, str) for values in plot.values()]
    for plot in drawn_by_dvc:
        for path, columns in plot["y"].items():
            head = (made["plots"].parents[1] / path).read_text().splitlines()[0].split(",")
            assert {plot["x"], *([columns] if isinstance(columns, str) else columns)} <= set(head)


def test_of_a_single_corpus_pooled_is_not_said_again(page_of):
    page = page_of(scores=changed(SCORES, corpus={"ravdess": SCORES["corpus"]["ravdess"]}))
    assert "ravdess 55.1 %" in page.text
    assert "all, pooled" not in page.text


def test_synthetic_speech_is_not_sold_as_the_corpus_it_imitates(page_of):
    page = page_of(card=CARD | {"synthetic": ["ravdess"]})
    assert "synthesised by the demo, it holds no recording" in page.text
    assert "Livingstone" not in page.text
    assert "data.demo.clips 77" in page.text


def test_little_is_needed_beyond_the_score(page_of, tmp_path):
    scores = {"protocol": "new", "test": {"uar": 0.5, "chance": None, "clips": 4, "speakers": 1}}
    page = page_of(scores=scores, history="")
    assert "50.0 %" in page.text
    header = (tmp_path / "metrics/plots/history.csv").read_text()
    assert header == "fold,epoch,loss,val_loss,uar,val_uar,accuracy,val_accuracy,learning_rate\n"


def test_the_ring_is_where_training_stopped_not_where_the_curve_is_highest(page_of, drawn):
    page_of()
    rings = [line.get_xdata().tolist() for line in drawn[0].axes[1].lines if line.get_marker() == "o"]
    assert rings == [[2], [1]]


def test_training_without_validation_is_reported_too(page_of, tmp_path):
    page_of(history="epoch,loss,uar,learning_rate\n1,2.0,0.25,0.001\n")
    lines = (tmp_path / "metrics/plots/history.csv").read_text().splitlines()
    assert lines[1:] == ["0,1,2,,0.25,,,,0.001", "3,1,2,,0.25,,,,0.001"]


@pytest.mark.parametrize(
    ("missing", "stage"),
    [
        ("metrics/audit.json", "split"),
        ("models/bundle/bundle.json", "evaluate"),
        ("models/predictions.parquet", "evaluate"),
        ("data/manifest/tess.parquet", "ingest@tess"),
    ],
)
def test_what_is_missing_is_named_with_the_stage_that_makes_it(tmp_path, missing, stage):
    arguments = fabricate(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(StoreError, match=re.escape(f"{tmp_path / missing} does not exist: run 'dvc repro {stage}'")):
        report_stage.run(**arguments)
    assert not arguments["plots"].exists()


def test_predictions_of_another_model_are_refused(tmp_path):
    arguments = fabricate(tmp_path)
    write_predictions(arguments["predictions"], labels=["sad", "neutral", "angry"])
    with pytest.raises(StoreError, match=r"has the classes sad, neutral, angry.*run 'dvc repro evaluate'"):
        report_stage.run(**arguments)


@pytest.mark.parametrize(
    ("path", "content", "stage"),
    [
        ("models/bundle/bundle.json", "{}", "evaluate"),
        ("models/bundle/bundle.json", '{"labels": ["sad"], "folds": [0], "scores": {}}', "evaluate"),
    ],
)
def test_metrics_without_a_score_are_refused(tmp_path, path, content, stage):
    arguments = fabricate(tmp_path)
    (tmp_path / path).write_text(content)
    with pytest.raises(StoreError, match=f"run 'dvc repro -f {stage}'"):
        report_stage.run(**arguments)


def test_the_command_reads_params_and_writes_where_dvc_yaml_says(drawn, tmp_path, monkeypatch):
    fabricate(tmp_path)
    (tmp_path / "params.yaml").write_text(json.dumps(PARAMS))
    monkeypatch.chdir(tmp_path)
    report_stage.main()
    assert (tmp_path / "metrics/report.html").exists()
    assert (tmp_path / "metrics/plots/confusion.png").exists()


def test_an_error_is_one_line_and_exit_code_one(tmp_path):
    command = [sys.executable, "-m", "pipeline.report"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "params.yaml" in done.stderr


def luminance(colour):
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "panel"])
@pytest.mark.parametrize("text", ["ink", "soft", "accent", "bad"])
def test_text_stands_out_from_its_ground(made, theme, ground, text):
    """WCAG 2.2, success criterion 1.4.3: contrast of 4.5:1."""
    block = re.findall(r":root \{(.*?)\}", made["page"].read_text(encoding="utf-8"), flags=re.DOTALL)[theme]
    colours = dict(re.findall(r"--(\w+): (#\w{6})", block))
    dark, light = sorted([luminance(colours[ground]), luminance(colours[text])])
    assert (light + 0.05) / (dark + 0.05) >= 4.5
