"""Does Adam end lower with cosine decay than at a constant rate, each at its best rate?"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array, Experiment
from core.lab.figures.palette import Line
from core.lab.run import Recording
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.sweep import Objective, Regime, Sweep
from core.lab.tables import sweep_table
from core.lab.variant import Grid, Variant
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from core.optim.schedules import Cosine, InverseSquareRoot, Linear, WarmUp
from core.problems.digits import Digits
from core.problems.regression import Regression

ROUNDING = 1e-16
"""Gaps below it are rounding."""
BOWL = {"correlation": 0.95, "ridge": 0.03}
NOISY, EXACT = "ridge, batches of 10", "ridge, full batch"
NETWORK = "network"
PROBLEMS: dict[str, tuple[Regime, str, str]] = {
    NOISY: (Regime(NOISY, Regression, {**BOWL, "batch": 10}), "gap", "gap / starting gap"),
    NETWORK: (
        Regime(NETWORK, Digits, {"samples": 100, "wrong": 0.3, "batch": 16}),
        "training loss",
        "training loss",
    ),
    EXACT: (Regime(EXACT, Regression, BOWL), "gap", "gap / starting gap"),
}
"""Each with the measure that is judged. The last has no noise: a control."""
HORIZONS = ("short", "long")
CONSTANT, COSINE, WARM = "Adam, constant", "Adam, cosine", "Adam, warm-up and cosine"


def variants(steps: int, per_decade: int) -> tuple[Variant, ...]:
    """Adam under each schedule for a horizon; gradient descent with and without decay as a control."""
    warm, descent = max(steps // 10, 1), Grid.between(3e-2, 1.0, per_decade=per_decade)
    return (
        Variant(CONSTANT, "adam"),
        Variant(COSINE, "adam", schedule=Cosine(steps)),
        Variant("Adam, linear", "adam", schedule=Linear(steps)),
        Variant("Adam, 1/sqrt(t)", "adam", schedule=InverseSquareRoot(warm)),
        Variant(WARM, "adam", schedule=WarmUp(warm, Cosine(steps - warm))),
        Variant("SGD, constant", "sgd", lr=descent, control=True, note="removes Adam"),
        Variant("SGD, cosine", "sgd", lr=descent, schedule=Cosine(steps), control=True, note="removes Adam"),
    )


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """One sweep a problem and a horizon: a schedule is made for its horizon, and tuned for it."""
    return tuple(
        Sweep(
            name=f"{name}, {horizon}",
            study="schedule",
            regimes=(regime,),
            variants=variants(steps, plan.sizes["rates a decade"]),
            grid=Grid.between(1e-2, 2e-1, per_decade=plan.sizes["rates a decade"]),
            objective=Objective(measure, across="median", label=label),
            steps=steps,
            tuning_seeds=plan.tuning_seeds,
            reporting_seeds=plan.reporting_seeds,
            recording=Recording(points=plan.sizes["points"], tuning_points=1),
            widen=2,
            cost=10.0 if regime.problem is Digits else 1.0,
        )
        for name, (regime, measure, label) in PROBLEMS.items()
        for horizon, steps in zip(HORIZONS, (plan.steps // 4, plan.steps), strict=True)
    )


def ends(results: Results, name: str, horizon: str, variant: str) -> Array:
    """`[seeds]`: the judged measure at the end; infinite where a run diverged."""
    found = results.sweep(f"{name}, {horizon}").values(PROBLEMS[name][0].name, variant)
    return np.asarray(np.maximum(found, ROUNDING))


def _against(results: Results, name: str, horizon: str, a: str, b: str) -> Finding:
    """The end of `a` over that of `b`, paired by seed."""
    return finding(
        f"{name}, {horizon}",
        stats.ratio(ends(results, name, horizon, a), ends(results, name, horizon, b), "median"),
        below=1.0,
        replicas=results.plan.reporting_seeds,
        text=f"{a} ends lower than {b}, both tuned",
        unit="x the objective",
        decisive=(a, b) == (COSINE, CONSTANT) and name != EXACT,
    )


PAIRS = (
    (COSINE, CONSTANT),
    (COSINE, "Adam, linear"),
    (COSINE, "Adam, 1/sqrt(t)"),
    (COSINE, WARM),
    (WARM, CONSTANT),
    ("SGD, cosine", "SGD, constant"),
)


def judge(results: Results) -> Verdict:
    """Problem by problem, horizon by horizon."""
    findings = [
        _against(results, name, horizon, a, b) for a, b in PAIRS for name in PROBLEMS for horizon in HORIZONS
    ]
    main = [f for f in findings if f.decisive]
    short = (
        "Tuned, with noisy gradients, Adam with cosine decay ends lower than at a constant rate in "
        f"{tally(main)} settings and higher in {tally(main, Outcome.FAILS)}."
    )
    return verdict(findings, _sentence(findings), short=short)


def _sentence(findings: list[Finding]) -> str:
    """What a reader should remember, put together from the outcomes."""

    def among(a: str, b: str, *names: str) -> list[Finding]:
        text = f"{a} ends lower than {b}, both tuned"
        return [f for f in findings if f.text == text and f.regime.rpartition(", ")[0] in names]

    def count(chosen: list[Finding], outcome: Outcome = Outcome.HOLDS) -> str:
        held = [f.regime for f in chosen if f.outcome is outcome]
        named = f" ({'; '.join(held)})" if 0 < len(held) < len(chosen) else ""
        return f"{len(held)} of {len(chosen)}{named}"

    noisy = (NOISY, NETWORK)
    main, linear = among(COSINE, CONSTANT, *noisy), among(COSINE, "Adam, linear", *noisy)
    effects = ", ".join(f"{f.effect:.2g}" for f in main)
    return (
        "With noisy gradients tuned Adam with cosine decay ends lower than tuned Adam at a constant rate "
        f"in {count(main)} settings and higher in {count(main, Outcome.FAILS)} (times {effects}); after a "
        f"warm-up it ends lower than constant Adam in {count(among(WARM, CONSTANT, *noisy))}; with exact "
        f"gradients plain cosine ends lower in {count(among(COSINE, CONSTANT, EXACT))}. Gradient descent "
        f"gains from cosine in {count(among('SGD, cosine', 'SGD, constant', *noisy))}. Cosine beats linear "
        f"decay in {count(linear)} and loses to it in {count(linear, Outcome.FAILS)}."
    )


def _look(variant: str) -> Line:
    names = [v.name.partition(", ")[2] for v in variants(10, 1)[:5]]
    return figures.lines(names)[variant.partition(", ")[2]]


def draw_curves(results: Results) -> Figure:
    """The judged measure over steps, for Adam under each schedule, at the long horizon."""
    figure, panels = figures.new_figure(columns=len(PROBLEMS), width=10.8, height=4.2)
    for axes, (name, (regime, measure, label)) in zip(panels, PROBLEMS.items(), strict=True):
        sweep = results.sweep(f"{name}, long")
        for variant in sweep.variants[:5]:
            run = sweep.run(regime.name, variant)
            curves = np.maximum(run.curves[measure], ROUNDING)
            figures.curves_with_intervals(axes, run.steps, curves, variant, "median", look=_look(variant))
        figures.label(axes, x="step", y=label, title=name, log="y")
    figures.legend_below(figure)
    return figure


def draw_ends(results: Results) -> Figure:
    """The end over that of constant Adam, for every schedule, problem and horizon."""
    figure, panels = figures.new_figure(rows=2, columns=len(PROBLEMS), width=10.8, height=6.4, sharey=True)
    cells = [(name, horizon) for horizon in HORIZONS for name in PROBLEMS]
    for axes, (name, horizon) in zip(panels, cells, strict=True):
        names = results.sweep(f"{name}, {horizon}").variants
        base = ends(results, name, horizon, CONSTANT)
        points = [stats.ratio(ends(results, name, horizon, v), base, "median") for v in names]
        axes.set_xscale("log")
        figures.dots_with_intervals(axes, names, points, reference=1.0)
        figures.label(axes, x="end / end of constant Adam", title=f"{name}, {horizon}")
    return figure


def draw_rates(results: Results) -> Figure:
    """The end over the learning rate, on the tuning seeds, at the long horizon."""
    figure, panels = figures.new_figure(columns=len(PROBLEMS), width=10.8, height=4.2)
    for axes, (name, (regime, _, label)) in zip(panels, PROBLEMS.items(), strict=True):
        sweep = results.sweep(f"{name}, long")
        for variant in (CONSTANT, COSINE, "Adam, linear", "Adam, 1/sqrt(t)"):
            tuned = sweep.tuned[regime.name, variant]
            rates = [s["lr"] for s in tuned.settings]
            scores = np.maximum(tuned.scores, ROUNDING)
            axes.plot(rates, scores, **_look(variant), label=variant)
        figures.label(axes, x="learning rate at the start", y=label, title=name, log="xy")
    figures.legend_below(figure)
    return figure


def tables(results: Results) -> tuple[Table, ...]:
    """One table a problem and horizon."""
    return tuple(
        sweep_table(results.sweep(f"{name}, {horizon}"), regime.name)
        for name, (regime, _, _) in PROBLEMS.items()
        for horizon in HORIZONS
    )


STUDY = Study(
    id="schedule",
    title="A budget for the step",
    question="Does Adam still need a schedule for its learning rate?",
    claim=(
        "A schedule such as cosine decay works in harmony with Adam: the schedule sets a global budget for "
        "the step size, and Adam adjusts each parameter within it."
    ),
    setup=(
        "Ridge regression (10 features in a chain correlated by 0.95, 100 samples, a new data set a seed) "
        "with batches of 10, and a network 64-32-10 on 100 of scikit-learn's 8x8 digits, 30% of their "
        "labels redrawn at random, with batches of 16; at a short horizon and one four times as long. Adam "
        "at a constant rate, with cosine and linear decay to zero, with 1/sqrt(1 + t/c) where c is a tenth "
        "of the horizon, and with cosine after a warm-up over a tenth; gradient descent with and without "
        "cosine. Each is tuned in its rate for each horizon (widened at edges) and run on fresh seeds. "
        "Judged are the gap to the exact solution and the loss on the training set. Ridge "
        "regression with the whole data at each step is the control without noise."
    ),
    criterion=(
        "In each of the four settings (ridge regression with batches and the network, two horizons), on "
        "fresh seeds: tuned Adam with cosine decay ends lower than tuned Adam at a constant rate, that is, "
        "the whole 95% bootstrap interval of the median paired ratio lies below 1. Supported if it holds in "
        "all, refuted if it fails in all (interval at or above 1), conditional if it holds in some and "
        "fails in others. Beside the verdict: the control without noise, a warm-up, cosine against the other "
        "schedules, and cosine's worth for gradient descent."
    ),
    mathematics=(
        (
            r"\eta_t = \frac{\eta_0}{2}\left(1 + \cos\frac{\pi t}{T}\right)",
            "Cosine decay over the horizon T (Loshchilov and Hutter 2017, without restarts); η₀ is "
            "tuned for each schedule by itself.",
        ),
    ),
    would_change=(
        "Networks or horizons other than ours on which plain cosine decay and a constant rate change "
        "places; and noise-free gradients on which decay helps, which would say that it does more "
        "than average noise away."
    ),
    plans={
        "tiny": Plan("tiny", 40, 2, 4, {"rates a decade": 1, "points": 5}),
        "quick": Plan("quick", 480, 8, 40, {"rates a decade": 4, "points": 10}),
        "full": Plan("full", 4000, 20, 300, {"rates a decade": 6, "points": 40}),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "ends",
            "Where each variant ends, over where Adam at a constant rate ends: median paired ratio with its "
            "95% bootstrap interval. Left of the dashed line is lower. Gaps below 1e-16 count as 1e-16.",
            "Six panels of dots with intervals, two horizons by three problems, seven variants each.",
            draw_ends,
        ),
        FigureSpec(
            "curves",
            "Adam under each schedule over the long horizon, each at its tuned rate: medians over fresh "
            "seeds with 95% bootstrap intervals.",
            "Three panels of falling curves; where noise stays, decayed rates drop below the constant one "
            "near the end.",
            draw_curves,
            part="learning curves",
        ),
        FigureSpec(
            "rates",
            "Where the long horizon ends over the learning rate, on the tuning seeds.",
            "Three panels of curves over the learning rate, one curve a schedule.",
            draw_rates,
            part="learning rates",
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "A constant rate that was not tuned for the horizon is easy to beat.",
            "Every schedule, the constant one too, is tuned for each horizon by itself.",
        ),
        (
            "Is this harmony with Adam, or what decay does for any descent?",
            "Gradient descent is run with and without cosine decay beside it.",
        ),
        (
            "Is it the noise that decay is good for?",
            "The same ridge regression is run with exact gradients, where there is no noise to average out.",
        ),
    ),
    source=(
        'Loshchilov and Hutter 2017, "SGDR" (cosine decay); Zinkevich 2003 (1/sqrt(t)); Kingma and Ba 2015.'
    ),
    packages=("scikit-learn",),
)
