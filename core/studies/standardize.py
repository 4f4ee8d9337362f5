"""Do features still want standardizing under Adam, and is its small constant the reason?"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array, Experiment
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.sweep import Objective, Regime, Sweep, SweepResult
from core.lab.tables import setting_text, sweep_table, with_interval
from core.lab.train import Block, train
from core.lab.variant import Grid, Variant
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from core.problems.regression import PREPARATIONS, Regression

TOLERANCE = 1e-2
DATA: dict[str, dict[str, float]] = {
    "scales": {"decades": 4.0},
    "offsets": {"offset": 3.0},
    "scales and offsets": {"decades": 4.0, "offset": 3.0},
    "scales and correlation": {"decades": 4.0, "correlation": 0.9},
    "correlation alone": {"correlation": 0.9},
}
"""What is wrong with the features. The last is a control: standardizing has nothing to mend there."""
CLAIMED = tuple(name for name in DATA if name != "correlation alone")
REGIMES = tuple(
    Regime(f"{name}, {preparation}", Regression, {**settings, "preparation": preparation, "intercept": True})
    for name, settings in DATA.items()
    for preparation in PREPARATIONS
)
NO_EPS = "Adam, eps = 1e-30"
VARIANTS = (
    Variant("Gradient descent", "sgd"),
    Variant("Momentum", "momentum"),
    Variant("Adam", "adam"),
    Variant(NO_EPS, "adam", {"eps": 1e-30}, control=True, note="removes the small constant"),
)
COMMON_RATE = Grid(-4, -4)
"""One rate for all data: 0.01."""
FACTORS = (1e-12, 1e-8, 1e-4, 1.0, 1e4, 1e8)
INVARIANT_STEPS = 200


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """Tuned rates, one common rate, and the change of the loss's unit."""
    common: dict[str, Any] = {
        "study": "standardize",
        "regimes": REGIMES,
        "variants": VARIANTS,
        "objective": Objective(
            "gap", at="hit", threshold=TOLERANCE, across="median", label="steps to 1% of the starting gap"
        ),
        "steps": plan.steps,
        "tuning_seeds": plan.tuning_seeds,
        "reporting_seeds": plan.reporting_seeds,
        "recording": Recording(points=30, spacing="log", tuning_points=1),
    }
    return (
        Sweep(name="tuned", grid=Grid.between(1e-4, 1.0, per_decade=plan.sizes["rates a decade"]), **common),
        Sweep(name="common", grid=COMMON_RATE, widen=0, **common),
        Measurement(
            name="loss unit",
            study="standardize",
            function=after_scaling,
            cells=tuple({"variant": v.name, "factor": factor} for v in VARIANTS for factor in FACTORS),
            seeds=plan.reporting_seeds,
            seeds_per_shard=100,
            cost=INVARIANT_STEPS,
        ),
    )


