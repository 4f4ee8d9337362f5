"""Does bias correction repair m and v while t is small, and is it over soon? And does it matter in training?

The moments, their errors and closed forms are in `core.studies.bias_correction_moments`.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array, Experiment
from core.lab.measurement import Measurement
from core.lab.run import Recording
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.sweep import Objective, Regime, Sweep
from core.lab.tables import number, sweep_table, with_interval
from core.lab.variant import Grid, Variant
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from core.optim.schedules import WarmUp
from core.problems.quadratic import Canyon
from core.studies.bias_correction_moments import (
    BETAS,
    COORDINATES,
    SMALL,
    STEPS,
    STREAMS,
    TIMES,
    draw_errors,
    judged,
    relative_errors,
    rms_error,
    step_factor,
    vanishes,
)

SHARES = {"a tenth of the memory": 0.1, "half the memory": 0.5}
SOON = 100
PAYS = "Adam ends lower than Adam, uncorrected, both"
HORIZONS = {"first 30 steps": 30, "1000 steps": 1000}
PLACE = Regime("noisy bowl", Canyon, {"condition": 10.0, "degrees": 30.0, "noise": 0.1})
VARIANTS = (
    Variant("Adam", "adam"),
    Variant("Adam, uncorrected", "adam_uncorrected", control=True, note="removes bias correction"),
    Variant(
        "Adam, uncorrected, warm-up",
        "adam_uncorrected",
        schedule=WarmUp(10),
        control=True,
        note="a warm-up of 10 steps in place of bias correction",
    ),
)


def at_share(moment: str, share: float) -> int:
    """The step that lies at this share of the moment's memory 1 / (1 - beta)."""
    return max(1, round(share / (1 - BETAS[moment])))


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """The moments along each stream, and training with and without correction at two horizons."""
    cells = tuple({"stream": name} for name in STREAMS)
    moments = Measurement(
        "moments",
        "bias-correction",
        relative_errors,
        cells,
        plan.reporting_seeds,
        seeds_per_shard=100,
        cost=STEPS,
    )
    return moments, *(
        Sweep(
            name=name,
            study="bias-correction",
            regimes=(PLACE,),
            variants=VARIANTS,
            grid=Grid.between(1e-3, 1.0, per_decade=4),
            objective=Objective("gap", label=f"gap after {min(steps, plan.steps)} steps"),
            steps=min(steps, plan.steps),
            tuning_seeds=plan.tuning_seeds,
            reporting_seeds=plan.reporting_seeds,
            recording=Recording(points=30, tuning_points=2),
        )
        for name, steps in HORIZONS.items()
    )


def _early(results: Results, name: str, moment: str, place: str, share: float) -> Finding:
    """Is the corrected estimate nearer to the truth?"""
    arrays = results.measurement("moments").only(stream=name)
    t = at_share(moment, share)
    column = TIMES.index(t)
    squares = [(arrays[key][:, column] ** 2).mean(axis=1) for key in (f"{moment} corrected", moment)]
    return finding(
        f"{name}, {moment} at t = {t} ({place})",
        stats.paired_difference(squares[0], squares[1], "mean"),
        below=0.0,
        replicas=results.plan.reporting_seeds,
        text=f"correction brings {moment} nearer to what it estimates (mean squared relative error, "
        "corrected minus uncorrected)",
        unit="",
    )


def _late(results: Results, moment: str, t: int) -> Finding:
    """How much does correction still change the estimate?"""
    arrays = results.measurement("moments").only(stream="steady gradient")
    column = TIMES.index(t)
    plain, corrected = (1 + arrays[key][:, column].mean(axis=1) for key in (moment, f"{moment} corrected"))
    return finding(
        f"{moment} at t = {t}",
        stats.interval(corrected / plain - 1, "mean"),
        below=SMALL,
        replicas=results.plan.reporting_seeds,
        text=f"correction changes {moment} by less than 1%",
        unit="relative change",
    )


