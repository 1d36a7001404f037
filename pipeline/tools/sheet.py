"""Pictures of one clip: its waveform and its views on one time axis."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.plotting import (
    Axes,
    AxesImage,
    ConnectionPatch,
    Figure,
    FuncFormatter,
    MaxNLocator,
    get_colormap,
    mpl,
)
from pipeline.report import style
from pipeline.report.style import BLUE, INK, SKY, SOFT, STYLE
from pipeline.signal import stft
from pipeline.signal.settings import MelBands

Array = npt.NDArray[Any]
STRIP, WAVE, HEAT, LINE = 0.36, 0.85, 1.4, 0.7  # inches of height
NAME = 5.2  # inches of the longest title
OUTLINE = 1600  # steps of the outline of a waveform, more than the picture has pixels
WHOLE = 0.8  # if less than this share of the recording is analysed, the panels show only that part
GREY, BAND, BLANK = (
    "#b3b3b3",
    "#dceefa",
    "#f3f3f3",
)  # rest of the recording, background of the analysed part, empty axes
PADS = {"h_pad": 0.045, "w_pad": 0.05, "hspace": 0.0, "wspace": 0.0}  # the first two in inches
TICKS = 20  # points, height of the numbers above the strip
QUIET = 1e-4  # least amplitude on the axis of a waveform


@dataclass(frozen=True, kw_only=True)
class HeatmapPanel:
    """A panel with colours: ``values`` of shape ``(frames, bins)``, the first bin at the bottom."""

    label: str
    unit: str
    values: Array
    step: float  # s between frames; the first one is centred at the start of the analysed part
    ticks: Mapping[str, float] = field(default_factory=dict)  # label -> bin
    limit: float | None = None  # colours range from -limit to limit, white at 0; None: over the values


@dataclass(frozen=True, kw_only=True)
class LinePanel:
    """A panel with one curve: ``values`` of shape ``(frames,)``."""

    label: str
    values: Array
    step: float  # s
    write: Callable[[float], str] = "{:g}".format  # formats numbers on the axis
    low: float | None = None  # lower end of the axis; None: by the values


@dataclass(frozen=True, kw_only=True)
class SheetRecording:
    """A recording: ``waveform`` of shape ``(samples,)`` with full scale 1, and the part of it that is analysed."""

    name: str  # of the file
    facts: Sequence[str]  # lines below the name
    waveform: Array
    rate: int  # Hz
    kept: tuple[float, float]  # start and end of the analysed part in s

    @property
    def whole(self) -> tuple[float, float]:
        """Start and end of the recording in s."""
        return 0.0, len(self.waveform) / self.rate

    @property
    def zoomed(self) -> bool:
        """Whether the analysed part is so short that the panels show nothing else."""
        return 0 < self.kept[1] - self.kept[0] < WHOLE * self.whole[1]


@mpl.rc_context(STYLE | {f"figure.constrained_layout.{name}": pad for name, pad in PADS.items()})
def draw_sheet(sound: SheetRecording, panels: Sequence[HeatmapPanel | LinePanel], *, stamp: str = "") -> Figure:
    """Draw a recording and its panels one below the other on one time axis, in seconds of the recording.

    If only a small part is analysed, the panels show that part, and a strip on top shows where in the recording it is.

    Args:
        sound: the recording.
        panels: views of its analysed part.
        stamp: text of the band above the picture, "" for none.
    """
    strip, window = (1, sound.kept) if sound.zoomed else (0, sound.whole)
    heights = [STRIP] * strip + [WAVE] + [HEAT if isinstance(panel, HeatmapPanel) else LINE for panel in panels]
    figure = style.empty_figure(sum(heights) + 0.12 * len(heights) + 1.2, stamp=stamp)
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=[1, 0.02])
    column = [figure.add_subplot(grid[row, 0]) for row in range(len(heights))]
    wave, *others = column[strip:]
    draw_wave(wave, sound, window)
    wave.set_ylabel("amplitude")
    for row, (axes, panel) in enumerate(zip(others, panels, strict=True), strip + 1):
        if isinstance(panel, HeatmapPanel):
            image = draw_heatmap(axes, panel, sound.kept[0])
            beyond = "both" if panel.limit else "neither"
            figure.colorbar(image, cax=figure.add_subplot(grid[row, 1]), label=panel.unit, extend=beyond)
        else:
            _draw_line(axes, panel, sound.kept[0])
    share_time_axis([wave, *others], window)
    if strip:
        _draw_strip(column[0], sound, wave)
    _write_head(column[0], sound, lift=TICKS * strip)
    figure.align_ylabels()
    return figure


def share_time_axis(column: Sequence[Axes], window: tuple[float, float]) -> None:
    """Give all panels the same time axis, labelled below the last one."""
    for axes in column:
        axes.set_xlim(*window)
        axes.tick_params(axis="x", labelbottom=axes is column[-1])
    column[-1].set_xlabel("seconds")


def _write_head(axes: Axes, sound: SheetRecording, *, lift: float) -> None:
    """Write name and facts ``lift`` points above the axes; a name may hold any character, including dollar signs."""
    title = axes.set_title(sound.name, pad=lift + 10 + 15 * len(sound.facts), parse_math=False)
    for length in range(len(sound.name), 8, -1):
        if title.get_window_extent().width <= NAME * axes.figure.dpi:
            break
        title.set_text(_shorten_name(sound.name, length))
    text = axes.annotate("\n".join(sound.facts), (0, 1), (0, lift + 7), "axes fraction", "offset points")
    text.set(color=SOFT, linespacing=1.4)
    text.set_in_layout(False)  # a long line may extend above the colour bars


def _shorten_name(name: str, length: int) -> str:
    """Abbreviate a name in its middle.

    >>> _shorten_name("2024-05-17 interview with a neighbour.wav", 19)
    '2024-05-1…hbour.wav'
    """
    return name if len(name) <= length else f"{name[: length // 2]}…{name[length // 2 + 1 - length :]}"


def draw_wave(axes: Axes, sound: SheetRecording, window: tuple[float, float]) -> None:
    """Draw the outline of the recording, the analysed part in colour."""
    times, low, high = waveform_outline(sound.waveform, sound.rate, window)
    kept = (times >= sound.kept[0]) & (times < sound.kept[1])
    peak = 1.08 * max(float(np.abs([low, high]).max()), QUIET)
    axes.axvspan(*sound.kept, color=BAND, lw=0, zorder=0)
    axes.fill_between(times, low, high, color=GREY, lw=0.6)
    axes.fill_between(times, low, high, where=kept.tolist(), color=BLUE, lw=0.6)
    axes.set_ylim(-peak, peak)
    axes.yaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    axes.yaxis.set_major_formatter(_number_formatter("{:g}".format))


def _draw_strip(axes: Axes, sound: SheetRecording, below: Axes) -> None:
    """Draw the whole recording small, with lines from the analysed part to the panel ``below`` that shows it."""
    draw_wave(axes, sound, sound.whole)
    axes.set(xlim=sound.whole, yticks=[])
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    axes.spines["top"].set_visible(True)
    for second, corner in zip(sound.kept, (0, 1), strict=True):
        line = ConnectionPatch((second, 0), (corner, 1), axes.get_xaxis_transform(), below.transAxes, color=SKY)
        line.set_in_layout(False)
        axes.figure.add_artist(line)


def waveform_outline(waveform: Array, rate: int, window: tuple[float, float]) -> tuple[Array, Array, Array]:
    """Return times in s, lowest and highest sample of at most `OUTLINE` equal steps, each of shape ``(steps,)``.

    >>> [column.tolist() for column in waveform_outline(np.float32([0, 1, -1, 0.5]), 2, (0, 2))]
    [[0.0, 0.5, 1.0, 1.5], [0.0, 1.0, -1.0, 0.5], [0.0, 1.0, -1.0, 0.5]]
    """
    first, last = (round(end * rate) for end in window)
    part = waveform[first:last]
    starts = np.unique(np.linspace(0, len(part), OUTLINE, endpoint=False).astype(int))
    return (first + starts) / rate, np.minimum.reduceat(part, starts), np.maximum.reduceat(part, starts)


def draw_heatmap(axes: Axes, panel: HeatmapPanel, start: float) -> AxesImage:
    frames, bins = panel.values.shape
    extent = (start - panel.step / 2, start + (frames - 0.5) * panel.step, -0.5, bins - 0.5)
    look: dict[str, Any] = {
        "aspect": "auto",
        "origin": "lower",
        "interpolation": "nearest",
        "cmap": get_colormap("magma"),
    }
    if panel.limit is not None:
        look |= {"cmap": get_colormap("RdBu_r"), "vmin": -panel.limit, "vmax": panel.limit}
    axes.set(ylabel=panel.label, facecolor=BLANK)
    axes.set_yticks(list(panel.ticks.values()), list(panel.ticks))
    return axes.imshow(panel.values.T.astype(np.float32), extent=extent, **look)  # imshow does not accept float16


def _draw_line(axes: Axes, panel: LinePanel, start: float) -> None:
    axes.plot(start + panel.step * np.arange(len(panel.values)), panel.values, color=INK, lw=1.2)
    axes.set_ylabel(panel.label)
    axes.set_ylim(bottom=panel.low)
    axes.grid()
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(_number_formatter(panel.write))


def _number_formatter(write: Callable[[float], str]) -> FuncFormatter:
    """Format the numbers of an axis, with a proper minus sign."""
    return FuncFormatter(lambda value, _: write(value).replace("-", "−"))


Bins = Mapping[str, Array]  # values by name of the bin, each of shape (frames,)
OCTAVES = (32_000, 16_000, 8_000, 4_000, 2_000, 1_000, 500, 250, 125)  # Hz
APART = 0.12  # least distance of two ticks, as a share of the height of a spectrogram
SILENCE = 1e-6  # amplitude of silence on an axis in dB: -120 dB
CONTRAST = 98  # percentile of the coefficients above the first at which the colour scale ends


def spectrogram_panel(bins: Bins, config: MelBands, rate: int) -> HeatmapPanel:
    """Make the panel of mel bands in dB over Hz."""
    return HeatmapPanel(
        label="log-mel, Hz",
        unit="dB",
        values=_stack_bins(bins, "mel_"),
        step=config.hop / rate,
        ticks=hertz_ticks(config, rate),
    )


def cepstral_panels(bins: Bins, config: MelBands, rate: int) -> list[HeatmapPanel | LinePanel]:
    """Make the panels of MFCC, chroma, RMS and ZCR, as far as the view has them."""
    step = config.hop / rate
    makers: dict[str, Callable[[Array, float], HeatmapPanel | LinePanel]] = {
        "mfcc_": _mfcc_panel, "chroma_": _chroma_panel, "rms": _rms_panel, "zcr": _zcr_panel,
    }  # fmt: skip
    found = {name: _stack_bins(bins, name) for name in makers}
    return [make(found[name], step) for name, make in makers.items() if found[name].size]


def _stack_bins(bins: Bins, start: str) -> Array:
    """Stack the bins whose names begin with ``start``. Shape ``(frames, bins)``, empty if there are none."""
    return np.array([values for name, values in bins.items() if name.startswith(start)]).T


def _mfcc_panel(values: Array, step: float) -> HeatmapPanel:
    """Make the panel of MFCC. The first one, the level, is much larger and exceeds the colour scale."""
    others = np.abs(values[:, 1:] if values.shape[1] > 1 else values)
    count = values.shape[1]
    numbers = {1, *range(max(2, round(count / 4)), count + 1, max(2, round(count / 4)))}
    return HeatmapPanel(
        label="MFCC",
        unit="dB",
        values=values,
        step=step,
        ticks={str(number): number - 1 for number in sorted(numbers & set(range(1, count + 1)))},
        limit=float(np.percentile(others, CONTRAST)) or 1.0,
    )


def _chroma_panel(values: Array, step: float) -> HeatmapPanel:
    naturals = {"C": 0, "E": 4, "G": 7, "B": 11}
    return HeatmapPanel(label="chroma", unit="share", values=values, step=step, ticks=naturals)


def _rms_panel(values: Array, step: float) -> LinePanel:
    """Make the panel of RMS in dB re full scale."""
    return LinePanel(label="RMS, dB", values=20 * np.log10(np.maximum(values[:, 0], SILENCE)), step=step)


def _zcr_panel(values: Array, step: float) -> LinePanel:
    """Make the panel of the zero-crossing rate."""
    return LinePanel(label="ZCR", values=values[:, 0], step=step, write=lambda share: f"{100 * share:g} %", low=0)


def hertz_ticks(config: MelBands, rate: int) -> dict[str, float]:
    """Return the band numbers of some round frequencies, without those too close to others.

    >>> from pipeline.signal.views import LogMel
    >>> list(hertz_ticks(LogMel(), 16_000))
    ['0', '8k', '4k', '2k', '1k', '500']
    """
    low, top = config.fmin, rate / 2 if config.fmax is None else config.fmax
    bottom, height = stft.hz_to_mel(low), stft.hz_to_mel(top) - stft.hz_to_mel(low)
    ticks: dict[str, float] = {}
    for frequency in (low, *(octave for octave in OCTAVES if low < octave <= top)):
        share = float((stft.hz_to_mel(frequency) - bottom) / height)
        band = np.clip(share * (config.n_mels + 1) - 1, -0.5, config.n_mels - 0.5)
        if all(abs(band - other) > APART * config.n_mels for other in ticks.values()):
            ticks[f"{frequency / 1000:g}k" if frequency >= 1000 else f"{frequency:g}"] = float(band)
    return ticks
