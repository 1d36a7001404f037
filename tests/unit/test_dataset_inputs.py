"""What models are fed: patches, cells or functionals, by each speaker's own mean and deviation where asked for."""

import numpy as np
import pandas as pd
import pytest

from pipeline.dataset import inputs, shards
from pipeline.dataset import table as dataset_table
from pipeline.dataset.functionals import clip_functionals
from pipeline.dataset.inputs import INPUT_KINDS, ModelInputs

SHAPE = (20, 5)
SPEAKERS = ("own/ann", "own/ben", "")
LAYOUT = shards.Layout(
    view="mfcc", shape=SHAPE, dtype="float32", unit="dB", rows=tuple("abcde"), identity={"view": "mfcc"}, augment={}
)


def clips():
    """Ten clips of two people and of nobody, each with a copy; some train, some test."""
    rows = []
    for number in range(30):
        for variant in ("original", "noise"):
            role = "train" if number < 18 else "test"
            rows.append((f"own/{number}", variant, 0, role, "sad", "own", SPEAKERS[number % 3]))
    return pd.DataFrame(rows, columns=["clip_id", "variant", "fold", "role", "label", "corpus", "speaker"])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Speakers have levels and spreads of their own; copies are louder."""
    folder, frame = tmp_path_factory.mktemp("inputs"), clips()
    rng = np.random.default_rng(0)
    level = {"own/ann": (10, 2), "own/ben": (-30, 7), "": (0, 1)}
    tensors = [rng.normal(*level[row.speaker], SHAPE) + 5 * (row.variant == "noise") for row in frame.itertuples()]
    valid = np.int32([SHAPE[0] - number // 2 % 6 for number in range(len(frame))])
    rows = shards.FeatureRows(
        clip_id=list(frame["clip_id"]),
        variant=list(frame["variant"]),
        key=[str(number) for number in range(len(frame))],
        valid_frames=valid,
        tensors=np.array(tensors, np.float32),
    )
    shards.write_shard(folder / "own.parquet", LAYOUT, [rows])
    return dataset_table.open_table([folder / "own.parquet"], folder / "cache")


def numbers_of(table, speaker, variant="original"):
    frame = clips()
    return table.find(frame[(frame["speaker"] == speaker) & (frame["variant"] == variant)])


def sound(patches, valid):
    return np.concatenate([patch[:count] for patch, count in zip(patches, valid, strict=True)])


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_each_speaker_has_mean_zero_and_deviation_one(table, speaker):
    numbers = numbers_of(table, speaker)
    rows = sound(ModelInputs(table, "bins").by_speaker(clips()).gather(numbers), table.valid_frames[numbers])
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-4)


def test_copies_are_measured_by_the_originals(table):
    numbers = numbers_of(table, "own/ben", "noise")
    rows = sound(ModelInputs(table, "bins").by_speaker(clips()).gather(numbers), table.valid_frames[numbers])
    assert rows.mean() == pytest.approx(5 / 7, abs=0.15)


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_functionals_are_standardised_as_vectors(table, speaker):
    found = ModelInputs(table, "functionals").by_speaker(clips()).gather(numbers_of(table, speaker))
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=1e-2)


def test_cells_are_standardised_one_by_one(table):
    found = ModelInputs(table, "cells").by_speaker(clips()).gather(numbers_of(table, "own/ann"))
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=1e-3)


def test_who_speaks_is_all_that_is_looked_at(table):
    """Neither labels nor roles nor the order of the rows change what a clip becomes."""
    frame = clips()
    other = frame.assign(label="happy", role="train").sample(frac=1, random_state=3)
    one, two = (ModelInputs(table, "bins").by_speaker(each).gather(np.arange(60)) for each in (frame, other))
    np.testing.assert_array_equal(one, two)


def test_rows_that_are_there_twice_count_once(table):
    frame = clips()
    twice = pd.concat([frame, frame[frame["speaker"] == "own/ann"].head(6)])
    one, two = (ModelInputs(table, "bins").by_speaker(each).gather(np.arange(60)) for each in (frame, twice))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("kind", INPUT_KINDS)
def test_without_speakers_the_rows_are_as_stored(table, kind):
    numbers = np.array([7, 3, 3])
    stored = table.gather(numbers)
    wanted = clip_functionals(stored, table.valid_frames[numbers]) if kind == "functionals" else stored
    np.testing.assert_array_equal(ModelInputs(table, kind).gather(numbers), wanted)


def test_statistics_are_of_what_is_fed(table):
    numbers = np.arange(60)
    raw, valid = table.gather(numbers), table.valid_frames[numbers]
    by_kind = {"bins": sound(raw, valid), "cells": raw, "functionals": clip_functionals(raw, valid)}
    for kind, values in by_kind.items():
        found = ModelInputs(table, kind).measure(numbers)
        np.testing.assert_allclose(found.mean, values.mean(axis=0, dtype=float), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.variance, values.var(axis=0, dtype=float), rtol=1e-3, atol=1e-4)


def test_no_clips_are_no_rows(table):
    assert ModelInputs(table, "functionals").gather(np.array([], np.int64)).shape == (0, 20)


def test_neutral_statistics_change_nothing():
    found = inputs.neutral_statistics(3)
    assert (found.mean.tolist(), found.variance.tolist()) == ([0, 0, 0], [1, 1, 1])
