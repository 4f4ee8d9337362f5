"""Does Adam find the minimum of ridge regression, and sooner than gradient descent?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array, Experiment
from core.lab.run import Recording
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.sweep import Objective, Sweep
from core.lab.tables import number, sweep_table, with_interval
from core.lab.variant import Grid, Variant
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from core.optim.schedules import Cosine
from core.studies.ridge_floor import draw_floor, floor_experiment, floor_findings, floor_table
from core.studies.ridge_settings import ADAMW_FOR_RIDGE, REGIMES

COARSE = 1e-2
FOUND = 1e-3
SHARE = 0.9
ROUNDING = 1e-16
"""Gaps and errors below it are rounding."""
MOMENTA = (0.5, 0.8, 0.95)


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
        floor_experiment(plan),
    )


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
        beside.append(_nearer(results, regime))
    beside += floor_findings(results)
    efficient, reliable = findings[::2], findings[1::2]
    short = (
        f"Tuned Adam needs fewer steps to a rough answer than gradient descent in {tally(efficient)} "
        f"settings; at a constant rate it ends at the minimum in {tally(reliable)}."
    )
    return verdict([*findings, *beside], _sentence(results, findings, beside), short=short)


def error_at_end(results: Results, regime: str, variant: str) -> Array:
    """`[seeds]`: the distance to the exact solution at the end, relative; inf if diverged."""
    ends = results.sweep("final").run(regime, variant).curves["error"][:, -1].astype(np.float64)
    return np.where(np.isnan(ends), np.inf, np.maximum(ends, ROUNDING))


def _nearer(results: Results, regime: str) -> Finding:
    """The error of parameters, beside the gap: flat directions hold much of it and little of the gap."""
    adam, descent = (error_at_end(results, regime, v) for v in ("Adam", "Gradient descent"))
    return finding(
        f"{regime}: error",
        stats.ratio(adam, descent, "median"),
        below=1.0,
        replicas=results.plan.reporting_seeds,
        text="Adam ends nearer to the exact solution than gradient descent, both tuned, at constant rates",
        unit="x the distance",
        decisive=False,
    )


def _sentence(results: Results, findings: list[Finding], beside: list[Finding]) -> str:
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
    errors = "; ".join(
        f"{number(float(np.median(error_at_end(results, r.name, 'Adam'))), 2)} ({r.name})" for r in REGIMES
    )
    return (
        "Tuned Adam beats tuned gradient descent to a rough answer here: "
        f"{where('than Gradient descent,', Outcome.HOLDS)}; and loses here: "
        f"{where('than Gradient descent,', Outcome.FAILS)}. Against tuned momentum it wins here: "
        f"{where('than Momentum,', Outcome.HOLDS)}. At a constant rate it ends at the minimum here: "
        f"{where(found, Outcome.HOLDS)}; and does not here: {where(found, Outcome.FAILS)}. With batches it "
        f"stalls at a floor that grows with the rate to the power {min(slopes):.2f} to {max(slopes):.2f}; "
        f"decay gets closer here: {where('a constant rate ends farther', Outcome.HOLDS)}. Adam's last "
        f"distance to the exact solution, over that solution's length (median): {errors}."
    )


SHOWN = ("Gradient descent", "Momentum", "Adam", "Adam, cosine decay", "AdamW")


def draw_curves(results: Results) -> Figure:
    """Gap over steps, each variant tuned for the end."""
    figure, panels = _over_steps(results, "gap", "gap / starting gap")
    for axes in panels:
        axes.axhline(FOUND, color="#222222", linestyle=":", linewidth=1.0)
    figures.legend_below(figure)
    return figure


def draw_errors(results: Results) -> Figure:
    """Distance to the exact solution over steps, of the same runs."""
    figure, _ = _over_steps(results, "error", "distance to the solution / its length")
    figures.legend_below(figure)
    return figure


def _over_steps(results: Results, measure: str, label: str) -> tuple[Figure, Sequence[Axes]]:
    """A measure of the runs that were tuned for the end, a panel a regime."""
    figure, panels = figures.new_figure(rows=2, columns=2, width=9.6, height=6.8, sharex=True, sharey="row")
    sweep = results.sweep("final")
    for axes, regime in zip(panels, sweep.regimes, strict=True):
        for name in SHOWN:
            run = sweep.run(regime, name)
            curves = np.maximum(run.curves[measure][:, 1:], ROUNDING)
            figures.curves_with_intervals(axes, run.steps[1:], curves, name, "median")
        figures.label(axes, x="step", y=label, title=regime, log="xy")
    return figure, panels


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


def error_table(results: Results) -> Table:
    """Distance to the exact solution at the end, for every variant that is tuned for the end."""
    variants = results.sweep("final").variants
    rows = tuple(
        (
            r.name,
            *(with_interval(stats.interval(error_at_end(results, r.name, v), "median"), 2) for v in variants),
        )
        for r in REGIMES
    )
    return Table(
        "Distance to the exact solution at the end over that solution's length, each variant tuned for the "
        f"gap at the end: median over {results.plan.reporting_seeds} fresh data sets with 95% bootstrap "
        "intervals.",
        ("regime", *variants),
        rows,
    )


def tables(results: Results) -> tuple[Table, ...]:
    """One table a regime and sweep, the errors, and the floors."""
    return (
        *(sweep_table(results.sweep(n), r.name) for n in ("coarse", "final") for r in REGIMES),
        error_table(results),
        floor_table(results),
    )


STUDY = Study(
    id="ridge",
    title="The bottom of a smooth bowl",
    question="My loss is a smooth bowl: does Adam get to the bottom, and stay there?",
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
        "and others fail. Momentum, Adam with one v for all coordinates, decay, AdamW, the distance to "
        "the exact solution and the floor of constant rates are shown beside the verdict."
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
            "error",
            "Distance to the exact solution over that solution's length, of the same runs: medians with 95% "
            "bootstrap intervals. Distances below 1e-16 are rounding and are drawn there.",
            "Four panels, one a regime: the error of the parameters over steps on log-log axes, a curve a "
            "variant.",
            draw_errors,
            part="learning curves",
        ),
        FigureSpec(
            "steps",
            "Median steps to 1% of the starting gap on fresh data, with 95% bootstrap intervals. An arrow "
            "at the edge: the median run does not get there.",
            "Four panels of dots with intervals, one panel a regime, five variants each.",
            draw_steps,
            part="controls",
        ),
        FigureSpec(
            "floor",
            "Where Adam at a constant rate hovers when batches are noisy: long-run mean gap with 95% "
            "bootstrap intervals, and the closed form for small rates.",
            "Two log-log panels in which the long-run gap rises with the learning rate along a straight "
            "line.",
            draw_floor,
            part="regimes",
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
