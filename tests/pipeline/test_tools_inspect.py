"""A picture of any file: the part that is analysed, the numbers of the store, and every clip its own picture."""

from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from PIL import Image

from pipeline.audio import decode
from pipeline.core import config, files
from pipeline.core.errors import SettingError
from pipeline.signal import extractor
from pipeline.signal.settings import Audio, variant_names
from pipeline.tools import inspect
from tests.paths import ROOT

RATE = 16_000
SETTINGS = extractor.settings_from_params(config.read_params(ROOT / "params.yaml"))


def phrase(before: float, sounding: float, after: float, rate: int = RATE) -> np.ndarray:
    """A tone that swells and fades between stretches of silence, each in s."""
    t = np.arange(round(sounding * rate)) / rate
    tone = 0.4 * np.sin(2 * np.pi * 300 * t) * np.sin(np.pi * t / sounding)
    return np.concatenate([np.zeros(round(before * rate)), tone, np.zeros(round(after * rate))])


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clips/clip.wav"
    path.parent.mkdir()
    sound = phrase(0.7, 1.2, 0.9, 48_000)
    soundfile.write(path, np.stack([sound, sound / 2], axis=1), 48_000)
    return path


def inspected(paths, output=None, settings=SETTINGS, processes=1) -> inspect.InspectResult:
    return inspect.draw_pictures([str(path) for path in paths], output, settings=settings, processes=processes)


def panels_of(path: Path, settings=SETTINGS):
    figure = inspect.draw_picture(decode.read_recording(path), settings, name=path.name)
    return {axes.get_ylabel(): axes for axes in figure.axes}


AUDIO = [
    {},
    {"offset": 0.25, "seconds": 0.5},
    {"seconds": 1.0},
    {"trim_db": 60.0},
    {"trim_db": None, "offset": 0.3, "seconds": 1.1},
    {"sample_rate": 22_050},
]


@pytest.mark.parametrize("changes", AUDIO)
@pytest.mark.parametrize("sound", [phrase(0.7, 1.2, 0.9), phrase(0, 2, 0.01), phrase(0.1, 5, 2), np.zeros(RATE)])
def test_the_kept_seconds_are_those_that_are_analysed(sound, changes):
    """The same samples as the recipe's, and at their place in the file."""
    settings = replace(SETTINGS.audio, **changes)
    recording = decode.Recording(sound.astype(np.float32)[:, None], RATE, "WAV")
    signal = decode.mono_signal(recording, settings.sample_rate)
    start, stop = (round(second * settings.sample_rate) for second in inspect.analysed_span(signal, settings))
    expected = extractor.prepare_signal(recording, settings)
    assert stop - start == len(expected)
    if settings.sample_rate == RATE or settings.trim_db is not None:  # else it is cut before it is resampled
        np.testing.assert_array_equal(signal[start:stop], expected)


def test_trimmed_where_librosa_trims(corpora):
    paths = sorted(corpora.glob("RAVDESS/*/*.flac"))[::150] + sorted(corpora.glob("EmoDB/wav/*.flac"))[::90]
    assert len(paths) > 8
    for path in paths:
        signal = decode.load_signal(path, RATE)
        start, stop = inspect.analysed_span(signal, SETTINGS.audio)
        _, (first, last) = librosa.effects.trim(signal, top_db=30)
        assert (start, stop) == (first / RATE, min(last, first + 3 * RATE) / RATE)


@pytest.mark.parametrize("changes", [{"offset": 99.0}, {"offset": 99.0, "trim_db": None}])
def test_nothing_left_to_analyse_is_drawn_as_such(clip, changes):
    settings = replace(SETTINGS, audio=replace(SETTINGS.audio, **changes))
    assert inspect.analysed_span(decode.load_signal(clip, RATE), settings.audio) == (2.8, 2.8)
    assert inspected([clip], clip.parent / "x.png", settings).failures == ()


def test_what_is_drawn_is_what_the_store_holds(clip):
    recording = decode.read_recording(clip)
    sha256 = decode.hash_samples(recording.samples)
    wanted = dict.fromkeys(extractor.DTYPES, variant_names(SETTINGS.augment))
    stored = {
        view: entry.tensors[0]
        for view, entry in extractor.extract_features(recording, SETTINGS, sha256, wanted).items()
    }
    axes = panels_of(clip)
    levels = axes["log-mel, Hz"].images[0].get_array()
    frames = levels.shape[1]
    assert 60 <= frames < 70  # 1.2 s and what trimming leaves around it, no padding
    np.testing.assert_array_equal(levels, stored["logmel"][:frames].T.astype(np.float32))
    np.testing.assert_array_equal(axes["MFCC"].images[0].get_array(), stored["mfcc"][:frames, 2:].T)
    np.testing.assert_array_equal(axes["ZCR"].lines[0].get_ydata(), stored["mfcc"][:frames, 0])
    level = axes["RMS, dB"].lines[0].get_ydata()
    np.testing.assert_allclose(10 ** (level / 20), np.maximum(stored["mfcc"][:frames, 1], 1e-6), rtol=1e-5)
    assert level.max() == pytest.approx(20 * np.log10(0.3 / np.sqrt(2)), abs=0.3)


