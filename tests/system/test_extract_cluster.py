"""Many machines, one store: Dask workers and jobs of an array give the bytes of a single process, whoever dies."""

import json
import os
import subprocess
import sys
import time

import pytest

from pipeline import parallel
from pipeline.core.errors import SerError, SettingError
from pipeline.extract import cluster

pytest.importorskip("distributed", reason="Dask is not installed")

SETTINGS = {"dashboard_address": ":0", "processes": True, "threads_per_worker": 1}
CLIPS, SECONDS = 48, 2.5  # enough for two workers to write segments for half a second


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A scheduler and two workers, whose own clip cache is not that of any test."""
    from distributed import LocalCluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SER_CACHE_DIR", str(tmp_path_factory.mktemp("elsewhere")))
        with LocalCluster(n_workers=2, **SETTINGS) as started:
            yield started


@pytest.fixture
def dask(running):
    """Both workers there, whatever a test before has done to them."""
    running.wait_for_workers(2, timeout=180)
    return running


@pytest.fixture(scope="module")
def whole(workplaces):
    """An undisturbed extraction on one machine, by which all others are judged."""
    place = workplaces(CLIPS, SECONDS)
    place.run()
    return place


def spread(function, items, scheduler: str) -> list:
    return list(
        parallel.parallel_map(
            function, items, crew=parallel.Executor(1, cluster.cluster_mapper(scheduler)), label="test"
        )
    )


def test_a_cluster_gives_the_same_bytes(dask, workplaces, whole):
    place = workplaces(CLIPS, SECONDS)
    said = place.run(SER_SCHEDULER=dask.scheduler_address, SER_STORE_URL=place.cache / "clips")
    assert f"0 from the clip cache, {CLIPS} to extract" in said
    assert place.shards() == whole.shards()
    assert place.whole_clips() == CLIPS
    assert set(place.segments()) == set(whole.segments())
    assert f"{CLIPS} from the clip cache, 0 to extract" in place.run()


def test_the_scheduler_of_params_yaml_is_used(dask, workplaces, whole):
    store = {"  scheduler": dask.scheduler_address, "  url": "shared"}
    place = workplaces(CLIPS, SECONDS, **store)
    place.run(SER_CACHE_DIR=place.folder / "unused")
    assert place.shards() == whole.shards()
    assert set(place.segments(place.folder / "shared")) == set(whole.segments())
    assert not (place.folder / "unused").exists()


def test_a_worker_that_is_killed_loses_nothing(dask, workplaces, whole):
    place = workplaces(CLIPS, SECONDS)
    child = place.start(SER_SCHEDULER=dask.scheduler_address, SER_STORE_URL=place.cache / "clips")
    place.await_segments(child, 3)
    before = place.segments()
    os.kill(next(iter(dask.workers.values())).pid, 9)
    assert len(before) < len(whole.segments()) - 8
    place.ended(child)
    assert place.segments().items() >= before.items(), "a finished segment was touched"
    assert place.shards() == whole.shards()
    assert place.whole_clips() == CLIPS


def test_workers_that_write_elsewhere_are_found_out(dask, workplaces):
    place = workplaces()
    said = place.refused(SER_SCHEDULER=dask.scheduler_address)
    assert f"rows just made are not in {place.cache}/clips/" in said
    assert "workers on other machines need a store.url that all of them reach" in said
    assert not place.shards()


def test_an_error_of_the_work_itself_comes_through(dask):
    with pytest.raises(ValueError, match="invalid literal"):
        spread(int, ["1", "2", "many"], dask.scheduler_address)
    assert sorted(spread(int, ["3", "1", "2"], dask.scheduler_address)) == [1, 2, 3]


def test_work_that_kills_every_worker_is_given_up(dask):
    with pytest.raises(SerError, match="several workers died over the same clips.*Finished work is saved"):
        spread(os._exit, [1], dask.scheduler_address)


def test_an_address_of_no_scheduler_is_refused_in_a_sentence(dask, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1)
    worker = next(iter(dask.scheduler.workers))
    for address, reason in {
        "tcp://127.0.0.1:1": r"\(.*\)",
        "nonsense": "missing port number",
        "http://127.0.0.1:8787": "unknown address scheme",
        worker: "it is a worker",
    }.items():
        start = time.monotonic()
        with pytest.raises(SettingError, match=f"scheduler {address}: no Dask scheduler answers.*{reason}"):
            spread(int, ["1"], address)
        assert time.monotonic() - start < 5


def test_a_program_that_finds_no_scheduler_ends_at_once(workplaces):
    """Dask's own client would keep it for a minute more."""
    start = time.monotonic()
    assert "execute.scheduler nonsense: no Dask scheduler" in workplaces().refused(SER_SCHEDULER="nonsense")
    assert time.monotonic() - start < 20


