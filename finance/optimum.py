"""The exact optimum of mean-variance utility, with what a gap to it is measured by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.lab.errors import VhatError
from finance.certificate import TOLERANCE, checked_moments
from finance.frontier import efficient_frontier
from finance.prices import Floats

_FLAT = 1e-13  # a curvature below this part of the largest counts as none
_NOTHING = 1e-14  # of the budget


@dataclass(frozen=True, eq=False)
class Optimum:
    """Weights that maximise U(w) = w·m - (gamma/2) w·Sw.

    Attributes:
        weights: float64 `[N]`.
        utility: its value there, a period of the moments.
        slack: `[N]`, of a portfolio its mean marginal utility minus that of each asset: zero where a weight
            is positive, not negative elsewhere, but for rounding. Then U(weights) - U(w) = slack·w +
            (gamma/2) d·Sd with d = w - weights for every w of the same budget. Without a budget minus the
            gradient of U, which is zero.
    """

    weights: Floats
    utility: float
    slack: Floats


def long_only_optimum(mean: Floats, second_moment: Floats, risk_aversion: float) -> Optimum:
    """Over w >= 0, sum w = 1: a point of the efficient frontier, which proves it.

    Args:
        mean: m `[N]`, a period.
        second_moment: S `[N, N]`, symmetric and positive semidefinite: second moment or covariance, a period.
        risk_aversion: gamma, finite and not negative.

    Raises:
        VhatError: for arguments that make no such problem.
        InaccurateError: when the answer does not prove itself.
    """
    _require_aversion(risk_aversion)
    line = efficient_frontier(mean, second_moment)
    found: Floats = line.at_risk_aversion(risk_aversion).weights[0]
    # What rounding has left of an asset that is not held would break the promise about the slack.
    found = np.where(found > _NOTHING, found, 0.0)
    weights: Floats = found / found.sum()
    gradient = line.mean - risk_aversion * line.covariance @ weights
    slack: Floats = weights @ gradient - gradient
    return Optimum(weights, _utility(line.mean, line.covariance, risk_aversion, weights), slack)


def unconstrained_optimum(mean: Floats, second_moment: Floats, risk_aversion: float) -> Optimum:
    """Over all w: gamma S w = m (the shortest such w). Arguments as of `long_only_optimum`.

    Raises:
        VhatError: for such arguments, or when utility has no bound (gamma = 0, or m has a part along which S
            has no curvature).
    """
    _require_aversion(risk_aversion)
    m, s, *_ = checked_moments(mean, second_moment)
    curvature = risk_aversion * s
    weights: Floats = np.asarray(np.linalg.lstsq(curvature, m, rcond=_FLAT)[0], dtype=np.float64)
    slack: Floats = curvature @ weights - m
    scale = max(float(np.abs(m).max()), float(np.abs(curvature).max()), np.finfo(float).tiny)
    residual = float(np.abs(slack).max()) / scale
    if residual > TOLERANCE:
        raise VhatError(
            f"utility has no maximum at risk aversion {risk_aversion:g}: some portfolio has return "
            f"and no risk (residual {residual:.1e}); use more days than tickers and a positive risk aversion"
        )
    return Optimum(weights, _utility(m, s, risk_aversion, weights), slack)


def _require_aversion(risk_aversion: float) -> None:
    if not (math.isfinite(risk_aversion) and risk_aversion >= 0):
        raise VhatError(f"risk aversion must be finite and not negative, got {risk_aversion}")


def _utility(m: Floats, s: Floats, risk_aversion: float, weights: Floats) -> float:
    return float(weights @ m - 0.5 * risk_aversion * weights @ s @ weights)
