"""A shared place on S3: another machine decodes nothing, damage is made good, and what breaks off is sent later."""

import pytest

from tests.buckets import objects

CLIPS = 24
URL = "s3://ser/store"


def shared(s3) -> dict[str, bytes]:
    """The segments that lie in the bucket."""
    found = objects(s3, "store/")
    return {name.removeprefix("store/"): data for name, data in found.items() if name.endswith(".arrow")}


def mirrored(place) -> dict[str, bytes]:
    """The segments in the folder that stands before the bucket."""
    paths = place.cache.glob("mirror/*/*/*.arrow")
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def whole(workplaces):
    """An undisturbed extraction on one machine, by which all others are judged."""
    place = workplaces(CLIPS)
    place.run()
    return place


@pytest.fixture(scope="module")
def filled(s3, workplaces, whole):
    """The objects of a bucket that a machine has filled."""
    place = workplaces(CLIPS)
    assert f"0 from the clip cache, {CLIPS} to extract" in place.run(SER_STORE_URL=URL)
    assert place.shards() == whole.shards()
    assert set(shared(s3)) == set(whole.segments())
    assert shared(s3) == mirrored(place)
    assert len(objects(s3, "store/references/")) == 2
    return objects(s3)


@pytest.fixture
def first(filled, bucket):
    """The bucket as a machine has filled it."""
    for name, data in filled.items():
        bucket.put_object(Bucket="ser", Key=name, Body=data)
    return bucket


def other_machine(workplaces):
    """A workplace whose corpus is gone: whatever it decodes is an error."""
    place = workplaces(CLIPS)
    params = place.folder / "params.yaml"
    params.write_text(params.read_text().replace(str(place.corpus), str(place.folder / "gone")))
    return place


def test_another_machine_extracts_and_decodes_nothing(first, workplaces, whole):
    place = other_machine(workplaces)
    assert f"{CLIPS} from the clip cache, 0 to extract" in place.run(SER_STORE_URL=URL)
    assert place.shards() == whole.shards()
    assert mirrored(place) == shared(first)
    assert not (place.cache / "clips").exists()


def test_the_url_of_params_yaml_is_used(first, workplaces, whole):
    place = workplaces(CLIPS, **{"  url": URL})
    assert f"{CLIPS} from the clip cache, 0 to extract" in place.run()
    assert place.shards() == whole.shards()


@pytest.mark.parametrize("at", [3, -9000, -40])  # in the magic word, in the tensors, in Arrow's table of contents
def test_a_damaged_copy_is_fetched_again_and_made_by_nobody(first, workplaces, whole, at):
    place = other_machine(workplaces)
    place.run(SER_STORE_URL=URL)
    victim = sorted(place.cache.glob("mirror/*/logmel*/*.arrow"))[1]
    victim.write_bytes(turned(victim.read_bytes(), at))
    said = place.run(SER_STORE_URL=URL)
    assert said.count(f"{victim} is damaged and was deleted; it is fetched or made again.") == 1
    assert f"{CLIPS} from the clip cache, 0 to extract" in said
    assert place.shards() == whole.shards()
    assert mirrored(place) == shared(first)


@pytest.mark.parametrize("at", [3, -9000, -40])
def test_a_damaged_object_is_replaced(first, workplaces, whole, at):
    before = shared(first)
    victim = sorted(name for name in before if name.startswith("mfcc"))[2]
    first.put_object(Bucket="ser", Key=f"store/{victim}", Body=turned(before[victim], at))
    place = workplaces(CLIPS)
    said = place.run(SER_STORE_URL=URL)
    assert said.count(f"{victim} is damaged and was deleted") == 2  # the copy of it, then another one, and it
    assert f"{CLIPS - 4} from the clip cache, 4 to extract" in said
    assert place.shards() == whole.shards()
    assert shared(first) == before == mirrored(place)


def turned(data: bytes, at: int) -> bytes:
    """The same with one bit turned."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 8]) + data[at + 1 :]


def test_no_server_is_said_in_a_sentence_before_any_work(s3, workplaces):
    place = workplaces(CLIPS)
    last = place.refused(SER_STORE_URL=URL, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert last.startswith(f"ser-features: store.url {URL} cannot be used (")
    assert "check the address and your credentials" in last
    assert not mirrored(place)


def test_a_place_that_cannot_be_written_gets_later_what_was_made(bucket, workplaces, whole):
    """A bucket that is not there lists like an empty one. Sending fails after both views of a clip are kept."""
    place = workplaces(CLIPS)
    last = place.refused(SER_STORE_URL="s3://later/store")
    assert last.startswith("ser-features: store.url s3://later/store cannot be used (")
    assert ": the next run sends it." in last
    kept, done = mirrored(place), place.whole_clips()
    assert 4 <= done < CLIPS
    bucket.create_bucket(Bucket="later")
    said = place.run(SER_STORE_URL="s3://later/store")
    assert f"{done} from the clip cache, {CLIPS - done} to extract" in said
    assert mirrored(place).items() >= kept.items()
    listed = bucket.list_objects_v2(Bucket="later", Prefix="store/")["Contents"]
    names = {each["Key"].removeprefix("store/") for each in listed if each["Key"].endswith(".arrow")}
    assert names == set(whole.segments())
    assert place.shards() == whole.shards()


def test_workers_of_a_cluster_meet_in_the_bucket(bucket, workplaces, whole, tmp_path, monkeypatch):
    """They have a clip cache of their own; one of them holds a segment that the bucket lacks."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    place, mate = workplaces(CLIPS), workplaces(CLIPS)
    mate.run(SER_STORE_URL=URL)
    lost = sorted(objects(bucket, "store/logmel"))[:2]
    for name in objects(bucket):
        if name in lost or name.startswith("store/mfcc"):
            bucket.delete_object(Bucket="ser", Key=name)
    monkeypatch.setenv("SER_CACHE_DIR", str(mate.cache))
    options = {"processes": True, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(n_workers=2, **options) as cluster:
        said = place.run(SER_STORE_URL=URL, SER_SCHEDULER=cluster.scheduler_address)
    assert f"0 from the clip cache, {CLIPS} to extract" in said
    assert place.shards() == whole.shards()
    assert set(shared(bucket)) == set(whole.segments())
    assert shared(bucket) == mirrored(place) == mirrored(mate)
