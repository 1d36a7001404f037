"""What is in the clip cache, whether it is whole, what can go: against sums over the disk, and against extraction."""

import os
import platform
import shutil
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import soundfile

from pipeline import parallel
from pipeline.audio import decode
from pipeline.core import config, files
from pipeline.core.errors import StoreError
from pipeline.dataset import shards, table
from pipeline.extract import cache, stage, storage, writer
from pipeline.extract.storage import Storage
from pipeline.ingest import measure
from pipeline.ingest import stage as ingest_stage
from pipeline.signal import extractor
from pipeline.signal.settings import Augment
from pipeline.upkeep import gc, inventory
from pipeline.upkeep import text as upkeep_text
from tests.paths import ROOT

RATE, DAY = 16_000, 86_400
SETTINGS = replace(
    extractor.settings_from_params(config.read_params(ROOT / "params.yaml")), augment=Augment(copies=("noise",))
)
LOGMEL = replace(SETTINGS.features.logmel, n_mels=40, top_db=None)
OTHER = replace(SETTINGS, features=replace(SETTINGS.features, logmel=LOGMEL))  # of MFCC the same


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, and a current folder without params.yaml."""
    monkeypatch.setenv("SER_CACHE_DIR", str(tmp_path / "user"))
    monkeypatch.delenv("SER_STORE_URL", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def corpus(tmp_path):
    """Six clips of two actors, and their manifest."""
    for number in range(6):
        path = tmp_path / f"RAVDESS/Actor_{number % 2 + 1:02}/03-01-0{number + 1}-01-01-01-{number % 2 + 1:02}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * np.random.default_rng(number).standard_normal(RATE + 100 * number), RATE)
    ingest_stage.run("ravdess", tmp_path / "RAVDESS", tmp_path / "ravdess.parquet", limits=measure.ClipLimits())
    return tmp_path / "RAVDESS"


@pytest.fixture
def place(tmp_path):
    return Storage(str(tmp_path / "cache"))


def extracted(
    folder: Path, place: Storage, out: str = "a", settings: extractor.ExtractorSettings = SETTINGS
) -> dict[str, Path]:
    """Extract into a workspace, as DVC has it done."""
    base = folder.parent
    outputs = {view: base / out / "features" / view / "ravdess.parquet" for view in extractor.DTYPES}
    team = parallel.Executor(1)
    stage.run(folder, base / "ravdess.parquet", outputs, settings=settings, storage=place, executor=team)
    return outputs


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def found_in(folder: Path, ending: str = ".arrow") -> set[str]:
    return {name for name in tree(folder) if name.endswith(ending)}


def age(paths, days: float) -> None:
    for path in paths:
        os.utime(path, (time.time() - days * DAY,) * 2)


def grow_old(folder: Path, days: float = 3) -> None:
    age([path for path in folder.rglob("*") if path.is_file()], days)


def flip(path: Path, at: int) -> bytes:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)
    return bytes(data)


def keep(place: Storage, *, rows: int = 3, seed: int = 0, view: str = "logmel") -> str:
    """Put a segment of made-up rows and give its path below the folder."""
    identity = {"view": view, "dtype": "float16", "settings": {view: {"hop": 320}}, "versions": {}}
    keys = [files.text_hash(seed, row) for row in range(rows)]
    made = shards.FeatureRows(keys, np.full((rows, 5, 4), seed, np.float16), np.full(rows, 5, np.int32))
    before = found_in(place.folder)
    cache.store_rows(place, identity, made)
    (new,) = found_in(place.folder) - before
    return new


def refer(place: Storage, shard: Path, *names: str) -> None:
    """Leave the note of a shard that was made of these segments."""
    shard.parent.mkdir(parents=True, exist_ok=True)
    shard.write_bytes(str(shard).encode())
    storage.write_references(place, {shard: (names[0].partition("/")[0], [name.rpartition("/")[2] for name in names])})


def sweep(place: Storage, **options) -> set[str]:
    """Clean up and name what went by it, below the folder."""
    before = set(tree(place.folder))
    garbage = gc.find_garbage(place, **options)
    assert set(tree(place.folder)) == before, "looking deletes nothing"
    swept = gc.delete_garbage(place, garbage.old)
    assert not swept.failures
    gone = before - set(tree(place.folder))
    assert gone == {
        f"{item.drawer}/{item.name}" for item in swept.items if Path(item.path).is_relative_to(place.folder)
    }
    return gone


def test_every_file_that_we_write_is_recognised(corpus, place):
    outputs = extracted(corpus, place)
    cache = files.cache_folder() / "unpacked"
    table.open_table([outputs["logmel"]], cache)
    kinds = {name: inventory.file_kind(*name.split("/")) for name in tree(place.folder)}
    assert set(kinds.values()) == {"segment", "note", "lock"}
    (unpacked,) = cache.iterdir()
    assert inventory.file_kind("unpacked", unpacked.name) == "unpacked"
    assert len(inventory.local_items(place)) == len(kinds)
    assert [item.path for item in inventory.unpacked_items()] == [str(unpacked)]
    for path in (*place.folder.rglob("*.arrow"), *place.folder.rglob("*.json"), unpacked):
        with files.atomic_write(path) as part:
            assert inventory.file_kind(path.parent.name, part.name) == "unfinished"
            part.write_bytes(b"")


HEX = "0123456789abcdef"


@pytest.mark.parametrize(
    ("drawer", "name"),
    [
        ("logmel-" + HEX, "notes.txt"),
        ("logmel-" + HEX, "a.arrow"),
        ("logmel-" + HEX, "notes.txt.12.tmp"),
        ("logmel-" + HEX, f"{HEX * 2}-{HEX * 2}.arrow.bak"),
        ("logmel-" + HEX, f"{HEX * 2}-copy.arrow"),
        ("logmel-copy", f"{HEX * 2}-{HEX * 2}.arrow"),
        ("photos", f"{HEX * 2}-{HEX * 2}.arrow"),
        ("references", "paper.json"),
        ("locks", "other.lock"),
        ("unpacked", "weights.npy"),
    ],
)
def test_what_has_another_form_is_not_ours(drawer, name):
    assert inventory.file_kind(drawer, name) == ""


def test_sizes_and_counts_are_those_of_the_disk(corpus, place):
    extracted(corpus, place)
    extracted(corpus, place, "b", OTHER)
    taken = inventory.take_inventory(place)
    sizes = {path.name: sum(f.stat().st_size for f in path.glob("*.arrow")) for path in place.folder.glob("*-*")}
    assert {drawer.name: drawer.size for drawer in taken.drawers} == sizes
    assert [drawer.rows for drawer in taken.drawers] == [12, 12, 12]
    assert sum(drawer.segments for drawer in taken.drawers) == len(found_in(place.folder)) == 6
    views = {
        cache.partition_name(extractor.view_identity(s, view)) for s in (SETTINGS, OTHER) for view in extractor.DTYPES
    }
    assert {drawer.name for drawer in taken.drawers} == views
    for drawer in taken.drawers:
        assert cache.partition_name(drawer.identity) == drawer.name
        assert drawer.unused == 0


def test_it_is_known_which_shards_a_drawer_was_read_for(corpus, place):
    here = extracted(corpus, place)
    there = extracted(corpus, place, "b", OTHER)
    shutil.rmtree(corpus.parent / "a")
    by_name = {drawer.name: drawer for drawer in inventory.take_inventory(place).drawers}
    both = by_name[cache.partition_name(extractor.view_identity(SETTINGS, "mfcc"))]
    assert [(shard.path, shard.alive, shard.clips) for shard in both.shards] == [
        (str(there["mfcc"]), True, 6),
        (str(here["mfcc"]), False, None),
    ]
    lonely = by_name[cache.partition_name(extractor.view_identity(SETTINGS, "logmel"))]
    assert [(shard.path, shard.alive) for shard in lonely.shards] == [(str(here["logmel"]), False)]
    assert (both.unused, lonely.unused) == (0, lonely.size)


def test_ages_are_those_of_the_oldest_and_the_newest_segment(place):
    names = [keep(place, seed=seed) for seed in range(3)]
    for name, days in zip(names, (3, 20, 1.5), strict=True):
        age([place.folder / name], days)
    (drawer,) = inventory.take_inventory(place).drawers
    assert time.time() - drawer.first_written == pytest.approx(20 * DAY, abs=60)
    assert time.time() - drawer.last_written == pytest.approx(1.5 * DAY, abs=60)
    text = "\n".join(upkeep_text.format_inventory(inventory.take_inventory(place), time.time(), {}))
    assert "2 weeks ago    1 day ago" in text


def test_settings_are_told_apart_in_words(corpus, place):
    extracted(corpus, place)
    extracted(corpus, place, "b", OTHER)
    taken = inventory.take_inventory(place)
    alone = list(upkeep_text.format_inventory(taken, time.time(), {}))
    assert "    logmel.n_mels 40, logmel.top_db null" in alone
    assert "    logmel.n_mels 64, logmel.top_db 80.0" in alone
    assert not any("mfcc.n_mfcc" in line for line in alone)  # one drawer alone differs from none
    now = {view: extractor.view_identity(OTHER, view) for view in extractor.DTYPES}
    against = list(upkeep_text.format_inventory(taken, time.time(), now))
    assert "    logmel.n_mels 64 (now 40), logmel.top_db 80.0 (now null)" in against
    assert against.count("    as in params.yaml") == 2
    older = {view: now[view] | {"versions": now[view]["versions"] | {"frontend": 99}} for view in now}
    assert "    versions.frontend" in "\n".join(upkeep_text.format_inventory(taken, time.time(), older))
    more = {view: now[view] | {"settings": now[view]["settings"] | {"new": {"key": True}}} for view in now}
    assert "    new.key null (now true)" in upkeep_text.format_inventory(taken, time.time(), more)


def test_a_shard_that_is_gone_or_elsewhere_says_so(tmp_path, place, monkeypatch):
    name = keep(place)
    refer(place, tmp_path / "gone.parquet", name)
    (tmp_path / "gone.parquet").unlink()
    refer(place, tmp_path / "here/x.parquet", name)
    with monkeypatch.context() as patch:
        patch.setattr(platform, "node", lambda: "node7")
        refer(place, tmp_path / "far.parquet", name)
    (tmp_path / "far.parquet").unlink()
    lines = "\n".join(upkeep_text.format_inventory(inventory.take_inventory(place), time.time(), {}))
    assert f"    gone: {tmp_path}/gone.parquet" in lines
    assert f"    node7: {tmp_path}/far.parquet" in lines
    assert "1 note without a shard" in lines


def test_lines_fit_in_100_columns(corpus, place):
    extracted(corpus, place)
    extracted(corpus, place, "b", OTHER)
    grow_old(place.folder, 500)
    for line in upkeep_text.format_inventory(inventory.take_inventory(place), time.time(), {}):
        assert len(line) <= 100 or "/" in line


def test_a_damaged_segment_does_not_stop_the_list(place):
    names = [keep(place, seed=seed, rows=seed + 1) for seed in range(3)]
    (place.folder / names[2]).write_bytes(b"")
    (drawer,) = inventory.take_inventory(place).drawers
    assert (drawer.rows, drawer.segments, drawer.unreadable) == (3, 3, 1)
    assert "    1 damaged" in "\n".join(upkeep_text.format_inventory(inventory.take_inventory(place), time.time(), {}))


def test_an_absent_cache_is_empty(place):
    assert inventory.take_inventory(place).drawers == ()
    assert gc.verify_store(place) == []
    assert sweep(place) == set()
    assert not place.folder.exists()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "just now"), (59, "just now"), (60, "1 minute ago"), (7199, "1 hour ago"), (13 * DAY, "1 week ago")],
)
def test_ages_in_words(seconds, words):
    assert upkeep_text.format_age(seconds) == words


@pytest.mark.parametrize("at", [0, 1500, -1000, -1])
def test_a_flipped_bit_is_found_and_its_clips_are_made_again(corpus, place, at):
    first = extracted(corpus, place)
    whole = tree(place.folder)
    assert [each.fault for each in gc.verify_store(place)] == [""] * 6  # two segments a view, two notes
    victim = sorted(place.folder.glob("logmel-*/*.arrow"))[1]
    flip(victim, at)
    damaged = [each for each in gc.verify_store(place) if each.fault]
    assert [each.item.path for each in damaged] == [str(victim)]
    swept = gc.delete_garbage(place, [each.item for each in damaged])
    assert [item.path for item in swept.items] == [str(victim)]
    assert not victim.exists()
    again = extracted(corpus, place, "again")
    assert {name: data for name, data in tree(place.folder).items() if name in found_in(place.folder)} == {
        name: data for name, data in whole.items() if name.endswith(".arrow")
    }
    assert again["logmel"].read_bytes() == first["logmel"].read_bytes()


def test_a_note_that_cannot_be_read_is_found(tmp_path, place):
    name = keep(place)
    refer(place, tmp_path / "x.parquet", name)
    refer(place, tmp_path / "y.parquet", name)
    notes = sorted(place.folder.glob("references/*.json"))
    notes[0].write_text('{"shard": ')
    notes[1].write_text('{"shard": "/x"}')
    faults = {each.item.path: each.fault for each in gc.verify_store(place) if each.fault}
    assert faults == {str(note): "it is no note of a shard" for note in notes}


def test_what_goes_while_it_is_checked_is_no_damage(place, monkeypatch):
    items = [keep(place, seed=seed) for seed in range(2)]
    listed = inventory.local_items(place)
    (place.folder / items[0]).unlink()
    monkeypatch.setattr(inventory, "local_items", lambda place: listed)
    assert [each.item.name for each in gc.verify_store(place)] == [items[1].rpartition("/")[2]]


def test_what_changed_since_it_was_listed_stays(place):
    name = keep(place)
    grow_old(place.folder)
    found = gc.find_garbage(place)
    assert len(found.old) == 1
    (place.folder / name).touch()  # somebody has made use of it
    assert gc.delete_garbage(place, found.old).items == ()
    assert (place.folder / name).exists()


def test_what_two_workspaces_share_stays_while_one_of_them_lives(corpus, place):
    a, b = extracted(corpus, place), extracted(corpus, place, "b", OTHER)
    drawers = {
        s: {view: cache.partition_folder(place, extractor.view_identity(s, view)).name for view in a}
        for s in (SETTINGS, OTHER)
    }
    segments_of = {
        path.name: {each for each in found_in(place.folder) if each.startswith(path.name)}
        for path in place.folder.iterdir()
    }
    grow_old(place.folder)
    locks = found_in(place.folder, ".lock")
    assert drawers[SETTINGS]["mfcc"] == drawers[OTHER]["mfcc"]
    assert sweep(place) == locks  # they were all that nobody needs
    shutil.rmtree(corpus.parent / "a")
    notes = {name for name, note in storage.read_references(place).items() if note.shard in map(str, a.values())}
    assert len(notes) == 2
    assert sweep(place) == segments_of[drawers[SETTINGS]["logmel"]] | {f"references/{name}" for name in notes}
    assert not (place.folder / drawers[SETTINGS]["logmel"]).exists()
    shutil.rmtree(corpus.parent / "b")
    rest = segments_of[drawers[OTHER]["logmel"]] | segments_of[drawers[OTHER]["mfcc"]] | found_in(place.folder, ".json")
    assert sweep(place) == rest
    assert {note.shard for note in storage.read_references(place).values()} == set()
    assert b["mfcc"].parent.exists() is False


def test_of_a_drawer_only_the_segments_that_no_shard_needs_go(tmp_path, place):
    names = [keep(place, seed=seed) for seed in range(4)]
    refer(place, tmp_path / "a.parquet", names[0], names[1])
    refer(place, tmp_path / "b.parquet", names[1], names[2])
    grow_old(place.folder)
    assert sweep(place) == {names[3]}
    (tmp_path / "a.parquet").unlink()
    assert found_in(place.folder) - sweep(place) == {names[1], names[2]}


def test_a_shard_made_anew_from_other_segments_lets_the_old_ones_go(tmp_path, place):
    old, new = keep(place, seed=1), keep(place, seed=2)
    refer(place, tmp_path / "a.parquet", old)
    refer(place, tmp_path / "a.parquet", new)
    grow_old(place.folder)
    assert sweep(place) == {old}


def test_the_same_name_in_another_drawer_is_another_segment(tmp_path, place):
    used = keep(place, seed=1)
    twin = place.folder / used.replace("logmel-", "mfcc-")
    twin.parent.mkdir()
    shutil.copy(place.folder / used, twin)
    refer(place, tmp_path / "a.parquet", used)
    grow_old(place.folder)
    assert sweep(place) == {twin.relative_to(place.folder).as_posix()}


@pytest.mark.parametrize(("days", "left"), [(1, {0, 1}), (0.01, {0}), (10, {0, 1, 2}), (0, set())])
def test_what_is_younger_stays(place, days, left):
    names = [keep(place, seed=seed) for seed in range(4)]
    for name, old in zip(names, (0.0001, 0.9, 2, 11), strict=True):
        age([place.folder / name], old)
    sweep(place, days=days)
    assert found_in(place.folder) == {names[number] for number in left}


def test_the_young_are_named(place):
    names = [keep(place, seed=seed) for seed in range(2)]
    age([place.folder / names[0]], 5)
    garbage = gc.find_garbage(place)
    assert [f"{item.drawer}/{item.name}" for item in garbage.young] == [names[1]]


def test_unfinished_files_go_after_an_hour_whatever_days_are(place):
    name = keep(place)
    old, young = (place.folder / f"{name}.{pid}.tmp" for pid in (11, 22))
    foreign = (place.folder / name).with_name("thesis.docx.33.tmp")
    for path, hours in ((old, 1.1), (young, 0.9), (foreign, 99)):
        path.write_bytes(b"half")
        age([path], hours / 24)
    assert sweep(place, days=30) == {f"{name}.11.tmp"}
    assert sweep(place, days=0) == {name}


def test_a_lock_goes_after_a_day_unless_it_is_held(place):
    names = [files.text_hash(number)[:32] for number in range(3)]
    for name in names:
        with place.lock(name):
            pass
    grow_old(place.folder)
    (place.folder / f"locks/{names[2]}.lock").touch()
    assert gc.find_garbage(place).young == ()  # no use to speak of locks and unfinished files
    with place.lock(names[0]):
        assert sweep(place, days=0) == {f"locks/{names[1]}.lock"}
    assert sweep(place, days=30) == {f"locks/{names[0]}.lock"}


def test_who_waits_for_a_lock_that_is_deleted_gets_it_still(place):
    """Two processes never work under the same lock, though its file was deleted between them."""
    name, inside, most = "ab" * 16, [], []

    def work():
        for _ in range(30):
            with place.lock(name):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()
            time.sleep(0.003)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    path = place.folder / f"locks/{name}.lock"
    deleted = 0
    while any(thread.is_alive() for thread in threads):
        deleted += path.exists() and gc.remove_lock(path)
    assert (len(most), max(most)) == (90, 1)
    assert deleted


def test_while_a_note_cannot_be_read_no_segment_goes(tmp_path, place):
    used, unused = keep(place, seed=1), keep(place, seed=2)
    refer(place, tmp_path / "a.parquet", used)
    (note,) = place.folder.glob("references/*.json")
    note.write_bytes(note.read_bytes()[:-9])
    grow_old(place.folder)
    garbage = gc.find_garbage(place)
    assert (garbage.old, garbage.unreadable) == ((), (str(note),))
    assert f"{note} is damaged" in "\n".join(upkeep_text.format_garbage(garbage, None))
    gc.delete_garbage(place, [each.item for each in gc.verify_store(place) if each.fault])
    assert sweep(place) == {used, unused}


def test_a_shard_that_this_user_may_not_look_at_counts_as_there(tmp_path, place, monkeypatch):
    name = keep(place)
    refer(place, tmp_path / "a.parquet", name)
    grow_old(place.folder)

    def forbidden(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(storage.Reference, "alive", property(forbidden))
    assert sweep(place) == set()


@pytest.mark.parametrize(("days", "counts"), [(80, True), (91, False)])
def test_a_shard_of_another_machine_counts_for_90_days(tmp_path, place, monkeypatch, days, counts):
    name, then = keep(place), time.time() - days * DAY
    with monkeypatch.context() as patch:
        patch.setattr(platform, "node", lambda: "node7")
        patch.setattr(time, "time", lambda: then)
        refer(place, tmp_path / "a.parquet", name)
    (tmp_path / "a.parquet").unlink()
    grow_old(place.folder, days)
    assert (place.folder / name).exists()
    assert (name in sweep(place)) != counts


def test_what_is_not_ours_stays(tmp_path, place):
    used = keep(place, seed=1)
    drawer = used.partition("/")[0]
    foreign = [
        f"{drawer}/notes.txt",
        f"{drawer}/x.arrow",
        "photos/a.jpg",
        f"photos/{HEX * 2}-{HEX * 2}.arrow",
        "a.arrow",
    ]
    foreign += ["references/paper.json", "locks/mine.lock", f"deep/{used}", f"{'x' * 16}-{HEX}.d/{HEX * 2}.json"]
    for name in foreign:
        (place.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (place.folder / name).write_text(name)
    (place.folder / f"logmel-{HEX}").symlink_to(tmp_path / "nowhere")
    grow_old(place.folder, 400)
    assert sweep(place, days=0) == {used}
    assert {name: name.encode() for name in foreign} == tree(place.folder)
    assert [each.fault for each in gc.verify_store(place)] == []
    assert inventory.take_inventory(place).drawers == ()


def test_files_unpacked_for_training_go_with_their_shards(corpus, place, monkeypatch):
    outputs, folder = extracted(corpus, place), files.cache_folder() / "unpacked"
    for path in outputs.values():
        table.open_table([path], folder)
    brought = corpus.parent / "c/features/logmel/other.parquet"  # as DVC pulls it: no note tells of it
    brought.parent.mkdir(parents=True)
    shutil.copy(extracted(corpus, place, "b", OTHER)["logmel"], brought)
    table.open_table([brought], folder)
    shutil.rmtree(corpus.parent / "b")
    foreign = folder / "weights.npy"
    foreign.write_text("mine")
    grow_old(folder)
    grow_old(place.folder)
    monkeypatch.chdir(corpus.parent / "c")
    named = {files.file_hash(path): str(path) for path in (*outputs.values(), brought)}
    taken = inventory.take_inventory(place).unpacked
    assert {shard_of(each.path): each.shard for each in taken} == named
    assert [each.size for each in taken] == [Path(each.path).stat().st_size for each in taken]
    outputs["mfcc"].unlink()
    gone = next(name for name, shard in named.items() if shard == str(outputs["mfcc"]))
    assert [shard_of(item.path) for item in gc.find_garbage(place).old if item.kind == "unpacked"] == [gone]
    gc.delete_garbage(place, gc.find_garbage(place).old)
    assert {shard_of(path) for path in folder.iterdir()} == {*named, "weights"} - {gone}
    monkeypatch.chdir(corpus.parent)
    gc.delete_garbage(place, gc.find_garbage(place).old)
    assert {shard_of(path) for path in folder.iterdir()} == {files.file_hash(outputs["logmel"]), "weights"}


def shard_of(path) -> str:
    """The hash of a shard in the name of its unpacked file."""
    return Path(path).stem.partition("-")[0]


def test_what_older_versions_unpacked_without_a_checksum_goes(corpus, place):
    shard = extracted(corpus, place)["logmel"]
    folder = files.cache_folder() / "unpacked"
    table.open_table([shard], folder)
    (whole,) = folder.iterdir()
    older = folder / f"{files.file_hash(shard)}.npy"
    shutil.copy(whole, older)
    grow_old(folder)
    assert [item.path for item in gc.find_garbage(place).old if item.kind == "unpacked"] == [str(older)]
    assert str(older) not in {each.item.path for each in gc.verify_store(place)}


def test_a_shard_of_another_cache_keeps_what_was_unpacked_of_it(tmp_path, place):
    """The user's own clip cache and all mirrors unpack into one folder."""
    shard = tmp_path / "a.parquet"
    refer(Storage(), shard, keep(Storage()))
    unpacked = files.cache_folder() / "unpacked" / f"{files.file_hash(shard)}-{HEX * 2}.npy"
    unpacked.parent.mkdir()
    unpacked.write_bytes(b"x")
    grow_old(files.cache_folder())
    assert gc.find_garbage(place).old == ()
    shard.unlink()
    assert [item.path for item in gc.find_garbage(place).old] == [str(unpacked)]


