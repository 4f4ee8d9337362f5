"""Does Adam's lead shrink where a baseline, or a larger batch, takes the noise out of the policy gradient?"""

from __future__ import annotations

from core.lab.experiment import Experiment
from core.lab.measurement import Measurement
from core.lab.run import Recording
from core.lab.study import FigureSpec, Plan, Study
from core.lab.sweep import Regime, Sweep
from core.lab.variant import Grid
from rl.studies.baseline_figures import draw_changes, draw_curves, draw_dial, draw_rates
from rl.studies.baseline_noise import noise_by_estimator
from rl.studies.baseline_settings import (
    DIAL,
    MORE_UPDATES,
    NORMALIZED_REGIME,
    REGIMES,
    SPENT,
    spent_updates,
    variants,
)
from rl.studies.baseline_verdict import judge, tables
from rl.studies.settings import OBJECTIVE

ID = "baseline"


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """The baselines; the episodes an update, at equal updates and at equal episodes in all; the noise."""
    sizes = plan.sizes

    def sweep(
        name: str, regimes: tuple[Regime, ...], steps: int, cost: float, *, normalized: bool = False
    ) -> Sweep:
        return Sweep(
            name=name,
            study=f"{ID}, third run",
            regimes=regimes,
            variants=variants(sizes["per_decade"], normalized=normalized),
            grid=Grid.between(1e-3, 1e-1),
            objective=OBJECTIVE,
            steps=steps,
            tuning_seeds=plan.tuning_seeds,
            reporting_seeds=plan.reporting_seeds,
            recording=Recording(points=min(50, steps // 2), tuning_points=1),
            seeds_per_shard=10,  # 128 episodes of a row take 2 MB
            cost=cost,
        )

    return (
        Measurement(
            "noise",
            ID,
            noise_by_estimator,
            ({"stage": "partly trained", "level": 100.0, "samples": sizes["samples"]},),
            sizes["policies"],
            seeds_per_shard=5,
            cost=float(sizes["samples"]),
        ),
        sweep("episodes", DIAL, sizes["dial_steps"], 5.0),
        *(
            sweep(regime.name, (regime,), spent_updates(episodes, sizes["dial_steps"]), episodes / 4)
            for episodes, regime in zip(SPENT, MORE_UPDATES, strict=True)
        ),
        sweep("normalised", (NORMALIZED_REGIME,), plan.steps, 1.0, normalized=True),
        sweep("baselines", REGIMES, plan.steps, 1.0),
    )


STUDY = Study(
    id=ID,
    title="Does a baseline take Adam's place?",
    question="If Adam calms noisy policy gradients, do I still need a baseline?",
    claim=(
        "Policy gradients are noisy and the usual cure is a baseline; Adam provides a form of implicit "
        "variance reduction. So where a baseline, or a larger batch, has already taken out the noise, Adam "
        "should have less to offer over plain descent."
    ),
    setup=(
        "REINFORCE with a 4-32-2 tanh policy on CartPole-v1. Baselines at 8 whole episodes an update: none, "
        "running mean of earlier updates, leave-one-out mean, value function (ridge regression on the other "
        "episodes), optimal constant (Greensmith et al. 2004, on the other episodes); all unbiased. Beside "
        "them leave-one-out with normalised advantages, which is biased and hides the gradient's size. "
        "Episodes an update, without a baseline: 2, 8, 32, 128, at an equal number of updates, so that noise "
        "alone changes; and 2, 8, 32 at an equal number of episodes in all, so that small batches, which in "
        "a few updates learn next to nothing, have the time to. Adam, gradient descent and momentum are "
        "tuned in their rate in every regime, on seeds of their own, for the mean return over training; the "
        "gap is Adam less the better of both descents (chosen on the tuning seeds). How noisy each estimate "
        "is, is measured at frozen policies (10 in the quick plan, 50 in the full one). A run has failed if "
        "its last recorded training episodes return less than 195; one that diverged counts as untrained. "
        "Descent's share of Adam's gain is its mean return over training less that of an untrained policy, "
        "over the same for Adam: a lead is small where nobody learns and where all have learned, a share is "
        "not."
    ),
    criterion=(
        "With 95% bootstrap intervals over paired fresh seeds: (baseline) the gap, mean over the four "
        "baselines, is smaller than without one; (batch) with 128 episodes it is smaller than with 2 at "
        "equal updates; (cost) with 32 episodes it is smaller than with 2 at equal episodes in all; each in "
        "the mean return, on a scale without a ceiling (logit of return / 500), and as descent's share of "
        "Adam's gain, which must be larger. A part fails where the whole interval lies on the wrong side, "
        "and is open where Adam's own gain is not above 0. Supported if all hold, refuted if all fail, "
        "conditional if some hold and others fail. Each baseline and each batch by itself, and the same in "
        "doublings of speed (log2 of the updates to a return of 100; never counts as twice the budget), "
        "stand beside the verdict."
    ),
    mathematics=(
        (
            r"g = \frac{1}{N}\sum_{i=1}^{N}\sum_t \nabla\log\pi_\theta(a_t^i \mid "
            r"s_t^i)\,(G_t^i - b_t^i)",
            "REINFORCE (Williams 1992) over N episodes: G is the return to go, b the baseline. As "
            "long as b does not depend on the action, it changes the estimate's variance and not its "
            "mean.",
        ),
        (
            r"\text{gap} = \overline{J}_{\text{Adam}} - \overline{J}_{\text{descent}}",
            "What is judged is how the gap changes when noise is taken out: J is the mean return over "
            "training, each rule at its own tuned rate.",
        ),
        (
            r"\text{share} = \frac{\overline{J}_{\text{descent}} - J_0}{\overline{J}_{\text{Adam}} - J_0}",
            "The same without floor and ceiling: J₀ is the return before any update. The claim needs it to "
            "rise when noise is taken out.",
        ),
    ),
    would_change=(
        "A task or a policy on which a baseline or a larger batch makes Adam's lead smaller. We tried "
        "one task; its ceiling is taken out by the logit, its floor by the share, its difficulty is not."
    ),
    surprise=lambda found: (
        f"Less noise was to shrink Adam's lead over plain descent. It does in {len(found.holds_in)} of "
        f"{sum(f.decisive for f in found.findings)} judged comparisons, and lets it grow in "
        f"{len(found.fails_in)}."
    ),
    plans={
        "tiny": Plan(
            "tiny",
            steps=6,
            tuning_seeds=2,
            reporting_seeds=2,
            sizes={"per_decade": 1, "dial_steps": 3, "samples": 64, "policies": 2},
        ),
        "quick": Plan(
            "quick",
            steps=30,
            tuning_seeds=20,
            reporting_seeds=50,
            sizes={"per_decade": 2, "dial_steps": 10, "samples": 320, "policies": 10},
        ),
        "full": Plan(
            "full",
            steps=150,
            tuning_seeds=30,
            reporting_seeds=100,
            sizes={"per_decade": 4, "dial_steps": 100, "samples": 4000, "policies": 50},
        ),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "dial",
            "Adam's lead over the better tuned descent against the measured noise of the gradient "
            "estimate's direction (at partly trained policies; less noise to the right): means with 95% "
            "bootstrap intervals. Were Adam variance reduction, the points would fall to the right, unless "
            "nothing is learned at the left. The two series differ in the number of updates.",
            "Two scatter plots of Adam's lead against noise, one point a baseline or batch size.",
            draw_dial,
        ),
        FigureSpec(
            "changes",
            "How Adam's lead changes where noise is taken out: mean paired difference over fresh seeds with "
            "95% bootstrap intervals. The claim needs them left of the line, and the change of descent's "
            "share of Adam's gain right of it.",
            "Four panels of dots with intervals, one row a comparison, one panel a scale.",
            draw_changes,
            part="controls",
        ),
        FigureSpec(
            "curves",
            "Return of the training episodes at each variant's tuned rate: IQM over fresh seeds with 95% "
            "bootstrap intervals.",
            "Twelve panels of learning curves with bands.",
            draw_curves,
            part="learning curves",
        ),
        FigureSpec(
            "rates",
            "Mean return over training against the learning rate, on the tuning seeds; the chosen rate is "
            "ringed.",
            "Twelve panels of curves over the learning rate.",
            draw_rates,
            part="learning rates",
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Without a ceiling on the return the gap might go the other way.",
            "The same differences are judged on the logit of return / 500 too, and shown in doublings of "
            "speed.",
        ),
        (
            "With two episodes an update the lead is small because nobody learns anything in a few updates.",
            "That floor is why descent's share of Adam's gain is judged, and why the dial is turned a second "
            "time at equal episodes in all.",
        ),
        (
            "With more episodes an update one would stop earlier.",
            "Yes; so both are shown: equal updates, where noise alone changes, and equal episodes in all, "
            "where the number of updates changes with it.",
        ),
        (
            "A rate tuned with noise is too small without.",
            "Each variant is tuned again in every regime.",
        ),
        (
            "Does the baseline reduce noise here at all?",
            "The table gives the measured noise of the direction for each baseline and batch size.",
        ),
        (
            "Was the criterion written before the run?",
            "Before these reporting seeds. A first run, on other seeds, had judged each baseline by itself: "
            "none shrank the gap, but two comparisons of fourteen were unclear. A second run, on other seeds "
            "again, judged the mean over baselines and the batch at equal updates, in return and logit only: "
            "the lead grew in all four. Neither scale tells a small lead from a small gain, so the share and "
            "the dial at equal episodes were added to the criterion, and all seeds are new.",
        ),
    ),
    source=(
        "Williams 1992 (REINFORCE, baselines); Greensmith, Bartlett and Baxter 2004 (optimal constant); Kool "
        "et al. 2019 (leave-one-out); Kingma and Ba 2015 (Adam)."
    ),
)
