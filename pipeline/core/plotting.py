"""matplotlib as it comes, without the settings of a user's matplotlibrc: the same picture on every machine.

This is the one module that imports matplotlib; all others have it from here.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pipeline.core.errors import SettingError

WINDOWS = ("backend", "backend_fallback", "interactive", "toolbar", "date.epoch")  # of no concern to a file


@contextmanager
def without_window() -> Iterator[None]:
    """Import matplotlib without the backend that MPLBACKEND names: no figure of ours has a window.

    Raises:
        SettingError: a matplotlibrc cannot be read, and matplotlib not be imported therefore.
    """
    named = os.environ.pop("MPLBACKEND", None)
    try:
        yield
    except (OSError, ValueError) as error:
        raise SettingError(
            f"matplotlib cannot read its settings, a file called matplotlibrc ({error}): mend it or move it away; it "
            "lies in this folder, where MATPLOTLIBRC or MPLCONFIGDIR say, or in ~/.config/matplotlib."
        ) from error
    finally:
        if named is not None:
            os.environ["MPLBACKEND"] = named


with without_window():
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb, to_rgba_array
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D
    from matplotlib.patches import ConnectionPatch, Rectangle
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator, PercentFormatter

DEFAULTS: dict[Any, Any] = {name: value for name, value in mpl.rcParamsDefault.items() if name not in WINDOWS}

with suppress(ValueError):  # for whoever opens windows beside
    if os.environ.get("MPLBACKEND"):
        mpl.rcParams["backend"] = os.environ["MPLBACKEND"]


def colours(name: str) -> Colormap:
    """Give colours by their name, as many as there are by default: a matplotlibrc has fewer made at the import."""
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
    "colours",
    "mpl",
    "to_rgb",
    "to_rgba_array",
]
