"""The frontier against other solvers: Clarabel, cvxpy as skfolio uses it, SLSQP and HiGHS, on degenerate
families too."""

from __future__ import annotations

import clarabel  # type: ignore[import-untyped]
import cvxpy as cp
import numpy as np
import pytest
from scipy import optimize, sparse

from finance.constraints import LONG_ONLY, Constraints, InfeasibleError
from finance.frontier import Frontier, efficient_frontier

FAMILIES = (
    "plain",
    "few days",
    "duplicated",
    "repeated",
    "coarse",
    "one factor",
    "scales",
    "equal means",
    "tied means",
    "identity",
    "no risk",
    "all losing",
    "one asset",
    "near duplicates",
)
SETS = ("long-only", "capped", "boxed", "grouped", "rows")


def market(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean [N] and covariance [N, N] of a random market, degenerate in its own way."""
    rng = np.random.default_rng([seed, FAMILIES.index(name)])
    n = 1 if name == "one asset" else int(rng.integers(2, 18))
    days = max(2, n // 2) if name == "few days" else 5 * n + 2
    returns = 0.02 * rng.standard_normal((days, n)) + 0.001
    if name in ("duplicated", "near duplicates"):
        returns = np.repeat(returns, 2, axis=1)
        returns += (1e-5 if name == "near duplicates" else 0.0) * rng.standard_normal(returns.shape)
    elif name == "repeated":
        returns = returns[:, rng.integers(0, n, n)]
    elif name == "coarse":
        returns = np.round(returns, 2)
    elif name == "one factor":
        returns = np.outer(rng.standard_normal(days), rng.uniform(0.5, 2.0, n)) * 0.01
    elif name == "scales":
        returns *= 10.0 ** rng.uniform(-1.5, 1.5, n)
    mean, covariance = returns.mean(axis=0), np.atleast_2d(np.cov(returns.T))
    if name == "equal means":
        mean = np.full_like(mean, 5e-4)
    elif name == "tied means":
        mean = rng.integers(0, 3, len(mean)) * 1e-3
    elif name == "identity":
        mean, covariance = rng.integers(0, 3, n) * 1e-4, np.eye(n) * 1e-4
    elif name == "no risk":
        covariance = np.zeros_like(covariance)
    elif name == "all losing":
        mean = -np.abs(mean) - 0.01
    return mean, covariance


def constraints(name: str, n: int, seed: int) -> Constraints:
    """A feasible set for n assets, often with ties at its corners."""
    rng = np.random.default_rng([seed, n])
    if name == "capped":
        return Constraints(upper=max(1.0 / n, round(float(rng.uniform(0.1, 0.6)), 1)))
    if name == "boxed":
        return Constraints(lower=-rng.uniform(0, 0.3, n), upper=1.0 / n + rng.uniform(0, 1, n))
    if name == "grouped":
        groups = [str(g) for g in np.arange(n) % 3]
        return Constraints.by_group(groups, {"0": (0.1, 0.6 if n > 1 else 1.0), groups[-1]: (0.0, 1.0)})
    if name == "rows":
        rows = rng.standard_normal((2, n))
        level = rows @ np.full(n, 1.0 / n)
        return Constraints(
            lower=-0.2, rows=rows, row_lower=level - 0.1, row_upper=level + np.array([0.1, np.inf])
        )
    return LONG_ONLY


def clarabel_utility(mean: np.ndarray, risk: np.ndarray, allowed: Constraints) -> float:
    """The greatest w·mean - w·risk w/2, for moments of size 1, by Clarabel's interior-point method."""
    n = len(mean)
    upper = np.full(n, 10.0 if allowed.upper is None else allowed.upper)
    lower = np.broadcast_to(allowed.lower, (n,))
    rows = np.zeros((0, n)) if allowed.rows is None else np.asarray(allowed.rows)
    low, high = (np.broadcast_to(x, len(rows)) for x in (allowed.row_lower, allowed.row_upper))
    above, below = np.isfinite(high), np.isfinite(low)
    inequalities = np.vstack([-np.eye(n), np.eye(n), rows[above], -rows[below]])
    limits = np.concatenate([-lower, upper, high[above], -low[below]])
    options = clarabel.DefaultSettings()
    options.verbose = False
    options.tol_gap_abs = options.tol_gap_rel = options.tol_feas = 1e-12
    solution = clarabel.DefaultSolver(
        sparse.csc_matrix(np.triu(risk)),
        -mean,
        sparse.csc_matrix(np.vstack([np.ones(n), inequalities])),
        np.concatenate([[allowed.budget], limits]),
        [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(len(limits))],
        options,
    ).solve()
    assert "Solved" in str(solution.status)
    return -float(solution.obj_val)


def slsqp_utility(mean: np.ndarray, risk: np.ndarray) -> float:
    """The same, long-only, by scipy's sequential least squares."""
    n = len(mean)
    found = optimize.minimize(
        lambda w: 0.5 * w @ risk @ w - w @ mean,
        np.full(n, 1.0 / n),
        jac=lambda w: risk @ w - mean,
        bounds=[(0.0, 1.0)] * n,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": lambda w: np.ones((1, n))},
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 500},
    )
    return -float(found.fun)


