"""Decoding and the verdict over one file, on sound that this file makes."""

import hashlib
import io
import struct

import numpy as np
import pytest
import soundfile

from pipeline.audio import decode
from pipeline.core.errors import AudioError
from pipeline.ingest import measure
from pipeline.signal import preprocess
from pipeline.signal.settings import Audio

RATE = 16_000
LIMITS = measure.ClipLimits()


def tone(seconds=1.0, hertz=440.0, rate=RATE, peak=0.5):
    return (peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encoded(samples, rate=RATE, container="WAV", subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def examined(tmp_path, data, name="clip.wav", limits=LIMITS):
    path = tmp_path / name
    path.write_bytes(data)
    return measure.measure_file(path, limits, name=name)


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
    wav, flac = (decode.decode_audio(encoded(samples, container=kind)) for kind in ("WAV", "FLAC"))
    assert decode.hash_samples(wav.samples) == decode.hash_samples(flac.samples)
    expected = hashlib.sha256(struct.pack(f"<{RATE}h", *samples.tolist())).hexdigest()
    assert decode.hash_samples(wav.samples) == expected


def test_the_hash_interleaves_channels():
    left, right = tone(hertz=200), tone(hertz=300)
    one, other = (
        decode.decode_audio(encoded(np.stack(pair, axis=1))).samples for pair in [(left, right), (right, left)]
    )
    assert decode.hash_samples(one) != decode.hash_samples(other)


def test_equal_channels_make_the_same_recording_as_mono(tmp_path):
    mono = examined(tmp_path, encoded(tone()))
    stereo = examined(tmp_path, encoded(np.stack([tone(), tone()], axis=1)))
    other = examined(tmp_path, encoded(np.stack([tone(), tone(hertz=300)], axis=1)))
    assert stereo.samples_sha256 != mono.samples_sha256
    assert stereo.mono_sha256 == mono.mono_sha256 != other.mono_sha256


@pytest.mark.parametrize(("subtype", "kind"), [("PCM_16", "int16"), ("PCM_24", "float32"), ("FLOAT", "float32")])
def test_what_does_not_fit_sixteen_bits_is_read_as_float(subtype, kind):
    assert decode.decode_audio(encoded(tone(), subtype=subtype)).samples.dtype == kind


def test_mixing_down_averages_the_channels():
    left, right = tone(hertz=440, peak=0.6), np.zeros(RATE, np.float32)
    mixed = decode.to_mono(decode.decode_audio(encoded(np.stack([left, right], axis=1))).samples)
    np.testing.assert_allclose(mixed, left / 2, atol=1 / 32768)


@pytest.mark.parametrize("source", [48_000, 24_414, 44_100, 96_000])
def test_resampling_keeps_a_tone_where_it_is(source):
    signal = decode.resample(tone(seconds=2, hertz=1000, rate=source), source, RATE)
    assert len(signal) == pytest.approx(2 * RATE, abs=1)
    spectrum = np.abs(np.fft.rfft(signal))
    assert np.argmax(spectrum) * RATE / len(signal) == pytest.approx(1000, abs=1)


def test_what_lies_above_half_the_rate_is_gone():
    signal = decode.resample(tone(hertz=12_000, rate=48_000), 48_000, RATE)
    assert np.abs(signal[200:-200]).max() < 1e-3


def test_a_file_that_changed_since_ingest_is_refused(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(encoded(tone()))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(decode.load_signal(path, RATE, sha256=digest)) == RATE
    path.write_bytes(encoded(tone(hertz=441)))
    with pytest.raises(AudioError, match="has changed since it was ingested: run 'dvc repro'"):
        decode.load_signal(path, RATE, sha256=digest)


def test_real_clips_decode_to_their_published_hashes(corpora):
    from pipeline.corpora import checksums

    published = {
        path.rpartition("/")[2][:-4]: digest
        for path, digest in checksums.checksum_table("ravdess")[["path", "samples_sha256"]].itertuples(index=False)
    }
    paths = sorted((corpora / "RAVDESS").rglob("*.flac"))[::40]
    assert len(paths) > 30
    for path in paths:
        assert decode.hash_samples(decode.decode_audio(path.read_bytes()).samples) == published[path.stem]


def test_a_flac_that_breaks_off_is_truncated(tmp_path):
    rng = np.random.default_rng(0)
    data = encoded(rng.normal(0, 0.1, 5 * RATE), container="FLAC")
    assert examined(tmp_path, data[: len(data) // 2], "clip.flac").status == "truncated"


def test_load_is_fetch_and_signal(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(encoded(np.stack([tone(rate=48_000), -0.5 * tone(rate=48_000)], axis=1), rate=48_000))
    recording = decode.read_recording(path)
    assert (recording.samples.shape, recording.sample_rate, recording.container) == ((48_000, 2), 48_000, "WAV")
    np.testing.assert_array_equal(decode.mono_signal(recording, RATE), decode.load_signal(path, RATE))
    np.testing.assert_array_equal(
        decode.mono_signal(recording, RATE), decode.resample(decode.to_mono(recording.samples), 48_000, RATE)
    )
    for read in (decode.read_recording, lambda path, **keys: decode.load_signal(path, RATE, **keys)):
        with pytest.raises(AudioError, match="cannot be read: No such file"):
            read(tmp_path / "none.wav")
        with pytest.raises(AudioError, match="has changed since it was ingested"):
            read(path, sha256="0" * 64)


# what damaged files once did: tests/system/test_audio_fuzz.py found these


@pytest.mark.parametrize(("rate", "status"), [(1, "unreadable"), (999, "unreadable"), (1000, "ok"), (768_000, "ok"),
                                              (768_001, "unreadable"), (2**31 - 1, "unreadable")])  # fmt: skip
def test_a_rate_no_recording_has_is_refused(tmp_path, rate, status):
    """At 1 Hz a clip would become gigabytes when it is brought to 16 kHz."""
    data = bytearray(encoded(tone(), rate=RATE))
    data[24:28] = struct.pack("<I", rate)
    data = encoded(tone(hertz=rate / 10, rate=rate), rate=rate) if status == "ok" else bytes(data)
    found = examined(tmp_path, data)
    assert found.status == status
    assert (f"states {rate} Hz, expected 1000 to 768000 Hz" in found.detail) == (status != "ok")


@pytest.mark.parametrize(
    ("peak", "status"), [(32768, "ok"), (2.0**31, "ok"), (2.0**32, "unreadable"), (3e38, "unreadable")]
)
def test_samples_louder_than_any_number_of_32_bits_are_damage(tmp_path, peak, status):
    """They overflow, first where channels are mixed, then where energy is measured."""
    left = tone(peak=peak)
    left[500] = -peak
    found = examined(tmp_path, encoded(np.stack([left, left], axis=1), subtype="FLOAT"))
    assert found.status == status
    assert (f"samples of {peak:.0e} times full scale" in found.detail) == (status != "ok")
    if status == "ok":
        kept = preprocess.preprocess_signal(decode.load_signal(tmp_path / "clip.wav", 22_050), Audio())
        assert np.abs(kept).max() == pytest.approx(peak, rel=0.1)


def test_a_header_that_states_more_than_memory_holds_is_refused(tmp_path):
    """With 36 bits of samples stated: 137 GB."""
    data = bytearray(encoded(tone(), container="FLAC"))
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    assert examined(tmp_path, bytes(data), "clip.flac").status == "too_long"
    with pytest.raises(AudioError, match="more than fit into memory|breaks off|ends before") as caught:
        decode.load_signal(tmp_path / "clip.flac", RATE)
    assert caught.value.status in {"too_long", "truncated"}  # memory that is not touched may be had


def test_memory_that_runs_out_is_said(tmp_path, monkeypatch):
    def read(*args, **keys):
        raise MemoryError

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    found = examined(tmp_path, encoded(tone()))
    assert (found.status, found.detail[:51]) == ("too_long", "clip.wav states 16000 frames, more than fit into me")


@pytest.mark.parametrize("subtype", ["G721_32", "G723_24"])
def test_an_encoding_without_seeking_is_read(tmp_path, subtype):
    found = examined(tmp_path, encoded(tone(), container="AU", subtype=subtype), "clip.au")
    assert (found.status, found.warnings) == ("ok", "")
    assert found.seconds == pytest.approx(1, abs=0.01)
    assert found.peak_dbfs == pytest.approx(-6, abs=1)


def test_a_damaged_header_prints_no_traceback(tmp_path, capfd):
    """Libsndfile seeks to where the header points, and what Python raises within is printed, not raised."""
    aiff, rf64 = encoded(tone(), container="AIFF")[:24], bytearray(encoded(tone(), container="RF64"))
    rf64[28:36] = struct.pack("<q", 2**63 - 1)
    assert examined(tmp_path, aiff).status == "unreadable"
    assert examined(tmp_path, bytes(rf64)).status in {"ok", "unreadable"}
    assert capfd.readouterr().err == ""


def test_a_seek_to_nowhere_stays():
    source = decode.ByteSource(b"0123456789")
    assert (source.seek(4), source.seek(-1), source.seek(2**63 - 1, 1), source.seek(2**70)) == (4, 4, 4, 4)
    assert (source.seek(-2, 2), source.read(), source.seek(20), source.read()) == (8, b"89", 20, b"")


def test_samples_of_a_known_file_are_frozen():
    """Whoever changes them raises audio.VERSION, or the clip cache goes on serving the old ones."""
    rng = np.random.default_rng(7)
    stereo = (rng.normal(0, 3000, (4800, 2))).astype(np.int16)
    signal = decode.resample(decode.to_mono(stereo), 48_000, RATE)
    assert decode.VERSION == 2
    np.testing.assert_allclose(signal[[100, 700, 1500]], [-0.04311822, -0.00081814, -0.0017332], atol=2e-7)


@pytest.mark.parametrize(
    ("suffix", "subtype", "sought"),
    [(".wav", "PCM_16", True), (".wav", "PCM_24", True), (".wav", "FLOAT", True), (".aiff", "PCM_16", True),
     (".flac", "PCM_16", True), (".flac", "PCM_24", True), (".ogg", "VORBIS", False), (".mp3", None, False)],
)  # fmt: skip
def test_a_window_is_the_very_stretch_of_the_whole(tmp_path, suffix, subtype, sought):
    path, rate = tmp_path / f"x{suffix}", 22_050
    soundfile.write(path, 0.3 * np.random.default_rng(2).standard_normal((3 * rate, 2)), rate, subtype=subtype)
    whole = decode.read_recording(path)
    for start, seconds in [(0.0, 0.5), (0.7001, 1.3), (1.0, 99.0), (2.9999, 1.0), (50.0, 1.0)]:
        part = decode.read_recording(path, window=(start, seconds))
        first, last = round(start * rate), round(start * rate) + round(seconds * rate)
        if sought:
            assert part.first == min(first, len(whole.samples))
            np.testing.assert_array_equal(part.samples, whole.samples[first:last])
        else:
            assert part.first == 0
            np.testing.assert_array_equal(part.samples, whole.samples)
