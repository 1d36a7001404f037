"""What a bundle says of files: the numbers that evaluate wrote, and a sentence for all that is no speech."""

import csv
import io
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from ruamel.yaml import YAML

from pipeline.audio import decode
from pipeline.cli.main import main
from pipeline.core import config, machine, tables
from pipeline.demo import stage
from pipeline.evaluate import stage as evaluate_stage
from pipeline.extract import stage as extract_stage
from pipeline.ingest import stage as ingest_stage
from pipeline.serving import predictor as predictors
from pipeline.serving.inputs import prepare_inputs
from pipeline.split import stage as split_stage
from pipeline.train import bundle as train_bundle
from pipeline.train import stage as train_stage
from tests.bundles import make_bundle
from tests.paths import ROOT

RATE = 16_000
SMALL = {"cnn": {"filters": [4, 8]}, "crnn": {"filters": [4, 8], "units": 4}, "conv2d": {"filters": [4, 4, 4, 4]}}


def write_params(folder, *, arch, view, audio_settings, train_settings):
    values = config.read_params(ROOT / "params.yaml")
    values["data"]["demo"] |= {"clips": 60, "max_bad": 0.3}
    values["audio"] |= audio_settings
    values["augment"]["copies"] = ["noise"]
    values["split"]["labels"]["scheme"] = 4
    values["model"] |= {"arch": arch, "features": view}
    values["train"] |= {"epochs": 2, "folds": (0, 2)} | train_settings
    values["train"]["folds"] = list(values["train"]["folds"])
    for name, changes in SMALL.items():
        values["model"][name] |= changes
    values["execute"]["workers"] = 1
    with (folder / "params.yaml").open("w") as out:
        YAML(typ="safe").dump(values, out)


def do(stage, monkeypatch, *words):
    with monkeypatch.context() as patched:
        patched.setattr(sys, "argv", ["stage", *words])
        stage.main()


@pytest.fixture(scope="module")
def corpora_(tmp_path_factory):
    """Four small corpora of the demo, ingested."""
    folder = tmp_path_factory.mktemp("demo")
    write_params(folder, arch="cnn", view="logmel", audio_settings={}, train_settings={})
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        stage.main()
        for name in config.corpus_folders(config.read_params()):
            do(ingest_stage, patched, name)
    return folder


def run(corpora_, folder, **settings):
    """Take the pipeline from the corpora to predictions and bundle."""
    shutil.copytree(corpora_, folder)
    write_params(folder, **settings)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("SER_CACHE_DIR", str(corpora_.parent / "cache"))
        patched.setattr(train_stage, "keep_freed_memory", lambda: True)
        split_stage.main()
        for name in config.corpus_folders(config.read_params()):
            do(extract_stage, patched, name)
        train_stage.main()
        evaluate_stage.main()
    return folder


UNTRIMMED = {"trim_db": None, "offset": 0.25, "seconds": 1.5, "pad": "features"}
SYSTEMS = {
    "cnn": {"arch": "cnn", "view": "logmel", "audio_settings": {}, "train_settings": {}},
    "crnn": {"arch": "crnn", "view": "mfcc", "audio_settings": {"wiener": True}, "train_settings": {}},
    "untrimmed": {"arch": "conv2d", "view": "mfcc", "audio_settings": UNTRIMMED,
                  "train_settings": {"statistics": "cells"}},
    "svm": {"arch": "svm", "view": "mfcc", "audio_settings": {"seconds": 1.0}, "train_settings": {}},
}  # fmt: skip


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request, corpora_, tmp_path_factory):
    """A folder in which the whole pipeline has run."""
    return run(corpora_, tmp_path_factory.mktemp(request.param) / "run", **SYSTEMS[request.param])


def recordings(folder):
    """The file of each clip_id."""
    places = config.corpus_folders(config.read_params(folder / "params.yaml"))
    return {
        row["clip_id"]: folder / place / row["path"]
        for corpus, place in places.items()
        for row in tables.manifest_records(tables.read_manifest(folder / f"data/manifest/{corpus}.parquet"))
    }


def test_every_test_clip_gets_what_evaluate_wrote(system):
    frame, written, _ = tables.read_predictions(system / "models/predictions.parquet")
    paths = recordings(system)
    for fold in (0, 2):
        here = (frame["fold"] == fold).to_numpy()
        assert here.sum() >= 5
        opened = predictors.load_predictor([system / "models/bundle"], fold=fold)
        plan = opened.window_plan()
        inputs = [
            prepare_inputs(decode.read_recording(paths[name]), opened.input_settings, plan, name=name)
            for name in frame["clip_id"][here]
        ]
        found = np.stack([answer.probabilities for answer in opened.predict(inputs)])
        assert np.abs(found - written[here]).max() <= 1e-5
        assert np.ptp(found, axis=0).max() > 1e-3, "all clips alike show nothing"


