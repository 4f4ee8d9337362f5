"""Portfolios of many windows at once against one frontier a window."""

from __future__ import annotations

import numpy as np
import pytest

from core.lab.errors import VhatError
from finance.constraints import Constraints, InfeasibleError
from finance.frontier import efficient_frontier
from finance.rolling import rolling_moments
from finance.windows import optimal_windows

RETURNS = 0.01 * np.random.default_rng(4).standard_normal((260, 7)) @ np.diag([1, 1, 1, 2, 2, 3, 3]) + 4e-4


@pytest.mark.parametrize("gamma", [0.0, 0.3, 4.0, 60.0, np.inf])
@pytest.mark.parametrize(
    "allowed", [Constraints(), Constraints(upper=0.3), Constraints(lower=-0.1, upper=0.5)]
)
def test_each_window_is_the_frontiers_portfolio(gamma: float, allowed: Constraints) -> None:
    moments = rolling_moments(RETURNS, 60)
    found = optimal_windows(moments.mean, moments.covariance, gamma, allowed)
    assert len(found) == 201
    assert max(found.kkt_residual.max(), found.duality_gap.max()) <= 1e-8
    for i in range(0, 201, 13):
        line = efficient_frontier(moments.mean[i], moments.covariance[i], allowed)
        np.testing.assert_allclose(found.weights[i], line.at_risk_aversion(gamma).weights[0], atol=1e-8)


def test_singular_and_tied_windows_come_out_right_too() -> None:
    returns = np.repeat(RETURNS[:, :3], 2, axis=1)
    moments = rolling_moments(returns, 40)
    mean = moments.mean.copy()
    mean[::2] = 5e-4
    found = optimal_windows(mean, moments.covariance, 3.0)
    assert max(found.kkt_residual.max(), found.duality_gap.max()) <= 1e-8
    few = rolling_moments(RETURNS, 4)
    best = optimal_windows(few.mean, few.covariance, 2.0)
    gradient = few.mean - 2.0 * np.einsum("wij,wj->wi", few.covariance, best.weights)
    gap = gradient.max(axis=1) - (best.weights * gradient).sum(axis=1)
    assert gap.max() <= 1e-10


def test_limits_on_groups_hold_in_every_window() -> None:
    moments = rolling_moments(RETURNS, 60, 20)
    allowed = Constraints.by_group(list("aaabbbb"), {"b": (0.3, 0.4)})
    found = optimal_windows(moments.mean, moments.covariance, 5.0, allowed)
    inside = found.weights[:, 3:].sum(axis=1)
    assert inside.min() >= 0.3 - 1e-9
    assert inside.max() <= 0.4 + 1e-9


def test_risk_aversion_may_differ_by_window() -> None:
    moments = rolling_moments(RETURNS, 60, 50)
    gamma = np.array([0.5, 1.0, 5.0, 50.0, np.inf])
    found = optimal_windows(moments.mean, moments.covariance, gamma)
    for i, one in enumerate(gamma):
        line = efficient_frontier(moments.mean[i], moments.covariance[i]).at_risk_aversion(one)
        np.testing.assert_allclose(found.weights[i], line.weights[0], atol=1e-8)


def test_what_makes_no_sense_is_refused() -> None:
    moments = rolling_moments(RETURNS, 60, 50)
    with pytest.raises(VhatError, match="shape"):
        optimal_windows(moments.mean, moments.covariance[:, :3])
    with pytest.raises(VhatError, match="finite"):
        optimal_windows(moments.mean * np.nan, moments.covariance)
    indefinite = moments.covariance.copy()
    indefinite[3] -= 1e-3
    with pytest.raises(VhatError, match="window 3 is not positive"):
        optimal_windows(moments.mean, indefinite)
    with pytest.raises(InfeasibleError):
        optimal_windows(moments.mean, moments.covariance, 1.0, Constraints(upper=0.1))
