"""Draw one clip: its waveform and its views on one time axis."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.plotting import Axes, AxesImage, ConnectionPatch, Figure, FuncFormatter, MaxNLocator, colours, mpl
from pipeline.report import style
from pipeline.report.style import BLUE, INK, SKY, SOFT, STYLE
from pipeline.signal import stft
from pipeline.signal.settings import Bands

Array = npt.NDArray[Any]
STRIP, WAVE, HEAT, LINE = 0.36, 0.85, 1.4, 0.7  # inches of height
NAME = 5.2  # inches of the longest title
OUTLINE = 1600  # steps of a waveform's outline: more than the picture has pixels
WHOLE = 0.8  # share of the recording from which on the panels show all of it; of less they show what was kept
GREY, BAND, BLANK = "#b3b3b3", "#dceefa", "#f3f3f3"  # what was cut off, behind what was kept, where nothing is to draw
PADS = {"h_pad": 0.045, "w_pad": 0.05, "hspace": 0.0, "wspace": 0.0}  # the first two in inches
TICKS = 20  # points of height, the numbers above the strip
QUIET = 1e-4  # amplitude that the axis of a waveform reaches at least


@dataclass(frozen=True, kw_only=True)
class Heat:
    """A panel of colours: ``values`` of shape ``(frames, rows)``, the first row at the bottom."""

    label: str
    unit: str
    values: Array
    step: float  # s from frame to frame; the first one is centred where the kept part begins
    ticks: Mapping[str, float] = field(default_factory=dict)  # label -> the row it stands at
    limit: float | None = None  # colours go from -limit over white at 0 to limit; None: from the least value up


@dataclass(frozen=True, kw_only=True)
class Line:
    """A panel of one curve: ``values`` of shape ``(frames,)``."""

    label: str
    values: Array
    step: float  # s
    write: Callable[[float], str] = "{:g}".format  # a number on its axis
    low: float | None = None  # where its axis begins; None: below the least value


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A whole recording: ``waveform`` of shape ``(samples,)`` at full scale 1, and the part of it that was kept."""

    name: str  # of the file
    facts: Sequence[str]  # lines below the name
    waveform: Array
    rate: int  # Hz
    kept: tuple[float, float]  # s

    @property
    def whole(self) -> tuple[float, float]:
        """The seconds of the recording."""
        return 0.0, len(self.waveform) / self.rate

    @property
    def zoomed(self) -> bool:
        """Whether so little was kept that the panels show nothing else."""
        return 0 < self.kept[1] - self.kept[0] < WHOLE * self.whole[1]


@mpl.rc_context(STYLE | {f"figure.constrained_layout.{name}": pad for name, pad in PADS.items()})
def draw(sound: Sound, panels: Sequence[Heat | Line], *, stamp: str = "") -> Figure:
    """Draw a recording and its panels below each other on one time axis, in seconds of the recording.

    Where much was cut off the panels show what was kept, and a strip on top shows where in the recording that is.

    Args:
        sound: the whole recording.
        panels: what is made of its kept part.
        stamp: text of the band above the picture, "" for none.
    """
    strip, window = (1, sound.kept) if sound.zoomed else (0, sound.whole)
    heights = [STRIP] * strip + [WAVE] + [HEAT if isinstance(panel, Heat) else LINE for panel in panels]
    figure = style.sheet(sum(heights) + 0.12 * len(heights) + 1.2, stamp=stamp)
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=[1, 0.02])
    column = [figure.add_subplot(grid[row, 0]) for row in range(len(heights))]
    wave, *others = column[strip:]
    draw_wave(wave, sound, window)
    wave.set_ylabel("amplitude")
    for row, (axes, panel) in enumerate(zip(others, panels, strict=True), strip + 1):
        if isinstance(panel, Heat):
            image = draw_heat(axes, panel, sound.kept[0])
            beyond = "both" if panel.limit else "neither"
            figure.colorbar(image, cax=figure.add_subplot(grid[row, 1]), label=panel.unit, extend=beyond)
        else:
            draw_line(axes, panel, sound.kept[0])
    share_time([wave, *others], window)
    if strip:
        draw_strip(column[0], sound, wave)
    head(column[0], sound, lift=TICKS * strip)
    figure.align_ylabels()
    return figure


