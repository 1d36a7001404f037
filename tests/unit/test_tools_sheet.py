"""A sheet shows the arrays it was given, at the seconds and frequencies they belong to, and nothing hides anything."""

import itertools
import subprocess
import sys
from dataclasses import replace

import librosa
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text

from pipeline.report import figures, style
from pipeline.signal.settings import LogMel, Mfcc
from pipeline.tools import sheet

RATE = 16_000
STEP = 0.02
RNG = np.random.default_rng(7)
NOISE = (0.3 * RNG.standard_normal(4 * RATE)).clip(-0.9, 0.8).astype(np.float32)
SOUND = sheet.SheetRecording(
    name="clip.wav", facts=("48 kHz · stereo", "analysed: 1.50 s"), waveform=NOISE, rate=RATE, kept=(1.0, 2.5)
)
TIGHT = replace(SOUND, kept=(0.25, 3.75))  # most of it was kept: no strip
HEAT = sheet.HeatmapPanel(label="log-mel, Hz", unit="dB", values=RNG.normal(size=(76, 5)), step=STEP, ticks={"1k": 1.5})
SIGNED = sheet.HeatmapPanel(label="MFCC", unit="dB", values=RNG.normal(size=(76, 3)) * 9, step=STEP, limit=4.0)
LINE = sheet.LinePanel(label="RMS, dB", values=RNG.normal(size=76), step=STEP)
SHARE = sheet.LinePanel(
    label="ZCR", values=RNG.uniform(0.1, 0.3, 76), step=STEP, write=lambda share: f"{100 * share:g} %", low=0
)
PANELS = (HEAT, SIGNED, LINE, SHARE)
NAMES = [panel.label for panel in PANELS]


def named(figure):
    """The panels by their labels, scales left out."""
    return {axes.get_ylabel(): axes for axes in figure.axes if axes.get_ylabel() not in {"dB", ""}}


def strip(figure):
    return [axes for axes in figure.axes if not axes.get_ylabel()]


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def outlines(axes):
    """What is filled: colour -> (first second, lowest, last second, highest)."""
    found = {}
    for filled in axes.collections:
        if isinstance(filled, PolyCollection):
            corners = np.concatenate([path.vertices for path in filled.get_paths()])
            found[to_hex(filled.get_facecolor()[0])] = (*corners.min(axis=0), *corners.max(axis=0))
    return found


def band(axes):
    """The seconds of the band behind the waveform."""
    (patch,) = (patch for patch in axes.patches if to_hex(patch.get_facecolor()) == sheet.BAND)
    return patch.get_x(), patch.get_x() + patch.get_width()


def drawn(figure):
    figure.draw_without_rendering()
    return figure


@pytest.mark.parametrize(("given", "window"), [(SOUND, (1.0, 2.5)), (TIGHT, (0.0, 4.0))])
def test_all_panels_share_the_seconds_and_only_the_last_writes_them(given, window):
    figure = drawn(sheet.draw_sheet(given, PANELS))
    shared = named(figure)
    assert list(shared) == ["amplitude", *NAMES]
    assert all(axes.get_xlim() == pytest.approx(window) for axes in shared.values())
    written = [name for name, axes in shared.items() if axes.xaxis.get_tick_params()["labelbottom"]]
    assert written == ["ZCR"]
    assert [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()] == ["seconds"]
    edges = {(round(axes.get_position().x0, 6), round(axes.get_position().x1, 6)) for axes in shared.values()}
    assert len(edges) == 1  # scales beside some of them do not shift them


def test_a_strip_shows_where_the_kept_part_is_unless_nearly_all_was_kept():
    (top,) = strip(sheet.draw_sheet(SOUND, PANELS))
    assert top.get_xlim() == (0, 4)
    assert band(top) == (1.0, 2.5)
    assert not strip(sheet.draw_sheet(TIGHT, PANELS))
    assert band(named(sheet.draw_sheet(TIGHT, PANELS))["amplitude"]) == (0.25, 3.75)


