"""Figures of the study `damping`; they read stored results only."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.study import Results
from games.studies.method_map import FLOOR, method_map
from games.studies.swing_sweep import swing

SHOWN = (
    "GDA",
    "Adam",
    "Adam, beta1 = 0",
    "RMSProp",
    "Adam, beta1 = 0, shared v",
    "Sign descent",
    "Optimistic GDA",
)


def draw_map(results: Results) -> Figure:
    """Final distance, methods by regimes."""
    sweep = results.sweep("tuned")
    values = np.array(
        [[stats.centre(np.maximum(sweep.values(r, v), FLOOR)) for r in sweep.regimes] for v in sweep.variants]
    )
    figure, (axes,) = figures.new_figure(width=11.0, height=13.5)
    method_map(axes, values, sweep.variants, sweep.regimes)
    return figure


def draw_radius(results: Results) -> Figure:
    """Distance over the steps at tuned rates, a panel a regime."""
    sweep = results.sweep("tuned")
    figure, panels = figures.new_grid(len(sweep.regimes), 3, width=10.2, height=3.0)
    for axes, regime in zip(panels, sweep.regimes, strict=True):
        for name in SHOWN:
            run = sweep.run(regime, name)
            figures.curves_with_intervals(axes, run.steps, run.curves["distance"], name)
        figures.label(axes, x="step", y="distance", title=regime, log="y")
        axes.set_ylim(1e-3, 3.0)
    figures.legend_below(figure, panels[0])
    return figure


def draw_swing(results: Results) -> Figure:
    """Growth a turn over turns in 1,000 steps, at tuned rates."""
    sweep = results.sweep("tuned")
    regimes = (sweep.regimes[0], sweep.regimes[1], "Dirac-GAN")
    figure, panels = figures.new_figure(columns=3, width=10.2, height=4.4, sharey=True)
    for axes, regime in zip(panels, regimes, strict=True):
        for name in SHOWN:
            measured = swing(sweep.run(regime, name))
            usable = np.isfinite(measured["growth"])
            if usable.sum() < 2:
                continue
            x, y = (stats.interval(measured[k][usable]) for k in ("turns", "growth"))
            look = figures.line(name)
            axes.plot([x[1], x[2]], [y[0], y[0]], color=look["color"], linewidth=1.4)
            axes.plot([x[0], x[0]], [y[1], y[2]], color=look["color"], linewidth=1.4)
            axes.plot(
                x[0],
                y[0],
                color=look["color"],
                marker=look["marker"],
                linestyle="",
                markersize=8,
                # Adam's variants share a marker: hollow without momentum.
                markerfacecolor="none" if "beta1 = 0" in name else look["color"],
                label=name,
            )
        figures.label(axes, x="turns in 1,000 steps", y="growth of log radius a turn", title=regime, log="x")
        axes.set_yscale("symlog", linthresh=0.01)
        axes.axhline(0.0, color="#222222", linewidth=0.8)
    figures.legend_below(figure)
    return figure


def draw_rates(results: Results) -> Figure:
    """Final distance over the learning rate, in three regimes."""
    sweep = results.sweep("tuned")
    chosen = (sweep.regimes[0], sweep.regimes[1], "Dirac-GAN, penalty")
    figure, panels = figures.new_figure(columns=3, width=10.2, height=4.6)
    for axes, regime in zip(panels, chosen, strict=True):
        figures.lr_curve(axes, sweep, regime, variants=SHOWN)
        figures.label(axes, y="final distance (start: 1)", title=regime, log="xy")
        axes.set_ylim(1e-6, 1e2)
    figures.legend_below(figure, panels[0])
    return figure