def test_a_cluster_without_workers_is_refused_in_a_sentence(monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(cluster, "WORKER_SECONDS", 0.5)
    with LocalCluster(n_workers=0, **SETTINGS) as empty, pytest.raises(SerError, match="has no worker.*'dask worker"):
        spread(int, ["1"], empty.scheduler_address)


def test_a_scheduler_that_dies_ends_the_run_in_a_sentence(tmp_path):
    file, quiet = tmp_path / "scheduler.json", {"stderr": subprocess.DEVNULL}
    dask, where = [sys.executable, "-m", "dask"], ["--scheduler-file", str(file), "--no-dashboard"]
    scheduler = subprocess.Popen([*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *where], **quiet)
    worker = subprocess.Popen([*dask, "worker", "--nthreads", "1", "--no-nanny", *where], **quiet)
    try:
        while not file.exists():
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        results = parallel.parallel_map(
            time.sleep, [0.05] * 200, crew=parallel.Executor(1, cluster.cluster_mapper(address)), label="test"
        )
        next(results)
        scheduler.kill()
        with pytest.raises(SerError, match="was lost while it worked. Finished work is saved"):
            list(results)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()


def test_dask_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SettingError, match=r"needs distributed, which is not installed: pip install .*\[cluster\]"):
        spread(int, ["1"], "tcp://127.0.0.1:8786")


@pytest.mark.parametrize("at_once", [False, True])
def test_parts_of_an_array_make_the_whole(workplaces, whole, at_once):
    place = workplaces(CLIPS, SECONDS)
    parts = ["3/3", "1/3", "2/3"]
    if at_once:
        children = [place.start("--shard", part) for part in parts]
        said = [place.ended(child) for child in children]
    else:
        said = [place.run("--shard", part) for part in parts]
    assert all(f"{CLIPS // 3} clips × 4 rows, 0 from the clip cache, {CLIPS // 3} to extract" in each for each in said)
    assert not place.shards()
    assert place.whole_clips() == CLIPS
    before = place.segments()
    assert f"{CLIPS} from the clip cache, 0 to extract" in place.run()
    assert place.segments() == before
    assert place.shards() == whole.shards()


def test_a_part_that_is_done_already_makes_nothing(workplaces):
    place = workplaces()
    place.run("--shard", "2/3")
    before = place.segments()
    assert "8 clips × 4 rows, 8 from the clip cache, 0 to extract" in place.run("--shard", "2/3")
    assert "24 clips × 4 rows, 8 from the clip cache, 16 to extract" in place.run()
    assert place.segments().items() >= before.items()
    assert "0 clips × 4 rows" in place.run("--shard", "30/30")  # more parts than clips


@pytest.mark.parametrize("part", ["0/3", "4/3", "1/0", "3", "1/2/3", "-1/3", "1.5/3", "a/b", "/", "²/3", ""])
def test_a_part_that_is_none_is_refused(workplaces, part):
    said = workplaces().run(f"--shard={part}", code=2)
    assert f"argument --shard: {part!r}: expected i/N with i from 1 to N, such as 2/8" in said.splitlines()[-1]
