"""Figures of the study implicit-risk-management."""

from __future__ import annotations

from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.study import Results
from finance.embedded import Embedded
from finance.studies.implicit_risk_settings import (
    ADAM,
    EUCLIDEAN,
    HIGH,
    LONG_ONLY,
    LOW,
    MIDDLE,
    ORACLE,
    SHARED,
    VARIANTS,
    caution,
    optimum,
    predicted_rest,
    rest_measures,
    rest_weights,
)
from finance.studies.mean_variance_figures import name_on_axes

INK = "#222222"
AVERSIONS = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 14.0, 20.0, 30.0)


@cache
def _curve(variant: str | None) -> Array:
    """Volatility in % a year over `AVERSIONS`: of the optimum (None), or of a derived point of rest."""
    points = (optimum(g) if variant is None else predicted_rest("simplex", variant, g) for g in AVERSIONS)
    return np.array([100 * float(caution(w)["volatility"]) for w in points])


def draw_law(results: Results) -> Figure:
    """Volatility over risk aversion: optimum, derived point of rest, long runs."""
    figure, panels = figures.new_figure(columns=4, width=10.8, height=3.9, sharex=True, sharey=True)
    for axes, p in zip(panels, LONG_ONLY, strict=True):
        axes.plot(AVERSIONS, _curve(None), color=INK, linewidth=1.2, label="optimum")
        if p in EUCLIDEAN:
            axes.plot(
                AVERSIONS,
                _curve(ADAM),
                color=figures.colour(ADAM),
                linestyle=(0, (4, 3)),
                linewidth=1.4,
                label="derived point of rest",
            )
        for name, shift in ((SHARED, 0.93), (ADAM, 1.0), (ORACLE, 1.07)):
            _long_runs(axes, results, p, name, shift)
        figures.label(axes, x="risk aversion γ", y="volatility [% a year]", title=name_on_axes(p), log="x")
        axes.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
        axes.set_xticks([], minor=True)
        axes.label_outer()
    figures.legend_below(figure)
    return figure


def _long_runs(axes: Axes, results: Results, parametrisation: str, name: str, shift: float) -> None:
    look = figures.line(name)
    for gamma in (LOW, MIDDLE, HIGH):
        values = 100 * caution(rest_weights(results, parametrisation, name, gamma))["volatility"]
        middle, low, high = stats.interval(values)
        axes.plot([shift * gamma] * 2, [low, high], color=look["color"], linewidth=2.0)
        axes.plot(
            shift * gamma,
            middle,
            color=look["color"],
            marker=look["marker"],
            markersize=7,
            linestyle="",
            label=name,
        )


def draw_paths(results: Results) -> Figure:
    """Volatility against the gap along training."""
    figure, panels = figures.new_figure(rows=2, columns=4, width=10.8, height=6.2, sharey="row")
    cells = [(g, p) for g in (LOW, HIGH) for p in LONG_ONLY]
    for axes, (gamma, p) in zip(panels, cells, strict=True):
        for name in VARIANTS:
            gap, volatility = results.once(rest_measures, p, name, gamma)
            volatility = 100 * volatility
            look = figures.line(name)
            axes.plot(
                np.median(gap, axis=0),
                np.median(volatility, axis=0),
                color=look["color"],
                linestyle=look["linestyle"],
                linewidth=1.5,
                label=name,
            )
            axes.plot(
                np.median(gap[:, -1]),
                np.median(volatility[:, -1]),
                color=look["color"],
                marker=look["marker"],
                markersize=7,
            )
        best = 100 * float(caution(optimum(gamma))["volatility"])
        axes.plot(0.0, best, marker="*", color=INK, markersize=11, linestyle="", label="optimum", zorder=5)
        axes.set_xlim(1.1, -0.06)
        figures.label(
            axes, x="gap (1/N = 1)", y="volatility [% a year]", title=f"{name_on_axes(p)}, γ = {gamma:g}"
        )
        axes.label_outer()
    figures.legend_below(figure)
    return figure


def draw_weights(results: Results) -> Figure:
    """Weights at rest: optimum, derived point, long runs."""
    tickers = np.array(Embedded().fetch().tickers)
    figure, panels = figures.new_figure(columns=2, width=9.6, height=5.4)
    for axes, gamma in zip(panels, (LOW, HIGH), strict=True):
        best, law = optimum(gamma), predicted_rest("simplex", ADAM, gamma)
        found = rest_weights(results, "simplex", ADAM, gamma)
        order = np.argsort(best + 1e-3 * law, kind="stable")
        rows = np.arange(len(order))
        axes.barh(rows, 100 * best[order], color="#d9d9d9", label="optimum")
        axes.scatter(
            100 * law[order],
            rows,
            marker="|",
            s=130,
            color=INK,
            linewidths=2.0,
            label="derived point of rest",
        )
        look = figures.line(ADAM)
        axes.errorbar(
            100 * found.mean(axis=0)[order],
            rows,
            xerr=100 * found.std(axis=0)[order],
            fmt=look["marker"],
            color=look["color"],
            markersize=5,
            label="Adam, mean ± sd of seeds",
        )
        axes.set_yticks(rows, tickers[order])
        axes.grid(False, axis="y")
        figures.label(axes, x="weight [%]", title=f"Euclidean projection, γ = {gamma:g}")
    figures.legend_below(figure)
    return figure
