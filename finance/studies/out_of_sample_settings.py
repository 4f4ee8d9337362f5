"""The settings of the study out-of-sample, and what is read off its stored results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from scipy.stats import norm

from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.random import Keys
from core.lab.stats import Interval
from core.lab.study import Results
from core.optim.rules import RULES
from finance.backtest import Backtest, simulate_each, targets
from finance.markets import FUNDS, embedded_returns
from finance.moments import TRADING_DAYS, second_moment
from finance.optimum import long_only_optimum
from finance.parametrisation import CHARTS, Parametrisation
from finance.performance import resamples_of, yearly_turnover
from finance.prices import Floats
from finance.walking import descended_windows

DATA = {"companies": "20 companies, 1992-2022", "factors": "5 factor funds, 2014-2022"}
WINDOW = 504
RISK_AVERSION = 5.0
BATCH = 32
COST = 0.001
BLOCK = 21.0
RESAMPLES = 1000
EXACT = "exact mean-variance"
ALLOCATIONS = (
    "1/N",
    "inverse volatility",
    "minimum variance",
    "Ledoit-Wolf mean-variance",
    "equal risk contribution",
    "maximum diversification",
    EXACT,
)


@dataclass(frozen=True)
class Descended:
    """A portfolio by an update rule.

    Attributes:
        rule: of `core.optim.rules.RULES`.
        parametrisation: how parameters give weights.
        rates: the learning rates from which the first window chooses.
    """

    rule: str
    parametrisation: Parametrisation
    rates: tuple[float, ...]


DESCENDED: Mapping[str, Descended] = {
    "Adam, softmax": Descended("adam", "softmax", (0.03, 0.1, 0.3, 1.0)),
    "Adam, projection in sqrt(v̂)": Descended("adam", "metric", (0.003, 0.01, 0.03, 0.1, 0.3)),
    "Adam, Euclidean projection": Descended("adam", "simplex", (0.003, 0.01, 0.03, 0.1, 0.3)),
    "Gradient descent, Euclidean projection": Descended("sgd", "simplex", (1.0, 3.0, 10.0, 30.0, 100.0)),
    "Gradient descent, exponentiated": Descended("sgd", "exponentiated", (10.0, 30.0, 100.0, 300.0, 1000.0)),
}
ADAM = tuple(name for name in DESCENDED if name.startswith("Adam"))


def returns_of(data: str) -> Floats:
    """Daily returns `[T, N]`, checked for quality."""
    return embedded_returns(None if data == "companies" else FUNDS)


def trading_days(data: str, rebalance: int, most: int) -> Array:
    """The first day of each holding period, int64 `[P]`; the last `most` of them (0: all)."""
    days = np.arange(WINDOW, len(returns_of(data)), rebalance)
    return days[-most:] if most else days


def descend(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:
    """Weights `[R, W, N]` on each trading day, their gap `[R, W]` to the exact optimum of the same window
    (1 is that of equal weights), and the rate `[R]`, chosen by that gap in the first window, on draws of
    its own."""
    how, returns = DESCENDED[cell["portfolio"]], returns_of(cell["data"])
    days = trading_days(cell["data"], cell["rebalance"], cell["most"])
    windows = torch.as_tensor(np.stack([returns[d - WINDOW : d] for d in days]), device=device)
    common: dict[str, Any] = {
        "rule": RULES[how.rule],
        "chart": CHARTS[how.parametrisation],
        "risk_aversion": RISK_AVERSION,
        "batch": BATCH,
        "steps": cell["steps"],
    }
    tuning = Keys.of(range(8), study="out-of-sample/tune", device=device)
    seen = windows.cpu().numpy()
    gaps = [
        float(gaps_of(descended_windows(windows[:1], tuning, lr=lr, **common).cpu().numpy(), seen[:1]).mean())
        for lr in how.rates
    ]
    # A rate that diverges is the worst, not the first that argmin meets.
    rate = how.rates[int(np.argmin([gap if np.isfinite(gap) else np.inf for gap in gaps]))]
    weights = descended_windows(windows, keys, lr=rate, **common).cpu().numpy()
    return {"weights": weights, "gap": gaps_of(weights, seen), "rate": np.full(len(keys), rate)}


def gaps_of(weights: Array, windows: Array) -> Array:
    """Shortfall of utility `[R, W]` of weights `[R, W, N]` to the exact optimum of their windows `[W, T, N]`,
    as a share of that of equal weights."""
    mean, moment = windows.mean(axis=1), np.stack([second_moment(window) for window in windows])

    def utility(w: Array) -> Array:
        risk = np.einsum("...wi,wij,...wj->...w", w, moment, w)
        out: Array = (w * mean).sum(axis=-1) - 0.5 * RISK_AVERSION * risk
        return out

    best = utility(exact_weights(windows))
    equal = utility(np.full(mean.shape, 1.0 / mean.shape[1]))
    out: Array = (best - utility(weights)) / (best - equal)
    return out


def exact_weights(windows: Array) -> Array:
    """The exact optimum `[W, N]` of the utility that the update rules climb (second moments about zero) in
    each of the windows `[W, T, N]`."""
    return np.stack(
        [long_only_optimum(seen.mean(axis=0), second_moment(seen), RISK_AVERSION).weights for seen in windows]
    )


def allocate(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:  # noqa: ARG001
    """Weights `[R, W, N]` of a standard allocation on each trading day: nothing is drawn, all rows agree."""
    # Loaded here: scikit-learn takes a second.
    from finance.allocation import STANDARD

    name, returns = cell["portfolio"], returns_of(cell["data"])
    days = trading_days(cell["data"], cell["rebalance"], cell["most"])
    if name == EXACT:
        weights = exact_weights(np.stack([returns[d - WINDOW : d] for d in days]))
    else:
        part = returns[days[0] - WINDOW :]
        weights = targets(part, STANDARD[name], window=WINDOW, rebalance=cell["rebalance"]).weights
    return {"weights": np.tile(weights, (len(keys), 1, 1))}


def portfolio_cells(names: tuple[str, ...], sizes: Mapping[str, int]) -> tuple[Cell, ...]:
    """Each portfolio on each data set."""
    return tuple(
        {
            "data": data,
            "portfolio": name,
            "rebalance": sizes["rebalance"],
            "most": sizes["periods"],
            "steps": sizes["steps"],
        }
        for data in DATA
        for name in names
    )


def backtests(results: Results, data: str, name: str) -> list[Backtest]:
    """One a seed; of a standard allocation one."""
    standard = name in ALLOCATIONS
    found = results.measurement("standard" if standard else "descended").where(data=data, portfolio=name)
    weights, cell = found.arrays[0]["weights"], found.cells[0]
    days = trading_days(data, cell["rebalance"], cell["most"])
    runs = weights[:1] if standard else weights
    return simulate_each(returns_of(data), days, runs, cost=COST)


def all_backtests(results: Results, data: str) -> dict[str, list[Backtest]]:
    """Of every portfolio."""
    return {name: backtests(results, data, name) for name in (*ALLOCATIONS, *DESCENDED)}


def _counts(days: int) -> Array:
    """How often each day stands in the history itself, which is the first row, and in each resample,
    `[1 + RESAMPLES, T]`."""
    places = resamples_of(days, BLOCK, range(RESAMPLES), study="out-of-sample/bootstrap")
    out = np.ones((1 + RESAMPLES, days))
    for row, place in enumerate(places, 1):
        out[row] = np.bincount(place, minlength=days)
    return out


@dataclass(frozen=True, eq=False)
class Moments:
    """Sharpe ratio and volatility of a portfolio, both a year and the mean over seeds.

    Attributes:
        sharpe: the estimate, without a risk-free rate.
        sharpes: `[RESAMPLES]`, the same in each resample.
        volatility: the estimate.
        volatilities: `[RESAMPLES]`, the same in each resample.
    """

    sharpe: float
    sharpes: Array
    volatility: float
    volatilities: Array


def moments_of(portfolios: Mapping[str, list[Backtest]]) -> dict[str, Moments]:
    """Of each portfolio's backtests, days resampled in blocks (Politis and Romano 1994); the same resamples
    for all."""
    days = len(next(iter(portfolios.values()))[0].returns)
    counts, found = _counts(days), {}
    for name, runs in portfolios.items():
        daily = np.stack([run.returns for run in runs], axis=1)  # [T, S]
        mean, square = counts @ daily / days, counts @ daily**2 / days
        spread = np.sqrt(np.maximum(square - mean**2, 0.0) * days / (days - 1))
        volatility = (spread * np.sqrt(TRADING_DAYS)).mean(axis=1)
        sharpe = (mean / spread * np.sqrt(TRADING_DAYS)).mean(axis=1)
        found[name] = Moments(float(sharpe[0]), sharpe[1:], float(volatility[0]), volatility[1:])
    return found


def all_moments(results: Results, data: str) -> dict[str, Moments]:
    """Of every portfolio."""
    return moments_of(results.once(all_backtests, data))


def interval(estimate: float, resampled: Array) -> Interval:
    """With 95% percentiles of resampled estimates `[B]`."""
    low, high = np.quantile(resampled, [0.025, 0.975])
    return estimate, float(low), float(high)


def traded(runs: list[Backtest]) -> Interval:
    """Turnover a year, mean over seeds, rebalancings resampled in blocks as long as those of days."""
    return yearly_turnover(
        np.mean([run.turnover[1:] for run in runs], axis=0),
        float(np.diff(runs[0].days).mean()),
        mean_block=BLOCK,
        resamples=RESAMPLES,
    )


@dataclass(frozen=True, eq=False)
class Comparison:
    """One portfolio against another on one data set.

    Attributes:
        data, name, other: which.
        measure: what is compared: the difference of Sharpe ratios a year, or the logarithm of the ratio of
            volatilities.
        estimate: of that.
        resampled: `[RESAMPLES]`, the same in each resample.
    """

    data: str
    name: str
    other: str
    measure: Literal["Sharpe ratio", "volatility"]
    estimate: float
    resampled: Array

    @property
    def interval(self) -> Interval:
        """95%, of the difference or of the ratio."""
        found = interval(self.estimate, self.resampled)
        if self.measure == "Sharpe ratio":
            return found
        low, middle, high = (float(np.exp(x)) for x in (found[1], found[0], found[2]))
        return middle, low, high

    @property
    def p_value(self) -> float:
        """Two-sided, of no difference: a normal estimate with the standard error of the resamples, whose
        tails are too few for a correction of many."""
        return float(2.0 * norm.sf(abs(self.estimate) / self.resampled.std(ddof=1)))


def comparisons(results: Results) -> dict[str, list[Comparison]]:
    """All that is compared, in the families within which false discoveries are controlled."""
    adam, rivals, standard, calm = [], [], [], []
    for data in DATA:
        found = results.once(all_moments, data)

        def sharpe(name: str, other: str, found: dict[str, Moments] = found, data: str = data) -> Comparison:
            a, b = found[name], found[other]
            gain = (a.sharpe - b.sharpe, a.sharpes - b.sharpes)
            return Comparison(data, name, other, "Sharpe ratio", *gain)

        adam += [sharpe(name, "1/N") for name in ADAM]
        rivals += [
            sharpe(name, other)
            for name in ADAM
            for other in (EXACT, "Gradient descent, Euclidean projection")
        ]
        standard += [sharpe(name, "1/N") for name in ALLOCATIONS[1:]]
        base = found["1/N"]
        for name in (*ALLOCATIONS[1:], *DESCENDED):
            one = found[name]
            share = (
                float(np.log(one.volatility / base.volatility)),
                np.log(one.volatilities / base.volatilities),
            )
            calm.append(Comparison(data, name, "1/N", "volatility", *share))
    return {"Adam": adam, "rivals": rivals, "standard": standard, "volatility": calm}
