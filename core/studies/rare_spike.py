r"""For how long does one rare, huge gradient hold a feature's steps down?

Derivation. Ordinary gradients have mean square 1 and v has settled there. One gradient of size S takes the
place of an ordinary one; k steps later

.. math::
    v_k = 1 + A \beta_2^k, \qquad A = (1 - \beta_2)(S^2 - 1),

so the scaling 1 / sqrt(v) is `1 / sqrt(1 + A beta2^k)` of what it would be. It is back at a share f after

.. math::
    k^* = \max\Big(0, \Big\lceil \frac{\ln\big(A / (f^{-2} - 1)\big)}{-\ln \beta_2} \Big\rceil\Big)

steps: never below f unless `S > sqrt(1 + (f^{-2} - 1) / (1 - beta2))`, which is 55 for f = 1/2 and
beta2 = 0.999. Summed over all steps, the ordinary way that is not gone is, in units of lr,

.. math::
    \sum_k 1 - (1 + A \beta_2^k)^{-1/2} \approx \frac{2}{-\ln\beta_2} \ln\frac{1 + \sqrt{1 + A}}{2},

while the spike itself, through m, moves the feature by less than
`(1-beta1) / sqrt(1-beta2) / (1 - beta1 / sqrt(beta2))` (31.8 with the usual betas), whatever its size.
A feature that is silent between spikes loses no ordinary way: there the last formula is all it gets, and with
spikes `gap` steps apart it is multiplied by `sqrt(1 - beta2^gap)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from core.lab import figures, stats
from core.lab.experiment import Array, Experiment
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.tables import number, with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, verdict
from core.optim.adam import AdamState, adam, adam_init, check_adam
from core.optim.rule import Rule
from core.optim.rules import RULES
from core.problems.streams import Stream, follow

CLIP = 10.0


def clipped_adam(
    params: Tensor, grads: Tensor, state: AdamState, *, clip: float, **hyper: Any
) -> tuple[Tensor, AdamState]:
    """Adam on gradients `[R, D]` whose coordinates are cut to [-clip, clip] (clipping by value)."""
    return adam(params, grads.clamp(-clip, clip), state, **hyper)


CLIPPED = Rule(
    name="adam_clipped",
    formula=clipped_adam,
    start=adam_init,
    check=check_adam,
    hyper={**RULES["adam"].hyper, "clip": CLIP},
)
RULES_TRIED: dict[str, tuple[Rule, dict[str, Any]]] = {
    "Adam, beta2 = 0.9": (RULES["adam"], {"beta2": 0.9}),
    "Adam, beta2 = 0.99": (RULES["adam"], {"beta2": 0.99}),
    "Adam": (RULES["adam"], {}),
    "RMSProp": (RULES["rmsprop"], {}),
    "AMSGrad": (RULES["amsgrad"], {}),
    "Adam, clipped": (CLIPPED, {}),
}
ADAMS = {"Adam, beta2 = 0.9": 0.9, "Adam, beta2 = 0.99": 0.99, "Adam": 0.999}
CONTROLS = ("RMSProp", "AMSGrad", "Adam, clipped")
BACKGROUNDS = {"steady": Stream(mean=1.0, noise=0.0), "noisy": Stream(mean=0.6, noise=0.8)}
"""Both with mean square 1."""
SPIKES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
JUDGED = (10.0, 100.0, 1000.0)
SHARE = 0.5
LONG = 100
COORDINATES = 4
BEFORE = 5000
AFTER = 8000
LAGS = tuple(sorted({round(x) for x in np.geomspace(1, AFTER - 1, 60)} | {0}))
GAP, SPIKES_IN_SILENCE = 1000, 8
SILENT_RULES: dict[str, tuple[Rule, dict[str, Any]]] = {
    **RULES_TRIED,
    "Sign descent": (RULES["signsgd"], {}),
    "Gradient descent": (RULES["sgd"], {}),
}


def excess(spike: float, beta2: float) -> float:
    """A: by how much v exceeds its ordinary value just after a spike."""
    return (1 - beta2) * (spike**2 - 1)


def recovery_steps(spike: float, beta2: float, share: float = SHARE) -> int:
    """k*, steps after the spike until the scaling is back at `share` of its ordinary value."""
    ratio = excess(spike, beta2) / (share**-2 - 1)
    return max(0, math.ceil(math.log(ratio) / -math.log(beta2))) if ratio > 0 else 0


def lost_way(spike: float, beta2: float) -> float:
    """The ordinary way that a spike costs, over lr (the integral that stands for the sum)."""
    return 2 / -math.log(beta2) * math.log((1 + math.sqrt(1 + excess(spike, beta2))) / 2)


def way_of_a_spike(beta1: float, beta2: float, gap: float = math.inf) -> float:
    """How far a spike moves a feature that is silent between spikes `gap` steps apart, over lr."""
    alone = (1 - beta1) / math.sqrt(1 - beta2) / (1 - beta1 / math.sqrt(beta2))
    return alone * math.sqrt(1 - beta2**gap)


def _under_root(state: Any) -> Tensor:
    """What the rule divides by the root of (bias correction aside, which two lives have in common)."""
    for name in ("max_exp_avg_sq", "exp_avg_sq", "square_avg"):
        value = getattr(state, name, None)
        if isinstance(value, Tensor):
            return value
    raise TypeError(f"{type(state).__name__} holds no second moment")


def spiked(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:  # noqa: ARG001
    """Lives that differ in one gradient, after `BEFORE` ordinary ones: an ordinary one, and one a spike.

    Returns:
        `recovery` `[R, spikes]`: mean over the coordinates of the steps after which the scaling stays above
        `SHARE` of that of the ordinary life; inf if it is still below at the end.
        `scaling` `[R, spikes, lags]`: that share, over steps since the spike; mean over the coordinates.
        `lost` `[R, spikes]`: how much farther the ordinary life goes in `AFTER` steps, over lr.
    """
    rule, hyper = RULES_TRIED[cell["rule"]]
    seeds, lives = len(keys), len(SPIKES) + 1
    size = torch.tensor(SPIKES, dtype=torch.float64, device=keys.device)[:, None, None]

    def gradients() -> Iterator[Tensor]:
        drawn = BACKGROUNDS[cell["background"]].gradients(keys, BEFORE + AFTER, COORDINATES)
        for t, g in enumerate(drawn):
            all_lives = g.expand(lives, *g.shape).clone()
            if t == BEFORE:
                all_lives[1:] = size
            yield all_lives.flatten(0, 1)

    shape = (lives - 1, seeds, COORDINATES)
    last_below = torch.full(shape, -1.0, dtype=torch.float64, device=keys.device)
    lost = torch.zeros_like(last_below)
    scaling = []
    for k, (descent, state) in enumerate(follow(rule, gradients(), **hyper), start=-BEFORE):
        if k < 0:
            continue
        v = _under_root(state).view(lives, seeds, COORDINATES)
        share = (v[:1] / v[1:]).sqrt()
        last_below[share < SHARE] = float(k)
        way = descent.view(lives, seeds, COORDINATES)
        lost += way[:1] - way[1:]
        if k in LAGS:
            scaling.append(share.mean(dim=2))
    last_below[last_below == AFTER - 1] = math.inf
    recovery, lost = ((x).mean(dim=2).T for x in (last_below + 1, lost))
    kept = {"recovery": recovery, "lost": lost, "scaling": torch.stack(scaling, dim=2).transpose(0, 1)}
    return {name: value.contiguous().cpu().numpy() for name, value in kept.items()}


def silent(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:  # noqa: ARG001
    """A feature without gradients but for spikes of keyed size (100 to 1000) and one sign, `GAP` steps apart.

    Returns:
        `way` `[R]`: how far it moves for each of the last spikes, over lr.
    """
    rule, hyper = SILENT_RULES[cell["rule"]]
    # Not 10.0**u: torch rounds powers by an element's place, and a row's bits would depend on its batch.
    size = 100.0 * keys.fold("size").uniform(1, dtype=torch.float64).mul(math.log(10.0)).exp()
    still = torch.zeros_like(size)
    stream = (size if t % GAP == 0 else still for t in range(SPIKES_IN_SILENCE * GAP))
    half = SPIKES_IN_SILENCE // 2
    way = torch.zeros_like(size)
    for t, (descent, _) in enumerate(follow(rule, stream, **hyper)):
        if t >= half * GAP:
            way += descent / half
    return {"way": way[:, 0].cpu().numpy()}


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """Spikes among ordinary gradients, for every rule (noise for Adam alone), and spikes in silence."""
    pairs = [(r, b) for b in BACKGROUNDS for r in RULES_TRIED if b == "steady" or r not in CONTROLS[:2]]
    seeds = plan.reporting_seeds
    return (
        Measurement(
            "spiked",
            "rare-spike",
            spiked,
            tuple({"rule": r, "background": b} for r, b in pairs),
            seeds,
            cost=BEFORE + AFTER,
        ),
        Measurement(
            "silent", "rare-spike", silent, tuple({"rule": r} for r in SILENT_RULES), seeds, cost=GAP
        ),
    )


def _recovery(results: Results, rule: str, background: str, spike: float) -> Array:
    found = results.measurement("spiked").only(rule=rule, background=background)["recovery"]
    steps: Array = found[:, SPIKES.index(spike)]
    return steps


def _held_down(results: Results, rule: str, background: str, spike: float, *, decisive: bool) -> Finding:
    return finding(
        f"{background}, {rule}, spike {spike:g}",
        stats.interval(_recovery(results, rule, background, spike), "median"),
        above=float(LONG),
        replicas=results.plan.reporting_seeds,
        text=f"the scaling stays below half of its ordinary value for more than {LONG} steps",
        unit="steps",
        decisive=decisive,
    )


def _net(results: Results, rule: str, spike: float) -> Finding:
    found = results.measurement("spiked").only(rule=rule, background="steady")["lost"]
    return finding(
        f"steady, {rule}, spike {spike:g}",
        stats.interval(found[:, SPIKES.index(spike)], "median"),
        above=0.0,
        replicas=results.plan.reporting_seeds,
        text=f"the spike costs more way than it gives, within {AFTER} steps",
        unit="ordinary steps lost",
        decisive=False,
    )


def _in_silence(results: Results, rule: str, *, decisive: bool) -> Finding:
    return finding(
        f"silent between spikes, {rule}",
        stats.interval(results.measurement("silent").only(rule=rule)["way"], "median"),
        below=1.0,
        replicas=results.plan.reporting_seeds,
        text="a spike moves the feature by less than one ordinary step (lr)",
        unit="lr",
        decisive=decisive,
    )


def judge(results: Results) -> Verdict:
    """Held down for long, by spike, beta2 and background; and moved little where there is nothing else."""
    held = [
        _held_down(results, rule, background, spike, decisive=True)
        for background in BACKGROUNDS
        for rule in ADAMS
        for spike in JUDGED
    ]
    quiet = [_in_silence(results, rule, decisive=True) for rule in ADAMS]
    beside = [_held_down(results, rule, "steady", JUDGED[-1], decisive=False) for rule in CONTROLS]
    beside += [_net(results, rule, JUDGED[-1]) for rule in RULES_TRIED]
    beside += [_in_silence(results, rule, decisive=False) for rule in SILENT_RULES if rule not in ADAMS]
    return verdict([*held, *quiet, *beside], _sentence(results, held, quiet))


def _sentence(results: Results, held: list[Finding], quiet: list[Finding]) -> str:
    def for_rule(rule: str) -> str:
        holding = {f.regime for f in held if f.outcome is Outcome.HOLDS}
        sizes = [f"{s:g}" for s in JUDGED if f"steady, {rule}, spike {s:g}" in holding]
        return f"{' and '.join(sizes) or 'none'} at beta2 = {ADAMS[rule]:g}"

    big = JUDGED[-1]
    steps = {r: float(np.median(_recovery(results, r, "steady", big))) for r in ("Adam", *CONTROLS)}
    lost = float(results.measurement("spiked").only(rule="Adam", background="steady")["lost"][:, -1].mean())
    amsgrad = "never within the run" if math.isinf(steps["AMSGrad"]) else f"after {steps['AMSGrad']:.0f}"
    moves = [f.effect for f in quiet]
    verb = "suppressed" if all(f.outcome is Outcome.HOLDS for f in quiet) else "not suppressed"
    return (
        "Of spikes of 10, 100 and 1000 ordinary gradients, these hold a feature below half speed for over "
        f"{LONG} steps: {', '.join(map(for_rule, ADAMS))}. A spike of {big:g} at beta2 = 0.999 lasts "
        f"{steps['Adam']:.0f} steps (closed form {recovery_steps(big, 0.999)}) and costs {lost:.0f} steps "
        f"of way; RMSProp recovers after {steps['RMSProp']:.0f}, AMSGrad {amsgrad}, Adam clipped at "
        f"{CLIP:g} after {steps['Adam, clipped']:.0f}. A feature that is silent between spikes is {verb}: "
        f"each spike moves it by {min(moves):.2g} to {max(moves):.2g} lr, whatever its size."
    )


def draw_recovery(results: Results) -> Figure:
    """Scaling after a spike for every rule, and steps to recover against the spike's size."""
    found = results.measurement("spiked")
    figure, (left, right) = figures.new_figure(columns=2, height=4.4, width=10.0)
    lags, sizes = np.array(LAGS), np.array(SPIKES)
    looks = figures.lines(RULES_TRIED)
    looks["Adam, beta2 = 0.9"]["linestyle"], looks["Adam, beta2 = 0.99"]["linestyle"] = ":", "--"
    for rule in RULES_TRIED:
        arrays = found.only(rule=rule, background="steady")
        share = arrays["scaling"][:, -1].mean(axis=0)
        left.plot(lags + 1, share, **looks[rule], markevery=9, label=rule)
        steps = np.median(arrays["recovery"], axis=0)
        shown = np.isfinite(steps) & (steps > 0)
        right.plot(sizes[shown], steps[shown], **looks[rule], label=rule)
    left.axhline(SHARE, color="grey", linewidth=0.8)
    left.set_ylim(1e-3, 1.5)
    title = f"after a spike of {SPIKES[-1]:g}"
    figures.label(
        left, x="steps since the spike, plus 1", y="scaling / ordinary scaling", title=title, log="xy"
    )
    grid = np.geomspace(SPIKES[0], SPIKES[-1], 300)
    for beta2 in ADAMS.values():
        form = np.array([recovery_steps(s, beta2) for s in grid], dtype=np.float64)
        right.plot(grid[form > 0], form[form > 0], color="black", linewidth=0.8, linestyle=":")
    figures.label(right, x="spike / ordinary gradient", y="steps to half speed", title="recovery", log="xy")
    figures.legend_below(figure)
    return figure


