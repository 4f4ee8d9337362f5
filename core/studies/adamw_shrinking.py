"""Study `adamw`: how fast parameters shrink whose gradient is nothing but noise."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.study import Results
from core.lab.verdict import Finding, finding
from core.optim.rules import RULES

LR, DECAY = 1e-2, 1e-2
PAIRS = 32
NOISE = (0.0, 0.1, 1.0, 10.0)
POINTS = 40
SHRINKING = {"AdamW": "adamw", "Adam with L2": "adam_l2", "SGD with L2": "sgd"}


def shrinking(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:
    """Parameters that start at one and whose gradient is nothing but noise (and, under L2, the penalty's).

    Coordinates come in pairs with opposite noise: whatever the noise does to one alone cancels in the pair's
    mean, and what is left is the decay.

    Returns:
        `mean` `[R, POINTS + 1]`, the mean parameter at the recorded steps; `step`, those steps.
    """
    rule = RULES[SHRINKING[cell["rule"]]]
    params = torch.ones(len(keys), 2 * PAIRS, dtype=torch.float64, device=device)
    state = rule.init(params)
    recorded = Recording(points=POINTS).steps(cell["steps"])
    means: list[Array] = []
    for step in range(cell["steps"] + 1):
        if step in recorded:
            means.append(params.mean(dim=1).cpu().numpy())
        noise = keys.fold("noise").at(step).normal(PAIRS, dtype=torch.float64)
        gradient = cell["noise"] * torch.cat([noise, -noise], dim=1)
        params, state = rule.step(params, gradient, state, lr=LR, weight_decay=DECAY)
    return {"mean": np.stack(means, axis=1), "step": np.tile(recorded, (len(keys), 1))}


def expected(rule: str, noise: float, steps: Array) -> Array | None:
    """The closed form of the mean parameter after each of `steps` `[T]`, `[T]`; None where there is none.

    AdamW and SGD shrink by `1 - lr wd` a step. Under L2 the penalty's gradient passes through Adam's scaling:
    without noise the step starts at lr whatever the penalty, and with noise of standard deviation sigma far
    above the penalty's gradient the rate is divided by sigma.
    """
    if rule != "Adam with L2":
        return np.asarray((1.0 - LR * DECAY) ** steps)
    if noise == 0.0:
        return np.asarray(np.maximum(1.0 - LR * steps, 0.0))
    return np.asarray(np.exp(-LR * DECAY / noise * steps)) if noise >= 10 * DECAY else None


def rate(results: Results, rule: str, noise: float) -> Array:
    """`[seeds]`: decay a step over that of `1 - lr wd`, from the last recorded mean; infinite if it reached
    zero."""
    steps = results.plan.sizes["shrinking steps"]
    last = results.measurement("shrinking").only(rule=rule, noise=noise, steps=steps)["mean"][:, -1]
    with np.errstate(divide="ignore"):
        logs: Array = np.log(np.maximum(last, 0.0))
    return logs / (steps * math.log1p(-LR * DECAY))


def shrinking_findings(results: Results) -> list[Finding]:
    """The mechanism, noise by noise: does AdamW keep its rate, and does the noise change that of L2?"""
    replicas = results.plan.reporting_seeds
    findings = [
        finding(
            f"no gradient but noise of {noise:g}" if noise else "no gradient at all",
            stats.interval(np.abs(rate(results, "AdamW", noise) - 1.0), "mean"),
            below=0.02,
            replicas=replicas,
            text="AdamW decays a parameter by 1 - lr wd a step, to within 2%",
            unit="relative deviation of the rate",
        )
        for noise in NOISE
    ]
    findings.append(
        finding(
            "noise of 0.1 against 10",
            stats.ratio(rate(results, "Adam with L2", 0.1), rate(results, "Adam with L2", 10.0), "mean"),
            above=2.0,
            replicas=replicas,
            text="the decay of L2 in Adam depends on the noise that the parameter gets",
            unit="x the rate",
        )
    )
    findings.append(
        finding(
            "no gradient at all",
            stats.interval(rate(results, "Adam with L2", 0.0), "mean"),
            above=1.0,
            replicas=replicas,
            text="L2 in Adam too decays a parameter without gradient, and faster than AdamW",
            unit="x the rate of AdamW",
            decisive=False,
        )
    )
    return findings


def draw_shrinking(results: Results) -> Figure:
    """The mean of idle parameters over steps, by rule and noise, beside closed forms."""
    figure, panels = figures.new_figure(columns=len(SHRINKING), width=10.8, height=3.8, sharey=True)
    found = results.measurement("shrinking")
    looks = figures.lines([f"noise {noise:g}" for noise in NOISE])
    for axes, rule in zip(panels, SHRINKING, strict=True):
        for noise in NOISE:
            arrays = found.only(rule=rule, noise=noise, steps=results.plan.sizes["shrinking steps"])
            steps, name = arrays["step"][0], f"noise {noise:g}"
            axes.plot(steps, arrays["mean"].mean(axis=0), **looks[name], markevery=(4, 10), label=name)
            closed = expected(rule, noise, steps)
            if closed is not None:
                axes.plot(steps, closed, color="black", linestyle=":", linewidth=1.2, label="closed form")
        figures.label(axes, x="step", y="mean parameter" if rule == "AdamW" else None, title=rule)
    figures.legend_below(figure, columns=5)
    return figure
