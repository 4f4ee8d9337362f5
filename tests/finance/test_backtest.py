"""The backtest: nothing of the future, and the accounts add up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from core.lab.errors import VhatError
from finance.allocation import STANDARD, EqualWeight, MaximumUtility, MinimumVariance
from finance.backtest import Targets, simulate, simulate_each, targets, walk_forward

RETURNS = 0.01 * np.random.default_rng(6).standard_normal((200, 4)) @ np.diag([1, 1, 2, 3]) + 5e-4


@pytest.mark.parametrize("name", STANDARD)
def test_rewriting_the_future_changes_nothing_before_it(name: str) -> None:
    other = RETURNS.copy()
    today = 131
    other[today:] = 0.02 * np.random.default_rng(7).standard_normal(other[today:].shape)
    settings_ = {"window": 60, "rebalance": 10, "cost": 0.002, "turnover_limit": 0.5}
    one = walk_forward(RETURNS, clone(STANDARD[name]), **settings_)
    two = walk_forward(other, clone(STANDARD[name]), **settings_)
    past = today - one.first
    # What is solved in a batch of windows agrees to the last bits only.
    bits = 1e-12 if name == "minimum variance" else 0.0
    np.testing.assert_allclose(one.returns[:past], two.returns[:past], rtol=0, atol=bits)
    # Weights at the beginning of the first rewritten day were chosen before it.
    np.testing.assert_allclose(one.weights[: past + 1], two.weights[: past + 1], rtol=0, atol=bits)
    assert not np.array_equal(one.returns[past:], two.returns[past:])


def test_each_fit_sees_its_window_only() -> None:
    way = MinimumVariance("ewma")
    aims = targets(RETURNS, way, window=60, rebalance=25)
    np.testing.assert_array_equal(aims.days, [60, 85, 110, 135, 160, 185])
    for day, weights in zip(aims.days, aims.weights, strict=True):
        np.testing.assert_array_equal(weights, clone(way).fit(RETURNS[day - 60 : day]).weights_)


@pytest.mark.parametrize("rebalance", [1, 7, 25, 139, 500])
@pytest.mark.parametrize(
    "way",
    [
        MinimumVariance(),
        MinimumVariance(upper=0.4),
        MaximumUtility(0.0, "sample"),
        MaximumUtility(4.0, "sample"),
        MaximumUtility(30.0, "sample", 0.3),
        MaximumUtility(math.inf, "sample"),
    ],
)
def test_all_windows_at_once_are_fitted_as_one_by_one(way: Any, rebalance: int) -> None:
    aims = targets(RETURNS, way, window=60, rebalance=rebalance)
    assert way.at_once(RETURNS, 60, rebalance) is not None
    np.testing.assert_array_equal(aims.days, np.arange(60, 200, rebalance))
    for day, weights in zip(aims.days, aims.weights, strict=True):
        alone = clone(way).fit(RETURNS[day - 60 : day]).weights_
        np.testing.assert_allclose(weights, alone, atol=1e-8)


def test_a_subclass_or_another_covariance_is_fitted_one_by_one() -> None:
    class Own(MinimumVariance):
        def estimate(self, returns: np.ndarray) -> np.ndarray:
            return np.diag(returns.var(axis=0))

    assert Own().at_once(RETURNS, 60, 10) is None
    assert MaximumUtility().at_once(RETURNS, 60, 10) is None
    aims = targets(RETURNS, Own(), window=60, rebalance=70)
    inverse = 1 / RETURNS[:60].var(axis=0)
    np.testing.assert_allclose(aims.weights[0], inverse / inverse.sum(), rtol=1e-8)
    with pytest.raises(VhatError, match="days 0 to 59: no portfolio keeps"):
        targets(RETURNS, MinimumVariance(upper=0.1), window=60, rebalance=70)


@pytest.mark.parametrize("way", [MinimumVariance(), MaximumUtility(4.0, "sample")])
def test_rewriting_the_future_changes_no_batch_before_it(way: Any) -> None:
    """To the last bits only: windows of one batch are centred together, and guess from each other."""
    other = RETURNS.copy()
    today = 131
    other[today:] = 0.02 * np.random.default_rng(7).standard_normal(other[today:].shape)
    one, two = (targets(x, way, window=60, rebalance=1) for x in (RETURNS, other))
    seen = one.days <= today
    np.testing.assert_allclose(one.weights[seen], two.weights[seen], atol=1e-11)
    assert np.abs(one.weights[~seen] - two.weights[~seen]).max() > 0.01


@given(st.integers(0, 10**6), st.floats(0, 0.02), st.integers(1, 30), st.floats(0.01, 3.0))
@settings(max_examples=40, deadline=None)
def test_the_accounts_of_a_ledger(seed: int, cost: float, every: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    days = np.arange(5, 60, every)
    aims = Targets(days, rng.dirichlet(np.ones(3), len(days)))
    returns = 0.05 * rng.standard_normal((60, 3))
    result = simulate(returns, aims, cost=cost, turnover_limit=limit)
    wealth, held = 1.0, np.zeros(3)
    row = 0
    for day in range(5, 60):
        if row < len(days) and day == days[row]:
            trade = aims.weights[row] * wealth - held
            size = np.abs(trade).sum() / wealth
            if row and size > limit:
                trade, size = trade * limit / size, limit
            assert result.turnover[row] == pytest.approx(size, abs=1e-12)
            share = (held + trade) / wealth
            wealth *= 1 - cost * size
            held = share * wealth
            row += 1
        np.testing.assert_allclose(result.weights[day - 5], held / wealth, atol=1e-12)
        held = held * (1 + returns[day])
        grown = held.sum()
        first = result.returns[day - 5]
        spent = cost * result.turnover[row - 1] if day == days[row - 1] else 0.0
        assert first == pytest.approx((1 - spent) * grown / wealth - 1, abs=1e-12)
        wealth = grown
        assert result.wealth[day - 4] == pytest.approx(wealth, rel=1e-11)


def test_many_sets_of_targets_are_held_as_if_each_were_alone() -> None:
    days = np.arange(20, 200, 30)
    weights = np.random.default_rng(3).dirichlet(np.ones(RETURNS.shape[1]), (4, len(days)))
    weights[1] *= 0.8  # the rest is cash
    each = simulate_each(RETURNS, days, weights, cost=0.002, turnover_limit=0.4)
    for own, found in zip(weights, each, strict=True):
        alone = simulate(RETURNS, Targets(days, own), cost=0.002, turnover_limit=0.4)
        for name in ("returns", "weights", "turnover", "costs"):
            np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))


def test_weights_drift_between_trades_and_return_at_them() -> None:
    result = walk_forward(RETURNS, EqualWeight(), window=20, rebalance=50)
    trades = result.days - result.first
    np.testing.assert_allclose(result.weights[trades], 0.25)
    assert np.abs(result.weights[trades[1] - 1] - 0.25).max() > 1e-3
    assert result.turnover[0] == 1.0
    unheld = walk_forward(RETURNS, EqualWeight(), window=20, rebalance=500)
    growth = np.prod(1 + RETURNS[20:], axis=0).mean()
    assert unheld.wealth[-1] == pytest.approx(growth, rel=1e-12)
    assert result.drawdown.max() == 0.0


def test_a_cost_takes_what_it_says() -> None:
    free, dear = (walk_forward(RETURNS, EqualWeight(), window=20, rebalance=10, cost=c) for c in (0.0, 0.01))
    ratio = (1 + dear.returns) / (1 + free.returns)
    trades = dear.days - dear.first
    np.testing.assert_allclose(ratio[trades], 1 - 0.01 * dear.turnover, rtol=1e-12)
    np.testing.assert_allclose(np.delete(ratio, trades), 1.0, rtol=1e-12)


def test_what_cannot_be_held_is_said() -> None:
    with pytest.raises(VhatError, match="leave no day"):
        walk_forward(RETURNS, EqualWeight(), window=200)
    with pytest.raises(VhatError, match="turnover limit is positive"):
        walk_forward(RETURNS, EqualWeight(), window=20, turnover_limit=0.0)
    crash = RETURNS.copy()
    crash[150] = -1.0
    with pytest.raises(VhatError, match="lost on day 150"):
        walk_forward(crash, EqualWeight(), window=20)
    with pytest.raises(VhatError, match=r"days 0 to 19: .*does not vary"):
        walk_forward(RETURNS * [0, 1, 1, 1], clone(STANDARD["inverse volatility"]), window=20, rebalance=40)
