"""One mean-variance optimum by an active-set method, with the residual that proves it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.lab.errors import VhatError
from finance.prices import Floats

KKT_TOLERANCE = 1e-10
_SMALL = 1e-14  # a gradient below this part of the size of m and gamma S counts as none
_FLAT = 1e-13  # a curvature below this part of the largest counts as none


@dataclass(frozen=True, eq=False)
class Optimum:
    """Weights that maximise w·m - (gamma/2) w·Sw.

    Attributes:
        weights: float64 `[N]`.
        utility: its value there, per day.
        multiplier: of the budget (what one more unit of it would bring); 0 without a budget.
        slack: `[N]`, multiplier minus the gradient of utility: zero where a weight is positive, not negative
            elsewhere.
        kkt_residual: the largest violation of the optimality conditions (Karush, Kuhn and Tucker): of budget
            and sign as they are, of the gradient relative to the size of m and gammaS.
    """

    weights: Floats
    utility: float
    multiplier: float
    slack: Floats
    kkt_residual: float


def optimal_weights(mean: Floats, second_moment: Floats, risk_aversion: float) -> Optimum:
    """Long-only weights with sum 1 that maximise w·m - (gamma/2) w·Sw, exact to a relative KKT residual of
    1e-10.

    A primal active-set method (Nocedal and Wright 2006, algorithm 16.3) on the set of positive weights, with
    moves along directions without curvature where S is singular: every step raises utility strictly, so it
    ends. Where the optimum is not unique, one optimum is returned.

    Args:
        mean: m `[N]`, per day.
        second_moment: S `[N, N]`, symmetric and positive semidefinite: second moment or covariance, per day.
        risk_aversion: gamma, finite and not negative.

    Raises:
        VhatError: for arguments that make no such problem, or when the residual is larger than it may be.
    """
    m, curvature = _check(mean, second_moment, risk_aversion)
    scale = max(float(np.abs(m).max()), float(np.abs(curvature).max())) or 1.0
    tolerance = _SMALL * scale
    weights = np.zeros(len(m))
    weights[np.argmax(m - 0.5 * np.diag(curvature))] = 1.0
    for _ in range(50 * (len(m) + 1)):
        positive = np.flatnonzero(weights > 0)
        move = _ascend(m, curvature, weights, positive, tolerance)
        if move is not None:
            _step(weights, positive, *move)
            continue
        gradient = m - curvature @ weights
        gradient -= gradient[positive].mean()
        gradient[positive] = 0.0
        entering = int(np.argmax(gradient))
        if gradient[entering] <= tolerance:
            break
        widened = np.append(positive, entering)
        move = _ascend(m, curvature, weights, widened, tolerance)
        if move is None:
            break  # no gain left in float64; the residual below decides
        _step(weights, widened, *move)
    weights /= weights.sum()
    return _judge(m, curvature, weights, scale)


def unconstrained_weights(mean: Floats, second_moment: Floats, risk_aversion: float) -> Optimum:
    """Weights without budget or sign that maximise w·m - (gamma/2) w·Sw: S w = m / gamma (the shortest such
    w).

    Raises:
        VhatError: when utility has no bound (gamma = 0, or m has a part along which S has no curvature).
    """
    m, curvature = _check(mean, second_moment, risk_aversion)
    weights: Floats = np.asarray(np.linalg.lstsq(curvature, m, rcond=_FLAT)[0], dtype=np.float64)
    slack: Floats = curvature @ weights - m
    residual = float(np.abs(slack).max()) / (
        max(float(np.abs(m).max()), float(np.abs(curvature).max())) or 1.0
    )
    if residual > KKT_TOLERANCE:
        raise VhatError(
            f"utility has no maximum at risk aversion {risk_aversion:g}: some portfolio has return "
            f"and no risk (residual {residual:.1e}); use more days than tickers and a positive risk aversion"
        )
    return Optimum(weights, _utility(m, curvature, weights), 0.0, slack, residual)


def _check(mean: Floats, second_moment: Floats, risk_aversion: float) -> tuple[Floats, Floats]:
    """m and the symmetrised gammaS."""
    m = np.asarray(mean, dtype=np.float64)
    s = np.asarray(second_moment, dtype=np.float64)
    if m.ndim != 1 or not len(m) or s.shape != (len(m), len(m)):
        raise VhatError(f"a mean of shape {m.shape} does not go with a second moment of shape {s.shape}")
    if not (np.isfinite(m).all() and np.isfinite(s).all()):
        raise VhatError("the mean or the second moment holds a value that is not finite; check the returns")
    if not (math.isfinite(risk_aversion) and risk_aversion >= 0):
        raise VhatError(f"risk aversion must be finite and not negative, got {risk_aversion}")
    curvature: Floats = risk_aversion * 0.5 * (s + s.T)
    lowest = float(np.linalg.eigvalsh(curvature)[0])
    if lowest < -1e-10 * float(np.abs(curvature).max()):
        raise VhatError(
            f"the second moment is not positive semidefinite (smallest eigenvalue {lowest:.1e} after scaling)"
        )
    return m, curvature


def _ascend(
    m: Floats, curvature: Floats, weights: Floats, support: npt.NDArray[np.intp], tolerance: float
) -> tuple[Floats, float] | None:
    """An ascent direction on the support that keeps the budget, and how far it goes at most; None at the
    optimum."""
    count = len(support)
    if count == 1:
        return None
    # An orthonormal basis of the directions that keep the sum.
    basis = np.linalg.qr(np.column_stack([np.ones(count), np.eye(count)[:, 1:]]))[0][:, 1:]
    gradient = basis.T @ (m - curvature @ weights)[support]
    if np.abs(gradient).max() <= tolerance:
        return None
    values, vectors = np.linalg.eigh(basis.T @ curvature[np.ix_(support, support)] @ basis)
    along = vectors.T @ gradient
    flat = values <= _FLAT * max(float(np.abs(curvature).max()), float(values[-1]))
    if np.abs(along[flat]).max(initial=0.0) > tolerance:
        return basis @ (vectors[:, flat] @ along[flat]), math.inf
    newton = along[~flat] / values[~flat]
    return basis @ (vectors[:, ~flat] @ newton), 1.0


def _step(weights: Floats, support: npt.NDArray[np.intp], direction: Floats, farthest: float) -> None:
    """Move the weights along the direction to its end, or to where the first one becomes zero."""
    falling = np.flatnonzero(direction < 0)
    reach = weights[support[falling]] / -direction[falling]
    length = min(farthest, float(reach.min(initial=math.inf)))
    weights[support] = np.maximum(weights[support] + length * direction, 0.0)
    weights[support[falling[reach <= length]]] = 0.0


def _utility(m: Floats, curvature: Floats, weights: Floats) -> float:
    return float(weights @ m - 0.5 * weights @ curvature @ weights)


def _judge(m: Floats, curvature: Floats, weights: Floats, scale: float) -> Optimum:
    """The optimum with its residual, or an error."""
    gradient = m - curvature @ weights
    positive = weights > 0
    # The least-squares multiplier, weighted by what is held.
    multiplier = float(weights @ gradient)
    slack: Floats = multiplier - gradient
    residual = max(
        abs(float(weights.sum()) - 1.0),
        float(-weights.min()),
        float(np.abs(slack[positive]).max()) / scale,
        float(-slack.min()) / scale,
    )
    if residual > KKT_TOLERANCE:
        raise VhatError(
            f"the portfolio found is not optimal to {KKT_TOLERANCE:g} (residual {residual:.1e}) "
            "and is refused; the second moment is probably too ill-conditioned: drop near-duplicate tickers"
        )
    return Optimum(weights, _utility(m, curvature, weights), multiplier, slack, residual)