def share_time(column: Sequence[Axes], window: tuple[float, float]) -> None:
    """Give all panels the same seconds, and write them below the last one."""
    for axes in column:
        axes.set_xlim(*window)
        axes.tick_params(axis="x", labelbottom=axes is column[-1])
    column[-1].set_xlabel("seconds")


def head(axes: Axes, sound: Sound, *, lift: float) -> None:
    """Write name and facts ``lift`` points above the axes; a file name may hold any character, dollars included."""
    title = axes.set_title(sound.name, pad=lift + 10 + 15 * len(sound.facts), parse_math=False)
    for length in range(len(sound.name), 8, -1):
        if title.get_window_extent().width <= NAME * axes.figure.dpi:
            break
        title.set_text(shorten(sound.name, length))
    text = axes.annotate("\n".join(sound.facts), (0, 1), (0, lift + 7), "axes fraction", "offset points")
    text.set(color=SOFT, linespacing=1.4)
    text.set_in_layout(False)  # a long line runs on above the scales


def shorten(name: str, length: int) -> str:
    """Leave out the middle of a name.

    >>> shorten("2024-05-17 interview with a neighbour.wav", 19)
    '2024-05-1…hbour.wav'
    """
    return name if len(name) <= length else f"{name[: length // 2]}…{name[length // 2 + 1 - length :]}"


def draw_wave(axes: Axes, sound: Sound, window: tuple[float, float]) -> None:
    """Draw the outline of the recording, what was kept in colour on a band."""
    times, low, high = outline(sound.waveform, sound.rate, window)
    kept = (times >= sound.kept[0]) & (times < sound.kept[1])
    peak = 1.08 * max(float(np.abs([low, high]).max()), QUIET)
    axes.axvspan(*sound.kept, color=BAND, lw=0, zorder=0)
    axes.fill_between(times, low, high, color=GREY, lw=0.6)
    axes.fill_between(times, low, high, where=kept.tolist(), color=BLUE, lw=0.6)
    axes.set_ylim(-peak, peak)
    axes.yaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    axes.yaxis.set_major_formatter(written("{:g}".format))


def draw_strip(axes: Axes, sound: Sound, below: Axes) -> None:
    """Draw the whole recording small, with lines from what was kept to the panel ``below`` that shows it."""
    draw_wave(axes, sound, sound.whole)
    axes.set(xlim=sound.whole, yticks=[])
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    axes.spines["top"].set_visible(True)
    for second, corner in zip(sound.kept, (0, 1), strict=True):
        line = ConnectionPatch((second, 0), (corner, 1), axes.get_xaxis_transform(), below.transAxes, color=SKY)
        line.set_in_layout(False)
        axes.figure.add_artist(line)


def outline(waveform: Array, rate: int, window: tuple[float, float]) -> tuple[Array, Array, Array]:
    """Give times in s, lowest and highest sample of at most `OUTLINE` equal steps. Each has shape ``(steps,)``.

    >>> [column.tolist() for column in outline(np.float32([0, 1, -1, 0.5]), 2, (0, 2))]
    [[0.0, 0.5, 1.0, 1.5], [0.0, 1.0, -1.0, 0.5], [0.0, 1.0, -1.0, 0.5]]
    """
    first, last = (round(end * rate) for end in window)
    part = waveform[first:last]
    starts = np.unique(np.linspace(0, len(part), OUTLINE, endpoint=False).astype(int))
    return (first + starts) / rate, np.minimum.reduceat(part, starts), np.maximum.reduceat(part, starts)


def draw_heat(axes: Axes, panel: Heat, start: float) -> AxesImage:
    """Draw a panel of colours."""
    frames, rows = panel.values.shape
    extent = (start - panel.step / 2, start + (frames - 0.5) * panel.step, -0.5, rows - 0.5)
    look: dict[str, Any] = {"aspect": "auto", "origin": "lower", "interpolation": "nearest", "cmap": colours("magma")}
    if panel.limit is not None:
        look |= {"cmap": colours("RdBu_r"), "vmin": -panel.limit, "vmax": panel.limit}
    axes.set(ylabel=panel.label, facecolor=BLANK)
    axes.set_yticks(list(panel.ticks.values()), list(panel.ticks))
    return axes.imshow(panel.values.T.astype(np.float32), extent=extent, **look)  # float16 is refused


