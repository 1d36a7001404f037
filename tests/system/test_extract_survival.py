"""The clip cache outlives kills, rivals and full disks: nothing is lost, nothing made twice, every byte the same."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.core import config
from pipeline.core.errors import StoreError
from pipeline.dataset import shards
from pipeline.extract import cache, stage, storage, worker
from pipeline.extract.storage import Storage
from pipeline.signal import extractor
from tests.paths import ROOT

SETTINGS = extractor.settings_from_params(config.read_params(ROOT / "params.yaml"))
KILLS = int(os.environ.get("SER_KILLS", "6"))  # SER_KILLS=20 tries more moments
CLIPS, SECONDS = 96, 2.5  # enough for two processes to write segments for about a second


@pytest.fixture(scope="module")
def whole(workplaces):
    """An undisturbed extraction, by which all others are judged."""
    place = workplaces(CLIPS, SECONDS)
    start = time.monotonic()
    assert f"0 from the clip cache, {CLIPS} to extract" in place.run()
    written = place.segments().values()
    place.took = time.monotonic() - start, (max(written) - min(written)) / 1e9  # s, and of these writing segments
    assert place.whole_clips() == CLIPS
    assert set(place.shards()) == {"mfcc", "logmel"}
    return place


def kill(child: subprocess.Popen) -> str:
    """Kill a process group as a whole, and return what it had said."""
    os.killpg(child.pid, signal.SIGKILL)
    said = "".join(child.communicate())
    while [p for p in psutil.process_iter() if os.getpgid(p.pid) == child.pid and p.status() != psutil.STATUS_ZOMBIE]:
        time.sleep(0.001)
    return said


def test_an_extraction_killed_at_any_moment_is_finished_and_makes_only_what_was_missing(workplaces, whole):
    """Every other moment lies anywhere in the run, the others after its first new segment."""
    duration, writing = whole.took
    rng = random.Random(9)
    place, before, kills, among = workplaces(CLIPS, SECONDS), {}, 0, 0
    while kills < KILLS:
        done = place.whole_clips()
        child = place.start()
        if kills % 2:
            place.await_segments(child, len(before))
            time.sleep(rng.uniform(0, writing))
        else:
            time.sleep(rng.uniform(0, duration))
        said = kill(child)
        assert f"{done} from the clip cache, {CLIPS - done} to extract" in said or not said
        after = place.segments()
        assert after.items() >= before.items(), "a finished segment was touched"
        assert all(whole.shards()[view] == data for view, data in place.shards().items()), "half a shard"
        kills += child.returncode == -signal.SIGKILL  # it may have ended before
        among += len(before) < len(after) < len(whole.segments())
        before = after
        if kills in (KILLS, *range(3, KILLS, 3)) or len(after) == len(whole.segments()):
            finish(place, whole, before)
            place, before = workplaces(CLIPS, SECONDS), {}
    assert among >= KILLS // 4, "most kills came before or after the writing"


def finish(place, whole, before: dict[str, int]) -> None:
    """Let an extraction end that had been killed."""
    done = place.whole_clips()
    assert f"{done} from the clip cache, {CLIPS - done} to extract" in place.run()
    assert place.shards() == whole.shards()
    assert place.segments().items() >= before.items(), "a finished segment was touched"
    assert set(place.segments()) == set(whole.segments())
    assert place.whole_clips() == CLIPS


@pytest.mark.parametrize("moment", ["together", "later"])
def test_two_extractions_at_once_share_the_work(workplaces, whole, moment):
    first, second = workplaces(CLIPS, SECONDS), workplaces(CLIPS, SECONDS)
    one = first.start()
    seen: dict[str, set[int]] = {}
    watch(seen, first.cache, until=lambda: moment == "together" or len(seen) > 8)
    two = second.start(SER_CACHE_DIR=first.cache)
    watch(seen, first.cache, until=lambda: one.poll() is not None and two.poll() is not None)
    first.ended(one)
    second.ended(two)
    assert first.shards() == second.shards() == whole.shards()
    assert first.whole_clips() == CLIPS
    assert set(seen) == set(whole.segments())
    assert {len(inodes) for inodes in seen.values()} == {1}, "a segment was made twice"


def watch(seen: dict[str, set[int]], cache: Path, *, until) -> None:
    """Note which file stands behind the name of each segment, over and over."""
    while not until():
        for path in cache.glob("clips/*/*.arrow"):
            seen.setdefault(f"{path.parent.name}/{path.name}", set()).add(path.stat().st_ino)
        time.sleep(0.002)


def small_batch(folder: Path) -> tuple[worker.Batch, dict]:
    """A batch of one clip that cannot be decoded, for there is no file: made again, it would fail."""
    keys = {"logmel": {"original": "ab" * 32}}
    work = worker.Batch((worker.ClipTask("gone.wav", "cd" * 32, "ef" * 32, keys),))
    return work, {"folder": folder, "settings": SETTINGS, "storage": Storage(str(folder / "clips"))}


def test_what_another_process_is_making_is_awaited(tmp_path):
    work, how = small_batch(tmp_path)
    receipts = []
    thread = threading.Thread(target=lambda: receipts.append(worker.process_batch(work, **how)))
    with how["storage"].lock(work.name):
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "it did not wait"
        rows = shards.FeatureRows(["ab" * 32], np.zeros((1, 3, 2), np.float16), np.ones(1, np.int32))
        cache.store_rows(how["storage"], extractor.view_identity(SETTINGS, "logmel"), rows)
    thread.join(10)
    assert receipts == [worker.BatchResult(1, 0)]


def test_whoever_comes_later_means_the_same_batches():
    """Whatever is missing by then: the batches are runs of the whole list, or two would make rows in other company."""
    pieces = [
        worker.ClipTask(f"{number}.wav", "", "", {"mfcc": {"original": f"{number:064x}"}}) for number in range(300)
    ]
    done = {3, 10, 11, 12, 13, 14, 222}
    later = [replace(each, keys={}) if number in done else each for number, each in enumerate(pieces)]
    before, after = (
        {tuple(piece.path for piece in each.tasks) for each in stage.make_batches(some)} for some in (pieces, later)
    )
    assert sorted(len(each) for each in before) == [5] * 60
    assert len(after - before) == 2
    assert all(any(set(part) < set(run) for run in before) for part in after - before)
    assert len(after) == 59


def test_a_damaged_segment_of_the_same_rows_does_not_count_as_made(tmp_path):
    work, how = small_batch(tmp_path)
    rows = shards.FeatureRows(["ab" * 32], np.zeros((1, 3, 2), np.float16), np.ones(1, np.int32))
    cache.store_rows(how["storage"], extractor.view_identity(SETTINGS, "logmel"), rows)
    assert worker.process_batch(work, **how) == worker.BatchResult(1, 0)
    (path,) = tmp_path.rglob("*.arrow")
    path.write_bytes(path.read_bytes()[:-1])
    assert "gone.wav cannot be read" in worker.process_batch(work, **how).failures[0]


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    script = (
        f"from pipeline.extract.storage import Storage\nwith Storage({str(tmp_path)!r}).lock('x'):\n  print(1); input()"
    )
    command = [sys.executable, "-uc", script]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline()
    taken = threading.Event()
    waiting = threading.Thread(target=lambda: take(tmp_path, taken), daemon=True)
    waiting.start()
    assert not taken.wait(0.3), "two held one lock"
    child.kill()
    assert taken.wait(5), "nobody can work on what a killed process had begun"
    child.communicate()
    with pytest.raises(ZeroDivisionError), Storage(str(tmp_path)).lock("x"):
        raise ZeroDivisionError
    take(tmp_path, taken)  # an error frees it too
    (left,) = (tmp_path / "locks").iterdir()
    assert left.stat().st_size == 0


def take(folder: Path, taken: threading.Event) -> None:
    with Storage(str(folder)).lock("x"):
        taken.set()


def test_a_killed_worker_ends_the_run_in_a_sentence_and_loses_nothing(workplaces, whole):
    place = workplaces(CLIPS, SECONDS)
    child = place.start()
    place.await_segments(child, 5)  # some of them of both views of the same clips
    workers = [p for p in psutil.Process(child.pid).children(recursive=True) if "popen_loky" in str(p.cmdline())]
    assert len(workers) == 2
    assert max(worker.memory_info().rss for worker in workers) < 600 * 2**20  # about twice of what they need
    workers[0].kill()
    said = place.ended(child, code=1)
    assert said.splitlines()[-1].startswith("ser-features: A worker process died")
    assert "Finished work is saved: run the same command again, with fewer workers" in said
    assert "Traceback" not in said
    done, before = place.whole_clips(), place.segments()
    assert 0 < done < CLIPS
    finish(place, whole, before)


def on_small_disk(place, folder: Path, kilobytes: int, then: str = "true") -> tuple[str, int]:
    """Extract while ``folder`` is a file system of its own; ``then`` is run before that vanishes."""
    can = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    if can.returncode:
        pytest.skip(f"no file system can be mounted here: {can.stderr.decode().strip()}")
    folder.mkdir(exist_ok=True)
    script = (
        f"mount -t tmpfs -o size={kilobytes}k none {folder} && "
        f"{{ {sys.executable} -m pipeline.extract ravdess; code=$?; {then} && exit $code; }}"
    )
    command = ["unshare", "-rm", "sh", "-c", script]
    done = subprocess.run(command, cwd=place.folder, env=place.environment({}), capture_output=True, text=True)
    return done.stderr, done.returncode


def judge(said: str, code: int, path: Path) -> None:
    """Expect one sentence with path, reason and remedy."""
    assert code == 1, said
    last = said.splitlines()[-1]
    assert last.startswith(f"ser-features: {path}"), said
    assert "No space left on device" in last
    assert "Finished work is saved: make room" in last
    assert "Traceback" not in said


def test_a_full_cache_disk_keeps_what_was_finished(workplaces, whole):
    place, saved = workplaces(CLIPS, SECONDS), workplaces(CLIPS, SECONDS)
    said, code = on_small_disk(place, place.cache, 6000, f"cp -a {place.cache} {saved.folder}")
    judge(said, code, place.cache)
    assert not list(saved.cache.rglob("*.tmp"))
    before = saved.segments()
    assert 8 < len(before) < len(whole.segments())
    assert not place.shards()
    finish(saved, whole, before)


def test_a_full_disk_for_the_shards_leaves_none(workplaces, whole):
    place = workplaces(CLIPS, SECONDS)
    place.run()
    shutil.rmtree(place.folder / "features")
    find = f"find features -type f > {place.folder}/left"
    said, code = on_small_disk(place, place.folder / "features", 3000, find)
    judge(said, code, Path("features"))
    left = (place.folder / "left").read_text().split()
    assert len(left) < 2
    assert not [path for path in left if not path.endswith("/ravdess.parquet")]
    assert f"{CLIPS} from the clip cache, 0 to extract" in place.run()
    assert place.shards() == whole.shards()


def test_a_segment_that_outgrows_a_limit_is_not_half_written(workplaces, whole):
    """What is true of a full disk, where none can be mounted: log-mel segments are larger than MFCC's."""
    place = workplaces(CLIPS, SECONDS)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, old[1]))
    try:
        child = place.start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    last = place.ended(child, code=1).splitlines()[-1]
    assert last.startswith(f"ser-features: {place.cache}/clips/logmel-")
    assert "File too large; what was there is unharmed. Finished work is saved" in last
    assert not list(place.cache.rglob("*.tmp"))
    before = place.segments()
    assert before
    assert {name.partition("-")[0] for name in before} == {"mfcc"}
    place.run()
    assert place.shards() == whole.shards()
    assert place.segments().items() >= before.items()


def test_a_cache_that_cannot_be_written_is_named(workplaces):
    place = workplaces()
    place.cache.write_text("a file where the folder should be")
    assert str(place.cache) in place.refused()


def test_a_full_cache_serves_where_it_can_only_be_read(tmp_path, capsys):
    """No note can be left there, and that is all."""
    place = Storage(str(tmp_path / "file"))
    (tmp_path / "file").write_text("a file where the folder should be")
    storage.write_references(place, {Path("x.parquet"): ("logmel-1", ["a.arrow"])})
    assert "x.parquet is whole, but" in capsys.readouterr().err
    with pytest.raises(StoreError, match=r"a\.arrow could not be written: Not a directory.*Finished work is saved"):
        place.put("logmel-1", "a.arrow", b"1")
