"""Paths through a plane of two parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes

from core.lab.experiment import Array
from core.lab.figures.palette import Line, line
from core.lab.figures.style import GRID, INK, style


def phase_path(
    axes: Axes,
    path: Array,
    name: str,
    *,
    legend: str | None = None,
    look: Line | None = None,
    ends: bool = True,
) -> None:
    """The way of one replica through two coordinates: an open circle at its start, its marker at its end.

    Args:
        path: `[T, 2]`; it stops at the first row that is not finite.
        name: the variant, for its look.
        legend: the name in the legend, if not `name`; an empty string for none.
        look: another look than `line(name)`.
        ends: False draws no markers.
    """
    path = np.asarray(path, dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(path).all(axis=1))
    path = path[: broken[0]] if len(broken) else path
    look = look or line(name)
    text = name if legend is None else legend
    if not len(path):
        return
    with style():
        axes.plot(
            path[:, 0],
            path[:, 1],
            color=look["color"],
            linestyle=look["linestyle"],
            linewidth=1.4,
            label=text or None,
        )
        if ends:
            axes.plot(*path[0], marker="o", markersize=6, markerfacecolor="white", color=INK, zorder=4)
            axes.plot(*path[-1], marker=look["marker"], markersize=7, color=look["color"], mew=1.6, zorder=5)


def landscape(
    axes: Axes,
    function: Callable[[Array, Array], Array],
    x: tuple[float, float],
    y: tuple[float, float],
    *,
    levels: int = 12,
    log: bool = True,
) -> None:
    """Quiet contour lines of a function of two parameters, behind paths.

    Args:
        function: from grids of x and y, both `[n, n]`, to values `[n, n]`.
        x, y: the shown range.
        levels: how many lines.
        log: True for lines at equal ratios above the least value, as an objective near its minimum needs.
    """
    across, up = np.meshgrid(np.linspace(*x, 161), np.linspace(*y, 161))
    values = np.asarray(function(across, up), dtype=np.float64)
    if log:
        above = values - values.min()
        positive = above[above > 0]
        if len(positive):
            values = np.log10(np.maximum(above, np.quantile(positive, 0.002)))
    with style():
        axes.contour(
            across, up, values, levels=levels, colors=GRID, linewidths=0.8, linestyles="solid", zorder=0
        )
        axes.set_xlim(*x)
        axes.set_ylim(*y)
        axes.grid(False)
