"""What proves portfolios optimal: the residual of the optimality conditions and the duality gap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from core.lab.errors import VhatError
from finance.constraints import StandardForm
from finance.prices import Floats

TOLERANCE = 1e-8
"""The largest KKT residual and relative duality gap that is let pass."""
LEAST_SIZE = 1e-6
"""Terms smaller than this part of the largest variance of a weight within its bounds are measured against it:
where all risk cancels, or a riskless asset is held, what is left is rounding."""
INDEFINITE = 1e-10
"""A covariance may have eigenvalues down to minus N times this part of its largest variance."""


@dataclass(frozen=True, eq=False)
class Certificate:
    """How far K points `[K, D]` are from optimal: prices of both bounds (relative to the gradient's scale and
    as they are), distances to them (relative to their distance from each other and as they are)."""

    prices: tuple[Floats, Floats]
    distances: tuple[Floats, Floats]
    scale: Floats
    span: float
    infeasible: Floats

    @classmethod
    def of(cls, gradient: Floats, scale: Floats, x: Floats, form: StandardForm) -> Certificate:
        """What gradients `[K, D]` leave open at points x `[K, D]` of a form; `scale` `[K]` is theirs."""
        below, above = np.maximum(form.lower - x, 0.0), np.maximum(x - form.upper, 0.0)
        broken = np.abs(x @ form.equalities.T - form.totals).max(axis=1)
        span = float(np.max(form.upper - form.lower)) or 1.0
        return cls(
            (np.maximum(gradient, 0.0), np.maximum(-gradient, 0.0)),
            (np.maximum(x - form.lower, 0.0), np.maximum(form.upper - x, 0.0)),
            scale,
            span,
            np.maximum(broken, np.maximum(below, above).max(axis=1)) / span,
        )

    @property
    def residual(self) -> Floats:
        """`[K]`."""
        worst = self.infeasible
        for price, distance in zip(self.prices, self.distances, strict=True):
            worst = np.maximum(
                worst, np.minimum(price / self.scale[:, None], distance / self.span).max(axis=1)
            )
        return worst

    @property
    def gap(self) -> Floats:
        """`[K]`, what prices and distances lose together: objective minus its dual."""
        return np.asarray(sum((p * d).sum(axis=1) for p, d in zip(self.prices, self.distances, strict=True)))

    def between(self) -> tuple[Floats, Floats]:
        """Bounds of both `[K - 1]` for all points on each segment: everything there is linear, so that the
        larger of both ends bounds it."""
        if len(self.scale) == 1:
            return np.zeros(0), np.zeros(0)
        worst = np.maximum(self.infeasible[:-1], self.infeasible[1:])
        lost = np.zeros(len(worst))
        for price, distance in zip(self.prices, self.distances, strict=True):
            share, far = price / self.scale[:, None], np.maximum(distance[:-1], distance[1:])
            dear = np.maximum(share[:-1], share[1:])
            worst = np.maximum(worst, np.minimum(dear, far / self.span).max(axis=1))
            lost += (np.maximum(price[:-1], price[1:]) * far).sum(axis=1)
        return worst, lost


def require_semidefinite(scaled: Floats) -> None:
    """Refuse a covariance `[N, N]`, scaled to size 1, that is indefinite beyond rounding.

    Raises:
        VhatError: naming its smallest eigenvalue.
    """
    moved = scaled.copy()
    moved.flat[:: len(scaled) + 1] += INDEFINITE * len(scaled)
    # The transpose is in the order of Fortran, so that nothing is copied.
    failed = lapack.dpotrf(moved.T, lower=1, clean=0, overwrite_a=1)[1]
    if failed:
        lowest = float(np.linalg.eigvalsh(scaled)[0])
        raise VhatError(
            f"the covariance is not positive semidefinite (smallest eigenvalue {lowest:.1e} after scaling)"
        )
