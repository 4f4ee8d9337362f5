"""Efficient frontiers and walk-forward portfolios: ours against cvxcla, cvxpy with Clarabel, and skfolio.

Four cases. A frontier of 100 points at N = 20 (the embedded companies), against skfolio's
`efficient_frontier_size` (which estimates moments: then ours are counted too) and cvxcla. A frontier of 100
points at N = 500 (a simulated market with industries), against cvxpy with Clarabel: the problem is compiled
once, and the return asked for is a parameter. 5,000 daily windows of a year at N = 20, moments included on
our side, against cvxpy (compiled once; a window's factor and mean are parameters, and its moments are not
counted) and skfolio's walk-forward, which is timed on two numbers of windows, and the slope between them
counted for all. All on one thread. The slow sides are timed on some of the points or windows and counted for
all; their compilation is not counted. Nothing is stored unless our answers are optimal to a relative gap of
1e-6.

Then how our time grows with N and with the number of points, over the time to form the sample covariance.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cvxpy as cp
import numpy as np
import pandas as pd
import torch
import tyro
from skfolio import RiskMeasure
from skfolio.model_selection import WalkForward, cross_val_predict
from skfolio.optimization import MeanRisk, ObjectiveFunction
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.benchmark import Benchmark, Measured
from core.lab.errors import VhatError
from core.lab.tables import number
from finance.frontier import efficient_frontier
from finance.markets import embedded_returns
from finance.moments import sample_covariance
from finance.prices import Floats
from finance.rolling import rolling_moments
from finance.windows import optimal_windows
from scripts.bench.timing import Steps, Times, command, finish, in_turns, missing_peer

POINTS = 100
YEAR = 252
GAMMA = 5.0
FEW, MORE = 10, 40  # windows of skfolio's walk-forward, whose slope is the cost of a window
GAP = 1e-6  # relative, to which a comparison is promised


@dataclass
class Args:
    """Seconds for frontiers and walk-forward portfolios, ours against others."""

    windows: int = 5000
    """daily windows"""
    sizes: tuple[int, ...] = (20, 100, 500, 1000, 2000)
    """numbers of assets for the growth of cost"""
    points: tuple[int, ...] = (1, 100, 1000, 10_000)
    """numbers of points for the growth of cost, at N = 500"""
    turns: int = 7
    """how often all sides take turns"""
    seconds: float = 0.5
    """about how long a turn of a side lasts"""
    out: Path = field(default_factory=lambda: Path("out"))
    """folder of the results and the report"""


def simulated(assets: int, days: int) -> Floats:
    """Returns `[T, N]` of a market: one common factor, twelve industries, noise of the assets' own."""
    rng = np.random.default_rng([assets, days])
    common, industries = 0.010 * rng.standard_normal((days, 1)), 0.007 * rng.standard_normal((days, 12))
    loadings = np.eye(12)[rng.integers(0, 12, assets)].T * rng.uniform(0.5, 1.5, assets)
    noise = rng.standard_normal((days, assets)) * rng.uniform(0.008, 0.025, assets)
    out: Floats = 4e-4 + common * rng.normal(1.0, 0.3, assets) + industries @ loadings + noise
    return out


def repeated(once: Callable[[], object]) -> Steps:
    """A side whose step is one call."""

    def go(steps: int) -> None:
        for _ in range(steps):
            once()

    return go


def ours(mean: Floats, covariance: Floats) -> Steps:
    """The frontier from its moments, and its points."""
    return repeated(lambda: efficient_frontier(mean, covariance).spaced(POINTS))


def ours_from_returns(returns: Floats) -> Steps:
    """The same with the moments."""
    return repeated(
        lambda: efficient_frontier(returns.mean(axis=0), sample_covariance(returns)).spaced(POINTS)
    )


def require_gap(what: str, gap: float) -> float:
    """The gap, when it is as small as promised.

    Raises:
        VhatError: when it is not: then times are of other problems.
    """
    if not gap <= GAP:
        raise VhatError(f"{what}: a relative gap of {gap:.1e} is above {GAP:g}; nothing is compared")
    return gap


