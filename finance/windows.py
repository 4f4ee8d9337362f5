"""Thousands of portfolios at once, one a window."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core.lab.errors import VhatError
from finance.certificate import INDEFINITE, LEAST_SIZE, TOLERANCE, Certificate
from finance.constraints import LONG_ONLY, Constraints, StandardForm
from finance.frontier import Portfolios, efficient_frontier
from finance.prices import Floats

_ROUNDS = 12  # of block exchanges; what is not solved by then goes to the critical line
_FLAT = 1e-9  # a pivot of a Cholesky factor below this part of the diagonal: too near to singular for here
_AT_ONCE = 256  # windows in a batch: as many as a processor keeps near itself
_COARSE = 64  # windows between two that are solved from nothing


def optimal_windows(
    mean: Floats,
    covariance: Floats,
    risk_aversion: float | Floats = np.inf,
    constraints: Constraints = LONG_ONLY,
    *,
    device: torch.device | str = "cpu",
) -> Portfolios:
    """The portfolio of greatest w·m - (gamma/2) w·Sw in each of W windows (gamma = inf: least variance).

    Bounds and budget: a primal-dual active set on all windows together (Hintermueller, Ito and Kunisch 2002):
    which weights stand at a bound is guessed, one batched Cholesky solve gives weights and reduced gradients,
    and all that contradict the guess change sides. The guess is that of a neighbour in time: first every 64th
    window is solved, then those half way between, and so on. Every result carries its residual and gap; a
    window that the method does not settle (ties, a singular covariance), and every one under limits on
    groups, goes to the critical line by itself.

    Args:
        mean: `[W, N]`.
        covariance: `[W, N, N]`, symmetric and positive semidefinite.
        risk_aversion: a number or `[W]`.
        constraints: what may be held, in every window.
        device: where the batch is solved.

    Raises:
        VhatError: for shapes that do not fit, values that are not finite, or an indefinite covariance.
        InfeasibleError: when no portfolio keeps the constraints.
        InaccurateError: when a window has no answer within `finance.certificate.TOLERANCE`.
    """
    m, s = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    if m.ndim != 2 or not m.size or s.shape != (*m.shape, m.shape[1]):
        raise VhatError(f"means of shape {m.shape} do not go with covariances of shape {s.shape}")
    gamma = np.broadcast_to(np.asarray(risk_aversion, dtype=np.float64), m.shape[:1]).copy()
    if not (np.isfinite(m).all() and np.isfinite(s).all() and (gamma >= 0).all()):
        raise VhatError("means and covariances must be finite, and risk aversions not negative")
    form = constraints.standard(m.shape[1])
    weights = np.full(m.shape, np.nan)
    if len(form.totals) == 1:
        pull = np.divide(m, gamma[:, None], out=np.zeros_like(m), where=gamma[:, None] > 0)
        batch = _Batch(pull, s, form, device)
        batch.require_semidefinite()
        weights = batch.solve()
        weights[gamma == 0] = np.nan
        found = _judged(weights, m, s, gamma, form)
    else:
        unknown = np.full(len(m), np.nan)
        found = Portfolios(weights, unknown, unknown.copy(), gamma, unknown.copy(), unknown.copy())
    return _settled(found, m, s, constraints)


def _settled(found: Portfolios, mean: Floats, covariance: Floats, constraints: Constraints) -> Portfolios:
    """What is not proved optimal, by the critical line."""
    open_ = ~((found.kkt_residual <= TOLERANCE) & (found.duality_gap <= TOLERANCE))
    fields = [getattr(found, name) for name in Portfolios.__dataclass_fields__]
    for window in np.flatnonzero(open_):
        line = efficient_frontier(mean[window], covariance[window], constraints)
        one = line.at_risk_aversion(found.risk_aversion[window])
        for field, name in zip(fields, Portfolios.__dataclass_fields__, strict=True):
            field[window] = getattr(one, name)[0]
    return Portfolios(*fields)


def _judged(
    weights: Floats, mean: Floats, covariance: Floats, gamma: Floats, form: StandardForm
) -> Portfolios:
    """With residual and gap; NaN where there are no weights."""
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = mean / gamma[:, None]
        risk = torch.bmm(torch.from_numpy(covariance), torch.from_numpy(weights)[:, :, None])[:, :, 0].numpy()
        own = np.abs(weights) * np.diagonal(covariance, axis1=1, axis2=2)
        earned, variance = (weights * mean).sum(axis=1), (weights * risk).sum(axis=1)
        gradient = risk - pull
        inside = (weights > form.lower) & ((weights < form.upper) | ~form.bounded)
        budget = np.where(inside, gradient, 0.0).sum(axis=1) / inside.sum(axis=1)
        # Without a weight between its bounds: what the best of those at their lower bound would bring.
        outside = np.where(weights < form.upper, gradient, np.inf).min(axis=1)
        gradient -= np.where(inside.any(axis=1), budget, outside)[:, None]
        scale = np.maximum(np.maximum(np.abs(risk), own), np.abs(pull)).max(axis=1)
        least = LEAST_SIZE * np.diagonal(covariance, axis1=1, axis2=2).max(axis=1) + np.finfo(float).tiny
        judged = Certificate.of(gradient, np.maximum(scale, least * form.reach), weights, form)
        value = np.maximum(variance, (np.abs(weights) * own).sum(axis=1)) + np.abs(weights * pull).sum(axis=1)
        gap = judged.gap / np.maximum(value, least * form.reach**2)
        return Portfolios(weights, earned, np.sqrt(np.maximum(variance, 0.0)), gamma, judged.residual, gap)


class _Batch:
    """min w'Sw/2 - p·w under bounds and a budget, W windows of N assets."""

    def __init__(
        self, pull: Floats, covariance: Floats, form: StandardForm, device: torch.device | str
    ) -> None:
        self.pull = torch.as_tensor(pull, device=device)
        self.covariance = torch.as_tensor(covariance, device=device)
        self.lower, self.upper = (torch.as_tensor(x, device=device) for x in (form.lower, form.upper))
        self.bounded = torch.as_tensor(form.bounded, device=device)
        self.budget = float(form.totals[0])
        windows, assets = pull.shape
        self.weights = torch.full((windows, assets), torch.nan, dtype=torch.float64, device=device)
        # 0 between the bounds, -1 at the lower, 1 at the upper one.
        self.place = torch.zeros((windows, assets), dtype=torch.int8, device=device)

    def require_semidefinite(self) -> None:
        """Refuse covariances that are indefinite beyond rounding: there the certificate does not hold."""
        for begin in range(0, len(self.covariance), _AT_ONCE):
            moved = self.covariance[begin : begin + _AT_ONCE].clone()
            diagonal = torch.diagonal(moved, dim1=1, dim2=2)
            least = diagonal.amax(dim=1, keepdim=True) * (INDEFINITE * moved.shape[1])
            diagonal.add_(least + torch.finfo(torch.float64).tiny)
            failed = torch.linalg.cholesky_ex(moved)[1]
            if bool(failed.any()):
                window = begin + int(failed.argmax())
                raise VhatError(f"the covariance of window {window} is not positive semidefinite")

    def solve(self) -> Floats:
        """Weights `[W, N]`; NaN where the exchanges did not end."""
        count, stride = len(self.pull), _COARSE
        self._settle(torch.arange(0, count, stride, device=self.pull.device))
        while stride > 1:
            half = stride // 2
            between = torch.arange(min(half, count), count, stride, device=self.pull.device)
            self.place[between] = self.place[between - half]
            self._settle(between)
            stride = half
        return np.asarray(self.weights.cpu().numpy())

    def _settle(self, windows: Tensor) -> None:
        """Change sides until nothing contradicts, starting from the guess in `place`."""
        for _ in range(_ROUNDS):
            parts = [
                self._exchange(windows[begin : begin + _AT_ONCE])
                for begin in range(0, len(windows), _AT_ONCE)
            ]
            if not parts:
                return
            windows = torch.cat(parts)

    def _exchange(self, windows: Tensor) -> Tensor:
        """One round; which windows are still open."""
        place = self.place[windows]
        weights, gradient, regular = self._answer(windows, place)
        free = place == 0
        guess = torch.where(free & (weights < self.lower), -1, place)
        guess = torch.where(free & self.bounded & (weights > self.upper), 1, guess)
        guess = torch.where((place < 0) & (gradient < 0), 0, guess)
        guess = torch.where((place > 0) & (gradient > 0), 0, guess).to(torch.int8)
        # At least one weight must be able to move: the one that wants to most.
        stuck = ~(guess == 0).any(dim=1)
        most = torch.where(place < 0, gradient, torch.where(place > 0, -gradient, torch.inf)).argmin(dim=1)
        guess[stuck, most[stuck]] = 0
        settled = (guess == place).all(dim=1) & regular
        self.weights[windows[settled]] = weights[settled]
        self.place[windows] = guess
        return windows[~settled & regular]

    def _answer(self, open_: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights and reduced gradients for this guess, and whether its matrix is regular."""
        covariance, pull = self.covariance[open_], self.pull[open_]
        free = (place == 0).to(torch.float64)
        resting = torch.where(place < 0, self.lower, torch.where(place > 0, self.upper, 0.0))
        matrix = (covariance * free[:, :, None]).mul_(free[:, None, :])
        diagonal = torch.diagonal(covariance, dim1=1, dim2=2)
        torch.diagonal(matrix, dim1=1, dim2=2).add_((1.0 - free) * diagonal)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        pivots = torch.diagonal(factor, dim1=1, dim2=2).square()
        regular = (failed == 0) & (pivots > _FLAT * diagonal).all(dim=1)
        drag = torch.bmm(covariance, resting[:, :, None])[:, :, 0] if bool(resting.any()) else 0.0
        sides = torch.stack([free * (pull - drag), free], dim=2)
        first, ones = torch.cholesky_solve(sides, factor).unbind(dim=2)
        multiplier = (self.budget - resting.sum(dim=1) - first.sum(dim=1)) / ones.sum(dim=1)
        weights = resting + first + multiplier[:, None] * ones
        gradient = torch.bmm(covariance, weights[:, :, None])[:, :, 0] - pull - multiplier[:, None]
        return weights, gradient, regular
