"""Decoding and the verdict over one file, on sound that this file makes."""

import hashlib
import io
import struct

import numpy as np
import pytest
import soundfile

from pipeline.errors import AudioError
from pipeline.store import audio, facts

RATE = 16_000
LIMITS = facts.Limits()


def tone(seconds=1.0, hertz=440.0, rate=RATE, peak=0.5):
    return (peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encoded(samples, rate=RATE, container="WAV", subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def examined(tmp_path, data, name="clip.wav", limits=LIMITS):
    path = tmp_path / name
    path.write_bytes(data)
    return facts.examine(path, limits, name=name)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 82260\n"
NAN = tone().copy()
NAN[100] = np.nan
INF = tone().copy()
INF[7] = np.inf


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", "empty", "no bytes"),
        (LFS, "lfs_pointer", "git lfs pull"),
        (b"<!DOCTYPE html><html>404", "unreadable", "begins b'<!DOCTYPE html><html>404'"),
        (encoded(tone())[:9000], "truncated", "ends before the length"),
        (encoded(tone(), container="AIFF")[:9000], "truncated", "ends before the length"),
        (encoded(NAN, subtype="FLOAT"), "not_finite", "NaN"),
        (encoded(INF, subtype="FLOAT"), "not_finite", "infinite"),
        (encoded(tone(seconds=1 / RATE)), "too_short", "at least 0.5 s"),
        (encoded(tone(seconds=0.49)), "too_short", "lasts 0.49 s"),
        (encoded(np.zeros(RATE * 600, np.float32)), "too_long", "lasts 600 s, the limit is 60 s"),
        (encoded(np.zeros(RATE, np.float32)), "silent", "-200 dBFS"),
        (encoded(tone(peak=0.0009)), "silent", "-60"),
        (encoded(tone(peak=0.0011)), "ok", ""),
        (encoded(tone()), "ok", ""),
    ],
)
def test_each_fault_has_its_reason(tmp_path, data, status, words):
    found = examined(tmp_path, data)
    assert found.status == status
    assert words in found.detail
    assert found.sha256 == hashlib.sha256(data).hexdigest()


def test_a_long_file_is_not_decoded(tmp_path):
    found = examined(tmp_path, encoded(np.zeros(RATE * 61, np.float32)))
    assert (found.status, found.frames, found.samples_sha256) == ("too_long", None, "")


@pytest.mark.parametrize(
    ("samples", "container", "name", "warnings"),
    [
        (tone(), "WAV", "clip.wav", ""),
        (tone(), "WAV", "CLIP.WAV", ""),
        (tone(), "AIFF", "clip.wav", "misnamed"),
        (tone(), "FLAC", "clip.flac", ""),
        (np.stack([tone(), tone()], axis=1), "WAV", "clip.wav", "stereo"),
        (np.clip(tone(peak=2.0), -1, 1), "WAV", "clip.wav", "clipped"),
        (np.stack([np.clip(tone(peak=2.0), -1, 1), tone()], axis=1), "AIFF", "c.wav", "clipped,misnamed,stereo"),
    ],
)
def test_oddities_are_warned_of_and_used(tmp_path, samples, container, name, warnings):
    found = examined(tmp_path, encoded(samples, container=container), name)
    assert (found.status, found.warnings) == ("ok", warnings)


@pytest.mark.parametrize(("run", "clipped"), [(1, False), (2, False), (3, True), (50, True)])
@pytest.mark.parametrize("sign", [1, -1])
def test_clipping_needs_three_samples_at_full_scale(tmp_path, run, clipped, sign):
    samples = tone()
    samples[1000 : 1000 + run] = sign
    samples[5000] = samples[6000] = sign  # single peaks, as in peak-normalised EmoDB
    assert ("clipped" in examined(tmp_path, encoded(samples)).warnings) is clipped


def test_levels_are_those_of_a_sine(tmp_path):
    found = examined(tmp_path, encoded(tone(peak=0.5)))
    assert found.peak_dbfs == pytest.approx(-6.02, abs=0.02)
    assert found.rms_dbfs == pytest.approx(-9.03, abs=0.02)  # a sine's RMS lies 3.01 dB below its peak
    assert (found.seconds, found.frames, found.sample_rate, found.channels) == (1.0, RATE, RATE, 1)


def test_wav_and_flac_of_one_recording_share_the_samples_hash():
    samples = (tone() * 32767).astype(np.int16)  # as floats, libsndfile rounds them differently for the two
    wav, flac = (audio.decode(encoded(samples, container=kind)) for kind in ("WAV", "FLAC"))
    assert audio.samples_hash(wav.samples) == audio.samples_hash(flac.samples)
    expected = hashlib.sha256(struct.pack(f"<{RATE}h", *samples.tolist())).hexdigest()
    assert audio.samples_hash(wav.samples) == expected


