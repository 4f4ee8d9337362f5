"""A portfolio's tearsheet: one offline page, and its figures and tables as files."""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from matplotlib.figure import Figure

import core.lab.report
from core.lab import figures
from core.lab.errors import VhatError
from core.lab.study import Table
from core.lab.tables import number, with_interval
from finance.allocation import risk_contributions
from finance.backtest import Backtest
from finance.frontier import Frontier, NoTangencyError, Portfolios
from finance.moments import TRADING_DAYS
from finance.performance import Performance
from finance.prices import Floats, Prices
from finance.tearsheet_figures import (
    draw_frontier,
    draw_risk,
    draw_transition,
    draw_turnover,
    draw_volatility,
    draw_wealth,
)


@dataclass(frozen=True, eq=False)
class Tearsheet:
    """What a tearsheet shows.

    Attributes:
        prices: of N tickers.
        frontier: from moments of all their days.
        chosen: one portfolio of it.
        backtests: walk-forward results by name, the chosen way first; all over the same days.
        performances: of each of them.
        risk_free: rate a day.
        facts: how it was made, name and value.
    """

    prices: Prices
    frontier: Frontier
    chosen: Portfolios
    backtests: Mapping[str, Backtest]
    performances: Mapping[str, Performance]
    risk_free: float
    facts: tuple[tuple[str, str], ...]

    @property
    def weights(self) -> Floats:
        """`[N]`, of the chosen portfolio."""
        out: Floats = self.chosen.weights[0]
        return out

    @property
    def shares(self) -> Floats:
        """`[N]`, of its variance; zeros where it has none."""
        if self.chosen.volatility[0] == 0.0:
            return np.zeros_like(self.weights)
        return risk_contributions(self.weights, self.frontier.covariance)


def weights_table(sheet: Tearsheet) -> Table:
    """Ticker by ticker, the largest weight first."""
    deviation = np.sqrt(np.diagonal(sheet.frontier.covariance) * TRADING_DAYS)
    rows = tuple(
        (
            sheet.prices.tickers[i],
            f"{100 * sheet.weights[i]:.2f}",
            f"{100 * sheet.shares[i]:.2f}",
            f"{100 * TRADING_DAYS * sheet.frontier.mean[i]:.1f}",
            f"{100 * deviation[i]:.1f}",
        )
        for i in np.argsort(-sheet.weights, kind="stable")
    )
    head = ("ticker", "weight %", "share of variance %", "mean return % a year", "volatility % a year")
    return Table(f"Weights at risk aversion {number(sheet.chosen.risk_aversion[0], 6)}", head, rows)


def portfolios_table(sheet: Tearsheet) -> Table:
    """The chosen portfolio beside the ends of the frontier and the tangency portfolio."""
    named = {
        f"chosen, γ = {number(sheet.chosen.risk_aversion[0], 6)}": sheet.chosen,
        "least variance": sheet.frontier.min_variance(),
        "greatest return": sheet.frontier.max_return(),
    }
    remark = ""
    try:
        named["greatest Sharpe ratio"] = sheet.frontier.max_sharpe(sheet.risk_free)
    except NoTangencyError as error:
        remark = f" There is no tangency portfolio: {error}."
    rows = tuple(
        (
            name,
            f"{100 * TRADING_DAYS * one.expected_return[0]:.2f}",
            f"{100 * np.sqrt(TRADING_DAYS) * one.volatility[0]:.2f}",
            _ratio(one, sheet.risk_free),
            _aversion(name, one),
            str(int((one.weights[0] > 1e-9).sum())),
            f"{one.kkt_residual[0]:.0e}",
            f"{one.duality_gap[0]:.0e}",
        )
        for name, one in named.items()
    )
    return Table(
        "Portfolios of the frontier, on the days that its moments were taken from (not a forecast). "
        f"Sharpe ratios are with {100 * TRADING_DAYS * sheet.risk_free:g}% a year taken off. "
        f"The last two columns bound how far each is from optimal.{remark}",
        (
            "portfolio",
            "return % a year",
            "volatility % a year",
            "Sharpe ratio",
            "γ",
            "held",
            "KKT residual",
            "gap",
        ),
        rows,
    )


