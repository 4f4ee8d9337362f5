"""The exact optimum against closed forms, its own optimality conditions and an independent solver."""

from __future__ import annotations

import clarabel  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from core.lab.errors import VhatError
from finance.moments import second_moment
from finance.optimum import KKT_TOLERANCE, optimal_weights, unconstrained_weights

FAMILIES = (
    "plain",
    "few days",
    "duplicated",
    "repeated",
    "coarse",
    "equal means",
    "one factor",
    "scales",
    "no risk",
)


def family(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean [N] and second moment [N, N] of a random market, degenerate in its own way."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 25))
    days = max(1, n // 2) if name == "few days" else 5 * n
    returns = 0.02 * rng.standard_normal((days, n)) + 0.001
    if name == "duplicated":
        returns = np.repeat(returns, 2, axis=1)
    elif name == "repeated":
        returns = returns[:, rng.integers(0, n, n)]
    elif name == "coarse":
        returns = np.round(returns, 2)
    elif name == "one factor":
        returns = np.outer(rng.standard_normal(days), rng.uniform(0.5, 2.0, n)) * 0.01
    elif name == "scales":
        returns *= 10.0 ** rng.uniform(-1.5, 1.5, n)
    mean = returns.mean(axis=0)
    if name == "equal means":
        mean = np.full_like(mean, 5e-4)
    moment = np.zeros((len(mean), len(mean))) if name == "no risk" else second_moment(returns)
    return mean, moment


def oracle_utility(mean: np.ndarray, moment: np.ndarray, risk_aversion: float) -> float:
    """The best utility by Clarabel's interior-point method, on the scaled problem."""
    n, scale = len(mean), float(max(np.abs(mean).max(), risk_aversion * np.abs(moment).max()))
    options = clarabel.DefaultSettings()
    options.verbose = False
    options.tol_gap_abs = options.tol_gap_rel = options.tol_feas = 1e-12
    solution = clarabel.DefaultSolver(
        sparse.csc_matrix(np.triu(risk_aversion * moment / scale)),
        -mean / scale,
        sparse.csc_matrix(np.vstack([np.ones(n), -np.eye(n)])),
        np.concatenate([[1.0], np.zeros(n)]),
        [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(n)],
        options,
    ).solve()
    weights = np.maximum(np.array(solution.x), 0.0)
    weights /= weights.sum()
    return float(weights @ mean - 0.5 * risk_aversion * weights @ moment @ weights)


@pytest.mark.parametrize("name", FAMILIES)
@given(seed=st.integers(0, 10**6), exponent=st.floats(-3, 4))
@settings(max_examples=15, deadline=None)
def test_optimal_and_as_good_as_an_independent_solver(name: str, seed: int, exponent: float) -> None:
    mean, moment = family(name, seed)
    risk_aversion = 10.0**exponent
    best = optimal_weights(mean, moment, risk_aversion)
    gradient = mean - risk_aversion * moment @ best.weights
    scale = max(np.abs(mean).max(), risk_aversion * np.abs(moment).max())
    assert best.weights.min() >= 0
    assert best.weights.sum() == pytest.approx(1.0, abs=1e-14)
    # No trade from what is held to anything else gains.
    assert gradient.max() - gradient[best.weights > 0].min() <= 2 * KKT_TOLERANCE * scale
    assert best.kkt_residual <= KKT_TOLERANCE
    difference = best.utility - oracle_utility(mean, moment, risk_aversion)
    assert -1e-12 * scale <= difference <= 1e-8 * scale


def test_two_assets_in_closed_form() -> None:
    mean, moment = np.array([2e-3, 1e-3]), np.array([[4e-4, 1e-4], [1e-4, 2e-4]])
    for risk_aversion in (2.0, 5.0, 20.0, 1e4):
        spread = moment[0, 0] - 2 * moment[0, 1] + moment[1, 1]
        inner = ((mean[0] - mean[1]) / risk_aversion + moment[1, 1] - moment[0, 1]) / spread
        first = min(max(inner, 0.0), 1.0)
        found = optimal_weights(mean, moment, risk_aversion).weights
        np.testing.assert_allclose(found, [first, 1 - first], rtol=1e-12, atol=1e-15)


def test_without_risk_aversion_the_best_mean_takes_all() -> None:
    mean, moment = family("plain", 4)
    weights = optimal_weights(mean, moment, 0.0).weights
    assert weights[np.argmax(mean)] == 1.0
    assert weights.sum() == 1.0


def test_with_much_risk_aversion_uncorrelated_assets_are_held_by_inverse_variance() -> None:
    variance = np.array([1e-4, 2e-4, 5e-4])
    weights = optimal_weights(np.zeros(3), np.diag(variance), 7.0).weights
    np.testing.assert_allclose(weights, (1 / variance) / (1 / variance).sum(), rtol=1e-12)


def test_duplicated_assets_share_their_weight_without_loss() -> None:
    mean, moment = family("plain", 8)
    twice = np.repeat(np.arange(len(mean)), 2)
    single, double = (
        optimal_weights(mean, moment, 3.0),
        optimal_weights(mean[twice], moment[np.ix_(twice, twice)], 3.0),
    )
    np.testing.assert_allclose(double.weights.reshape(-1, 2).sum(axis=1), single.weights, atol=1e-9)
    assert double.utility == pytest.approx(single.utility, rel=1e-10)


def test_unconstrained_solves_the_linear_system() -> None:
    mean, moment = family("plain", 5)
    best = unconstrained_weights(mean, moment, 4.0)
    np.testing.assert_allclose(4.0 * moment @ best.weights, mean, rtol=1e-9)
    assert best.utility == pytest.approx(mean @ np.linalg.solve(moment, mean) / 8.0, rel=1e-9)


def test_unbounded_utility_is_an_error() -> None:
    mean, moment = family("plain", 5)
    with pytest.raises(VhatError, match="no maximum"):
        unconstrained_weights(mean, moment, 0.0)
    free_lunch = np.array([[1.0, 1.0], [1.0, 1.0]])
    with pytest.raises(VhatError, match="no maximum"):
        unconstrained_weights(np.array([1.0, 2.0]), free_lunch, 1.0)


@pytest.mark.parametrize(
    ("mean", "moment", "risk_aversion", "message"),
    [
        (np.zeros(2), np.eye(3), 1.0, "shape"),
        (np.array([np.nan, 1.0]), np.eye(2), 1.0, "not finite"),
        (np.zeros(2), np.eye(2), -1.0, "risk aversion"),
        (np.zeros(2), np.eye(2), np.inf, "risk aversion"),
        (np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]), 1.0, "positive semidefinite"),
    ],
)
def test_problems_that_make_no_sense(
    mean: np.ndarray, moment: np.ndarray, risk_aversion: float, message: str
) -> None:
    with pytest.raises(VhatError, match=message):
        optimal_weights(mean, moment, risk_aversion)