def draw_way(results: Results) -> Figure:
    """What a spike costs among ordinary gradients, and what it gives in silence."""
    figure, (left, right) = figures.new_figure(columns=2, height=3.8, width=10.0)
    found = results.measurement("spiked")
    grid = np.geomspace(SPIKES[0], SPIKES[-1], 200)
    looks = figures.lines(RULES_TRIED)
    looks["Adam, beta2 = 0.9"]["linestyle"], looks["Adam, beta2 = 0.99"]["linestyle"] = ":", "--"
    for rule in RULES_TRIED:
        lost = np.median(found.only(rule=rule, background="steady")["lost"], axis=0)
        left.plot(SPIKES, lost, **looks[rule], label=rule)
    for beta2 in ADAMS.values():
        left.plot(grid, [lost_way(s, beta2) for s in grid], color="black", linewidth=0.8, linestyle=":")
    left.set_yscale("symlog", linthresh=10.0)
    figures.label(
        left, x="spike / ordinary gradient", y="ordinary steps lost", title="what it costs", log="x"
    )
    silence = results.measurement("silent")
    points = [stats.interval(silence.only(rule=rule)["way"], "median") for rule in SILENT_RULES]
    right.set_xscale("log")
    figures.dots_with_intervals(right, list(SILENT_RULES), points, reference=1.0)
    figures.label(right, x="way for each spike / lr", title="what it gives in silence")
    figures.legend_below(figure, left)
    return figure


