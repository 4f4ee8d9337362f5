"""The frontier's own conditions and symmetries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import finance.frontier
from core.lab.errors import VhatError
from finance.constraints import LONG_ONLY, Constraints, InfeasibleError
from finance.critical_line import Line, LostError, trace
from finance.frontier import (
    Frontier,
    InaccurateError,
    NoTangencyError,
    efficient_frontier,
)

moments = st.tuples(st.integers(0, 10**6), st.integers(2, 15), st.booleans())


def market(seed: int, n: int, singular: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    returns = 0.02 * rng.standard_normal((n // 2 + 2 if singular else 4 * n, n)) + 0.001
    return returns.mean(axis=0), np.cov(returns.T)


def violation(mean: np.ndarray, covariance: np.ndarray, gamma: float, weights: np.ndarray) -> float:
    """By how much a trade from something held to something else would gain, relative to the terms."""
    gradient = mean - gamma * covariance @ weights
    scale = max(np.abs(mean).max(), gamma * np.abs(np.diagonal(covariance) * weights).max())
    return float(gradient.max() - gradient[weights > 1e-9].min()) / scale


@given(moments, st.floats(-2, 4))
@settings(max_examples=60, deadline=None)
def test_no_trade_gains(these: tuple[int, int, bool], exponent: float) -> None:
    mean, covariance = market(*these)
    gamma = 10.0**exponent
    found = efficient_frontier(mean, covariance).at_risk_aversion(gamma)
    weights = found.weights[0]
    assert weights.min() >= -1e-12
    assert weights.sum() == pytest.approx(1.0, abs=1e-10)
    assert violation(mean, covariance, gamma, weights) <= 2e-8
    assert max(found.kkt_residual[0], found.duality_gap[0]) <= 1e-8


@given(moments)
@settings(max_examples=40, deadline=None)
def test_the_frontier_rises_and_is_concave(these: tuple[int, int, bool]) -> None:
    path = efficient_frontier(*market(*these)).spaced(50)
    earned, risk = path.expected_return, path.volatility
    assert (np.diff(earned) >= 0).all()
    assert (np.diff(risk) >= -1e-12 * risk.max()).all()
    # Variance is convex in the return.
    assert (np.diff(risk**2, 2) >= -1e-10 * risk.max() ** 2).all()


@given(moments, st.floats(-3, 3), st.floats(-3, 3), st.floats(-0.01, 0.01))
@settings(max_examples=40, deadline=None)
def test_scaled_and_shifted_moments_give_the_same_portfolios(
    these: tuple[int, int, bool], a: float, b: float, shift: float
) -> None:
    mean, covariance = market(*these)
    returns, risk = 10.0**a, 10.0**b
    path = efficient_frontier(mean, covariance)
    other = efficient_frontier(returns * (mean + shift), risk * covariance)
    for gamma in (0.5, 8.0):
        one = path.at_risk_aversion(gamma)
        two = other.at_risk_aversion(gamma * returns / risk)
        # Where the optimum is not unique, return and risk still are.
        assert two.expected_return[0] / returns - shift == pytest.approx(one.expected_return[0], abs=1e-8)
        assert two.volatility[0] / np.sqrt(risk) == pytest.approx(one.volatility[0], rel=1e-6, abs=1e-9)


@given(moments)
@settings(max_examples=40, deadline=None)
def test_the_order_of_assets_does_not_matter(these: tuple[int, int, bool]) -> None:
    mean, covariance = market(*these)
    order = np.random.default_rng(these[0]).permutation(len(mean))
    path = efficient_frontier(mean, covariance).spaced(9)
    other = efficient_frontier(mean[order], covariance[np.ix_(order, order)]).spaced(9)
    np.testing.assert_allclose(other.weights, path.weights[:, order], atol=1e-7)
    np.testing.assert_allclose(other.expected_return, path.expected_return, atol=1e-12)


@given(moments)
@settings(max_examples=30, deadline=None)
def test_stated_residuals_bound_the_true_ones(these: tuple[int, int, bool]) -> None:
    mean, covariance = market(*these)
    path = efficient_frontier(mean, covariance)
    found = path.spaced(23)
    risk = np.einsum("pi,ij,pj->p", found.weights, covariance, found.weights)
    np.testing.assert_allclose(found.volatility**2, risk, atol=1e-12 * np.diagonal(covariance).max())
    np.testing.assert_allclose(found.weights @ mean, found.expected_return, atol=1e-12)
    for gamma, weights, gap in zip(found.risk_aversion, found.weights, found.duality_gap, strict=True):
        if np.isfinite(gamma):
            # For a portfolio the gap is what moving everything to the best asset would gain at first order.
            gradient = mean - gamma * covariance @ weights
            terms = gamma * (np.diagonal(covariance) * weights**2).sum() + weights @ np.abs(mean)
            assert (gradient.max() - weights @ gradient) / terms <= gap + 1e-10


def test_two_assets_in_closed_form() -> None:
    mean, covariance = np.array([2e-3, 1e-3]), np.array([[4e-4, 1e-4], [1e-4, 2e-4]])
    path = efficient_frontier(mean, covariance)
    spread = covariance[0, 0] - 2 * covariance[0, 1] + covariance[1, 1]
    least = (covariance[1, 1] - covariance[0, 1]) / spread
    np.testing.assert_allclose(path.min_variance().weights[0], [least, 1 - least], rtol=1e-12)
    gamma = (mean[0] - mean[1]) / (spread * (0.7 - least))
    np.testing.assert_allclose(path.at_risk_aversion(gamma).weights[0], [0.7, 0.3], rtol=1e-12)
    tangent = np.linalg.solve(covariance, mean - 1e-4)
    np.testing.assert_allclose(path.max_sharpe(1e-4).weights[0], tangent / tangent.sum(), rtol=1e-9)


def test_a_known_frontier_under_bounds() -> None:
    # Without correlation, at least variance each free weight is in proportion to 1/variance.
    variance = np.array([1.0, 2.0, 4.0, 8.0]) * 1e-4
    path = efficient_frontier(
        np.array([1.0, 2.0, 3.0, 4.0]) * 1e-3, np.diag(variance), Constraints(upper=0.4)
    )
    rest = (1 / variance[1:]) / (1 / variance[1:]).sum()
    np.testing.assert_allclose(path.min_variance().weights[0], np.append(0.4, 0.6 * rest), rtol=1e-12)
    np.testing.assert_allclose(path.max_return().weights[0], [0.0, 0.2, 0.4, 0.4], atol=1e-15)


@given(moments, st.floats(-0.02, 0.02))
@settings(max_examples=40, deadline=None)
def test_no_portfolio_of_the_frontier_has_a_greater_sharpe_ratio(
    these: tuple[int, int, bool], risk_free: float
) -> None:
    mean, covariance = market(these[0], these[1], singular=False)
    path = efficient_frontier(mean, covariance)
    if mean.max() <= risk_free:
        with pytest.raises(NoTangencyError, match="hold cash"):
            path.max_sharpe(risk_free)
        return
    best = path.max_sharpe(risk_free)
    grid = path.spaced(400)
    ratios = (grid.expected_return - risk_free) / grid.volatility
    assert (best.expected_return[0] - risk_free) / best.volatility[0] >= ratios.max() * (1 - 1e-12)


def test_no_tangency_is_said_clearly() -> None:
    mean, covariance = np.array([-0.01, -0.02]), np.diag([1e-4, 2e-4])
    with pytest.raises(NoTangencyError, match="least variance"):
        efficient_frontier(mean, covariance).max_sharpe()
    with pytest.raises(NoTangencyError, match="no bound"):
        efficient_frontier(np.array([0.01, 0.02]), np.diag([0.0, 2e-4])).max_sharpe()
    with pytest.raises(NoTangencyError, match="no bound"):
        efficient_frontier(np.array([0.01, 0.02]), np.zeros((2, 2))).max_sharpe()
    one = efficient_frontier(np.full(2, 0.01), np.diag([1e-4, 1e-4])).max_sharpe()
    np.testing.assert_allclose(one.weights[0], [0.5, 0.5])


def test_equal_means_leave_one_portfolio() -> None:
    variance = np.array([1e-4, 2e-4, 5e-4])
    path = efficient_frontier(np.full(3, 0.0123), np.diag(variance))
    for found in (path.min_variance(), path.max_return(), path.at_risk_aversion(3.0), path.at_return(0.001)):
        np.testing.assert_allclose(found.weights[0], (1 / variance) / (1 / variance).sum(), rtol=1e-12)
    assert len(path.turning) == 1


def test_tied_best_means_are_split_by_risk() -> None:
    covariance = np.diag([1e-4, 3e-4, 1e-4])
    best = efficient_frontier(np.array([2e-3, 2e-3, 1e-3]), covariance).max_return()
    np.testing.assert_allclose(best.weights[0], [0.75, 0.25, 0.0], atol=1e-12)


def test_asked_for_too_much_or_nonsense() -> None:
    mean, covariance = market(3, 6, singular=False)
    path = efficient_frontier(mean, covariance)
    with pytest.raises(InfeasibleError, match="the greatest is"):
        path.at_return(mean.max() * 1.01)
    with pytest.raises(InfeasibleError, match="the least is"):
        path.at_risk(path.min_variance().volatility[0] * 0.9)
    least = path.at_return(path.min_variance().expected_return[0] - 1.0)
    np.testing.assert_allclose(least.weights, path.min_variance().weights)
    np.testing.assert_allclose(path.at_risk(10.0).weights, path.max_return().weights)
    np.testing.assert_allclose(path.at_risk_aversion(0.0).weights, path.max_return().weights)
    np.testing.assert_allclose(path.at_risk_aversion(np.inf).weights, path.min_variance().weights)
    for wrong in (-1.0, np.nan):
        with pytest.raises(VhatError):
            path.at_risk_aversion(wrong)


@pytest.mark.parametrize(
    ("mean", "covariance", "allowed", "message"),
    [
        (np.zeros(2), np.eye(3), LONG_ONLY, "shape"),
        (np.array([np.nan, 1.0]), np.eye(2), LONG_ONLY, "not finite"),
        (np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]), LONG_ONLY, "positive semidefinite"),
        (np.zeros(2), np.eye(2), Constraints(lower=-np.inf), "finite"),
        (np.zeros(2), np.eye(2), Constraints(lower=np.zeros(3)), "do not fit"),
    ],
)
def test_problems_that_make_no_sense(
    mean: np.ndarray, covariance: np.ndarray, allowed: Constraints, message: str
) -> None:
    with pytest.raises(VhatError, match=message):
        efficient_frontier(mean, covariance, allowed)


def test_lower_bounds_above_the_budget_are_named() -> None:
    with pytest.raises(InfeasibleError, match=r"all lower bounds together \(1.2\) exceed the budget \(1\)"):
        efficient_frontier(np.zeros(3), np.eye(3), Constraints(lower=0.4))


def test_unknown_group_names_the_nearest() -> None:
    with pytest.raises(VhatError, match="'banks'"):
        Constraints.by_group(["banks", "oil"], {"bank": (0.0, 0.5)})


def test_a_wrong_line_is_refused_and_a_lost_one_is_traced_again(monkeypatch: pytest.MonkeyPatch) -> None:
    mean, covariance = market(9, 8, singular=False)

    def wrong(*arguments: object, **settings: object) -> Line:
        line = trace(*arguments, **settings)  # type: ignore[arg-type]
        x = line.x.copy()
        x[1, :2] += [1e-6, -1e-6]
        return replace(line, x=x)

    monkeypatch.setattr(finance.frontier, "trace", wrong)
    with pytest.raises(InaccurateError, match="refused"):
        efficient_frontier(mean, covariance)

    calls = []

    def lost_at_first(*arguments: object, **settings: object) -> Line:
        calls.append(settings)
        if len(calls) < 3:
            raise LostError("for the test")
        return trace(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(finance.frontier, "trace", lost_at_first)
    again = efficient_frontier(mean, covariance)
    assert isinstance(again, Frontier)
    assert len(calls) == 3
    monkeypatch.undo()
    np.testing.assert_allclose(
        again.spaced(9).weights, efficient_frontier(mean, covariance).spaced(9).weights, atol=1e-8
    )


def test_a_wrong_start_is_refused_before_anything_is_asked_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line starts at the asset with less return: least variance, and so each turning point, is right, but
    not what is held at small risk aversion."""
    mean, covariance = np.array([0.0, 0.1]), np.array([[1.0, 1.5], [1.5, 4.0]])
    right = efficient_frontier(mean, covariance).at_risk_aversion(0.001)
    np.testing.assert_allclose(right.weights, [[0.0, 1.0]])
    assert max(right.kkt_residual[0], right.duality_gap[0]) <= 1e-8

    def other_end(*_: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.array([1.0, 0.0]), np.array([0]), np.array([True, False])

    monkeypatch.setattr("finance.critical_line._best_vertex", other_end)
    with pytest.raises(InaccurateError, match="refused"):
        efficient_frontier(mean, covariance)


@given(moments)
@settings(max_examples=40, deadline=None)
def test_the_ray_is_certified_for_every_smaller_risk_aversion(these: tuple[int, int, bool]) -> None:
    mean, covariance = market(*these)
    line = efficient_frontier(mean, covariance)
    gamma = min(line.turning.risk_aversion[0], 1e6) * np.array([1.0, 0.5, 1e-3, 1e-9])
    found = line.at_risk_aversion(np.append(gamma, 0.0))
    np.testing.assert_array_equal(found.weights, line.turning.weights[:1].repeat(5, axis=0))
    assert (found.kkt_residual[1:] == line.ray_residual).all()
    assert (found.duality_gap[1:] == line.ray_gap).all()
    for each, weights in zip(gamma, found.weights, strict=False):
        assert violation(mean, covariance, each, weights) <= 2e-8


def test_many_pivots_without_a_new_factorisation_stay_exact() -> None:
    mean, covariance = market(17, 120, singular=False)
    path = efficient_frontier(mean, covariance)
    assert path.pivots > 100
    assert path.segment_residual.max() < 1e-11
    assert path.segment_gap.max() < 1e-10


def test_far_more_assets_than_days() -> None:
    returns = 0.01 * np.random.default_rng(0).standard_normal((30, 150))
    path = efficient_frontier(returns.mean(axis=0), np.cov(returns.T))
    # Some portfolio has had no risk at all; of those the frontier ends at one with the greatest return.
    assert path.min_variance().volatility[0] < 1e-9
    assert max(path.segment_residual.max(), path.segment_gap.max()) < 1e-9
