"""Exported bundles: run from the written file, they answer as the networks of Keras do, or are not written at all."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner

from pipeline.cli import models
from pipeline.cli.main import main
from pipeline.core import config, tables
from pipeline.core.errors import AudioError, SettingError, StoreError, UnknownNameError
from pipeline.dataset.inputs import Statistics
from pipeline.export import command, convert, parity, runtimes
from pipeline.export.parity import ParityResult
from pipeline.report import model_card
from pipeline.serving import inputs
from pipeline.signal.settings import Audio, LogMel
from pipeline.train import architectures, bundle
from pipeline.train import models as train_models
from tests.paths import ROOT

SHAPE, CLASSES = (24, 12), ["angry", "happy", "neutral", "sad"]
WIDTHS = {
    "cnn": {"filters": (4, 8)},
    "crnn": {"filters": (4, 8), "units": 4},
    "conv1d": {"filters": (4, 4, 4, 4, 4), "units": 32},
    "crnn1d": {"filters": (4, 8), "units": 4},
    "conv2d": {"filters": (4, 8), "units": (32,)},
    "crnn2d": {"filters": (4, 8), "units": 4},
}
EVEN = np.linspace(-60, -30, SHAPE[1]), np.linspace(60, 180, SHAPE[1])  # mean and variance of each row, like log-mel
UNLIKE = np.array([-300.0, *[0.2] * 11]), np.array([1e4, *[1e-2] * 11])  # like MFCC beside zero crossings


def network(arch, measured=EVEN, **widths):
    """A network of random weights whose answers hang on the clip."""
    keras.utils.set_random_seed(3)
    mean, variance = (np.asarray(each, np.float32) for each in measured)
    chosen = architectures.ARCHITECTURES[arch]
    settings = chosen.config(**(WIDTHS[arch] | widths))
    built = chosen.build(SHAPE, len(CLASSES), settings, statistics=Statistics(mean, variance))
    rng = np.random.default_rng(4)
    for weight in built.weights:
        if weight.path.endswith(("moving_variance", "gamma")):
            weight.assign(rng.uniform(0.5, 2, weight.shape))
        elif weight.path.endswith(("moving_mean", "beta", "bias")):
            weight.assign(rng.normal(0, 0.3, weight.shape))
    spread_out(built, clips(64, seed=7, measured=measured))
    return built


def spread_out(built, some):
    """Scale and centre the last layer, so that every class is somebody's answer."""
    last = built.get_layer("probabilities")
    found = np.asarray(keras.Model(built.input, last.input).predict_on_batch(some)) @ np.asarray(last.kernel)
    last.kernel.assign(last.kernel * 0.7 / found.std(axis=0))
    last.bias.assign(-0.7 * found.mean(axis=0) / found.std(axis=0))


def clips(count, seed=5, measured=EVEN):
    mean, variance = measured
    loud = np.random.default_rng([seed, 1]).normal(0, 1.5, (count, 1, SHAPE[1]))
    noise = np.random.default_rng(seed).normal(0, 1, (count, *SHAPE))
    return (mean + np.sqrt(variance) * (loud + noise)).astype(np.float32)


