"""Every file is read whole or said to be cut, joined or of unstated length, whatever its container."""

import io
import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile

from pipeline.audio import decode, length
from pipeline.core.errors import AudioError
from pipeline.ingest import measure
from pipeline.serving.inputs import ODDITY_NOTES
from pipeline.serving.inputs import quality_notes as heard_notes

RATE = 16_000
SECONDS = 2.0
UNSTATED = {"PAF", "PVF", "IRCAM", "XI"}  # a cut of these cannot be told
BROKEN = {("SDS", "PCM_S8"), ("SDS", "PCM_24"), ("AIFF", "DWVW_12"), ("AIFF", "DWVW_16"), ("AIFF", "DWVW_24")}
OTHERS = {"RAW", "SD2", "WVE"}  # no header, a header in a file of its own, 8 kHz whatever is written
UNWRITTEN = {("MP3", "MPEG_LAYER_I"), ("MP3", "MPEG_LAYER_II"), ("WAV", "MPEG_LAYER_III")}  # by libsndfile


def sound(seconds=SECONDS, rate=RATE, hertz=220.0):
    clock = np.arange(round(seconds * rate)) / rate
    syllables = np.sin(2 * np.pi * 1.3 * clock) > 0  # pauses, so that variable bit rates vary
    return 0.3 * np.sin(2 * np.pi * hertz * clock) * syllables + 0.01 * np.random.default_rng(0).standard_normal(
        len(clock)
    )


def encoded(samples, rate=RATE, **how):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **how)
    return file.getvalue()


def every_encoding():
    """All containers, codings and orders of bytes that this libsndfile writes, each once."""
    written = set()
    for container in sorted(soundfile.available_formats()):
        for subtype in sorted(soundfile.available_subtypes(container)):
            for endian in ("FILE", "LITTLE", "BIG"):
                known = container not in OTHERS and (container, subtype) not in BROKEN | UNWRITTEN
                if known and soundfile.check_format(container, subtype, endian):
                    how = {"format": container, "subtype": subtype, "endian": endian}
                    head = encoded(sound(0.1), **how)[:400]
                    if container == "OGG" or head not in written:
                        written.add(head)
                        yield pytest.param(how, id=f"{container}-{subtype}-{endian}")


EVERY = list(every_encoding())


def heard(data):
    """Seconds that are read, or the status."""
    try:
        recording = decode.decode_audio(data)
    except AudioError as error:
        return error.status
    return len(recording.samples) / recording.sample_rate


def doubts(data):
    return decode.decode_audio(data).doubts


# cut and joined


