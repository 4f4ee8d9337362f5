"""Statistics against their definitions, and the stationary bootstrap against theory."""

from __future__ import annotations

import numpy as np
import pytest

from core.lab.errors import VhatError
from core.lab.random import Keys
from finance.allocation import EqualWeight
from finance.backtest import walk_forward
from finance.performance import (
    growth,
    intervals,
    max_drawdown,
    performance,
    sharpe,
    stationary_bootstrap,
    yearly_volatility,
)

RETURNS = 0.01 * np.random.default_rng(2).standard_normal(500) + 5e-4


def test_statistics_by_their_definitions() -> None:
    wealth = np.append(1.0, np.cumprod(1 + RETURNS))
    assert growth(RETURNS) == pytest.approx(wealth[-1] ** (252 / 500) - 1, rel=1e-12)
    assert yearly_volatility(RETURNS) == pytest.approx(RETURNS.std(ddof=1) * np.sqrt(252), rel=1e-12)
    assert sharpe(RETURNS) == pytest.approx(RETURNS.mean() / RETURNS.std(ddof=1) * np.sqrt(252), rel=1e-12)
    deepest = min(wealth[j] / wealth[: j + 1].max() - 1 for j in range(501))
    assert max_drawdown(RETURNS) == pytest.approx(deepest, rel=1e-12)
    assert max_drawdown(np.full(5, 0.01)) == 0.0
    assert sharpe(np.full(5, 0.01)) == 0.0


@pytest.mark.parametrize("block", [1.0, 5.0, 40.0])
def test_blocks_have_the_length_and_spread_of_the_paper(block: float) -> None:
    index = stationary_bootstrap(200, block, Keys.of(range(2000), study="test"))
    assert index.min() >= 0
    assert index.max() < 200
    follows = (index[:, 1:] - index[:, :-1]) % 200 == 1
    # A new block begins with probability 1/block, and goes on by chance once in 200.
    expected = 1 - 1 / block + 1 / block / 200
    assert follows.mean() == pytest.approx(expected, abs=4 * np.sqrt(0.25 / follows.size))
    counts = np.bincount(index.ravel(), minlength=200) / index.size * 200
    assert np.abs(counts - 1).max() < 0.2 * np.sqrt(block)


def test_the_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    rng = np.random.default_rng(0)
    independent = rng.standard_normal(2000)
    low, high = intervals(independent, {"m": lambda x: x.mean(axis=-1)}, mean_block=10, resamples=2000)["m"][
        1:
    ]
    assert (high - low) / (2 * 1.96 / np.sqrt(2000)) == pytest.approx(1.0, abs=0.2)
    moving = np.convolve(rng.standard_normal(2009), np.ones(10), mode="valid") / np.sqrt(10)
    low, high = intervals(moving, {"m": lambda x: x.mean(axis=-1)}, mean_block=60, resamples=2000)["m"][1:]
    # The sum of autocovariances is 10 times the variance; the plain bootstrap would miss it.
    assert (high - low) / (2 * 1.96 * np.sqrt(10) / np.sqrt(2000)) == pytest.approx(1.0, abs=0.3)


def test_same_question_same_answer() -> None:
    one, two = (intervals(RETURNS, {"sharpe": sharpe}, resamples=300) for _ in range(2))
    assert one == two
    assert one != intervals(RETURNS, {"sharpe": sharpe}, resamples=300, seed=1)
    rows = stationary_bootstrap(50, 5.0, Keys.of(range(8), study="rows"))
    some = stationary_bootstrap(50, 5.0, Keys.of([3, 6], study="rows"))
    np.testing.assert_array_equal(rows[[3, 6]], some)


def test_performance_of_a_backtest() -> None:
    returns = 0.01 * np.random.default_rng(5).standard_normal((300, 3)) + 3e-4
    result = walk_forward(returns, EqualWeight(), window=30, rebalance=15, cost=0.001)
    found = performance(result, resamples=400)
    for value, low, high in (found.growth, found.volatility, found.sharpe, found.drawdown, found.turnover):
        assert low <= value <= high
    assert found.turnover[0] == pytest.approx(result.turnover[1:].mean() * 252 / 15)
    once = walk_forward(returns, EqualWeight(), window=30, rebalance=500)
    assert performance(once, resamples=50).turnover == (0.0, 0.0, 0.0)


def test_blocks_below_one_day_are_refused() -> None:
    with pytest.raises(VhatError, match="mean length"):
        stationary_bootstrap(10, 0.5, Keys.of([0, 1]))