def judge(results: Results) -> Verdict:
    """Early: nearer to the truth. Late: gone, and gone soon."""
    early = [
        _early(results, name, moment, place, share)
        for name, stream in STREAMS.items()
        for moment in judged(stream)
        for place, share in SHARES.items()
    ]
    late = [_late(results, moment, t) for moment in BETAS for t in (SOON, STEPS)]
    beside = [
        finding(
            f"training, {name}",
            stats.ratio(
                results.sweep(name).values(PLACE.name, "Adam"),
                results.sweep(name).values(PLACE.name, other),
            ),
            below=1.0,
            replicas=results.plan.reporting_seeds,
            text=f"Adam ends lower than {other}, both tuned",
            unit="x the gap",
            decisive=False,
        )
        for name in HORIZONS
        for other in [v.name for v in VARIANTS[1:]]
    ]
    paid = [f for f in beside if f.text.startswith(PAYS)]
    short = (
        f"Bias correction improves m or v in {tally(early)} early settings and is over in {tally(late)} late "
        f"ones; tuned, it pays at {tally(paid)} horizons."
    )
    return verdict([*early, *late, *beside], _sentence(early, late, beside), short=short)


def _sentence(early: list[Finding], late: list[Finding], beside: list[Finding]) -> str:
    hurt = [f.regime.partition(" (")[0] for f in early if f.outcome is Outcome.FAILS]
    helped = sum(f.outcome is Outcome.HOLDS for f in early)
    except_for = f" (worse: {'; '.join(hurt)}: it multiplies noise too)" if hurt else ""
    soon = {m: f.outcome is Outcome.HOLDS for m, f in zip(BETAS, late[::2], strict=True)}
    gone = " and ".join(m for m, over in soon.items() if over) or "neither m nor v"
    longest = float(step_factor(np.arange(1, SOON + 1)).max())
    plain = [f for f in beside if f.text.startswith(PAYS)]
    pays = ", ".join(f.regime for f in plain if f.outcome is Outcome.HOLDS) or "no horizon"
    return (
        f"Bias correction brings m or v nearer to the truth in {helped} of {len(early)} early settings"
        f"{except_for}; after {SOON} steps it is over for {gone} (it falls below 1% at step "
        f"{vanishes('m')} for m, {vanishes('v')} for v); it makes Adam's early steps shorter, not longer "
        f"(without it they are up to {longest:.2g} times as long), and with tuned rates it pays in: {pays}."
    )


def draw_training(results: Results) -> Figure:
    """What leaving out correction does to the length of steps, and to training."""
    figure, panels = figures.new_figure(columns=3, height=3.4, width=10.8)
    t = np.unique(np.round(np.geomspace(1, STEPS, 200)))
    panels[0].plot(t, step_factor(t), color="black", label="closed form")
    panels[0].axhline(1.0, color="grey", linewidth=0.8)
    figures.label(
        panels[0], x="step t", y="uncorrected step / corrected step", title="length of steps", log="x"
    )
    for axes, name in zip(panels[1:], HORIZONS, strict=True):
        sweep = results.sweep(name)
        points = [stats.interval(sweep.values(PLACE.name, v)) for v in sweep.variants]
        axes.set_xscale("log")
        figures.dots_with_intervals(axes, sweep.variants, points)
        figures.label(axes, x="gap at the end, tuned", title=name)
    return figure


def tables(results: Results) -> tuple[Table, ...]:
    """Measured error against its closed form, and the tuned training runs."""
    found = results.measurement("moments")
    rows = []
    for name, stream in STREAMS.items():
        for moment in judged(stream):
            for key, corrected in ((moment, False), (f"{moment} corrected", True)):
                errors = found.only(stream=name)[key]
                for share in SHARES.values():
                    t = at_share(moment, share)
                    column = errors[:, TIMES.index(t)]
                    low, mid, high = _rms_interval(column)
                    form = float(rms_error(stream, moment, np.array(t), corrected=corrected))
                    rows.append((name, key, str(t), with_interval((low, mid, high)), number(form)))
    return (
        Table(
            "Root-mean-square relative error of the moments, with 95% bootstrap intervals over seeds.",
            ("stream", "estimate", "step", "measured", "closed form"),
            tuple(rows),
        ),
        *(sweep_table(results.sweep(name), PLACE.name) for name in HORIZONS),
    )


