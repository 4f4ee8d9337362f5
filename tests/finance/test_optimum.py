"""The optimum that gaps are measured to: its conditions, the gap's formula, and problems without one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.lab.errors import VhatError
from finance.certificate import TOLERANCE
from finance.moments import second_moment
from finance.optimum import Optimum, long_only_optimum, unconstrained_optimum


def market(seed: int, few_days: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Mean [N] and second moment [N, N] of a random market, singular with few days."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 20))
    returns = 0.02 * rng.standard_normal((max(1, n // 2) if few_days else 5 * n, n)) + 0.001
    return returns.mean(axis=0), second_moment(returns)


# An asset leaves at that turning point and keeps a weight of 1e-17 by rounding.
@example(25181, True, 3.0)
@given(st.integers(0, 10**6), st.booleans(), st.floats(-3, 4))
@settings(max_examples=60, deadline=None)
def test_no_trade_gains_and_the_gap_is_the_difference_of_utilities(
    seed: int, few_days: bool, exponent: float
) -> None:
    (mean, moment), gamma = market(seed, few_days), 10.0**exponent
    best = long_only_optimum(mean, moment, gamma)
    scale = max(np.abs(mean).max(), gamma * np.abs(moment).max())
    assert best.weights.min() >= 0
    assert best.weights.sum() == pytest.approx(1.0, abs=1e-14)
    assert best.slack.min() >= -TOLERANCE * scale
    assert np.abs(best.slack[best.weights > 0]).max() <= TOLERANCE * scale

    def utility(w: np.ndarray) -> float:
        return float(w @ mean - 0.5 * gamma * w @ moment @ w)

    other = np.random.default_rng(seed).dirichlet(np.ones(len(mean)))
    away = other - best.weights
    gap = best.slack @ other + 0.5 * gamma * away @ moment @ away
    assert best.utility - utility(other) == pytest.approx(gap, abs=1e-13 * scale)
    assert best.utility == pytest.approx(utility(best.weights), abs=1e-15 * scale)


def test_two_assets_in_closed_form() -> None:
    mean, moment = np.array([2e-3, 1e-3]), np.array([[4e-4, 1e-4], [1e-4, 2e-4]])
    for gamma in (2.0, 5.0, 20.0, 1e4):
        spread = moment[0, 0] - 2 * moment[0, 1] + moment[1, 1]
        inner = ((mean[0] - mean[1]) / gamma + moment[1, 1] - moment[0, 1]) / spread
        first = min(max(inner, 0.0), 1.0)
        found = long_only_optimum(mean, moment, gamma).weights
        np.testing.assert_allclose(found, [first, 1 - first], rtol=1e-12, atol=1e-15)


def test_without_risk_aversion_the_best_mean_takes_all() -> None:
    mean, moment = market(4)
    weights = long_only_optimum(mean, moment, 0.0).weights
    assert weights[np.argmax(mean)] == 1.0
    assert weights.sum() == 1.0


def test_duplicated_assets_share_their_weight_without_loss() -> None:
    mean, moment = market(8)
    twice = np.repeat(np.arange(len(mean)), 2)
    single = long_only_optimum(mean, moment, 3.0)
    double = long_only_optimum(mean[twice], moment[np.ix_(twice, twice)], 3.0)
    np.testing.assert_allclose(double.weights.reshape(-1, 2).sum(axis=1), single.weights, atol=1e-9)
    assert double.utility == pytest.approx(single.utility, rel=1e-10)


def test_unconstrained_solves_the_linear_system() -> None:
    mean, moment = market(5)
    best = unconstrained_optimum(mean, moment, 4.0)
    np.testing.assert_allclose(4.0 * moment @ best.weights, mean, rtol=1e-9)
    assert best.utility == pytest.approx(mean @ np.linalg.solve(moment, mean) / 8.0, rel=1e-9)


def test_unbounded_utility_is_an_error() -> None:
    mean, moment = market(5)
    with pytest.raises(VhatError, match="no maximum"):
        unconstrained_optimum(mean, moment, 0.0)
    free_lunch = np.array([[1.0, 1.0], [1.0, 1.0]])
    with pytest.raises(VhatError, match="no maximum"):
        unconstrained_optimum(np.array([1.0, 2.0]), free_lunch, 1.0)


@pytest.mark.parametrize("solve", [long_only_optimum, unconstrained_optimum])
@pytest.mark.parametrize(
    ("mean", "moment", "risk_aversion", "message"),
    [
        (np.zeros(2), np.eye(3), 1.0, "shape"),
        (np.array([np.nan, 1.0]), np.eye(2), 1.0, "not finite"),
        (np.zeros(2), np.eye(2), -1.0, "risk aversion"),
        (np.zeros(2), np.eye(2), np.inf, "risk aversion"),
        (np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]), 1.0, "positive semidefinite"),
        (np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]]), 1.0, "not symmetric"),
    ],
)
def test_problems_that_make_no_sense(
    solve: Callable[[np.ndarray, np.ndarray, float], Optimum],
    mean: np.ndarray,
    moment: np.ndarray,
    risk_aversion: float,
    message: str,
) -> None:
    with pytest.raises(VhatError, match=message):
        solve(mean, moment, risk_aversion)
