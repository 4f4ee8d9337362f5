"""Does Adam learn faster than descent from noisy policy gradients, and is its second moment the cause?"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats as scipy_stats

from core.lab import stats
from core.lab.experiment import Array, Experiment
from core.lab.run import Recording
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.sweep import Objective, Regime, Sweep, SweepResult
from core.lab.tables import sweep_table, with_interval
from core.lab.variant import Grid, Variant
from core.lab.verdict import Finding, Outcome, Verdict, finding, verdict
from rl.problems import cartpole
from rl.studies.learning_figures import draw_curves, draw_effects, draw_rates
from rl.studies.learning_settings import EPISODES, LIMIT, returns

FAILED_BELOW = 195.0
"""The mean return of 16 episodes after training below which a run has failed; a random policy has 22, the
limit is 500.
"""
MOST_RECOVERED = 0.5
"""A control that has half of Adam's lead shows that what it lacks is not the main cause."""

REGIMES = (
    Regime("no baseline", cartpole, {"episodes": EPISODES, "baseline": "none"}),
    Regime("leave-one-out", cartpole, {"episodes": EPISODES, "baseline": "loo"}, "less variance, no bias"),
)
DESCENTS = ("Gradient descent", "Momentum")
CONTROLS = ("Normalised descent", "Adam, shared v", "Adam, shuffled v", "Sign descent")
RATES = {
    "Gradient descent": (1e-4, 1e-2),
    "Momentum": (1e-5, 1e-3),
    "RMSProp": (1e-3, 3.17e-2),
    "Adam": (3.16e-3, 1e-1),
    "Normalised descent": (3.16e-2, 3.17),
    "Adam, shared v": (1e-3, 1e-1),
    "Adam, shuffled v": (1e-5, 1e-3),
    "Sign descent": (3.16e-3, 1e-1),
}
"""Where each variant's grid begins and ends; it is widened where the best rate lies on an edge."""