def tables(results: Results) -> tuple[Table, ...]:
    """Steps to recover, measured and by the closed form."""
    rows = []
    for cell, _ in results.measurement("spiked"):
        rule, background = cell["rule"], cell["background"]
        for spike in SPIKES:
            form = number(recovery_steps(spike, ADAMS[rule])) if rule in ADAMS else ""
            measured = stats.interval(_recovery(results, rule, background, spike), "median")
            rows.append((background, rule, f"{spike:g}", with_interval(measured), form))
    return (
        Table(
            "Steps until the scaling stays above half of its ordinary value, median with 95% bootstrap "
            "interval over seeds.",
            ("background", "rule", "spike", "measured", "closed form"),
            tuple(rows),
        ),
    )


STUDY = Study(
    id="rare-spike",
    title="A rare spike",
    claim=(
        "One rare, massive gradient inflates a feature's second moment; because beta2 is close to 1 this "
        "memory fades slowly, and the feature's steps are suppressed for a long time, so that features with "
        "rare but important signals learn too little."
    ),
    setup=(
        "A feature with ordinary gradients of mean square 1, steady or noisy (0.6 plus 0.8 normal), for "
        f"{BEFORE} steps; then one gradient of 3 to 1000, then ordinary ones for {AFTER} steps; beside it "
        "the same feature without the spike, its consistent neighbour. Adam with beta2 0.9, 0.99 and "
        f"0.999; controls: RMSProp (0.99), AMSGrad, and Adam with gradients clipped at {CLIP:g}. Measured: "
        "steps until 1 / sqrt(v) is back at half of its ordinary value, and way lost, both against closed "
        f"forms. Second setting: a feature with no gradients but a spike each {GAP} steps (sizes 100 to "
        "1000); measured: way for each spike over lr, with sign descent and gradient descent as further "
        "controls."
    ),
    criterion=(
        "Suppressed for long: for spikes of 10, 100 and 1000, beta2 of 0.9, 0.99 and 0.999 and both "
        f"backgrounds, the scaling stays below half of its ordinary value for more than {LONG} steps "
        "(median over seeds, 95% interval). Rare signals learn too little: a spike moves a feature that is "
        "silent otherwise by less than one lr, for each beta2. Supported if all hold, refuted if none "
        "does, conditional otherwise. The other rules and the way lost are shown beside the verdict."
    ),
    mathematics=(
        (
            r"v_t = 1 + (1 - \beta_2)(S^2 - 1)\,\beta_2^{\,t}",
            "The second moment t steps after a spike of S ordinary gradients, over that of the "
            "background; derived in the study's module.",
        ),
        (
            r"t_{1/2} = \frac{\ln\left[(1 - \beta_2)(S^2 - 1) / 3\right]}{-\ln\beta_2}",
            "So long the scaling stays below half of its ordinary value. The spike's size enters by "
            "its logarithm, the memory 1 / (1 − β₂) in proportion.",
        ),
    ),
    would_change=(
        "A background that fluctuates in another way than steady and noisy ones, under which the "
        "scaling recovers much sooner than the closed form says; or a rare signal whose step is below "
        "one learning rate although nothing happens between."
    ),
    plans={
        "tiny": Plan("tiny", steps=BEFORE + AFTER, tuning_seeds=0, reporting_seeds=4),
        "quick": Plan("quick", steps=BEFORE + AFTER, tuning_seeds=0, reporting_seeds=24),
        "full": Plan("full", steps=BEFORE + AFTER, tuning_seeds=0, reporting_seeds=200),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "recovery",
            "Steady background. Left: scaling after a spike of 1000, over that of the same feature without "
            "it; grey: half. Right: steps until half is reached for good; dotted: closed form for the three "
            "beta2. Rules that never fall below half, or do not recover, have no points there. RMSProp "
            "covers Adam with beta2 = 0.99.",
            "Left: curves start between 0.003 and 1 and return to 1 after tens to thousands of steps; "
            "AMSGrad stays down. Right: steps to recover rise with the logarithm of the spike, above a "
            "least size.",
            draw_recovery,
        ),
        FigureSpec(
            "way",
            f"Left: how much farther the feature goes without the spike, {AFTER} steps on (below zero: the "
            "spike gave more than it cost); dotted: closed form without the spike's own push. RMSProp "
            "covers Adam with beta2 = 0.99. Right: a feature with nothing but spikes; 95% bootstrap "
            "intervals over sizes of spikes; dashed: one ordinary step.",
            "Left: the loss rises to thousands of steps for beta2 = 0.999, and to nearly all steps for "
            "AMSGrad. Right: dots: Adam moves several to tens of lr for each spike, sign descent one, "
            "gradient descent hundreds.",
            draw_way,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "How massive must the spike be?",
            "More than sqrt(1 + 3 / (1 - beta2)) ordinary gradients to halve the speed at all: 55 at beta2 = "
            "0.999, 17 at 0.99, 5.6 at 0.9. Long memory dilutes a spike as much as it keeps it.",
        ),
        (
            "Does the spike not move the feature itself?",
            "By at most 31.8 lr with the usual betas; the way lost is net of it.",
        ),
        (
            "Is it the memory, or the size?",
            "Clipping at 10 takes away the size and with it the suppression; beta2 = 0.9 takes away the "
            "memory.",
        ),
    ),
    source="Closed forms derived in the study's module; Reddi, Kale and Kumar 2018 (AMSGrad).",
)
