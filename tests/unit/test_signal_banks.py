"""Bands that no bin reaches: counted as librosa's own filters have them, said once, and filled by what is proposed."""

import re
import warnings

import librosa
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli.main import main
from pipeline.core.errors import SettingError
from pipeline.signal.settings import LogMel, Mfcc
from pipeline.signal.stft import count_empty_bands, empty_band_notes

RATES = st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000])


def librosas(config, rate):
    """How many filters of librosa are all zero, and whether it warns of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bank = librosa.filters.mel(
            sr=rate, n_fft=config.n_fft, n_mels=config.n_mels, fmin=config.fmin, fmax=config.fmax
        )
    return int((bank.max(axis=1) == 0).sum()), any("Empty filters" in str(each.message) for each in caught)


@settings(max_examples=60, deadline=None)
@given(RATES, st.sampled_from([256, 400, 512, 1024, 2048]), st.integers(1, 128), st.sampled_from([0.0, 20.0, 300.0]))
def test_as_many_bands_are_empty_as_librosa_has(rate, n_fft, n_mels, fmin):
    config = LogMel(n_fft=n_fft, hop=100, n_mels=n_mels, fmin=fmin)
    empty, warned = librosas(config, rate)
    assert count_empty_bands(config, rate) == empty
    assert warned <= bool(empty)  # it passes over bands that begin at 0 Hz
    if fmin:
        assert warned == bool(empty)


@settings(max_examples=40, deadline=None)
@given(RATES, st.sampled_from([256, 400, 512]), st.integers(60, 128))
def test_what_is_proposed_leaves_no_band_empty(rate, n_fft, n_mels):
    config = LogMel(n_fft=n_fft, hop=100, n_mels=n_mels)
    said = empty_band_notes([config], rate)
    assert bool(said) == bool(librosas(config, rate)[0])
    for note in said:
        assert f": {librosas(config, rate)[0]} of {n_mels} mel bands" in note
        assert all(len(line) <= 100 for line in note.splitlines())
        [fewer], [longer] = re.findall(r"lower n_mels to (\d+)", note), re.findall(r"raise n_fft to (\d+)", note)
        for mended in ({"n_fft": n_fft, "n_mels": int(fewer)}, {"n_fft": int(longer), "n_mels": n_mels}):
            assert librosas(LogMel(hop=100, **mended), rate)[0] == 0


def test_views_of_the_same_bands_are_told_together_and_a_view_without_bands_is_not():
    own = {"n_fft": 400, "hop": 100, "n_mels": 120}
    [note] = empty_band_notes([Mfcc(**own), LogMel(**own)], 48_000)
    assert note.startswith("features.mfcc and features.logmel: 17 of 120 mel bands")
    assert len(empty_band_notes([Mfcc(**own), LogMel(**own | {"n_mels": 80})], 48_000)) == 2
    assert empty_band_notes([Mfcc(**own, mfcc=False)], 48_000) == []


def test_bands_of_which_none_moves_are_refused():
    with pytest.raises(SettingError, match=r"none of the 10 mel bands from 100\.0 Hz .* set fmin and fmax farther"):
        empty_band_notes([LogMel(n_fft=512, n_mels=10, fmin=100.0, fmax=101.0)], 16_000)


@pytest.fixture
def crowded(workplaces):
    """A folder whose params.yaml asks for 120 bands of frames of 256 samples."""
    place = workplaces(24, 0.4)
    params = place.folder / "params.yaml"
    text = params.read_text()
    for name, value in {"n_fft": 256, "hop": 128, "n_mels": 120}.items():
        text, count = re.subn(rf"( {name}:) \d+", rf"\1 {value}", text)
        assert count == 2
    params.write_text(text)
    return place


def test_extract_says_it_once_for_all_clips_and_workers(crowded):
    said = crowded.run()
    assert said.count("hold no bin of the FFT") == 1, said
    assert "features.mfcc and features.logmel: " in said
    assert "Empty filters" not in said


@pytest.mark.parametrize(("command", "views"), [("extract", "features.logmel:"), ("inspect", "features.mfcc and")])
def test_the_commands_say_it_too(command, views, crowded, monkeypatch):
    monkeypatch.chdir(crowded.folder)
    clip, *_ = sorted((crowded.corpus / "RAVDESS").rglob("*.wav"))
    done = CliRunner().invoke(main, [command, str(clip), "--workers", "1"])
    assert done.exit_code == 0, done.output
    assert done.stderr.count("hold no bin of the FFT") == 1
    assert done.stderr.startswith(views)


@pytest.mark.parametrize("n_mels", range(200, 257, 8))
def test_the_number_of_bands_proposed_is_full_and_one_more_is_not(n_mels):
    [note] = empty_band_notes([LogMel(n_fft=512, n_mels=n_mels)], 16_000)
    proposed = int(re.search(r"lower n_mels to (\d+)", note)[1])
    assert count_empty_bands(LogMel(n_fft=512, n_mels=proposed), 16_000) == 0
    assert count_empty_bands(LogMel(n_fft=512, n_mels=proposed + 1), 16_000) > 0


def test_bands_beyond_half_the_sample_rate_are_refused():
    with pytest.raises(SettingError, match="fmax is 5000.0 Hz, but a signal at 8000 Hz ends at 4000.0 Hz"):
        empty_band_notes([LogMel(fmax=5000.0)], 8000)
