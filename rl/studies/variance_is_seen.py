"""Is Adam's second moment the noise of the policy gradient, coordinate by coordinate, at a frozen policy?"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from core.lab import figures, stats
from core.lab.experiment import Array, Experiment, Payload
from core.lab.measurement import Cell, Measurement
from core.lab.probe import probe
from core.lab.random import Keys
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.tables import with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, verdict
from core.optim.rules import RULES
from rl.problems import cartpole
from rl.reinforce import Reinforce
from rl.sampling import Recorded, sample_fields

STAGES = {"untrained": 0.0, "partly trained": 100.0, "nearly solved": 400.0}
"""The return of a training batch at which a policy is frozen; the task's limit is 500."""
BASELINES = {"none": "no baseline", "loo": "leave-one-out"}
EPISODES = 8
TRAINING_RATE = 0.01
MOST_UPDATES = 150
LEAST_CORRELATION = 0.9
LEAST_SHARE = 0.9
BETA2 = 0.999
LAYERS = ("first layer", "last layer")
COMPARED = {
    "v-hat": "rank correlation over coordinates of v-hat with the measured variance",
    "v-hat, first layer only": "the same within the first layer",
    "|mean| in place of noise": "rank correlation of v-hat with the size of the measured mean",
    "v-hat shuffled": "rank correlation of shuffled v-hat with the measured variance",
    "v-hat in training": "the same for the v-hat that the training run had at that moment",
}


def frozen_policies(problem: Reinforce, keys: Keys, level: float) -> tuple[Tensor, Tensor]:
    """Train by Adam until a batch's mean return reaches `level`, each replica for itself, and freeze it
    there.

    Returns:
        Parameters `[R, D]`, and Adam's own v-hat at that moment `[R, D]` (NaN where nothing was trained). A
        replica that does not get there is frozen after `MOST_UPDATES` updates.
    """
    rule = RULES["adam"]
    params = problem.init(keys)
    state = rule.init(params)
    frozen, live = params.clone(), torch.full_like(params, torch.nan)
    training = torch.ones(len(keys), dtype=torch.bool, device=params.device)
    for step in range(MOST_UPDATES + 1):
        sample = problem.field(params, keys, step)
        reached = training & ((sample.measures["return"] >= level) | (step == MOST_UPDATES))
        frozen[reached] = params[reached]
        if step:
            live[reached] = state.exp_avg_sq[reached] / (1 - BETA2**step)
        training &= ~reached
        if not training.any():
            break
        params, state = rule.step(params, sample.values, state, lr=TRAINING_RATE, beta2=BETA2)
    return frozen, live


