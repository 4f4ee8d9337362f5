"""The frontier against other solvers: Clarabel, SLSQP and HiGHS, on degenerate families too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import clarabel  # type: ignore[import-untyped]
import numpy as np
import pytest
from scipy import optimize, sparse

from finance.constraints import LONG_ONLY, Constraints, InfeasibleError
from finance.frontier import Frontier, NoTangencyError, efficient_frontier

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


def sides(allowed: Constraints, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The constraints but for the budget as G w <= h."""
    upper = np.full(n, 10.0 if allowed.upper is None else allowed.upper)
    lower = np.broadcast_to(allowed.lower, (n,))
    rows = np.zeros((0, n)) if allowed.rows is None else np.asarray(allowed.rows)
    low, high = (np.broadcast_to(x, len(rows)) for x in (allowed.row_lower, allowed.row_upper))
    above, below = np.isfinite(high), np.isfinite(low)
    inequalities = np.vstack([-np.eye(n), np.eye(n), rows[above], -rows[below]])
    return inequalities, np.concatenate([-lower, upper, high[above], -low[below]])


def by_clarabel(
    quadratic: np.ndarray,
    linear: np.ndarray,
    equal: tuple[np.ndarray, np.ndarray],
    below: tuple[np.ndarray, np.ndarray],
    cone: tuple[np.ndarray, np.ndarray] | None = None,
) -> float:
    """The least x'Px/2 + q'x with A x = b, G x <= h and, given a cone (F, g), g - F x in the second-order
    cone, by an interior-point method."""
    options = clarabel.DefaultSettings()
    options.verbose = False
    options.tol_gap_abs = options.tol_gap_rel = options.tol_feas = 1e-12
    parts = [equal, below] if cone is None else [equal, below, cone]
    cones = [clarabel.ZeroConeT(len(equal[1])), clarabel.NonnegativeConeT(len(below[1]))]
    solution = clarabel.DefaultSolver(
        sparse.csc_matrix(np.triu(quadratic)),
        linear,
        sparse.csc_matrix(np.vstack([matrix for matrix, _ in parts])),
        np.concatenate([side for _, side in parts]),
        cones if cone is None else [*cones, clarabel.SecondOrderConeT(len(cone[1]))],
        options,
    ).solve()
    assert "Solved" in str(solution.status)
    return float(solution.obj_val)


def clarabel_utility(mean: np.ndarray, risk: np.ndarray, allowed: Constraints) -> float:
    """The greatest w·mean - w·risk w/2, for moments of size 1."""
    budget = (np.ones((1, len(mean))), np.array([allowed.budget]))
    return -by_clarabel(risk, -mean, budget, sides(allowed, len(mean)))


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


@dataclass(frozen=True)
class Asked:
    """A frontier in units in which moments are of size 1, and another way to its three questions.

    Attributes:
        mean, covariance: scaled.
        below: G w <= h.
        start: a portfolio that keeps the constraints.
    """

    mean: np.ndarray
    covariance: np.ndarray
    below: tuple[np.ndarray, np.ndarray]
    start: np.ndarray

    @property
    def budget(self) -> tuple[np.ndarray, np.ndarray]:
        return np.ones((1, len(self.mean))), np.ones(1)

    def least_variance(self, wanted: float) -> float:
        """With at least this return, by Clarabel."""
        matrix, side = self.below
        more = (np.vstack([matrix, -self.mean]), np.append(side, -wanted))
        return 2.0 * by_clarabel(self.covariance, np.zeros_like(self.mean), self.budget, more)

    def greatest_return(self, most: float) -> float:
        """With at most this variance, by Clarabel."""
        value, vectors = np.linalg.eigh(self.covariance)
        root = np.sqrt(np.maximum(value, 0.0))[:, None] * vectors.T
        n = len(self.mean)
        cone = (np.vstack([np.zeros(n), -root]), np.append(np.sqrt(most), np.zeros(n)))
        return -by_clarabel(np.zeros((n, n)), -self.mean, self.budget, self.below, cone)

    def squared_sharpe(self, risk_free: float) -> float:
        """The greatest, by Clarabel on the homogenised problem: y = w / s, excess return of y 1."""
        n = len(self.mean)
        quadratic = np.zeros((n + 1, n + 1))
        quadratic[:n, :n] = self.covariance
        matrix, side = self.below
        equal = np.vstack([np.append(self.mean - risk_free, 0.0), np.append(np.ones(n), -1.0)])
        below = np.vstack([np.column_stack([matrix, -side]), np.append(np.zeros(n), -1.0)])
        least = by_clarabel(
            quadratic, np.zeros(n + 1), (equal, np.array([1.0, 0.0])), (below, np.zeros(len(below)))
        )
        return 1.0 / (2.0 * least)

    def by_slsqp(
        self,
        value: Callable[[np.ndarray], float],
        slope: Callable[[np.ndarray], np.ndarray],
        limit: Callable[[np.ndarray], float],
        limit_slope: Callable[[np.ndarray], np.ndarray],
    ) -> float:
        """The least value with limit >= 0, by sequential least squares; infinite where it gives up, as in one
        of twelve here, the degenerate ones."""
        matrix, side = self.below
        found = optimize.minimize(
            value,
            self.start,
            jac=slope,
            constraints=[
                {"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": lambda w: np.ones((1, len(w)))},
                {"type": "ineq", "fun": lambda w: side - matrix @ w, "jac": lambda _: -matrix},
                {"type": "ineq", "fun": limit, "jac": limit_slope},
            ],
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 1000},
        )
        return float(found.fun) if found.success else np.inf