def test_a_clip_cache_may_lie_where_files_are_unpacked(tmp_path):
    place = Storage(str(files.cache_folder()))
    name = keep(place)
    unpacked = place.folder / "unpacked" / f"{HEX * 4}.npy"
    unpacked.parent.mkdir()
    unpacked.write_bytes(b"x")
    grow_old(place.folder)
    assert [item.path for item in inventory.local_items(place)] == [str(place.folder / name)]
    assert [item.path for item in gc.find_garbage(place).old] == [str(place.folder / name), str(unpacked)]


def test_after_gc_nothing_of_a_living_shard_is_made_again(corpus, place, monkeypatch, capsys):
    extracted(corpus, place)
    gone = extracted(corpus, place, "b", OTHER)
    for path in gone.values():
        path.unlink()
    grow_old(place.folder)
    assert len(found_in(place.folder) & sweep(place)) == 2
    monkeypatch.setattr(decode, "decode_audio", lambda *args, **kwargs: pytest.fail("decoded again"))
    capsys.readouterr()
    extracted(corpus, place, "c")
    assert "6 from the clip cache, 0 to extract" in capsys.readouterr().out


def test_gc_beside_an_extraction_takes_nothing_from_it(corpus, place):
    """Old segments that the extraction goes on with are in use; those that it makes are young."""
    quiet = extracted(corpus, Storage(str(corpus.parent / "quiet")), "quiet")
    stop, swept = threading.Event(), []

    def clean():
        while not stop.is_set():
            swept.append(gc.delete_garbage(place, gc.find_garbage(place).old))

    thread = threading.Thread(target=clean)
    thread.start()
    try:
        beside = extracted(corpus, place)
    finally:
        stop.set()
        thread.join()
    assert len(swept) > 2
    assert [item for each in swept for item in each.items] == []
    assert {view: path.read_bytes() for view, path in beside.items()} == {
        view: path.read_bytes() for view, path in quiet.items()
    }
    assert found_in(place.folder) == found_in(corpus.parent / "quiet")


