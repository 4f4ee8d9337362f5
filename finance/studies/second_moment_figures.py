"""Figures of the study second-moment-is-risk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.study import Results
from core.lab.verdict import finding
from finance.correlates import permutation_band
from finance.embedded import Embedded
from finance.moments import TRADING_DAYS
from finance.point_names import laid_out, name_points
from finance.studies.second_moment_settings import (
    FAST,
    PARAMETRISATIONS,
    REGIMES,
    RISK_AVERSIONS,
    THRESHOLD,
    agreement_along,
    agreements,
    at_the_end,
)
from finance.traces import BETA2, log_steps

INK = "#222222"
HELD = 0.01


def _chance(axes: Axes, *, vertical: bool = False) -> None:
    """The band in which a shuffled v falls."""
    half = permutation_band(20)
    span = axes.axvspan if vertical else axes.axhspan
    span(-half, half, color=INK, alpha=0.07, linewidth=0, label="chance (95%)")


def draw_assets(results: Results) -> Figure:
    """Volatility against sqrt(v̂), ticker by ticker."""
    figure, panels = figures.new_figure(rows=2, columns=3, width=10.8, height=7.4, sharex=True)
    tickers = Embedded().fetch().tickers
    rows = [(batch, p) for batch in ("1 day", "all days") for p in PARAMETRISATIONS]
    points: dict[Axes, tuple[Array, Array]] = {}
    for axes, (batch, p) in zip(panels, rows, strict=True):
        regime = f"{p}, {batch}, γ = {RISK_AVERSIONS[0]:g}"
        root, seen = results.once(at_the_end, regime)
        corrected = np.median(root, axis=0) / np.sqrt(1.0 - BETA2**results.plan.steps)
        held = np.median(seen.weight, axis=0) > HELD
        look = figures.lines(PARAMETRISATIONS)[p]
        if p != "softmax" and batch == "1 day":
            reach = np.array([seen.volatility.min(), seen.volatility.max()])
            axes.plot(
                100 * reach,
                reach / np.sqrt(TRADING_DAYS),
                color="black",
                linestyle=(0, (4, 3)),
                linewidth=0.9,
            )
        rho = stats.interval(results.once(agreements, regime)["volatility"])
        figures.label(axes, title=f"{p}, {batch}: ρ = {rho[0]:.2f}", log="xy")
        if batch == "all days":
            figures.label(axes, x="volatility [% a year]")
        if p == PARAMETRISATIONS[0]:
            figures.label(axes, y="sqrt(v̂)")
        axes.set_xticks([20, 30, 40, 60], ["20", "30", "40", "60"])
        axes.set_xticks([], minor=True)
        axes.set_xlim(18, 80)
        points[axes] = 100 * seen.volatility, corrected
        _discs(axes, *points[axes], held, look["color"])
    laid_out(figure)
    for axes, (x, y) in points.items():
        name_points(axes, x, y, tickers)
    return figure


def _discs(axes: Axes, x: Array, y: Array, held: Array, colour: str) -> None:
    """Full ones are held."""
    for member, fill in ((held, colour), (~held, "white")):
        axes.scatter(x[member], y[member], s=22, facecolor=fill, edgecolor=colour, linewidths=1.1, zorder=3)


def draw_correlations(results: Results) -> Figure:
    """Four correlates, regime by regime."""
    figure, panels = figures.new_figure(columns=4, width=10.8, height=6.2, sharey=True)
    titles = ("volatility", "sd of the gradient", "|mean gradient|", "weight")
    columns: list[list[stats.Interval]] = [[], [], [], []]
    for regime in REGIMES:
        found = results.once(agreements, regime.name)
        for column, other in zip(columns, ("volatility", "noise", "mean", "weight"), strict=True):
            column.append(stats.interval(found[other]))
    replicas = results.plan.reporting_seeds
    judged = [
        finding(r.name, i, above=THRESHOLD, replicas=replicas, text="", unit="Spearman")
        for r, i in zip(REGIMES, columns[0], strict=True)
    ]
    figures.effect_bars(panels[0], judged)
    for axes, title, column in zip(panels, titles, columns, strict=True):
        if axes is not panels[0]:
            noiseless = title == "sd of the gradient"
            _beside(
                axes,
                [
                    None if noiseless and r.settings["batch"] is None else i
                    for r, i in zip(REGIMES, column, strict=True)
                ],
            )
        _chance(axes, vertical=True)
        axes.set_xlim(-1.08, 1.08)
        axes.grid(False, axis="y")
        figures.label(axes, x="Spearman's ρ with sqrt(v̂)", title=title)
    figures.legend_below(figure)
    return figure


def _beside(axes: Axes, intervals: Sequence[stats.Interval | None]) -> None:
    """Intervals that are not judged; None where there is no noise to agree with."""
    for row, values in enumerate(intervals):
        if values is None:
            axes.annotate("no noise", (0.0, row), ha="center", va="center", fontsize=7.5, color="#6b6b6b")
            continue
        axes.plot(values[1:], [row, row], color=INK, linewidth=2.4, solid_capstyle="butt")
        label = "not judged" if row == 0 else None
        axes.plot(
            values[0],
            row,
            marker="o",
            markersize=6.5,
            color=INK,
            markerfacecolor="white",
            linestyle="",
            label=label,
        )


def draw_along(results: Results) -> Figure:
    """Correlation of v̂ with volatility over the step."""
    figure, panels = figures.new_figure(rows=2, columns=2, width=9.0, height=6.4, sharex=True, sharey=True)
    steps = np.array(log_steps(results.plan.steps, results.plan.sizes["points"]))
    looks = figures.lines([*PARAMETRISATIONS, "direct estimate"])
    cells = [(text, batch, g) for text, batch in (("1 day", 1), ("all days", None)) for g in RISK_AVERSIONS]
    for axes, (text, batch, gamma) in zip(panels, cells, strict=True):
        for p in PARAMETRISATIONS:
            curve = agreement_along(
                results,
                FAST,
                parametrisation=p,
                batch=batch,
                risk_aversion=gamma,
                span=None,
                standardised=False,
            )
            figures.curves_with_intervals(axes, steps, curve, p, higher=True, look=looks[p])
        if batch == 1:
            direct = agreement_along(results, FAST, risk_aversion=0.0)
            figures.curves_with_intervals(
                axes, steps, direct, "direct estimate", higher=True, look=looks["direct estimate"]
            )
        axes.axhline(THRESHOLD, color="black", linestyle=(0, (4, 3)), linewidth=1.0)
        _chance(axes)
        axes.set_ylim(-0.55, 1.05)
        figures.label(
            axes, x="step", y="ρ of v̂ with volatility", title=f"{text} a step, γ = {gamma:g}", log="x"
        )
        axes.label_outer()
    figures.legend_below(figure, columns=5)
    return figure
