"""Adam's second moment along training, asset by asset."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from core.lab.problem import Problem
from core.lab.random import Keys
from core.optim.projection import projection_of
from core.optim.rules import RULES

BETA2 = 0.999


def trace_second_moment(
    problem: Problem, keys: Keys, *, rates: Sequence[float], record: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Train with Adam (beta2 = 0.999) at several learning rates, all on the same draws.

    Args:
        problem: D parameters; its `project`, if it has one, follows each step.
        keys: of R rows.
        rates: L learning rates; 0 keeps the parameters where they start, so that v̂ is a plain average there.
        record: K steps, ascending, counted from 1; the last one ends the training.

    Returns:
        v̂ with bias correction (Kingma and Ba 2015) after each recorded step `[R, L, K, D]`, and the final
        parameters `[R, L, D]`.
    """
    rows, count = len(keys), len(rates)
    keys = keys.rows(torch.arange(rows, device=keys.device).repeat(count))
    rule = RULES["adam"]
    params = problem.init(keys)
    lr = torch.tensor(rates, dtype=torch.float64, device=params.device).repeat_interleave(rows)
    state = rule.init(params)
    project = projection_of(problem)
    seen: list[Tensor] = []
    for step in range(record[-1]):
        params, state = rule.step(params, problem.field(params, keys, step).values, state, lr=lr, beta2=BETA2)
        if project is not None:
            params = project(params, partial(rule.metric_at, state, beta2=BETA2))
        if step + 1 in record:
            seen.append(state.exp_avg_sq / (1.0 - BETA2 ** (step + 1)))
    by_rate = torch.stack(seen, dim=1).view(count, rows, len(seen), -1)
    return by_rate.transpose(0, 1).contiguous(), params.view(count, rows, -1).transpose(0, 1).contiguous()


def log_steps(last: int, points: int) -> list[int]:
    """About `points` steps from 1 to `last` at equal ratios, both included."""
    return sorted({round(float(x)) for x in np.geomspace(1, last, points)})