def _rms_interval(errors: Array) -> stats.Interval:
    """Of `[R, COORDINATES]` errors: the root of the mean square and of its interval's ends."""
    estimate, low, high = stats.interval((errors**2).mean(axis=1), "mean")
    return math.sqrt(estimate), math.sqrt(low), math.sqrt(high)


STUDY = Study(
    id="bias-correction",
    title="Bias correction",
    question="Is it worth correcting the averages for having started at zero?",
    claim=(
        "m and v start at zero and need a few steps to catch up; dividing by 1 - beta^t gives them the boost "
        "that is missing while t is small, and vanishes once it is no longer needed."
    ),
    setup=(
        "Adam's own moments (beta1 = 0.9, beta2 = 0.999) along four stationary streams of gradients: steady "
        "(always 1), signal and noise (1 + normal noise), noise alone (no error of m: it estimates zero), "
        f"and rare (1 with probability 0.01, else 0); {COORDINATES} coordinates a seed, {STEPS} steps. "
        "Error of m and v, relative to E g and E g^2, with and without correction, against closed forms. "
        "Then training: a noisy bowl (curvatures 10 and 1, turned by 30 degrees, gradient noise 0.1 a "
        "coordinate), for 30 and for 1000 steps: Adam, Adam without correction, and the same with a warm-up; "
        "each tuned for the final gap."
    ),
    criterion=(
        "Early: at a tenth and at half of each moment's memory 1 / (1 - beta), on each stream, the corrected "
        "moment has a smaller mean squared relative error than the uncorrected one (paired difference below "
        f"0, 95% interval). Late: after {STEPS} steps correction changes each moment by less than 1%. Soon: "
        f"it does so after {SOON} steps already, our reading of 'a few steps'. Supported if all hold, "
        "refuted if none does, conditional otherwise. Training, all tuned, stands beside the verdict."
    ),
    mathematics=(
        (
            r"m_t = (1 - \beta)\sum_{s=1}^{t} \beta^{t-s} g_s, \qquad \mathrm{E}[m_t] = (1 - "
            r"\beta^t)\,\mathrm{E}[g]",
            "Kingma and Ba 2015, section 3, for a stationary gradient g: dividing by 1 − β^t removes "
            "the shrinkage, and multiplies the noise by the same factor. The same holds for v with g² "
            "in place of g.",
        ),
    ),
    would_change=(
        "A stream on which the corrected moment is worse early on by bias and not by noise, or a "
        "training in which the uncorrected, larger early steps win at a tuned rate over long runs too."
    ),
    plans={
        "tiny": Plan("tiny", steps=30, tuning_seeds=2, reporting_seeds=4),
        "quick": Plan("quick", steps=1000, tuning_seeds=20, reporting_seeds=100),
        "full": Plan("full", steps=1000, tuning_seeds=100, reporting_seeds=1000),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "errors",
            "Root-mean-square relative error of m and v, over all seeds and coordinates; dotted: closed "
            "forms. Where a dashed line lies below its solid one, correction makes the estimate worse.",
            "Two log-log panels over the step. Uncorrected errors start near 1; corrected errors start far "
            "above 1 for rare gradients, and lie below the uncorrected ones for steady gradients; all meet "
            "after tens of steps for m and thousands for v.",
            draw_errors,
        ),
        FigureSpec(
            "training",
            "Left: closed form. Middle and right: interquartile mean of the final gap over fresh seeds with "
            "95% bootstrap intervals, every variant tuned for that horizon.",
            "Left: the ratio of step lengths rises from 3.2 to 6.6 near step 12 and falls to 1 over "
            "thousands of steps. Right: dots with intervals for three variants at two horizons.",
            draw_training,
            part="controls",
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "An unbiased estimate need not be a good one: what of its noise?",
            "That is why the criterion asks for the error, not for the bias. With few samples correction "
            "multiplies bias and noise alike; the closed form says for which gradients it loses.",
        ),
        (
            "Does it matter in training, or does the learning rate make up for it?",
            "All are tuned, for 30 steps and for 1000; a warm-up in place of correction stands beside them.",
        ),
        (
            "How long is 'small t'?",
            f"Correction falls below 1% at step {vanishes('m')} for m and {vanishes('v')} for v: small means "
            "small against 1 / (1 - beta).",
        ),
    ),
    source="Kingma and Ba 2015, section 3.",
)
