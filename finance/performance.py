"""Sharpe ratio, volatility, drawdown and turnover of a backtest, with stationary-bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import torch

from core.lab.errors import VhatError
from core.lab.random import Keys
from core.lab.stats import Interval
from finance.backtest import Backtest
from finance.moments import TRADING_DAYS
from finance.prices import Floats

Statistic = Callable[[Floats], Floats]
_AT_ONCE = 2_000_000  # resampled days in memory
_NEAR = 20  # resamples drawn at once


@dataclass(frozen=True)
class Performance:
    """Estimates with intervals (estimate, low, high); shares, not percent.

    Attributes:
        growth: geometric mean return a year.
        volatility: a year, standard deviation of daily returns times sqrt(252).
        sharpe: arithmetic mean return a year less the risk-free rate, over volatility.
        drawdown: the deepest fall from a peak, as a share of it, negative.
        turnover: sum of absolute changes of weight a year, the first purchase left out.
    """

    growth: Interval
    volatility: Interval
    sharpe: Interval
    drawdown: Interval
    turnover: Interval


def growth(returns: Floats) -> Floats:
    """Geometric mean return a year of daily returns `[..., T]`."""
    return log_growth(np.log1p(returns))


def log_growth(logs: Floats) -> Floats:
    """`growth`, from the logarithms of 1 + return `[..., T]`."""
    out: Floats = np.expm1(logs.mean(axis=-1) * TRADING_DAYS)
    return out


def yearly_volatility(returns: Floats) -> Floats:
    """Standard deviation a year of daily returns `[..., T]`."""
    out: Floats = returns.std(axis=-1, ddof=1) * math.sqrt(TRADING_DAYS)
    return out


def sharpe(returns: Floats) -> Floats:
    """Mean over standard deviation, a year, of daily returns `[..., T]`; 0 where they do not vary."""
    mean, spread = returns.mean(axis=-1) * TRADING_DAYS, np.asarray(yearly_volatility(returns))
    out: Floats = np.divide(mean, spread, out=np.zeros_like(spread), where=spread > 0)
    return out


def max_drawdown(returns: Floats) -> Floats:
    """The deepest fall from a peak (or from the start) of daily returns `[..., T]`, from -1 to 0."""
    return log_drawdown(np.log1p(returns))


def log_drawdown(logs: Floats) -> Floats:
    """`max_drawdown`, from the logarithms of 1 + return `[..., T]`."""
    level = np.cumsum(logs, axis=-1)
    peak = np.maximum(np.maximum.accumulate(level, axis=-1), 0.0)
    out: Floats = np.expm1((level - peak).min(axis=-1))
    return out


OF_LOGS: Mapping[str, Statistic] = MappingProxyType({"growth": log_growth, "drawdown": log_drawdown})
"""What `intervals` can take of the logarithms, so that these are taken once and not in every resample."""


def stationary_bootstrap(
    length: int, mean_block: float, keys: Keys
) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """Indices `[B, length]` into a series: blocks of geometric length that begin anywhere and go round its
    end (Politis and Romano 1994, "The stationary bootstrap").

    Args:
        length: of the series.
        mean_block: mean length of a block, at least 1 (1 is the plain bootstrap).
        keys: B rows of randomness.

    Raises:
        VhatError: for a mean block below 1, or an empty series.
    """
    if not mean_block >= 1 or length < 1:
        raise VhatError(f"blocks of mean length {mean_block} do not fit a series of length {length}")
    new = keys.fold("new block").uniform(length, dtype=torch.float64) < 1.0 / mean_block
    new[:, 0] = True
    places = torch.arange(length, device=keys.device)
    begun = torch.where(new, places, 0).cummax(dim=1).values
    starts = keys.fold("start").integers(length, length)
    index = (starts.gather(1, begun) + places - begun) % length
    return np.asarray(index.cpu().numpy())


def resamples_of(
    length: int, mean_block: float, seeds: range, *, study: str
) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.intp]]]:
    """The rows `[length]` of `stationary_bootstrap` for each of the seeds, a few drawn at once: many would
    not stay near the processor."""
    for begin in range(0, len(seeds), _NEAR):
        yield from stationary_bootstrap(
            length, mean_block, Keys.of(seeds[begin : begin + _NEAR], study=study)
        )


@lru_cache(maxsize=8)
def _indices(
    length: int, mean_block: float, begin: int, end: int, seed: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """Rows `begin` to `end` of the resamples: the same for every series of this length."""
    study = f"stationary bootstrap {seed}"
    return np.stack(list(resamples_of(length, mean_block, range(begin, end), study=study)))


def intervals(
    series: Floats,
    statistics: Mapping[str, Statistic],
    *,
    mean_block: float = 21.0,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Estimate and percentile interval of each statistic `[..., T] -> [...]` of a series `[T]`."""
    series = np.asarray(series, dtype=np.float64)
    drawn: dict[str, list[Floats]] = {name: [] for name in statistics}
    rows = max(1, _AT_ONCE // max(len(series), 1))
    for begin in range(0, resamples, rows):
        sample = series[_indices(len(series), mean_block, begin, min(begin + rows, resamples), seed)]
        for name, statistic in statistics.items():
            drawn[name].append(statistic(sample))
    tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    found = {}
    for name, statistic in statistics.items():
        low, high = np.quantile(np.concatenate(drawn[name]), tails)
        found[name] = (float(statistic(series)), float(low), float(high))
    return found


def performance(
    result: Backtest, *, risk_free: float = 0.0, mean_block: float = 21.0, resamples: int = 1000
) -> Performance:
    """Of a backtest, with a risk-free rate a day; days come in blocks of `mean_block` days on average,
    rebalancings as many to a block as fall into it."""
    of_days: dict[str, Statistic] = {
        "volatility": yearly_volatility,
        "sharpe": lambda returns: sharpe(returns - risk_free),
    }
    found = {
        **intervals(result.returns, of_days, mean_block=mean_block, resamples=resamples),
        **intervals(np.log1p(result.returns), OF_LOGS, mean_block=mean_block, resamples=resamples),
    }
    later = result.turnover[1:]
    if not len(later):
        return Performance(**found, turnover=(0.0, 0.0, 0.0))
    between = (len(result.returns) - (result.days[1] - result.first)) / len(later)

    traded = yearly_turnover(later, between, mean_block=mean_block, resamples=resamples)
    return Performance(**found, turnover=traded)


def yearly_turnover(turnover: Floats, between: float, *, mean_block: float, resamples: int) -> Interval:
    """Turnover a year, from that of each rebalancing but the first purchase `[K]`, which are `between` days
    apart; as many come in a block as fall into `mean_block` days."""

    def a_year(some: Floats) -> Floats:
        out: Floats = some.mean(axis=-1) * (TRADING_DAYS / between)
        return out

    block = max(1.0, mean_block / between)
    return intervals(turnover, {"turnover": a_year}, mean_block=block, resamples=resamples)["turnover"]
