"""Volatility of the next month, forecast by averages of squares, and by Adam's v̂ of a run through the days
in order of time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core.lab.stats import spearman
from core.optim.rules import RULES
from core.optim.scalars import bias_correction
from finance.moments import ewma_variance
from finance.parametrisation import Chart
from finance.prices import Floats

MONTH = 21
WARM_UP = 756
"""Days before the first forecast: three years, in which every average has found its level."""
Indices = np.ndarray[tuple[int, ...], np.dtype[np.intp]]


def months(days: int) -> Indices:
    """The first day `[M]` of each month that is forecast; `MONTH` days lie from it to the next one."""
    return np.arange(WARM_UP, days - MONTH + 1, MONTH)


def realised_variance(returns: Floats) -> Floats:
    """Mean squared daily return of each month `[..., M, N]` of returns `[..., T, N]`."""
    squares = np.square(returns)
    starts = months(returns.shape[-2])
    return np.stack([squares[..., s : s + MONTH, :].mean(axis=-2) for s in starts], axis=-2)


def rolling_variance(returns: Floats, window: int) -> Floats:
    """Mean squared return of the last `window` days before each month `[M, N]`."""
    squares = np.square(returns)
    return np.stack([squares[s - window : s].mean(axis=0) for s in months(len(returns))])


def known_forecasts(returns: Floats) -> dict[str, Floats]:
    """Variances `[M, N]` by name: of rolling windows, and exponentially weighted (RiskMetrics 1996: 0.94)."""
    evenings = months(len(returns)) - 1
    rolling = {f"rolling {window} days": rolling_variance(returns, window) for window in (21, 63, 252)}
    weighted = {f"EWMA {decay:g}": ewma_variance(returns, decay)[evenings] for decay in (0.94, 0.999)}
    return {**rolling, **weighted}


def online_second_moment(
    returns: Tensor, start: Tensor, *, chart: Chart, risk_aversion: Tensor, beta2: Tensor, lr: float
) -> tuple[Tensor, Tensor]:
    """Adam's v̂ with bias correction before each month, when it is given the days one by one, as they came.

    A day's gradient is taken at the weights of the evening before; v̂ of an evening knows no later day.

    Args:
        returns: `[R, T, N]`.
        start: parameters `[R, N]`.
        chart: from parameters to weights.
        risk_aversion, beta2: float64 `[R]`.
        lr: learning rate.

    Returns:
        v̂ `[R, M, N]`, and the parameters after the last day `[R, N]`.
    """
    rule = RULES["adam"]
    params, state = start, rule.init(start)
    evenings = set((months(returns.shape[1]) - 1).tolist())
    seen = []
    for t, day in enumerate(returns.unbind(dim=1)):
        weights = chart.weights(params)
        earned = (weights * day).sum(dim=-1, keepdim=True)
        gradient = chart.pull_back(weights, (risk_aversion[:, None] * earned - 1.0) * day)
        params, state = rule.step(params, gradient, state, lr=lr, beta2=beta2)
        params = chart.project(params, rule.metric_at(state, beta2=beta2))
        if t in evenings:
            weight = bias_correction(beta2, t + 1, differentiable=False)
            seen.append(state.exp_avg_sq / torch.as_tensor(weight)[:, None])
    return torch.stack(seen, dim=1), params


def rank_skill(variance: Floats, came: Floats) -> Floats:
    """Spearman's correlation over assets of each month's forecast with what came, `[..., M]` of
    `[..., M, N]`."""
    return spearman(variance, np.broadcast_to(came, variance.shape))


def qlike(variance: Floats, came: Floats) -> Floats:
    """QLIKE (Patton 2011): x - log x - 1, x realised over forecast variance, mean over assets; 0 is perfect.

    What has no unit of its own gets one from the past: each forecast is multiplied by the sum of what came
    over the sum of what was forecast, over assets and all months before. So the first month has none.

    Returns:
        `[..., M - 1]` of `[..., M, N]`.
    """
    past_came, past_said = (np.cumsum(x.mean(axis=-1), axis=-1)[..., :-1] for x in (came, variance))
    unit = past_came / past_said
    share = came[..., 1:, :] / (unit[..., None] * variance[..., 1:, :])
    out: Floats = (share - np.log(share) - 1.0).mean(axis=-1)
    return out
