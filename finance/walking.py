"""An update rule's portfolio in every window of a walk-forward, all windows and seeds at once."""

from __future__ import annotations

import torch
from torch import Tensor

from core.lab.random import Keys
from core.optim.rule import Rule
from core.optim.schedules import Cosine
from finance.parametrisation import Chart


def descended_windows(
    windows: Tensor,
    keys: Keys,
    *,
    rule: Rule,
    chart: Chart,
    lr: float,
    risk_aversion: float,
    batch: int,
    steps: int,
) -> Tensor:
    """Weights `[R, W, N]` after a training on each window: mean-variance utility (see `finance.objective`),
    days drawn with replacement from the window, from equal weights, cosine decay.

    Windows share the places of drawn days; no window sees another's returns.

    Args:
        windows: returns `[W, T, N]`, float64.
        keys: of R rows.
        rule: an update rule.
        chart: from parameters to weights.
        lr: learning rate at the start.
        risk_aversion: gamma.
        batch: days a step.
        steps: of each training.
    """
    rows, (count, days, assets) = len(keys), windows.shape
    params = windows.new_full((rows * count, assets), chart.start(assets))
    state, decay = rule.init(params), Cosine(steps)
    for step in range(steps):
        places = keys.fold("days").at(step).integers(days, batch)
        drawn = windows[:, places].transpose(0, 1).reshape(rows * count, batch, assets)
        weights = chart.weights(params)
        earned = torch.bmm(drawn, weights.unsqueeze(-1))
        factor = (risk_aversion * earned - 1.0) / batch
        gradient = torch.bmm(factor.mT, drawn).squeeze(1)
        params, state = rule.step(
            params, chart.pull_back(weights, gradient), state, lr=lr * float(decay(step))
        )
        params = chart.project(params, rule.metric_at(state))
    return chart.weights(params).view(rows, count, assets)