def test_the_lines_of_the_strip_lead_to_the_corners_of_the_waveform():
    figure = drawn(sheet.draw_sheet(SOUND, PANELS))
    top, wave = strip(figure)[0], named(figure)["amplitude"]
    first, last = (line for line in figure.artists if isinstance(line, sheet.ConnectionPatch))
    for line, second, corner in ((first, 1.0, (0, 1)), (last, 2.5, (1, 1))):
        start, end = (line.coords1.transform(line.xy1), line.coords2.transform(line.xy2))
        assert top.transData.inverted().transform(start)[0] == pytest.approx(second)
        assert end == pytest.approx(wave.transAxes.transform(corner))


@pytest.mark.parametrize("given", [SOUND, TIGHT])
def test_the_waveform_is_drawn_to_its_peaks_and_what_was_kept_in_blue(given):
    figure = sheet.draw_sheet(given, PANELS)
    wave = (strip(figure) or [named(figure)["amplitude"]])[0]
    every, kept = outlines(wave)[sheet.GREY], outlines(wave)[style.BLUE.lower()]
    part = NOISE[round(given.kept[0] * RATE) : round(given.kept[1] * RATE)]
    assert every == pytest.approx((0, NOISE.min(), 4, NOISE.max()), abs=4 / sheet.OUTLINE)
    assert kept == pytest.approx((given.kept[0], part.min(), given.kept[1], part.max()), abs=4 / sheet.OUTLINE)
    low, high = wave.get_ylim()
    assert low == -high
    assert high > np.abs(NOISE).max()


def test_no_sample_is_lost_in_the_outline():
    waveform = np.zeros(1_000_003, np.float32)
    waveform[[17, 500_001, 999_999]] = 0.5, -0.7, 0.9
    times, low, high = sheet.waveform_outline(waveform, RATE, (0, len(waveform) / RATE))
    assert len(times) == sheet.OUTLINE
    assert (high.max(), low.min(), (high > 0).sum(), (low < 0).sum()) == pytest.approx((0.9, -0.7, 2, 1))
    assert times[low.argmin()] == pytest.approx(500_001 / RATE, abs=len(waveform) / RATE / sheet.OUTLINE)
    few = sheet.waveform_outline(waveform, RATE, (16 / RATE, 19 / RATE))
    assert few[0].tolist() == [16 / RATE, 17 / RATE, 18 / RATE]
    assert few[2].tolist() == [0, 0.5, 0]


def test_colours_are_the_values_at_their_seconds_and_rows():
    axes = named(sheet.draw_sheet(SOUND, PANELS))
    for panel in (HEAT, SIGNED):
        (image,) = axes[panel.label].images
        np.testing.assert_array_equal(image.get_array(), panel.values.T.astype(np.float32))
        assert image.origin == "lower"
        left, right, bottom, top = image.get_extent()
        frames, rows = panel.values.shape
        assert (left, right) == pytest.approx(
            (1.0 - STEP / 2, 1.0 + (frames - 0.5) * STEP)
        )  # the first one's centre: 1 s
        assert (bottom, top) == (-0.5, rows - 0.5)
    assert axes["log-mel, Hz"].get_yticks().tolist() == [1.5]
    assert labels(axes["log-mel, Hz"].yaxis) == ["1k"]


def test_a_scale_stands_beside_each_panel_of_colours():
    figure = drawn(sheet.draw_sheet(SOUND, PANELS))
    scales = [axes for axes in figure.axes if axes.get_ylabel() == "dB"]
    assert len(scales) == 2
    for scale, panel in zip(scales, (HEAT, SIGNED), strict=True):
        box, beside = scale.get_position(), named(figure)[panel.label].get_position()
        assert (box.y0, box.y1) == pytest.approx((beside.y0, beside.y1), abs=0.01)
        assert box.x0 > beside.x1
    assert scales[0].get_ylim() == pytest.approx((HEAT.values.min(), HEAT.values.max()))
    assert scales[1].get_ylim() == (-4, 4)


