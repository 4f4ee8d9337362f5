"""Figures of the study out-of-sample."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures
from core.lab.stats import Interval
from core.lab.study import Results
from finance.embedded import Embedded
from finance.studies.out_of_sample_settings import (
    ALLOCATIONS,
    DATA,
    DESCENDED,
    EXACT,
    all_backtests,
    all_moments,
    interval,
    traded,
)
from finance.wealth_axis import label_wealth

INK = "#222222"
# Okabe and Ito (2008).
SHOWN = {
    "1/N": INK,
    "minimum variance": "#009E73",
    EXACT: "#E69F00",
    "Adam, softmax": "#0072B2",
    "Adam, Euclidean projection": "#CC79A7",
}


def _dot(axes: Axes, row: int, values: Interval, colour: str) -> None:
    axes.plot(values[1:], [row, row], color=colour, linewidth=2.4, solid_capstyle="butt")
    axes.plot(values[0], row, color=colour, marker="o", markersize=6.5)


def draw_performance(results: Results) -> Figure:
    """Sharpe ratio less that of 1/N, volatility, turnover."""
    figure, panels = figures.new_figure(rows=2, columns=3, width=10.8, height=8.0, sharey=True)
    names = (*ALLOCATIONS, *DESCENDED)
    for number, data in enumerate(DATA):
        sharpe, volatility, turnover = panels[3 * number : 3 * number + 3]
        runs = results.once(all_backtests, data)
        found = results.once(all_moments, data)
        base = found["1/N"]
        for row, name in enumerate(names):
            colour = INK if name in ALLOCATIONS else figures.colour(name)
            one = found[name]
            _dot(sharpe, row, interval(one.sharpe - base.sharpe, one.sharpes - base.sharpes), colour)
            _dot(volatility, row, interval(100 * one.volatility, 100 * one.volatilities), colour)
            _dot(turnover, row, traded(runs[name]), colour)
        sharpe.axvline(0.0, color=INK, linestyle=(0, (4, 3)), linewidth=1.0)
        for axes in (sharpe, volatility, turnover):
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.grid(False, axis="y")
        figures.label(sharpe, x="Sharpe ratio less 1/N's", title=DATA[data])
        figures.label(volatility, x="volatility [% a year]")
        figures.label(turnover, x="turnover a year")
    return figure


def draw_wealth(results: Results) -> Figure:
    """Wealth of a few portfolios."""
    figure, panels = figures.new_figure(columns=2, width=10.0, height=4.4)
    for axes, data in zip(panels, DATA, strict=True):
        dates = Embedded(data).fetch().dates[1:]  # type: ignore[arg-type]  # from DATA
        for name, runs in results.once(all_backtests, data).items():
            if name not in SHOWN:
                continue
            wealth = np.median(np.stack([run.wealth for run in runs]), axis=0)[1:]
            axes.plot(
                dates[runs[0].first :][:: max(1, len(wealth) // 400)],
                wealth[:: max(1, len(wealth) // 400)],
                color=SHOWN[name],
                linewidth=1.3,
                label=name,
            )
        label_wealth(axes, title=DATA[data])
        axes.tick_params(axis="x", labelrotation=30)
    figures.legend_below(figure)
    return figure