def variants(per_decade: int) -> tuple[Variant, ...]:
    """All variants, each with a grid of its own."""

    def own(name: str, rule: str, note: str = "") -> Variant:
        grid = Grid.between(*RATES[name], per_decade=per_decade)
        return Variant(name, rule, lr=grid, control=bool(note), note=note)

    return (
        own("Gradient descent", "sgd"),
        own("Momentum", "momentum"),
        own("RMSProp", "rmsprop"),
        own("Adam", "adam"),
        own(
            "Normalised descent",
            "normalized_sgd",
            "removes the gradient's length only: one scale for all coordinates",
        ),
        own("Adam, shared v", "adam_shared_v", "removes coordinate-wise scaling, keeps all else"),
        own(
            "Adam, shuffled v",
            "adam_shuffled_v",
            "removes which coordinate is noisy, keeps the spread of scales",
        ),
        own("Sign descent", "signsgd", "removes memory of any noise: each coordinate moves by lr"),
    )


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """One sweep over both regimes."""
    grid_variants = variants(plan.sizes["per_decade"])
    return (
        Sweep(
            name="training",
            study="learning-curves, second run",
            regimes=REGIMES,
            variants=grid_variants,
            grid=Grid.between(1e-3, 1e-1),
            objective=Objective(
                "field/return", at="mean", higher=True, across="mean", label="mean return over training"
            ),
            steps=plan.steps,
            tuning_seeds=plan.tuning_seeds,
            reporting_seeds=plan.reporting_seeds,
            recording=Recording(points=min(20, plan.steps // 5), tuning_points=1),
        ),
    )


def without_ceiling(returns: Array) -> Array:
    """The logit of return / 500, on which a gain near the limit counts as much as one at the start."""
    share = np.clip(returns / LIMIT, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(share / (1 - share)))


def failed(sweep: SweepResult, regime: str, variant: str) -> Array:
    """bool `[seeds]`: the policy after training returns less than `FAILED_BELOW`, or the run diverged."""
    last = sweep.run(regime, variant).curves["return"][:, -1]
    return np.asarray(~(last >= FAILED_BELOW))


def best_of(sweep: SweepResult, regime: str, names: tuple[str, ...]) -> str:
    """The best on the tuning seeds, so that the choice does not favour it on the reporting seeds."""
    return max(names, key=lambda name: float(np.max(sweep.tuned[regime, name].scores)))


def recovered(control: Array, descent: Array, adam: Array) -> stats.Interval:
    """The share of Adam's lead over descent that a control has too, with its bootstrap interval."""

    def share(control: Array, descent: Array, adam: Array, axis: int = -1) -> Array:
        gain = np.asarray(control.mean(axis=axis) - descent.mean(axis=axis))
        return np.asarray(gain / (adam.mean(axis=axis) - descent.mean(axis=axis)))

    with np.errstate(divide="ignore", invalid="ignore"):
        samples = scipy_stats.bootstrap(
            (control, descent, adam),
            share,
            paired=True,
            vectorized=True,
            n_resamples=stats.RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(7),
        )
        estimate = float(share(control, descent, adam))
    return estimate, float(samples.confidence_interval.low), float(samples.confidence_interval.high)


def _lead(results: Results, regime: str, rival: str, *, decisive: bool = False) -> Finding:
    adam, other = (returns(results, regime, name) for name in ("Adam", rival))
    return finding(
        f"{regime}: lead",
        stats.paired_difference(adam, other, "mean"),
        above=0.0,
        replicas=results.plan.reporting_seeds,
        text=f"Adam's mean return over training less that of {rival}, both tuned",
        unit="return",
        decisive=decisive,
    )


def _cause(results: Results, regime: str, control: str, descent: str, *, decisive: bool = False) -> Finding:
    values = (returns(results, regime, name) for name in (control, descent, "Adam"))
    return finding(
        f"{regime}: cause",
        recovered(*values),
        below=MOST_RECOVERED,
        replicas=results.plan.reporting_seeds,
        text=f"share of Adam's lead over {descent} that {control} has too",
        unit="share of the lead",
        decisive=decisive,
    )


def _failures(results: Results, regime: str, rival: str) -> Finding:
    sweep = results.sweep("training")
    adam, other = (failed(sweep, regime, name).astype(np.float64) for name in ("Adam", rival))
    return finding(
        f"{regime}: failures",
        stats.paired_difference(adam, other, "mean"),
        below=0.0,
        replicas=results.plan.reporting_seeds,
        text=f"Adam's share of failed runs ({adam.mean():.0%}) less that of {rival} ({other.mean():.0%})",
        unit="share of seeds",
        decisive=False,
    )


def _beside(results: Results, regime: str, descent: str, control: str) -> list[Finding]:
    """What stands beside the verdict: every other comparison, the lead without a ceiling, and failures."""
    adam, other = (without_ceiling(returns(results, regime, name)) for name in ("Adam", descent))
    unceiled = finding(
        f"{regime}: lead",
        stats.paired_difference(adam, other, "mean"),
        above=0.0,
        replicas=results.plan.reporting_seeds,
        text=f"Adam's lead over {descent} on a scale without a ceiling",
        unit="logit of return / 500",
        decisive=False,
    )
    rest = [name for name in results.sweep("training").variants if name not in ("Adam", descent)]
    return [
        unceiled,
        *(_lead(results, regime, name) for name in rest),
        *(_cause(results, regime, name, descent) for name in CONTROLS if name != control),
        *(_failures(results, regime, name) for name in (descent, control)),
    ]


def judge(results: Results) -> Verdict:
    """The criterion, regime by regime."""
    sweep = results.sweep("training")
    findings: list[Finding] = []
    beside: list[Finding] = []
    parts: list[str] = []
    safer: list[str] = []
    for regime in sweep.regimes:
        descent, control = best_of(sweep, regime, DESCENTS), best_of(sweep, regime, CONTROLS)
        lead = _lead(results, regime, descent, decisive=True)
        cause = _cause(results, regime, control, descent, decisive=True)
        findings += [lead, cause]
        beside += _beside(results, regime, descent, control)
        safer += [regime] if _failures(results, regime, control).outcome is Outcome.HOLDS else []
        parts.append(
            f"{regime}: Adam's mean return is {lead.effect:+.0f} (of {LIMIT:.0f}) against tuned "
            f"{descent.lower()}, and {_lower(control)} has {_percent(cause)} of that lead too"
        )
    sentence = f"On CartPole, {'; '.join(parts)}. {_conclusion(findings, safer)}"
    return verdict([*findings, *beside], sentence)


def _percent(share: Finding) -> str:
    return f"{share.effect:.0%}" if math.isfinite(share.effect) else "an unknown part"


def _conclusion(findings: list[Finding], safer: list[str]) -> str:
    """What follows for the claim, from the outcomes alone."""
    leads, causes = findings[::2], findings[1::2]
    if any(f.outcome is not Outcome.HOLDS for f in leads):
        return "Adam's lead itself is not there in every regime."
    if all(f.outcome is Outcome.FAILS for f in causes):
        but = f", though fewer of Adam's runs end in failure ({'; '.join(safer)})" if safer else ""
        return f"Adam learns far better than descent, but so does a rule that remembers no variance{but}."
    if all(f.outcome is Outcome.HOLDS for f in causes):
        return "No rule without a coordinate's own second moment comes near it."
    return "Whether it takes a second moment depends on the regime, or is not decided."


def _lower(name: str) -> str:
    return name if name.startswith("Adam") else name.lower()


def failure_table(results: Results) -> Table:
    """Return after training and the share of runs that failed."""
    sweep = results.sweep("training")
    rows = []
    for name in sweep.variants:
        cells = [name]
        for regime in sweep.regimes:
            last = np.nan_to_num(sweep.run(regime, name).curves["return"][:, -1])
            cells.append(with_interval(stats.interval(last)))
            cells.append(with_interval(stats.proportion(failed(sweep, regime, name)), 2))
        rows.append(tuple(cells))
    heads = [f"{what}, {regime}" for regime in sweep.regimes for what in ("final return", "share failed")]
    return Table(
        "After training, on 16 fresh episodes: IQM of the return with 95% bootstrap interval, and the "
        f"share of runs below {FAILED_BELOW:.0f} with Wilson's interval.",
        ("variant", *heads),
        tuple(rows),
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Failures, then one table a regime."""
    sweep = results.sweep("training")
    return (failure_table(results), *(sweep_table(sweep, regime) for regime in sweep.regimes))


STUDY = Study(
    id="learning-curves",
    title="Learning from noisy policy gradients",
    claim=(
        "Adam's second moment is large where the policy gradient varies much, and dividing by its root "
        "makes the steps there small: an implicit variance reduction that gives more cautious, more stable "
        "steps and so better learning than plain gradient descent."
    ),
    setup=(
        "REINFORCE (reward-to-go, no discount, 8 whole episodes an update) with a 4-32-2 tanh policy on "
        "Gymnasium's CartPole-v1, without baseline and with a leave-one-out baseline. Each variant is tuned "
        "in its learning rate on seeds of its own for the mean return over training, grids widened at "
        "edges, and run on fresh seeds; all variants of a seed share starting policies, starting states and "
        "chances. Controls: globally normalised descent, Adam with one v for all coordinates, Adam with v "
        "shuffled among coordinates, sign descent; RMSProp (beta2 = 0.99) is shown beside them. A run fails "
        "if its policy after training returns less than 195."
    ),
    criterion=(
        "In each regime, on fresh seeds, with 95% bootstrap intervals over paired seeds: (lead) the mean "
        "return over training of tuned Adam lies above that of the better of tuned gradient descent and "
        "tuned momentum; (cause) the best control, among globally normalised descent, one shared v, "
        "shuffled v and sign descent, none of which knows how noisy a coordinate is, has less than half of "
        "that lead. The better and the best are chosen on the tuning seeds. A part fails where its whole "
        "interval lies on the wrong side. Supported if both parts hold in both regimes, refuted if all "
        "fail, conditional if some hold and others fail."
    ),
    plans={
        "tiny": Plan("tiny", steps=10, tuning_seeds=2, reporting_seeds=2, sizes={"per_decade": 1}),
        "quick": Plan("quick", steps=100, tuning_seeds=12, reporting_seeds=50, sizes={"per_decade": 2}),
        "full": Plan("full", steps=200, tuning_seeds=30, reporting_seeds=100, sizes={"per_decade": 4}),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "curves",
            "Return of the training episodes at each variant's tuned learning rate: IQM over fresh seeds "
            "with 95% bootstrap intervals. Left without, right with a leave-one-out baseline.",
            "Two panels of learning curves with bands, return over updates, one curve a variant.",
            draw_curves,
        ),
        FigureSpec(
            "effects",
            "Adam's lead over each other variant: mean paired difference over fresh seeds with 95% bootstrap "
            "intervals. Left of the dashed line the other variant is better.",
            (
                "Two panels of dots with intervals, Adam's lead in mean return over training over seven "
                "variants."
            ),
            draw_effects,
        ),
        FigureSpec(
            "rates",
            (
                "Mean return over training against the learning rate, on the tuning seeds; the chosen rate "
                "is ringed."
            ),
            "Two panels of curves over the learning rate, one curve a variant, higher is better.",
            draw_rates,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is Adam's lead variance reduction, or the normalisation of the step?",
            "That is what the controls are for: global normalisation, one shared v, shuffled v and sign "
            "descent. The criterion asks how much of Adam's lead the best of them has.",
        ),
        (
            "A baseline removes variance. Should it not remove Adam's lead too?",
            "Both regimes stand side by side; the lead over descent is reported in each, also without the "
            "ceiling of 500 (as a logit).",
        ),
        (
            "Gradient descent was tuned badly.",
            "Its whole learning-rate curve is shown, its grid widened until the best rate lies inside, and "
            "momentum stands beside it.",
        ),
        (
            "Was the criterion written before the run?",
            "Its bound for the controls, half of the lead, was settled after a first run of 30 seeds a "
            "variant. The results shown here are of other seeds.",
        ),
        (
            "A few lucky seeds make a mean.",
            "Seeds for tuning and for the report are disjoint; intervals are over paired fresh seeds, and "
            "the share of failed runs stands beside the IQM.",
        ),
    ),
    source="Williams 1992 (REINFORCE); Agarwal et al. 2021 (statistics); Balles and Hennig 2018 (signs).",
)
