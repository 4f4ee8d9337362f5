"""Panels are laid out with what stands around each of them measured once.

Matplotlib's constrained layout measures all twice, since a panel that changes its size may get other ticks.
Within `measured_once()` a panel whose ticks are the same keeps the margins found first: panels then lie where
two measures would put them up to a few points, the labels that reach over a panel's end being what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import _constrained_layout as layout
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

MEASURE = "get_pos_and_bbox"


@contextmanager
def measured_once() -> Iterator[None]:
    """While one figure is laid out, once."""
    measure = getattr(layout, MEASURE)
    setattr(layout, MEASURE, _with_margins_kept(measure))
    try:
        yield
    finally:
        setattr(layout, MEASURE, measure)


def _with_margins_kept(measure: Callable[..., tuple[Bbox, Bbox]]) -> Callable[..., tuple[Bbox, Bbox]]:
    known: dict[Axes, tuple[object, npt.NDArray[np.float64]]] = {}

    def boxes(axes: Axes, renderer: Any) -> tuple[Bbox, Bbox]:
        """A panel, and the panel with all that stands around it, in shares of the figure."""
        ticks = _ticks(axes)
        if axes not in known or known[axes][0] != ticks:
            panel, around = measure(axes, renderer)
            known[axes] = (ticks, around.get_points() - panel.get_points())
            return panel, around
        figure: Any = axes.get_figure(root=False)
        panel = axes.get_position(original=True).transformed(figure.transSubfigure - figure.transFigure)
        return panel, Bbox(panel.get_points() + known[axes][1])

    return boxes


def _ticks(axes: Axes) -> object:
    """Where an axis has ticks that are seen; nothing for a panel without axes."""
    # What matplotlib itself asks before it measures; within `remembered` the answer costs nothing.
    update = "_update_ticks"
    return [
        [tick.get_loc() for tick in getattr(axis, update)()]
        for axis in (axes.xaxis, axes.yaxis)
        if axes.axison
    ]