def test_half_precision_is_drawn_too():
    values = HEAT.values.astype(np.float16)
    axes = named(drawn(sheet.draw_sheet(SOUND, [replace(HEAT, values=values)])))
    np.testing.assert_array_equal(axes["log-mel, Hz"].images[0].get_array(), values.T)


def test_curves_are_the_values_at_their_seconds():
    axes = named(drawn(sheet.draw_sheet(SOUND, PANELS)))
    for panel in (LINE, SHARE):
        (curve,) = axes[panel.label].lines
        np.testing.assert_array_equal(curve.get_ydata(), panel.values)
        np.testing.assert_allclose(curve.get_xdata(), 1.0 + STEP * np.arange(76))
    assert axes["ZCR"].get_ylim()[0] == 0
    assert axes["ZCR"].get_ylim()[1] > SHARE.values.max()
    assert labels(axes["ZCR"].yaxis)[0] == "0 %"
    assert any(label.startswith("−") for label in labels(axes["RMS, dB"].yaxis))


def texts(figure):
    """All that is written, and where it ends up in pixels. Ticks beyond the limits of an axis have unwritten labels."""
    figure.draw_without_rendering()
    axes = [(axis, axis.get_view_interval()) for one in figure.axes for axis in (one.xaxis, one.yaxis)]
    ticks = [(tick, low, high) for axis, (low, high) in axes for tick in axis.get_major_ticks()]
    hidden = {
        id(label) for tick, low, high in ticks if not low <= tick.get_loc() <= high for label in tick.get_children()
    }
    found = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible() and id(text) not in hidden]
    return {text: text.get_window_extent() for text in found}


@pytest.mark.parametrize(
    "given", [SOUND, TIGHT, replace(SOUND, kept=(1.0, 1.01)), replace(SOUND, waveform=NOISE / 4000)]
)
@pytest.mark.parametrize("stamp", ["", "DEMO: synthetic speech"])
def test_no_text_covers_another_or_leaves_the_sheet(given, stamp):
    figure = sheet.draw_sheet(replace(given, name="n" * 90), PANELS, stamp=stamp)
    found = texts(figure)
    assert len(found) > 25
    width, height = figure.get_size_inches() * figure.dpi
    for text, box in found.items():
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
    for (one, box), (two, other) in itertools.combinations(found.items(), 2):
        assert not box.overlaps(other), (one, two)


def test_the_name_may_hold_any_sign():
    for name in ("$x^$.wav", "a_b^{c.wav", "%s {}.wav", "\\frac.wav"):
        figure = drawn(sheet.draw_sheet(replace(SOUND, name=name), PANELS))
        assert name in {axes.get_title(loc="left") for axes in figure.axes}


@pytest.mark.parametrize("size", [1, 2, RATE])
@pytest.mark.parametrize("kept", [(0.0, 0.0), None])
def test_next_to_nothing_can_be_drawn(size, kept):
    """A recording of one sample, silence, nothing kept of it: one frame is what there is."""
    end = size / RATE
    given = replace(SOUND, waveform=np.zeros(size, np.float32), kept=kept or (0.0, end))
    one = (
        replace(HEAT, values=np.zeros((1, 5))),
        replace(SIGNED, values=np.zeros((1, 3))),
        replace(LINE, values=[0.0]),
    )
    axes = named(drawn(sheet.draw_sheet(given, one)))
    assert axes["amplitude"].get_xlim() == (0, end)


