"""The film of the study mean-variance: a portfolio on its way along the efficient frontier."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from core.lab import figures
from core.lab.experiment import Array, Payload
from core.lab.figures.style import INK
from core.lab.films import Film
from core.lab.study import Results
from finance.moments import TRADING_DAYS

_HELD = 0.05
"""Companies that never have more than this weight share one colour."""
_OTHERS = "#b5b5b5"
_SHADES = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#8C982D",
    "#7B2D8B",
    "#7A2E1D",
    "#4B929A",
    "#725600",
    "#6A5FE0",
    "#A8A020",
    "#863766",
    "#001E70",
)
_NEAR = (6.0, 0.9)
"""Names of companies that lie nearer to each other, in risk and in return, would run into each other."""


def film_frontier(results: Results) -> Film:
    """The point on the frontier, its weights, and all weights over risk."""
    (found,) = results.measurement("frontier").arrays
    risk, earned = _yearly(found, "risk"), _yearly(found, "return")
    tickers = [name.removeprefix("weight ") for name in found if name.startswith("weight ")]
    weights = np.stack([found[f"weight {t}"][0] for t in tickers])
    figure, (left, middle, right) = figures.new_figure(columns=3, width=9.6, height=3.5)
    (point,) = left.plot([], [], marker="o", markersize=9, color=INK, markeredgecolor="white")
    _draw_frontier(left, found, tickers, risk, earned)
    shades = _shades(weights)
    order = sorted(range(len(tickers)), key=lambda i: (shades[i] == _OTHERS, int(weights[i].argmax())))
    middle.stackplot(
        risk, weights[order], colors=[shades[i] for i in order], linewidth=0.4, edgecolor="white"
    )
    middle.set_xlim(risk[0], risk[-1])
    middle.set_ylim(0.0, 1.0)
    figures.label(middle, x="risk, % a year", title="weights")
    (cursor,) = middle.plot([], [], color=INK, linewidth=1.6)
    bars = right.barh(range(len(tickers)), weights[order, 0], color=[shades[i] for i in order], height=0.72)
    right.set_yticks(range(len(tickers)), [tickers[i] for i in order], fontsize=7)
    right.set_xlim(0.0, 1.0)
    right.grid(False, axis="y")
    figures.label(right, x="weight", title="the portfolio")

    def move(frame: int) -> str:
        point.set_data([risk[frame]], [earned[frame]])
        cursor.set_data([risk[frame]] * 2, [0.0, 1.0])
        for bar, i in zip(bars, order, strict=True):
            bar.set_width(weights[i, frame])
        return f"risk {risk[frame]:.1f} %, return {earned[frame]:.1f} % a year"

    return Film(figure, [point, cursor, *bars], move, frames=len(risk), still=len(risk) // 2)


def _yearly(found: Payload, name: str) -> Array:
    """A return or a risk in per cent a year."""
    scale = TRADING_DAYS if name.startswith("return") else np.sqrt(TRADING_DAYS)
    return np.asarray(100.0 * scale * found[name][0])


def _draw_frontier(axes: Axes, found: Payload, tickers: list[str], risk: Array, earned: Array) -> None:
    axes.plot(risk, earned, color=INK, linewidth=1.4, zorder=1)
    named: list[tuple[float, float]] = []
    for ticker in tickers:
        x, y = float(_yearly(found, f"risk {ticker}")), float(_yearly(found, f"return {ticker}"))
        axes.plot(x, y, marker=".", color="#9a9a9a", zorder=0)
        if all(abs(x - a) > _NEAR[0] or abs(y - b) > _NEAR[1] for a, b in named):
            axes.annotate(ticker, (x, y), (3, 1), textcoords="offset points", fontsize=6, color="#6b6b6b")
            named.append((x, y))
    figures.label(axes, x="risk, % a year", y="expected return, % a year", title="efficient frontier")


def _shades(weights: Array) -> list[str]:
    """A colour for each company that is ever held in earnest, grey for the others."""
    held = [i for i in range(len(weights)) if weights[i].max() > _HELD]
    held.sort(key=lambda i: int(weights[i].argmax()))
    colours = {i: _SHADES[place % len(_SHADES)] for place, i in enumerate(held)}
    return [colours.get(i, _OTHERS) for i in range(len(weights))]
