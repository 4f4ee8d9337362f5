"""Names beside the points of a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures
from core.lab.experiment import Array


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
        taken = np.hstack([points - 3.0, points + 3.0])
        for i, name in enumerate(names):
            across, up = points[i]
            width = 4.2 * len(name)
            sides = [(4.0, -2.5), (-4.0 - width, -2.5), (-width / 2, 4.0), (-width / 2, -9.0)]
            corners = [(3.0, 2.0), (-3.0 - width, 2.0), (3.0, -7.5), (-3.0 - width, -7.5)]
            places = sides + corners
            boxes = np.array(
                [(across + dx, up + dy, across + dx + width, up + dy + 5.0) for dx, dy in places]
            )
            best = int(_overlaps(boxes, taken).sum(axis=1).argmin())
            taken = np.vstack([taken, boxes[best]])
            axes.annotate(name, (x[i], y[i]), xytext=places[best], textcoords="offset points", fontsize=6.2)


def _overlaps(a: Array, b: Array) -> Array:
    """The common area `[A, B]` of boxes `[A, 4]` and `[B, 4]` (left, low, right, high)."""
    a = a[:, None]
    sides = np.minimum(a[..., 2:], b[:, 2:]) - np.maximum(a[..., :2], b[:, :2])
    out: Array = np.maximum(sides, 0.0).prod(axis=-1)
    return out
