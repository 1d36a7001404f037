"""Folders compared with the published table, file by file: everything that copies of a corpus have been seen to be."""

import hashlib
import shutil
import struct

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner

from pipeline.acquire import verify
from pipeline.audio import decode
from pipeline.cli.main import main
from pipeline.corpora import checksums
from pipeline.corpora.registry import KNOWN_CORPORA

STEMS = [f"03-01-05-01-01-{take}-{actor:02}" for actor in (1, 2) for take in ("01", "02")]


def tone(number, channels=1):
    wave = 9000 * np.sin(np.arange(4800) * (0.05 + 0.01 * number))
    return np.tile(wave.astype("<i2")[:, None], channels)


def padded(samples, rate=48_000):
    """Write a WAV with a chunk before the sound, as RAVDESS has it."""
    sound, filler = samples.tobytes(), b"FLLR" + struct.pack("<I", 64) + bytes(64)
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, samples.shape[1], rate, rate * 2 * samples.shape[1], 2, 16)
    body = b"WAVE" + form + filler + b"data" + struct.pack("<I", len(sound)) + sound
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A RAVDESS of four clips, with a table that says so; the third has no checksum of its samples."""
    rows, folder = [], tmp_path / "R"
    for number, stem in enumerate(STEMS):
        path = folder / f"Actor_{stem[-2:]}/{stem}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = tone(number, channels=1 + number % 2)
        data = verify.plain_wav(samples, 48_000) if number == 2 else padded(samples)
        path.write_bytes(data)
        digest = "" if number == 2 else decode.hash_samples(samples)
        rows.append((path.relative_to(folder).as_posix(), len(data), hashlib.sha256(data).hexdigest(), digest))
    table = pd.DataFrame(rows, columns=["path", "bytes", "sha256", "samples_sha256"])
    monkeypatch.setattr(checksums, "checksum_table", lambda name: table)
    monkeypatch.setattr(
        checksums, "published_hashes", lambda name: frozenset(table["sha256"]) | frozenset(table["samples_sha256"])
    )
    return folder


def clip(corpus, number):
    return corpus / f"Actor_{STEMS[number][-2:]}/{STEMS[number]}.wav"


def statuses(corpus):
    found = verify.verify_folder("ravdess", corpus)
    return found["status"].to_list(), found


def test_an_original_is_whole(corpus):
    assert statuses(corpus)[0] == ["ok"] * 4


def test_flac_copies_are_whole_by_their_samples_even_where_only_the_file_was_hashed(corpus):
    for number in range(4):
        samples, rate = soundfile.read(clip(corpus, number), dtype="int16")
        soundfile.write(clip(corpus, number).with_suffix(".flac"), samples, rate)
        clip(corpus, number).unlink()
    found, table = statuses(corpus)
    assert found == ["same_samples"] * 4
    assert verify.is_whole(table)
    assert verify.summary_lines(KNOWN_CORPORA["ravdess"], table) == [
        "ravdess: 4 of 4 clips are as published (4 by samples)"
    ]


@pytest.mark.parametrize(
    ("spoil", "status", "said"),
    [
        (lambda path: path.unlink(), "missing", ""),
        (lambda path: path.write_bytes(padded(tone(9))), "different", "its samples are others"),
        (lambda path: path.write_bytes(b"<html>404</html>"), "different", "no audio"),
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), "different", "ends before the length"),
        (lambda path: path.write_bytes(b""), "different", "has no bytes"),
    ],
)
def test_a_spoilt_clip_is_named_with_what_is_wrong(corpus, spoil, status, said):
    spoil(clip(corpus, 1))
    found, table = statuses(corpus)
    assert found == ["ok", status, "ok", "ok"]
    assert said in table["detail"][1]
    assert not verify.is_whole(table)


@pytest.mark.parametrize("own", [True, False])
def test_a_pointer_says_whether_it_stands_for_the_published_file(corpus, own):
    oid = hashlib.sha256(clip(corpus, 0).read_bytes()).hexdigest() if own else "0" * 64
    clip(corpus, 0).write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 9\n")
    found, table = statuses(corpus)
    assert found[0] == "lfs_pointer"
    assert ("another file" in table["detail"][0]) is not own


def test_without_a_checksum_of_samples_a_shorter_copy_proves_nothing_and_a_longer_one_is_different(corpus):
    sound = soundfile.read(clip(corpus, 2), dtype="int16")[0]
    clip(corpus, 2).write_bytes(verify.plain_wav(sound[:-10, None], 48_000))
    assert statuses(corpus)[0][2] == "unproven"
    clip(corpus, 2).write_bytes(verify.plain_wav(np.append(sound, sound)[:, None], 48_000))
    assert statuses(corpus)[0][2] == "different"


def test_a_clip_under_another_name_is_there(corpus):
    clip(corpus, 3).rename(corpus / "take four.wav")
    found, table = statuses(corpus)
    assert found == ["ok", "ok", "ok", "renamed"]
    assert table["found"][3] == "take four.wav"


def test_of_two_clips_with_equal_bytes_the_one_that_is_gone_is_missing(corpus):
    table = checksums.checksum_table("ravdess")
    table.loc[1, ["bytes", "sha256", "samples_sha256"]] = table.loc[0, ["bytes", "sha256", "samples_sha256"]]
    clip(corpus, 1).unlink()
    assert statuses(corpus)[0][:2] == ["ok", "missing"]


def test_a_tree_held_twice_is_whole_with_as_many_extra(corpus):
    shutil.copytree(corpus, corpus / "audio_speech_actors_01-24")
    (corpus / "audio_speech_actors_01-24/._x.wav").touch()
    (corpus / "holiday.wav").write_bytes(padded(tone(7)))
    found, table = statuses(corpus)
    assert found == ["ok"] * 4 + ["extra"] * 5
    assert set(table["detail"][4:]) == {"no published name", *(f"another copy of {path}" for path in table["path"][:4])}
    assert verify.is_whole(table)


def test_the_command_prints_writes_and_exits_for_scripts(corpus, tmp_path):
    words = ["corpora", "verify", "ravdess", str(corpus), "--csv", str(tmp_path / "out.csv")]
    whole = CliRunner().invoke(main, words)
    assert (whole.exit_code, whole.stdout) == (0, "ravdess: 4 of 4 clips are as published\n")
    clip(corpus, 1).unlink()
    part = CliRunner().invoke(main, words)
    assert part.exit_code == 1
    assert part.stdout.splitlines()[0] == "ravdess: 3 of 4 clips are as published"
    assert f"Actor_01/{STEMS[1]}.wav" in part.stdout
    assert list(pd.read_csv(tmp_path / "out.csv")["status"]) == ["ok", "missing", "ok", "ok"]


def test_an_unknown_corpus_has_no_table(tmp_path):
    result = CliRunner().invoke(main, ["corpora", "verify", "mine", str(tmp_path)])
    assert result.exit_code == 1
    assert "checksum table" in result.stderr


@pytest.mark.parametrize("name", sorted(checksums.table_names()))
def test_names_tell_all_published_clips_apart(name):
    takes = {verify.take(KNOWN_CORPORA[name], path) for path in checksums.checksum_table(name)["path"]}
    assert len(takes) == KNOWN_CORPORA[name].clips
    assert () not in takes


@pytest.mark.parametrize(
    ("name", "folder", "counts"),
    [("ravdess", "RAVDESS", {"same_samples": 1_440}), ("emodb", "EmoDB", {"same_samples": 422, "missing": 113})],
)
def test_real_corpora_as_flac(corpora, name, folder, counts):
    found = verify.verify_folder(name, corpora / folder, processes=2)
    assert found["status"].value_counts().to_dict() == counts
    assert verify.is_whole(found) is ("missing" not in counts)


def test_a_plain_header_makes_the_published_files_of_emodb_anew(corpora):
    """Only the four with a padding chunk are other bytes: so a FLAC of a corpus without sample hashes can be proven."""
    published = set(checksums.checksum_table("emodb")["sha256"])
    files = sorted((corpora / "EmoDB/wav").glob("*.flac"))
    plain = [
        verify.content_hashes(corpora / "EmoDB/wav", path.name, published=frozenset()).plain_sha256 for path in files
    ]
    other = [path.stem for path, digest in zip(files, plain, strict=True) if digest not in published]
    assert other == ["14a07Aa", "14a07Fd", "14a07Na", "14a07Wc"]
