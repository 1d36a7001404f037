"""Rows of a shard as float32: NumPy's widening, but for the numbers that float16 can hardly hold."""

import threading

import numpy as np

from pipeline.dataset import shards
from pipeline.dataset import table as dataset_table

LAYOUT = shards.Layout(
    view="logmel", shape=(2, 4), dtype="float16", unit="dB", rows=("a", "b", "c", "d"), identity={}, augment={}
)
VALUES = np.float16([[[2**-14, -(2**-14), 2**-15, -(2**-24)], [65504, -80.06, 0, 1 / 3]]])


def test_float16_is_widened_exactly_and_subnormal_numbers_are_zero_in_every_thread(tmp_path):
    rows = shards.FeatureRows(
        clip_id=["x/1"], variant=["original"], key=["k"], valid_frames=np.int32([2]), tensors=VALUES
    )
    shards.write_shard(tmp_path / "x.parquet", LAYOUT, [rows])
    table = dataset_table.open_table([tmp_path / "x.parquet"], tmp_path / "cache")
    found = [table.gather(np.array([0]))]
    thread = threading.Thread(target=lambda: found.append(table.gather(np.array([0]))))
    thread.start()
    thread.join()
    expected = VALUES.astype(np.float32)
    expected[0, 0, 2:] = 0
    for values in found:
        np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(table.stored(np.array([0])), VALUES)
