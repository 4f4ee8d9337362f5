"""Allocations to compare with, as scikit-learn estimators: `fit(returns)`, `weights_`, `predict(returns)`.

They go into scikit-learn's tools (clone, pipelines, grid search, cross-validation) with any splitter that
keeps the order of time, such as skfolio's `WalkForward` or scikit-learn's `TimeSeriesSplit`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, Self, get_args

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from core.lab.errors import VhatError, nearest
from finance.constraints import Constraints
from finance.frontier import InaccurateError, efficient_frontier
from finance.moments import TRADING_DAYS, ewma_covariance, ledoit_wolf_covariance, sample_covariance
from finance.prices import Floats
from finance.rolling import rolling_moments
from finance.windows import optimal_windows

Estimate = Literal["sample", "ledoit-wolf", "ewma"]
_COVARIANCES: dict[str, Callable[[Floats], Floats]] = {
    "sample": sample_covariance,
    "ledoit-wolf": ledoit_wolf_covariance,
    "ewma": lambda returns: ewma_covariance(returns - returns.mean(axis=0), 0.97),
}
_ROUNDS = 200  # of Newton's method
_STILL = 1e-10  # a deviation below this part of the largest, or of the mean return, is rounding


class Allocation(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """Long-only weights with sum 1 from a window of returns; a subclass says how.

    Attributes:
        weights_: `[N]`, after `fit`.
    """

    weights_: Floats

    def fit(self, X: Floats, y: object = None) -> Self:  # noqa: ARG002 (scikit-learn's names)
        """Weights from returns `[T, N]`; `y` is there for scikit-learn and is not read.

        Raises:
            ValueError: for returns that are not finite numbers `[T, N]`, with too few days.
            VhatError: when the returns have no such portfolio.
        """
        returns = validate_data(self, X, dtype=np.float64, ensure_min_samples=self._least_days())
        self.weights_ = self._weights(np.asarray(returns))
        return self

    def predict(self, X: Floats) -> Floats:
        """Returns `[T]` of the fitted weights on returns `[T, N]`, the weights restored every day."""
        check_is_fitted(self, "weights_")
        out: Floats = np.asarray(validate_data(self, X, dtype=np.float64, reset=False)) @ self.weights_
        return out

    def score(self, X: Floats, y: object = None) -> float:  # noqa: ARG002
        """Yearly Sharpe ratio of `predict(X)` on daily returns; 0 where they do not vary."""
        earned = self.predict(X)
        spread = float(earned.std(ddof=1)) if len(earned) > 1 else 0.0
        return float(earned.mean()) / spread * math.sqrt(TRADING_DAYS) if spread > 0 else 0.0

    def _least_days(self) -> int:
        return 2

    @abstractmethod
    def _weights(self, returns: Floats) -> Floats:
        """Weights `[N]` from finite returns `[T, N]`."""


class _OfCovariance(Allocation):
    """Weights from an estimate of the covariance."""

    def __init__(self, covariance: Estimate = "sample") -> None:
        self.covariance = covariance

    def estimate(self, returns: Floats) -> Floats:
        """The covariance `[N, N]` that weights come from."""
        if self.covariance not in _COVARIANCES:
            raise VhatError(nearest(str(self.covariance), get_args(Estimate), kind="covariance"))
        return _COVARIANCES[self.covariance](returns)


class EqualWeight(Allocation):
    """1/N (DeMiguel, Garlappi and Uppal 2009)."""

    def _least_days(self) -> int:
        return 1

    def _weights(self, returns: Floats) -> Floats:
        return np.full(returns.shape[1], 1.0 / returns.shape[1])


class InverseVolatility(Allocation):
    """Weights in proportion to 1/σ."""

    def _weights(self, returns: Floats) -> Floats:
        inverse = 1.0 / _deviations(sample_covariance(returns), returns)
        out: Floats = inverse / inverse.sum()
        return out


class _OnFrontier(_OfCovariance):
    """A portfolio of the efficient frontier."""

    upper: float | None

    def at_once(self, returns: Floats, window: int, step: int) -> Floats | None:
        """The weights `[W, N]` of every window of returns `[T, N]`, the first of which begins on day 0, in
        one batch (see `finance.windows`): those of `fit` on each to within its tolerance. None for another
        covariance than the sample's, and for a subclass, which may mean something else by it."""
        if self.covariance != "sample" or type(self) not in (MinimumVariance, MaximumUtility):
            return None
        moments = rolling_moments(returns, window, step)
        mean, aversion = self._aim(moments.mean)
        return optimal_windows(mean, moments.covariance, aversion, Constraints(upper=self.upper)).weights

    @abstractmethod
    def _aim(self, mean: Floats) -> tuple[Floats, float]:
        """Means `[..., N]` and risk aversion, from sample means."""

    def _weights(self, returns: Floats) -> Floats:
        mean, aversion = self._aim(returns.mean(axis=0))
        line = efficient_frontier(mean, self.estimate(returns), Constraints(upper=self.upper))
        out: Floats = line.at_risk_aversion(aversion).weights[0]
        return out