@pytest.mark.parametrize("how", EVERY)
def test_what_is_whole_is_read_and_what_is_cut_is_said(how, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    data = encoded(sound(), **how)
    whole = heard(data)
    assert whole == pytest.approx(SECONDS if how["format"] != "XI" else SECONDS * RATE / 44_100, abs=0.04)
    refused = {"truncated", "unreadable"}
    for part in (data[: len(data) // 2], data[: -len(data) // 4], data[: -max(600, len(data) // 20)]):
        found = heard(part)
        if how["format"] in UNSTATED:
            assert found in refused or "unstated_length" in doubts(part)
        else:
            assert found in refused, found


@pytest.mark.parametrize("how", EVERY)
def test_two_recordings_in_one_file_are_said_or_read(how, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    one, other = encoded(sound(), **how), encoded(0.4 * sound(1.1, hertz=330), **how)
    for first, second in ((one, one), (one, other), (other, one)):
        found = heard(first + second)
        if how["format"] == "MP3":  # its frames follow each other, as in one stream
            assert found == pytest.approx(heard(first) + heard(second), abs=0.4)
        else:
            assert found in {"unread_sound", "truncated", "unreadable"}, found


@pytest.mark.parametrize("how", [
    {"format": "WAV", "subtype": "PCM_16"}, {"format": "FLAC", "subtype": "PCM_16"},
    {"format": "OGG", "subtype": "VORBIS"}, {"format": "AU", "subtype": "PCM_16"},
])  # fmt: skip
def test_the_remedy_for_two_in_one_works(how, tmp_path):
    one, other = encoded(sound(), **how), encoded(sound(1.1), **how)
    with pytest.raises(AudioError, match="second recording from byte") as caught:
        decode.decode_audio(one + other, name="two")
    words = str(caught.value).split("'")
    (tmp_path / "two").write_bytes(one + other)
    parts = [
        subprocess.run(f"{command} two", shell=True, cwd=tmp_path, capture_output=True, check=True).stdout
        for command in words[1::2]
    ]
    assert parts == [one, other]


@pytest.mark.parametrize("how", EVERY)
def test_padding_and_tags_behind_the_sound_are_no_sound(how, monkeypatch, tmp_path):
    """Zeros of a recorder that fills blocks, ID3v1; where no length is stated, or libsndfile refuses, they are read."""
    monkeypatch.chdir(tmp_path)
    data = encoded(sound(), **how)
    if how["format"] in UNSTATED | {"HTK", "SVX", "VOC", "AVR", "MAT5", "MPC2K", "SDS", "MAT4"}:
        pytest.skip("libsndfile reads on to the end of the file")
    for behind in (bytes(512), b"TAG" + bytes(125)):
        assert heard(data + behind) == pytest.approx(heard(data), abs=1e-6)
        assert "trailing_bytes" not in doubts(data + behind)


# sizes that no file has


CHUNKED = [
    ({"format": "WAV", "subtype": "PCM_16"}, b"data", 4, "<I"),
    ({"format": "WAV", "subtype": "PCM_24"}, b"data", 4, "<I"),
    ({"format": "WAV", "subtype": "FLOAT"}, b"data", 4, "<I"),
    ({"format": "WAV", "subtype": "ULAW"}, b"data", 4, "<I"),
    ({"format": "WAVEX", "subtype": "PCM_16"}, b"data", 4, "<I"),
    ({"format": "WAV", "subtype": "PCM_16", "endian": "BIG"}, b"data", 4, ">I"),
    ({"format": "AIFF", "subtype": "PCM_16"}, b"SSND", 4, ">I"),
    ({"format": "AIFF", "subtype": "FLOAT"}, b"SSND", 4, ">I"),
    ({"format": "AU", "subtype": "PCM_16"}, b".snd", 8, ">I"),
    ({"format": "AU", "subtype": "PCM_16", "endian": "LITTLE"}, b"dns.", 8, "<I"),
    ({"format": "W64", "subtype": "PCM_16"}, b"data\xf3\xac", 16, "<q"),
    ({"format": "CAF", "subtype": "PCM_16"}, b"data\0\0\0\0", 4, ">q"),
    ({"format": "RF64", "subtype": "PCM_16"}, b"ds64", 16, "<q"),
]  # fmt: skip
IMPOSSIBLE = {"I": (0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF - 44),
              "q": (0, -1, 2**63 - 1, 2**62)}  # fmt: skip


def with_size(data, mark, offset, kind, value):
    changed = bytearray(data)
    struct.pack_into(kind, changed, data.index(mark) + offset, value)
    return bytes(changed)


@pytest.mark.parametrize(("how", "mark", "offset", "kind"), CHUNKED)
def test_an_impossible_size_means_to_the_end_of_the_file(how, mark, offset, kind):
    data = encoded(sound(), **how)
    expected = decode.decode_audio(data).samples
    for value in IMPOSSIBLE[kind[1]]:
        found = decode.decode_audio(with_size(data, mark, offset, kind, value))
        np.testing.assert_array_equal(found.samples, expected, err_msg=hex(value))
        assert found.doubts == ("unstated_length",)
        assert (
            length.measure_extent(with_size(data, mark, offset, kind, value)).data == data
        )  # the true size in the header


@pytest.mark.parametrize(("how", "mark", "offset", "kind"), CHUNKED)
@pytest.mark.parametrize("more", [1, 8, 36, 44])
def test_an_excess_no_larger_than_a_header_is_no_cut(how, mark, offset, kind, more):
    data = encoded(sound(), **how)
    (size,) = struct.unpack_from(kind, data, data.index(mark) + offset)
    changed = with_size(data, mark, offset, kind, size + min(more, data.index(mark) + 8))
    assert heard(changed) == pytest.approx(SECONDS, abs=0.001)


@pytest.mark.parametrize(("how", "mark", "offset", "kind"), CHUNKED)
def test_a_larger_excess_is_a_cut(how, mark, offset, kind):
    data = encoded(sound(), **how)
    for value in (len(data) + 2000, 2 * len(data), 2**20, 2**30):
        assert heard(with_size(data, mark, offset, kind, value)) == "truncated"


@pytest.mark.parametrize(("how", "mark", "offset", "kind"), CHUNKED)
def test_sound_behind_the_stated_length_is_said(how, mark, offset, kind):
    data = encoded(sound(), **how)
    (size,) = struct.unpack_from(kind, data, data.index(mark) + offset)
    assert heard(with_size(data, mark, offset, kind, size // 4)) == "unread_sound"
    little = with_size(data, mark, offset, kind, size - size // 60)
    assert heard(little) < SECONDS
    assert doubts(little) == ("trailing_bytes",)


def test_what_is_odd_about_the_bytes_stands_in_the_manifest_and_beside_the_answer(tmp_path):
    data = with_size(encoded(sound(), format="WAV", subtype="PCM_16"), b"data", 4, "<I", 0) + bytes(10)
    (tmp_path / "a.wav").write_bytes(data)
    found = measure.measure_file(tmp_path / "a.wav", measure.ClipLimits(), name="a.wav")
    assert (found.status, found.warnings) == ("ok", "unstated_length")
    assert list(heard_notes(decode.decode_audio(data), SECONDS)) == [ODDITY_NOTES["unstated_length"]]


def test_chunks_in_any_place_are_no_sound():
    """Text of an editor behind the sound, of odd size and cut; a chunk of sound that is empty stays empty."""
    data = encoded(sound(), format="WAV", subtype="PCM_16")
    note = b"LIST" + struct.pack("<I", 27) + b"INFOISFT" + struct.pack("<I", 15) + b"an editor of ..\0"
    for behind in (note, note + note, note[:20], b"ab12" + struct.pack("<I", 4) + b"\1\2\3\4"):
        assert (heard(data + behind), doubts(data + behind)) == (SECONDS, ())
    empty = data[:40] + bytes(4) + note
    assert heard(empty) == 0
    assert heard(data + b"data" + struct.pack("<I", 20_000) + b"\1\2" * 10_000) == "unread_sound"


@pytest.mark.parametrize("suffix", ["wav", "au", "aiff", "flac", "sph"])  # to W64 and CAF it writes the header twice
def test_what_sox_writes_to_a_pipe_is_read(suffix, tmp_path):
    if not shutil.which("sox"):
        pytest.skip("sox is not installed")
    command = f"sox -n -r 16000 -b 16 -t {suffix} - synth 2 sine 220 gain -6 | cat > out"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=False)
    data = (tmp_path / "out").read_bytes()
    if not data:
        pytest.skip(f"sox does not: {done.stderr.decode().strip()}")
    assert heard(data) == pytest.approx(2.0, abs=0.001)


@pytest.mark.parametrize("suffix", ["wav", "au", "aiff", "w64", "caf", "flac", "ogg", "opus", "mp3"])
def test_what_ffmpeg_writes_to_a_pipe_is_read(suffix, tmp_path):
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    command = f"ffmpeg -v error -f lavfi -i sine=220:d=2 -ar 48000 -f {suffix} - | cat > out"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=False)
    data = (tmp_path / "out").read_bytes()
    if not data:
        pytest.skip(f"ffmpeg does not: {done.stderr.decode().strip()}")
    assert heard(data) == pytest.approx(2.0, abs=0.05)


# MPEG


def mp3(rate, mode, seconds=4.0, channels=1):
    samples = sound(seconds, rate)
    samples = samples if channels == 1 else np.stack([samples, 0.5 * samples], axis=1)
    how = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": mode, "compression_level": 0.4}
    return encoded(samples, rate, **how)


def without_front(data):
    """The same without its first frame, which states the count."""
    frames, _, _ = length._list_frames(data)
    return data[frames[1].start :]


@pytest.mark.parametrize("rate", [8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_mp3_without_a_stated_length_is_read_whole(rate, mode, channels):
    data = mp3(rate, mode, channels=channels)
    tagged, bare = decode.decode_audio(data), decode.decode_audio(without_front(data))
    spare = 3 * (1152 if rate >= 32_000 else 576)  # what an encoder puts before and behind, which the front says
    assert len(tagged.samples) == 4 * rate
    assert 4 * rate <= len(bare.samples) <= 4 * rate + spare
    shift = 1105  # LAME's delay and the decoder's own
    np.testing.assert_allclose(bare.samples[shift : shift + 4 * rate], tagged.samples, atol=1e-4)


def test_a_front_that_lies_is_not_believed():
    data = mp3(RATE, "VARIABLE")
    at = data.index(b"Xing") + 8
    frames = int.from_bytes(data[at : at + 4], "big")
    for stated in (1, frames // 3, frames - 1, 0):
        changed = data[:at] + struct.pack(">I", stated) + data[at + 4 :]
        assert heard(changed) == pytest.approx(4.1, abs=0.02)
    for stated in (frames + 2, 2 * frames, 2**31):
        assert heard(data[:at] + struct.pack(">I", stated) + data[at + 4 :]) == "truncated"


def test_a_cut_mp3_is_said():
    for mode in ("CONSTANT", "VARIABLE"):
        data = mp3(RATE, mode)
        assert {heard(data[:size]) for size in range(len(data) // 3, len(data) - 700, 997)} == {"truncated"}
        bare = without_front(data)
        frames, _, _ = length._list_frames(bare)
        ends = {frame.start + frame.size for frame in frames}
        cuts = [size for size in range(len(bare) // 3, len(bare), 991) if size not in ends]
        assert {heard(bare[:size]) for size in cuts} == {"truncated"}


@pytest.mark.parametrize("front", [True, False])
def test_tags_around_an_mp3_are_no_sound(front):
    data = mp3(RATE, "VARIABLE") if front else without_front(mp3(RATE, "VARIABLE"))
    id3 = b"ID3\4\0\0" + bytes([0, 0, 7, 0x68]) + b"\xff\xfb\x90\x64" * 250
    for changed in (id3 + data, data + b"TAG" + bytes(125), id3 + data + b"TAG" + bytes(125), id3 + id3 + data):
        assert heard(changed) == pytest.approx(heard(data), abs=1e-6)
        assert doubts(changed) == ()


@pytest.mark.parametrize("how", [{"format": "WAV", "subtype": "ULAW"}, {"format": "FLAC"}, {"format": "OGG"}])
def test_a_tag_in_front_is_no_part_of_the_sound(how):
    id3, data = b"ID3\4\0\0" + bytes([0, 0, 7, 0x68]) + bytes(1000), encoded(sound(), **how)
    np.testing.assert_array_equal(decode.decode_audio(id3 + data).samples, decode.decode_audio(data).samples)
    assert length.measure_extent(id3 + data + data).second == len(id3) + len(data)


def test_another_stream_behind_an_mp3_is_said():
    assert heard(mp3(RATE, "VARIABLE") + mp3(44_100, "VARIABLE")) == "unread_sound"


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_mpeg_within_a_wav_is_read_whole(mode):
    data = without_front(mp3(RATE, mode))
    fmt = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 576, 1, 1393)
    head = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data))
    wav = b"RIFF" + struct.pack("<I", len(head) + len(data)) + head + data
    np.testing.assert_array_equal(decode.decode_audio(wav).samples, decode.decode_audio(data).samples)
    assert decode.decode_audio(wav).container == "WAV"


@pytest.mark.parametrize("codec", ["libmp3lame", "mp2"])
def test_as_many_samples_as_ffmpeg(codec, tmp_path):
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    soundfile.write(tmp_path / "in.wav", sound(5.0, 44_100), 44_100)
    for name, options in {"a": "-b:a 96k", "b": "-b:a 128k -write_xing 0", "c": "-q:a 6 -write_xing 0"}.items():
        options = options if codec == "libmp3lame" else "-b:a 96k"
        path, raw = tmp_path / f"{name}.{'mp3' if codec == 'libmp3lame' else codec}", tmp_path / "raw"
        subprocess.run(
            f"ffmpeg -v error -y -i in.wav -c:a {codec} {options} {path} && "
            f"ffmpeg -v error -y -i {path} -f f32le {raw}", shell=True, cwd=tmp_path, check=True,
        )  # fmt: skip
        assert abs(len(decode.read_recording(path).samples) - raw.stat().st_size // 4) <= 1152 + 529


# FLAC


def flac(seconds=SECONDS, **how):
    return encoded(sound(seconds), format="FLAC", **{"subtype": "PCM_16", **how})


def stating(data, total):
    """The same FLAC with another number of samples in its header (36 bits of STREAMINFO)."""
    head = bytearray(data)
    head[21] = head[21] & 0xF0 | total >> 32
    head[22:26] = struct.pack(">I", total & 0xFFFFFFFF)
    return bytes(head)


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("seconds", [0.6, 2.0, 8.192])
def test_a_flac_of_unstated_or_understated_length_is_read_whole(subtype, seconds):
    data = flac(seconds, subtype=subtype)
    expected = decode.decode_audio(data).samples
    assert len(expected) == round(seconds * RATE)
    for total in (0, 1, 5000, len(expected) - 1):
        np.testing.assert_array_equal(decode.decode_audio(stating(data, total)).samples, expected)
    for total in (len(expected) + 1, 2 * len(expected), 2**30):
        assert heard(stating(data, total)) == "truncated"


def test_a_cut_flac_of_unstated_length_is_refused():
    data = stating(flac(5.0), 0)
    assert {heard(data[:size]) for size in range(len(data) // 3, len(data) - 1, 2003)} <= {"truncated", "unreadable"}


def test_what_only_looks_like_a_last_frame_is_not_believed():
    """The beginning of a frame behind the last one, as a broken copy leaves it: its checksum is wrong."""
    data = flac(2.0)
    first = data.index(b"\xff\xf8")
    assert heard(data + data[first : first + 300]) == 2.0
    assert heard(stating(data, 0) + data[first : first + 300]) == "unreadable"


def test_real_flac_states_what_its_last_frame_holds(corpora):
    from pipeline.audio import containers

    for path in sorted(corpora.rglob("*.flac"))[::60]:
        data = path.read_bytes()
        stream = containers.scan_flac(data)
        assert stream
        assert stream.held == stream.stated > 0
        assert length.measure_extent(data).data is data


# Ogg


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_without_the_mark_of_its_end_is_read_and_said(subtype):
    data = encoded(sound(), format="OGG", subtype=subtype)
    last = data.rindex(b"OggS")
    assert data[last + 5] & 4
    assert doubts(data) == ()
    assert heard(data[:last]) == "truncated" or doubts(data[:last]) == ("no_end_mark",)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_that_lacks_a_page_is_said(subtype):
    data = encoded(sound(30.0), format="OGG", subtype=subtype)
    starts = [at for at in range(len(data)) if data.startswith(b"OggS", at)]
    assert len(starts) > 5
    assert heard(data[: starts[3]] + data[starts[4] :]) == "truncated"


# channels that cancel


def test_channels_that_cancel_are_said_and_one_is_heard(tmp_path):
    voice = sound().astype(np.float32)
    for name, other, cancel in [("over", -voice, True), ("over_and_weaker", -0.8 * voice, True),
                                ("same", voice, False), ("none", 0 * voice, False),
                                ("apart", sound(hertz=331).astype(np.float32), False)]:  # fmt: skip
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, np.stack([voice, other], axis=1), RATE, subtype="FLOAT")
        found = measure.measure_file(path, measure.ClipLimits(), name=path.name)
        assert found.status == "ok"
        assert ("cancelling" in found.warnings.split(",")) is cancel
        assert found.peak_dbfs == measure.to_dbfs(float(max(np.abs(voice).max(), np.abs(other).max())))
        expected = voice if cancel else (voice + other) / 2
        np.testing.assert_allclose(decode.load_signal(path, RATE), expected, atol=1e-6)


def test_the_loudest_of_channels_that_cancel_is_heard():
    voice = sound().astype(np.float32)
    np.testing.assert_array_equal(decode.to_mono(np.stack([-0.9 * voice, voice], axis=1)), voice)


def test_many_channels_of_noise_do_not_cancel():
    """Channels with nothing in common lose power in the mix, the more the more there are."""
    noise = np.random.default_rng(3).normal(0, 3000, (RATE, 32)).astype(np.int16)
    assert not decode.channels_cancel(noise)
    assert decode.channels_cancel(np.concatenate([noise, -noise], axis=1))
    assert not decode.channels_cancel(np.zeros((100, 2), np.int16))
    assert not decode.channels_cancel(np.zeros((0, 2), np.int16))
