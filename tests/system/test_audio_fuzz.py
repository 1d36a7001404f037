"""A thousand damaged files: each is usable or has its reason, and none crashes, hangs or swells.

The files are decoded in a process of their own, which runs this file as a script:
``python tests/system/test_audio_fuzz.py FOLDER COUNT SEED``. What it was working on when it died is FOLDER/damaged.

What is used is held against FFmpeg, which decodes the same bytes by other code:
``python tests/system/test_audio_fuzz.py compare FOLDER COUNT SEED`` lists where FFmpeg finds more.
"""

import faulthandler
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.audio import decode
from pipeline.core import tables
from pipeline.core.errors import AudioError
from pipeline.ingest import measure
from pipeline.signal import preprocess
from pipeline.signal.settings import Audio

resource = pytest.importorskip("resource", reason="memory cannot be limited here")

COUNT = 1000
PATIENCE = 5  # s for one file
MEMORY = 4 * 2**30  # bytes of addresses, libraries included
RATE = 16_000
ENCODINGS = [  # container, coding, order of bytes or bit rate
    ("WAV", "PCM_16", "FILE"), ("WAV", "PCM_U8", "FILE"), ("WAV", "PCM_24", "FILE"), ("WAV", "FLOAT", "FILE"),
    ("WAV", "ULAW", "FILE"), ("WAV", "IMA_ADPCM", "FILE"), ("WAV", "MS_ADPCM", "FILE"), ("WAV", "GSM610", "FILE"),
    ("WAV", "PCM_16", "BIG"), ("WAVEX", "PCM_16", "FILE"), ("RF64", "PCM_16", "FILE"), ("NIST", "PCM_16", "FILE"),
    ("AIFF", "PCM_16", "FILE"), ("AIFF", "PCM_16", "LITTLE"), ("AIFF", "FLOAT", "FILE"),
    ("AU", "PCM_16", "FILE"), ("AU", "FLOAT", "FILE"), ("AU", "PCM_16", "LITTLE"), ("W64", "PCM_16", "FILE"),
    ("CAF", "PCM_16", "FILE"), ("CAF", "ALAC_16", "FILE"), ("FLAC", "PCM_16", "FILE"), ("FLAC", "PCM_24", "FILE"),
    ("OGG", "VORBIS", "FILE"), ("OGG", "OPUS", "FILE"),
    ("MP3", "MPEG_LAYER_III", "CONSTANT"), ("MP3", "MPEG_LAYER_III", "VARIABLE"),
]  # fmt: skip