def test_the_hash_interleaves_channels():
    left, right = tone(hertz=200), tone(hertz=300)
    one, other = (audio.decode(encoded(np.stack(pair, axis=1))).samples for pair in [(left, right), (right, left)])
    assert audio.samples_hash(one) != audio.samples_hash(other)


def test_equal_channels_make_the_same_recording_as_mono(tmp_path):
    mono = examined(tmp_path, encoded(tone()))
    stereo = examined(tmp_path, encoded(np.stack([tone(), tone()], axis=1)))
    other = examined(tmp_path, encoded(np.stack([tone(), tone(hertz=300)], axis=1)))
    assert stereo.samples_sha256 != mono.samples_sha256
    assert stereo.mono_sha256 == mono.mono_sha256 != other.mono_sha256


@pytest.mark.parametrize(("subtype", "kind"), [("PCM_16", "int16"), ("PCM_24", "float32"), ("FLOAT", "float32")])
def test_what_does_not_fit_sixteen_bits_is_read_as_float(subtype, kind):
    assert audio.decode(encoded(tone(), subtype=subtype)).samples.dtype == kind


def test_mixing_down_averages_the_channels():
    left, right = tone(hertz=440, peak=0.6), np.zeros(RATE, np.float32)
    mixed = audio.mono(audio.decode(encoded(np.stack([left, right], axis=1))).samples)
    np.testing.assert_allclose(mixed, left / 2, atol=1 / 32768)


@pytest.mark.parametrize("source", [48_000, 24_414, 44_100, 96_000])
def test_resampling_keeps_a_tone_where_it_is(source):
    signal = audio.resample(tone(seconds=2, hertz=1000, rate=source), source, RATE)
    assert len(signal) == pytest.approx(2 * RATE, abs=1)
    spectrum = np.abs(np.fft.rfft(signal))
    assert np.argmax(spectrum) * RATE / len(signal) == pytest.approx(1000, abs=1)


def test_what_lies_above_half_the_rate_is_gone():
    signal = audio.resample(tone(hertz=12_000, rate=48_000), 48_000, RATE)
    assert np.abs(signal[200:-200]).max() < 1e-3


def test_a_file_that_changed_since_ingest_is_refused(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(encoded(tone()))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(audio.load(path, RATE, sha256=digest)) == RATE
    path.write_bytes(encoded(tone(hertz=441)))
    with pytest.raises(AudioError, match="has changed since it was ingested: run 'dvc repro'"):
        audio.load(path, RATE, sha256=digest)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_header_written_to_a_pipe_promises_nothing(size):
    data = bytearray(encoded(tone()))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    assert not audio.promises_more(bytes(data))


def test_real_clips_decode_to_their_published_hashes(corpora):
    from pipeline.corpora import tables

    published = {
        path.rpartition("/")[2][:-4]: digest
        for path, digest in tables.table("ravdess")[["path", "samples_sha256"]].itertuples(index=False)
    }
    paths = sorted((corpora / "RAVDESS").rglob("*.flac"))[::40]
    assert len(paths) > 30
    for path in paths:
        assert audio.samples_hash(audio.decode(path.read_bytes()).samples) == published[path.stem]


def test_a_flac_that_breaks_off_is_truncated(tmp_path):
    rng = np.random.default_rng(0)
    data = encoded(rng.normal(0, 0.1, 5 * RATE), container="FLAC")
    assert examined(tmp_path, data[: len(data) // 2], "clip.flac").status == "truncated"


def unstated(data: bytes) -> bytes:
    """A FLAC whose header states no number of samples, as written to a pipe (36 bits in STREAMINFO are zero)."""
    head = bytearray(data)
    head[21] &= 0xF0
    head[22:26] = bytes(4)
    return bytes(head)


def test_a_flac_of_unstated_length_is_said(tmp_path):
    found = examined(tmp_path, unstated(encoded(tone(seconds=2), container="FLAC")), "clip.flac")
    assert found.status == "unreadable"
    assert "does not state its length" in found.detail


def test_samples_of_a_known_file_are_frozen():
    """Whoever changes them raises audio.VERSION, or the clip cache goes on serving the old ones."""
    rng = np.random.default_rng(7)
    stereo = (rng.normal(0, 3000, (4800, 2))).astype(np.int16)
    signal = audio.resample(audio.mono(stereo), 48_000, RATE)
    assert audio.VERSION == 1
    np.testing.assert_allclose(signal[[100, 700, 1500]], [-0.04311822, -0.00081814, -0.0017332], atol=2e-7)
