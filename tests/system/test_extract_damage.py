"""Damaged and vanishing segments: each is found, none crashes the search, and it is made again byte for byte.

Flipped bits are tried in a process of its own, which runs this file as a script, for a crash within Arrow would be the
end of pytest too: ``PYTHONPATH=. python tests/system/test_extract_damage.py FOLDER COUNT SEED``.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline import parallel
from pipeline.core import config, files
from pipeline.core.errors import StoreError
from pipeline.dataset import shards
from pipeline.extract import cache, stage
from pipeline.extract.storage import Storage
from pipeline.signal import extractor
from tests.paths import ROOT

COUNT = 200
IDENTITY = {"view": "logmel", "dtype": "float16"}


def settings_of(copies: bool) -> extractor.ExtractorSettings:
    """Rows of a few hundred numbers, so that many bits are those of Arrow's own tables."""
    whole = extractor.settings_from_params(config.read_params(ROOT / "params.yaml"))
    augment = whole.augment if copies else replace(whole.augment, copies=())
    return replace(whole, audio=replace(whole.audio, seconds=0.06), augment=augment)


def made(folder: Path, manifest: Path, settings: extractor.ExtractorSettings) -> dict[str, bytes]:
    """Extract into folder/clips and give all segments and shards."""
    outputs = {view: folder / f"{view}.parquet" for view in extractor.DTYPES}
    place, team = Storage(str(folder / "clips")), parallel.Executor(1)
    stage.run(manifest.parent / "RAVDESS", manifest, outputs, settings=settings, storage=place, executor=team)
    paths = [*folder.glob("clips/*-*/*"), *folder.glob("*.parquet")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def flip(data: bytes, rng: random.Random) -> bytes:
    """Turn one bit: any of the file, or as often one of the first or last kilobytes, where Arrow's tables are."""
    places = [rng.randrange(len(data)), rng.randrange(min(2500, len(data))), -1 - rng.randrange(min(2500, len(data)))]
    place = rng.choice([places[0], rng.choice(places)]) % len(data)
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def flips(manifest: Path, folder: Path, count: int, seed: int, copies: bool) -> Counter[str]:
    """Damage one segment after another by one bit each, and count what became of it."""
    settings, rng = settings_of(copies), random.Random(seed)
    whole = made(folder, manifest, settings)
    victims = sorted(name for name in whole if name.endswith(".arrow"))
    found: Counter[str] = Counter()
    for _ in range(count):
        victim = rng.choice(victims)
        (folder / victim).write_bytes(flip(whole[victim], rng))
        with redirect_stderr(StringIO()) as said:
            again = made(folder, manifest, settings)
        reported = said.getvalue().count(f"{folder / victim} is damaged and was deleted; its clips are made again.")
        found["reported" if reported == 1 else "in silence"] += 1
        found["the same" if again == whole else "other bytes"] += 1
    return found


@pytest.mark.parametrize(("count", "copies"), [(1, False), (6, True)])
def test_flipped_bits_are_found_and_made_good(workplaces, tmp_path, count, copies):
    """A segment of a single row too, whose key may be what is damaged: then nothing says that it is wanted."""
    place = workplaces(count, 0.1)
    words = [place.corpus / "ravdess.parquet", tmp_path, COUNT if copies else COUNT // 2, 7, int(copies)]
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=place.environment({}), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"the same": words[2], "reported": words[2]}


@pytest.fixture
def place(tmp_path):
    return Storage(str(tmp_path))


def rows(*numbers: int) -> shards.FeatureRows:
    """Rows that are full of their own number."""
    tensors = np.stack([np.full((3, 2), number, np.float16) for number in numbers])
    return shards.FeatureRows(
        [f"{number:064x}" for number in numbers], tensors, np.arange(len(numbers), dtype=np.int32)
    )


def put(place: Storage, *numbers: int) -> Path:
    """Keep such rows and say where."""
    cache.store_rows(place, IDENTITY, rows(*numbers))
    return next(cache.partition_folder(place, IDENTITY).glob(f"{cache.segment_prefix(rows(*numbers).key)}-*"))


def spoil(path: Path, number: int) -> bytes:
    """Turn a number within the tensors, which nothing but the hash shows, in a file of its own as damage comes."""
    whole = path.read_bytes()
    at = whole.index(np.full(6, number, np.float16).tobytes())
    path.unlink()
    path.write_bytes(whole[:at] + b"\1" + whole[at + 1 :])
    return whole


def test_what_was_mended_meanwhile_is_read_anew_and_stays(place, monkeypatch, capsys):
    """Another extraction replaces a damaged segment after it was opened here, before it was checked."""
    path = put(place, 3)
    whole = spoil(path, 3)
    drawer, check = cache.Partition(place, IDENTITY), cache.is_whole_segment

    def mended(path: Path) -> bool:
        path.unlink()
        path.write_bytes(whole)
        return check(path)

    monkeypatch.setattr(cache, "is_whole_segment", mended)
    drawer.refresh(rows(3).key)
    assert drawer.missing(rows(3).key) == []
    np.testing.assert_array_equal(drawer.get(rows(3).key).tensors, rows(3).tensors)
    assert path.read_bytes() == whole
    assert not capsys.readouterr().err


@pytest.mark.parametrize("moment", ["listed", "opened"])
def test_what_vanishes_meanwhile_is_missing(place, monkeypatch, capsys, moment):
    put(place, 3)
    kept = put(place, 4)
    drawer = cache.Partition(place, IDENTITY)
    before = cache.read_segment if moment == "listed" else cache.is_whole_segment

    def gone(path: Path):
        if path != kept:
            path.unlink(missing_ok=True)
        return before(path)

    monkeypatch.setattr(cache, before.__name__, gone)
    drawer.refresh(rows(3, 4).key)
    assert drawer.missing(rows(3, 4).key) == rows(3).key
    assert not capsys.readouterr().err


def test_another_process_may_discard_all_that_is_damaged_first(place, monkeypatch, capsys):
    damaged, kept, check = [put(place, 3), put(place, 4)], put(place, 5), cache.is_whole_segment

    def quicker(path: Path) -> bool:
        for each in damaged:
            each.unlink(missing_ok=True)
        return check(path)

    monkeypatch.setattr(cache, "is_whole_segment", quicker)
    drawer = cache.Partition(place, IDENTITY)
    drawer.refresh(rows(3, 4, 5).key)
    assert drawer.missing(rows(3, 4, 5).key) == rows(3, 4).key
    assert drawer.segments_of(rows(5).key) == [kept.name]
    assert not capsys.readouterr().err


def test_what_the_system_does_not_let_be_read_is_not_deleted(place, monkeypatch):
    """Too many open files, say: the segment is as whole as ever."""
    path = put(place, 3)

    def refuse(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(pa, "memory_map", refuse)
    monkeypatch.setattr(files, "file_hash", refuse)
    with pytest.raises(StoreError, match=rf"{path} cannot be read \(Too many open files\)"):
        cache.Partition(place, IDENTITY).refresh(rows(3).key)
    assert path.exists()
    monkeypatch.undo()
    monkeypatch.setattr(pa, "memory_map", refuse)
    with pytest.raises(StoreError, match="Too many open files"):
        cache.Partition(place, IDENTITY).refresh(rows(3).key)
    assert path.exists()


def test_a_row_that_a_second_segment_holds_is_found_there(place, capsys):
    victim = sorted([put(place, 3, 4), put(place, 4, 5)])[1]  # opened last: the index points to it
    drawer = cache.Partition(place, IDENTITY)
    spoil(victim, 4)
    drawer.refresh(rows(4).key)
    assert drawer.missing(rows(4).key) == []
    np.testing.assert_array_equal(drawer.get(rows(4).key).tensors, rows(4).tensors)
    assert str(victim) in capsys.readouterr().err


def test_rows_that_nobody_read_through_count_as_missing(place):
    put(place, 3)
    put(place, 4)
    drawer = cache.Partition(place, IDENTITY)
    drawer.refresh(rows(3).key)
    assert drawer.missing(rows(3, 4).key) == rows(4).key


def test_unfinished_files_and_strangers_are_passed_over(place):
    path = put(place, 3)
    path.with_name(f"{path.name}.123.tmp").write_bytes(b"half")
    path.with_name("notes.txt").write_text("mine")
    assert place.names(path.parent.name) == {path.name, "notes.txt"}
    drawer = cache.Partition(place, IDENTITY)
    drawer.refresh(rows(3).key)
    assert drawer.segments_of(rows(3).key) == [path.name]
    assert len(os.listdir(path.parent)) == 3  # noqa: PTH208


def test_many_segments_need_no_open_files(place):
    """A cache of millions of clips has more segments than a process may have open files."""
    for number in range(60):
        put(place, number)
    drawer = cache.Partition(place, IDENTITY)
    before = len(list(Path("/proc/self/fd").iterdir()))
    drawer.refresh([key for number in range(60) for key in rows(number).key])
    assert len(drawer.known) == 60
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 5


def test_segments_are_mapped_and_not_read_into_memory(place):
    tensors = np.random.default_rng(4).normal(size=(4, 500, 500)).astype(np.float32)
    some = shards.FeatureRows([f"{number:064x}" for number in range(4)], tensors, np.ones(4, np.int32))
    cache.store_rows(place, IDENTITY, some)
    drawer, before = cache.Partition(place, IDENTITY), pa.total_allocated_bytes()
    drawer.refresh(some.key)
    assert pa.total_allocated_bytes() - before < tensors.nbytes / 100
    np.testing.assert_array_equal(drawer.get(some.key[::-1]).tensors, tensors[::-1])


if __name__ == "__main__":
    source, target, count, seed, copies = sys.argv[1:]
    print(json.dumps(flips(Path(source), Path(target), int(count), int(seed), copies == "1")))
