"""Study `epsilon`: steps that a low-precision parameter is too coarse to take, whatever eps is.

Between 1 and 2 the numbers of a type lie `s` apart (bfloat16: 2^-7, float16: 2^-10). There a step of length
lr is rounded to `s round(lr / s)`: below s / 2 nothing is left of it, and p + step == p for ever.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.random import Keys
from core.lab.study import Results
from core.lab.verdict import Finding, finding
from core.optim.rules import RULES

PARAMETERS: dict[str, torch.dtype] = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
RATES = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
USUAL = 1e-3
STEPS = 20
COORDINATES = 16
HALF = 0.5


def walked(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:
    """Adam on a gradient that is always 1 or always -1, from parameters between 1.25 and 1.75, with moments
    in float32 at least: each step is lr long, and no parameter leaves (1, 2).

    Returns:
        `share` `[R, RATES]`: of the way that the steps add up to, what the parameters have gone.
    """
    dtype, rule = PARAMETERS[cell["type"]], RULES["adam"]
    start = 1.25 + 0.5 * keys.fold("start").uniform(COORDINATES, dtype=torch.float64)
    sign = keys.fold("sign").signs(COORDINATES, dtype=torch.float64)
    first = start.to(device).to(dtype)
    gradient = sign.to(device).to(dtype)
    shares = []
    for rate in RATES:
        params, state = first, rule.init(first)
        for _ in range(STEPS):
            params, state = rule.step(params, gradient, state, lr=rate)
        gone = (params.double() - first.double()).abs().mean(dim=1)
        shares.append(gone / (STEPS * rate))
    return {"share": torch.stack(shares, dim=1).cpu().numpy()}


def closed_form(dtype: torch.dtype, rates: Array) -> Array:
    """The share of a step of length `rates` `[T]` that rounding leaves of it between 1 and 2, `[T]`."""
    apart = torch.finfo(dtype).eps
    left: Array = apart * np.round(rates / apart) / rates
    return left


def keeps(results: Results) -> list[Finding]:
    """Beside the verdict: does a parameter of size 1 go where its usual steps add up to?"""
    place = RATES.index(USUAL)
    return [
        finding(
            f"parameters of size 1, {name}",
            stats.interval(results.measurement("lost").only(type=name)["share"][:, place], "median"),
            above=HALF,
            replicas=results.plan.reporting_seeds,
            text=f"with lr = {USUAL:g} and eps = 1e-8 a parameter goes at least half of the way that its "
            "steps add up to",
            unit="of the way",
            decisive=False,
        )
        for name in PARAMETERS
    ]


def draw_lost(results: Results) -> Figure:
    """What is left of steps over the learning rate, by the parameters' type."""
    figure, (axes,) = figures.new_figure(height=4.2, width=7.2)
    looks = figures.lines(PARAMETERS)
    fine = np.geomspace(RATES[0], RATES[-1], 800)
    for name, dtype in PARAMETERS.items():
        share = results.measurement("lost").only(type=name)["share"]
        look: dict[str, Any] = {**looks[name], "linestyle": ""}
        axes.plot(fine, closed_form(dtype, fine), color=look["color"], linewidth=0.8, linestyle=":")
        axes.plot(RATES, np.median(share, axis=0), **look, label=name)
    axes.axvline(USUAL, color="grey", linewidth=0.8)
    figures.label(axes, x="learning rate", y="way gone / sum of steps", log="x")
    figures.legend_below(figure)
    return figure
