"""For how long does one rare, huge gradient hold a feature's steps down?"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array, Experiment
from core.lab.measurement import Measurement
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.tables import number, with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from core.problems.rare_feature import COUPLED_RULES, relearn
from core.problems.spikes import (
    ADAMS,
    AFTER,
    BACKGROUNDS,
    BEFORE,
    CLIP,
    CONTROLS,
    GAP,
    LAGS,
    RULES_TRIED,
    SHARE,
    SILENT_RULES,
    SPIKES,
    lost_way,
    recovery_steps,
    silent,
    spiked,
)
from core.studies.rare_spike_coupled_verdict import (
    coupled_findings,
    coupled_sentence,
    coupled_table,
    draw_coupled,
)

JUDGED = (10.0, 100.0, 1000.0)
LONG = 100


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """Spikes among ordinary gradients (RMSProp and AMSGrad on the steady ones), spikes in silence, and the
    regression on a dense and a rare feature."""
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
        Measurement(
            "coupled",
            "rare-spike",
            relearn,
            tuple({"rule": r, **plan.sizes} for r in COUPLED_RULES),
            seeds,
            cost=sum(plan.sizes.values()),
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
    beside += coupled_findings(results, LONG)
    parts = (_among_ordinary(results, held), _silence_sentence(results, quiet), coupled_sentence(results))
    worst = next(f for f in held if f.regime == f"steady, Adam, spike {JUDGED[-1]:g}")
    short = (
        f"Spikes halve a feature's speed for over {LONG} steps in {tally(held)} cases; the largest for "
        f"{worst.effect:.0f} at beta2 = {ADAMS['Adam']:g}. Silent features move "
        f"{min(f.effect for f in quiet):.2g} to {max(f.effect for f in quiet):.2g} lr."
    )
    return verdict([*held, *quiet, *beside], " ".join(parts), short=short, main=worst)


def _among_ordinary(results: Results, held: list[Finding]) -> str:
    """Which spikes hold for long, on each background; how long the largest lasts, on the steady one."""
    holding = {f.regime for f in held if f.outcome is Outcome.HOLDS}

    def on(background: str) -> str:
        parts = []
        for rule in ADAMS:
            sizes = [f"{s:g}" for s in JUDGED if f"{background}, {rule}, spike {s:g}" in holding]
            parts.append(f"{' and '.join(sizes) or 'none'} at beta2 = {ADAMS[rule]:g}")
        return ", ".join(parts)

    by_background = {b: on(b) for b in BACKGROUNDS}
    alike = len(set(by_background.values())) == 1
    which = (
        f"on a {' and on a '.join(BACKGROUNDS)} background alike: {on('steady')}"
        if alike
        else "; ".join(f"on a {b} background {text}" for b, text in by_background.items())
    )
    big = JUDGED[-1]
    steps = {r: float(np.median(_recovery(results, r, "steady", big))) for r in ("Adam", *CONTROLS)}
    lost = float(results.measurement("spiked").only(rule="Adam", background="steady")["lost"][:, -1].mean())
    return (
        f"Of spikes of 10, 100 and 1000 ordinary gradients, these hold a feature below half speed for over "
        f"{LONG} steps, {which}. On the steady background a spike of {big:g} at beta2 = 0.999 lasts "
        f"{steps['Adam']:.0f} steps (closed form {recovery_steps(big, 0.999)}) and costs {lost:.0f} steps of "
        f"way; RMSProp recovers {_after(steps['RMSProp'])}, AMSGrad {_after(steps['AMSGrad'])}, Adam clipped "
        f"at {CLIP:g} {_after(steps['Adam, clipped'])}."
    )


def _after(steps: float) -> str:
    return "never within the run" if math.isinf(steps) else f"after {steps:.0f}"


def size_matters(results: Results, rule: str) -> float:
    """By which factor the way of a silent feature's spike differs between the seeds, whose spikes differ."""
    way = np.abs(results.measurement("silent").only(rule=rule)["way"])
    return float(way.max() / way.min())


def _silence_sentence(results: Results, quiet: list[Finding]) -> str:
    moves = [f.effect for f in quiet]
    verb = "suppressed" if all(f.outcome is Outcome.HOLDS for f in quiet) else "not suppressed"
    sizes = size_matters(results, "Gradient descent")
    ways = max(size_matters(results, rule) for rule in ADAMS)
    whatever = (
        f"whatever its size (sizes differ by a factor of {sizes:.2g}, ways by {100 * (ways - 1):.1g}%)"
        if ways < 1.01
        else f"by its size (sizes differ by a factor of {sizes:.2g}, ways by one of {ways:.2g})"
    )
    return (
        f"A feature that is silent between spikes is {verb}: each spike moves it by {min(moves):.2g} to "
        f"{max(moves):.2g} lr, {whatever}."
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
    """Steps to recover, measured and by the closed form; and in the regression."""
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
        coupled_table(results),
    )


STUDY = Study(
    id="rare-spike",
    title="A rare spike",
    question="One huge gradient comes along: for how long does it slow Adam down?",
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
        "controls. Third: regression on a dense and a rare feature (in 2% of samples; batches of 4, noise 1, "
        "lr 0.005), whose weights are coupled through the residual; both true weights jump from 0 to 1, and "
        "one target of the next batch, with both features, is off by 10 to 1000 or not. Measured: steps "
        "until the weight is halfway for good; gradients clipped at ten ordinary ones."
    ),
    criterion=(
        "Suppressed for long: for spikes of 10, 100 and 1000, beta2 of 0.9, 0.99 and 0.999 and both "
        f"backgrounds, the scaling stays below half of its ordinary value for more than {LONG} steps "
        "(median over seeds, 95% interval). Rare signals learn too little: a spike moves a feature that is "
        "silent otherwise by less than one lr, for each beta2. Supported if all hold, refuted if none "
        "does, conditional otherwise. The other rules, the way lost and the regression are shown beside the "
        "verdict."
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
        "tiny": Plan(
            "tiny",
            steps=BEFORE + AFTER,
            tuning_seeds=0,
            reporting_seeds=4,
            sizes={"before": 300, "after": 2000},
        ),
        "quick": Plan(
            "quick",
            steps=BEFORE + AFTER,
            tuning_seeds=0,
            reporting_seeds=24,
            sizes={"before": 2000, "after": 8000},
        ),
        "full": Plan(
            "full",
            steps=BEFORE + AFTER,
            tuning_seeds=0,
            reporting_seeds=200,
            sizes={"before": 5000, "after": 20000},
        ),
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
        FigureSpec(
            "coupled",
            "Regression on a dense and a rare feature, after one target that is off. Left: median weight of "
            "the rare feature; its true value is 1. Right: steps until it is halfway (grey on the left) for "
            "good, medians with 95% bootstrap intervals; an arrow at the edge: not within the run.",
            "Left: four rising curves, one for each size of the outlier. Right: dots with intervals, two for "
            "each of five rules: without an outlier and with the largest.",
            draw_coupled,
            part="regimes",
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
