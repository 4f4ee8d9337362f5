"""What proves portfolios optimal: the residual of the optimality conditions and the duality gap; and what
moments must be for that."""

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
    """How far K points `[K, D]` are from optimal.

    Attributes:
        prices: of the lower and the upper bounds, `[K, D]` each: the part of the gradient that pushes against
            them, never negative.
        distances: to the lower and the upper bounds, `[K, D]` each, never negative.
        scale: `[K]`, the size of the gradient's terms; the residual takes prices relative to it.
        span: the largest distance between a variable's bounds; the residual takes distances relative to it.
        infeasible: `[K]`, the largest violation of a bound or an equality, relative to `span`.
    """

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

    def onwards(self, slope: Certificate, size: float) -> tuple[float, float]:
        """On the ray from the first point along which the gradient grows by multiples of the slope's `[1, D]`
        (and its scale as much): a bound of the residual, and of what the gap relative to `size` gains."""
        worst, lost = float(self.infeasible[0]), 0.0
        for price, more, distance in zip(self.prices, slope.prices, self.distances, strict=True):
            dear = price[0] / self.scale[0] + more[0] / slope.scale[0]
            worst = max(worst, float(np.minimum(dear, distance[0] / self.span).max()))
            lost += float((more[0] * distance[0]).sum())
        return worst, lost / size

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


def checked_moments(mean: Floats, covariance: Floats) -> tuple[Floats, Floats, Floats, float]:
    """m `[N]`, S `[N, N]` made exactly symmetric, S in units of its largest variance, and that unit.

    Raises:
        VhatError: for shapes that do not fit, values that are not finite numbers, or an S that is not
            symmetric or not positive semidefinite beyond rounding.
    """
    try:
        m, s = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise VhatError(f"means and covariance are arrays of numbers ({error})") from error
    if m.ndim != 1 or not len(m) or s.shape != (len(m), len(m)):
        raise VhatError(f"means of shape {m.shape} do not go with a covariance of shape {s.shape}")
    if not (np.isfinite(m).all() and np.isfinite(s).all()):
        raise VhatError("the means or the covariance hold a value that is not finite; check the returns")
    # Few temporary matrices: at N = 500 each takes as long as many pivots.
    difference = s - s.T
    if difference.max() > 1e-6 * max(float(s.max()), -float(s.min())):
        raise VhatError("the covariance is not symmetric; check how it was put together")
    difference *= -0.5
    difference += s
    s = difference
    unit = float(np.abs(np.diagonal(s)).max()) or 1.0
    scaled = s / unit
    _require_semidefinite(scaled)
    return m, s, scaled, unit


def _require_semidefinite(scaled: Floats) -> None:
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
