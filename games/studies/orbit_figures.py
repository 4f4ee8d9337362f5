"""Figures of the study `orbits`; they read stored results only."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.study import Results
from games.orbit import cycle_radius, descent_growth, descent_growth_per_turn

COMMON_RATE = 0.1
SHOWN = ("GDA", "GDA, alternating", "Adam", "Adam, beta1 = 0", "RMSProp", "Adam, shared v", "Optimistic GDA")
_KNOWN: dict[str, Any] = {"color": "#000000", "linestyle": "", "marker": ".", "markersize": 5.0}


def field_arrows(axes: Axes, reach: float) -> None:
    """The direction in which the field of xy moves the players, on a square of half side `reach`."""
    x, y = np.meshgrid(*[np.linspace(-reach, reach, 9)] * 2)
    axes.quiver(x, y, -y, x, color="#c9c9c9", pivot="mid", width=0.006, zorder=0)
    axes.set_xlim(-1.12 * reach, 1.12 * reach)
    axes.set_ylim(-1.12 * reach, 1.12 * reach)
    axes.set_aspect("equal")


def draw_portrait(results: Results) -> Figure:
    """Paths over the field."""
    found = results.measurement("portrait")
    figure, panels = figures.new_figure(rows=2, columns=3, width=9.6, height=7.0)
    for axes, (cell, arrays) in zip(panels, found, strict=True):
        path = arrays["path"][0]
        reach = float(np.abs(path).max())
        field_arrows(axes, reach)
        figures.phase_path(axes, path, str(cell["variant"]))
        figures.label(
            axes,
            x="x (descends)",
            y="y (ascends)",
            title=f"{cell['variant']}, lr {cell['lr']:g}, {cell['steps']} steps",
        )
    return figure


def draw_radius(results: Results) -> Figure:
    """Distance over the steps, at a common rate and at tuned ones."""
    figure, (left, right) = figures.new_figure(columns=2, width=9.6, height=4.6)
    sweep, turns = results.sweep("tuned"), results.measurement("turning")
    regime = sweep.regimes[0]
    for name in SHOWN:
        ((_, arrays),) = turns.where(regime=regime, variant=name)
        column = _column(arrays["lr"], COMMON_RATE)
        figures.curves_with_intervals(left, arrays["step"][0], arrays["distance"][:, column], name)
        run = sweep.run(regime, name)
        figures.curves_with_intervals(right, run.steps, run.curves["distance"], name)
    step = turns.arrays[0]["step"][0][::4]
    left.plot(step, descent_growth(COMMON_RATE) ** step, **_KNOWN, label="GDA, closed form")
    figures.label(left, x="step", y="distance (start: 1)", title=f"all at lr {COMMON_RATE:g}", log="y")
    figures.label(right, x="step", y="distance (start: 1)", title="each at its tuned rate", log="y")
    right.set_ylim(1e-3, 10.0)
    figures.legend_below(figure, left)
    return figure


def _column(rates: Array, rate: float) -> int:
    return int(np.argmin(np.abs(np.log(rates[0] / rate))))


def draw_rates(results: Results) -> Figure:
    """Final distance over the learning rate."""
    sweep = results.sweep("tuned")
    figure, panels = figures.new_figure(columns=len(sweep.regimes), width=10.8, height=4.8)
    for axes, regime in zip(panels, sweep.regimes, strict=True):
        figures.lr_curve(axes, sweep, regime)
        figures.label(axes, y="final distance (start: 1)", title=regime, log="xy")
        axes.set_ylim(1e-3, 1e3)
    figures.legend_below(figure, panels[0])
    return figure


def draw_growth(results: Results) -> Figure:
    """Growth of the logarithm of the radius a turn over the learning rate."""
    found = results.measurement("turning")
    regimes = list(dict.fromkeys(str(c["regime"]) for c in found.cells))
    figure, panels = figures.new_figure(columns=len(regimes), width=9.6, height=4.6, sharey=True)
    for axes, regime in zip(panels, regimes, strict=True):
        for name in SHOWN:
            ((_, arrays),) = found.where(regime=regime, variant=name)
            rates, points = _per_rate(arrays["lr"][0], arrays["growth"])
            if len(rates):
                estimate, low, high = points.T
                look = figures.line(name)
                axes.fill_between(rates, low, high, color=look["color"], alpha=0.18, linewidth=0)
                axes.plot(rates, estimate, **look, label=name)
        rates = found.arrays[0]["lr"][0]
        axes.plot(rates, [descent_growth_per_turn(lr) for lr in rates], **_KNOWN, label="GDA, closed form")
        figures.label(axes, x="learning rate", y="growth of log radius a turn", title=regime, log="x")
        axes.set_yscale("symlog", linthresh=0.01)
        axes.axhline(0.0, color="#222222", linewidth=0.8)
    figures.legend_below(figure, panels[0])
    return figure


def _per_rate(rates: Array, values: Array) -> tuple[Array, Array]:
    """The rates at which every path turns, and (estimate, low, high) of the values there."""
    turning = np.isfinite(values).all(axis=0)
    points = [stats.interval(values[:, i]) for i in np.flatnonzero(turning)]
    return rates[turning], np.array(points).reshape(-1, 3)


def draw_cycles(results: Results) -> Figure:
    """Long-run radius from inside and outside, beside the theory."""
    figure, (axes,) = figures.new_figure(width=7.2, height=4.2)
    names, points = [], []
    axes.set_xscale("log")
    for row, (cell, arrays) in enumerate(results.measurement("cycle")):
        names.append(f"{cell['variant']}, from {cell['side']}")
        points.append(stats.interval(arrays["radius"]))
        theory = cycle_radius(float(cell["beta1"]), float(cell["beta2"]))
        axes.plot(theory, row, marker="x", markersize=11, mew=1.8, color="#000000", linestyle="", zorder=5)
    figures.dots_with_intervals(axes, names, points)
    ticks = (25, 50, 100, 200, 400)
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.set_xticks([], minor=True)
    figures.label(axes, x="radius after a long run, in learning rates (cross: theory)")
    return figure