def test_segments_deleted_under_an_extraction_end_it_with_a_sentence(corpus, place, monkeypatch):
    """And the next one makes them again."""
    first, whole = extracted(corpus, place), found_in(place.folder)
    for path in first.values():
        path.unlink()  # as DVC does before it runs a stage
    fetch, swept, one_at_a_time = (
        writer.read_rows,
        [],
        Lock(),
    )  # both views are written at once, and the sweep looks around

    def clean(*args):
        with one_at_a_time:
            swept.append(sweep(place, days=0))
        return fetch(*args)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "read_rows", clean)
        with pytest.raises(StoreError, match="It was whole a moment ago: run the same command again"):
            extracted(corpus, place, "again")
    assert set().union(*swept) >= whole
    assert found_in(place.folder) == set()
    assert not (corpus.parent / "again/features").exists() or not list((corpus.parent / "again").rglob("*.parquet"))
    extracted(corpus, place, "later")
    assert found_in(place.folder) == whole


@pytest.fixture
def cloud(tmp_path, request):
    """A shared place, and a way to its files."""
    place = Storage(f"memory://{request.node.name}/ser")
    system, root = storage.filesystem(place.url)
    yield place, system, root
    if system.exists(root):
        system.rm(root, recursive=True)


def names_in(system, root) -> set[str]:
    return {path.removeprefix(f"{root}/") for path in system.find(root)}


