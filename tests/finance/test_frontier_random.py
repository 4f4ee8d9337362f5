"""The frontier on problems drawn to break it: right to the accuracy promised or refused, never wrong."""

from __future__ import annotations

from dataclasses import dataclass

import clarabel  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scipy import optimize, sparse

from core.lab.errors import VhatError
from finance.constraints import Constraints, InfeasibleError
from finance.frontier import Frontier, InaccurateError, efficient_frontier
from finance.windows import optimal_windows


@dataclass(frozen=True)
class Drawn:
    """A problem, and what makes it awkward."""

    mean: np.ndarray
    covariance: np.ndarray
    allowed: Constraints
    kinds: tuple[str, ...]


def moments(rng: np.random.Generator, kinds: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Of 1 to 12 assets over 1 to 3 N days, often tied, repeated, without risk or of few days."""
    n = int(rng.integers(1, 13))
    days = int(rng.integers(1, 3 * n + 2))
    returns = 0.02 * rng.standard_normal((days, n))
    if rng.random() < 0.3:
        returns = returns[:, rng.integers(0, n, n)]
        kinds.append("repeated assets")
    if rng.random() < 0.2:
        returns = np.round(returns, 2)
        kinds.append("coarse")
    if rng.random() < 0.2:
        returns *= 10.0 ** rng.uniform(-1, 1, n)
        kinds.append("unlike scales")
    if rng.random() < 0.2:
        returns[:, rng.random(n) < 0.4] = returns[0, 0]
        kinds.append("assets without risk")
    if rng.random() < 0.15:
        returns = np.outer(rng.standard_normal(days), rng.uniform(-1, 1, n)) * 0.02
        kinds.append("one factor")
    mean = returns.mean(axis=0)
    covariance = (returns - mean).T @ (returns - mean) / max(days - 1, 1)
    kind = rng.random()
    if kind < 0.15:
        mean = np.round(mean, 2)
        kinds.append("tied means")
    elif kind < 0.25:
        mean = np.full(n, mean[0])
        kinds.append("equal means")
    elif kind < 0.35:
        mean = mean - 0.1
        kinds.append("all losing")
    if rng.random() < 0.1:
        covariance = np.zeros_like(covariance)
        kinds.append("no risk at all")
    return mean, covariance


def limits(rng: np.random.Generator, n: int, kinds: list[str]) -> Constraints:
    """Budgets other than 1, bounds that bind (some so tight that one portfolio is left), groups that overlap,
    stand twice or contradict each other."""
    budget, lower, upper = 1.0, np.zeros(n), None
    if rng.random() < 0.2:
        budget = float(rng.choice([0.0, -1.0, 2.0, 0.5, 1e-3]))
        kinds.append("another budget")
    if rng.random() < 0.4 or budget <= 0:
        lower = np.round(-rng.uniform(0, 0.5, n), int(rng.integers(1, 9))) - max(0.0, -budget)
        kinds.append("short sales")
    room = max(budget - lower.sum(), 0.0)
    if rng.random() < 0.4:
        tight = rng.random()
        upper = lower + (room / n if tight < 0.3 else np.round(rng.uniform(0, 3 * room / n, n), 1))
        upper = np.where(rng.random(n) < 0.2, lower, upper) if tight > 0.8 else upper
        kinds.append("upper bounds")
    if rng.random() < 0.5:
        return Constraints(lower, upper, budget)
    count = int(rng.integers(1, 5))
    groups = rng.random() < 0.5
    rows = (
        (rng.random((count, n)) < 0.5).astype(float) if groups else rng.standard_normal((count, n)).round(1)
    )
    if rng.random() < 0.3:
        rows[-1] = rows[0]
    level = rows @ (rng.dirichlet(np.ones(n)) * room + lower)
    kind = rng.random()
    if kind < 0.25:
        low, high = level, level
    elif kind < 0.5:
        low, high = level - np.round(rng.uniform(0, 0.3, count), 1), np.full(count, np.inf)
    elif kind < 0.75:
        low, high = np.full(count, -np.inf), np.round(level + rng.uniform(0, 0.3, count), 1)
    else:
        low = np.round(rng.uniform(-0.5, 0.5, count), 1)
        high = low + np.round(rng.uniform(0, 0.5, count), 1)
    kinds.append("groups" if groups else "rows")
    return Constraints(lower, upper, budget, rows, low, high)


def drawn(seed: int) -> Drawn:
    rng, kinds = np.random.default_rng(seed), list[str]()
    mean, covariance = moments(rng, kinds)
    allowed = limits(rng, len(mean), kinds)
    return Drawn(mean, covariance, allowed, tuple(kinds))


def inequalities(allowed: Constraints, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A w <= b for bounds and rows."""
    rows = np.zeros((0, n)) if allowed.rows is None else np.asarray(allowed.rows)
    low, high = (np.broadcast_to(x, len(rows)) for x in (allowed.row_lower, allowed.row_upper))
    lower = np.broadcast_to(allowed.lower, (n,))
    upper = np.broadcast_to(np.inf if allowed.upper is None else allowed.upper, (n,))
    matrix = np.vstack([-np.eye(n), np.eye(n), rows, -rows])
    bound = np.concatenate([-lower, upper, high, -low])
    return matrix[np.isfinite(bound)], bound[np.isfinite(bound)]


def feasible(allowed: Constraints, n: int, slack: float) -> bool:
    """Whether some portfolio keeps all limits widened by the slack, by HiGHS."""
    matrix, bound = inequalities(allowed, n)
    found = optimize.linprog(
        np.zeros(n),
        A_ub=matrix,
        b_ub=bound + slack,
        A_eq=np.ones((1, n)),
        b_eq=[allowed.budget],
        bounds=(None, None),
    )
    return bool(found.status == 0)


def greatest_utility(mean: np.ndarray, risk: np.ndarray, allowed: Constraints) -> float | None:
    """Of moments of size 1, by Clarabel; None where it gives up."""
    n = len(mean)
    matrix, bound = inequalities(allowed, n)
    options = clarabel.DefaultSettings()
    options.verbose = False
    options.tol_gap_abs = options.tol_gap_rel = options.tol_feas = 1e-11
    solution = clarabel.DefaultSolver(
        sparse.csc_matrix(np.triu(risk)),
        -mean,
        sparse.csc_matrix(np.vstack([np.ones(n), matrix])),
        np.concatenate([[allowed.budget], bound]),
        [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(len(bound))],
        options,
    ).solve()
    return -float(solution.obj_val) if str(solution.status) == "Solved" else None


def require_right(problem: Drawn, line: Frontier) -> None:
    """Every way to ask gives portfolios that keep the limits, and none that another solver betters."""
    mean, covariance, allowed = problem.mean, problem.covariance, problem.allowed
    n, ends = len(mean), line.turning
    matrix, bound = inequalities(allowed, n)
    spread = np.linspace(0.0, 1.0, 5)
    asked = [
        line.at_return(ends.expected_return[-1] + spread * np.ptp(ends.expected_return)),
        line.at_risk(ends.volatility.min() + spread * np.ptp(ends.volatility)),
        line.min_variance(),
        line.max_return(),
    ]
    for found in asked:
        assert np.abs(found.weights.sum(axis=1) - allowed.budget).max() <= 1e-8
        assert (found.weights @ matrix.T - bound).max() <= 1e-7
        assert max(found.kkt_residual.max(), found.duality_gap.max()) <= 1e-8
    for gamma in (0.0, 1.0, 30.0, 1e3, np.inf):
        pull, risk = (np.zeros(n), covariance) if gamma == np.inf else (mean, gamma * covariance)
        scale = max(np.abs(pull).max(), np.abs(risk).max(), 1e-12)
        weights = line.at_risk_aversion(gamma).weights[0]
        ours = float(weights @ pull - 0.5 * weights @ risk @ weights) / scale
        theirs = greatest_utility(pull / scale, risk / scale, allowed)
        assert theirs is None or ours == pytest.approx(theirs, abs=1e-6, rel=1e-6)
    try:
        best = line.max_sharpe(float(np.median(mean)))
    except VhatError:
        return
    ratio = (ends.expected_return - np.median(mean)) / np.maximum(ends.volatility, 1e-9)
    assert (best.expected_return[0] - np.median(mean)) / max(best.volatility[0], 1e-9) >= ratio.max() - 1e-6


@given(st.integers(0, 2**40))
@settings(max_examples=150, deadline=None)
def test_right_or_refused_but_never_wrong(seed: int) -> None:
    problem = drawn(seed)
    for kind in problem.kinds:
        event(kind)
    try:
        line = efficient_frontier(problem.mean, problem.covariance, problem.allowed)
    except InfeasibleError:
        assert not feasible(problem.allowed, len(problem.mean), -1e-6)
        return
    except InaccurateError:
        event("refused")
        return
    require_right(problem, line)


def test_none_of_four_hundred_is_refused() -> None:
    refused = 0
    for seed in range(400):
        problem = drawn(seed)
        try:
            efficient_frontier(problem.mean, problem.covariance, problem.allowed)
        except InaccurateError:
            refused += 1
        except InfeasibleError:
            pass
    assert refused == 0


@pytest.mark.parametrize("seed", [362, 4225, 4580, 4914, 6705, 7438])
def test_what_was_refused_once_is_solved(seed: int) -> None:
    """Curvatures that were all rounding, and widened bounds that left a degenerate vertex."""
    problem = drawn(seed)
    require_right(problem, efficient_frontier(problem.mean, problem.covariance, problem.allowed))


@given(st.integers(0, 2**40), st.sampled_from([0.0, 2.0, 50.0, np.inf]))
@settings(max_examples=30, deadline=None)
def test_windows_are_as_good_as_their_frontiers(seed: int, gamma: float) -> None:
    """Sixteen neighbouring windows, some singular, tied or without risk, under bounds that bind."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    returns = 0.02 * rng.standard_normal((60, n))[:, rng.integers(0, n, n)]
    starts, length = np.arange(16), int(rng.integers(2, 40))
    mean = np.stack([returns[s : s + length].mean(axis=0) for s in starts])
    covariance = np.stack([np.atleast_2d(np.cov(returns[s : s + length].T)) for s in starts])
    mean[rng.random(16) < 0.2] = 1e-3
    covariance[rng.random(16) < 0.2] *= 0.0
    allowed = Constraints(upper=1.0 / n if rng.random() < 0.2 else float(rng.uniform(1.0 / n, 1.0)))
    found = optimal_windows(mean, covariance, gamma, allowed)
    assert max(found.kkt_residual.max(), found.duality_gap.max()) <= 1e-8
    for m, s, weights in zip(mean, covariance, found.weights, strict=True):
        best = efficient_frontier(m, s, allowed).at_risk_aversion(gamma).weights[0]
        pull, risk = (np.zeros(n), s) if gamma == np.inf else (m, gamma * s)
        scale = max(np.abs(pull).max(), np.abs(risk).max(), 1e-12)
        ours, theirs = (float(w @ pull - 0.5 * w @ risk @ w) / scale for w in (weights, best))
        assert ours == pytest.approx(theirs, abs=1e-7)
        assert weights.max() <= allowed.upper + 1e-9  # type: ignore[operator]
