r"""Does Adam fail because it forgets large gradients, and does AMSGrad's ratchet cure it, at what price?

Why it fails (Reddi, Kale and Kumar 2018, theorem 1; beta1 = 0): large gradients C come every `period` steps,
-1 in between. With a short memory a large gradient meets a v that it makes itself, and moves x by about
`lr / sqrt(1 - beta2)` whatever C is, while each of the others moves x back by about lr: a step's length no
longer tells how much it matters. A long memory, 1 / (1 - beta2) above the period, or AMSGrad's maximum, gives
all of them the same denominator, and x follows the mean.

Why it erupts: in f(x) = x^2 / 2 gradients vanish near the minimum, v decays as beta2^t and no slower, and the
effective rate lr / (sqrt(v) + eps) grows until it passes the edge of stability of momentum,
`2 (1 + beta1) / (1 - beta1)` = 38: then x grows until v has noticed. From v_0 that takes about
`ln(38^2 v_0 / lr^2) / -ln(beta2)` steps. AMSGrad's denominator does not shrink.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array, Experiment
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.tables import number
from core.lab.verdict import Finding, Outcome, Verdict, finding, verdict
from core.optim.rules import RULES
from core.problems.calm_valley import (
    ERUPTION,
    LEAST,
    NEAR,
    SPIKE_AT,
    SPIKES,
    VALLEY,
    VALLEY_BETA2,
    WINDOW,
    descend,
    height,
    rise,
)
from core.problems.online import (
    PROBLEMS,
    SCHEDULES,
    SHORT,
    USUAL,
    betas,
    configurations,
    play,
    times,
)
from core.problems.streams import follow

RULE_NAMES = {"Adam": "adam", "AMSGrad": "amsgrad"}
CONVERGED = 0.1
RATCHET = 2000
DIVERGENT = 10.0


def ratchet(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:  # noqa: ARG001
    """AMSGrad's denominator along gradients of keyed signs and size 1, the first of size `SPIKES["spike"]`.

    Returns:
        `left` `[R]`: the denominator after `cell["steps"]` steps over the largest one so far.
    """
    first = torch.arange(cell["steps"]) == 0
    stream = (
        keys.fold("sign").at(t).signs(1, dtype=torch.float64) * (SPIKES["spike"] if first[t] else 1.0)
        for t in range(cell["steps"])
    )
    largest = torch.zeros(len(keys), 1, dtype=torch.float64, device=keys.device)
    corrected = cell["bias_correction"]
    for t, (_, state) in enumerate(follow(RULES["amsgrad"], stream, bias_correction=corrected), start=1):
        denominator = (state.max_exp_avg_sq / (1 - 0.999**t if corrected else 1.0)).sqrt()
        largest = torch.maximum(largest, denominator)
    return {"left": (denominator / largest)[:, 0].cpu().numpy()}


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """Online: rates chosen on seeds of their own, reported on others. Valleys: with and without a spike."""
    online = tuple(
        {"rule": RULE_NAMES[rule], "problem": problem, "stage": stage, "steps": plan.steps}
        for rule in RULE_NAMES
        for problem in PROBLEMS
        for stage in ("tune", "report")
    )
    valleys = tuple(
        {"rule": RULE_NAMES[r], "spike": s, "steps": plan.sizes["valley"]} for r in RULE_NAMES for s in SPIKES
    )
    ratchets = tuple({"bias_correction": corrected, "steps": RATCHET} for corrected in (False, True))
    seeds = plan.reporting_seeds
    return (
        Measurement("online", "amsgrad", play, online, seeds, cost=plan.steps),
        Measurement("ratchet", "amsgrad", ratchet, ratchets, seeds, cost=RATCHET),
        Measurement("valley", "amsgrad", descend, valleys, seeds, cost=plan.sizes["valley"]),
    )


def chosen(results: Results, rule: str, problem: str, pair: str, schedule: str) -> int:
    """The configuration whose learning rate has the least mean regret on the tuning seeds."""
    tuned = results.measurement("online").only(rule=RULE_NAMES[rule], problem=problem, stage="tune")["share"][
        :, :, -1
    ]
    score = tuned.mean(axis=0)
    inside = [i for i, c in enumerate(configurations(problem)) if c[:2] == (pair, schedule)]
    return min(inside, key=lambda i: float(score[i]))


def _share(results: Results, rule: str, problem: str, pair: str, schedule: str) -> Array:
    """`[R, times]` on the reporting seeds, at the chosen rate."""
    found = results.measurement("online").only(rule=RULE_NAMES[rule], problem=problem, stage="report")[
        "share"
    ]
    share: Array = found[:, chosen(results, rule, problem, pair, schedule)]
    return share


FAILS_HERE = "Adam does not converge: its average regret stays above a tenth of the worst player's"
CONVERGES = "AMSGrad converges: its average regret falls below a tenth of the worst player's"
ERUPTS = "Adam erupts: having come down, abs(x) grows more than tenfold"
STAYS = "AMSGrad stays down: abs(x) does not grow tenfold"


def _online(results: Results) -> list[Finding]:
    return [
        finding(
            f"{problem}, {pair}",
            stats.interval(_share(results, rule, problem, pair, "1/sqrt(t)")[:, -1], "mean"),
            above=CONVERGED if rule == "Adam" else None,
            below=None if rule == "Adam" else CONVERGED,
            replicas=results.plan.reporting_seeds,
            text=FAILS_HERE if rule == "Adam" else CONVERGES,
            unit="of the worst regret",
        )
        for rule in RULE_NAMES
        for problem in PROBLEMS
        for pair in (SHORT, USUAL)
    ]


def _valleys(results: Results) -> list[Finding]:
    rows = []
    for rule, (spike, (beta2, lr)) in product(RULE_NAMES, product(SPIKES, VALLEY)):
        envelope = results.measurement("valley").only(rule=RULE_NAMES[rule], spike=spike)["envelope"]
        rows.append(
            finding(
                f"valley, {spike}, beta2 = {beta2:g}, lr = {lr:g}",
                stats.interval(rise(envelope[:, VALLEY.index((beta2, lr))]), "median"),
                above=ERUPTION if rule == "Adam" else None,
                below=None if rule == "Adam" else ERUPTION,
                replicas=results.plan.reporting_seeds,
                text=ERUPTS if rule == "Adam" else STAYS,
                unit="x",
            )
        )
    return rows


def _price(results: Results) -> list[Finding]:
    """Steps to come near the minimum after an outlier."""
    near = {
        r: results.measurement("valley").only(rule=RULE_NAMES[r], spike="spike")["near"] for r in RULE_NAMES
    }
    return [
        finding(
            f"valley, spike, beta2 = {beta2:g}, lr = {lr:g}",
            stats.ratio(near["AMSGrad"][:, i], near["Adam"][:, i], "median"),
            below=1.0,
            replicas=results.plan.reporting_seeds,
            text=f"AMSGrad is within {NEAR:g} of the minimum for good in fewer steps than Adam",
            unit="x the steps",
            decisive=False,
        )
        for i, (beta2, lr) in enumerate(VALLEY)
    ]


def _heights(results: Results) -> list[Finding]:
    """How far an eruption goes."""
    rows = []
    for spike, (i, (beta2, lr)) in product(SPIKES, enumerate(VALLEY)):
        envelope = results.measurement("valley").only(rule="adam", spike=spike)["envelope"][:, i]
        rows.append(
            finding(
                f"valley, {spike}, beta2 = {beta2:g}, lr = {lr:g}",
                stats.interval(height(envelope) / lr, "median"),
                below=DIVERGENT,
                replicas=results.plan.reporting_seeds,
                text=f"Adam's eruptions stay within {DIVERGENT:g} lr of the minimum",
                unit="lr",
                decisive=False,
            )
        )
    return rows


def _ratchets(results: Results) -> list[Finding]:
    """Does the denominator never shrink, as torch computes it too?"""
    return [
        finding(
            "spike at step 1, "
            f"{'bias-corrected as in torch' if corrected else 'uncorrected as in the paper'}",
            stats.interval(results.measurement("ratchet").only(bias_correction=corrected)["left"], "median"),
            above=0.999,
            replicas=results.plan.reporting_seeds,
            text=f"after {RATCHET} steps AMSGrad's denominator is the largest it has been",
            unit="of the largest",
            decisive=False,
        )
        for corrected in (False, True)
    ]


def judge(results: Results) -> Verdict:
    """Adam fails, and AMSGrad does not: on online problems and in valleys."""
    online, valleys = _online(results), _valleys(results)
    heights, price = _heights(results), _price(results)
    ratchets = _ratchets(results)
    sentence = _sentence(online, valleys, heights, price, ratchets[-1])
    return verdict([*online, *valleys, *heights, *price, *ratchets], sentence)


def _sentence(
    online: list[Finding],
    valleys: list[Finding],
    heights: list[Finding],
    price: list[Finding],
    in_torch: Finding,
) -> str:
    def count(findings: list[Finding], text: str, part: str = "") -> str:
        inside = [f for f in findings if f.text == text and part in f.regime]
        return f"{sum(f.outcome is Outcome.HOLDS for f in inside)} of {len(inside)}"

    holds = in_torch.outcome is Outcome.HOLDS
    shrinks = (
        "never shrinks"
        if holds
        else f"does shrink: after a spike at step 1 to {in_torch.effect:.2g} of itself"
    )
    slower = sum(f.outcome is Outcome.FAILS for f in price)
    return (
        f"With a rate of 1/sqrt(t), the best of a grid, Adam fails on {count(online, FAILS_HERE, SHORT)} of "
        "the online problems with a memory shorter than the gap between large gradients, and on "
        f"{count(online, FAILS_HERE, USUAL)} with its usual betas; AMSGrad converges on "
        f"{count(online, CONVERGES, SHORT)} and {count(online, CONVERGES, USUAL)}. In a calm valley at a "
        f"constant rate Adam comes down and erupts again in {count(valleys, ERUPTS)} settings (by "
        f"{max(f.effect for f in heights):.2g} lr at most); AMSGrad stays down in {count(valleys, STAYS)}. "
        "The ratchet's price: after an outlier AMSGrad reaches the minimum later than Adam, or never, in "
        f"{slower} of {len(price)}. With bias correction, as in torch, its denominator {shrinks}."
    )


def draw_online(results: Results) -> Figure:
    """Average regret over steps, a panel a problem, with short memory and with the usual betas."""
    figure, panels = figures.new_figure(rows=2, columns=2, height=6.2, width=9.6, sharey=True)
    for axes, problem in zip(panels, PROBLEMS, strict=True):
        steps = np.array(times(results.plan.steps))
        for rule, pair in product(RULE_NAMES, (SHORT, USUAL)):
            name = f"{rule}, {pair}"
            look = figures.line(rule)
            look["linestyle"] = "--" if pair == SHORT else "-"
            share = _share(results, rule, problem, pair, "1/sqrt(t)")
            figures.curves_with_intervals(axes, steps, share, name, "mean", look=look)
        axes.axhline(CONVERGED, color="grey", linewidth=0.8)
        axes.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
        figures.label(axes, x="step", y="average regret / worst", title=problem, log="x")
        axes.set_ylim(-0.1, 1.5)
    figures.legend_below(figure)
    return figure


def draw_memory(results: Results) -> Figure:
    """Final average regret against beta2 (beta1 = 0), for both rules and schedules."""
    figure, panels = figures.new_figure(columns=len(PROBLEMS), height=3.4, width=10.8, sharey=True)
    for axes, problem in zip(panels, PROBLEMS, strict=True):
        pairs = {p: b2 for p, (b1, b2) in betas(problem).items() if b1 == 0}
        for rule, schedule in product(RULE_NAMES, SCHEDULES):
            look = figures.line(rule)
            look["linestyle"] = "--" if schedule == "constant" else "-"
            ends = [_share(results, rule, problem, p, schedule)[:, -1].mean() for p in pairs]
            memory = [1 / (1 - b2) for b2 in pairs.values()]
            axes.plot(memory, ends, **look, label=f"{rule}, lr {schedule}")
        axes.axvline(PROBLEMS[problem]["period"], color="grey", linewidth=0.8, linestyle=":")
        axes.axhline(CONVERGED, color="grey", linewidth=0.8)
        figures.label(axes, x="memory 1 / (1 - beta2)", y="average regret / worst", title=problem, log="x")
    figures.legend_below(figure)
    return figure


def draw_valley(results: Results) -> Figure:
    """The envelope of abs(x) over steps, with and without a spike, at lr 0.01."""
    figure, panels = figures.new_figure(columns=2, height=4.0, width=9.6, sharey=True)
    for axes, spike in zip(panels, SPIKES, strict=True):
        for rule, beta2 in product(RULE_NAMES, VALLEY_BETA2):
            envelope = results.measurement("valley").only(rule=RULE_NAMES[rule], spike=spike)["envelope"]
            first = np.maximum(envelope[0, VALLEY.index((beta2, 0.01))], LEAST)
            look = figures.line(rule)
            look["linestyle"] = "--" if beta2 == VALLEY_BETA2[0] else "-"
            steps = WINDOW * (1 + np.arange(len(first)))
            every = max(1, len(first) // 8)
            axes.plot(steps, first, **look, markevery=every, label=f"{rule}, beta2 = {beta2:g}")
        figures.label(axes, x="step", y=f"largest |x| in {WINDOW} steps", title=spike, log="y")
    figures.legend_below(figure)
    return figure


def tables(results: Results) -> tuple[Table, ...]:
    """Average regret and chosen rate of every pair and schedule; rises and steps in the valley."""
    online, valleys = [], []
    for problem in PROBLEMS:
        for (pair, (beta1, beta2)), schedule in product(betas(problem).items(), SCHEDULES):
            cells: list[str] = []
            for rule in RULE_NAMES:
                rate = configurations(problem)[chosen(results, rule, problem, pair, schedule)][2]
                end = float(_share(results, rule, problem, pair, schedule)[:, -1].mean())
                cells += [number(end), f"{rate:g}"]
            online.append((problem, f"{beta1:g}", number(beta2), schedule, *cells))
    for spike, (i, (beta2, lr)) in product(SPIKES, enumerate(VALLEY)):
        cells = []
        for rule in RULE_NAMES:
            arrays = results.measurement("valley").only(rule=RULE_NAMES[rule], spike=spike)
            cells += [number(float(np.median(rise(arrays["envelope"][:, i]))))]
            cells += [number(float(np.median(arrays["near"][:, i])))]
        valleys.append((spike, f"{beta2:g}", f"{lr:g}", *cells))
    heads = [f"{r}: {what}" for r in RULE_NAMES for what in ("regret / worst", "best lr")]
    valley_heads = [f"{r}: {what}" for r in RULE_NAMES for what in ("rise", "steps")]
    return (
        Table(
            "Online problems: average regret over that of the worst player, mean over fresh seeds, at the "
            "learning rate that was best on others.",
            ("problem", "beta1", "beta2", "lr", *heads),
            tuple(online),
        ),
        Table(
            f"Valley: largest rise of the envelope, and steps until abs(x) stays within {NEAR:g}; medians.",
            ("gradient", "beta2", "lr", *valley_heads),
            tuple(valleys),
        ),
    )


STUDY = Study(
    id="amsgrad",
    title="AMSGrad",
    claim=(
        "After a spike followed by small gradients Adam forgets the spike, its denominator shrinks and its "
        "steps grow, which can make it unstable or divergent. AMSGrad divides by the largest second moment "
        "so far: its denominator never shrinks, so it stays stable and provably converges."
    ),
    setup=(
        "Online linear problems c_t x on [-1, 1] after Reddi et al.: c_t = C every third "
        "step and -1 otherwise (C = 4 and 10), C = 40 every 21st step, and C = 10 at random with "
        "probability 1/6; the best point is -1. Adam and AMSGrad with beta1 = 0 and beta2 of theorem 1, 1 "
        "/ (1 + C^2), 0.5, 0.9, 0.99, 0.999, and with the usual betas; nine learning rates from 1e-4 to 1, "
        "constant or over sqrt(t), the best chosen on other seeds. Valley: x^2 / 2 with exact gradients, "
        f"with and without one gradient that is off by {SPIKES['spike']:g} at step {SPIKE_AT}; beta2 0.99 "
        "and 0.999, three constant rates. No bias correction, as in the paper (it is over after 1 / (1 - "
        "beta2) steps)."
    ),
    criterion=(
        "Online problems, with lr / sqrt(t), for theorem 1's short memory and for the usual betas: Adam's "
        "average regret at the end is above a tenth of that of the worst player (always +1), AMSGrad's is "
        "below. Valleys, for each beta2, rate, with and without the spike: once come down, the largest "
        "abs(x) in 100 steps grows more than tenfold with Adam, and does not with AMSGrad. All with 95% "
        "intervals over starts. Supported if all hold, refuted if none does, conditional otherwise. The "
        "height of eruptions, the steps to recover from the outlier, and whether AMSGrad's denominator "
        "shrinks after a spike at step 1, with and without bias correction, stand beside the verdict."
    ),
    mathematics=(
        (
            r"\hat v_t = \max(\hat v_{t-1},\, v_t), \qquad x_{t+1} = x_t - \frac{\eta}{\sqrt "
            r"t}\,\frac{m_t}{\sqrt{\hat v_t}}",
            "Reddi, Kale and Kumar 2018, algorithm 2: the denominator never shrinks. Their v̂ is a "
            "maximum, not a bias correction; torch takes the maximum after it has corrected the bias, "
            "and then it can shrink.",
        ),
        (
            r"\frac{R_T}{T} = \frac{1}{T}\sum_{t=1}^{T} \left(f_t(x_t) - f_t(x^*)\right)",
            "The average regret against the best fixed point x*: an algorithm converges if it goes to zero.",
        ),
    ),
    would_change=(
        "An online problem on which Adam with its usual betas fails at every rate of the grid, or a "
        "valley in which eruptions cost more than a few learning rates: then the ratchet would be "
        "worth its price in practice."
    ),
    plans={
        "tiny": Plan("tiny", steps=200, tuning_seeds=4, reporting_seeds=4, sizes={"valley": 1500}),
        "quick": Plan("quick", steps=2000, tuning_seeds=20, reporting_seeds=20, sizes={"valley": 20_000}),
        "full": Plan("full", steps=20_000, tuning_seeds=100, reporting_seeds=100, sizes={"valley": 60_000}),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "online",
            "Average regret so far over that of always playing +1, with lr / sqrt(t) at the best lr of the "
            "grid; mean over fresh seeds with 95% bootstrap intervals. Grey: a tenth, and (dotted) sitting "
            "at 0.",
            "Four panels. Adam with short memory stays near a half in all; AMSGrad, and Adam with its usual "
            "betas, fall towards zero.",
            draw_online,
        ),
        FigureSpec(
            "memory",
            "Average regret at the end against Adam's memory, beta1 = 0, at the best learning rate. Dotted: "
            "the gap between large gradients. Grey: a tenth.",
            "Four panels. Adam's regret falls from above a half to near zero as its memory passes the gap; "
            "AMSGrad's is low throughout.",
            draw_memory,
            part="regimes",
        ),
        FigureSpec(
            "valley",
            "Largest abs(x) in each 100 steps, one start, lr = 0.01 (sizes below 1e-12 are drawn there).",
            "Two panels. Adam falls to tiny values and jumps up again, again and again; AMSGrad falls and "
            "stays, more slowly after a spike.",
            draw_valley,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Does anybody use beta2 = 1 / (1 + C^2)?",
            "No: the theorem needs a memory shorter than the gap between large gradients. The grid of beta2 "
            "shows where Adam turns, and the usual betas are judged beside the theorem's.",
        ),
        (
            "Would another learning rate save Adam?",
            "The best of nine is taken, on seeds of their own. With short memory the best is the smallest: "
            "to stay where one starts.",
        ),
        (
            "Does Adam need a spike to erupt?",
            "No. Gradients that vanish are enough; the valley without a spike is judged as well.",
        ),
        (
            "Does AMSGrad's denominator never shrink?",
            "Not as torch computes it: the maximum is taken before bias correction, which then takes a "
            "spike at step 1 down to sqrt(1 - beta2) of itself. Shown beside the verdict.",
        ),
        (
            "Is a denominator that never shrinks free of charge?",
            "No: an outlier stays in it for good. Steps to recover stand beside the verdict.",
        ),
    ),
    source="Reddi, Kale and Kumar 2018, theorems 1 and 3; Cohen et al. 2022 (edge of stability of Adam).",
)