def after_scaling(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:
    """The gap after a fixed number of steps at the common rate, with the loss multiplied by `factor`.

    Returns:
        `gap` `[R]`, relative to the start; NaN where the run diverged.
    """
    variant = next(v for v in VARIANTS if v.name == cell["variant"])
    problem = Regression(correlation=0.5, intercept=True, loss_scale=cell["factor"], device=device)
    block = Block(variant, slice(0, len(keys)), {"lr": COMMON_RATE.values()[0]})
    run = train(problem, [block], keys, steps=INVARIANT_STEPS, recording=Recording(points=1))
    return {"gap": run.curves["gap"][:, -1]}


def moved(results: Results, variant: str, factor: float) -> Array:
    """`[seeds]`: how far a change of the loss's unit moves the gap, in factors of ten; infinite if it
    diverges."""
    found = results.measurement("loss unit")
    gaps = [found.only(variant=variant, factor=f)["gap"] for f in (factor, 1.0)]
    with np.errstate(over="ignore", divide="ignore"):
        change: Array = np.abs(np.log10(gaps[0]) - np.log10(gaps[1]))
    return np.nan_to_num(change, nan=np.inf)


def _against(sweep: SweepResult, data: str, variant: str, other: str, replicas: int, *, how: str) -> Finding:
    """Steps on raw features over steps on standardized ones, or of one variant over another on raw ones."""
    raw = sweep.values(f"{data}, raw", variant)
    if other:
        b, text = sweep.values(f"{data}, raw", other), f"{variant} beats {other} on raw features"
        return finding(
            f"{data}: {how}",
            stats.ratio(raw, b, "median"),
            below=1.0,
            replicas=replicas,
            text=text,
            unit="x the steps",
            decisive=False,
        )
    return finding(
        f"{data}: {how}",
        stats.ratio(raw, sweep.values(f"{data}, standardized", variant), "median"),
        above=1.0,
        replicas=replicas,
        text=f"{variant} needs more steps on raw features than on standardized ones",
        unit="x the steps",
        decisive=data in CLAIMED and variant == "Adam",
    )


def judge(results: Results) -> Verdict:
    """The criterion, data by data, at tuned rates and at a common one."""
    replicas = results.plan.reporting_seeds
    findings = [
        _against(results.sweep(name), data, variant, "", replicas, how=f"{name} rate")
        for variant in ("Adam", NO_EPS, "Gradient descent")
        for name in ("tuned", "common")
        for data in DATA
    ]
    findings += [
        _against(results.sweep("tuned"), data, "Adam", other, replicas, how="tuned rate")
        for other in ("Gradient descent", NO_EPS)
        for data in DATA
    ]
    for variant in ("Adam", NO_EPS, "Gradient descent"):
        for factor in (1e-8, 1e8):
            findings.append(
                finding(
                    f"loss times {factor:g}",
                    stats.interval(moved(results, variant, factor), "median"),
                    below=0.05,
                    replicas=replicas,
                    text=f"{variant} makes the same progress when the loss is measured in another unit",
                    unit="factors of ten in the gap",
                    decisive=False,
                )
            )
    adam, bare = (
        [f for f in findings if f.text.startswith(f"{name} needs") and f.regime.partition(":")[0] in CLAIMED]
        for name in ("Adam", NO_EPS)
    )
    short = (
        f"Tuned or at a common rate, standardizing saves Adam steps in {tally(adam)} settings of bad "
        f"features, and in {tally(bare)} without its small constant."
    )
    return verdict(findings, _sentence(findings), short=short)


def _sentence(findings: list[Finding]) -> str:
    """What a reader should remember, put together from the outcomes."""
    adam = [f for f in findings if f.decisive]

    def where(rate: str) -> str:
        asked = [f for f in adam if rate in f.regime]
        names = [f.regime.partition(":")[0] for f in asked if f.outcome is Outcome.HOLDS]
        listed = f" ({'; '.join(names)})" if 0 < len(names) < len(asked) else ""
        return f"{len(names)} of {len(asked)} kinds of bad features{listed}"

    def same(variant: str) -> str:
        chosen = [f for f in findings if f.text.startswith(f"{variant} makes the same")]
        held = [f.regime.removeprefix("loss times ") for f in chosen if f.outcome is Outcome.HOLDS]
        return f"is the same if the loss is multiplied by {' and by '.join(held)}" if held else "changes"

    return (
        f"Standardizing saves tuned Adam steps on {where('tuned')}, and Adam at a common rate on "
        f"{where('common')}. {_constant(findings)} When the loss is measured in another unit Adam's progress "
        f"{same('Adam')}, and without the constant it {same(NO_EPS)}{_unit(adam)}."
    )


def _constant(findings: list[Finding]) -> str:
    """Whether the small constant is why: what is left where Adam needs standardizing, once it is removed."""
    bare = {f.regime: f.outcome for f in findings if f.text.startswith(f"{NO_EPS} needs")}
    left = [bare[f.regime] for f in findings if f.decisive and f.outcome is Outcome.HOLDS]
    same = sum(outcome is Outcome.HOLDS for outcome in left)
    said = f"without it the same holds in {same} of these {len(left)} settings."
    if left and same == len(left):
        return f"The small constant is not why: {said}"
    if left and all(outcome is Outcome.FAILS for outcome in left):
        return f"The small constant is why: {said}"
    return f"Is it the small constant? {said[0].upper()}{said[1:]}"


def _unit(adam: list[Finding]) -> str:
    """That a feature's unit matters where nothing but units is wrong with the features, if it does."""
    scales = [f.outcome for f in adam if f.regime.startswith("scales:")]
    if all(outcome is Outcome.HOLDS for outcome in scales):
        return (
            "; a feature's unit it feels (scales alone: in both), for that sets how many steps of one size "
            "away the solution lies"
        )
    return ""


def draw_steps(results: Results) -> Figure:
    """Steps to tolerance on raw, scaled and standardized features, at tuned rates and at the common one."""
    figure, panels = figures.new_figure(rows=2, columns=len(DATA), width=10.8, height=6.0, sharey=True)
    cells = [(name, data) for name in ("tuned", "common") for data in DATA]
    for axes, (name, data) in zip(panels, cells, strict=True):
        sweep = results.sweep(name)
        for variant in ("Gradient descent", "Momentum", "Adam", NO_EPS):
            points = [stats.interval(sweep.values(f"{data}, {p}", variant), "median") for p in PREPARATIONS]
            centre, low, high = (np.minimum(x, 2 * results.plan.steps) for x in np.array(points).T)
            look = figures.line(variant)
            axes.plot(range(3), centre, **look, label=variant)
            axes.vlines(range(3), low, high, color=look["color"], linewidth=2.0)
        axes.axhline(results.plan.steps, color="#222222", linestyle=":", linewidth=1.0)
        axes.set_xticks(range(3), ["raw", "scaled", "stand."])
        axes.set_xlim(-0.3, 2.3)
        figures.label(axes, title=data if name == "tuned" else None, log="y")
    for axes, name in zip(panels[:: len(DATA)], ("tuned rate", "common rate 0.01"), strict=True):
        figures.label(axes, y=f"steps to 1%, {name}")
    figures.legend_below(figure)
    return figure


def draw_unit(results: Results) -> Figure:
    """Progress after 200 steps against the unit of the loss."""
    figure, (axes,) = figures.new_figure(height=3.8)
    found = results.measurement("loss unit")
    for variant in VARIANTS:
        gaps = [found.only(variant=variant.name, factor=f)["gap"] for f in FACTORS]
        centre = np.array([np.median(g) for g in gaps])
        seen = np.isfinite(centre) & (centre < 1e3)
        axes.plot(np.array(FACTORS)[seen], centre[seen], **figures.line(variant.name), label=variant.name)
    figures.label(axes, x="factor on the loss", y=f"gap after {INVARIANT_STEPS} steps", log="xy")
    axes.set_xlim(FACTORS[0] / 3, FACTORS[-1] * 3)
    figures.legend_below(figure)
    return figure


def tables(results: Results) -> tuple[Table, ...]:
    """Steps at both kinds of rate, one row a data set and preparation; and the main regimes in full."""
    tuned, common = results.sweep("tuned"), results.sweep("common")
    rows = [
        (
            regime,
            variant,
            setting_text(tuned.tuned[regime, variant].best),
            with_interval(stats.interval(tuned.values(regime, variant), "median")),
            with_interval(stats.interval(common.values(regime, variant), "median")),
        )
        for regime in tuned.regimes
        for variant in tuned.variants
    ]
    return (
        Table(
            "Median steps to 1% of the starting gap on fresh data, with 95% bootstrap intervals, at tuned "
            f"rates and at the common rate {COMMON_RATE.values()[0]:g}; ∞: not reached.",
            ("features", "variant", "tuned setting", "steps, tuned", "steps, common"),
            tuple(rows),
        ),
        *(sweep_table(tuned, f"scales and offsets, {p}") for p in PREPARATIONS),
    )


STUDY = Study(
    id="standardize",
    title="Millimetres and kilometres",
    question="My features have different units: does Adam save me from standardizing them?",
    claim=(
        "Adam does not make standardizing obsolete: its moment estimates and its small constant are not "
        "perfectly scale-invariant, so it still converges faster and more reliably on features that share a "
        "footing."
    ),
    setup=(
        "Least squares with 10 features, an intercept and 100 samples, a new data set for each seed, all "
        "data at each step. The same data with features whose scales span four decades, whose means lie "
        "three standard deviations off zero, with both, and with scales and neighbours correlated by 0.9; "
        "left raw, divided by their standard deviations (scaled), or also centred (standardized). These are "
        "changes of unit: what can be predicted, the start and the gap there are the same. Gradient "
        "descent, momentum and Adam, each tuned in its rate (widened at edges) for the steps to 1% of the "
        "starting gap, and each at the common rate 0.01; Adam with a vanishing constant as a control, "
        "correlation alone as a control that standardizing cannot mend. Beside it, the loss itself is "
        "multiplied by factors from 1e-12 to 1e8."
    ),
    criterion=(
        "On each of the four kinds of features, at tuned rates and at the common rate, on fresh data with "
        "95% bootstrap intervals: Adam needs more steps on raw features than on the same features "
        "standardized (median paired ratio above 1; a run that does not arrive counts as infinite, two that "
        "do not as equal). Supported if all hold, refuted if all fail, conditional if some hold and others "
        "fail. Beside the verdict: the same for Adam without its constant and for gradient descent, and "
        "whether a change of the loss's unit moves the gap after 200 steps by less than 0.05 factors of ten."
    ),
    mathematics=(
        (
            r"x' = \frac{x - \bar x}{s}",
            "Standardizing: each feature less its mean, over its standard deviation.",
        ),
        (
            r"g \to c\,g: \qquad \frac{c\, m}{\sqrt{c^2 v} + \varepsilon} = \frac{m}{\sqrt v "
            r"+ \varepsilon / c}",
            "A loss in another unit, multiplied by c, changes nothing but the weight of ε. A feature "
            "in another unit changes more: its solution moves to another distance, which steps of one "
            "size take longer or shorter to walk.",
        ),
    ),
    would_change=("A kind of bad features on which tuned Adam is as fast raw as standardized."),
    plans={
        "tiny": Plan("tiny", 50, 2, 4, {"rates a decade": 1}),
        "quick": Plan("quick", 400, 6, 40, {"rates a decade": 2}),
        "full": Plan("full", 5000, 20, 200, {"rates a decade": 4}),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "steps",
            "Median steps to 1% of the starting gap, with 95% bootstrap intervals, by how the features are "
            "prepared. Above the dotted line: not reached in the steps of the plan.",
            "Ten small panels, five kinds of features by tuned and common rate, each with one line a "
            "variant over raw, scaled and standardized features.",
            draw_steps,
        ),
        FigureSpec(
            "unit",
            "Median gap after 200 steps at rate 0.01 when the loss is multiplied by a factor. Points that "
            "diverged are left out.",
            "Curves over the factor on the loss: Adam is flat except for tiny factors, Adam without its "
            "constant is flat throughout, gradient descent works only near one factor.",
            draw_unit,
            part="controls",
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is it the small constant that breaks the invariance?",
            "Adam with eps = 1e-30 is run everywhere. What breaks it is that a step has one size, lr, in "
            "every coordinate: a feature in small units has a large coefficient, many steps away. With "
            "rates in proportion to the coefficients' units Adam would not notice the units at all (a test "
            "holds it).",
        ),
        (
            "Standardizing by itself may just suit the rate.",
            "Rates are tuned for each preparation separately; the common rate is a second question.",
        ),
        (
            "Offsets are not scales.",
            "They make features correlate with the intercept, which no diagonal scaling mends; that is why "
            "scaled and standardized are told apart.",
        ),
    ),
    source='Kingma and Ba 2015; LeCun, Bottou, Orr and Müller 1998, "Efficient BackProp", section 4.3.',
)