def grow_old_there(system, root, days: float = 3) -> None:
    for path in system.find(root):
        system.store[path].created = datetime.fromtimestamp(time.time() - days * DAY, UTC)


def test_the_shared_place_is_counted_on_its_own(tmp_path, cloud):
    place, system, root = cloud
    names = [keep(place, seed=seed) for seed in range(2)]
    refer(place, tmp_path / "a.parquet", names[0])
    (place.folder / names[1]).unlink()
    taken = inventory.take_inventory(place)
    assert [(drawer.shared, drawer.segments, drawer.rows) for drawer in taken.drawers] == [(False, 1, 3), (True, 2, 0)]
    assert taken.drawers[1].size == sum(system.size(f"{root}/{name}") for name in names)
    assert taken.drawers[1].unused == system.size(f"{root}/{names[1]}")
    text = "\n".join(upkeep_text.format_inventory(taken, time.time(), {}))
    assert f"Clip cache {place.folder}, in front of {place.url}" in text
    assert f"In {place.url}" in text
    assert text.count("a.parquet") == 1


def test_a_damaged_file_of_the_shared_place_is_found_there(corpus, cloud):
    place, system, root = cloud
    keep(place, seed=1)
    name = keep(place, seed=2)
    data = bytearray(system.cat_file(f"{root}/{name}"))
    data[-700] ^= 1
    system.pipe_file(f"{root}/{name}", bytes(data))
    damaged = [each.item for each in gc.verify_store(place) if each.fault]
    assert [item.path for item in damaged] == [f"{place.url}/{name}"]
    gc.delete_garbage(place, damaged)
    assert not system.exists(f"{root}/{name}")
    assert (place.folder / name).exists()


