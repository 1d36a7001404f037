"""Figures of one recording for the page: waveform, spectrogram and, for predictions in windows, the timeline."""

import base64
import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline.audio import decode
from pipeline.core.plotting import Axes, Figure, FuncFormatter, MaxNLocator, mpl, to_rgba_array
from pipeline.report import style
from pipeline.report.style import INK, STYLE
from pipeline.serving.inputs import InputSettings
from pipeline.serving.results import Prediction, SpanPrediction
from pipeline.signal import views
from pipeline.signal.settings import LogMel
from pipeline.tools import sheet
from pipeline.tools.inspect import analysed_span

Array = npt.NDArray[np.float64]
WIDTH = 5.0  # inches: less than in the report, so that text stays legible on a phone
WAVE_HEIGHT, SPECTROGRAM_HEIGHT, LANE_HEIGHT, EXTRA_HEIGHT = (
    0.8,
    1.35,
    0.25,
    0.75,
)  # inches of height; LANE for each emotion
MAX_FRAMES = 1600  # of a spectrogram, about: more than the figure has pixels
SILENCE_COLOUR = "#dedede"
COLOURS = ("#D55E00", "#E69F00", "#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#8C7A00", INK, "#8856A7")  # of emotions
MINUTES_FROM = 90.0  # s from which the time axis is in minutes


def draw_recording(recording: decode.Recording, settings: InputSettings, prediction: Prediction) -> Figure:
    """Draw waveform, spectrogram and timeline of a recording on one time axis."""
    with mpl.rc_context(STYLE):  # changes the whole process: call it from one thread at a time
        return _draw_panels(used_waveform(recording, settings, prediction), settings, prediction)


def used_waveform(recording: decode.Recording, settings: InputSettings, prediction: Prediction) -> sheet.SheetRecording:
    """Return the waveform and the part given to the model: all of it in windows, else as trimmed and cropped."""
    audio = settings.settings.audio
    signal = decode.mono_signal(recording, audio.sample_rate)
    whole = prediction.timeline or prediction.probabilities is None
    kept = (0.0, prediction.seconds) if whole else analysed_span(signal, audio)
    return sheet.SheetRecording(name="", facts=(), waveform=signal, rate=audio.sample_rate, kept=kept)


def _draw_panels(whole: sheet.SheetRecording, settings: InputSettings, prediction: Prediction) -> Figure:
    lanes = LANE_HEIGHT * len(prediction.labels) if prediction.timeline else 0.0
    heights = [WAVE_HEIGHT, SPECTROGRAM_HEIGHT, *([lanes] if lanes else [])]
    figure = Figure(figsize=(WIDTH, sum(heights) + EXTRA_HEIGHT), layout="constrained", facecolor="white")
    wave, heat, *rest = figure.subplots(len(heights), height_ratios=heights, squeeze=False)[:, 0]
    sheet.draw_wave(wave, whole, whole.whole)
    wave.set_ylabel("amplitude")
    _draw_spectrogram(heat, whole, settings.settings.features.logmel)
    for axes in rest:
        draw_timeline(axes, prediction.timeline, prediction.labels)
    sheet.share_time_axis([wave, heat, *rest], whole.whole)
    if whole.whole[1] >= MINUTES_FROM:
        _label_minutes([wave, heat, *rest])
    figure.align_ylabels()
    return figure


def _draw_spectrogram(axes: Axes, whole: sheet.SheetRecording, settings: LogMel) -> None:
    """Draw mel bands in dB over Hz; a long recording gets a longer hop."""
    hop = min(settings.n_fft, max(settings.hop, len(whole.waveform) // MAX_FRAMES))
    config = replace(settings, hop=hop, normalise=None, limit=None)
    values = views.compute_views(whole.waveform, whole.rate, {"logmel": config})["logmel"]
    bins = dict(zip(views.bin_names(config), values.T, strict=True))
    sheet.draw_heatmap(axes, sheet.spectrogram_panel(bins, config, whole.rate), 0.0)


def draw_timeline(axes: Axes, timeline: Sequence[SpanPrediction], labels: Sequence[str]) -> None:
    """Draw a lane for each emotion, the stronger in its colour the likelier; grey where nobody speaks."""
    edges = _window_borders(timeline)
    axes.pcolormesh(edges, np.arange(len(labels) + 1) - 0.5, timeline_colours(timeline, len(labels)))
    for lane in range(1, len(labels)):
        axes.axhline(lane - 0.5, color="white", lw=2)
    every = zip(edges[:-1], edges[1:], timeline, strict=True)
    silent = [(start, end - start) for start, end, each in every if each.probabilities is None]
    axes.broken_barh(silent, (-0.5, len(labels)), color=SILENCE_COLOUR, lw=0, zorder=3)
    axes.set(ylim=(len(labels) - 0.5, -0.5))
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)


def timeline_colours(timeline: Sequence[SpanPrediction], lanes: int) -> Array:
    """Mix the colour of each lane with white by its probabilities. Shape: ``(lanes, windows, 3)``, RGB."""
    colours = to_rgba_array([COLOURS[lane % len(COLOURS)] for lane in range(lanes)])[:, None, :3]
    shares = np.array([np.zeros(lanes) if each.probabilities is None else each.probabilities for each in timeline])
    mixed: Array = 1 - shares.T[..., None] * (1 - colours)
    return mixed


def _window_borders(timeline: Sequence[SpanPrediction]) -> list[float]:
    """Divide the time between overlapping windows: each gets the time nearest to its middle, in s.

    >>> spans = [(0, 3), (1, 4), (1.5, 4.5)]
    >>> _window_borders([SpanPrediction(start, end, None) for start, end in spans])
    [0.0, 2.0, 2.75, 4.5]
    """
    middles = np.array([(each.start + each.end) / 2 for each in timeline])
    inner = (middles[:-1] + middles[1:]) / 2
    return [float(timeline[0].start), *inner.tolist(), float(timeline[-1].end)]


def _label_minutes(column: Sequence[Axes]) -> None:
    """Label the time axis in minutes and seconds."""
    for axes in column:
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 1.5, 3, 6, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda second, _: f"{int(second) // 60}:{int(second) % 60:02d}"))
    column[-1].set_xlabel("minutes")


def data_url(figure: Figure) -> str:
    """Encode a figure as a data URL, so that there is no file that others could request."""
    out = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(out, format="png", dpi=style.DPI, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