def of_cvxcla(mean: Floats, covariance: Floats) -> Steps:
    """All turning points and as many points."""
    from cvxcla import CLA

    n = len(mean)

    def once() -> None:
        line = CLA(
            mean=mean,
            covariance=covariance,
            lower_bounds=np.zeros(n),
            upper_bounds=np.ones(n),
            a=np.ones((1, n)),
            b=np.ones(1),
        )
        line.frontier.interpolate(max(2, POINTS // len(line.turning_points)))

    return repeated(once)


def of_skfolio_frontier(returns: pd.DataFrame) -> Steps:
    """`MeanRisk` with as many points; its fit estimates moments as well."""
    model = MeanRisk(risk_measure=RiskMeasure.VARIANCE, efficient_frontier_size=POINTS)
    return repeated(lambda: model.fit(returns))


class Cvxpy:
    """Least variance at a return, compiled once; a step is one point of the frontier."""

    def __init__(self, mean: Floats, covariance: Floats) -> None:
        unit = float(np.diagonal(covariance).mean())
        self.weights, self.least = cp.Variable(len(mean)), cp.Parameter()
        scaled = mean / np.abs(mean).max()
        self.line = efficient_frontier(mean, covariance)
        turning = self.line.turning.expected_return / np.abs(mean).max()
        self.asked = np.linspace(turning[-1], turning[0], POINTS)[5:-5:7]
        risk = cp.quad_form(self.weights, cp.psd_wrap(covariance / unit))
        held = [self.weights >= 0, cp.sum(self.weights) == 1, scaled @ self.weights >= self.least]
        self.problem, self.unit, self.scale = (
            cp.Problem(cp.Minimize(risk), held),
            unit,
            float(np.abs(mean).max()),
        )
        self.place = 0

    def go(self, steps: int) -> None:
        for _ in range(steps):
            self.least.value = self.asked[self.place % len(self.asked)]
            self.problem.solve(solver=cp.CLARABEL)
            self.place += 1

    def disagreement(self) -> float:
        """The largest relative difference of its variance from ours."""
        worst = 0.0
        for asked in self.asked[::4]:
            self.least.value = asked
            self.problem.solve(solver=cp.CLARABEL)
            mine = self.line.at_return(asked * self.scale).volatility[0] ** 2 / self.unit
            worst = max(worst, abs(float(self.problem.value) - mine) / mine)
        return worst


def of_cvxpy_windows(mean: Floats, covariance: Floats) -> Steps:
    """Greatest utility of a window; a step is one window, its factor and mean are parameters."""
    n = mean.shape[1]
    root, pull, w = cp.Parameter((n, n)), cp.Parameter(n), cp.Variable(n)
    problem = cp.Problem(
        cp.Minimize(0.5 * GAMMA * cp.sum_squares(root @ w) - pull @ w), [w >= 0, cp.sum(w) == 1]
    )
    # In units of a per cent, in which its tolerances mean something.
    roots, pulls = np.linalg.cholesky(1e4 * covariance).transpose(0, 2, 1), 1e4 * mean
    place = 0

    def go(steps: int) -> None:
        nonlocal place
        for _ in range(steps):
            root.value, pull.value = roots[place % len(roots)], pulls[place % len(roots)]
            problem.solve(solver=cp.CLARABEL)
            place += 17

    return go


def of_skfolio_windows(returns: pd.DataFrame, windows: int) -> Steps:
    """Its walk-forward over a part of the days; a step is so many windows."""
    model = MeanRisk(objective_function=ObjectiveFunction.MAXIMIZE_UTILITY, risk_aversion=GAMMA / 2)
    few = returns.iloc[: YEAR + windows]
    cv = WalkForward(test_size=1, train_size=YEAR)
    return repeated(lambda: cross_val_predict(model, few, cv=cv))


def measure_small(returns: Floats, args: Args) -> tuple[list[Measured], list[str]]:
    """100 points at N = 20."""
    mean, covariance = returns.mean(axis=0), sample_covariance(returns)
    sides = {
        "ours": ours(mean, covariance),
        "ours, moments too": ours_from_returns(returns),
        "skfolio": of_skfolio_frontier(pd.DataFrame(returns)),
    }
    line = efficient_frontier(mean, covariance)
    gap = require_gap(f"N = {len(mean)}", float(line.segment_gap.max()))
    own = {"skfolio": "ours, moments too", "cvxcla": "ours"}
    goals = {"skfolio": 100.0, "cvxcla": 5.0}
    lacking = missing_peer("cvxcla")
    if lacking is None:
        sides["cvxcla"] = of_cvxcla(mean, covariance)
    times = in_turns(sides, args.turns, args.seconds)
    rows = [
        Measured(
            f"{POINTS} points, N = {len(mean)}",
            name,
            times.ratio(name, own[name]),
            goals[name],
            {
                "ours": f"{1e3 * times.median(own[name]):.2f} ms",
                "theirs": f"{1e3 * times.median(name):.1f} ms",
                "our duality gap": number(gap, 1),
            },
        )
        for name in own
        if name in sides
    ]
    return rows, [] if lacking is None else [lacking]


def measure_large(args: Args) -> list[Measured]:
    """100 points at N = 500."""
    returns = simulated(500, 1000)
    mean, covariance = returns.mean(axis=0), sample_covariance(returns)
    other = Cvxpy(mean, covariance)
    times = in_turns({"ours": ours(mean, covariance), "cvxpy": other.go}, args.turns, args.seconds)
    line = efficient_frontier(mean, covariance)
    gap = require_gap("N = 500", float(line.segment_gap.max()))
    difference = require_gap("N = 500, beside cvxpy", other.disagreement())
    beside = {
        "ours": f"{1e3 * times.median('ours'):.1f} ms",
        "theirs": f"{1e3 * POINTS * times.median('cvxpy'):,.0f} ms",
        "our duality gap": number(gap, 1),
        "difference of variance": number(difference, 1),
    }
    ratio = times.ratio("cvxpy", "ours", factor=POINTS)
    return [Measured(f"{POINTS} points, N = 500", "cvxpy, Clarabel", ratio, 1000.0, beside)]


def measure_windows(returns: Floats, args: Args) -> list[Measured]:
    """Daily windows of a year at N = 20."""
    days = returns[: YEAR + args.windows - 1]
    moments = rolling_moments(days, YEAR)

    def once() -> None:
        found = rolling_moments(days, YEAR)
        optimal_windows(found.mean, found.covariance, GAMMA)

    sides = {
        "ours": repeated(once),
        "moments given": repeated(lambda: optimal_windows(moments.mean, moments.covariance, GAMMA)),
        "cvxpy, Clarabel": of_cvxpy_windows(moments.mean, moments.covariance),
        "few": of_skfolio_windows(pd.DataFrame(returns), FEW),
        "more": of_skfolio_windows(pd.DataFrame(returns), MORE),
    }
    times = in_turns(sides, args.turns, args.seconds)
    each = [
        (more - few) / (MORE - FEW)
        for more, few in zip(times.seconds["more"], times.seconds["few"], strict=True)
    ]
    times = Times({**times.seconds, "skfolio walk-forward": each})
    count = len(moments.mean)
    found = optimal_windows(moments.mean, moments.covariance, GAMMA)
    gap = require_gap(f"{count:,} windows", float(found.duality_gap.max()))
    return [
        Measured(
            f"{count:,} windows, N = {returns.shape[1]}",
            name,
            times.ratio(name, "ours", factor=count),
            goal,
            {
                "ours": f"{1e3 * times.median('ours'):.0f} ms",
                "of this for moments": f"{1 - times.ratio('moments given', 'ours').median:.0%}",
                "theirs": f"{1e3 * count * times.median(name):,.0f} ms",
                "our duality gap": number(gap, 1),
            },
        )
        for name, goal in (("cvxpy, Clarabel", 50.0), ("skfolio walk-forward", 300.0))
    ]


def measure_growth(args: Args) -> list[Measured]:
    """Our time over that of forming the sample covariance."""
    rows = []
    cases = [(size, POINTS) for size in args.sizes] + [(500, points) for points in args.points]
    for assets, points in cases:
        returns = simulated(assets, max(1000, 2 * assets))
        mean, covariance = returns.mean(axis=0), sample_covariance(returns)

        def solve(mean: Floats = mean, covariance: Floats = covariance, points: int = points) -> None:
            efficient_frontier(mean, covariance).spaced(points)

        sides = {
            "ours": repeated(solve),
            "covariance": repeated(lambda returns=returns: sample_covariance(returns)),
        }
        times = in_turns(sides, args.turns, args.seconds)
        beside = {
            "ours": f"{1e3 * times.median('ours'):.1f} ms",
            "covariance": f"{1e3 * times.median('covariance'):.1f} ms",
            "turning points": str(len(efficient_frontier(mean, covariance).turning)),
        }
        case = "growth with N" if len(rows) < len(args.sizes) else "growth with points, N = 500"
        name = f"N = {assets:,}" if len(rows) < len(args.sizes) else f"{points:,} points"
        rows.append(Measured(case, name, times.ratio("ours", "covariance"), None, beside))
    return rows


def main(args: Args) -> None:
    """Measure, print and store."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Solution may be inaccurate")
    returns = np.array(embedded_returns())
    with threadpool_limits(1):
        small, lacking = measure_small(returns, args)
        against = [*small, *measure_large(args), *measure_windows(returns, args)]
        growth = measure_growth(args)
    finish(
        Benchmark(
            name="frontier",
            title="Portfolios: frontiers and windows",
            about=(
                f"{POINTS} points of a long-only frontier, from its moments on; and daily windows of a year, "
                f"greatest utility at risk aversion {GAMMA:g}, our moments included. cvxpy's problems are "
                "compiled once, with parameters, and its moments are not counted; skfolio estimates moments "
                "itself, as ours then do. Slow sides are timed on some points or windows, and counted for "
                "all (skfolio's walk-forward by the slope between two numbers of windows). One thread."
            ),
            unit="times faster than this contestant",
            faster="up",
            rows=tuple(against),
            turns=args.turns,
            command=command(),
            missing=tuple(lacking),
        ),
        args.out,
    )
    finish(
        Benchmark(
            name="frontier-growth",
            title="Frontiers: how the cost grows",
            about=(
                f"The whole frontier and {POINTS} of its points (above), or so many points (below), from "
                "moments of a simulated market with twice as many days as assets, 1,000 at least. One thread."
            ),
            unit="time, forming the sample covariance = 1",
            faster="down",
            rows=tuple(growth),
            turns=args.turns,
            command=command(),
        ),
        args.out,
    )


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