def test_the_command_says_the_same_and_the_folds_answer_by_their_mean(system, monkeypatch):
    frame, _, labels = tables.read_predictions(system / "models/predictions.parquet")
    name = frame["clip_id"].iloc[0]
    path = recordings(system)[name]
    monkeypatch.chdir(system)
    each = [said(str(path), "--fold", str(fold)) for fold in (0, 2)]
    both = said(str(path))
    for label in labels:
        mean = (each[0]["probabilities"][label] + each[1]["probabilities"][label]) / 2
        assert both["probabilities"][label] == pytest.approx(mean, abs=2e-6)
    assert both["path"] == path.relative_to(system).as_posix()
    assert both["emotion"] == max(both["probabilities"], key=both["probabilities"].get)


def said(*words):
    """What predict prints of one clip."""
    result = CliRunner().invoke(main, ["predict", "--json", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (clip,) = json.loads(result.stdout)["clips"]
    return clip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "one", longest=3.5)


def tone(seconds, rate=RATE, *frequencies):
    times = np.arange(round(seconds * rate)) / rate
    return 0.2 * sum(np.sin(2 * np.pi * f * times) for f in frequencies or (220,))


def noise(seconds, rate=RATE):
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))


ODD = {
    "silence.wav": (np.zeros(2 * RATE), RATE, {}),
    "noise.wav": (noise(2), RATE, {}),
    "chord.wav": (tone(2, RATE, 220, 277.2, 329.6), RATE, {}),
    "short.wav": (tone(0.1), RATE, {}),
    "one_sample.wav": (np.float64([0.5]), RATE, {}),
    "telephone.wav": (noise(2, 8_000), 8_000, {}),
    "studio.wav": (noise(2, 192_000), 192_000, {}),
    "eight_bits.wav": (noise(2), RATE, {"subtype": "PCM_U8"}),
    "twentyfour_bits.wav": (noise(2), RATE, {"subtype": "PCM_24"}),
    "float.wav": (noise(2), RATE, {"subtype": "FLOAT"}),
    "double.wav": (noise(2), RATE, {"subtype": "DOUBLE"}),
    "loud.wav": (20 * noise(2), RATE, {}),
    "stereo.wav": (np.stack([noise(2), tone(2)], axis=1), RATE, {}),
    "six_channels.wav": (np.stack([noise(2)] * 6, axis=1), RATE, {}),
    "lossy.mp3": (noise(2, 44_100), 44_100, {}),
    "free.ogg": (noise(2, 44_100), 44_100, {}),
    "whole.flac": (noise(2, 44_100), 44_100, {}),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_sound_gets_an_answer_or_a_sentence(bundle, tmp_path, name):
    samples, rate, settings = ODD[name]
    soundfile.write(tmp_path / name, samples, rate, **settings)
    clip = said(str(tmp_path / name), "--model", str(bundle))
    assert clip["seconds"] == pytest.approx(len(samples) / rate, abs=0.06)
    if name == "silence.wav":
        assert (clip["emotion"], clip["probabilities"], clip["notes"]) == (None, None, ["silence"])
    else:
        assert sum(clip["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    notes = {"short.wav": "shorter than 0.5 s", "one_sample.wav": "shorter than 0.5 s", "loud.wav": "clipped"}
    assert notes.get(name, "") in "".join(clip["notes"])


def test_ten_minutes_without_speech_get_a_timeline_and_no_emotion(bundle, tmp_path):
    samples = np.concatenate([tone(60, 8_000), np.zeros(8_000 * 540)])
    soundfile.write(tmp_path / "long.wav", samples, 8_000)
    clip = said(str(tmp_path / "long.wav"), "--model", str(bundle), "--every", "3")
    assert clip["emotion"] is None
    assert clip["notes"] == ["no speech found"]
    assert len(clip["timeline"]) == 200
    assert {span["emotion"] for span in clip["timeline"]} == {None}


BAD = {
    "empty.wav": b"",
    "text.wav": b"not a sound" * 100,
    "pointer.wav": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "head.wav": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "memo.m4a": b"\0\0\0\x20ftypM4A " + bytes(900),
    "memo.wav": b"\0\0\0\x20ftypM4A " + bytes(900),
    "call.amr": b"#!AMR\n" + bytes(900),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_sound_gets_a_sentence_and_the_others_an_answer(bundle, tmp_path, name):
    (tmp_path / name).write_bytes(BAD[name])
    soundfile.write(tmp_path / "good.wav", tone(1), RATE)
    result = CliRunner().invoke(main, ["predict", "--model", str(bundle), "--json", str(tmp_path)])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert [clip["path"] for clip in found["clips"]] == [str(tmp_path / "good.wav")]
    assert len(found["failures"]) == 1
    assert name in found["failures"][0]
    assert "Error: 1 file could not be read; the others were predicted." in result.stderr
    assert "Traceback" not in result.output


def test_formats_that_are_not_read_get_one_line_that_converts_them_all(bundle, tmp_path):
    for name in ("a b.m4a", "c.webm"):
        (tmp_path / name).write_bytes(b"\0\0\0\x20ftypM4A " + bytes(900))
    result = CliRunner().invoke(main, ["predict", "--model", str(bundle), str(tmp_path)])
    assert result.exit_code == 1
    assert "2 files are in formats that are not read (1 m4a, 1 webm), such as" in result.stderr
    assert f"find {tmp_path} ! -type d" in result.stderr
    assert "Error: 2 files could not be read; there were no others." in result.stderr


def test_a_cut_file_gets_a_sentence(bundle, tmp_path):
    soundfile.write(tmp_path / "cut.wav", tone(2), RATE)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:-9000])
    result = CliRunner().invoke(main, ["predict", "--model", str(bundle), str(tmp_path / "cut.wav")])
    assert result.exit_code == 1
    assert "ends before the length its header states" in result.stderr


def test_what_may_never_end_is_passed_over_in_a_folder(bundle, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "device.wav").symlink_to("/dev/zero")
    (tmp_path / "nowhere.wav").symlink_to(tmp_path / "missing")
    soundfile.write(tmp_path / "good.wav", tone(1), RATE)
    result = CliRunner().invoke(main, ["predict", "--model", str(bundle), "--json", str(tmp_path)])
    found = json.loads(result.stdout)
    assert [Path(clip["path"]).name for clip in found["clips"]] == ["good.wav"]
    assert len(found["failures"]) == 1
    assert "nowhere.wav" in found["failures"][0]


def test_names_do_nothing_to_a_terminal_and_any_encoding_will_do(bundle, tmp_path):
    soundfile.write(tmp_path / "a\x1b[31m\nb.wav", noise(1), RATE)
    script = "from pipeline.cli.main import main; main()"
    words = [sys.executable, "-c", script, "predict", "--model", str(bundle), str(tmp_path)]
    done = subprocess.run(
        words,
        capture_output=True,
        encoding="latin-1",
        cwd=ROOT,
        check=True,
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
    )
    assert "a\\x1b[31m\\nb.wav" in done.stdout
    assert "\\u2588" in done.stdout


def test_standard_input_is_a_recording(bundle, tmp_path):
    soundfile.write(tmp_path / "a.flac", noise(1), RATE)
    words = ["predict", "--json", "--model", str(bundle)]
    piped = CliRunner().invoke(main, [*words, "-"], input=(tmp_path / "a.flac").read_bytes())
    (clip,) = json.loads(piped.stdout)["clips"]
    assert clip["probabilities"] == said(str(tmp_path / "a.flac"), "--model", str(bundle))["probabilities"]
    assert clip["path"] == "standard input"
    both = CliRunner().invoke(main, [*words, "-", str(tmp_path)])
    assert both.exit_code == 1
    assert "give it alone" in both.stderr


def test_many_files_say_the_same_in_one_process_or_two(bundle, tmp_path):
    for number in range(70):
        soundfile.write(tmp_path / f"{number:02}.wav", noise(0.6) * tone(0.6, RATE, 100 + 20 * number), RATE)
    words = ["predict", "--model", str(bundle), "--csv", str(tmp_path)]
    one, two = (CliRunner().invoke(main, [*words, "--workers", str(count)]) for count in (1, 2))
    assert one.stdout == two.stdout
    rows = list(csv.DictReader(io.StringIO(one.stdout)))
    assert [Path(row["path"]).name for row in rows] == [f"{number:02}.wav" for number in range(70)]
    alone = said(str(tmp_path / "33.wav"), "--model", str(bundle))["probabilities"]
    assert all(float(rows[33][label]) == pytest.approx(share, abs=2e-6) for label, share in alone.items())
    assert len({row["happy"] for row in rows}) > 60


def test_several_bundles_answer_by_their_mean(bundle, tmp_path):
    other = make_bundle(tmp_path / "crnn", arch="crnn", view="mfcc", seed=3, longest=3.5)
    soundfile.write(tmp_path / "a.wav", noise(1), RATE)
    path = str(tmp_path / "a.wav")
    one, two = (said(path, "--model", str(each))["probabilities"] for each in (bundle, other))
    both = said(path, "--model", str(bundle), "--model", str(other))["probabilities"]
    assert both == pytest.approx({label: (one[label] + two[label]) / 2 for label in one}, abs=2e-6)


def refused(*words):
    result = CliRunner().invoke(main, ["predict", *map(str, words)])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert not isinstance(result.exception, ValueError), result.exception
    return result.stderr


def test_bundles_of_other_classes_do_not_answer_together(bundle, tmp_path):
    other = make_bundle(tmp_path / "other", labels=("angry", "sad"))
    soundfile.write(tmp_path / "a.wav", tone(1), RATE)
    said_ = refused("--model", bundle, "--model", other, tmp_path / "a.wav")
    assert "only bundles with the same classes can be combined" in said_


def test_a_fold_that_is_not_there_and_windows_with_gaps_are_refused(bundle, tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1), RATE)
    assert "has no fold 4; it has 0." in refused("--model", bundle, "--fold", 4, tmp_path / "a.wav")
    assert "leave gaps" in refused("--model", bundle, "--every", 9, tmp_path / "a.wav")
    assert "--every is nan s" in refused("--model", bundle, "--every", "nan", tmp_path / "a.wav")
    assert "is no bundle" in refused("--model", tmp_path / "a.wav", tmp_path / "a.wav")
    assert "An empty path" in refused("--model", bundle, "")


def changed(bundle, folder, **changes):
    """A copy of a bundle whose card says something else and is whole all the same."""
    shutil.copytree(bundle, folder)
    values = json.loads((folder / train_bundle.CARD_FILE).read_text())
    values.pop("sha256")
    train_bundle.write_card(folder, train_bundle.Card(**values | changes))
    return folder


def test_other_features_than_those_of_the_training_are_refused(bundle, tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1), RATE)
    card = train_bundle.read_card(bundle)
    old = json.loads(json.dumps(card.layout))
    old["identity"]["versions"]["frontend"] -= 1
    said_ = refused("--model", changed(bundle, tmp_path / "old", layout=old), tmp_path / "a.wav")
    assert "was trained on other features than this version computes (identity.versions.frontend is 2 in" in said_
    strange = json.loads(json.dumps(card.layout))
    strange["identity"]["settings"]["logmel"]["warp"] = 1
    assert "settings that this version does not" in refused(
        "--model", changed(bundle, tmp_path / "strange", layout=strange), tmp_path / "a.wav"
    )
    own = {**card.params, "train": {**card.params["train"], "normalise": "speaker"}}
    transductive = refused("--model", changed(bundle, tmp_path / "speaker", params=own), tmp_path / "a.wav")
    assert "which are not known for a single recording" in transductive


def test_the_table_is_for_people(bundle, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1), RATE)
    soundfile.write(tmp_path / "b.wav", noise(5), RATE)
    result = CliRunner().invoke(main, ["predict", "--model", str(bundle), "--windows", str(tmp_path)])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith(str(tmp_path / "a.wav"))
    assert "█" in lines[0]
    assert lines[1].endswith("–   (no speech found)")
    assert lines[2].strip() == "0:00.0 – 0:03.0  –"
    stamp = "DEMO: synthetic speech, says nothing about people"
    assert lines[-1] == f"cnn on logmel, trained on ravdess · never evaluated · {stamp}"


def test_what_backends_say_at_their_start_is_shown_only_where_it_fails(capfd):
    with machine.suppress_stderr():
        os.write(2, b"cannot find a driver\n")
    os.write(2, b"then\n")
    assert capfd.readouterr().err == "then\n"
    with pytest.raises(OSError, match="no library"):
        fail_to_start()
    assert capfd.readouterr().err == "cannot find a driver\n"


def fail_to_start():
    with machine.suppress_stderr():
        os.write(2, b"cannot find a driver\n")
        raise OSError("no library")