def test_sound_is_drawn_at_its_seconds(clip):
    """The loudest moment of the file, by its level, is where the middle of the phrase is."""
    level = panels_of(clip)["RMS, dB"].lines[0]
    assert level.get_xdata()[level.get_ydata().argmax()] == pytest.approx(0.7 + 0.6, abs=0.03)


def test_views_and_blocks_that_are_switched_off_are_missing(clip):
    mfcc = replace(SETTINGS.features.mfcc, mfcc=False, zcr=False)
    settings = replace(SETTINGS, features=replace(SETTINGS.features, mfcc=mfcc))
    assert set(panels_of(clip, settings)) - {"", "dB"} == {"amplitude", "log-mel, Hz", "RMS, dB"}


def test_the_facts_are_those_of_the_file(clip):
    figure = inspect.draw_picture(decode.read_recording(clip), SETTINGS, name="clip.wav")
    (text,) = (text.get_text() for axes in figure.axes for text in axes.texts)
    first, second = text.splitlines()
    assert first == "48 kHz · stereo · 2.80 s · peak −8.0 dBFS · RMS −19.7 dBFS"  # of both channels
    assert second.startswith("analysed: 1.2")
    assert second.endswith("s at 16 kHz, trimmed at 30 dB, padded to 3 s")
    assert {axes.get_title(loc="left") for axes in figure.axes} >= {"clip.wav"}


def test_the_picture_lies_in_the_current_folder_unless_told(clip, monkeypatch):
    monkeypatch.chdir(clip.parents[1])
    assert inspected(["clips/clip.wav"]).pictures == (Path("clip.png"),)
    with Image.open("clip.png") as image:
        assert image.size[0] == 1024
    assert inspected(["clips/clip.wav"], Path("a/b.png")).pictures == (Path("a/b.png"),)
    assert inspected(["clips/clip.wav"], Path("a")).pictures == (Path("a/clip.png"),)
    assert sorted(path.as_posix() for path in Path().rglob("*.png")) == ["a/b.png", "a/clip.png", "clip.png"]


def test_several_clips_have_a_picture_each_and_bad_ones_a_sentence(clip, monkeypatch):
    monkeypatch.chdir(clip.parents[1])
    soundfile.write(clip.with_name("twin.wav"), phrase(0.1, 0.2, 0), RATE)
    inspected(["clips"], Path("first"), processes=2)
    clip.with_name("twin.wav").unlink()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")  # the workers stay where they were started
    clip.parent.rename("clips")
    for name in ("clips/deep/clip.wav", "clips/other.wav"):
        Path(name).parent.mkdir(exist_ok=True)
        soundfile.write(name, phrase(0.1, 0.2, 0), RATE)
    Path("clips/bad.wav").write_text("no sound")
    soundfile.write("clips/none.wav", np.zeros(0), RATE)
    outcome = inspected(["clips"], Path("out"), processes=2)
    assert [path.as_posix() for path in outcome.pictures] == ["out/clip.png", "out/deep/clip.png", "out/other.png"]
    assert [Path(failure.split(" ")[0]).name for failure in outcome.failures] == ["bad.wav", "none.wav"]
    assert sorted(path.as_posix() for path in Path("out").rglob("*.*")) == [str(path) for path in outcome.pictures]


@pytest.mark.parametrize(
    ("clips", "output", "sentence"),
    [
        (["a/x.wav", "b/x.wav"], None, "a/x.wav and b/x.wav would both become x.png: draw one of them with -o."),
        (["x.flac", "x.wav"], "out", "x.flac and x.wav would both become out/x.png: draw one of them with -o."),
        (["x.wav", "y.wav"], "z.png", "z.png is one picture, but there are 2 clips: name a folder."),
        (["x.wav"], "z.jpg", "z.jpg has the suffix '.jpg': name a .png, or a folder that exists."),
    ],
)
def test_no_picture_is_drawn_over_another(clips, output, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError) as raised:
        inspect.picture_paths(clips, output and Path(output))
    assert str(raised.value) == sentence


def test_clips_of_the_demo_are_stamped(clip, monkeypatch):
    stamps = []
    real = inspect.draw_picture
    monkeypatch.setattr(
        inspect, "draw_picture", lambda *args, stamp, **rest: stamps.append(stamp) or real(*args, **rest)
    )
    inspected([clip], clip.parent / "x.png")
    (clip.parents[1] / files.SYNTHETIC_MARKER).touch()
    inspected([clip], clip.parent / "x.png")
    assert stamps == ["", "DEMO: synthetic speech"]


@pytest.mark.filterwarnings("error")
def test_letters_that_the_font_lacks_are_no_warning(clip):
    path = clip.with_name("日本語 $x^2$.wav")
    clip.rename(path)
    assert inspected([path], path.with_suffix(".png")).pictures == (path.with_suffix(".png"),)
    assert path.with_suffix(".png").stat().st_size > 10_000


def test_the_default_trim_is_what_the_examples_say():
    assert Audio() == SETTINGS.audio
