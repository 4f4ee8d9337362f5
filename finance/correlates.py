"""What the second moment of an asset's gradient may measure, and how far ranks agree by chance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from core.lab.stats import spearman
from finance.moments import sample_covariance, volatility
from finance.objective import MeanVariance
from finance.prices import Floats


@dataclass(frozen=True, eq=False)
class Correlates:
    """Properties of N assets beside R replicas.

    Attributes:
        volatility: `[N]`, a year, of the returns that days are drawn from.
        beta: `[N]`, covariance with the equal-weight portfolio over its variance: the risk that an asset adds
            to it.
        noise: `[R, N]`, standard deviation of one draw of the gradient at the replica's parameters, exactly.
        mean: `[R, N]`, absolute mean of the gradient there.
        weight: `[R, N]`, portfolio weights.
    """

    volatility: Floats
    beta: Floats
    noise: Floats
    mean: Floats
    weight: Floats


def correlates(problem: MeanVariance, params: Floats) -> Correlates:
    """Of a problem's assets at parameters `[R, N]`."""
    returns = problem.returns.cpu().double().numpy()
    covariance = sample_covariance(returns)
    with_market = covariance.mean(axis=1)
    at = torch.as_tensor(params, dtype=problem.returns.dtype, device=problem.returns.device)
    moments = problem.field_moments(at)
    return Correlates(
        volatility(returns),
        with_market / with_market.mean(),
        moments.variance.sqrt().cpu().numpy(),
        moments.mean.abs().cpu().numpy(),
        problem.weights(at).cpu().numpy(),
    )


def rank_agreement(a: Floats, b: Floats) -> Floats:
    """Spearman's rank correlation `[R]` of `[R, N]` with `[R, N]` or `[N]`.

    It is 0 where a value is not a number, which orders nothing.
    """
    a, b = np.broadcast_arrays(a, b)
    whole = ~(np.isnan(a) | np.isnan(b)).any(axis=-1)
    out = np.zeros(a.shape[:-1])
    out[whole] = spearman(a[whole], b[whole])
    return out


@cache
def permutation_band(assets: int, level: float = 0.95, shuffles: int = 100_000) -> float:
    """Half the width of the band around 0 in which Spearman's correlation of shuffled values lies."""
    ranks = np.arange(assets) - 0.5 * (assets - 1)
    order = np.random.default_rng(assets).permuted(np.tile(ranks, (shuffles, 1)), axis=1)
    return float(np.quantile(np.abs(order @ ranks / (ranks @ ranks)), level))
