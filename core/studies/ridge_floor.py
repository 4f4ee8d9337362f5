"""The gap at which Adam stalls at a constant rate on noisy ridge regression: closed form and measured."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.study import Plan, Results, Table
from core.lab.tables import number, with_interval
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.lab.verdict import Finding, finding
from core.problems.regression import Regression, RegressionData
from core.studies.ridge_settings import BATCH, NOISY

FLOOR_RATES = (1e-3, 3e-3, 1e-2, 3e-2)
SMALL_RATE = 3e-3


def floor_experiment(plan: Plan) -> Measurement:
    """Each noisy regime at each rate."""
    return Measurement(
        name="floor",
        study="ridge",
        function=floor,
        cells=tuple(
            {"regime": r.name, "lr": lr, "steps": plan.sizes["floor steps"]}
            for r in NOISY
            for lr in FLOOR_RATES
        ),
        seeds=plan.reporting_seeds,
        seeds_per_shard=100,
        cost=plan.sizes["floor steps"],
    )


def floor(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:
    """Adam at a constant rate from the exact solution: the mean gap of the second half, and the closed form.

    Returns:
        `measured` and `predicted`, `[R]`, relative to the gap at the start of training from zero.
    """
    regime = next(r for r in NOISY if r.name == cell["regime"])
    problem = Regression(**regime.settings, device=device)
    data = problem.data(keys)
    run = train(
        problem,
        [Block(Variant("Adam", "adam"), slice(0, len(keys)), {"lr": cell["lr"]})],
        keys,
        steps=cell["steps"],
        recording=Recording(points=200),
        initial=keys.spread(data.solution),
    )
    second_half = run.curves["gap"][:, len(run.steps) // 2 :].mean(axis=1)
    return {
        "measured": second_half,
        "predicted": keys.spread(predicted_floor(data, cell["lr"])).cpu().numpy(),
    }


def predicted_floor(data: RegressionData, lr: float) -> Tensor:
    r"""`[S]`: the stationary gap of Adam at a small constant rate, over the starting gap.

    Near the minimum v is the variance of the batch gradient, so Adam descends with the fixed matrix
    :math:`P = \mathrm{diag}(C)^{-1/2}`, C the covariance of the batch gradient; momentum cancels in the first
    order. The covariance S of the iterates solves :math:`P H S + S H P = \mathrm{lr}\, P C P` (Mandt, Hoffman
    and Blei 2017, equation 13), and the gap is :math:`\mathrm{tr}(H S) / 2`, proportional to lr.
    """
    residual = torch.bmm(data.inputs, data.solution.unsqueeze(2)) - data.targets.unsqueeze(2)
    singles = data.inputs * residual
    centred = singles - singles.mean(dim=1, keepdim=True)
    noise = torch.bmm(centred.mT, centred) / centred.shape[1] / BATCH
    scale = 1.0 / noise.diagonal(dim1=1, dim2=2).sqrt()
    drift = scale.unsqueeze(2) * data.hessian
    right = lr * scale.unsqueeze(2) * noise * scale.unsqueeze(1)
    eye = torch.eye(drift.shape[1], dtype=drift.dtype, device=drift.device)
    # vec(A S + S A') = (A (x) I + I (x) A) vec(S), for each seed.
    system = torch.stack([torch.kron(a, eye) + torch.kron(eye, a) for a in drift])
    spread = torch.linalg.solve(system, right.flatten(1).unsqueeze(2)).view_as(right)
    gap: Tensor = 0.5 * (data.hessian * spread).sum(dim=(1, 2))
    return gap / data.start_gap


def floor_findings(results: Results) -> list[Finding]:
    """Its size at the small rate, and its power of the rate."""
    return [one(results, r.name) for one in (_floor_finding, _slope_finding) for r in NOISY]


def _floor_finding(results: Results, regime: str) -> Finding:
    """Measured over predicted floor at the small rate."""
    arrays = results.measurement("floor").only(
        regime=regime, lr=SMALL_RATE, steps=results.plan.sizes["floor steps"]
    )
    ratio = stats.ratio(arrays["measured"], arrays["predicted"], "mean")
    off = abs(np.log2(np.array(ratio)))
    low = 0.0 if ratio[1] <= 1.0 <= ratio[2] else float(min(off[1:]))
    return finding(
        f"{regime}: floor",
        (float(off[0]), low, float(max(off[1:]))),
        below=0.5,
        replicas=results.plan.reporting_seeds,
        text=f"at lr {SMALL_RATE:g} the floor agrees with its closed form to within half a doubling",
        unit="doublings away",
        decisive=False,
    )


def _slope_finding(results: Results, regime: str) -> Finding:
    """The floor's power of lr, seed by seed."""
    found = results.measurement("floor").where(regime=regime)
    logs = np.log(np.stack([a["measured"] for a in found.arrays]))
    slopes = np.polyfit(np.log([c["lr"] for c in found.cells]), logs, 1)[0]
    return finding(
        f"{regime}: floor",
        stats.interval(slopes, "mean"),
        above=0.5,
        replicas=results.plan.reporting_seeds,
        text="the gap at which a constant rate stalls grows with the rate (1 is in proportion)",
        unit="power of lr",
        decisive=False,
    )


def draw_floor(results: Results) -> Figure:
    """The gap at which a constant rate stalls, beside the closed form."""
    figure, panels = figures.new_figure(columns=2, width=8.4, height=3.8, sharey=True)
    for axes, regime in zip(panels, NOISY, strict=True):
        found = results.measurement("floor").where(regime=regime.name)
        rates = [c["lr"] for c in found.cells]
        points = [stats.interval(a["measured"], "mean") for a in found.arrays]
        centre, low, high = (np.array(x) for x in zip(*points, strict=True))
        axes.errorbar(
            rates, centre, yerr=[centre - low, high - centre], **figures.line("Adam"), label="Adam, measured"
        )
        closed = [a["predicted"].mean() for a in found.arrays]
        axes.plot(rates, closed, color="black", linestyle=":", label="closed form, small lr")
        figures.label(axes, x="learning rate", y="long-run gap / starting gap", title=regime.name, log="xy")
    figures.legend_below(figure)
    return figure


def floor_table(results: Results) -> Table:
    """Measured and predicted, by regime and rate."""
    rows = tuple(
        (
            str(cell["regime"]),
            number(cell["lr"]),
            with_interval(stats.interval(arrays["measured"], "mean")),
            number(float(arrays["predicted"].mean())),
        )
        for cell, arrays in results.measurement("floor")
    )
    return Table(
        "Long-run gap of Adam at a constant rate, started at the exact solution, over the starting gap: "
        "mean over fresh seeds with 95% bootstrap intervals.",
        ("regime", "lr", "measured", "closed form"),
        rows,
    )
