"""matplotlib with its default settings, whatever the user's matplotlibrc says: the same figures on every machine.

This is the only module that imports matplotlib; all others import it from here.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pipeline.core.errors import SettingError

WINDOW_SETTINGS = ("backend", "backend_fallback", "interactive", "toolbar", "date.epoch")  # irrelevant to files


@contextmanager
def _without_window() -> Iterator[None]:
    """Import matplotlib without the backend of MPLBACKEND, because figures are only written to files.

    Raises:
        SettingError: a matplotlibrc cannot be read, so matplotlib cannot be imported.
    """
    named = os.environ.pop("MPLBACKEND", None)
    try:
        yield
    except (OSError, ValueError) as error:
        raise SettingError(
            f"matplotlib cannot read its settings, a file called matplotlibrc ({error}): fix it or move it away; it "
            "lies in this folder, where MATPLOTLIBRC or MPLCONFIGDIR say, or in ~/.config/matplotlib."
        ) from error
    finally:
        if named is not None:
            os.environ["MPLBACKEND"] = named


with _without_window():
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb, to_rgba_array
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D
    from matplotlib.patches import ConnectionPatch, Rectangle
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator, PercentFormatter

DEFAULTS: dict[Any, Any] = {name: value for name, value in mpl.rcParamsDefault.items() if name not in WINDOW_SETTINGS}

with suppress(ValueError):  # for programs that open windows of their own
    if os.environ.get("MPLBACKEND"):
        mpl.rcParams["backend"] = os.environ["MPLBACKEND"]


def get_colormap(name: str) -> Colormap:
    """Return a colour map at matplotlib's default size, which a matplotlibrc may have reduced at import."""
    return mpl.colormaps[name].resampled(mpl.rcParamsDefault["image.lut"])


__all__ = [
    "DEFAULTS",
    "Axes",
    "AxesImage",
    "ConnectionPatch",
    "Figure",
    "FuncFormatter",
    "Line2D",
    "LinearSegmentedColormap",
    "MaxNLocator",
    "NullLocator",
    "PercentFormatter",
    "Rectangle",
    "get_colormap",
    "mpl",
    "to_rgb",
    "to_rgba_array",
]
