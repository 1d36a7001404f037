"""A stream: windows where they belong, speech told from noise, and the result of a stream equal to that of its file."""

import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
import threading
import time
import types

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from pipeline.audio import decode
from pipeline.cli.main import main
from pipeline.core.errors import SerError
from pipeline.demo import stage
from pipeline.demo.takes import plan_takes as demo_plan
from pipeline.serving import predictor as predictors
from pipeline.serving import stream, vad
from pipeline.serving.inputs import prepare_inputs
from tests.bundles import make_bundle

RATE = 16_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "one", folds=(0, 1))


@pytest.fixture(scope="module")
def opened(bundle):
    return predictors.load_predictor([bundle])


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Eleven seconds: synthetic speech, a pause of four seconds, noise, and speech again; stereo at 22,050 Hz."""
    folder = tmp_path_factory.mktemp("spoken")
    voices = []
    for take in [take for take in demo_plan(60, 1) if take.fault == ""][:2]:
        stage.write_take(take, folder, 1)
    for path in sorted(folder.rglob("*.wav"))[:2]:
        samples, rate = soundfile.read(path, always_2d=True)
        voices.append(decode.resample(samples[:, 0].astype(np.float32), rate, 22_050))
    noise = 0.05 * np.random.default_rng(0).standard_normal(3 * 22_050)
    parts = [voices[0], np.zeros(4 * 22_050), noise, voices[1]]
    signal = np.concatenate(parts)
    path = folder / "spoken.wav"
    soundfile.write(path, np.stack([signal, 0.5 * signal], axis=1), 22_050)
    return path


def starts(total, rate, seconds, every):
    block = np.zeros((total, 1), np.float32)
    return [(w.start, w.end) for w in vad.split_windows([block], rate, seconds=seconds, every=every)]


def test_windows_begin_where_they_should_and_the_last_one_ends_with_the_recording():
    assert starts(50, 10, 2.0, 1.0) == [(0, 2), (1, 3), (2, 4), (3, 5)]
    assert starts(45, 10, 2.0, 1.0) == [(0, 2), (1, 3), (2, 4), (2.5, 4.5)]
    assert starts(15, 10, 2.0, 1.0) == [(0, 1.5)]
    assert starts(0, 10, 2.0, 1.0) == []
    assert starts(60, 10, 2.0, 2.0) == [(0, 2), (2, 4), (4, 6)]


def test_a_window_holds_the_samples_of_its_time():
    samples = np.arange(95, dtype=np.int16)[:, None]
    for window in vad.split_windows((samples[k : k + 7] for k in range(0, 95, 7)), 10, seconds=3, every=1):
        first, last = round(window.start * 10), round(window.end * 10)
        assert window.recording.samples.tolist() == samples[first:last].tolist()


@pytest.mark.parametrize("size", [1, 777, 22_050, 10**9])
def test_blocks_of_any_length_give_the_same_windows(spoken, size):
    samples, rate = soundfile.read(spoken, dtype="int16", always_2d=True)
    samples = samples[: 5 * rate] if size == 1 else samples
    whole = list(vad.split_windows([samples], rate, seconds=3, every=1))
    blocks = (samples[k : k + size] for k in range(0, len(samples), size))
    for one, other in zip(whole, vad.split_windows(blocks, rate, seconds=3, every=1), strict=True):
        assert (one.start, one.end, one.speech) == (other.start, other.end, other.speech)
        assert np.array_equal(one.recording.samples, other.recording.samples)


def test_speech_is_told_from_silence_noise_and_tones(spoken):
    samples, rate = soundfile.read(spoken, dtype="float32", always_2d=True)
    found = {w.start: w.has_speech for w in vad.split_windows([samples], rate, seconds=1, every=1)}
    assert found[0.0]
    assert found[max(found)]
    assert not any(found[float(k)] for k in (3, 4, 6, 7))
    times = np.arange(4 * RATE) / RATE
    for sound in (0.3 * np.sin(2 * np.pi * 440 * times), 0.2 * np.random.default_rng(1).standard_normal(4 * RATE)):
        assert not any(
            w.has_speech for w in vad.split_windows([sound[:, None].astype(np.float32)], RATE, seconds=3, every=1)
        )


def test_real_speech_is_detected_as_speech(corpora):
    paths = [*sorted((corpora / "RAVDESS").rglob("*.flac"))[::240], *sorted((corpora / "EmoDB").rglob("*.flac"))[::100]]
    assert len(paths) >= 8
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert any(w.has_speech for w in vad.split_windows([samples], rate, seconds=3, every=1)), path


def test_a_stream_gives_the_result_of_its_file(spoken, opened):
    plan = opened.window_plan(windows=True)
    (answer,) = opened.predict(
        [prepare_inputs(decode.read_recording(spoken), opened.input_settings, plan, name="file")]
    )
    blocks, rate = stream.replay_file(spoken, speed=0)
    spans = list(stream.predict_stream(blocks, rate, opened, plan))
    assert [(s.start, s.end) for s in spans] == [(s.start, s.end) for s in answer.timeline]
    assert {s.probabilities is None for s in spans} == {True, False}
    for one, other in zip(spans, answer.timeline, strict=True):
        assert (one.probabilities is None) == (other.probabilities is None)
        if one.probabilities is not None:
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
    predicted = [s.probabilities for s in spans if s.probabilities is not None]
    np.testing.assert_allclose(answer.probabilities, np.mean(predicted, axis=0), atol=1e-6)


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "flac"])
def test_a_stream_of_any_format_is_that_of_its_file(spoken, tmp_path, suffix):
    samples, rate = soundfile.read(spoken)
    soundfile.write(tmp_path / f"a.{suffix}", samples, rate)
    blocks, _ = stream.replay_file(tmp_path / f"a.{suffix}", speed=0)
    assert np.array_equal(np.concatenate(list(blocks)), decode.read_recording(tmp_path / f"a.{suffix}").samples)


def test_a_damaged_file_is_not_listened_to(tmp_path, bundle):
    soundfile.write(tmp_path / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    for name, words in {"nan.wav": "NaN or infinite samples", "missing.wav": "cannot be read"}.items():
        result = CliRunner().invoke(main, ["listen", "--model", str(bundle), "--file", str(tmp_path / name)])
        assert result.exit_code == 1
        assert words in result.stderr


def test_a_window_is_predicted_like_a_file_of_its_own(spoken, opened, tmp_path):
    samples, rate = soundfile.read(spoken, dtype="int16", always_2d=True)
    blocks, rate = stream.replay_file(spoken, speed=0)
    first = next(stream.predict_stream(blocks, rate, opened, opened.window_plan(windows=True)))
    soundfile.write(tmp_path / "window.wav", samples[: round(first.end * rate)], rate)
    inputs = prepare_inputs(
        decode.read_recording(tmp_path / "window.wav"), opened.input_settings, opened.window_plan(), name="window"
    )
    (answer,) = opened.predict([inputs])
    np.testing.assert_allclose(first.probabilities, answer.probabilities, atol=1e-6)


def test_a_replay_keeps_the_time_of_the_recording(spoken):
    begun = time.monotonic()
    blocks, rate = stream.replay_file(spoken, speed=20.0)
    played = sum(len(block) for block in blocks) / rate
    assert time.monotonic() - begun >= played / 20 - 0.02


def test_listen_prints_a_line_for_each_window(spoken, bundle):
    words = ["listen", "--model", str(bundle), "--file", str(spoken), "--speed", "0", "--json"]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [span["start"] for span in found][:3] == [0, 1, 2]
    assert {span["emotion"] is None for span in found} == {True, False}
    assert "synthetic speech" in result.stderr
    assert CliRunner().invoke(main, ["listen", "--file", str(bundle / "bundle.json")]).exit_code == 1


class Stream:
    """Stands in for a microphone: it speaks from a thread of its own, as PortAudio does."""

    def __init__(self, *, samplerate, blocksize, device, channels, dtype, callback):
        assert (channels, dtype) == (1, "float32")
        self.rate, self.size, self.callback, self.closed = samplerate, blocksize, callback, threading.Event()

    def __enter__(self):
        threading.Thread(target=self.speak, daemon=True).start()

    def __exit__(self, *_):
        self.closed.set()

    def speak(self):
        block = np.zeros((self.size, 1), np.float32)
        for number in range(40):
            block[:] = number  # the memory is used again, as PortAudio does
            self.callback(block, self.size, None, types.SimpleNamespace(input_overflow=number == 3))


@pytest.fixture
def sounddevice(monkeypatch):
    module = types.ModuleType("sounddevice")
    module.PortAudioError = type("PortAudioError", (Exception,), {})
    module.InputStream = Stream

    def query(device=None, kind=None):
        if device == "nothing":
            raise ValueError("No input device matching 'nothing'")
        return {"default_samplerate": 44_100.0}

    module.query_devices = query
    monkeypatch.setitem(sys.modules, "sounddevice", module)


def test_a_microphone_gives_its_blocks_in_order(sounddevice, capfd):
    blocks, rate = stream.microphone_blocks()
    assert rate == 44_100
    first = [next(blocks) for _ in range(40)]
    assert [block[0, 0] for block in first] == list(range(40))
    assert {block.shape for block in first} == {(4410, 1)}
    blocks.close()
    assert "sound was lost" in capfd.readouterr().err


def test_a_microphone_that_is_not_there_gets_a_sentence(sounddevice, monkeypatch):
    with pytest.raises(SerError, match=r"microphone 'nothing' cannot be opened .*listen --devices"):
        stream.microphone_blocks("nothing")
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SerError, match=r"pip install -c constraints.txt -e '.\[listen\]'"):
        stream.microphone_blocks()
