"""Does Adam identify a system better than gradient descent, also where successive outputs are much alike?"""

from __future__ import annotations

from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Experiment
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.sweep import Objective, Regime, Sweep
from core.lab.tables import sweep_table
from core.lab.variant import Grid, Variant
from core.lab.verdict import Outcome, Verdict, finding, verdict
from tests.example_domain.arx import OneStepPrediction

REGIMES = (
    Regime("fast system", OneStepPrediction, {"poles": [0.5, 0.3]}, "regressors of like size, little alike"),
    Regime("slow system", OneStepPrediction, {"poles": [0.95, 0.8]}, "past outputs are large and much alike"),
)
VARIANTS = (
    Variant("Gradient descent", "sgd"),
    Variant("Momentum", "momentum"),
    Variant("Adam", "adam"),
    Variant("Adam, shared v", "adam_shared_v", control=True, note="removes coordinate-wise scaling"),
)


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """One sweep: each variant tuned in each regime, then run from fresh seeds."""
    return (
        Sweep(
            name="tuned",
            study="system-identification",
            regimes=REGIMES,
            variants=VARIANTS,
            grid=Grid.between(1e-3, 1.0),
            objective=Objective("gap", label=f"gap after {plan.steps} batches"),
            steps=plan.steps,
            tuning_seeds=plan.tuning_seeds,
            reporting_seeds=plan.reporting_seeds,
        ),
    )


def judge(results: Results) -> Verdict:
    """The criterion, regime by regime; momentum and the control stand beside it."""
    tuned = results.sweep("tuned")
    findings = [
        finding(
            regime,
            stats.ratio(tuned.values(regime, "Adam"), tuned.values(regime, other)),
            below=1.0,
            replicas=results.plan.reporting_seeds,
            text=f"Adam ends lower than {other}, both tuned",
            unit="x the gap",
            decisive=other == "Gradient descent",
        )
        for regime in tuned.regimes
        for other in ("Gradient descent", "Momentum", "Adam, shared v")
    ]
    held = [f.regime for f in findings if f.decisive and f.outcome is Outcome.HOLDS]
    return verdict(findings, f"Tuned, Adam ends lower than descent on: {', '.join(held) or 'neither'}.")


def draw_curves(results: Results) -> Figure:
    """The gap over the batches, each variant at its tuned rate."""
    tuned = results.sweep("tuned")
    figure, panels = figures.new_figure(columns=len(REGIMES), height=3.8)
    for axes, regime in zip(panels, tuned.regimes, strict=True):
        for name in tuned.variants:
            run = tuned.run(regime, name)
            figures.curves_with_intervals(axes, run.steps, run.curves["gap"], name)
        figures.label(axes, x="batch", y="gap", title=regime, log="y")
    figures.legend_below(figure)
    return figure


def tables(results: Results) -> tuple[Table, ...]:
    """One table a regime."""
    tuned = results.sweep("tuned")
    return tuple(sweep_table(tuned, regime) for regime in tuned.regimes)


STUDY = Study(
    id="system-identification",
    title="Slow systems",
    question="Is Adam faster at finding a system that forgets slowly?",
    claim="Adam identifies a system from its record better than gradient descent does, in as many batches.",
    setup=(
        "Four coefficients of a linear system from 400 moments of input and output, ten moments a batch. A "
        "fast system has poles 0.5 and 0.3, a slow one 0.95 and 0.8. Every variant is tuned in its learning "
        "rate, for the loss on the whole record above the least-squares solution's."
    ),
    criterion=(
        "In each regime, on fresh seeds: the interquartile mean of the paired ratio of final gaps, Adam over "
        "gradient descent, lies below 1 with its 95% bootstrap interval. Supported if it does in both, "
        "refuted if it lies above in both, conditional otherwise."
    ),
    plans={
        "tiny": Plan("tiny", steps=60, tuning_seeds=4, reporting_seeds=10),
        "quick": Plan("quick", steps=400, tuning_seeds=20, reporting_seeds=40),
        "full": Plan("full", steps=2000, tuning_seeds=50, reporting_seeds=200),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "curves",
            "Gap over the batches at each variant's tuned rate: interquartile mean over fresh seeds, with "
            "95% bootstrap intervals.",
            "Two panels of falling curves, one a variant: for a fast and for a slow system.",
            draw_curves,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is it the scaling of coordinates, or momentum?",
            "Adam with one v for all coordinates keeps momentum and lacks the scaling; momentum by itself is "
            "there too.",
        ),
        (
            "Why not solve the normal equations?",
            "One should. Their solution is what the gap is measured from.",
        ),
    ),
    source="Ljung 1999 (System Identification, 2nd edition); Kingma and Ba 2015.",
)
