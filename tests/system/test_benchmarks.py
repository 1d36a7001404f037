"""Every part of the benchmark on a handful of clips: both sides do the same work, and the figures can be read.

No time is asserted: machines are noisy.
"""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import soundfile
from matplotlib.text import Text

from benchmarks import __main__ as program
from benchmarks import (
    agreement,
    corpus,
    extraction,
    figures,
    loading,
    memory,
    plot,
    results,
    resuming,
    rows,
    serving,
    serving_probe,
    shares,
    table,
)
from pipeline.dataset import shards
from pipeline.dataset import table as dataset_table
from pipeline.extract import worker
from pipeline.serving.predictor import load_predictor
from tests.sounds import hiss, phrase

RATE = 48_000
CLIPS = 9


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Nine clips of one corpus, eight of them chosen, and next to nothing to do."""
    scratch = tmp_path_factory.mktemp("bench")
    folder = scratch / "RAVDESS/Actor_01"
    folder.mkdir(parents=True)
    for number in range(CLIPS):
        soundfile.write(
            folder / f"03-01-0{number % 8 + 1}-01-01-0{number // 8 + 1}-01.wav",
            phrase(number, 3.4, silence=0, rate=RATE) + hiss(round(3.4 * RATE), level=1e-3, seed=number),
            RATE,
        )
    taken = corpus.take("ravdess", folder.parent, scratch, clips=8, workers=1)
    return corpus.Job(
        corpora=(taken,), scratch=scratch, workers=1, rounds=2, rows=40, csv_rows=24, batches=4, sizes=(4, 20)
    )


def is_ratio(value):
    return 0 < value["lowest"] <= value["median"] < float("inf")


def test_the_clips_are_spread_over_the_corpus(job):
    assert corpus.count(job.first) == 8
    assert corpus.spread(9, 3).tolist() == [0, 3, 6]


def test_both_ways_make_the_same_rows(job):
    """But for noise, which is drawn, and log-mel, which ours rounds to steps of 0.03 dB."""
    piece = extraction.pieces(job.first, corpus.SAME)[0]
    own = worker.extract_clip(piece, job.first.folder, corpus.SAME)
    assert extraction.ours(worker.Batch((piece,)), folder=job.first.folder, settings=corpus.SAME) == 8
    other = extraction.theirs(job.first.folder / piece.path)
    assert len(other) == len(own["mfcc"].tensors) == len(own["logmel"].tensors) == 4
    for number, tolerance in ((0, 1e-3), (2, 0.5)):  # the original, and the pitched copy by librosa's float32 vocoder
        cepstral, mel = other[number]
        np.testing.assert_allclose(own["mfcc"].tensors[number].T, cepstral, atol=tolerance)
        np.testing.assert_allclose(own["logmel"].tensors[number].T, mel, atol=tolerance + 0.02)


def test_extraction_in_turn(job):
    found = extraction.measure(job)
    assert is_ratio(found["shards"])
    assert is_ratio(found["arrays"])
    assert found["clips"] == 8
    assert min(found["milliseconds_a_clip"].values()) > 0


def test_resuming_decodes_what_is_new_and_nothing_else(job):
    """The part itself refuses any other number of decoded clips."""
    found = resuming.measure(replace(job, rounds=1))
    for kind in ("call", "command"):
        assert is_ratio(found[kind]["cold_over_cached"])
        assert min(found[kind]["seconds"].values()) > 0
    with pytest.raises(AssertionError, match="0 clips were decoded, 1 were new"):
        resuming.call(job.first, job.scratch / "resuming/call", 1, job)


@pytest.mark.parametrize("name", rows.PAIRS)
def test_each_pair_makes_the_same(job, name):
    ours, theirs = rows.PAIRS[name]
    signal = rows.signals(job)[0]
    own, other = ours(signal), theirs(signal)
    if isinstance(own, dict):
        own = [own[view].T for view in ("mfcc", "logmel") if view in own]
    other = other if name.startswith("MFCC") else [other[0] if name == "trim" else other]
    for a, b in zip(own if isinstance(own, list) else [own], other, strict=True):
        b = b[: len(a)] if name == "resample" else b  # librosa appends a zero to a length that is no whole number
        np.testing.assert_allclose(a, b, atol=1e-3 if np.ndim(b) == 2 else 0.01 * np.abs(b).max())


def test_rows_in_turn(job):
    found = rows.measure(job)
    assert set(found) == set(rows.PAIRS)
    assert all(map(is_ratio, found.values()))


def test_shares_sum_to_one(job):
    found = shares.measure(job)
    for name in ("params.yaml", "published"):
        assert sum(found[name].values()) == pytest.approx(1, abs=0.01)
        assert min(found[name].values()) > 0
        assert {*found[name]} == {part for parts in figures.STEPS.values() for part in parts}


def test_a_step_within_a_step_counts_once():
    clock = shares.Clock()
    inner = clock.timed(lambda: sum(range(200_000)), "inner")
    outer = clock.timed(lambda: inner() and None, "outer")
    with clock.step("rest"):
        outer()
    assert clock.spent["inner"] > clock.spent["outer"] >= 0
    assert not clock.open


def test_loading_reads_the_same_rows_everywhere(job):
    found = loading.measure(job)
    assert all(is_ratio(each) for part in found.values() for name, each in part.items() if "_over_" in name)
    assert (found["batch"]["rows"], found["whole"]["rows"]) == (40, 24)
    path, lines = job.scratch / "loading/24.parquet", job.scratch / "loading/table.csv"
    every = dataset_table.open_table([path], job.scratch / "loading/unpacked").gather(np.arange(24))
    some = np.array([20, 3, 3, 11])
    np.testing.assert_array_equal(loading.out_of_parquet(*shards.open_shard(path), some), every[some])
    np.testing.assert_allclose(
        pd.read_csv(lines).to_numpy(), every.reshape(24, -1), rtol=1e-6, atol=2**-14
    )  # subnormals


def test_memory_is_seen_at_each_size(job):
    found = memory.measure(job)
    assert list(found["megabytes"]) == ["4", "20"]
    assert all(30 < peaks["main"] < 5000 for peaks in found["megabytes"].values())  # one worker is the main process
    crowd = pd.read_parquet(job.scratch / "memory/ravdess.parquet")
    assert crowd["samples_sha256"].nunique() == crowd["sha256"].nunique() == len(crowd) == 20


def test_agreement_is_counted_clip_by_clip(job):
    found = agreement.measure(job)
    for name in ("params.yaml", "published"):
        assert set(found[name]) == set(agreement.LIMITS)
        for each in found[name].values():
            assert 0 <= each["percentile_99"] <= each["largest"]
            assert each["share_beyond"] == 0


def test_serving_is_measured_in_each_format(job, monkeypatch):
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    for name, value in {"MANY": 3, "STREAM": 6.0, "COLD": 1, "TARGETS": ("onnx",)}.items():
        monkeypatch.setattr(serving, name, value)
    found = serving.measure(job)
    assert (found["clips"], found["stream_seconds"]) == (3, 6.0)
    assert list(found["formats"]) == ["keras", "onnx"]
    for each in found["formats"].values():
        assert all(0 < each[name] < 1000 for name in ("warm", "cold", "many", "stream"))
    assert is_ratio(found["formats"]["keras"]["notebook_over_warm"])
    assert len(list((job.scratch / "serving/many").iterdir())) == 3


@pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")  # what librosa.load imports
def test_notebooks_and_we_do_the_same_work(job, tmp_path):
    opened = load_predictor([serving.bundle(tmp_path / "keras")])
    clip = tmp_path / "clip.wav"
    serving.write(clip, serving.gathered(job), 3.0)
    assert soundfile.info(clip).frames == 3 * RATE
    theirs = serving_probe.notebook(clip, opened)()[0]
    ours = serving_probe.answer(clip, opened, opened.window_plan()).probabilities
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.fixture(scope="module")
def written():
    """Results as the parts give them."""
    ratio = {"median": 4.56, "lowest": 3.21}
    steps = {part: 1 / 12 for parts in figures.STEPS.values() for part in parts}
    gap = {"largest": 1.5e-5, "percentile_99": 1e-5, "limit": 1e-3, "share_beyond": 0.25}
    served = {"warm": 6.5, "cold": 4.2, "many": 12.3, "stream": 0.0301}
    case = {"cold": 9.0, "cached": 2.0, "one_added": 3.0}
    run = {"command": "python -m benchmarks", "date": "2026-01-01", "clips": {"ravdess": 1439}, "audio": "recorded"}
    return {
        "extraction": {"shards": ratio, "arrays": {"median": 1234.0, "lowest": 999.0}},
        "resuming": {kind: {"cold_over_cached": ratio, "seconds": case} for kind in ("call", "command")},
        "rows": dict.fromkeys(rows.PAIRS, ratio),
        "shares": {"params.yaml": steps, "published": steps, "clips": 8},
        "loading": {"batch": {"parquet_over_stored": ratio, "milliseconds": {"stored": 0.1}}},
        "memory": {"megabytes": {"1000": {"worker": 250.0, "main": 650.0}}},
        "agreement": {name: dict.fromkeys(agreement.LIMITS, gap) for name in ("params.yaml", "published")},
        "serving": {"formats": {"keras": {**served, "notebook_over_warm": ratio}, "onnx": served}},
        "machine": results.machine(),
        "runs": dict.fromkeys(program.PARTS, run),
    }


def test_the_tables_say_what_was_measured(written):
    text = table.markdown(written)
    assert "`python -m benchmarks`, 2026-01-01, 1,439 clips of ravdess: recorded" in text
    assert "| extraction, to arrays | the published way | **1,230 ×** | 999 × | 6.0 × |" in text
    assert "| extraction, all cached | the first run | **4.6 ×** | 3.2 × | 3.0 × |" in text
    assert "| peak memory of the main process, 1,000 clips | 650 MB | 600 MB |" in text
    assert "| write | 16.7 % | 16.7 % |" in text
    assert "| one clip, file to prediction | a notebook | **4.6 ×** | 3.2 × |  |" in text
    assert "| a second of a stream, one core | 0.0301 s | 0.1 s |" in text
    assert "| onnx | 6.5 ms | 4.2 s | 12.3 s | 0.030 |" in text
    assert "| log-mel, dB | 1.5e-05 | 1e-05 | 25 % |" in text
    lines = text.splitlines()
    tables = [(above, line) for above, line in pairwise(lines) if above[:2] == line[:2] == "| "]
    assert all(above.count("|") == line.count("|") for above, line in tables)


def test_parts_that_were_not_run_are_left_out(written):
    runs = {"runs": {"extraction": written["runs"]["extraction"]}}
    text = table.markdown(less := {name: written[name] for name in ("extraction", "machine")} | runs)
    assert "| librosa |" not in text
    assert "share of the time" not in text
    assert plot.draw(less).axes


def test_every_ratio_that_a_part_gives_is_in_the_table(written):
    assert {each.path.partition("/")[2] for each in figures.RATIOS if each.path.startswith("rows/")} == set(rows.PAIRS)
    assert {step for parts in figures.STEPS.values() for step in parts} == {*shares.STEPS, shares.REST}


def test_nothing_in_the_picture_is_cut_off_or_small(written):
    figure = plot.draw(written)
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 9
    ink = figure.get_tightbbox()  # inches
    assert min(ink.x0, ink.y0) >= 0
    assert ink.x1 <= figure.get_figwidth()
    assert ink.y1 <= figure.get_figheight()
    for axes in figure.axes:
        assert all(text.get_window_extent().x1 <= axes.bbox.x1 for text in axes.texts)


def test_the_demo_is_stamped(written):
    spoken = {part: run | {"audio": results.SYNTHETIC} for part, run in written["runs"].items()}
    assert "synthetic" in plot.draw(written | {"runs": spoken}).texts[0].get_text()
    assert not plot.draw(written).texts


def test_a_part_run_again_leaves_the_others_and_another_machine_none(written):
    new = {"rows": {"log-mel": 1}, "machine": written["machine"], "runs": {"rows": {"date": "later"}}}
    both = results.merge(written, new, tuple(program.PARTS))
    assert both["rows"] == {"log-mel": 1}
    assert both["extraction"] == written["extraction"]
    assert [run["date"] for run in both["runs"].values()].count("later") == 1
    alone = results.merge(written, new | {"machine": {"cores": 99}}, tuple(program.PARTS))
    assert set(alone) == {"rows", "machine", "runs"}


def test_the_page_takes_the_tables_in_and_keeps_its_words(written, tmp_path):
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n", encoding="utf-8")
    for _ in range(2):
        table.insert(written, page)
    text = page.read_text(encoding="utf-8")
    assert text == f"before\n{table.BEGIN}\n{table.markdown(written)}{table.END}\nafter\n"


def test_the_page_holds_the_tables_of_results_json():
    assert table.markdown(results.read()) in table.PAGE.read_text(encoding="utf-8")


def test_results_name_no_place():
    named = json.dumps(results.machine()) + json.dumps(results.read())
    assert "/" not in named
    assert set(results.machine()) == {"processor", "cores", "memory_gigabytes", "system", "python", "packages"}
