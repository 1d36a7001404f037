"""Sound in formats that are not read: named, counted, and converted by the very line that is printed."""

import io
import os
import re
import shutil
import subprocess
from pathlib import Path, PurePath
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from pipeline.audio import decode, formats
from pipeline.cli import models
from pipeline.cli.main import main
from pipeline.core.errors import AudioError, CorpusError
from pipeline.ingest import measure, stage
from pipeline.serving import stream
from pipeline.tools.find_audio import find_audio_files
from tests.paths import ROOT

RATE = 16_000
M4A = b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0" + bytes(4_000)
AMR = b"#!AMR\n" + 100 * (b"\x3c" + bytes(31))  # two seconds of telephone speech: frames of 12.2 kbit/s
MADE = {  # by suffix: what ffmpeg must be told to write it
    "m4a": "", "mp4": "", "m4v": "", "m4b": "", "mov": "", "3gp": "-c:a aac", "3g2": "-c:a aac", "f4v": "", "mka": "",
    "mkv": "", "webm": "-c:a libopus", "weba": "-c:a libopus -f webm", "wma": "", "wmv": "", "asf": "", "aac": "",
    "adts": "", "loas": "", "avi": "", "flv": "-ar 44100 -c:a aac", "mpg": "", "mpeg": "", "vob": "", "mts": "",
    "m2ts": "", "spx": "-c:a libspeex", "ogx": "-c:a flac -f ogg", "ac3": "", "eac3": "", "dts": "-strict -2",
    "ra": "", "rm": "", "tta": "", "wv": "",
}  # fmt: skip


def sound(seconds=1.0):
    times = np.arange(round(RATE * seconds)) / RATE
    return (0.3 * np.sin(2 * np.pi * 220 * times) * np.hanning(len(times))).astype(np.float32)


def wav(path, seconds=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound(seconds), RATE, format="WAV")
    return path


def unreadable(path, content=M4A):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture(scope="session")
def ffmpeg(tmp_path_factory):
    """Encode a second of sound: give the file that ffmpeg makes, or skip where it cannot."""
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    source = wav(tmp_path_factory.mktemp("encoded") / "source.wav")

    def encode(suffix):
        path = source.with_name(f"made.{suffix}")
        if not path.exists():
            command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", source, *MADE[suffix].split(), path]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"this ffmpeg writes no {suffix}: {done.stderr.strip()[-100:]}")
        return path

    return encode


def bash(line, where):
    """Run a line as a person who pastes it, with nothing to type at a question."""
    return subprocess.run(
        ["bash", "-c", line], cwd=where, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
    )


def seconds(path):
    return soundfile.info(io.BytesIO(path.read_bytes())).duration


@pytest.mark.parametrize("suffix", MADE)
def test_what_ffmpeg_writes_is_told_by_content_and_not_read(ffmpeg, suffix, tmp_path):
    data = ffmpeg(suffix).read_bytes()
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.SoundFile(io.BytesIO(data))
    found = formats.format_by_content(data[: formats.HEAD_SIZE])
    assert found is formats.format_by_name(PurePath(f"x.{suffix}"))
    with pytest.raises(AudioError, match=rf"^x\.wav is {re.escape(found.title)} under the name \.wav") as refused:
        decode.decode_audio(data, name="x.wav", path="x.wav")
    assert refused.value.status == "unreadable"


READ = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("AIFF", "PCM_24"), ("AU", "ULAW"), ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"), ("OGG", "OPUS"), ("CAF", "PCM_16"), ("CAF", "ULAW"), ("W64", "PCM_16"), ("RF64", "PCM_16"),
        ("MP3", "MPEG_LAYER_III")]  # fmt: skip


@pytest.mark.parametrize(("container", "subtype"), READ)
def test_what_is_read_is_taken_for_none_of_them(container, subtype):
    file = io.BytesIO()
    soundfile.write(file, sound(), RATE, format=container, subtype=subtype)
    assert formats.format_by_content(file.getvalue()[: formats.HEAD_SIZE]) is None


def test_no_suffix_is_both_read_and_not():
    from pipeline.core.files import AUDIO_SUFFIXES

    assert not AUDIO_SUFFIXES & formats.BY_SUFFIX.keys()
    assert PurePath("x.old").suffix not in AUDIO_SUFFIXES | formats.BY_SUFFIX.keys()
    assert len(formats.BY_SUFFIX) == sum(len(each.suffixes) for each in formats.UNSUPPORTED_FORMATS)
    assert not formats.BY_SUFFIX.keys() & {".ts", ".txt", ".csv", ".mid", ".midi", ".zip", ".dat"}


