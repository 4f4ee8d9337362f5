r"""What do beta1 and beta2 remember, and what does that do to the size of a step?

Memory. If all gradients before some step had been s times as large, then k steps later v would be
`1 + (s^2 - 1) beta2^k` times what it is (in expectation, for a stationary stream long after its start).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from core.lab import figures, stats
from core.lab.experiment import Array, Experiment
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from core.optim.rules import RULES
from core.problems.streams import follow
from core.studies.memory_bounds import (
    bound_findings,
    draw_distribution,
    largest_table,
    steadier_findings,
    step_sizes,
)
from core.studies.memory_settings import (
    BETA1,
    BETA2,
    COORDINATES,
    LONG,
    PAIRS,
    SHORT,
    STREAMS,
    by_seed,
    tiled,
)

PAST = 5000
SCALE = 10.0
LAGS = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000)
LATER = 100
FORGOTTEN = 0.01


def remembered(beta2: float, lag: Array) -> Array:
    """Closed form: the relative growth of sqrt(v), `lag` steps after a past `SCALE` times as large, `[T]`."""
    lag = np.asarray(lag, dtype=np.float64)
    share: Array = np.sqrt(1 + (SCALE**2 - 1) * beta2**lag) - 1
    return share


def changed_past(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:
    """Two lives with one present and different pasts: `PAST` steps with gradients `SCALE` times as large.

    Returns:
        `scaling`, `step` `[R, pairs, LAGS]`: mean absolute difference over the coordinates, of sqrt(v) and
        of the step, over the mean size in the life whose past was ordinary. Lag 1: the first common step.
    """
    rows, hyper = tiled(keys, device)

    def life(factor: float) -> Iterator[tuple[Tensor, Tensor]]:
        drawn = STREAMS[cell["stream"]].gradients(keys, PAST + LAGS[-1], COORDINATES)
        scaled = (g[rows] * (factor if t < PAST else 1.0) for t, g in enumerate(drawn))
        for descent, state in follow(RULES["adam"], scaled, **hyper):
            yield state.exp_avg_sq.sqrt(), descent

    kept: dict[str, list[Tensor]] = {"scaling": [], "step": []}
    for t, (ordinary, other) in enumerate(zip(life(1.0), life(SCALE), strict=True)):
        if t - PAST + 1 in LAGS:
            for name, a, b in zip(kept, ordinary, other, strict=True):
                kept[name].append((b - a).abs().mean(dim=1) / a.abs().mean(dim=1))
    return {name: by_seed(torch.stack(values, dim=1), len(keys)) for name, values in kept.items()}


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """Sizes of steps on all streams; the past on the noisy one."""
    cells = tuple({"stream": name, "steps": plan.steps} for name in STREAMS)
    seeds = plan.reporting_seeds
    return (
        Measurement("sizes", "memory", step_sizes, cells, seeds, cost=plan.steps),
        Measurement("past", "memory", changed_past, ({"stream": "noisy"},), seeds, cost=2 * PAST),
    )


def _memory(results: Results, what: str, betas: tuple[float, float], lag: int) -> stats.Interval:
    """Change through the past, seen at a lag."""
    arrays = results.measurement("past").only(stream="noisy")
    return stats.interval(arrays[what][:, PAIRS.index(betas), LAGS.index(lag)], "mean")


def _memoryless(results: Results) -> list[Finding]:
    seeds = results.plan.reporting_seeds
    tries = [("scaling", 0.9), *(("step", beta1) for beta1 in BETA1)]
    return [
        finding(
            f"{what}, beta1 = {beta1:g}, beta2 = 0",
            _memory(results, what, (beta1, SHORT), 1),
            below=FORGOTTEN,
            replicas=seeds,
            text=f"a tenfold past changes the {what} by less than 1%",
            unit="relative change",
        )
        for what, beta1 in tries
    ]


def _long(results: Results) -> list[Finding]:
    return [
        finding(
            f"scaling, beta2 = {beta2:g}, {LATER} steps later",
            _memory(results, "scaling", (0.9, beta2), LATER),
            above=FORGOTTEN,
            replicas=results.plan.reporting_seeds,
            text="a tenfold past still changes the scaling by more than 1%",
            unit="relative change",
            decisive=beta2 == LONG,
        )
        for beta2 in BETA2[1:]
    ]


def judge(results: Results) -> Verdict:
    """No memory at beta2 = 0; a long one near 1; and steadier steps through it."""
    memoryless, long, steadier = _memoryless(results), _long(results), steadier_findings(results)
    bounds = bound_findings(results)
    short = (
        f"Long memory makes the largest step smaller in {tally(steadier)} settings; with beta2 = {LONG:g} a "
        f"tenfold past leaves the scaling {1 + long[-1].effect:.2g} times too large {LATER} steps later."
    )
    sentence = _sentence(memoryless, long, steadier, bounds)
    return verdict([*memoryless, *long, *steadier, *bounds], sentence, short=short, main=long[-1])


def _sentence(
    memoryless: list[Finding], long: list[Finding], steadier: list[Finding], bounds: list[Finding]
) -> str:
    usual = [f for f in bounds if f.regime.endswith(f"beta2 = {LONG:g}")]
    without = [f for f in bounds if f not in usual]
    worst = max(usual, key=lambda f: f.effect)
    forgets = [b for b, f in zip(BETA1, memoryless[1:], strict=True) if f.outcome is Outcome.HOLDS]
    only = " and ".join(f"beta1 = {b:g}" for b in forgets) or "no beta1"
    at_once = "forgets" if memoryless[0].outcome is Outcome.HOLDS else "does not forget"

    def wins(beta1: float) -> str:
        inside = [f for f in steadier if f.regime.endswith(f"beta1 = {beta1:g}")]
        held = sum(f.outcome is Outcome.HOLDS for f in inside)
        return f"beta1 = {beta1:g} on {held} of {len(inside)} streams"

    where = worst.regime.rpartition(", ")[0]
    kept = "keep" if worst.outcome is Outcome.HOLDS else f"reach {worst.effect:.2g} times ({where})"
    return (
        f"With beta2 = 0 the scaling {at_once} the past at once, but the step does so with {only} only; with "
        f"beta2 = {LONG:g} a tenfold past leaves the scaling {1 + long[-1].effect:.2g} times too large "
        f"{LATER} steps later. Long memory makes the largest step smaller with "
        f"{', '.join(map(wins, BETA1))} (with both betas 0, Adam is sign descent). Steps at beta2 = {LONG:g} "
        f"{kept} the bound lr (1 - beta1) / sqrt(1 - beta2) of Kingma and Ba; at beta2 = 0 they break it in "
        f"{sum(f.outcome is Outcome.FAILS for f in without)} of {len(without)} settings."
    )


def draw_memory(results: Results) -> Figure:
    """How long a tenfold past is felt, in the scaling and in the step."""
    arrays = results.measurement("past").only(stream="noisy")
    figure, panels = figures.new_figure(columns=3, height=3.8, width=10.8)
    looks = figures.lines([f"beta2 {b:g}" for b in BETA2])
    lags = np.array(LAGS)
    for axes, (what, beta1) in zip(panels, (("scaling", 0.9), ("step", 0.0), ("step", 0.9)), strict=True):
        for beta2 in BETA2:
            look, pair = looks[f"beta2 {beta2:g}"], PAIRS.index((beta1, beta2))
            change = arrays[what][:, pair].mean(axis=0)
            seen = change > 1e-4
            axes.plot(lags[seen], change[seen], **look, label=f"beta2 = {beta2:g}")
            form = remembered(beta2, lags)
            if what == "scaling":
                axes.plot(lags[form > 1e-4], form[form > 1e-4], color="black", linewidth=0.8, linestyle=":")
        axes.axhline(FORGOTTEN, color="grey", linewidth=0.8)
        axes.set_xlim(0.9, LAGS[-1])
        title = "scaling" if what == "scaling" else f"step, beta1 = {beta1:g}"
        figures.label(axes, x="steps since", y="relative change", title=title, log="xy")
        axes.set_ylim(1e-4, 20)
    figures.legend_below(figure)
    return figure


def tables(results: Results) -> tuple[Table, ...]:
    """Largest steps for every stream and pair, beside both bounds."""
    return (largest_table(results),)


STUDY = Study(
    id="memory",
    title="Memory",
    question="How far back do beta1 and beta2 remember, and how long can a step become?",
    claim=(
        "beta1 and beta2 set how long Adam remembers: with beta2 = 0 its scaling has no memory at all and "
        "looks at the current gradient only; near 1 the memory is long, and this history is what keeps the "
        "scaling stable."
    ),
    setup=(
        "Adam (bias-corrected, eps = 1e-8, float64) on streams of gradients that do not depend on the "
        "parameters: steady (always 1), noisy (standard normal), sparse (normal, present in 1% of the "
        f"steps), bursts (12 like gradients in a row, in 0.5% of the stretches); beta1 in {{0, 0.5, 0.9}}, "
        f"beta2 in {{0, 0.5, 0.9, 0.99, 0.999}}; {COORDINATES} coordinates a seed. Memory is measured by "
        f"two lives on the noisy stream with the same present, one of which had gradients {SCALE:g} times "
        f"as large in its past of {PAST} steps. Sizes of steps over lr are set against Kingma and Ba's "
        "bound and against the sharp one."
    ),
    criterion=(
        "Memoryless: with beta2 = 0, at the first step in common, a tenfold past changes the scaling "
        "sqrt(v) by less than 1%, and so it does the step, for each beta1. Long: with beta2 = 0.999 the "
        "scaling still differs by more than 1% after 100 steps. Stable: on noisy, sparse and burst streams, "
        "for each beta1, the largest step of a run is smaller with beta2 = 0.999 than with 0 (median paired "
        "ratio below 1). All with 95% intervals over seeds. Supported if all hold, refuted if none does, "
        "conditional otherwise. Whether the largest step keeps the paper's bound is shown beside the "
        "verdict."
    ),
    mathematics=(
        (
            r"v_t = (1 - \beta_2)\sum_{s=1}^{t} \beta_2^{\,t-s}\, g_s^2",
            "A gradient n steps ago counts with weight β₂ to the n: a memory of about 1 / (1 − β₂) steps.",
        ),
        (
            r"\frac{|\Delta\theta_t|}{\eta} \le \frac{1 - \beta_1}{\sqrt{1 - \beta_2}}",
            "The bound of Kingma and Ba 2015, section 2.1, for gradients that are zero before the "
            "current one; a burst of several can pass it.",
        ),
    ),
    would_change=(
        "A stream on which the longest memory makes the largest step larger although β₁ is above "
        "zero, or one with β₁ = 0 on which it makes it smaller."
    ),
    plans={
        "tiny": Plan("tiny", steps=200, tuning_seeds=0, reporting_seeds=4),
        "quick": Plan("quick", steps=5000, tuning_seeds=0, reporting_seeds=24),
        "full": Plan("full", steps=20_000, tuning_seeds=0, reporting_seeds=200),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "distribution",
            "Share of steps that are larger than a size, over all seeds, coordinates and steps. Vertical "
            "lines: bounds for beta2 = 0.999, dotted as in the paper, dashed the sharp one (the same for "
            "beta1 = 0).",
            "Six panels of falling curves. With beta1 = 0 and beta2 = 0 all steps are at most lr; longer "
            "memory allows larger ones, up to the bound. With beta1 = 0.9 and beta2 = 0 steps reach a "
            "million lr and more; with beta2 = 0.999 bursts pass the dotted bound and stay below the dashed "
            "one.",
            draw_distribution,
        ),
        FigureSpec(
            "past",
            "Relative change through a past with tenfold gradients, against the number of steps since; mean "
            "over seeds. Dotted: closed form. Grey: 1%. Curves that do not appear lie below 1e-4.",
            "Three panels. The scaling forgets at once for beta2 = 0 and after thousands of steps for "
            "0.999. The step forgets at once only if beta1 is 0 too.",
            draw_memory,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is the largest step a fair measure of stability?",
            "It is what a run can trip over; the figure shows the whole distribution. With beta1 = 0 and "
            "beta2 = 0 Adam is sign descent, and no step can be larger than lr: memory adds risk there.",
        ),
        (
            "Does the bound of the paper hold?",
            "For beta1 = 0 and for lone gradients, yes. Like gradients in a row after silence exceed it, by "
            "up to 1 / sqrt(1 - beta1^2 / beta2) = 2.3 with the usual betas; with beta1^2 > beta2 there is "
            "no bound at all. The tests reach the sharp bound with gradients that grow by beta2 / beta1 a "
            "step.",
        ),
        (
            "Is eps what keeps steps finite with beta2 = 0?",
            "With momentum and a zero gradient, yes: the step is m / eps. That is a floor, not a memory.",
        ),
    ),
    source="Kingma and Ba 2015, section 2.1.",
)