def _aversion(name: str, one: Portfolios) -> str:
    gamma = number(one.risk_aversion[0])
    # The portfolio of greatest return is the best one for every smaller risk aversion too.
    return f"up to {gamma}" if name == "greatest return" else gamma


def _frontier_caption(sheet: Tearsheet) -> str:
    rate = f"{100 * TRADING_DAYS * sheet.risk_free:g}% a year"
    try:
        sheet.frontier.max_sharpe(sheet.risk_free)
    except NoTangencyError:
        return (
            "The frontier and its assets. No portfolio has a greatest Sharpe ratio at a risk-free rate of "
            f"{rate}, so there is no capital market line."
        )
    return (
        f"The frontier, its assets, and the capital market line from the risk-free rate ({rate}) through the "
        "tangency portfolio."
    )


def _ratio(one: Portfolios, risk_free: float) -> str:
    if one.volatility[0] == 0.0:
        return "n/a"
    return number((one.expected_return[0] - risk_free) / one.volatility[0] * np.sqrt(TRADING_DAYS))


def performance_table(sheet: Tearsheet) -> Table:
    """Every backtest with its intervals."""
    rows = []
    for name, found in sheet.performances.items():
        percent = [
            with_interval((100 * a, 100 * b, 100 * c))
            for a, b, c in (found.growth, found.volatility, found.drawdown)
        ]
        rows.append(
            (
                name,
                percent[0],
                percent[1],
                with_interval(found.sharpe),
                percent[2],
                with_interval(found.turnover),
            )
        )
    return Table(
        f"Walk-forward, after costs; Sharpe ratios with {100 * TRADING_DAYS * sheet.risk_free:g}% a year "
        "taken off. In brackets 95% intervals of the stationary bootstrap (Politis and "
        "Romano 1994; blocks of 21 days on average, 1,000 resamples).",
        (
            "allocation",
            "growth % a year",
            "volatility % a year",
            "Sharpe ratio",
            "deepest drawdown %",
            "turnover a year",
        ),
        tuple(rows),
    )


@dataclass(frozen=True)
class _Shown:
    """A figure on the page."""

    name: str
    caption: str
    alt: str
    source: str
    width: int
    height: int


@dataclass(frozen=True)
class _Section:
    title: str
    text: str
    tables: tuple[Table, ...]
    figures: tuple[_Shown, ...]


