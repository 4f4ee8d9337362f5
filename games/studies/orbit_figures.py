"""Figures of the study `orbits`; they read stored results only, and theory."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.study import Results
from games.bilinear import BilinearGame
from games.orbit import descent_growth, descent_growth_per_turn
from games.portrait import draw_portrait as draw_paths
from games.studies.orbit_settings import LINEAR
from games.theory import disk_figure

_KNOWN: dict[str, Any] = {"color": "#000000", "linestyle": "", "marker": ".", "markersize": 5.0}


def draw_portrait(results: Results) -> Figure:
    """Paths over the field."""
    found = results.measurement("portrait")
    figure, panels = figures.new_figure(columns=len(found.cells), width=10.2, height=3.4)
    for axes, (cell, arrays) in zip(panels, found, strict=True):
        name = str(cell["variant"])
        draw_paths(axes, BilinearGame().mean_field, arrays["path"][:1], name)
        figures.label(axes, x="x (descends)", y="y (ascends)", title=f"{name}, lr {cell['lr']:g}")
    return figure


def draw_radius(results: Results) -> Figure:
    """Distance over the steps, at a low and at a high rate."""
    found = results.measurement("turning")
    figure, panels = figures.new_figure(columns=2, width=9.6, height=4.2)
    for axes, rate in zip(panels, (0.1, 1.0), strict=True):
        for cell, arrays in found:
            column = int(np.argmin(np.abs(np.log(arrays["lr"][0] / rate))))
            shown = arrays["step"][0] <= 20.0 / rate
            figures.curves_with_intervals(
                axes,
                arrays["step"][0][shown],
                arrays["distance"][:, column][:, shown],
                str(cell["variant"]),
            )
        step = arrays["step"][0][shown][:: max(1, int(shown.sum()) // 20)]
        axes.plot(step, descent_growth(rate) ** step, **_KNOWN, label="sqrt(1 + lr²) a step")
        figures.label(axes, x="step", y="distance (start: 1)", title=f"lr {rate:g}", log="y")
    figures.legend_below(figure, panels[0])
    return figure


def draw_growth(results: Results) -> Figure:
    """Growth of the logarithm of the radius a turn over the learning rate."""
    found = results.measurement("turning")
    figure, (axes,) = figures.new_figure(width=7.2, height=4.4)
    for cell, arrays in found:
        name = str(cell["variant"])
        usable = np.isfinite(arrays["growth"]).all(axis=0)
        points = np.array([stats.interval(arrays["growth"][:, i]) for i in np.flatnonzero(usable)])
        look = figures.line(name)
        rates = arrays["lr"][0][usable]
        axes.fill_between(rates, points[:, 1], points[:, 2], color=look["color"], alpha=0.18, linewidth=0)
        axes.plot(rates, points[:, 0], **look, label=name)
    rates = found.arrays[0]["lr"][0]
    axes.plot(rates, [descent_growth_per_turn(lr) for lr in rates], **_KNOWN, label="GDA, closed form")
    figures.label(axes, x="learning rate", y="growth of log radius a turn", log="x")
    axes.set_yscale("symlog", linthresh=0.01)
    axes.axhline(0.0, color="#222222", linewidth=0.8)
    figures.legend_below(figure)
    return figure


def draw_disks(results: Results) -> Figure:  # noqa: ARG001
    """Eigenvalues of a round on xy as the learning rate grows; theory alone."""
    return disk_figure(BilinearGame(), list(LINEAR), np.geomspace(0.01, 1.5, 24).tolist())