def bundled(folder, arch, model, folds=(0,), seeds=(42,)):
    """A bundle as evaluate writes it, without scores."""
    for place in (bundle.model_folder(fold, seed, seeds) for fold in folds for seed in seeds):
        (folder / place).mkdir(parents=True)
        model.save(folder / place)
        (folder / place / "history.csv").write_text("epoch,loss\n1,0.5\n")
    params = config.read_params(ROOT / "params.yaml")
    card = bundle.Card(
        arch=arch,
        view="logmel",
        labels=CLASSES,
        folds=folds,
        seeds=seeds,
        split={"protocol": "speaker"},
        synthetic=(),
        corpora={},
        layout={"shape": SHAPE, "identity": {"settings": {"audio": asdict(Audio()), "logmel": asdict(LogMel())}}},
        statistics={},
        stamp="",
        params={"seed": 42, "train": params["train"], "model": {"arch": arch}},
        versions={"keras": keras.__version__},
        files=bundle.file_checksums(folder),
    )
    (folder / model_card.MODEL_CARD_FILE).write_text("the original's")
    bundle.write_card(folder, replace(card, files=bundle.file_checksums(folder)))
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A bundle of a cnn."""
    return bundled(tmp_path_factory.mktemp("cnn") / "bundle", "cnn", train_models.NetworkModel(network("cnn")))


@pytest.fixture(scope="module")
def exported(source):
    """That bundle in each format."""
    folder = source.parent / "export"
    for target in command.TARGETS:
        command.export_bundle(source, folder / target, target=target, samples=clips(16))
    return folder


@pytest.mark.parametrize("arch", WIDTHS)
def test_a_network_answers_alike_in_every_format(arch, tmp_path):
    original = network(arch)
    fresh = clips(24, seed=6)
    wanted = train_models.NetworkModel(original).predict(fresh)
    assert len(set(wanted.argmax(axis=1))) > 1, "it answers alike to all clips"
    assert wanted.std(axis=0).min() > 0.03
    source = bundled(tmp_path / "bundle", arch, train_models.NetworkModel(original))
    allowances = {"onnx": 1e-5, "litert": 1e-5} | ({} if "crnn" in arch else {"litert-int8": 0.1})
    for target, allowed in allowances.items():
        (made,) = command.export_bundle(source, tmp_path / target, target=target, samples=clips(48))
        card = bundle.read_card(tmp_path / target)  # it checks every file
        found = runtimes.load_exported_model(tmp_path / target / "fold-0", card.runtime).predict(fresh)
        np.testing.assert_allclose(found, wanted, atol=allowed)
        assert np.abs(found - wanted).max() > 0 or target != "litert-int8"
        assert made.difference < allowed
        assert made.same == (1 if target != "litert-int8" else pytest.approx(1, abs=0.2))
    if arch == "conv2d":  # the other tiny ones may err too much in whole numbers
        assert made.numbers == "int8"


@pytest.mark.parametrize("arch", ["crnn", "crnn1d", "crnn2d"])
def test_recurrent_layers_are_unrolled_both_ways_and_calibrated(arch, tmp_path):
    """At a loop the calibrator would crash the process."""
    convert.to_litert_int8(network(arch), tmp_path / runtimes.LITERT_FILE, clips(24))
    model = runtimes.load_exported_model(tmp_path, "litert")
    assert "WHILE" not in {each["op_name"] for each in model.interpreter._get_ops_details()}
    assert np.int8 in {each["dtype"] for each in model.interpreter.get_tensor_details()}
    np.testing.assert_allclose(
        model.predict(clips(24)).sum(axis=1), 1, atol=0.02
    )  # of random weights no more is certain


@pytest.mark.parametrize("target", command.TARGETS)
def test_an_exported_bundle_is_whole_and_without_keras(exported, source, target):
    folder = exported / target
    card, kind = bundle.read_card(folder), command.TARGETS[target]
    assert {*card.files} == {"README.md", f"fold-0/{kind.file}", "fold-0/history.csv"}
    before = bundle.read_card(source)
    same = replace(card, runtime="keras", versions=before.versions, files=before.files)
    assert same == before
    assert card.runtime == kind.runtime
    page = (folder / "README.md").read_text()
    assert f"library_name: {kind.runtime}" in page
    assert page.splitlines()[-3].startswith(f"| {target} | ")


@pytest.mark.parametrize("target", command.TARGETS)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_any_number_of_clips_is_heard(exported, target, count):
    model = runtimes.load_exported_model(exported / target / "fold-0", command.TARGETS[target].runtime)
    many = model.predict(clips(5))
    some = model.predict(clips(5)[:count])
    assert some.shape == (count, len(CLASSES))
    assert some.dtype == np.float32
    np.testing.assert_allclose(some, many[:count], atol=1e-6)


def test_threads_get_their_own_answers(exported):
    model = runtimes.load_exported_model(exported / "litert/fold-0", "litert")
    stacks = [clips(40, seed=seed) for seed in range(8)]
    alone = [model.predict(stack) for stack in stacks]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(model.predict, stacks))
    np.testing.assert_array_equal(together, alone)


def test_every_fold_is_exported(tmp_path):
    source = bundled(tmp_path / "bundle", "cnn", train_models.NetworkModel(network("cnn")), folds=(0, 2))
    made = command.export_bundle(source, tmp_path / "onnx", target="onnx", samples=clips(4))
    assert [each.fold for each in made] == [0, 2]
    assert [row[0] for row in parity.parity_table(made, 4).rows] == ["onnx, fold 0", "onnx, fold 2"]
    assert runtimes.load_exported_model(tmp_path / "onnx/fold-2", "onnx").predict(clips(1)).shape == (1, len(CLASSES))


def test_every_seed_is_exported(tmp_path):
    source = bundled(tmp_path / "bundle", "cnn", train_models.NetworkModel(network("cnn")), folds=(1,), seeds=(7, 8))
    made = command.export_bundle(source, tmp_path / "onnx", target="onnx", samples=clips(4))
    assert [(each.fold, each.seed) for each in made] == [(1, 7), (1, 8)]
    assert [row[0] for row in parity.parity_table(made, 4).rows] == ["onnx, seed 7", "onnx, seed 8"]
    for place in ("fold-1", "fold-1-seed-8"):
        assert (tmp_path / "onnx" / place / "model.onnx").is_file()
        assert (tmp_path / "onnx" / place / "history.csv").is_file()


@pytest.mark.parametrize(
    ("arch", "widths"), [("cnn", {"filters": (16, 64, 64)}), ("crnn", {"filters": (8, 32), "units": 48})]
)
def test_whole_numbers_make_it_small(arch, widths, tmp_path):
    source = bundled(tmp_path / "bundle", arch, train_models.NetworkModel(network(arch, **widths)))
    sizes = {}
    for target in ("litert", "litert-int8"):
        (made,) = command.export_bundle(source, tmp_path / target, target=target, samples=clips(8))
        sizes[target] = (tmp_path / target / "fold-0/model.tflite").stat().st_size
        assert made.size == sizes[target]
    assert made.difference > 1e-4  # it is rounded indeed
    assert 2 < sizes["litert"] / sizes["litert-int8"] < 4


def test_rows_of_unlike_size_keep_their_activations_in_floats(tmp_path):
    """Whole numbers wide enough for the first row would make all others zero."""
    source = bundled(tmp_path / "bundle", "cnn", train_models.NetworkModel(network("cnn", UNLIKE)))
    (made,) = command.export_bundle(source, tmp_path / "out", target="litert-int8", samples=clips(16, measured=UNLIKE))
    assert made.numbers == "int8 weights"
    assert made.difference < 0.05


def test_a_model_that_answers_otherwise_is_not_written(source, tmp_path, monkeypatch):
    again = convert.clone_network

    def wrong(original, **how):
        copy = again(original, **how)
        last = copy.get_layer("probabilities").kernel
        last.assign(last + 0.01 * np.arange(last.shape[1]))
        return copy

    monkeypatch.setattr(convert, "clone_network", wrong)
    there = [path.name for path in tmp_path.rglob("*")]
    with pytest.raises(
        StoreError, match=r"fold 0: over 16 clips .* differ by up to 0\.\d+ .* more than 0.0001; .*--to"
    ):
        command.export_bundle(source, tmp_path / "there", target="onnx", samples=clips(16))
    assert [path.name for path in tmp_path.rglob("*")] == there
    made = command.export_bundle(source, tmp_path / "there", target="onnx", samples=clips(16), tolerance=0.5)
    assert 1e-4 < made[0].difference < 0.5


def test_answers_that_are_no_numbers_are_not_written(source, tmp_path, monkeypatch):
    nothing = SimpleNamespace(predict=lambda values: np.full((len(values), len(CLASSES)), np.nan, np.float32))
    monkeypatch.setattr(runtimes, "load_exported_model", lambda folder, runtime: nothing)
    with pytest.raises(StoreError, match="differ by up to nan"):
        command.export_bundle(source, tmp_path / "out", target="onnx", samples=clips(4), tolerance=1.0)
    assert not list(tmp_path.iterdir())


def test_an_svm_needs_no_export(tmp_path):
    saved = SimpleNamespace(save=lambda folder: (folder / "svm.npz").write_bytes(b""))
    source = bundled(tmp_path / "bundle", "svm", saved)
    with pytest.raises(StoreError, match="is an svm, plain arrays that need no export: use the bundle as it is"):
        command.export_bundle(source, tmp_path / "out", target="onnx", samples=clips(4))
    assert not (tmp_path / "out").exists()


def test_what_was_exported_is_not_exported_again(exported, tmp_path):
    with pytest.raises(StoreError, match="was exported for litert already: export the bundle it was made of"):
        command.export_bundle(exported / "litert", tmp_path / "out", target="onnx", samples=clips(4))


@pytest.mark.parametrize("wrong", [clips(3)[:, :, 1:], clips(3)[:0], np.where(clips(3) > -40, np.nan, clips(3))])
def test_clips_that_it_cannot_hear_are_refused(source, tmp_path, wrong):
    with pytest.raises(StoreError, match=r"needs clips of shape \(24, 12\) with finite values"):
        command.export_bundle(source, tmp_path / "out", target="onnx", samples=wrong)


def test_unknown_names_are_refused(source, tmp_path):
    with pytest.raises(UnknownNameError, match="--to 'litert-int4' is unknown, did you mean 'litert-int8'?"):
        command.export_bundle(source, tmp_path / "out", target="litert-int4", samples=clips(4))
    with pytest.raises(UnknownNameError, match="runtime 'keras' is unknown"):
        runtimes.load_exported_model(source / "fold-0", "keras")


@pytest.mark.parametrize(
    ("runtime", "module", "package"),
    [("onnx", "onnxruntime", "onnxruntime"), ("litert", "ai_edge_litert.interpreter", "ai_edge_litert")],
)
def test_a_missing_package_is_named(exported, monkeypatch, runtime, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingError, match=rf"needs {package}, which is not installed: .*\[export\]'$"):
        runtimes.load_exported_model(exported / runtime / "fold-0", runtime)


def test_another_backend_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    for target in command.TARGETS:
        with pytest.raises(SettingError, match="Keras runs on jax: export with KERAS_BACKEND=tensorflow"):
            command.export_bundle(source, tmp_path / "out", target=target, samples=clips(4))


@pytest.mark.parametrize("runtime", ["onnx", "litert"])
def test_an_exported_bundle_runs_without_keras_and_says_nothing(exported, source, runtime):
    np.save(exported / "clips.npy", clips(3))
    script = (
        "import sys, json; from pathlib import Path; import numpy as np; from pipeline.export import runtimes\n"
        "from pipeline.train import bundle\n"
        "folder = Path(sys.argv[1])\n"
        "model = runtimes.load_exported_model(folder / 'fold-0', bundle.read_card(folder).runtime)\n"
        "found = model.predict(np.load(folder.parent / 'clips.npy'))\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules), 'loaded'\n"
        "print(json.dumps(found.tolist()))"
    )
    words = [sys.executable, "-c", script, str(exported / runtime)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert not done.stderr
    wanted = train_models.load_model(source / "fold-0", "cnn").predict(clips(3))
    np.testing.assert_allclose(json.loads(done.stdout), wanted, atol=1e-5)


def made(**changes):
    whole = {"target": "onnx", "fold": 0, "seed": None, "numbers": "float32", "size": 1_250_000, "difference": 1.234e-7}
    return ParityResult(**(whole | {"same": 1.0, "milliseconds": 0.123} | changes))


def test_the_table_has_a_row_a_format():
    rows = [made(target="keras", difference=0.0), made(target="litert-int8", numbers="int8", size=400_499, same=0.75)]
    assert parity.parity_lines(parity.parity_table(rows, 4)) == [
        "format       numbers    size  largest difference  same class  ms per clip",
        "keras        float32  1.2 MB                   0       100 %         0.12",
        "litert-int8  int8     400 kB             1.2e-07      75.0 %         0.12",
        "Compared over 4 clips; ms: median of calls with one clip on one thread.",
    ]


def test_differences_are_the_largest_and_latencies_the_median(tmp_path, monkeypatch):
    wanted = np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1]], np.float32)
    answers = np.array([[0.4, 0.6], [0.3, 0.7], [0.6, 0.4]], np.float32)
    model = SimpleNamespace(predict=lambda values: answers[values[:, 0, 0].astype(int)])
    (tmp_path / "file").write_bytes(bytes(7))
    ticks = iter(np.cumsum([0.0, *[0.001, 5.0] * 30, *[0.003, 5.0] * 20]))  # s: 30 calls of 1 ms, 20 of 3 ms
    monkeypatch.setattr(parity.time, "perf_counter", lambda: next(ticks))
    numbered = np.arange(3, dtype=np.float32).reshape(3, 1, 1)
    found = parity.measure_parity(
        model, wanted, numbered, path=tmp_path / "file", target="x", member=(1, None), numbers="y"
    )
    assert (found.size, found.fold, found.target, found.numbers) == (7, 1, "x", "y")
    assert (found.difference, found.same) == (pytest.approx(0.3), pytest.approx(2 / 3))
    assert found.milliseconds == pytest.approx(1)


def test_the_command_knows_the_formats():
    assert tuple(command.TARGETS) == models.TARGETS


def level(recording):
    """A stand-in for features: the level of stretches of the recording, times the number of the row."""
    parts = np.array_split(np.abs(recording.samples.astype(np.float32)).mean(axis=1), SHAPE[0])
    return np.array([[-60 + part.mean() / 400 * row for row in range(SHAPE[1])] for part in parts], np.float32)


@pytest.fixture
def input_settings(monkeypatch):
    """A stand-in for the input settings of bundles."""
    monkeypatch.setattr(inputs, "input_settings", lambda card, *, name: SimpleNamespace(compute=level))


def record(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).normal(0, 0.02 * (1 + number % 5), 4000)
    soundfile.write(path, noise, 16_000)


def test_the_command_exports_and_prints_a_table(source, input_settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        record(tmp_path / f"clips/{number}.wav", number)
    words = ["export", "clips", "--to", "litert", "--to", "onnx", "--to", "onnx", "--model", str(source), "-o", "out"]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    head, *rows, note, first, second = done.output.splitlines()
    assert head.split()[:3] == ["format", "numbers", "size"]
    assert [row.split()[:2] for row in rows] == [["keras", "float32"], ["litert", "float32"], ["onnx", "float32"]]
    assert note.startswith("Compared over 6 clips")
    assert [first, second] == ["Written to out/litert", "Written to out/onnx"]
    assert bundle.read_card(tmp_path / "out/onnx").runtime == "onnx"


def test_the_command_says_in_a_sentence_what_is_refused(source, input_settings, tmp_path):
    record(tmp_path / "a.wav", 1)
    words = [
        "export",
        str(tmp_path / "a.wav"),
        "--to",
        "litert-int8",
        "--model",
        str(source),
        "-o",
        str(tmp_path / "o"),
    ]
    done = CliRunner().invoke(main, [*words, "--tolerance", "0"], catch_exceptions=False)
    assert done.exit_code == 1
    assert "more than 0; nothing was written" in done.output
    assert not (tmp_path / "o/onnx").exists()


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Predictions of 130 clips of two corpora in the current folder, and their manifests."""
    monkeypatch.chdir(tmp_path)
    names = {"ravdess": [f"ravdess/{n:03}" for n in range(100)], "tess": [f"tess/{n:03}" for n in range(30)]}
    rows = [(name, corpus) for corpus, some in names.items() for name in some]
    frame = pd.DataFrame(rows, columns=["clip_id", "corpus"])
    blank = dict.fromkeys(["variant", "speaker", "sex", "label", "predicted"], "")
    frame = pd.concat([frame.assign(fold=fold, **blank) for fold in (0, 1)], ignore_index=True)
    tables.write_predictions(frame, np.zeros((len(frame), 2), np.float32), ["a", "b"], parity.PREDICTIONS)
    for corpus, some in names.items():
        listed = [{"clip_id": name, "path": f"{name[-3:]}.wav", "status": "ok"} for name in reversed(some)]
        tables.write_manifest(listed, parity.MANIFESTS / f"{corpus}.parquet", synthetic=False, about={})
    return {"data": {"corpora": {"ravdess": "/audio/R", "tess": "/audio/T"}}}


def test_without_clips_test_clips_of_every_corpus_are_taken(workplace):
    found = parity.sample_test_clips(workplace)
    assert len(set(found)) == len(found) == parity.SAMPLE_COUNT
    assert (found[0], found[-1]) == (Path("/audio/R/000.wav"), Path("/audio/T/029.wav"))
    assert sum(path.parent.name == "R" for path in found) == pytest.approx(64 * 100 / 130, abs=1)


def test_a_corpus_that_is_gone_is_named(workplace):
    del workplace["data"]["corpora"]["tess"]
    with pytest.raises(StoreError, match="holds clips of tess, which data.corpora in params.yaml does not name"):
        parity.sample_test_clips(workplace)


def test_files_become_inputs_in_their_order(tmp_path):
    for number in (1, 4):
        record(tmp_path / f"{number}.wav", number)
    found = parity.compute_samples([tmp_path / "4.wav", tmp_path / "1.wav"], level)
    assert found.shape == (2, *SHAPE)
    assert found[0].mean() > found[1].mean()
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    with pytest.raises(AudioError, match="none.wav holds no samples"):
        parity.compute_samples([tmp_path / "none.wav"], level)