def test_the_same_picture_is_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        figures.save_figure(sheet.draw_sheet(SOUND, PANELS), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_backend_is_chosen():
    script = "import sys; from pipeline.tools import sheet; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


ROWS = {f"mel_{band:03d}": RNG.normal(size=7) for band in range(1, 65)}
CEPSTRAL = {"zcr": RNG.uniform(size=7), "rms": np.float32([1, 0.1, 0.01, 0, 1e-9, 0.5, 0.25])} | {
    f"{kind}_{number:02d}": scale * RNG.normal(size=7)
    for kind in ("mfcc", "delta")
    for number, scale in zip(range(1, 21), [900, *[9] * 19], strict=True)
}


@pytest.mark.parametrize("config", [LogMel(), LogMel(n_mels=128, n_fft=2048, fmin=60, fmax=7600)])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_frequencies_stand_at_the_bands_whose_centres_they_are(config, rate):
    """The centres of the bands by librosa."""
    ticks = sheet.hertz_ticks(config, rate)
    top = rate / 2 if config.fmax is None else config.fmax
    centres = librosa.mel_frequencies(config.n_mels + 2, fmin=config.fmin, fmax=top)[1:-1]
    assert len(ticks) >= 5
    for label, row in ticks.items():
        hertz = float(label.removesuffix("k")) * (1000 if label.endswith("k") else 1)
        assert -0.5 <= row <= config.n_mels - 0.5
        if centres[0] <= hertz <= centres[-1]:
            assert np.interp(row, range(config.n_mels), centres) == pytest.approx(hertz, rel=0.002)
    rows = sorted(ticks.values())
    assert min(np.diff(rows)) > 0.1 * config.n_mels
    assert next(iter(ticks)) == f"{config.fmin:g}"


def test_a_spectrogram_is_its_rows_in_order():
    heat = sheet.spectrogram_panel(ROWS, LogMel(hop=400), 16_000)
    np.testing.assert_array_equal(heat.values, np.stack([ROWS[f"mel_{band:03d}"] for band in range(1, 65)], axis=1))
    assert heat.step == 0.025


def test_the_other_view_becomes_coefficients_level_and_crossings():
    heat, level, crossings = sheet.cepstral_panels(CEPSTRAL, Mfcc(hop=320), 16_000)
    assert [panel.label for panel in (heat, level, crossings)] == ["MFCC", "RMS, dB", "ZCR"]
    assert heat.values.shape == (7, 20)  # derivatives are no coefficients
    np.testing.assert_array_equal(heat.values[:, 4], CEPSTRAL["mfcc_05"])
    assert heat.ticks == {"1": 0, "5": 4, "10": 9, "15": 14, "20": 19}
    assert level.values.tolist() == pytest.approx([0, -20, -40, -120, -120, -6.0206, -12.0412], abs=1e-4)
    np.testing.assert_array_equal(crossings.values, CEPSTRAL["zcr"])
    assert crossings.write(0.25) == "25 %"
    assert {heat.step, level.step, crossings.step} == {0.02}


def test_the_first_coefficient_does_not_take_the_colours():
    heat, *_ = sheet.cepstral_panels(CEPSTRAL, Mfcc(), 16_000)
    others = np.abs(heat.values[:, 1:])
    assert np.median(others) < heat.limit <= others.max() < np.abs(heat.values[:, 0]).max()


@pytest.mark.parametrize("count", [1, 2, 3, 13, 40])
def test_coefficients_are_numbered_from_one(count):
    rows = {f"mfcc_{number:02d}": RNG.normal(size=7) for number in range(1, count + 1)}
    (heat,) = sheet.cepstral_panels(rows, Mfcc(n_mfcc=count), 16_000)
    assert all(row == int(label) - 1 for label, row in heat.ticks.items())
    assert max(heat.ticks.values()) < count
    assert heat.ticks["1"] == 0
    assert len(heat.ticks) <= 7
    assert heat.limit > 0


def test_what_is_switched_off_is_not_drawn():
    chroma = {f"chroma_{name}": RNG.uniform(size=7) for name in "abcdefghijkl"}
    config = Mfcc(mfcc=False, chroma=True)
    drawn_ones = sheet.cepstral_panels({"rms": CEPSTRAL["rms"]} | chroma, config, 16_000)
    assert [panel.label for panel in drawn_ones] == ["chroma", "RMS, dB"]
    np.testing.assert_array_equal(drawn_ones[0].values[:, 2], chroma["chroma_c"])
