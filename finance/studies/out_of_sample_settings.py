"""The settings of the study out-of-sample, and what is read off its stored results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.random import Keys
from core.lab.stats import Interval
from core.lab.study import Results
from core.optim.rules import RULES
from finance.backtest import Backtest, Targets, simulate, targets
from finance.embedded import Embedded
from finance.markets import embedded_returns
from finance.moments import TRADING_DAYS, second_moment
from finance.optimum import long_only_optimum
from finance.parametrisation import CHARTS, Parametrisation
from finance.performance import stationary_bootstrap
from finance.prices import Floats
from finance.quality import require_quality
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
    """A portfolio by an update rule, and the rates from which the first window chooses."""

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


@cache
def returns_of(data: str) -> Floats:
    """Daily returns `[T, N]`, checked for quality."""
    if data == "companies":
        return embedded_returns()
    returns = require_quality(Embedded("factors").fetch()).returns()
    returns.flags.writeable = False
    return returns


def trading_days(data: str, rebalance: int, most: int) -> Array:
    """The first day of each holding period, int64 `[P]`; the last `most` of them (0: all)."""
    days = np.arange(WINDOW, len(returns_of(data)), rebalance)
    return days[-most:] if most else days


def descend(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:
    """Weights `[R, W, N]` on each trading day, and the rate `[R]`, chosen by the gap to the exact optimum of
    the first window, on draws of its own."""
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
    gaps = [
        first_gap(
            descended_windows(windows[:1], tuning, lr=lr, **common)[:, 0].cpu().numpy(), cell["data"], days
        )
        for lr in how.rates
    ]
    # A rate that diverges is the worst, not the first that argmin meets.
    rate = how.rates[int(np.argmin([gap if np.isfinite(gap) else np.inf for gap in gaps]))]
    weights = descended_windows(windows, keys, lr=rate, **common).cpu().numpy()
    return {"weights": weights, "rate": np.full(len(keys), rate)}


def first_gap(weights: Array, data: str, days: Array) -> float:
    """Mean shortfall of utility in the first window of weights `[R, N]` to its exact optimum."""
    seen = returns_of(data)[days[0] - WINDOW : days[0]]
    mean, moment = seen.mean(axis=0), second_moment(seen)
    best = long_only_optimum(mean, moment, RISK_AVERSION).utility
    risk = (weights * (weights @ moment)).sum(axis=1)
    return float(best - (weights @ mean - 0.5 * RISK_AVERSION * risk).mean())


def allocate(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:  # noqa: ARG001
    """Weights `[R, W, N]` of a standard allocation on each trading day: nothing is drawn, all rows agree."""
    # Loaded here: scikit-learn takes a second.
    from finance.allocation import STANDARD, MaximumUtility

    name, returns = cell["portfolio"], returns_of(cell["data"])
    days = trading_days(cell["data"], cell["rebalance"], cell["most"])
    estimator = MaximumUtility(RISK_AVERSION, "sample") if name == EXACT else STANDARD[name]
    part = returns[days[0] - WINDOW :]
    found = targets(part, estimator, window=WINDOW, rebalance=cell["rebalance"])
    return {"weights": np.tile(found.weights, (len(keys), 1, 1))}


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
    return [simulate(returns_of(data), Targets(days, w), cost=COST) for w in runs]


def all_backtests(results: Results, data: str) -> dict[str, list[Backtest]]:
    """Of every portfolio."""
    return {name: backtests(results, data, name) for name in (*ALLOCATIONS, *DESCENDED)}


@cache
def _counts(days: int) -> Array:
    """How often each day stands in each resample, `[RESAMPLES, T]`; the same resamples for all portfolios."""
    keys = Keys.of(range(RESAMPLES), study="out-of-sample/bootstrap")
    places = stationary_bootstrap(days, BLOCK, keys)
    out = np.zeros((RESAMPLES, days))
    for row, place in enumerate(places):
        out[row] = np.bincount(place, minlength=days)
    return out


@dataclass(frozen=True, eq=False)
class Moments:
    """Yearly Sharpe ratio and volatility, mean over seeds: estimates, and in each resample `[RESAMPLES]`."""

    sharpe: float
    sharpes: Array
    volatility: float
    volatilities: Array


def moments_of(runs: list[Backtest]) -> Moments:
    """Of one portfolio's backtests, days resampled in blocks (Politis and Romano 1994)."""
    daily = np.stack([run.returns for run in runs], axis=1)  # [T, S]
    counts = np.concatenate([np.ones((1, len(daily))), _counts(len(daily))])
    mean, square = counts @ daily / len(daily), counts @ daily**2 / len(daily)
    spread = np.sqrt(np.maximum(square - mean**2, 0.0) * len(daily) / (len(daily) - 1))
    volatility = (spread * np.sqrt(TRADING_DAYS)).mean(axis=1)
    sharpe = (mean / spread * np.sqrt(TRADING_DAYS)).mean(axis=1)
    return Moments(float(sharpe[0]), sharpe[1:], float(volatility[0]), volatility[1:])


def interval(estimate: float, resampled: Array) -> Interval:
    """With 95% percentiles of resampled estimates `[B]`."""
    low, high = np.quantile(resampled, [0.025, 0.975])
    return estimate, float(low), float(high)