class MinimumVariance(_OnFrontier):
    """The least variance.

    Args:
        covariance: its estimate.
        upper: largest weight, None for no limit.
    """

    def __init__(self, covariance: Estimate = "sample", upper: float | None = None) -> None:
        super().__init__(covariance)
        self.upper = upper

    def _aim(self, mean: Floats) -> tuple[Floats, float]:
        # Without any differences of mean the frontier is this one portfolio.
        return np.zeros_like(mean), math.inf


class MaximumUtility(_OnFrontier):
    """The greatest w·m - (gamma/2) w·Sw (Markowitz 1952), with the sample mean.

    Args:
        risk_aversion: gamma.
        covariance: its estimate.
        upper: largest weight, None for no limit.
    """

    def __init__(
        self,
        risk_aversion: float = 5.0,
        covariance: Estimate = "ledoit-wolf",
        upper: float | None = None,
    ) -> None:
        super().__init__(covariance)
        self.risk_aversion = risk_aversion
        self.upper = upper

    def _aim(self, mean: Floats) -> tuple[Floats, float]:
        return mean, self.risk_aversion


class EqualRiskContribution(_OfCovariance):
    """Every asset adds the same to the portfolio's variance: w_i (Sw)_i = w·Sw / N (Maillard, Roncalli and
    Teiletche 2010), by Newton's method on y·Sy/2 - sum(log y)/N (Spinu 2013)."""

    def _weights(self, returns: Floats) -> Floats:
        covariance = self.estimate(returns)
        _deviations(covariance, returns)
        return equal_risk_weights(covariance)


class MaximumDiversification(_OfCovariance):
    """The greatest w·σ / sqrt(w·Sw) (Choueifaty and Coignard 2008): the least variance of the assets
    scaled to equal volatility, scaled back."""

    def _weights(self, returns: Floats) -> Floats:
        covariance = self.estimate(returns)
        deviation = _deviations(covariance, returns)
        correlation = covariance / np.outer(deviation, deviation)
        line = efficient_frontier(np.zeros(len(correlation)), correlation)
        weights = line.min_variance().weights[0] / deviation
        out: Floats = weights / weights.sum()
        return out


STANDARD: dict[str, Allocation] = {
    "1/N": EqualWeight(),
    "inverse volatility": InverseVolatility(),
    "minimum variance": MinimumVariance(),
    "Ledoit-Wolf mean-variance": MaximumUtility(),
    "equal risk contribution": EqualRiskContribution(),
    "maximum diversification": MaximumDiversification(),
}
"""The allocations by name, unfitted; clone them before use."""


def equal_risk_weights(covariance: Floats) -> Floats:
    """Weights `[N]` with w_i (Sw)_i the same for all i.

    Raises:
        VhatError: when an asset has no risk.
        InaccurateError: when there are none to within 1e-8, as where risks cancel to nothing.
    """
    deviation = _deviations(covariance)
    correlation = covariance / np.outer(deviation, deviation)
    count = len(correlation)
    y = np.full(count, 1.0 / math.sqrt(float(correlation.mean()) * count * count + 1e-12))
    for _ in range(_ROUNDS):
        pull = correlation @ y
        gradient = pull - 1.0 / (count * y)
        try:
            step = np.linalg.solve(correlation + np.diag(1.0 / (count * y**2)), gradient)
        except np.linalg.LinAlgError:  # y has gone to infinity
            break
        # The decrement bounds the step inside the region where the function is self-concordant.
        decrement = math.sqrt(max(float(gradient @ step) * count, 0.0))
        y = y - (step if decrement < 0.25 else step / (1.0 + decrement))
        if decrement < 1e-14 or not np.isfinite(y).all():
            break
    share = y * (correlation @ y) * count
    if not np.abs(share - 1.0).max() <= 1e-8:
        raise InaccurateError(
            "no weights with equal risk contributions were found; some portfolio has no risk at all: use "
            "more days than assets, or a shrunk covariance (Ledoit-Wolf)"
        )
    weights = y / deviation
    out: Floats = weights / weights.sum()
    return out


def risk_contributions(weights: Floats, covariance: Floats) -> Floats:
    """Each asset's share `[..., N]` of the portfolio's variance, w_i (Sw)_i / w·Sw; they sum to 1."""
    each = weights * (weights @ covariance)
    out: Floats = each / each.sum(axis=-1, keepdims=True)
    return out


def _deviations(covariance: Floats, returns: Floats | None = None) -> Floats:
    """Roots of the variances, none of which is nothing but rounding, beside the others or beside the returns
    `[T, N]` that they come from (a constant return of 1e-4 leaves one of 1e-20)."""
    deviation: Floats = np.sqrt(np.diagonal(covariance))
    level = 0.0 if returns is None else np.abs(returns.mean(axis=0))
    if not (deviation > _STILL * np.maximum(deviation.max(), level)).all():
        raise VhatError("an asset's return does not vary in this window, so it has no risk to weight by")
    return deviation
