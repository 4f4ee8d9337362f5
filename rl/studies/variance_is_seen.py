"""Is Adam's second moment the noise of the policy gradient, coordinate by coordinate, at a frozen policy?"""

from __future__ import annotations

from core.lab.experiment import Experiment
from core.lab.measurement import Cell, CellFunction, Measurement
from core.lab.study import FigureSpec, Plan, Study
from rl.frozen import STAGES
from rl.studies.variance_is_seen_figures import (
    draw_correlations,
    draw_dial,
    draw_following,
    draw_scatter,
    draw_shares,
)
from rl.studies.variance_is_seen_measure import batches_and_memories, following, frozen_moments, moves
from rl.studies.variance_is_seen_verdict import judge, tables

ID = "variance-is-seen"


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """One cell a stage, for both baselines; batches and memories; and moves from stage to stage."""
    samples, truth, few, moved = (plan.sizes[name] for name in ("samples", "truth", "few", "moved"))

    def measurement(name: str, function: CellFunction, cells: tuple[Cell, ...], cost: int) -> Measurement:
        return Measurement(
            name, ID, function, cells, plan.reporting_seeds, seeds_per_shard=5, cost=float(cost)
        )

    stages = tuple(STAGES.items())
    return (
        measurement(
            "moments",
            frozen_moments,
            tuple(
                {"stage": stage, "level": level, "samples": samples, "truth": truth}
                for stage, level in stages
            ),
            (samples + truth) // 2,
        ),
        measurement(
            "dial",
            batches_and_memories,
            tuple({"stage": stage, "level": level, "samples": few} for stage, level in stages),
            few // 4,
        ),
        measurement(
            "following",
            following,
            tuple(
                {"stage": f"{a} to {b}", "from": STAGES[a], "to": STAGES[b], "samples": moved}
                for a, b in moves()
            ),
            moved,
        ),
    )