def solved(name: str, allowed: str, seed: int) -> tuple[np.ndarray, np.ndarray, Constraints, Frontier]:
    mean, covariance = market(name, seed)
    these = constraints(allowed, len(mean), seed)
    return mean, covariance, these, efficient_frontier(mean, covariance, these)


@pytest.mark.parametrize("allowed", SETS)
@pytest.mark.parametrize("name", FAMILIES)
def test_as_good_as_an_interior_point_method(name: str, allowed: str) -> None:
    for seed in range(4):
        mean, covariance, these, frontier = solved(name, allowed, seed)
        for gamma in (0.03, 1.0, 20.0, 3e3):
            weights = frontier.at_risk_aversion(gamma).weights[0]
            scale = max(np.abs(mean).max(), gamma * np.abs(covariance).max())
            ours = (weights @ mean - 0.5 * gamma * weights @ covariance @ weights) / scale
            theirs = clarabel_utility(mean / scale, gamma * covariance / scale, these)
            assert ours == pytest.approx(theirs, abs=1e-8)
            assert weights.sum() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_as_good_as_sequential_least_squares(name: str) -> None:
    for seed in range(10, 13):
        mean, covariance, _, frontier = solved(name, "long-only", seed)
        for gamma in (0.5, 50.0):
            weights = frontier.at_risk_aversion(gamma).weights[0]
            scale = max(np.abs(mean).max(), gamma * np.abs(covariance).max())
            ours = (weights @ mean - 0.5 * gamma * weights @ covariance @ weights) / scale
            theirs = slsqp_utility(mean / scale, gamma * covariance / scale)
            assert -1e-12 <= ours - theirs <= 1e-6


@pytest.mark.parametrize("allowed", SETS)
@pytest.mark.parametrize("name", FAMILIES)
def test_greatest_return_is_that_of_the_linear_program(name: str, allowed: str) -> None:
    mean, _, these, frontier = solved(name, allowed, 21)
    form = these.standard(len(mean))
    found = optimize.linprog(
        -np.append(mean, np.zeros(len(form.lower) - len(mean))),
        A_eq=form.equalities,
        b_eq=form.totals,
        bounds=np.column_stack([form.lower, form.upper]),
    )
    assert frontier.max_return().expected_return[0] == pytest.approx(-found.fun, abs=1e-9)


@pytest.mark.parametrize("name", ["plain", "few days", "duplicated", "tied means", "scales"])
def test_as_good_as_cvxpy_at_a_return_and_at_a_risk(name: str) -> None:
    mean, covariance = market(name, 5)
    unit = float(np.sqrt(np.diagonal(covariance).max()))
    frontier = efficient_frontier(mean, covariance)
    ends = frontier.turning
    root = np.linalg.cholesky(covariance / unit**2 + 1e-15 * np.eye(len(mean))).T
    w = cp.Variable(len(mean))
    held = [w >= 0, cp.sum(w) == 1]
    for share in (0.2, 0.7):
        wanted = (1 - share) * ends.expected_return[-1] + share * ends.expected_return[0]
        problem = cp.Problem(cp.Minimize(cp.norm(root @ w)), [*held, mean / unit @ w >= wanted / unit])
        problem.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
        ours = frontier.at_return(wanted)
        assert ours.expected_return[0] == pytest.approx(wanted, rel=1e-12)
        assert ours.volatility[0] / unit == pytest.approx(problem.value, abs=1e-6)
        most = (1 - share) * ends.volatility[-1] + share * ends.volatility[0]
        problem = cp.Problem(cp.Maximize(mean / unit @ w), [*held, cp.norm(root @ w) <= most / unit])
        problem.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
        ours = frontier.at_risk(most)
        assert ours.volatility[0] == pytest.approx(most, rel=1e-10)
        assert ours.expected_return[0] / unit == pytest.approx(problem.value, abs=1e-6)


def test_infeasible_sets_are_told_apart_from_hard_ones() -> None:
    mean, covariance = market("plain", 3)
    n = len(mean)
    groups = ["a", *["b"] * (n - 1)]
    for impossible in (
        Constraints(upper=0.5 / n),
        Constraints(lower=0.3, upper=0.2),
        Constraints.by_group(groups, {"a": (0.0, 0.2), "b": (0.0, 0.3)}),
        Constraints(rows=np.ones((1, n)), row_lower=1.5),
    ):
        with pytest.raises(InfeasibleError):
            efficient_frontier(mean, covariance, impossible)
