"""Figures of the study `equilibrium`; they read stored results only."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.study import Results
from games.studies.equilibrium_settings import ITERATES, METHODS, RATES, REGIMES, Tuned, tuned
from games.studies.method_map import method_map

START = 0.2
"""About the exploitability at the start: white on the map."""
SHOWN = ("GDA", "Adam", "Adam, beta1 = 0", "RMSProp", "Sign descent", "Optimistic GDA")
_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]])


def draw_triangles(results: Results) -> Figure:
    """Paths of the first player in the triangle of its three actions."""
    found = results.measurement("triangle")
    figure, panels = figures.new_figure(columns=len(found.cells), width=10.2, height=3.2)

    def place(strategies: Array) -> Array:
        return np.asarray(strategies @ _CORNERS)

    for axes, (cell, arrays) in zip(panels, found, strict=True):
        name = str(cell["method"])
        border = np.vstack([_CORNERS, _CORNERS[:1]])
        axes.plot(border[:, 0], border[:, 1], color="#9a9a9a", linewidth=0.9)
        look = {**figures.line(name), "linestyle": "-"}
        figures.phase_path(axes, place(arrays["last"][0]), name, legend="", look=look)  # type: ignore[arg-type]
        average = place(arrays["average"][0])
        axes.plot(average[:, 0], average[:, 1], color="#000000", linewidth=1.1)
        middle = place(np.full(3, 1.0 / 3.0))
        axes.plot(middle[0], middle[1], marker="x", color="#000000", markersize=9, mew=1.8, zorder=6)
        for corner, action in zip(_CORNERS, ("rock", "paper", "scissors"), strict=True):
            axes.annotate(
                action,
                corner,
                xytext=(0, 5 if corner[1] > 0 else -11),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        figures.label(axes, title=f"{name}, lr {cell['lr']:g}")
        axes.set_xlim(-0.12, 1.12)
        axes.set_ylim(-0.12, 1.02)
        axes.set_aspect("equal")
        axes.axis("off")
    return figure


def draw_map(results: Results) -> Figure:
    """Exploitability at the end, last and average iterates."""
    figure, panels = figures.new_figure(columns=2, width=11.6, height=6.4)
    for axes, iterate in zip(panels, ITERATES, strict=True):
        values = np.array(
            [
                [stats.centre(results.once(tuned, r.name, m.name, iterate).final) for r in REGIMES]
                for m in METHODS
            ]
        )
        names = [r.name.replace("rock-paper-scissors", "RPS") for r in REGIMES]
        method_map(axes, values, [m.name for m in METHODS], names, middle=START)
        figures.label(axes, x=f"exploitability of the {iterate} iterate")
    panels[1].set_yticklabels([])
    return figure


def draw_curves(results: Results) -> Figure:
    """Exploitability over the steps, at tuned rates."""

    def draw(axes: Axes, name: str, got: Tuned) -> None:
        figures.curves_with_intervals(axes, got.steps[1:], got.curve[:, 1:], name)

    return _by_iterate(results, draw)


def draw_rates(results: Results) -> Figure:
    """Exploitability at the end over the learning rate, on the tuning seeds."""

    def draw(axes: Axes, name: str, got: Tuned) -> None:
        chosen = RATES.index(got.lr)
        figures.rate_curve(axes, np.array(RATES), got.tuning, chosen, name, edge=got.edge)
        figures.label(axes, x="learning rate")

    return _by_iterate(results, draw)


def _by_iterate(results: Results, draw: Callable[[Axes, str, Tuned], None]) -> Figure:
    """Last iterates above, averages below, a column a game."""
    figure, panels = figures.new_figure(rows=2, columns=len(REGIMES), width=13.0, height=6.0)
    for row, iterate in enumerate(ITERATES):
        for column, regime in enumerate(REGIMES):
            axes = panels[row * len(REGIMES) + column]
            for name in SHOWN:
                draw(axes, name, results.once(tuned, regime.name, name, iterate))
            title = regime.name.replace("rock-paper-scissors", "RPS") if row == 0 else None
            title = title.replace("projection, noise", "noise") if title else None
            figures.label(
                axes, title=title, y=f"{iterate}: exploitability" if column == 0 else None, log="xy"
            )
            axes.set_ylim(1e-5, 1.0)
    figures.legend_below(figure, panels[0])
    return figure