# what a header says, and what liars make of it: marker -> bytes after it, how it is packed, other values
CHANNELS = (0, 2, 3, 8, 255, 1024, 65535)
BITS = (0, 1, 7, 8, 12, 24, 32, 64, 255)
RATES = (0, 1, 7, 999, 44_100, 768_001, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
SIZES = (0, 1, 17, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
LONG = (0, 1, -1, 40_000, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
PAGES = (0, 1, -1, 40_000, 10**6, 2**40, 2**61, 2**63 - 1)
CODINGS = (0, 1, 2, 3, 6, 7, 0x11, 0x31, 0x55, 0xFFFE, 0xFFFF)
HERTZ = (0.0, 1.0, -16_000.0, 1e-300, 5e8, 3e9, 1e300, float("inf"), float("nan"))
STREAMINFO = tuple(
    rate << 44 | (channels - 1) << 41 | (bits - 1) << 36 | total
    for rate in (0, 1, 16_000, 655_350, 2**20 - 1)
    for channels, bits in ((1, 16), (8, 32), (1, 4), (2, 24))
    for total in (0, 1, 12_000, 2**31, 2**36 - 1)
)
FIELDS = {
    b"RIFF": [(4, "<I", SIZES)],
    b"fmt \x10\0\0\0": [(4, "<I", SIZES)],
    b"WAVEfmt ": [
        (8, "<I", SIZES), (12, "<H", CODINGS), (14, "<H", CHANNELS), (16, "<I", RATES), (20, "<I", RATES),
        (24, "<H", CHANNELS), (26, "<H", BITS), (30, "<H", CHANNELS),
    ],
    b"ds64": [(8, "<q", LONG), (16, "<q", LONG), (24, "<q", LONG)],
    b"fact": [(8, "<I", SIZES)],
    b"data": [(4, "<I", SIZES), (4, ">q", LONG), (16, "<q", LONG)],
    b"FORM": [(4, ">I", SIZES)],
    b"COMM": [
        (4, ">I", SIZES), (8, ">H", CHANNELS), (10, ">I", SIZES), (14, ">H", BITS),
        (16, ">Q", tuple(e << 48 | 0xFA00 for e in (0, 0x3FFF, 0x400C, 0x401D, 0x401E, 0x4040, 0x7FFF, 0xC00C))),
    ],
    b"SSND": [(4, ">I", SIZES), (8, ">I", SIZES), (12, ">I", SIZES)],
    b"fLaC": [
        (4, ">I", SIZES), (8, ">H", (0, 1, 15, 16, 65535)), (10, ">H", (0, 1, 15, 16, 65535)), (18, ">Q", STREAMINFO),
    ],
    b"\x01vorbis": [(7, "<I", SIZES), (11, "B", (0, 2, 255)), (12, "<I", RATES), (28, "B", (0, 0x11, 0x68, 0xFF))],
    b"OpusHead": [
        (8, "B", (0, 2, 255)), (9, "B", (0, 2, 8, 255)), (10, "<H", (0, 1, 40_000, 65535)), (12, "<I", RATES),
        (16, "<h", (-32768, 32767)), (18, "B", (1, 2, 255)),
    ],
    b"RIFX": [(4, ">I", SIZES)],
    b"sample_count -i ": [(16, "5s", (b"00000", b"00001", b"09999", b"99999"))],
    b"Xing": [(4, ">I", SIZES), (8, ">I", SIZES), (12, ">I", SIZES)],
    b".snd": [
        (4, ">I", SIZES), (8, ">I", SIZES), (12, ">I", tuple(range(28))), (16, ">I", RATES), (20, ">I", CHANNELS),
    ],
    b"riff\x2e": [(16, "<q", LONG)],
    b"fmt \xf3": [
        (16, "<q", LONG), (24, "<H", CODINGS), (26, "<H", CHANNELS), (28, "<I", RATES), (32, "<I", RATES),
        (36, "<H", CHANNELS), (38, "<H", BITS),
    ],
    b"desc": [
        (4, ">q", LONG), (12, ">d", HERTZ), (24, ">I", SIZES), (28, ">I", SIZES), (32, ">I", SIZES),
        (36, ">I", CHANNELS), (40, ">I", BITS),
    ],
    b"kuki": [(4, ">q", LONG), (12, ">I", SIZES), (17, "B", BITS), (21, "B", (0, 2, 255)), (32, ">I", RATES)],
    b"pakt": [(4, ">q", LONG), (12, ">q", LONG), (20, ">q", LONG)],
}  # fmt: skip


# the sounds


def babble(seconds, rate):
    """Speech enough: a gliding pitch, syllables, breath."""
    clock = np.arange(round(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * k * (120 * clock + 30 * clock**2)) / k for k in range(1, 12))
    breath = np.random.default_rng(1).standard_normal(len(clock))
    return np.sin(2 * np.pi * 2 * clock) ** 2 * (0.15 * voice + 0.02 * breath)


def invented():
    return [(babble(0.8, RATE), RATE), (np.stack([babble(0.6, 48_000), -babble(0.6, 48_000)], axis=1), 48_000)]


def recorded(corpora):
    """Part of a clip of each corpus, at 48 and 16 kHz, and one on two channels."""
    clips = []
    for corpus, seconds in (("RAVDESS", 0.7), ("EmoDB", 0.9)):
        path = min(path for path in (corpora / corpus).rglob("*") if path.suffix in {".wav", ".flac"})
        sound, rate = soundfile.read(path, always_2d=True)
        loudest = int(np.abs(sound[:, 0]).argmax())
        first = max(0, loudest - round(seconds * rate / 2))
        clips.append((sound[first : first + round(seconds * rate), 0], rate))
    sound, rate = clips[1]
    return [*clips, (np.stack([sound, np.roll(sound, 40)], axis=1), rate)]


def encode(clips, folder):
    """Write each sound in each encoding this libsndfile has; the name says which."""
    for number, (sound, rate) in enumerate(clips):
        for container, subtype, kind in ENCODINGS:
            if container not in soundfile.available_formats() or not soundfile.check_format(container, subtype):
                continue
            whole, how = io.BytesIO(), {"bitrate_mode": kind} if container == "MP3" else {"endian": kind}
            if subtype == "GSM610" and sound.ndim > 1:
                continue
            soundfile.write(whole, sound, rate, format=container, subtype=subtype, **how)
            name = f"{container}-{subtype}-{kind}-{number}"
            (folder / name).write_bytes(sealed(bytearray(whole.getvalue()), serial=7))


# the damage


def flip(data, rng, *, within=2**40, most=50):
    for at in rng.integers(0, min(len(data), within), rng.integers(1, most + 1)) if data else ():
        data[at] ^= 1 << rng.integers(8)
    return data


def flip_head(data, rng):
    return flip(data, rng, within=128, most=8)


def cut(data, rng):
    return data[: rng.integers(0, rng.choice([100, len(data) + 1]))]


def repeat(data, rng):
    first, last = block(data, rng)
    at = rng.integers(0, len(data) + 1)
    return data[:at] + data[first:last] * int(rng.integers(1, 4)) + data[at:]


def delete(data, rng):
    first, last = block(data, rng)
    return data[:first] + data[last:]


def insert(data, rng):
    at = rng.integers(0, rng.choice([100, len(data) + 1]))
    return data[:at] + rng.bytes(rng.integers(1, 3000)) + data[at:]


def overwrite(data, rng):
    first, last = block(data, rng)
    data[first:last] = bytes([rng.choice([0, 0x7F, 0x80, 0xFF])]) * (last - first)
    return data


def block(data, rng):
    first = int(rng.integers(0, len(data) + 1))
    return first, min(len(data), first + int(rng.integers(1, 2000)))


def forge(data, rng):
    """Let a field of the header lie; where the container has checksums, mostly with a good one."""
    known = [(data.find(mark), field) for mark, fields in FIELDS.items() if mark in data for field in fields]
    if known:
        at, (offset, kind, values) = known[rng.integers(len(known))]
        value = struct.pack(kind, values[rng.integers(len(values))])
        data[at + offset : at + offset + len(value)] = value
    return data if rng.random() < 0.2 else sealed(data)


def forge_page(data, rng):
    """Let a page of an Ogg file end at another time, or count as another."""
    pages = starts(data)
    if not pages:
        return forge(data, rng)
    at = pages[-1 if rng.random() < 0.5 else rng.integers(len(pages))]
    offset, kind, values = [(6, "<q", PAGES), (5, "B", range(8)), (18, "<I", SIZES)][rng.integers(3)]
    struct.pack_into(kind, data, at + offset, values[rng.integers(len(values))])
    return sealed(data)


def tag(data, rng):
    """Put an ID3 tag in front, sometimes with a size that lies."""
    size = int(rng.choice([0, 10, 300, 2**28 - 1]))
    packed = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return bytearray(b"ID3\4\0\0" + packed + bytes(min(size, 300))) + data


def append(data, rng):
    return data + rng.bytes(rng.integers(1, 5000))


DAMAGE = [flip, flip_head, cut, repeat, delete, insert, overwrite, forge, forge, forge, forge_page, tag, append]


def starts(data):
    """Find the pages of an Ogg file."""
    found, at = [], data.find(b"OggS")
    while at >= 0 and at + 27 <= len(data):
        found.append(at)
        at = data.find(b"OggS", at + 27)
    return found


def sealed(data, *, serial=None):
    """Make the checksums of an Ogg file right again; libogg passes over a page whose sum is wrong."""
    for at in starts(data):
        table = data[at + 27 : at + 27 + data[at + 26]]
        last = at + 27 + len(table) + sum(table)
        if serial is not None:
            struct.pack_into("<I", data, at + 14, serial)
        struct.pack_into("<I", data, at + 22, 0)
        struct.pack_into("<I", data, at + 22, checksum(data[at:last]))
    return data


def remainder(byte):
    value = byte << 24
    for _ in range(8):
        value = value << 1 ^ 0x104C11DB7 * (value >> 31)
    return value


REMAINDERS = [remainder(byte) for byte in range(256)]


def checksum(page):
    """CRC-32 as Ogg has it (RFC 3533): not reflected, from zero."""
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ REMAINDERS[value >> 24 ^ byte]
    return value


def join(data, other, rng):
    """Put another file behind a file, which is as often the file itself."""
    return data + (data if rng.random() < 0.5 else other)


def swap(data, other, rng):
    """Give a file the head of another."""
    size = int(rng.integers(4, 200))
    return other[:size] + data[size:]


def damaged(sources, rng):
    """Give the name of what was done, and the bytes."""
    names = sorted(sources)
    name, other = (names[rng.integers(len(names))] for _ in range(2))
    data, done = bytearray(sources[name]), [name]
    if rng.random() < 0.07:
        data, done = swap(data, bytearray(sources[other]), rng), [name, f"swap {other}"]
    elif rng.random() < 0.1:
        data, done = join(data, bytearray(sources[other]), rng), [name, f"join {other}"]
        if rng.random() < 0.5:
            return " ".join(done), bytes(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        change = DAMAGE[rng.integers(len(DAMAGE))]
        data, done = change(data, rng), [*done, change.__name__]
    return " ".join(done), bytes(data)


# the child


def judge(path):
    """Do with a file what ingest does, and what follows ingest; return the status."""
    found = measure.measure_file(path, measure.ClipLimits(), name=path.name)
    assert bool(found.detail) == (found.status != "ok")
    refused, signal = loaded(path, found.sha256)
    if refused:  # not for its length or its silence, for those do not keep a file from being loaded
        assert found.status in {refused, "too_long"}
        return found.status
    assert np.isfinite(signal).all()
    assert np.isfinite(preprocess.preprocess_signal(signal, Audio())).all()
    assert found.status in {"ok", "too_long", "too_short", "silent"}
    assert found.status != "ok" or (len(signal) and 0.5 <= found.seconds <= 60)
    return found.status


def loaded(path, sha256):
    try:
        return "", decode.load_signal(path, RATE, sha256=sha256)
    except AudioError as error:
        return error.status, None


def work(folder, count, seed):
    """Damage, announce, judge, report: a line before and a line after."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sources = {path.name: path.read_bytes() for path in folder.iterdir()}
    with (folder.parent / "log").open("w") as log:  # not stdout, where libsndfile has its own say at times
        for number in range(count):
            name, data = damaged(sources, np.random.default_rng([seed, number]))
            path = folder.parent / "damaged"
            path.write_bytes(data)
            print(json.dumps([number, name]), file=log, flush=True)
            faulthandler.dump_traceback_later(2 * PATIENCE, exit=True)
            start = time.monotonic()
            status = judge(path)
            print(json.dumps([status, time.monotonic() - start]), file=log, flush=True)
    faulthandler.cancel_dump_traceback_later()


# FFmpeg


def by_ffmpeg(path, rate):
    """Count the samples of a channel that FFmpeg decodes, brought to a rate in Hz."""
    command = ["ffmpeg", "-v", "error", "-i", path, "-map", "0:a:0", "-ac", "1", "-ar", str(rate), "-f", "u8", "-"]
    return len(subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).stdout)


def compared(folder, sources, number, seed):
    """Damage a file; give its status, what was done, and the samples that we read and that FFmpeg reads."""
    name, data = damaged(sources, np.random.default_rng([seed, number]))
    path = folder / f"{number}"
    path.write_bytes(data)
    found = measure.measure_file(path, measure.ClipLimits(), name=path.name)
    ok = found.status == "ok"
    row = (found.status, name, found.frames if ok else 0, by_ffmpeg(path, found.sample_rate) if ok else 0)
    path.unlink()
    return row


def fewer(rows):
    """Choose the files of which less than 98 % of FFmpeg's samples are read."""
    return [row for row in rows if row[0] == "ok" and row[2] < 0.98 * row[3]]


def compare(folder, count, seed):
    """Print how often each status came, and every file of which FFmpeg reads more."""
    (folder / "sound").mkdir(parents=True, exist_ok=True)
    corpora = os.environ.get("SER_CORPORA")
    encode([*invented(), *(recorded(Path(corpora)) if corpora else [])], folder / "sound")
    sources = {path.name: path.read_bytes() for path in (folder / "sound").iterdir()}
    with ThreadPoolExecutor(2) as team:
        rows = list(team.map(lambda number: compared(folder, sources, number, seed), range(count)))
    print(dict(Counter(row[0] for row in rows)))
    for status, name, ours, theirs in fewer(rows):
        print(f"{status}: {name}: {ours} samples here, {theirs} by FFmpeg")


# what the two read differently, and why: a front of MPEG that was forged (FFmpeg keeps the decoder's delay of 529
# samples, which mpg123 cuts off), and headers that were forged to other numbers of bits, channels or samples
FORGED = ("MP3", "CAF-ALAC", "WAVEX")


# the tests


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_nothing_is_used_of_which_ffmpeg_reads_more(tmp_path):
    (tmp_path / "sound").mkdir()
    encode(invented(), tmp_path / "sound")
    sources = {path.name: path.read_bytes() for path in (tmp_path / "sound").iterdir()}
    rows = [compared(tmp_path, sources, number, seed=11) for number in range(200)]
    assert sum(row[0] == "ok" for row in rows) > 20
    assert [row for row in fewer(rows) if not (row[1].startswith(FORGED) and "forge" in row[1])] == []


def outcomes(tmp_path, clips, *, seed):
    """Let a child judge the files; return their statuses and seconds."""
    folder = tmp_path / "sound"
    folder.mkdir()
    encode(clips, folder)
    command = [sys.executable, "-W", "error", "-X", "faulthandler", __file__, str(folder), str(COUNT), str(seed)]
    child = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    last = f"{lines[-1]}, left in {tmp_path / 'damaged'}" if lines else "the start"
    assert child.returncode == 0, f"the child ended with {child.returncode} at {last}:\n{child.stderr}"
    assert "Traceback" not in child.stderr, child.stderr  # mpg123 grumbles there, Python must not
    assert len(lines) == 2 * COUNT
    return lines[1::2]


@pytest.mark.parametrize("sound", ["recorded", "invented"])
def test_a_thousand_damaged_files_are_usable_or_have_their_reason(tmp_path, sound, request):
    clips = recorded(request.getfixturevalue("corpora")) if sound == "recorded" else invented()
    found = outcomes(tmp_path, clips, seed=["recorded", "invented"].index(sound))
    statuses = Counter(status for status, _ in found)
    assert statuses.keys() <= {"ok", *tables.REJECTION_REASONS}
    assert len(statuses) >= 6, statuses
    assert min(statuses["ok"], statuses["unreadable"], statuses["truncated"]) > COUNT / 50, statuses
    assert max(seconds for _, seconds in found) < PATIENCE


if __name__ == "__main__":
    words = sys.argv[1:]
    task = compare if words[0] == "compare" else work
    task(Path(words[-3]), *map(int, words[-2:]))
