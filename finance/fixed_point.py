"""Where a rule with a denominator of its own comes to rest when its steps do not know the constraint."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from core.lab.errors import VhatError
from finance.frontier import efficient_frontier
from finance.objective import MeanVariance
from finance.prices import Floats

Denominator = Callable[[Floats], Floats]
"""From weights `[N]` to what each coordinate of the gradient is divided by there, `[N]`, positive."""

_MOVES = 2000
_STILL = 1e-9


def priced_optimum(mean: Floats, second_moment: Floats, risk_aversion: float, price: Floats) -> Floats:
    r"""The portfolio w >= 0, Σ w = 1 whose marginal utility per unit of price is the same for all it holds.

    With the gradient :math:`g(w) = \gamma S w - m` of -U and prices d > 0 it satisfies, for one λ,

    .. math:: g_i(w) = \lambda d_i \; (w_i > 0), \qquad g_i(w) \ge \lambda d_i \; (w_i = 0),

    which are the optimality conditions (Karush, Kuhn and Tucker) of the greatest utility under
    :math:`\sum d_i w_i = c`. With y = d w / c that is a mean-variance problem with budget 1, means m / d,
    second moments :math:`S_{ij} / (d_i d_j)` and risk aversion c γ, whose solutions for all c are one
    efficient frontier; c is where Σ w = 1. Equal prices give the optimum under the budget itself.

    Args:
        mean: m `[N]`.
        second_moment: S `[N, N]`.
        risk_aversion: γ > 0.
        price: d `[N]`, positive; only its proportions matter.
    """
    price = np.asarray(price, dtype=np.float64) / float(np.mean(price))
    line = efficient_frontier(mean / price, second_moment / np.outer(price, price))

    def at(spent: Floats) -> Floats:
        out: Floats = spent[:, None] * line.at_risk_aversion(spent * risk_aversion).weights / price
        return out

    # Σ w lies between c / max d and c / min d. Between two turning points y is linear in 1 / (c γ), so w is
    # linear in c.
    low, high = 0.999 * price.min(), 1.001 * price.max()
    turning = line.turning.risk_aversion / risk_aversion
    knots = np.array([low, *turning[(turning > low) & (turning < high)], high])
    total = at(knots).sum(axis=1)
    after = int((total >= 1.0).argmax())
    share = (1.0 - total[after - 1]) / (total[after] - total[after - 1])
    weights = at(knots[[after - 1]] + share * (knots[after] - knots[after - 1]))[0]
    out: Floats = weights / weights.sum()
    return out


def resting_point(problem: MeanVariance, denominator: Denominator) -> Floats:
    r"""Where w ← P(w - lr g / d), P the nearest portfolio, comes to rest for small lr: `[N]`.

    The projection moves all that is held by one amount, so at rest the steps g_i / d_i are equal on the
    support: the conditions of `priced_optimum` at prices d, which may depend on w themselves. Softmax of
    parameters that descend along the gradient of the weights (`exponentiated`) rests at the same point:
    weights stand still when all logits move alike.

    Raises:
        VhatError: for an infinite risk aversion, or when the search does not settle.
    """
    if not math.isfinite(problem.risk_aversion):
        raise VhatError("a resting point is derived for a finite risk aversion")
    returns = problem.returns.cpu().double().numpy()
    mean, second_moment = returns.mean(axis=0), returns.T @ returns / len(returns)
    weights, part, last = np.full(problem.dim, 1.0 / problem.dim), 1.0, np.inf
    for _ in range(_MOVES):
        target = priced_optimum(mean, second_moment, problem.risk_aversion, denominator(weights))
        move = target - weights
        size = float(np.abs(move).sum())
        if size < _STILL:
            return target
        if size > 0.9 * last:
            part *= 0.7  # it goes back and forth, so smaller moves
        weights, last = weights + part * move, size
    raise VhatError(f"no resting point was found (the last move was {last:.1e}); take another risk aversion")


def gradient_moments(problem: MeanVariance, weights: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation `[N]` over draws of the gradient of -U by the weights, at weights `[N]`."""
    returns = problem.returns.cpu().double().numpy()
    each = (problem.risk_aversion * (returns @ weights) - 1.0)[:, None] * returns
    mean = each.mean(axis=0)
    if problem.batch is None:
        return mean, np.zeros_like(mean)
    return mean, each.std(axis=0) / np.sqrt(problem.batch)
