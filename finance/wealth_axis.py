"""An axis of wealth: logarithmic, with plain numbers."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from core.lab import figures


def label_wealth(axes: Axes, *, title: str = "") -> None:
    """Make the vertical axis one of wealth that starts at 1."""
    figures.label(axes, y="wealth after costs (start = 1)", title=title, log="y")
    low, high = axes.get_ylim()
    wide = high > 10.0 * low
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if wide else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda wealth, _: f"{wealth:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