# Left out: one asset, and no risk at all, which have one portfolio or one line.
QUESTIONED = tuple(name for name in FAMILIES if name not in ("one asset", "no risk"))


def questions(name: str, allowed: str) -> tuple[Asked, Frontier]:
    mean, covariance, these, _ = solved(name, allowed, 5)
    mean = mean / np.abs(mean).max()
    covariance = covariance / np.diagonal(covariance).max()
    frontier = efficient_frontier(mean, covariance, these)
    return Asked(mean, covariance, sides(these, len(mean)), frontier.min_variance().weights[0]), frontier


@pytest.mark.parametrize("allowed", SETS)
@pytest.mark.parametrize("name", QUESTIONED)
def test_least_variance_at_a_return_is_that_of_two_solvers(name: str, allowed: str) -> None:
    asked, frontier = questions(name, allowed)
    ends = frontier.turning.expected_return
    for share in (0.2, 0.7):
        wanted = (1 - share) * ends[-1] + share * ends[0]
        ours = frontier.at_return(wanted)
        assert ours.expected_return[0] >= wanted - 1e-10
        variance = ours.volatility[0] ** 2
        assert variance == pytest.approx(asked.least_variance(wanted), abs=1e-8)
        theirs = asked.by_slsqp(
            lambda w: w @ asked.covariance @ w,
            lambda w: 2.0 * asked.covariance @ w,
            lambda w, wanted=wanted: w @ asked.mean - wanted,  # type: ignore[misc]
            lambda _: asked.mean,
        )
        assert (
            np.isinf(theirs) and (name, allowed) != ("plain", "long-only")
        ) or -1e-8 <= theirs - variance <= 1e-5


@pytest.mark.parametrize("allowed", SETS)
@pytest.mark.parametrize("name", QUESTIONED)
def test_greatest_return_at_a_risk_is_that_of_two_solvers(name: str, allowed: str) -> None:
    asked, frontier = questions(name, allowed)
    ends = frontier.turning.volatility
    for share in (0.3, 0.8):
        most = (1 - share) * ends[-1] + share * ends[0]
        ours = frontier.at_risk(most)
        assert ours.volatility[0] <= most * (1 + 1e-9) + 1e-12
        earned = ours.expected_return[0]
        # What a solver's own slack of 1e-9 in the risk may earn is a matter of the frontier's slope.
        slack = 1e-7 + 1e-8 * abs(float(ours.expected_return[0] - ends[-1]))
        if most > 1e-3:
            assert earned == pytest.approx(asked.greatest_return(most**2), abs=slack)
        theirs = asked.by_slsqp(
            lambda w: -w @ asked.mean,
            lambda _: -asked.mean,
            lambda w, most=most: most**2 - w @ asked.covariance @ w,  # type: ignore[misc]
            lambda w: -2.0 * asked.covariance @ w,
        )
        assert (
            np.isinf(theirs) and (name, allowed) != ("plain", "long-only")
        ) or -1e-4 <= earned + theirs <= 1e-4


@pytest.mark.parametrize("allowed", SETS)
@pytest.mark.parametrize("name", QUESTIONED)
def test_the_greatest_sharpe_ratio_is_that_of_two_solvers(name: str, allowed: str) -> None:
    asked, frontier = questions(name, allowed)
    risk_free = float(frontier.turning.expected_return[-1]) - 0.1
    try:
        ours = frontier.max_sharpe(risk_free)
    except NoTangencyError:  # risk can be had away: then there is no greatest
        assert frontier.min_variance().volatility[0] < 1e-6
        return
    ratio = float((ours.expected_return[0] - risk_free) / ours.volatility[0])
    assert ratio**2 == pytest.approx(asked.squared_sharpe(risk_free), rel=1e-6)

    def value(w: np.ndarray) -> float:
        return float(-(w @ asked.mean - risk_free) / np.sqrt(w @ asked.covariance @ w))

    def slope(w: np.ndarray) -> np.ndarray:
        risk = np.sqrt(w @ asked.covariance @ w)
        return -asked.mean / risk + (w @ asked.mean - risk_free) * (asked.covariance @ w) / risk**3

    theirs = asked.by_slsqp(value, slope, lambda w: w.sum() - 0.5, np.ones_like)
    assert (
        np.isinf(theirs) and (name, allowed) != ("plain", "long-only")
    ) or -1e-6 * ratio <= ratio + theirs <= 1e-3 * ratio


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
