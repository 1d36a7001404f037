"""Shards, random access to them, statistics, predictions and roles: what is written is what is read."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.core import files, tables
from pipeline.core.errors import StoreError
from pipeline.dataset import inputs, shards
from pipeline.dataset import table as dataset_table
from pipeline.extract import cache
from pipeline.extract.storage import Storage
from pipeline.split.rows import SPLIT_COLUMNS
from pipeline.upkeep import gc

LAYOUT = shards.Layout(
    view="logmel",
    shape=(6, 4),
    dtype="float16",
    unit="dB",
    rows=("a", "b", "c", "d"),
    identity={"view": "logmel"},
    augment={},
)


def rows(names, seed=0, layout=LAYOUT):
    rng = np.random.default_rng(seed)
    index = [(name, variant) for name in names for variant in ("original", "noise")]
    return shards.FeatureRows(
        clip_id=[name for name, _ in index],
        variant=[variant for _, variant in index],
        key=[f"{name}-{variant}-{seed}" for name, variant in index],
        valid_frames=rng.integers(1, 7, len(index)).astype(np.int32),
        tensors=rng.normal(-40, 20, (len(index), *layout.shape)).astype(layout.dtype),
    )


@pytest.fixture
def two(tmp_path):
    """Two shards of 4 and 6 rows, the second in two row groups, and their rows."""
    one, *other = rows(["x/1", "x/2"], 1), rows(["y/1"], 2), rows(["y/2", "y/3"], 3)
    assert shards.write_shard(tmp_path / "x.parquet", LAYOUT, [one]) == 4
    assert shards.write_shard(tmp_path / "y.parquet", LAYOUT, other) == 6
    return [tmp_path / "x.parquet", tmp_path / "y.parquet"], [one, *other]


def test_a_shard_reads_back_to_the_bit(two):
    paths, written = two
    file, layout = shards.open_shard(paths[1])
    assert layout == LAYOUT
    assert file.num_row_groups == 2
    index = shards.read_index(file).to_pandas()
    assert index["clip_id"].tolist() == [*written[1].clip_id, *written[2].clip_id]
    expected = np.concatenate([written[1].tensors, written[2].tensors])
    np.testing.assert_array_equal(np.concatenate(list(shards.read_tensors(file, layout))), expected)


def test_tensors_are_split_by_byte_and_without_dictionary(two):
    column = pq.ParquetFile(two[0][0]).metadata.row_group(0).column(4)
    assert column.path_in_schema == "x.list.element"
    assert "BYTE_STREAM_SPLIT" in column.encodings
    assert not column.has_dictionary_page
    assert column.compression == "ZSTD"


def test_the_same_rows_make_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        shards.write_shard(tmp_path / f"{name}.parquet", LAYOUT, [rows(["x/1", "x/2"])])
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("wrong", [{"shape": (6, 5)}, {"dtype": "float32"}])
def test_tensors_of_another_layout_are_refused(tmp_path, wrong):
    other = shards.Layout(**{**vars(LAYOUT), **wrong})
    with pytest.raises(StoreError, match=r"do not fit the shard's float16 \(6, 4\)"):
        shards.write_shard(tmp_path / "x.parquet", LAYOUT, [rows(["x/1"], layout=other)])
    assert not list(tmp_path.iterdir())


def test_rows_are_found_by_name_over_shards(two, tmp_path):
    paths, written = two
    table = dataset_table.open_table(paths, tmp_path / "cache")
    wanted = pd.DataFrame({"clip_id": ["y/3", "x/2", "y/1", "x/2"], "variant": ["noise", "original", "noise", "noise"]})
    found = table.gather(table.find(wanted))
    expected = [written[2].tensors[3], written[0].tensors[2], written[1].tensors[1], written[0].tensors[3]]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.stack(expected).astype(np.float32))


def test_a_row_that_is_not_there_names_its_stage(two, tmp_path):
    table = dataset_table.open_table(two[0], tmp_path / "cache")
    wanted = pd.DataFrame({"clip_id": ["x/1", "y/9"], "variant": ["noise", "noise"]})
    with pytest.raises(StoreError, match=r"1 rows .* first y/9 \(noise\): run 'dvc repro extract@y'"):
        table.find(wanted)


def test_a_shard_is_unpacked_once_and_again_when_it_changed(two, tmp_path):
    paths, _ = two
    dataset_table.open_table(paths, tmp_path / "cache")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert len(before) == 2
    dataset_table.open_table(paths, tmp_path / "cache")
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == before
    other = rows(["x/1", "x/2"], 9)
    shards.write_shard(paths[0], LAYOUT, [other])
    table = dataset_table.open_table(paths, tmp_path / "cache")
    np.testing.assert_array_equal(table.gather(np.array([0]))[0], other.tensors[0].astype(np.float32))
    stored = table.stored(np.array([0]))
    assert stored.dtype == other.tensors.dtype
    np.testing.assert_array_equal(stored[0], other.tensors[0])


def test_the_hash_of_a_shard_is_remembered_until_the_file_changes(two, tmp_path, monkeypatch):
    (path, _), cache = two[0], tmp_path / "cache"
    os.utime(path, (1e9, 1e9))
    found = dataset_table.cached_shard_hash(path, cache)
    assert found == files.file_hash(path)
    with monkeypatch.context() as patch:
        patch.setattr(files, "file_hash", lambda _: pytest.fail("hashed again"))
        assert dataset_table.cached_shard_hash(path, cache) == found
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, (1e9, 1e9 + 1))
    assert dataset_table.cached_shard_hash(path, cache) == files.file_hash(path) != found
    for note in cache.iterdir():
        note.write_text("no hash")
    assert dataset_table.cached_shard_hash(path, cache) == files.file_hash(path)


def test_a_file_changed_just_now_is_hashed_each_time(two, tmp_path):
    """It may change again within the same tick of the clock."""
    (path, _), cache = two[0], tmp_path / "cache"
    dataset_table.cached_shard_hash(path, cache)
    assert not cache.exists()


def test_many_threads_may_write_one_file_aside(tmp_path):
    def write(number):
        with files.atomic_write(tmp_path / "x") as part:
            part.write_text(str(number) * 50_000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(64)))
    assert len(set((tmp_path / "x").read_text())) <= 2
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_shards_of_different_settings_do_not_mix(two, tmp_path):
    paths, _ = two
    other = shards.Layout(**{**vars(LAYOUT), "identity": {"view": "logmel", "n_mels": 5}})
    shards.write_shard(paths[1], other, [rows(["y/1"])])
    with pytest.raises(StoreError, match="made with different settings"):
        dataset_table.open_table(paths, tmp_path / "cache")


def test_statistics_are_over_frames_that_hold_sound(two, tmp_path):
    paths, written = two
    table = dataset_table.open_table(paths, tmp_path / "cache")
    chosen = np.array([0, 3, 5, 9])
    fitted = inputs.fit_statistics(table, chosen, size=3)
    all_rows = np.concatenate([part.tensors for part in written])
    valid = np.concatenate([part.valid_frames for part in written])
    sound = np.concatenate([all_rows[row, : valid[row]] for row in chosen]).astype(np.float64)
    np.testing.assert_allclose(fitted.mean, sound.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(fitted.variance, sound.var(axis=0), rtol=1e-4)
    everything = inputs.fit_statistics(table, np.arange(10))
    assert np.abs(everything.mean - fitted.mean).max() > 0.1


def test_batches_cover_every_row_once_in_a_new_order_each_epoch(two, tmp_path):
    from pipeline.train.batches import Batches, InputBatches

    table = dataset_table.open_table(two[0], tmp_path / "cache")
    numbers, labels = np.arange(10), np.arange(10) % 3
    weights = np.array([1, 2, 4], np.float32)
    feed = Batches(table, numbers, labels, weights=weights, batch_size=4, shuffle=(0, 7))
    orders = []
    for epoch in (0, 1, 0):
        feed.start(epoch)
        assert [len(feed[batch][1]) for batch in range(len(feed))] == [4, 4, 2]
        order = np.concatenate([feed.order])
        assert sorted(order) == list(range(10))
        for batch in range(len(feed)):
            inputs, truth, weight = feed[batch]
            some = order[4 * batch : 4 * batch + 4]
            np.testing.assert_array_equal(inputs["clip"], table.gather(numbers[some]))
            np.testing.assert_array_equal(truth.argmax(axis=1), labels[some])
            np.testing.assert_array_equal(weight, weights[labels[some]])
        orders.append(order.tolist())
    assert orders[0] == orders[2] != orders[1]
    plain = InputBatches(table, numbers, batch_size=4)
    np.testing.assert_array_equal(np.concatenate([plain[b] for b in range(len(plain))]), table.gather(numbers))


def test_predictions_read_back(tmp_path):
    frame = pd.DataFrame(
        {name: [f"{name}1", f"{name}2"] for name in tables.PREDICTIONS_TEXT_COLUMNS} | {"fold": [0, 3]}
    )
    probabilities = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]], np.float32)
    tables.write_predictions(frame, probabilities, ["a", "b", "c"], tmp_path / "p.parquet")
    found, values, labels = tables.read_predictions(tmp_path / "p.parquet")
    assert labels == ["a", "b", "c"]
    np.testing.assert_array_equal(values, probabilities)
    pd.testing.assert_frame_equal(found[frame.columns], frame, check_dtype=False)
    with pytest.raises(StoreError, match="run 'dvc repro evaluate'"):
        tables.read_predictions(tmp_path / "none.parquet")
    (tmp_path / "p.parquet").write_bytes(b"damaged")
    with pytest.raises(StoreError, match="run 'dvc repro -f evaluate'"):
        tables.read_predictions(tmp_path / "p.parquet")


@pytest.mark.parametrize("read", [tables.read_predictions, tables.read_splits])
def test_a_table_of_another_layout_is_refused(tmp_path, read):
    pd.DataFrame({"clip_id": ["a"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(StoreError, match="has another layout than this version writes"):
        read(tmp_path / "other.parquet")


def test_roles_read_back_with_what_they_are_about(tmp_path):
    frame = pd.DataFrame({name: ["a", "b"] for name in SPLIT_COLUMNS} | {"fold": [0, 1], "label": ["happy", None]})
    frame["votes_face"] = [None, [0, 1, 0, 0, 1, 0]]
    tables.write_splits(
        frame,
        tmp_path / "clips.parquet",
        classes=["happy", "sad"],
        synthetic=["tess"],
        split={"folds": 5},
        corpora={"tess": {"licence": "CC BY-NC-ND 4.0"}},
    )
    found = tables.read_splits(tmp_path / "clips.parquet")
    assert found.attrs == {
        "classes": ["happy", "sad"],
        "synthetic": ["tess"],
        "split": {"folds": 5},
        "corpora": {"tess": {"licence": "CC BY-NC-ND 4.0"}},
    }
    assert list(found.columns) == tables.SPLITS_SCHEMA.names
    assert found["label"].fillna("").to_list() == ["happy", ""]
    assert found["votes_face"].iloc[0] is None
    assert found["votes_face"].iloc[1].tolist() == [0, 1, 0, 0, 1, 0]
    assert found["votes_voice"].isna().all()
    (tmp_path / "clips.parquet").write_bytes(b"damaged")
    with pytest.raises(StoreError, match="run 'dvc repro -f split'"):
        tables.read_splits(tmp_path / "clips.parquet")


def cached(place, keys, first):
    """Keep rows that begin with the number ``first``, and give them."""
    identity = {"view": "x", "dtype": "float16"}
    tensors = (first + np.arange(12 * len(keys), dtype=np.float16)).reshape(-1, 3, 4)
    rows = shards.FeatureRows(keys, tensors, np.arange(len(keys), dtype=np.int32))
    cache.store_rows(place, identity, rows)
    return cache.Partition(place, identity), rows


def test_the_clip_cache_gives_back_what_it_was_given_in_any_order(tmp_path):
    place, keys = Storage(str(tmp_path)), [f"{n:064x}" for n in range(5)]
    cached(place, keys[:2], 0)
    drawer, rows = cached(place, keys[2:4], 100)
    assert drawer.missing(keys) == keys
    drawer.refresh(keys)
    assert drawer.missing(keys) == [keys[4]]
    found = drawer.get([keys[3], keys[0], keys[2]])
    np.testing.assert_array_equal(found.tensors[[2, 0]], rows.tensors)
    assert found.tensors[1, 0].tolist() == [0, 1, 2, 3]
    assert (found.tensors.dtype, found.valid_frames.tolist()) == (np.float16, [1, 0, 0])
    assert len(drawer.segments_of(keys[:4])) == 2
    cached(place, keys[4:], 200)
    assert drawer.missing(keys) == [keys[4]], "it has not looked again yet"
    drawer.refresh(keys)
    assert drawer.missing(keys) == []


def test_a_segment_is_named_by_its_keys_and_its_bytes(tmp_path):
    place, keys = Storage(str(tmp_path)), ["ab" * 32, "cd" * 32]
    drawer, _ = cached(place, keys, 0)
    (path,) = (tmp_path / drawer.name).iterdir()
    assert cache.has_segment(place, drawer.identity, keys)
    assert not cache.has_segment(place, drawer.identity, keys[::-1])
    assert cache.is_whole_segment(path)
    assert cache.describe_segment(path) == {"view": "x", "dtype": "float16", "shape": [3, 4]}
    again, _ = cached(place, keys, 0)
    assert [each.name for each in (tmp_path / again.name).iterdir()] == [path.name]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def broken():
        with files.atomic_write(path) as part:
            part.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        broken()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_another(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/old").write_text("old")
    with files.atomic_write(tmp_path / "bundle") as part:
        part.mkdir()
        (part / "new").write_text("new")
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["new"]


def test_json_refuses_what_is_no_number(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        files.write_json({"uar": float("nan")}, tmp_path / "eval.json")
    with pytest.raises(StoreError, match="run 'dvc repro split'"):
        files.read_json(tmp_path / "audit.json", stage="split")


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match=r"taken/x\.json could not be written: (Not a directory|File exists)"):
        files.write_json({}, tmp_path / "taken" / "x.json")
    assert (tmp_path / "taken").read_text() == "a file"


@pytest.fixture
def unpacked(two, tmp_path):
    """A shard, the folder for unpacked files, and the unpacked file of the shard in it."""
    (path, other), _ = two
    cache = tmp_path / "cache"
    dataset_table.open_table([path], cache)
    (made,) = cache.iterdir()
    return path, other, made


def swap(made, other):
    """Put the whole unpacked file of another shard in the place of one."""
    dataset_table.open_table([other], made.parent / "other")
    (whole,) = (made.parent / "other").glob("*.npy")
    seal = whole.stem.partition("-")[2]
    made.unlink()
    whole.replace(made.with_name(f"{made.stem.partition('-')[0]}-{seal}.npy"))


HARMS = {
    "nothing of it": lambda made, _: made.write_bytes(b""),
    "cut": lambda made, _: made.write_bytes(made.read_bytes()[:-1]),
    "longer": lambda made, _: made.write_bytes(made.read_bytes() + b"\0"),
    "a flipped bit in the header": lambda made, _: turn(made, 70),
    "a flipped bit in the first number": lambda made, _: turn(made, 128),
    "a flipped bit in the last number": lambda made, _: turn(made, -1),
    "the file of another shard": swap,
    "zeros": lambda made, _: made.write_bytes(bytes(made.stat().st_size)),
}


def turn(path, at):
    """Flip a bit, and leave the time as it was: a disk that rots changes no time."""
    data, facts = bytearray(path.read_bytes()), path.stat()
    data[at] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.mark.parametrize("harm", HARMS)
def test_an_unpacked_file_that_is_not_whole_trains_nobody_and_is_made_again(unpacked, two, tmp_path, capsys, harm):
    path, other, made = unpacked
    whole = made.read_bytes()
    HARMS[harm](made, other)
    (harmed,) = made.parent.glob("*.npy")
    table = dataset_table.open_table([path], made.parent)
    np.testing.assert_array_equal(table.stored(np.arange(4)), two[1][0].tensors)
    assert made.read_bytes() == whole
    assert [each for each in made.parent.iterdir() if each.is_file()] == [made]
    assert capsys.readouterr().err == f"{harmed} is damaged; it is made again.\n"
    dataset_table.open_table([path], made.parent)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("harm", HARMS)
def test_verify_reads_unpacked_files_too(unpacked, monkeypatch, tmp_path, harm):
    _, other, made = unpacked
    monkeypatch.setenv("SER_CACHE_DIR", str(tmp_path))
    made.parent.rename(tmp_path / "unpacked")
    place, kept = Storage(str(tmp_path / "place")), tmp_path / "unpacked" / made.name
    assert [(each.item.path, each.fault) for each in gc.verify_store(place)] == [(str(kept), "")]
    HARMS[harm](kept, other)
    (found,) = gc.verify_store(place)
    assert found.fault == "its bytes do not match the checksum in its name"
    gc.delete_garbage(place, [found.item])
    assert gc.verify_store(place) == []


def test_a_shard_that_changed_under_its_note_is_unpacked_under_its_own_name(two, tmp_path):
    """The note of another file of the same inode, size and time."""
    (path, _), cache = two[0], tmp_path / "cache"
    os.utime(path, (1e9, 1e9))
    dataset_table.cached_shard_hash(path, cache)
    (note,) = cache.iterdir()
    note.write_text("ab" * 32)
    table = dataset_table.open_table([path], cache)
    np.testing.assert_array_equal(table.stored(np.arange(4)), two[1][0].tensors)
    (made,) = cache.glob("*.npy")
    assert made.name.startswith(files.file_hash(path))


def test_a_damaged_shard_is_not_taken_for_a_full_disk(two, tmp_path):
    path = two[0][0]
    group = pq.ParquetFile(path).metadata.row_group(0).column(4)
    data = bytearray(path.read_bytes())
    for at in range(group.data_page_offset, group.data_page_offset + group.total_compressed_size):
        data[at] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(StoreError, match=rf"{path} is damaged \(.*\): run 'dvc repro -f extract@{path.stem}'"):
        dataset_table.open_table([path], tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_manifest_that_says_nothing_of_its_corpus_is_refused(tmp_path):
    path = tmp_path / "ravdess.parquet"
    tables.write_manifest([], path, synthetic=False, about={"licence": "CC BY-NC-SA 4.0"})
    assert tables.read_manifest(path).attrs == {"synthetic": False, "about": {"licence": "CC BY-NC-SA 4.0"}}
    pq.write_table(pq.read_table(path).replace_schema_metadata({"synthetic": "false"}), path)  # as before 0.1
    with pytest.raises(
        StoreError, match="has another layout than this version writes: .*'dvc repro -f ingest@ravdess'"
    ):
        tables.read_manifest(path)


def test_roles_that_say_nothing_of_the_corpora_are_refused(tmp_path):
    path = tmp_path / "clips.parquet"
    tables.write_splits(pd.DataFrame(columns=SPLIT_COLUMNS), path, classes=[], synthetic=[], split={}, corpora={})
    table = pq.read_table(path)
    about = {"classes": [], "synthetic": [], "split": {}}  # as before 0.1
    pq.write_table(table.replace_schema_metadata({"ser": json.dumps(about)}), path)
    with pytest.raises(StoreError, match="has another layout than this version writes.*dvc repro -f split"):
        tables.read_splits(path)
