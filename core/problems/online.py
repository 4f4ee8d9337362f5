"""Online linear problems on which Adam can fail to converge, after Reddi, Kale and Kumar 2018."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.problem import Field
from core.lab.random import Keys
from core.optim.rules import RULES

PROBLEMS: dict[str, dict[str, Any]] = {
    "theorem 1, C = 4": {"large": 4.0, "period": 3},
    "theorem 1, C = 10": {"large": 10.0, "period": 3},
    "rare, C = 40": {"large": 40.0, "period": 21},
    "stochastic, C = 10": {"large": 10.0, "period": 6, "random": True},
}
RULE_NAMES = {"Adam": "adam", "AMSGrad": "amsgrad"}
"""The rules compared, by the names under which they are shown."""
SHORT, USUAL = "short memory", "usual betas"
RATES = tuple(float(f"{10 ** (k / 2):.6g}") for k in range(-8, 1))
SCHEDULES = {"constant": 0.0, "1/sqrt(t)": 0.5}
"""The learning rate is lr t^-power."""


class OnlineLinear:
    """f_t(x) = c_t x on [-1, 1], where c_t is `large` now and then and -1 otherwise; the best point is -1.

    `large` comes once every `period` steps, first at step 0 (their theorem 1, with period 3), or at random
    with probability 1 / period (their theorem 3). Starts are uniform. float64.

    Args:
        large: C.
        period: steps between two large gradients, or their mean distance.
        random: whether they come at random.
        device: of the run.

    Raises:
        VhatError: unless the mean of c_t is positive, so that -1 is the best point.
    """

    dim = 1
    best = -1.0

    def __init__(self, large: float, period: int, random: bool = False, device: str = "cpu") -> None:
        if period < 1 or large <= period - 1:
            raise VhatError(
                "an online linear problem needs period >= 1 and large > period - 1, so that -1 is the best "
                f"point, got large={large:g}, period={period}"
            )
        self.large, self.period, self.random, self.device = large, period, random, device
        self.mean = (large - (period - 1)) / period
        """E c_t, or its mean over a period: the average regret of one who sits at x is `mean * (x + 1)`."""

    def init(self, keys: Keys) -> Tensor:
        """`[R, 1]`, uniform on (-1, 1)."""
        return keys.fold("start").uniform(1, dtype=torch.float64).mul(2.0).sub(1.0)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """The gradient c_t `[R, 1]`, and the regret c_t (x + 1) of the point played."""
        if self.random:
            now = keys.fold("large").at(step).uniform(1, dtype=torch.float64) < 1.0 / self.period
            gradient = torch.where(now, self.large, -1.0).to(params.dtype)
        else:
            gradient = torch.full_like(params, self.large if step % self.period == 0 else -1.0)
        return Field(gradient, {"regret": (gradient * (params - self.best))[:, 0]})

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:  # noqa: ARG002
        """`x`, and the mean regret of staying there."""
        x = params[:, 0]
        return {"x": x, "gap": self.mean * (x - self.best)}

    def project(self, params: Tensor) -> Tensor:
        """Back into [-1, 1], `[R, D]` to `[R, D]`."""
        return params.clamp(-1.0, 1.0)


def betas(problem: str) -> dict[str, tuple[float, float]]:
    """The pairs tried: theorem 1's beta2 = 1 / (1 + C^2), a grid, and the usual ones."""
    large = PROBLEMS[problem]["large"]
    return {
        SHORT: (0.0, 1 / (1 + large**2)),
        "beta1 = 0, beta2 = 0.5": (0.0, 0.5),
        "beta1 = 0, beta2 = 0.9": (0.0, 0.9),
        "beta1 = 0, beta2 = 0.99": (0.0, 0.99),
        "beta1 = 0, beta2 = 0.999": (0.0, 0.999),
        USUAL: (0.9, 0.999),
    }


def configurations(problem: str) -> list[tuple[str, str, float]]:
    """(pair of betas, schedule, lr), in the order in which `play` stores them."""
    return list(product(betas(problem), SCHEDULES, RATES))


def times(steps: int) -> list[int]:
    """When averages are read: about logarithmic, a tenth of the steps and the end included."""
    return sorted({earlier(steps), *(round(float(x)) for x in np.geomspace(10, steps, 24))})


def earlier(steps: int) -> int:
    """A tenth of the steps: what the end is compared with."""
    return steps // 10


def play(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:
    """A rule in a problem, in every configuration at once.

    Returns:
        `share` `[R, configurations, times]`: average regret so far over that of one who always plays +1, the
        worst point: 0.5 is sitting at 0, and 0 is the best. `x` the same for the iterate.
    """
    problem = OnlineLinear(**PROBLEMS[cell["problem"]], device=device)
    tried = configurations(cell["problem"])
    rows = torch.arange(len(keys), device=keys.device).repeat(len(tried))
    keys = keys.fold(cell["stage"])
    tiled, pairs = keys.rows(rows), betas(cell["problem"])

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=keys.device).repeat_interleave(len(keys))

    hyper: dict[str, Any] = {
        name: column([pairs[b][i] for b, _, _ in tried]) for i, name in enumerate(("beta1", "beta2"))
    }
    hyper["bias_correction"] = False
    power, rate = column([SCHEDULES[s] for _, s, _ in tried]), column([lr for _, _, lr in tried])
    x, rule, read = problem.init(tiled), RULES[cell["rule"]], set(times(cell["steps"]))
    state, regret = rule.init(x), torch.zeros_like(x[:, 0])
    kept: dict[str, list[Tensor]] = {"share": [], "x": []}
    for t in range(1, cell["steps"] + 1):
        sampled = problem.field(x, tiled, t - 1)
        regret = regret + sampled.measures["regret"]
        decayed = torch.where(power == 0, rate, rate / math.sqrt(t))
        x, state = rule.step(x, sampled.values, state, lr=decayed, **hyper)
        x = problem.project(x)
        if t in read:
            kept["share"].append(regret / t / (2 * problem.mean))
            kept["x"].append(x[:, 0])
    return {
        name: torch.stack(v, dim=1).view(len(tried), len(keys), -1).transpose(0, 1).cpu().numpy()
        for name, v in kept.items()
    }
