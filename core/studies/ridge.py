"""Does Adam find the minimum of ridge regression, and sooner than gradient descent?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from core.lab import figures, stats
from core.lab.experiment import Array, Experiment
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.sweep import Objective, Regime, Sweep
from core.lab.tables import number, sweep_table, with_interval
from core.lab.train import Block, train
from core.lab.variant import Grid, Variant
from core.lab.verdict import Finding, Outcome, Verdict, finding, verdict
from core.optim.adam import AdamState, adam, adam_init
from core.optim.ops import PURE, Ops
from core.optim.ranges import NOT_NEGATIVE, Settings, check_ranges
from core.optim.rule import Rule
from core.optim.scalars import Scalar
from core.optim.schedules import Cosine
from core.problems.regression import Regression, RegressionData

RIDGE = 0.03
BATCH = 10
COARSE = 1e-2
FOUND = 1e-3
SHARE = 0.9
ROUNDING = 1e-16
"""Gaps below it are rounding."""
FEATURES = {"independent": 0.0, "correlated": 0.95}
REGIMES = tuple(
    Regime(
        f"{name}, {'full batch' if batch is None else f'batches of {batch}'}",
        Regression,
        {"correlation": correlation, "ridge": RIDGE, "batch": batch},
        f"neighbouring features correlated by {correlation:g}",
    )
    for batch in (None, BATCH)
    for name, correlation in FEATURES.items()
)
NOISY = tuple(r for r in REGIMES if r.settings["batch"] is not None)
FLOOR_RATES = (1e-3, 3e-3, 1e-2, 3e-2)
SMALL_RATE = 3e-3
MOMENTA = (0.5, 0.8, 0.95)


def adamw_for_ridge(
    params: Tensor, grads: Tensor, state: AdamState, *, lr: Scalar, penalty: float, ops: Ops = PURE
) -> tuple[Tensor, AdamState]:
    """AdamW on `[R, D]` that takes the ridge penalty over as weight decay: `penalty * params` leaves the
    gradient and comes back decoupled."""
    bare = grads - penalty * params
    return adam(params, bare, state, lr=lr, weight_decay=penalty, decoupled_weight_decay=True, ops=ops)


def _check(settings: Settings) -> None:
    check_ranges(settings, {"lr": NOT_NEGATIVE, "penalty": NOT_NEGATIVE})


ADAMW_FOR_RIDGE = Rule(
    name="adamw_for_ridge", formula=adamw_for_ridge, start=adam_init, check=_check, hyper={"penalty": RIDGE}
)


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """Steps to a coarse tolerance, the gap at the end, and the floor of constant rates."""
    decay = Cosine(plan.steps)
    common: dict[str, Any] = {
        "study": "ridge",
        "regimes": REGIMES,
        "grid": Grid.between(1e-3, 1.0, per_decade=plan.sizes["rates a decade"]),
        "steps": plan.steps,
        "tuning_seeds": plan.tuning_seeds,
        "widen": 2,
        "reporting_seeds": plan.reporting_seeds,
    }
    momentum = Variant("Momentum", "momentum", tune={"momentum": MOMENTA})
    return (
        Sweep(
            name="coarse",
            variants=(
                Variant("Gradient descent", "sgd"),
                momentum,
                Variant("Adam", "adam"),
                Variant(
                    "Adam, shared v", "adam_shared_v", control=True, note="removes coordinate-wise scaling"
                ),
                Variant("Sign descent", "signsgd", control=True, note="removes memory"),
            ),
            objective=Objective(
                "gap", at="hit", threshold=COARSE, across="median", label="steps to 1% of the starting gap"
            ),
            recording=Recording(points=40, spacing="log", tuning_points=1),
            **common,
        ),
        Sweep(
            name="final",
            variants=(
                Variant("Gradient descent", "sgd"),
                Variant("Gradient descent, cosine decay", "sgd", schedule=decay),
                momentum,
                Variant("Adam", "adam"),
                Variant("Adam, cosine decay", "adam", schedule=decay),
                Variant("AdamW", ADAMW_FOR_RIDGE, control=True, note="the penalty as decoupled weight decay"),
            ),
            objective=Objective("gap", across="median", label="gap at the end over the starting gap"),
            recording=Recording(points=40, spacing="log", tuning_points=1),
            **common,
        ),
        Measurement(
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
        ),
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


def judge(results: Results) -> Verdict:
    """The criterion, regime by regime."""
    coarse, final = results.sweep("coarse"), results.sweep("final")
    replicas = results.plan.reporting_seeds
    findings: list[Finding] = []
    beside: list[Finding] = []
    for regime in coarse.regimes:
        for other in ("Gradient descent", "Momentum", "Adam, shared v"):
            ratio = stats.ratio(coarse.values(regime, "Adam"), coarse.values(regime, other), "median")
            (findings if other == "Gradient descent" else beside).append(
                finding(
                    f"{regime}: efficient",
                    ratio,
                    below=1.0,
                    replicas=replicas,
                    text=f"Adam needs fewer steps to 1% of the starting gap than {other}, both tuned",
                    unit="x the steps",
                    decisive=other == "Gradient descent",
                )
            )
        for name in ("Adam", "Adam, cosine decay", "AdamW"):
            (findings if name == "Adam" else beside).append(
                finding(
                    f"{regime}: reliable",
                    stats.proportion(final.values(regime, name) <= FOUND),
                    above=SHARE,
                    replicas=replicas,
                    text=f"share of fresh data sets on which {name} ends within 0.1% of the starting gap",
                    unit="share",
                    decisive=name == "Adam",
                )
            )
        ends = [np.maximum(final.values(regime, v), ROUNDING) for v in ("Adam", "Adam, cosine decay")]
        gain = stats.ratio(ends[0], ends[1], "median")
        beside.append(
            finding(
                f"{regime}: decay",
                gain,
                above=1.0,
                replicas=replicas,
                text="a constant rate ends farther from the minimum than cosine decay, both tuned",
                unit="x the gap",
                decisive=False,
            )
        )
    beside += [_floor_finding(results, r.name) for r in NOISY] + [
        _slope_finding(results, r.name) for r in NOISY
    ]
    return verdict([*findings, *beside], _sentence(findings, beside))


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


def _sentence(findings: list[Finding], beside: list[Finding]) -> str:
    """What a reader should remember, put together from the outcomes."""

    def where(text: str, outcome: Outcome) -> str:
        chosen = [
            f.regime.partition(":")[0]
            for f in [*findings, *beside]
            if text in f.text and f.outcome is outcome
        ]
        return "everywhere" if len(chosen) == len(REGIMES) else "; ".join(chosen) or "nowhere"

    found = "data sets on which Adam ends"
    slopes = [f.effect for f in beside if f.unit == "power of lr"]
    return (
        "Tuned Adam beats tuned gradient descent to a rough answer here: "
        f"{where('than Gradient descent,', Outcome.HOLDS)}; and loses here: "
        f"{where('than Gradient descent,', Outcome.FAILS)}. Against tuned momentum it wins here: "
        f"{where('than Momentum,', Outcome.HOLDS)}. At a constant rate it ends at the minimum here: "
        f"{where(found, Outcome.HOLDS)}; and does not here: {where(found, Outcome.FAILS)}. With batches it "
        f"stalls at a floor that grows with the rate to the power {min(slopes):.2f} to {max(slopes):.2f}; "
        f"decay gets closer here: {where('a constant rate ends farther', Outcome.HOLDS)}."
    )


SHOWN = ("Gradient descent", "Momentum", "Adam", "Adam, cosine decay", "AdamW")


def draw_curves(results: Results) -> Figure:
    """Gap over steps, each variant tuned for the end."""
    figure, panels = figures.new_figure(rows=2, columns=2, width=9.6, height=6.8, sharex=True, sharey="row")
    sweep = results.sweep("final")
    for axes, regime in zip(panels, sweep.regimes, strict=True):
        for name in SHOWN:
            run = sweep.run(regime, name)
            curves = np.maximum(run.curves["gap"][:, 1:], ROUNDING)
            figures.curves_with_intervals(axes, run.steps[1:], curves, name, "median")
        axes.axhline(FOUND, color="#222222", linestyle=":", linewidth=1.0)
        figures.label(axes, x="step", y="gap / starting gap", title=regime, log="xy")
    figures.legend_below(figure)
    return figure


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


def draw_steps(results: Results) -> Figure:
    """Steps to the coarse tolerance."""
    figure, panels = figures.new_figure(rows=2, columns=2, width=9.6, height=5.6)
    sweep = results.sweep("coarse")
    for axes, regime in zip(panels, sweep.regimes, strict=True):
        points = [stats.interval(sweep.values(regime, v), "median") for v in sweep.variants]
        axes.set_xscale("log")
        figures.dots_with_intervals(axes, sweep.variants, points)
        figures.label(axes, x="steps to 1% of the starting gap", title=regime)
    return figure


def tables(results: Results) -> tuple[Table, ...]:
    """One table a regime and sweep, and the floors."""
    floors = tuple(
        (
            str(cell["regime"]),
            number(cell["lr"]),
            with_interval(stats.interval(arrays["measured"], "mean")),
            number(float(arrays["predicted"].mean())),
        )
        for cell, arrays in results.measurement("floor")
    )
    return (
        *(sweep_table(results.sweep(n), r.name) for n in ("coarse", "final") for r in REGIMES),
        Table(
            "Long-run gap of Adam at a constant rate, started at the exact solution, over the starting gap: "
            "mean over fresh seeds with 95% bootstrap intervals.",
            ("regime", "lr", "measured", "closed form"),
            floors,
        ),
    )


STUDY = Study(
    id="ridge",
    title="The bottom of a smooth bowl",
    claim=(
        "Ridge regression is a smooth convex bowl with one minimum, and Adam goes there with remarkable "
        "efficiency and reliability."
    ),
    setup=(
        "Ridge regression with 10 features, 100 samples and penalty 0.03; a new data set for each seed; "
        "features independent, or a chain with neighbours correlated by 0.95; the whole data at each step, "
        "or batches of 10. The gap is the objective above the exact minimum (QR), over its value at the "
        "start, zero. Each variant is tuned in its learning rate (widened at edges), momentum also in its "
        "coefficient, once for the steps to 1% of the starting gap and once for the gap at the end; then "
        "run on fresh data. A third experiment starts Adam at the exact solution, keeps its rate constant, "
        "and compares the gap at which it hovers with a closed form."
    ),
    criterion=(
        "In each of the four regimes, on fresh data, with 95% intervals: efficient, Adam needs fewer steps "
        "to 1% of the starting gap than gradient descent, both tuned (median paired ratio below 1); "
        "reliable, the share of data sets on which tuned Adam at a constant rate ends within 0.1% of the "
        "starting gap is above 0.9. Supported if all hold, refuted if all fail, conditional if some hold "
        "and others fail. Momentum, Adam with one v for all coordinates, decay, AdamW and the floor of "
        "constant rates are shown beside the verdict."
    ),
    mathematics=(
        (
            r"f(w) = \frac{1}{2n}\lVert Xw - y\rVert^2 + \frac{\lambda}{2}\lVert w\rVert^2, "
            r"\qquad w^* = \left(\frac{X^\top X}{n} + \lambda I\right)^{-1} \frac{X^\top y}{n}",
            "n samples X, y, and the penalty λ. The gap is f(w) − f(w*), over its value at the start.",
        ),
    ),
    would_change=(
        "Data on which tuned Adam at a constant rate ends at the minimum although its gradients are "
        "noisy, or a conditioning between ours at which it overtakes tuned momentum."
    ),
    plans={
        "tiny": Plan("tiny", 60, 2, 4, {"rates a decade": 1, "floor steps": 100}),
        "quick": Plan("quick", 600, 6, 80, {"rates a decade": 2, "floor steps": 1500}),
        "full": Plan("full", 5000, 20, 200, {"rates a decade": 4, "floor steps": 20000}),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "curves",
            "Gap over steps on fresh data, each variant tuned for the gap at the end: medians with 95% "
            "bootstrap intervals. Dotted: 0.1% of the starting gap. Gaps below 1e-16 are rounding and are "
            "drawn there.",
            "Four panels of falling curves on log-log axes: with the whole data they fall to tiny gaps "
            "except AdamW's; with batches constant rates level off.",
            draw_curves,
            part="learning curves",
        ),
        FigureSpec(
            "steps",
            "Median steps to 1% of the starting gap on fresh data, with 95% bootstrap intervals. An arrow "
            "at the edge: the median run does not get there.",
            "Four panels of dots with intervals, one panel a regime, five variants each.",
            draw_steps,
        ),
        FigureSpec(
            "floor",
            "Where Adam at a constant rate hovers when batches are noisy: long-run mean gap with 95% "
            "bootstrap intervals, and the closed form for small rates.",
            "Two log-log panels in which the long-run gap rises with the learning rate along a straight "
            "line.",
            draw_floor,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "A good rate for a rough answer is not one for an exact answer.",
            "Each variant is tuned for each separately.",
        ),
        (
            "Does Adam at a constant rate converge at all when gradients are noisy?",
            "No: it hovers at a gap that follows from a Lyapunov equation with Adam's scaling in it. The "
            "floor is measured at four rates beside that closed form.",
        ),
        (
            "Would AdamW not be the right Adam for a ridge penalty?",
            "It minimizes something else: with the penalty as decoupled decay the gradient of the loss is "
            "balanced against the decay through v, so its limit is not the ridge solution. It is in the "
            "figure.",
        ),
    ),
    source=(
        'Kingma and Ba 2015; Loshchilov and Hutter 2019 (AdamW); Mandt, Hoffman and Blei 2017, "Stochastic '
        'gradient descent as approximate Bayesian inference" (stationary covariance).'
    ),
)
