"""Figures of the study mean-variance."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.study import Results
from finance.parametrisation import NAMES
from finance.studies.mean_variance_settings import (
    BATCHES,
    HIGH,
    LONG_ONLY,
    LOW,
    NEAR,
    RULES,
    attainable,
    better_schedule,
    exact_gap,
    gap,
    run_of,
)

INK = "#222222"
FLOOR = 1e-6
"""Gaps below it are drawn there."""
DRAWN = ("Gradient descent", "Momentum", "AMSGrad", "Adam")
"""AMSGrad is mostly as Adam is, and lies under it."""


def draw_gaps(results: Results) -> Figure:
    """Final gaps of all pairs, beside what the same days allow."""
    figure, panels = figures.new_figure(rows=2, columns=3, width=10.8, height=7.0, sharex=True, sharey=True)
    cells = [(g, text) for g in (LOW, HIGH) for text in BATCHES]
    for axes, (gamma, text) in zip(panels, cells, strict=True):
        regime = f"simplex, {text}, γ = {gamma:g}"
        exact, best = (stats.interval(f(results, regime)) for f in (exact_gap, attainable))
        axes.axvspan(FLOOR / 2, max(best[0], 0.0) + NEAR, color=INK, alpha=0.06, linewidth=0)
        axes.axvline(
            max(exact[0], FLOOR), color=INK, linestyle=(0, (4, 3)), linewidth=1.1, label="exact, same days"
        )
        axes.axvline(1.0, color=INK, linestyle=":", linewidth=1.1, label="1/N")
        for row, p in enumerate(LONG_ONLY):
            for place, rule in enumerate(RULES):
                _dot(axes, row + 0.17 * (place - 1.5), results, f"{p}, {text}, γ = {gamma:g}", rule)
        axes.set_yticks(range(len(LONG_ONLY)), [name_on_axes(p) for p in LONG_ONLY])
        axes.set_ylim(len(LONG_ONLY) - 0.5, -0.5)
        axes.grid(False, axis="y")
        figures.label(axes, title=f"{text} a step, γ = {gamma:g}", log="x")
        axes.set_xlim(FLOOR / 2, 4.0)
        if gamma == HIGH:
            figures.label(axes, x="gap to the optimum (1/N = 1)")
    figures.legend_below(figure)
    return figure


def name_on_axes(parametrisation: str) -> str:
    """On two lines where it is of two words or more."""
    head, _, tail = NAMES[parametrisation].partition(" ")
    return f"{head}\n{tail}" if tail else head


def _dot(axes: Axes, height: float, results: Results, regime: str, rule: str) -> None:
    look = figures.line(rule)
    values = np.clip(gap(results, regime, rule), FLOOR, None)
    middle, low, high = stats.interval(values)
    axes.plot([low, high], [height, height], color=look["color"], linewidth=2.2, solid_capstyle="butt")
    axes.plot(
        middle, height, color=look["color"], marker=look["marker"], markersize=6.5, linestyle="", label=rule
    )


def draw_curves(results: Results) -> Figure:
    """The gap over steps."""
    figure, panels = figures.new_figure(rows=2, columns=4, width=10.8, height=6.0, sharex=True, sharey="row")
    cells = [(g, p) for g in (LOW, HIGH) for p in LONG_ONLY]
    for axes, (gamma, p) in zip(panels, cells, strict=True):
        regime = f"{p}, 32 days, γ = {gamma:g}"
        for rule in DRAWN:
            run = run_of(results, regime, rule)
            figures.curves_with_intervals(
                axes,
                run.steps,
                run.curves["relative_gap"],
                better_schedule(results, regime, rule),
                legend=rule,
                look=figures.line(rule),
            )
        axes.axhline(
            float(stats.interval(exact_gap(results, regime))[0]),
            color=INK,
            linestyle=(0, (4, 3)),
            linewidth=1.1,
            label="exact, same days",
        )
        figures.label(axes, x="step", y="gap (1/N = 1)", title=f"{name_on_axes(p)}, γ = {gamma:g}", log="y")
        axes.label_outer()
    figures.legend_below(figure)
    return figure


def draw_rates(results: Results) -> Figure:
    """The gap against the learning rate."""
    figure, panels = figures.new_figure(columns=4, width=10.8, height=3.8, sharey=True)
    for axes, p in zip(panels, LONG_ONLY, strict=True):
        regime = f"{p}, 32 days, γ = {HIGH:g}"
        names = tuple(better_schedule(results, regime, rule) for rule in DRAWN)
        figures.lr_curve(axes, results.sweep("tuned"), regime, variants=names)
        axes.set_ylim(2e-2, 10.0)
        axes.set_yscale("log")
        figures.label(axes, title=name_on_axes(p), y="gap (1/N = 1)")
        axes.label_outer()
    figures.legend_below(figure)
    return figure
