"""The figures of a tearsheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures
from core.lab.figures.style import QUIET
from core.lab.tables import number
from finance.backtest import Backtest
from finance.frontier import Frontier, NoTangencyError, Portfolios
from finance.moments import TRADING_DAYS, realised_volatility
from finance.point_names import laid_out, name_points
from finance.prices import Days, Floats
from finance.wealth_axis import label_wealth

_YEAR, _ROOT = 100.0 * TRADING_DAYS, 100.0 * np.sqrt(TRADING_DAYS)
_NAMED = 10  # assets with a colour of their own in the transition map
# Okabe and Ito's colours (2008), then darker and lighter relatives of them.
_COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#6A5FE0",
    "#7A2E1D",
    "#0C5053",
)
_CHOSEN = "#000000"
_BARS = ("#0072B2", "#E69F00")


def draw_frontier(
    frontier: Frontier, chosen: Portfolios, tickers: Sequence[str], *, risk_free: float = 0.0
) -> Figure:
    """The frontier with its assets, 1/N, the capital market line and the chosen portfolio; a year.

    `risk_free` is a day's rate. Where no tangency portfolio exists, there is no line.
    """
    figure, (axes,) = figures.new_figure(width=8.2, height=5.0)
    path = frontier.spaced(200)
    deviation = np.sqrt(np.diagonal(frontier.covariance))
    equal = np.full(len(tickers), 1.0 / len(tickers))
    with figures.style():
        axes.plot(
            _ROOT * path.volatility,
            _YEAR * path.expected_return,
            color=_COLOURS[0],
            label="efficient frontier",
        )
        axes.scatter(_ROOT * deviation, _YEAR * frontier.mean, s=16, color=QUIET, label="assets")
        _mark(axes, frontier.min_variance(), "v", _COLOURS[2], "least variance")
        _mark(axes, chosen, "*", _CHOSEN, f"γ = {number(chosen.risk_aversion[0], 6)}")
        spread = float(np.sqrt(equal @ frontier.covariance @ equal))
        axes.plot(_ROOT * spread, _YEAR * equal @ frontier.mean, "s", color=_COLOURS[3], label="1/N")
        try:
            tangency = frontier.max_sharpe(risk_free)
        except NoTangencyError:
            pass
        else:
            _mark(axes, tangency, "D", _COLOURS[5], "tangency portfolio")
            slope = (tangency.expected_return[0] - risk_free) / tangency.volatility[0]
            reach = np.array([0.0, 1.4 * tangency.volatility[0]])
            axes.plot(
                _ROOT * reach,
                _YEAR * (risk_free + slope * reach),
                "--",
                color=_COLOURS[5],
                lw=1.0,
                label="capital market line",
            )
        axes.set_xlim(0.0, 1.08 * _ROOT * float(deviation.max()) or 1.0)
        axes.axhline(0.0, color=QUIET, lw=0.6)
    figures.label(axes, x="volatility [% a year]", y="expected return [% a year]")
    figures.legend_below(figure)
    laid_out(figure)
    name_points(axes, _ROOT * deviation, _YEAR * frontier.mean, tickers)
    return figure


def _mark(axes: Axes, one: Portfolios, marker: str, colour: str, name: str) -> None:
    axes.plot(
        _ROOT * one.volatility,
        _YEAR * one.expected_return,
        marker,
        color=colour,
        ms=11 if marker == "*" else 6,
        zorder=4,
        label=name,
        linestyle="none",
    )


def draw_transition(frontier: Frontier, chosen: Portfolios, tickers: Sequence[str]) -> Figure:
    """Weights along the frontier, from least variance to greatest return; long-only portfolios."""
    figure, (axes,) = figures.new_figure(width=8.2, height=3.8)
    path = frontier.spaced(400)
    # On the axis of return every point is one portfolio, unless all are the same one (see below).
    largest = path.weights.max(axis=0)
    order = np.argsort(-largest, kind="stable")
    named = [i for i in order[:_NAMED] if largest[i] > 0.005]
    rest = 1.0 - path.weights[:, named].sum(axis=1)
    across = _YEAR * path.expected_return
    if across[-1] <= across[0]:  # one return for all: any axis will do
        across = across[0] + np.linspace(-0.5, 0.5, len(across))
    with figures.style():
        layers = [100 * path.weights[:, i] for i in named]
        colours = list(_COLOURS[: len(named)])
        names = [tickers[i] for i in named]
        if rest.max() > 1e-9:
            layers, colours, names = [*layers, 100 * rest], [*colours, "#d9d9d9"], [*names, "others"]
        axes.stackplot(across, *layers, colors=colours, labels=names, lw=0.4, edgecolor="white")
        place = _YEAR * chosen.expected_return[0]
        share = (place - across[0]) / (across[-1] - across[0])
        axes.axvline(place, color=_CHOSEN, lw=1.2)
        axes.annotate(
            f"γ = {number(chosen.risk_aversion[0], 6)}",
            (place, 100),
            xytext=(0, 2),
            textcoords="offset points",
            ha="left" if share < 0.05 else "right" if share > 0.95 else "center",
            fontsize=8,
        )
        axes.set_xlim(across[0], across[-1])
        axes.set_ylim(0, 100)
        axes.grid(False)
    figures.label(axes, x="expected return [% a year]", y="weight [%]")
    figures.legend_below(figure)
    return figure


def draw_wealth(results: Mapping[str, Backtest], dates: Days) -> Figure:
    """Wealth and drawdown of walk-forward portfolios, after costs; `dates` are those of the returns."""
    figure, (top, bottom) = figures.new_figure(2, 1, width=8.2, height=5.6, sharex=True)
    with figures.style():
        for (name, result), colour in zip(results.items(), (_CHOSEN, *_COLOURS), strict=False):
            when = np.append(dates[result.first] - np.timedelta64(1, "D"), dates[result.first :])
            width = 1.6 if colour == _CHOSEN else 1.1
            top.plot(when, result.wealth, color=colour, lw=width, label=name)
            bottom.plot(when, 100 * result.drawdown, color=colour, lw=width, label=name)
    label_wealth(top)
    figures.label(bottom, y="below its peak [%]")
    figures.legend_below(figure, top)
    return figure


def draw_volatility(results: Mapping[str, Backtest], dates: Days, window: int = 63) -> Figure:
    """Realised volatility of the last `window` days (fewer where there are not as many)."""
    figure, (axes,) = figures.new_figure(width=8.2, height=3.2)
    with figures.style():
        for (name, result), colour in zip(results.items(), (_CHOSEN, *_COLOURS), strict=False):
            days = min(window, max(len(result.returns) // 4, 1))
            rolling = realised_volatility(result.returns[:, None], days)[:, 0]
            axes.plot(dates[result.first + days - 1 :], 100 * rolling, color=colour, lw=1.2, label=name)
        axes.set_ylim(bottom=0.0)
    figures.label(axes, y=f"volatility of {days} days [% a year]")
    figures.legend_below(figure)
    return figure


def draw_turnover(results: Mapping[str, Backtest], dates: Days) -> Figure:
    """What was traded since the first purchase, summed up."""
    figure, (axes,) = figures.new_figure(width=8.2, height=3.0)
    with figures.style():
        for (name, result), colour in zip(results.items(), (_CHOSEN, *_COLOURS), strict=False):
            axes.step(
                dates[result.days],
                np.append(0.0, np.cumsum(result.turnover[1:])),
                where="post",
                color=colour,
                lw=1.2,
                label=name,
            )
    figures.label(axes, y="traded in all [times wealth]")
    figures.legend_below(figure)
    return figure


def draw_risk(weights: Floats, shares: Floats, tickers: Sequence[str]) -> Figure:
    """Weight and share of the variance, asset by asset (`[N]` each), of what is held."""
    order = [i for i in np.argsort(weights, kind="stable") if abs(weights[i]) > 1e-9]
    figure, (axes,) = figures.new_figure(width=8.2, height=max(1.8, 0.9 + 0.3 * len(order)))
    rows = np.arange(len(order))
    with figures.style():
        axes.barh(rows + 0.2, 100 * weights[order], 0.38, color=_BARS[0], label="weight")
        axes.barh(rows - 0.2, 100 * shares[order], 0.38, color=_BARS[1], label="share of the variance")
        axes.set_yticks(rows, [tickers[i] for i in order])
        axes.grid(False, axis="y")
        axes.axvline(0.0, color=QUIET, lw=0.8)
    figures.label(axes, x="%")
    figures.legend_below(figure)
    return figure
