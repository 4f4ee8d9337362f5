"""One quantity against another, both over orders of magnitude."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from core.lab.experiment import Array
from core.lab.figures.palette import lines
from core.lab.figures.style import INK, label, note, style

MOST_POINTS = 1000


def scatter_log(
    axes: Axes,
    x: Array,
    y: Array,
    groups: Sequence[str] | None = None,
    *,
    identity: bool = False,
    size: float = 9.0,
) -> None:
    """Points on two logarithmic axes, each group in its own colour and marker.

    Points that are not positive and finite cannot be shown there; a note says how many were left out. Of very
    many points every k-th is drawn, which keeps the file small, and the note says so.

    Args:
        x, y: `[N]`.
        groups: the group of each point, or None.
        identity: draw the line y = x.
        size: of a point, in square points.
    """
    x, y = np.asarray(x, dtype=np.float64).ravel(), np.asarray(y, dtype=np.float64).ravel()
    member = np.asarray(groups if groups is not None else [""] * len(x))
    shown = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)
    lost = int((~shown).sum())
    every = max(1, -(-int(shown.sum()) // MOST_POINTS))
    names = list(dict.fromkeys(str(m) for m in member))
    looks = lines(names)
    label(axes, log="xy")
    with style():
        for name in names:
            index = np.flatnonzero(shown & (member == name))[::every]
            look = looks[name]
            axes.scatter(
                x[index],
                y[index],
                s=size,
                color=look["color"],
                marker=look["marker"],
                alpha=0.55,
                linewidths=0,
            )
        for name in filter(None, names):
            look = looks[name]
            axes.plot([], [], color=look["color"], marker=look["marker"], linestyle="", label=name)
        if identity and shown.any():
            both = np.concatenate([x[shown], y[shown]])
            span = [both.min(), both.max()]
            axes.plot(span, span, color=INK, linestyle=(0, (4, 3)), linewidth=1.0, label="equal")
    remarks = [f"{lost} of {len(x)} points not positive: left out"] if lost else []
    remarks += [f"one point in {every} drawn"] if every > 1 else []
    if remarks:
        note(axes, "; ".join(remarks), corner="lower right")