NAMES = [
    "memo.m4a", "my memo.m4a", "it's \"mine\".m4a", "$HOME & co.m4a", "-y.m4a", "10:30.m4a", "file:x.m4a", "a%03d.m4a",
    "[a] {b}*.m4a", "back\\slash.m4a", "new\nline.m4a", "Übung 语.m4a", "a.b.c.m4a", "#1.m4a", "!.m4a", ".a:b.m4a",
    "MEMO.M4A", "concat:a|b.m4a", " blank .m4a", "(x.m4a", "~x.m4a",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_line_for_one_file_converts_it(ffmpeg, name, tmp_path):
    shutil.copy(ffmpeg("m4a"), tmp_path / name)
    with pytest.raises(AudioError) as refused:
        decode.decode_audio((tmp_path / name).read_bytes(), name=name, path=name)
    line = str(refused.value).partition("; convert it: ")[2]
    done = bash(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert seconds((tmp_path / name).with_suffix(".wav")) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", ["memo.wav", "-my memo.wav", "memo.mp3", "10:30.flac", "memo", "memo.dat"])
def test_a_file_under_another_name_is_given_its_own_and_converted(ffmpeg, name, tmp_path):
    shutil.copy(ffmpeg("m4a"), tmp_path / name)
    with pytest.raises(AudioError) as refused:
        decode.read_recording(tmp_path / name)
    done = bash(str(refused.value).partition("; convert it: ")[2], "/")
    assert done.returncode == 0, done.stderr
    assert seconds((tmp_path / name).with_suffix(".wav")) == pytest.approx(1, abs=0.1)
    assert all(
        decode.read_recording(path).sample_rate for path in find_audio_files([str(tmp_path)]).values()
    )  # nothing is left over


CODINGS = ["wmav2.wav", "ac3.wav", "adpcm_g726.wav", "flac.wav", "aac.caf",
           "libopus.caf", "adpcm_ima_qt.caf", "alac.caf"]  # fmt: skip


@pytest.mark.parametrize("kind", CODINGS)
def test_codings_that_libsndfile_lacks_are_converted_in_place(ffmpeg, kind, tmp_path):
    coding, _, suffix = kind.partition(".")
    path, source = tmp_path / f"my take.{suffix}", ffmpeg("m4a").with_name("source.wav")
    rate = "8000" if "g726" in coding else "48000"
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", source, "-ar", rate, "-c:a", coding, "-strict", "-2", path]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"this ffmpeg writes no {kind}")
    with pytest.raises(AudioError, match=rf"is {suffix.upper()} in a coding other than PCM, which is not") as refused:
        decode.read_recording(path)
    assert bash(str(refused.value).partition("; convert it: ")[2], "/").returncode == 0
    assert [found.name for found in find_audio_files([str(tmp_path)]).values()] == ["my take.wav"]
    assert seconds(tmp_path / "my take.wav") == pytest.approx(1, abs=0.2)


def folder_of(ffmpeg, folder, names):
    folder.mkdir()
    for name in names:
        shutil.copy(ffmpeg("m4a"), folder / name)
    (folder / "deep er").mkdir()
    for suffix in ("webm", "wma", "mp4"):
        shutil.copy(ffmpeg(suffix), folder / f"deep er/one.{suffix}")
    unreadable(folder / "deep er/call.AMR", AMR)
    wav(folder / "read.wav")
    return folder


@pytest.mark.parametrize(
    ("name", "names"),
    [("my 'voice'", NAMES), *((name, ["a b.m4a", "-c.m4a"]) for name in ("voice", "-voice", "(", "!", "a:b", "."))],
)
def test_the_line_for_a_folder_converts_all_of_it(ffmpeg, name, names, tmp_path, monkeypatch):
    base = folder_of(ffmpeg, tmp_path / name.replace(".", "x"), names)
    monkeypatch.chdir(tmp_path if name != "." else base)
    before = find_audio_files([str(base)])
    unread = formats.list_unsupported(before.values())
    assert len(unread) == len(names) + 4
    head, line = formats.conversion_advice(unread, name)
    kinds = f"(1 amr, {len(names)} m4a, 1 mp4, 1 webm, 1 wma)"
    assert head.startswith(f"{len(unread)} files are in formats that are not read {kinds}, such as ")
    assert max(map(len, line.splitlines())) <= 100 + len(name)
    done = bash(line, ".")
    assert done.returncode == 0, done.stderr
    after = find_audio_files([str(base)])
    assert len(after) == len(before)  # each file once
    assert not formats.list_unsupported(after.values())
    assert all(seconds(path) == pytest.approx(1, abs=0.2) or "call" in path.name for path in after.values())
    assert (
        seconds(base / "deep er/call.wav" if (base / "deep er/call.wav").exists() else base / "deep er/call.AMR.wav")
        == 2
    )


def test_what_is_there_is_never_overwritten(ffmpeg, tmp_path):
    shutil.copy(ffmpeg("m4a"), tmp_path / "a.m4a")
    shutil.copy(ffmpeg("m4a"), tmp_path / "b.m4a")
    (tmp_path / "a.wav").write_bytes(b"mine")
    bash(formats.batch_conversion_command(".", [PurePath("b.m4a")]), tmp_path)
    assert (tmp_path / "a.wav").read_bytes() == b"mine"
    assert (tmp_path / "b.wav").exists()


def test_two_of_one_name_each_become_a_file(ffmpeg, tmp_path):
    for suffix in ("m4a", "webm"):
        shutil.copy(ffmpeg(suffix), tmp_path / f"a.{suffix}")
    unread = formats.list_unsupported(find_audio_files([str(tmp_path)]).values())
    assert bash(formats.conversion_advice(unread)[1], tmp_path).returncode == 0
    assert sorted(path.name for path in find_audio_files([str(tmp_path)]).values()) == ["a.m4a.wav", "a.webm.wav"]


@pytest.fixture
def voice(tmp_path, monkeypatch):
    """A project in which we are, with a folder of three recordings; two are in formats that are not read."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    wav(tmp_path / "voice/read.wav")
    unreadable(tmp_path / "voice/memo.m4a")
    unreadable(tmp_path / "voice/my rec.webm", b"\x1aE\xdf\xa3" + bytes(900))
    return Path("voice")


def invoked(*words):
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


CONVERTED = "2 files are in formats that are not read (1 m4a, 1 webm), such as"


@pytest.mark.parametrize(("command", "made"), [("extract", "features.parquet"), ("inspect", "read.png")])
@pytest.mark.parametrize("path", ["voice", "voice/*"])
def test_the_readable_are_taken_and_the_others_named(voice, command, made, path):
    done = invoked(command, path, "--workers", "1")
    assert done.exit_code == 1
    assert Path(made).exists()
    assert f"{voice.resolve() / 'memo.m4a'} is MPEG-4, which is not read here; convert it: ffmpeg -i" in done.stderr
    assert f"{voice.resolve() / 'my rec.webm'} is Matroska" in done.stderr
    assert CONVERTED in done.stderr
    assert "Error: 2 files could not be read" in done.stderr


def test_a_file_that_was_converted_is_no_failure(voice):
    wav(voice / "memo.wav")
    wav(voice / "my rec.webm.wav")
    assert invoked("extract", "voice", "--workers", "1").exit_code == 0
    assert sorted(find_audio_files(["voice"])) == ["memo.wav", "my rec.webm.wav", "read.wav"]


def test_a_recording_under_the_name_of_such_a_format_is_read(voice):
    shutil.move(voice / "read.wav", voice / "take.m4a")
    (voice / "memo.m4a").unlink()
    done = invoked("extract", "voice", "--workers", "1")
    assert "could not be read; features.parquet holds the others" in done.stderr
    assert "take.m4a" not in done.stderr


def test_hours_of_video_are_refused_unread(voice, monkeypatch):
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("read whole"))
    with pytest.raises(AudioError, match="is MPEG-4, which is not read here"):
        decode.read_recording(voice / "memo.m4a")


def test_listening_to_such_a_file_is_one_sentence(voice):
    with pytest.raises(AudioError, match=r"convert it: ffmpeg -i voice/memo\.m4a voice/memo\.wav$"):
        stream.replay_file(voice / "memo.m4a")


def test_an_export_hears_the_readable(voice, monkeypatch, capsys):
    sampled = []
    monkeypatch.setattr("pipeline.export.parity.compute_samples", lambda paths, _: sampled.extend(paths))
    monkeypatch.setattr("pipeline.train.bundle.read_card", lambda _: None)
    monkeypatch.setattr("pipeline.serving.inputs.input_settings", lambda *_, **__: SimpleNamespace(compute=None))
    models.export_samples(("voice",), Path("models/bundle"))
    assert [path.name for path in sampled] == ["read.wav"]
    assert CONVERTED in capsys.readouterr().err


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A tree of emotion folders as a telephone leaves it: two clips are read, three are not."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    wav(tmp_path / "mine/angry/ann/1.wav", 0.7)
    wav(tmp_path / "mine/sad/ann/1.wav", 0.8)
    for path in ("angry/ann/2.m4a", "sad/bob/1.m4a", "sad/bob/2.3gp"):
        unreadable(tmp_path / "mine" / path)
    return Path("mine")


def ingested(folder):
    return stage.run("mine", folder, Path("data/mine.parquet"), limits=measure.ClipLimits())


def test_ingest_counts_them_and_writes_the_line(tree, capsys):
    ingested(tree)
    said = capsys.readouterr().out
    assert "mine: 2 of 2 clips usable" in said
    assert "2  not read: .m4a" in said
    assert (
        "3 files are in formats that are not read (1 3gp, 2 m4a), such as angry/ann/2.m4a; this converts them:" in said
    )
    assert "find mine ! -type d \\\n  \\( -iname '*.3gp' -o -iname '*.m4a' \\) \\\n  -exec sh" in said


def test_ingest_of_such_files_alone_says_so_instead_of_nothing_there(tree):
    for path in tree.rglob("*.wav"):
        path.unlink()
    with pytest.raises(CorpusError, match=r"mine holds no audio file that is read:\n3 files are in formats"):
        ingested(tree)
    assert not Path("data").exists()


def test_a_class_of_such_files_is_not_called_empty(tree):
    (tree / "sad/ann/1.wav").unlink()
    with pytest.raises(CorpusError, match=r"mine/sad holds no audio that is read:\n2 files are in formats") as refused:
        ingested(tree)
    assert "find mine/sad ! -type d" in str(refused.value)


def test_films_of_a_known_corpus_are_no_clips_of_it(tmp_path, capsys):
    wav(tmp_path / "Actor_01/03-01-03-01-01-01-01.wav")
    unreadable(tmp_path / "Actor_01/01-01-03-01-01-01-01.mp4")
    stage.run("ravdess", tmp_path, tmp_path / "r.parquet", limits=measure.ClipLimits())
    said = capsys.readouterr().out
    assert "1  not read: .mp4" in said
    assert "this converts" not in said
    unreadable(tmp_path / "Actor_01/03-01-03-01-02-01-01.m4a")
    stage.run("ravdess", tmp_path, tmp_path / "r.parquet", limits=measure.ClipLimits())
    assert "1 file is in a format that is not read (1 m4a), such as Actor_01/03-01-03" in capsys.readouterr().out


def test_the_manifest_holds_no_path_of_this_machine(tree):
    unreadable(tree / "angry/ann/3.wav")
    frame = stage.run("mine", tree.resolve(), Path("data/mine.parquet"), limits=measure.ClipLimits(max_bad=0.5))
    (detail,) = frame.loc[frame["status"] == "unreadable", "detail"]
    assert detail == (
        "angry/ann/3.wav is MPEG-4 under the name .wav, which is not read here; "
        "convert it: ffmpeg -i recording.m4a recording.wav"
    )


def test_find_names_them(tree):
    done = invoked("corpora", "find", "mine")
    assert done.stdout.startswith("mine  2 files by emotion")
    assert "3 files are in formats that are not read (1 3gp, 2 m4a), such as angry/ann/2.m4a" in done.stderr
    for path in tree.rglob("*.wav"):
        path.unlink()
    done = invoked("corpora", "find", "mine")
    assert done.exit_code == 1
    assert "3 files are in formats that are not read" in done.stderr


def test_the_list_counts_them(tree):
    text = Path("params.yaml").read_text(encoding="utf-8").replace("    tess: data/raw/demo/TESS", "    mine: mine")
    Path("params.yaml").write_text(text, encoding="utf-8")
    assert "2 files, 3 in formats that are not read" in invoked("corpora", "list").stdout


def test_verify_names_them_and_reads_no_film(tmp_path, monkeypatch):
    clip = unreadable(tmp_path / "Actor_01/03-01-03-01-01-01-01.m4a")
    unreadable(tmp_path / "Actor_01/01-01-03-01-01-01-01.mp4")
    done = invoked("corpora", "verify", "ravdess", tmp_path, "--csv", tmp_path / "found.csv")
    assert done.exit_code == 1
    assert "1  different     not the published recording" in done.stdout
    assert "2 files are in formats that are not read (1 m4a, 1 mp4)" in done.stdout
    assert f"ffmpeg -i {clip} {clip.with_suffix('.wav')}" in (tmp_path / "found.csv").read_text()


@pytest.mark.parametrize("path", ["", "voice.m4a"])
def test_bytes_without_a_path_get_a_line_to_go_by(path):
    with pytest.raises(AudioError) as refused:
        decode.decode_audio(M4A, name=path or "The recording", path=path)
    words = "ffmpeg -i voice.m4a voice.wav" if path else "ffmpeg -i recording.m4a recording.wav"
    assert str(refused.value) == f"{path or 'The recording'} is MPEG-4, which is not read here; convert it: {words}"


def test_a_line_with_a_name_that_nobody_can_see_runs(ffmpeg, tmp_path):
    name = os.fsdecode(b"caf\xe9 \xff.m4a")
    shutil.copy(ffmpeg("m4a"), tmp_path / name)
    done = bash(formats.conversion_command(name, formats.UNSUPPORTED_FORMATS[0]), tmp_path)
    assert done.returncode == 0
    assert seconds((tmp_path / name).with_suffix(".wav")) > 0.9
