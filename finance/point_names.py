"""Names beside the points of a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures
from core.lab.experiment import Array

Box = tuple[float, float, float, float]


def laid_out(figure: Figure) -> None:
    """Put the panels where they will be, for the layout decides where points lie."""
    with figures.style():
        figure.draw_without_rendering()


def name_points(axes: Axes, x: Array, y: Array, names: Sequence[str]) -> None:
    """A name beside each point (x and y `[n]`), where it covers least; scales and limits of the axes must be
    set, and the figure `laid_out`, before."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    with figures.style():
        points = axes.transData.transform(np.column_stack([x, y])) * 72.0 / figure.dpi
        taken = [(across - 3.0, up - 3.0, across + 3.0, up + 3.0) for across, up in points]
        for i, name in enumerate(names):
            across, up = points[i]
            width = 4.2 * len(name)
            sides = [(4.0, -2.5), (-4.0 - width, -2.5), (-width / 2, 4.0), (-width / 2, -9.0)]
            corners = [(3.0, 2.0), (-3.0 - width, 2.0), (3.0, -7.5), (-3.0 - width, -7.5)]
            places = [
                (dx, dy, (across + dx, up + dy, across + dx + width, up + dy + 5.0))
                for dx, dy in sides + corners
            ]
            dx, dy, box = min(places, key=lambda place: sum(_overlap(place[2], other) for other in taken))
            taken.append(box)
            axes.annotate(name, (x[i], y[i]), xytext=(dx, dy), textcoords="offset points", fontsize=6.2)


def _overlap(a: Box, b: Box) -> float:
    """The common area of two boxes (left, low, right, high)."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
