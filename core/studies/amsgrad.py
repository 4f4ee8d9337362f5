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

import torch

from core.lab import stats
from core.lab.experiment import Array, Experiment
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from core.optim.rules import RULES
from core.problems.calm_valley import SPIKE_AT, SPIKES, descend
from core.problems.online import PROBLEMS, RULE_NAMES, SHORT, USUAL, play
from core.problems.streams import follow
from core.studies.amsgrad_online_verdict import (
    ARRIVES,
    CONVERGES,
    FAILS_HERE,
    FALLS,
    draw_memory,
    draw_online,
    draw_rates,
    iterate_findings,
    online_findings,
    online_table,
    trend_findings,
)
from core.studies.amsgrad_valley_verdict import (
    ERUPTS,
    STAYS,
    draw_valley,
    height_findings,
    price_findings,
    valley_findings,
    valley_table,
)

RATCHET = 2000


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
    online, valleys = online_findings(results), valley_findings(results)
    beside = [*trend_findings(results), *iterate_findings(results)]
    heights, price = height_findings(results), price_findings(results)
    ratchets = _ratchets(results)
    sentence = _sentence([*online, *beside], valleys, heights, price, ratchets[-1])
    fails, converges = (
        tally([f for f in online if f.text == text and SHORT in f.regime]) for text in (FAILS_HERE, CONVERGES)
    )
    erupts, stays = (tally([f for f in valleys if f.text == text]) for text in (ERUPTS, STAYS))
    short = (
        f"With short memory Adam fails on {fails} online problems (AMSGrad converges: {converges}); in calm "
        f"valleys it erupts in {erupts} (AMSGrad stays: {stays})."
    )
    return verdict([*online, *valleys, *beside, *heights, *price, *ratchets], sentence, short=short)


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
        f"{count(online, CONVERGES, SHORT)} and {count(online, CONVERGES, USUAL)}. Average regret more than "
        f"halves over the last nine tenths of the steps in {count(online, f'Adam: {FALLS}')} cases with Adam "
        f"and {count(online, f'AMSGrad: {FALLS}')} with AMSGrad; the point itself ends near the best one in "
        f"{count(online, f'Adam: {ARRIVES}')} and {count(online, f'AMSGrad: {ARRIVES}')}. In a calm valley "
        f"at a constant rate Adam comes down and erupts again in {count(valleys, ERUPTS)} settings (to "
        f"{max(f.effect for f in heights):.2g} lr, the largest median of a setting); AMSGrad stays down in "
        f"{count(valleys, STAYS)}. The ratchet's price: after an outlier AMSGrad reaches the minimum later "
        f"than Adam, or never, in {slower} of {len(price)}. With bias correction, as in torch, its "
        f"denominator {shrinks}."
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Online problems, and valleys."""
    return online_table(results), valley_table(results)


STUDY = Study(
    id="amsgrad",
    title="AMSGrad",
    question="Adam forgets: does never shrinking its denominator, as AMSGrad does, make it safer?",
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
        "constant or over sqrt(t), the best chosen on other seeds and marked in the table where it is the "
        "least or the largest of the nine. Valley: x^2 / 2 with exact gradients, "
        f"with and without one gradient that is off by {SPIKES['spike']:g} at step {SPIKE_AT}; beta2 0.99 "
        "and 0.999, three constant rates. No bias correction, as in the paper (it is over after 1 / (1 - "
        "beta2) steps)."
    ),
    criterion=(
        "Online problems, with lr / sqrt(t), for theorem 1's short memory and for the usual betas: Adam's "
        "average regret at the end is above a tenth of that of the worst player (always +1), AMSGrad's is "
        "below. Valleys, for each beta2, rate, with and without the spike: once come down, the largest "
        "abs(x) in 100 steps grows more than tenfold with Adam, and does not with AMSGrad. All with 95% "
        "intervals over starts. Supported if all hold, refuted if none does, conditional otherwise. Beside "
        "the verdict: whether average regret halves from a tenth of the steps to all of them; whether the "
        "last iterate is within a tenth of the interval of the best point; the height of eruptions; the "
        "steps to recover from the outlier; and whether AMSGrad's denominator shrinks after a spike at step "
        "1, with and without bias correction."
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
            "Above: average regret so far over that of always playing +1, with lr / sqrt(t) at the best lr "
            "of the grid; grey: a tenth, and (dotted) sitting at 0. Below: the iterate; grey: the best "
            "point. Means over fresh seeds with 95% bootstrap intervals.",
            "Two rows of four panels, a column a problem: average regret, and the iterate, over the step; "
            "four curves each, both rules with short memory (dashed) and with the usual betas (solid).",
            draw_online,
            part="learning curves",
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
        FigureSpec(
            "rates",
            "Average regret at the end over the learning rate, with lr / sqrt(t), on the tuning seeds: means "
            "with 95% bootstrap intervals. Rings: chosen; a square: the least or the largest rate tried. "
            "Grey: a tenth.",
            "Four panels, a curve for each rule with short memory (dashed) and with the usual betas (solid). "
            "Adam with short memory is near or above a half at every rate.",
            draw_rates,
            part="learning rates",
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
            "The best of nine is taken, on seeds of their own. Where the best is the smallest, to stay where "
            "one starts was best of all; the table marks rates at either end.",
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
