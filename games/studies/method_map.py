"""A table of colours: how far every method ends from the equilibrium, in every regime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from core.lab.experiment import Array

FLOOR = 1e-9
"""Distances below this are as good as zero: they are not told apart."""
_REACH = 2.2
"""Powers of ten from white to the full colour."""


def method_map(
    axes: Axes, values: Array, methods: Sequence[str], regimes: Sequence[str], *, middle: float = 1.0
) -> None:
    """Numbers `[methods, regimes]` on colours: blue below `middle`, red above, at equal ratios."""
    logs = np.log10(np.clip(values, FLOOR, 1e9) / middle)
    axes.imshow(logs, cmap="RdBu_r", vmin=-_REACH, vmax=_REACH, aspect="auto")
    axes.grid(False)
    names = [
        r.replace(", ", ",\n").replace(" noise", "\nnoise").replace(" bilinear", "\nbilinear")
        for r in regimes
    ]
    axes.set_xticks(range(len(regimes)), names, fontsize=7.5)
    axes.set_yticks(range(len(methods)), methods, fontsize=8.5)
    axes.xaxis.tick_top()
    for (row, column), value in np.ndenumerate(values):
        text = f"≤{FLOOR:.0e}".replace("e-0", "e-") if value <= FLOOR else f"{value:.2g}"
        shade = "white" if abs(logs[row, column]) > 1.4 else "#222222"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=shade)