def test_a_damaged_copy_is_fetched_again(corpus, cloud, capsys):
    place = cloud[0]
    extracted(corpus, place)
    victim = sorted(place.folder.glob("mfcc-*/*.arrow"))[0]
    whole = victim.read_bytes()
    flip(victim, -700)
    gc.delete_garbage(place, [each.item for each in gc.verify_store(place) if each.fault])
    assert not victim.exists()
    capsys.readouterr()
    extracted(corpus, place, "again")
    assert "6 from the clip cache, 0 to extract" in capsys.readouterr().out
    assert victim.read_bytes() == whole


def test_the_shared_place_is_cleaned_on_request_only(tmp_path, cloud):
    place, system, root = cloud
    used, unused, young = (keep(place, seed=seed) for seed in range(3))
    refer(place, tmp_path / "a.parquet", used)
    refer(place, tmp_path / "gone.parquet", unused)
    (tmp_path / "gone.parquet").unlink()
    for foreign in ("thesis/draft.txt", "references/paper.json", unused.replace(".arrow", ".arrow.bak")):
        system.pipe_file(f"{root}/{foreign}", b"mine")
    there = names_in(system, root)
    grow_old(place.folder)
    grow_old_there(system, root)
    system.store[f"{root}/{young}"].created = datetime.now(UTC)
    assert sweep(place) == {unused, young}  # copies; notes stay as long as those in the shared place do
    assert names_in(system, root) == there
    gc.delete_garbage(place, gc.find_garbage(place, shared=True).old)
    gone = there - names_in(system, root)
    assert unused in gone
    assert len(gone) == 2  # and the note
    assert {note.shard for note in storage.read_references(place).values()} == {str(tmp_path / "a.parquet")}
    gc.delete_garbage(place, gc.find_garbage(place, shared=True, days=0).old)
    assert names_in(system, root) == there - gone - {young}


def test_the_newest_note_of_another_machine_counts(tmp_path, cloud, monkeypatch):
    """Not the copy of it that was fetched when it said something else."""
    place, system, root = cloud
    before, after = keep(place, seed=1), keep(place, seed=2)
    other = tmp_path / "other"
    with monkeypatch.context() as patch:
        patch.setattr(platform, "node", lambda: "node7")
        refer(place, other / "a.parquet", before)
        patch.setenv("SER_CACHE_DIR", str(other))
        refer(place, other / "a.parquet", after)
    shutil.rmtree(other)
    grow_old(place.folder)
    grow_old_there(system, root)
    gc.delete_garbage(place, gc.find_garbage(place, shared=True).old)
    assert {name for name in names_in(system, root) if name.endswith(".arrow")} == {after}
    assert found_in(place.folder) == {after}


def test_a_store_url_that_says_nothing_of_time_is_young():
    assert inventory.written_time({"name": "x"}) == pytest.approx(time.time(), abs=5)
    assert inventory.written_time({"name": "x", "modified": "yesterday"}) == pytest.approx(time.time(), abs=5)
    assert inventory.written_time({"name": "x", "mtime": 12.5}) == 12.5