def draw_line(axes: Axes, panel: Line, start: float) -> None:
    """Draw a panel of one curve."""
    axes.plot(start + panel.step * np.arange(len(panel.values)), panel.values, color=INK, lw=1.2)
    axes.set_ylabel(panel.label)
    axes.set_ylim(bottom=panel.low)
    axes.grid()
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(written(panel.write))


def written(write: Callable[[float], str]) -> FuncFormatter:
    """Write the numbers of an axis, with a minus as long as a plus."""
    return FuncFormatter(lambda value, _: write(value).replace("-", "−"))


Rows = Mapping[str, Array]  # name -> shape (frames,)
OCTAVES = (32_000, 16_000, 8_000, 4_000, 2_000, 1_000, 500, 250, 125)  # Hz
APART = 0.12  # of the height of a spectrogram, between two numbers beside it
SILENCE = 1e-6  # amplitude that stands for silence on an axis in dB: -120 dB
CONTRAST = 98  # per cent of the coefficients above the first that have a colour of their own


def spectrogram(rows: Rows, config: Bands, rate: int) -> Heat:
    """Draw mel bands in dB over Hz."""
    return Heat(
        label="log-mel, Hz",
        unit="dB",
        values=block(rows, "mel_"),
        step=config.hop / rate,
        ticks=hertz_ticks(config, rate),
    )


def cepstral(rows: Rows, config: Bands, rate: int) -> list[Heat | Line]:
    """Draw what there is of MFCC, chroma, RMS and ZCR."""
    step = config.hop / rate
    makers: dict[str, Callable[[Array, float], Heat | Line]] = {
        "mfcc_": coefficients, "chroma_": pitch_classes, "rms": level, "zcr": crossings,
    }  # fmt: skip
    found = {name: block(rows, name) for name in makers}
    return [make(found[name], step) for name, make in makers.items() if found[name].size]


def block(rows: Rows, start: str) -> Array:
    """Put together the rows whose names begin so. Shape ``(frames, rows)``, empty where there are none."""
    return np.array([values for name, values in rows.items() if name.startswith(start)]).T


def coefficients(values: Array, step: float) -> Heat:
    """Draw MFCC. The first one is the level, many times the others: it goes beyond the colours."""
    others = np.abs(values[:, 1:] if values.shape[1] > 1 else values)
    count = values.shape[1]
    numbers = {1, *range(max(2, round(count / 4)), count + 1, max(2, round(count / 4)))}
    return Heat(
        label="MFCC",
        unit="dB",
        values=values,
        step=step,
        ticks={str(number): number - 1 for number in sorted(numbers & set(range(1, count + 1)))},
        limit=float(np.percentile(others, CONTRAST)) or 1.0,
    )


def pitch_classes(values: Array, step: float) -> Heat:
    """Draw chroma."""
    naturals = {"C": 0, "E": 4, "G": 7, "B": 11}
    return Heat(label="chroma", unit="share", values=values, step=step, ticks=naturals)


def level(values: Array, step: float) -> Line:
    """Draw RMS in dB re full scale."""
    return Line(label="RMS, dB", values=20 * np.log10(np.maximum(values[:, 0], SILENCE)), step=step)


def crossings(values: Array, step: float) -> Line:
    """Draw how often the sign turns."""
    return Line(label="ZCR", values=values[:, 0], step=step, write=lambda share: f"{100 * share:g} %", low=0)


def hertz_ticks(config: Bands, rate: int) -> dict[str, float]:
    """Say at which band some round frequencies stand, those left out that would come too near to others.

    >>> from pipeline.signal.views import LogMel
    >>> list(hertz_ticks(LogMel(), 16_000))
    ['0', '8k', '4k', '2k', '1k', '500']
    """
    low, top = config.fmin, rate / 2 if config.fmax is None else config.fmax
    bottom, height = stft.mel(low), stft.mel(top) - stft.mel(low)
    ticks: dict[str, float] = {}
    for hertz in (low, *(octave for octave in OCTAVES if low < octave <= top)):
        share = float((stft.mel(hertz) - bottom) / height)
        row = np.clip(share * (config.n_mels + 1) - 1, -0.5, config.n_mels - 0.5)
        if all(abs(row - other) > APART * config.n_mels for other in ticks.values()):
            ticks[f"{hertz / 1000:g}k" if hertz >= 1000 else f"{hertz:g}"] = float(row)
    return ticks