STUDY = Study(
    id=ID,
    title="Is v-hat the noise of the policy gradient?",
    question="Does the second moment tell which parts of a policy gradient are noisy?",
    claim=(
        "Policy gradients are noisy, and Adam's second moment grows with the noise: it is larger for "
        "coordinates whose gradient has a high variance, so that Adam sees, coordinate by coordinate, how "
        "unreliable its signal is."
    ),
    setup=(
        "REINFORCE with a 4-32-2 tanh policy on CartPole-v1, 8 whole episodes a gradient, reward-to-go, no "
        "discount, without baseline and with a leave-one-out baseline. Policies are trained by Adam (lr "
        "0.01, leave-one-out) and frozen at the start, and when a batch's mean return first reaches 100 and "
        "400. At each frozen policy, v-hat is Adam's exponential average (beta2 = 0.999, bias-corrected) "
        "over a long run of gradient samples; mean and variance of each coordinate are measured on other "
        "samples. Controls: v-hat shuffled among coordinates; the size of the mean in place of the noise; "
        "the first layer by itself; the v-hat that the training run had at that moment. Beside the verdict: "
        "batches of 2 to 128 episodes and beta2 from 0 to 0.999, after 16 updates, where bias correction "
        "makes beta2 from 0.9 on all but coincide, and after 256 at 8 episodes, where it does not; and v-hat "
        "in swing at one stage that meets the next stage of the same run. The quick plan has 10 policies a "
        "stage and 800 gradients for v-hat with 2,000 others for the truth; the full plan has 50 and 4,000 "
        "of each. A policy that does not return what its stage is named for within 150 updates is frozen "
        "there and counted in the tables."
    ),
    criterion=(
        "In each regime (stage x baseline), over policies trained from different seeds, with 95% bootstrap "
        "intervals of the mean: the rank correlation over coordinates between v-hat and the measured "
        "variance lies above 0.9, and so does the share of variance in variance + mean^2 of the median "
        "coordinate. A part fails where its whole interval lies below 0.9. Supported if all parts hold in "
        "all regimes, refuted if all fail, conditional if some hold and others fail."
    ),
    mathematics=(
        (
            r"\mathrm{E}[g_i^2] = \mu_i^2 + \sigma_i^2, \qquad s_i = "
            r"\frac{\sigma_i^2}{\sigma_i^2 + \mu_i^2}",
            "What v̂ estimates for coordinate i: the square of the gradient's mean μ and its variance "
            "σ² together. s is the share of variance in it.",
        ),
        (
            r"n_{\text{eff}} = \frac{(1 + \beta_2)(1 - \beta_2^T)}{(1 - \beta_2)(1 + \beta_2^T)}, \qquad "
            r"\hat v_k = \beta_2^k\,\hat v_0 + (1 - \beta_2^k)\,\bar v_k",
            "What follows without any measurement: after T updates v̂ is as good as n_eff equally weighted "
            "squares, near T for every memory longer than T; and k updates after the policy has moved, the "
            "share 1 − β₂ᵏ of it is of new gradients (v̄ₖ), 2% after 20 at 0.999. Only how far old and new "
            "lie apart is measured.",
        ),
    ),
    would_change=(
        "A policy gradient so noisy that variance is nearly all of v̂ throughout training; or "
        "policies that change so slowly that v̂ keeps up with them."
    ),
    plans={
        "tiny": Plan(
            "tiny",
            steps=0,
            tuning_seeds=0,
            reporting_seeds=2,
            sizes={"samples": 20, "truth": 20, "few": 128, "moved": 10},
        ),
        "quick": Plan(
            "quick",
            steps=0,
            tuning_seeds=0,
            reporting_seeds=10,
            sizes={"samples": 800, "truth": 2000, "few": 1024, "moved": 300},
        ),
        "full": Plan(
            "full",
            steps=0,
            tuning_seeds=0,
            reporting_seeds=50,
            sizes={"samples": 4000, "truth": 4000, "few": 16384, "moved": 2000},
        ),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "scatter",
            "Each point is a coordinate of a frozen policy: its measured standard deviation against the "
            "root of v-hat, from independent samples. On the dashed line all of v-hat is variance; below "
            "it, some is mean.",
            "Six log-log scatter plots of measured standard deviation against the root of v-hat, by stage "
            "of training and baseline, points coloured by layer, with the line of equality.",
            draw_scatter,
        ),
        FigureSpec(
            "correlations",
            "Rank correlation over coordinates between v-hat and the measured standard deviation, with "
            "controls: mean over policies with 95% bootstrap intervals. Dashed: the criterion's 0.9.",
            "Six panels of dots with intervals: rank correlations of v-hat, of v-hat within the first "
            "layer, with the mean's size, of shuffled v-hat, and of the training run's own v-hat.",
            draw_correlations,
            part="controls",
        ),
        FigureSpec(
            "shares",
            "How much of the second moment is variance and not the square of the mean: the median "
            "coordinate, mean over policies with 95% bootstrap intervals. Dashed: the criterion's 0.9.",
            "Six rows of dots with intervals, the share of variance by regime, against a threshold.",
            draw_shares,
        ),
        FigureSpec(
            "dial",
            "Without a baseline: rank correlation of v-hat with the measured variance after 16 updates, by "
            "episodes a gradient and beta2 (0.9 to 0.999 all but coincide); right, the share of variance in "
            "the second moment of the median coordinate. Means over policies with 95% bootstrap intervals.",
            "Four panels of lines over the number of episodes a gradient.",
            draw_dial,
            part="regimes",
        ),
        FigureSpec(
            "following",
            "v-hat in swing at an earlier policy of a run, then fed with gradients of a later one: rank "
            "correlation with the variance there (above), and its ratio to the second moment there (below), "
            "with 95% bootstrap intervals.",
            "Four panels of lines over the updates since the policy moved, one line a beta2.",
            draw_following,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "v-hat and the variance come from the same gradients: of course they agree.",
            "They are computed from independent samples.",
        ),
        (
            "A mean of squares is variance + mean^2. Is it noise that v-hat sees, or signal?",
            "The share of variance is judged for itself; the correlation with the size of the mean is shown "
            "beside it. The share depends on how many episodes a gradient averages: their noise shrinks as "
            "1/E, the mean stays.",
        ),
        (
            "Layers differ in scale, which makes any such correlation high.",
            "The correlation within the first layer alone is shown beside the verdict.",
        ),
        (
            "Adam never meets a frozen policy.",
            "The v-hat that the training run had at that moment is compared with the noise there too.",
        ),
        (
            "Does seeing the noise mean reducing it?",
            "No. This study says what v-hat is, not what dividing by its root does; see variance-reduction.",
        ),
    ),
    source="Williams 1992 (REINFORCE); Kool et al. 2019 (leave-one-out); Kingma and Ba 2015 (Adam).",
)