def write_tearsheet(sheet: Tearsheet, out: Path) -> Path:
    """Write `tearsheet.html`, which needs no other file, and figures (SVG, PNG) and tables (CSV) beside it.

    Returns:
        The page.

    Raises:
        VhatError: when the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        page = _page(sheet, out)
        path = out / "tearsheet.html"
        path.write_text(page, "utf-8")
    except OSError as error:
        raise VhatError(
            f"cannot write the tearsheet to {out}: {error.strerror}; choose another folder with --out"
        ) from error
    return path


def _page(sheet: Tearsheet, out: Path) -> str:
    dates = sheet.prices.dates[1:]  # of returns
    weights, points, results = weights_table(sheet), portfolios_table(sheet), performance_table(sheet)
    for name, table in (("portfolios", points), ("performance", results)):
        _save_rows((table.columns, *table.rows), out / f"{name}.csv")
    _save_rows([("what", "how"), *sheet.facts], out / "facts.csv")
    _save_series(sheet, out)
    tickers = sheet.prices.tickers
    drawn = [figures.plain(t) for t in tickers]
    gamma = sheet.chosen.risk_aversion[0]

    def shown(name: str, figure: Figure, caption: str, alt: str) -> _Shown:
        return _save_figure(figure, out, name, caption, alt)

    sections = (
        _Section(
            "What to hold",
            "The weights that maximise w·m - γ/2 w·Sw, long-only, with m and S as estimated below.",
            (weights, points),
            (
                shown(
                    "risk-contributions",
                    draw_risk(sheet.weights, sheet.shares, drawn),
                    "Where the share of the variance exceeds the weight, an asset adds more risk than money.",
                    "Bars of weight and share of variance for each asset held.",
                ),
            ),
        ),
        _Section(
            "Where it lies",
            "Each point of the frontier is the portfolio of least variance at its expected return.",
            (),
            (
                shown(
                    "frontier",
                    draw_frontier(sheet.frontier, sheet.chosen, drawn, risk_free=sheet.risk_free),
                    _frontier_caption(sheet),
                    "Expected return against volatility: frontier, assets, capital market line.",
                ),
                shown(
                    "transition",
                    draw_transition(sheet.frontier, sheet.chosen, drawn),
                    "Transition map: weights along the frontier, least variance on the left.",
                    "Stacked weights along the frontier.",
                ),
            ),
        ),
        _Section(
            "How it would have gone",
            "At each rebalancing only the days before it are used; weights then drift with prices. Past "
            f"results of γ = {number(gamma, 6)} say little about the future: look at the intervals.",
            (results,),
            (
                shown(
                    "wealth",
                    draw_wealth(sheet.backtests, dates),
                    "Wealth and the fall from its peak so far.",
                    "Wealth over time, and drawdown.",
                ),
                shown(
                    "volatility",
                    draw_volatility(sheet.backtests, dates),
                    "Realised volatility, rolling.",
                    "Rolling volatility over time.",
                ),
                shown(
                    "turnover",
                    draw_turnover(sheet.backtests, dates),
                    "Sum of absolute changes of weight; the first purchase is left out.",
                    "Cumulated turnover over time.",
                ),
            ),
        ),
    )
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    assert core.lab.report.__file__ is not None
    style = Path(core.lab.report.__file__).with_name("style.css").read_text("utf-8")
    title = ", ".join(tickers) if len(tickers) <= 4 else f"{len(tickers)} assets, γ = {number(gamma, 6)}"
    return templates.get_template("tearsheet.html").render(
        title=title, lede=sheet.prices.describe(), sections=sections, facts=sheet.facts, style=style
    )


def _save_figure(figure: Figure, out: Path, name: str, caption: str, alt: str) -> _Shown:
    path = out / f"{name}.svg"
    figures.save_png(figure, out / f"{name}.png")
    figures.save_svg(figure, path)
    data = path.read_bytes()
    box = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', data)
    assert box is not None
    width, height = (round(float(size) / 72 * 96) for size in box.groups())
    # Inside the page, so that the one file can be sent to somebody.
    source = "data:image/svg+xml;base64," + base64.b64encode(data).decode()
    return _Shown(name, caption, alt, source, width, height)


def _save_rows(rows: Iterable[Sequence[object]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _save_series(sheet: Tearsheet, out: Path) -> None:
    """Weights, the frontier's turning points, and daily returns and weights of the first backtest, in full
    precision."""
    turning, tickers = sheet.frontier.turning, sheet.prices.tickers
    parts = (turning.risk_aversion, turning.expected_return, turning.volatility, turning.weights)
    name, result = next(iter(sheet.backtests.items()))
    days = sheet.prices.dates[1 + result.first :].astype(str)
    weights = zip(tickers, sheet.weights.tolist(), sheet.shares.tolist(), strict=True)
    _save_rows([("ticker", "weight", "share of variance"), *weights], out / "weights.csv")
    points = zip(*(part.tolist() for part in parts), strict=True)
    head: Sequence[object] = ("risk aversion", "expected return a day", "volatility a day", *tickers)
    _save_rows([head, *([*rest, *held] for *rest, held in points)], out / "frontier.csv")
    lines = zip(days.tolist(), result.returns.tolist(), result.weights.tolist(), strict=True)
    head = ("date", f"return of {name}", *tickers)
    _save_rows([head, *([day, earned, *held] for day, earned, held in lines)], out / "backtest.csv")
