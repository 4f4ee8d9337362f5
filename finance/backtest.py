"""Walk-forward backtest: weights from the past only, drift, proportional costs, a limit on turnover."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from core.lab.errors import VhatError
from finance.moments import TRADING_DAYS
from finance.prices import Floats

Indices = npt.NDArray[np.intp]


class Fits(Protocol):
    """What gives weights: an estimator of `finance.allocation`, or one of somebody else with these names."""

    weights_: Floats

    def fit(self, X: Floats, y: object = None) -> object:
        """Weights from returns `[T, N]`."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Weights that are aimed at.

    Attributes:
        days: `[R]`, the first day on which each of them is held, counted in the returns; only earlier days
            were seen.
        weights: `[R, N]`, shares of wealth.
    """

    days: Indices
    weights: Floats


@dataclass(frozen=True, eq=False)
class Backtest:
    """What came out, on T days from the first rebalancing on.

    Attributes:
        first: the first day, counted in the returns that were given.
        returns: `[T]`, of each day, after costs.
        weights: `[T, N]`, at the beginning of each day, after any trade.
        days: `[R]`, the days of rebalancing, counted in the returns that were given.
        turnover: `[R]`, sum of absolute changes of weight: 1 for the first purchase, at most 2 for a full
            switch.
        costs: `[R]`, share of wealth.
    """

    first: int
    returns: Floats
    weights: Floats
    days: Indices
    turnover: Floats
    costs: Floats

    @property
    def wealth(self) -> Floats:
        """`[T + 1]`, from 1 on."""
        return np.append(1.0, np.cumprod(1.0 + self.returns))

    @property
    def drawdown(self) -> Floats:
        """`[T + 1]`, wealth over its highest value so far, minus 1."""
        wealth = self.wealth
        out: Floats = wealth / np.maximum.accumulate(wealth) - 1.0
        return out


def targets(returns: Floats, allocation: Fits, *, window: int, rebalance: int) -> Targets:
    """Fit a copy of the allocation on each window of days; day t's weights see days t - window to t - 1.

    An allocation that solves all windows at once (`at_once`, see `finance.allocation`) does so.

    Args:
        returns: `[T, N]`.
        allocation: an estimator.
        window: days that each fit sees.
        rebalance: days between two fits.

    Raises:
        VhatError: when the window leaves no day, or a fit fails (naming its days).
    """
    from sklearn.base import clone

    returns = np.asarray(returns, dtype=np.float64)
    if rebalance < 1:
        raise VhatError(f"a backtest rebalances every 1 or more days, got {rebalance}")
    if not 1 <= window < len(returns):
        raise VhatError(
            f"{len(returns)} days of returns leave no day to hold after a window of {window} days "
            f"(rebalancing every {rebalance}); take a shorter window or more days"
        )
    days = np.arange(window, len(returns), rebalance)
    if (batch := _at_once(returns[: days[-1]], allocation, window, rebalance)) is not None:
        return Targets(days, batch)
    weights = np.empty((len(days), returns.shape[1]))
    for row, day in enumerate(days):
        # A copy of the past itself: what an estimator does to it stays there.
        fitted = clone(allocation)
        try:
            fitted.fit(returns[day - window : day].copy())
        except VhatError as error:
            raise VhatError(f"days {day - window} to {day - 1}: {error}") from error
        weights[row] = fitted.weights_
    return Targets(days, weights)


def _at_once(returns: Floats, allocation: Fits, window: int, rebalance: int) -> Floats | None:
    """Weights `[R, N]` by the allocation's own batch, None where it has none or a window fails in it:
    fitted one by one that window is named."""
    solve = getattr(allocation, "at_once", None)
    if solve is None or window < 2 or not np.isfinite(returns).all():
        return None
    try:
        found: Floats | None = solve(returns.copy(), window, rebalance)
    except VhatError:
        return None
    return found


def simulate(
    returns: Floats, aims: Targets, *, cost: float = 0.0, turnover_limit: float | None = None
) -> Backtest:
    """Hold the targets: weights drift with returns between two rebalancings.

    A trade of turnover τ costs `cost` τ of wealth. Where τ would exceed the limit, all trades are scaled down
    to it (the first purchase excepted).

    Args:
        returns: `[T, N]`, simple.
        aims: from when on which weights.
        cost: of each unit traded: 0.001 is 10 basis points.
        turnover_limit: of one rebalancing, None for none.

    Raises:
        VhatError: for a cost outside [0, 0.5) or a limit that is not positive, or when wealth is lost.
    """
    (found,) = simulate_each(returns, aims.days, aims.weights[None], cost=cost, turnover_limit=turnover_limit)
    return found


def simulate_each(
    returns: Floats,
    days: Indices,
    weights: Floats,
    *,
    cost: float = 0.0,
    turnover_limit: float | None = None,
) -> list[Backtest]:
    """`simulate` for S sets of target weights `[S, R, N]` on the same days `[R]` at once.

    Raises:
        VhatError: as `simulate`, where the wealth of any of them is lost.
    """
    if not 0.0 <= cost < 0.5 or not (turnover_limit is None or turnover_limit > 0):
        raise VhatError(
            f"a cost lies in [0, 0.5) and a turnover limit is positive, got {cost} and {turnover_limit}"
        )
    returns = np.asarray(returns, dtype=np.float64)
    first, (sets, _, assets) = int(days[0]), weights.shape
    ends = np.append(days[1:], len(returns))
    earned, held = np.empty((sets, len(returns) - first)), np.empty((sets, len(returns) - first, assets))
    turnover, present = np.empty((sets, len(days))), np.zeros((sets, assets))
    for row, (begin, end) in enumerate(zip(days, ends, strict=True)):
        trade = weights[:, row] - present
        size = np.abs(trade).sum(axis=1)
        if turnover_limit is not None and row:
            over = size > turnover_limit
            trade[over] *= (turnover_limit / size[over])[:, None]
            size[over] = turnover_limit
        turnover[:, row] = size
        # Units of each asset grow by themselves until the next trade.
        growth = np.vstack([np.ones(assets), np.cumprod(1.0 + returns[begin:end], axis=0)])
        grown = (present + trade)[:, None] * growth
        value = grown.sum(axis=2)
        # What is not invested (a budget below 1) is cash without interest.
        value += 1.0 - value[:, :1]
        if value.min() <= 0.0:
            raise VhatError(f"all wealth is lost on day {begin + int(value.min(axis=0).argmin()) - 1}")
        held[:, begin - first : end - first] = grown[:, :-1] / value[:, :-1, None]
        period = value[:, 1:] / value[:, :-1] - 1.0
        period[:, :1] = (1.0 - cost * size)[:, None] * (1.0 + period[:, :1]) - 1.0
        earned[:, begin - first : end - first] = period
        present = grown[:, -1] / value[:, -1:]
    return [Backtest(first, earned[s], held[s], days, turnover[s], cost * turnover[s]) for s in range(sets)]


def walk_forward(
    returns: Floats,
    allocation: Fits,
    *,
    window: int = TRADING_DAYS,
    rebalance: int = 21,
    cost: float = 0.0,
    turnover_limit: float | None = None,
) -> Backtest:
    """`targets` of returns `[T, N]`, then `simulate`."""
    aims = targets(returns, allocation, window=window, rebalance=rebalance)
    return simulate(returns, aims, cost=cost, turnover_limit=turnover_limit)