def frozen_moments(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:
    """Train to a stage, freeze, and sample the field twice: once for v-hat, once for its true mean and
    variance.

    The two sets of samples are independent, so that agreement between v-hat and the variance is not owed to
    their being computed from the same numbers.

    Returns:
        `return` `[R]` of the frozen policy on episodes of its own, `live` `[R, D]` (see `frozen_policies`),
        and for
        each baseline b: `b/v_hat`, `b/mean`, `b/variance` `[R, D]`.
    """
    problems = {
        name: cartpole(episodes=EPISODES, baseline=name, evaluation_episodes=100, device=device)
        for name in BASELINES
    }
    params, live = frozen_policies(problems["loo"], keys.fold("training"), float(cell["level"]))
    samples = int(cell["samples"])
    seen = sample_fields(problems, params, keys.fold("seen by Adam"), samples)
    fresh = sample_fields(problems, params, keys.fold("measured"), samples)
    found = {"return": problems["loo"].measure(params, keys.fold("test"))["return"], "live": live}
    for name in problems:
        found[f"{name}/v_hat"] = probe(
            Recorded(seen[name]), params, keys, samples=samples, beta2=BETA2
        ).exp_avg_sq
        measured = probe(Recorded(fresh[name]), params, keys, samples=samples)
        found[f"{name}/mean"], found[f"{name}/variance"] = measured.mean, measured.variance
    return found


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """One cell a stage; both baselines are computed from the same episodes."""
    samples = plan.sizes["samples"]
    cells = tuple({"stage": stage, "level": level, "samples": samples} for stage, level in STAGES.items())
    return (
        Measurement(
            "moments",
            "variance-is-seen",
            frozen_moments,
            cells,
            plan.reporting_seeds,
            seeds_per_shard=5,
            cost=float(samples),
        ),
    )


def noise_share(arrays: Payload, baseline: str, samples: int) -> Array:
    """`[R]`: the median coordinate's share of variance in variance + mean^2, the estimate of mean^2 freed of
    its bias.
    """
    variance = arrays[f"{baseline}/variance"]
    square = np.maximum(arrays[f"{baseline}/mean"] ** 2 - variance / samples, 0.0)
    share: Array = np.median(variance / np.maximum(variance + square, 1e-300), axis=1)
    return share


def correlations(arrays: Payload, baseline: str) -> dict[str, Array]:
    """Spearman's correlations over coordinates, `[R]` each, by the names in `COMPARED`."""
    variance, v_hat = arrays[f"{baseline}/variance"], arrays[f"{baseline}/v_hat"]
    first = layer_of(v_hat.shape[1]) == LAYERS[0]
    shuffled = np.random.default_rng(0).permuted(v_hat, axis=1)
    found = [
        stats.spearman(v_hat, variance),
        stats.spearman(v_hat[:, first], variance[:, first]),
        stats.spearman(v_hat, np.abs(arrays[f"{baseline}/mean"])),
        stats.spearman(shuffled, variance),
    ]
    if baseline == "loo" and np.isfinite(arrays["live"]).all():
        # The training run had the leave-one-out baseline: there is no such v-hat without one.
        found.append(stats.spearman(arrays["live"], variance))
    return dict(zip(COMPARED, found, strict=False))


def slopes(arrays: Payload, baseline: str) -> Array:
    """`[R]`: least-squares slope of log standard deviation over log sqrt(v-hat); 1 where one is proportional
    to the other.
    """
    x = np.log(np.maximum(arrays[f"{baseline}/v_hat"], 1e-300)) / 2
    y = np.log(np.maximum(arrays[f"{baseline}/variance"], 1e-300)) / 2
    x, y = (a - a.mean(axis=1, keepdims=True) for a in (x, y))
    slope: Array = (x * y).sum(axis=1) / (x**2).sum(axis=1)
    return slope


def layer_of(dim: int) -> Array:
    """`[D]`, which layer a coordinate belongs to, as words."""
    sizes = [a * b for a, b in cartpole().policy.shapes]
    assert sum(sizes) == dim
    return np.repeat(LAYERS, sizes)


def _regimes() -> list[tuple[str, str, str]]:
    return [(f"{stage}, {words}", stage, name) for stage in STAGES for name, words in BASELINES.items()]


def judge(results: Results) -> Verdict:
    """The criterion, stage by stage and baseline by baseline."""
    moments = results.measurement("moments")
    samples, replicas = results.plan.sizes["samples"], results.plan.reporting_seeds
    findings: list[Finding] = []
    beside: list[Finding] = []
    for regime, stage, name in _regimes():
        arrays = moments.only(stage=stage)
        for what, values in correlations(arrays, name).items():
            found = finding(
                f"{regime}: order",
                stats.interval(values, "mean"),
                above=LEAST_CORRELATION,
                replicas=replicas,
                text=COMPARED[what],
                unit="rank correlation",
                decisive=what == "v-hat",
            )
            (findings if found.decisive else beside).append(found)
        findings.append(
            finding(
                f"{regime}: noise",
                stats.interval(noise_share(arrays, name, samples), "mean"),
                above=LEAST_SHARE,
                replicas=replicas,
                text="share of variance in the second moment, median coordinate",
                unit="share",
            )
        )
    return verdict([*findings, *beside], _sentence(findings, results))


def _sentence(findings: list[Finding], results: Results) -> str:
    ranks = [f for f in findings if f.unit == "rank correlation"]
    shares = [f for f in findings if f.unit == "share"]
    signal = [
        correlations(a, b)["|mean| in place of noise"].mean()
        for _, a in results.measurement("moments")
        for b in BASELINES
    ]
    return (
        "At a frozen policy v-hat orders the coordinates as their measured noise does: rank correlation "
        f"{_span([f.effect for f in ranks])}, above {LEAST_CORRELATION} {_count(ranks)}. But v-hat is not "
        f"noise alone: the share of variance in it is {_span([f.effect for f in shares])}, above "
        f"{LEAST_SHARE} {_count(shares)}, and it orders the size of the mean gradient too "
        f"({_span(signal)})."
    )


def _span(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def _count(found: list[Finding]) -> str:
    return f"in {sum(f.outcome is Outcome.HOLDS for f in found)} of {len(found)} regimes"


def draw_scatter(results: Results) -> Figure:
    """Measured standard deviation against the root of v-hat, all policies, coloured by layer."""
    figure, panels = figures.new_figure(rows=len(BASELINES), columns=len(STAGES), height=6.4, width=10.0)
    regimes = sorted(_regimes(), key=lambda r: list(BASELINES).index(r[2]))
    for axes, (regime, stage, name) in zip(panels, regimes, strict=True):
        arrays = results.measurement("moments").only(stage=stage)
        v_hat, variance = arrays[f"{name}/v_hat"], arrays[f"{name}/variance"]
        layers = np.tile(layer_of(v_hat.shape[1]), len(v_hat))
        figures.scatter_log(
            axes, np.sqrt(v_hat), np.sqrt(variance), [str(x) for x in layers], identity=True, size=5
        )
        figures.label(axes, x="root of v-hat", y="measured std. deviation", title=regime)
    figures.legend_below(figure)
    return figure


def draw_correlations(results: Results) -> Figure:
    """Rank correlations with their controls, by stage and baseline."""
    figure, panels = figures.new_figure(rows=len(BASELINES), columns=len(STAGES), height=5.6, width=10.8)
    regimes = sorted(_regimes(), key=lambda r: list(BASELINES).index(r[2]))
    for number, (axes, (regime, stage, name)) in enumerate(zip(panels, regimes, strict=True)):
        found = correlations(results.measurement("moments").only(stage=stage), name)
        intervals = [stats.interval(v, "mean") for v in found.values()]
        figures.dots_with_intervals(axes, tuple(found), intervals, reference=LEAST_CORRELATION)
        axes.set_xlim(-0.3, 1.04)
        axes.set_ylim(len(COMPARED) - 0.4, -0.6)
        axes.set_yticks(
            range(len(COMPARED)), list(COMPARED) if number % len(STAGES) == 0 else [""] * len(COMPARED)
        )
        figures.label(axes, x="rank correlation", title=regime)
    return figure


def draw_shares(results: Results) -> Figure:
    """The share of variance in the second moment, regime by regime, against the criterion."""
    figure, (axes,) = figures.new_figure(height=3.4, width=7.2)
    figures.effect_bars(axes, [f for f in judge(results).findings if f.unit == "share"])
    figures.label(axes, x="share of variance in variance + mean², median coordinate")
    axes.set_xlim(0, 1.03)
    figures.legend_below(figure)
    return figure


def tables(results: Results) -> tuple[Table, ...]:
    """All that was measured at each frozen policy."""
    moments, samples = results.measurement("moments"), results.plan.sizes["samples"]
    rows = []
    for regime, stage, name in _regimes():
        arrays = moments.only(stage=stage)
        values = (
            arrays["return"],
            correlations(arrays, name)["v-hat"],
            slopes(arrays, name),
            noise_share(arrays, name, samples),
            np.median(
                np.abs(arrays[f"{name}/mean"]) / np.sqrt(np.maximum(arrays[f"{name}/variance"], 1e-300)),
                axis=1,
            ),
        )
        rows.append((regime, *(with_interval(stats.interval(v, "mean")) for v in values)))
    return (
        Table(
            f"Means over {results.plan.reporting_seeds} policies with 95% bootstrap intervals; {samples} "
            f"samples for v-hat and {samples} others for mean and variance, of {EPISODES} episodes each.",
            (
                "regime",
                "return",
                "rank correlation",
                "log-log slope",
                "share of variance",
                "signal to noise (median)",
            ),
            tuple(rows),
        ),
    )


STUDY = Study(
    id="variance-is-seen",
    title="Is v-hat the noise of the policy gradient?",
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
        "over a long run of gradient samples; mean and variance of each coordinate are measured on as many "
        "other samples. Controls: v-hat shuffled among coordinates; the size of the mean in place of the "
        "noise; the first layer by itself; the v-hat that the training run had at that moment."
    ),
    criterion=(
        "In each regime (stage x baseline), over policies trained from different seeds, with 95% bootstrap "
        "intervals of the mean: the rank correlation over coordinates between v-hat and the measured "
        "variance lies above 0.9, and so does the share of variance in variance + mean^2 of the median "
        "coordinate. A part fails where its whole interval lies below 0.9. Supported if all parts hold in "
        "all regimes, refuted if all fail, conditional if some hold and others fail."
    ),
    plans={
        "tiny": Plan("tiny", steps=0, tuning_seeds=0, reporting_seeds=2, sizes={"samples": 20}),
        "quick": Plan("quick", steps=0, tuning_seeds=0, reporting_seeds=10, sizes={"samples": 1000}),
        "full": Plan("full", steps=0, tuning_seeds=0, reporting_seeds=50, sizes={"samples": 4000}),
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
        ),
        FigureSpec(
            "shares",
            "How much of the second moment is variance and not the square of the mean: the median "
            "coordinate, mean over policies with 95% bootstrap intervals. Dashed: the criterion's 0.9.",
            "Six rows of dots with intervals, the share of variance by regime, against a threshold.",
            draw_shares,
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
            "No. This study says what v-hat is, not what dividing by its root does; see learning-curves.",
        ),
    ),
    source="Williams 1992 (REINFORCE); Kool et al. 2019 (leave-one-out); Kingma and Ba 2015 (Adam).",
)
