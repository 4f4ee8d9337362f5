r"""What does eps save, in which number type, and what else does low precision break?

In exact arithmetic Adam's step does not depend on the size of the gradients when eps = 0, and is at most
`(1-beta1) / sqrt((1-beta2)(1 - beta1^2/beta2))` = 7.27 lr (study `memory`): small gradients alone make no
step large. Only a gradient that is exactly zero from the start gives 0 / 0. In a number type with a smallest
positive number s, `(1 - beta2) g^2` rounds to zero below `g = sqrt(s / (2 (1 - beta2)))` while m does not:
then a step is m / eps, and infinite where eps = 0, or where the type rounds eps to 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array, Experiment
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.tables import number
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from core.optim.rules import RULES
from core.problems.streams import follow
from core.studies.epsilon_lost import PARAMETERS, USUAL, draw_lost, keeps, walked
from core.studies.epsilon_lost import STEPS as WALKED

TYPES: dict[str, tuple[torch.dtype, torch.dtype]] = {
    "float64": (torch.float64, torch.float64),
    "float32": (torch.float32, torch.float32),
    "bfloat16, moments float32": (torch.bfloat16, torch.float32),
    "bfloat16 throughout": (torch.bfloat16, torch.bfloat16),
    "float16, moments float32": (torch.float16, torch.float32),
    "float16 throughout": (torch.float16, torch.float16),
}
"""Of parameters and gradients, and of the moments."""
SEEDS = "epsilon/2"
"""Of the second run: the first had judged eps = 0 on small gradients too."""
EPSILONS = (0.0, 1e-16, 1e-12, 1e-8, 1e-4)
DEFAULT = 1e-8
LR = 1e-3
EXPONENTS = tuple(range(-30, 1))
SIZES = (0.0, *(10.0**e for e in EXPONENTS))
ZONES = {"exactly zero": (0.0, 0.0), "near zero": (1e-30, 2e-9), "small": (0.9e-8, 2e-3)}
COORDINATES = 4
GIGANTIC = 8.0
"""More than any step can be in exact arithmetic, over lr."""
BEFORE, FADED = 500, 0.01
MOMENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 3000, 4000)


def smallest_positive(dtype: torch.dtype) -> float:
    """The least number above zero (a subnormal one)."""
    info = torch.finfo(dtype)
    return info.smallest_normal * info.eps


def vanishing_square(dtype: torch.dtype, beta2: float = 0.999) -> float:
    """Below this gradient v, kept in `dtype`, is exactly zero."""
    return math.sqrt(smallest_positive(dtype) / (2 * (1 - beta2)))


def step_sizes(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:
    """Adam on gradients of keyed signs and magnitudes (1 to 3 times each of `SIZES`).

    Returns:
        `largest` `[R, SIZES]`: the largest step over lr in any step and coordinate, inf where one is not
        finite; `lost` `[R, SIZES]`: the share of steps that are not finite; `typical` `[R, SIZES]`: the mean
        size of the last step over lr (NaN where it is not finite).
    """
    dtype, state_dtype = TYPES[cell["type"]]
    scale = torch.tensor(SIZES, dtype=torch.float64, device=device)[:, None]
    seeds, shape = len(keys), (len(SIZES), COORDINATES)
    largest = torch.zeros(seeds, len(SIZES), dtype=torch.float64, device=device)
    lost = torch.zeros_like(largest)
    typical = torch.zeros_like(largest)

    def gradient(step: int) -> torch.Tensor:
        unit = 1.0 + 2.0 * keys.fold("magnitude").at(step).uniform(*shape, dtype=torch.float64)
        signs = keys.fold("sign").at(step).signs(*shape, dtype=torch.float64)
        return (scale * unit * signs).flatten(1).to(dtype)

    stream = (gradient(t) for t in range(cell["steps"]))
    for descent, _ in follow(RULES["adam"], stream, lr=LR, state_dtype=state_dtype, eps=cell["eps"]):
        size = (descent.double().abs() / LR).view(seeds, *shape)
        finite = torch.isfinite(size)
        largest = torch.maximum(largest, torch.where(finite, size, math.inf).amax(dim=2))
        lost += (~finite).double().mean(dim=2) / cell["steps"]
        typical = size.mean(dim=2)
    kept = {"largest": largest, "lost": lost, "typical": typical}
    return {name: value.cpu().numpy() for name, value in kept.items()}


def fading(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:
    """Gradients of sizes near 1 for `BEFORE` steps, `FADED` times as large from then on, all of one sign.

    Returns:
        `size` `[R, MOMENTS]`: the mean step over lr, so many steps after the change.
    """
    dtype, state_dtype = TYPES[cell["type"]]
    unit = 0.5 + keys.fold("fading").uniform(COORDINATES, dtype=torch.float64).to(device)
    stream = ((unit * (1.0 if t < BEFORE else FADED)).to(dtype) for t in range(BEFORE + MOMENTS[-1]))
    kept = []
    steps = follow(RULES["adam"], stream, lr=LR, state_dtype=state_dtype)
    for t, (descent, _) in enumerate(steps, start=1 - BEFORE):
        if t in MOMENTS:
            kept.append((descent.double() / LR).mean(dim=1))
    return {"size": torch.stack(kept, dim=1).cpu().numpy()}


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """Every type with every eps on small gradients; on fading ones; and with steps that rounding swallows."""
    cells = tuple({"type": t, "eps": eps, "steps": plan.steps} for t in TYPES for eps in EPSILONS)
    types = tuple({"type": t} for t in TYPES)
    seeds = plan.reporting_seeds
    return (
        Measurement("sizes", SEEDS, step_sizes, cells, seeds, cost=plan.steps),
        Measurement("fading", SEEDS, fading, types, seeds, cost=BEFORE + MOMENTS[-1]),
        Measurement("lost", SEEDS, walked, tuple({"type": t} for t in PARAMETERS), seeds, cost=WALKED),
    )


def in_zone(zone: str) -> list[int]:
    """The places in `SIZES` that belong to a zone."""
    low, high = ZONES[zone]
    return [i for i, size in enumerate(SIZES) if low <= size <= high]


def _largest(results: Results, name: str, eps: float, zone: str) -> stats.Interval:
    found = results.measurement("sizes").only(type=name, eps=eps)["largest"]
    return stats.interval(found[:, in_zone(zone)].max(axis=1), "median")


SAFE = f"with eps = 1e-8 no step is larger than {GIGANTIC:g} lr or not finite"
NEEDED = f"without eps a step is larger than {GIGANTIC:g} lr or not finite"


def judge(results: Results) -> Verdict:
    """Is eps needed, and is it enough? By zone and type."""
    seeds = results.plan.reporting_seeds
    findings = [
        finding(
            f"{zone}, {name}",
            _largest(results, name, eps, zone),
            above=GIGANTIC if eps == 0 else None,
            below=None if eps == 0 else GIGANTIC,
            replicas=seeds,
            text=NEEDED if eps == 0 else SAFE,
            unit="lr",
            decisive=not (eps == 0 and zone == "small"),
        )
        for eps in (0.0, DEFAULT)
        for zone in ZONES
        for name in TYPES
    ]
    reference = results.measurement("fading").only(type="float64")["size"][:, -1]
    beside = [
        finding(
            f"fading gradients, {name}",
            stats.ratio(results.measurement("fading").only(type=name)["size"][:, -1], reference, "median"),
            above=0.5,
            replicas=seeds,
            text=f"{MOMENTS[-1]} steps after gradients shrank to 1%, the step is at least half of float64's",
            unit="x float64's",
            decisive=False,
        )
        for name in list(TYPES)[1:]
    ]
    lost = keeps(results)
    needed, safe = ([f for f in findings if f.decisive and f.text == text] for text in (NEEDED, SAFE))
    short = (
        f"Without eps steps become huge or not finite in {tally(needed)} cases of vanishing gradients and "
        f"number types; with eps = {DEFAULT:g} they stay bounded in {tally(safe)}."
    )
    ordered = sorted(findings, key=lambda f: not f.decisive)
    return verdict([*ordered, *beside, *lost], _sentence(findings, beside, lost), short=short)


def rounds_to_zero(name: str, zone: str) -> bool:
    """Whether a type loses v on a zone's gradients, by `vanishing_square`: it breaks there without eps."""
    sizes = [SIZES[i] for i in in_zone(zone)]
    return min(sizes) < vanishing_square(TYPES[name][1])


def keeps_v(name: str) -> bool:
    """Whether a v in the type's moments is stuck: 0.999 of it is rounded to itself."""
    v = torch.ones((), dtype=TYPES[name][1])
    return bool(v * 0.999 == v)


def _sentence(findings: list[Finding], beside: list[Finding], lost: list[Finding]) -> str:
    def types(text: str, zone: str, outcome: Outcome) -> str:
        found = [
            _type(f)
            for f in findings
            if f.text == text and f.regime.startswith(f"{zone},") and f.outcome is outcome
        ]
        return "every type" if len(found) == len(TYPES) else "; ".join(found) or "no type"

    broken = sorted({_type(f) for f in findings if f.text == SAFE and f.outcome is Outcome.FAILS})
    breaks = [f for f in findings if f.text == NEEDED and f.regime.startswith("near zero,")]
    foreseen = all(
        f.outcome is (Outcome.HOLDS if rounds_to_zero(_type(f), "near zero") else Outcome.FAILS)
        for f in breaks
    )
    why = ", which is where squares round to zero" if foreseen else ""
    return (
        "Without eps a gradient that is exactly zero breaks "
        f"{types(NEEDED, 'exactly zero', Outcome.HOLDS)}; gradients near zero break "
        f"{types(NEEDED, 'near zero', Outcome.HOLDS)}{why}, and steps stay bounded there without any eps in "
        f"{types(NEEDED, 'near zero', Outcome.FAILS)}. eps = 1e-8 is not enough for: "
        f"{'; '.join(broken) or 'none'} (float16 rounds it to "
        f"{float(torch.tensor(DEFAULT, dtype=torch.float16)):g}). {_stuck(beside)} {_swallowed(lost)}"
    )


def _type(f: Finding) -> str:
    return f.regime.partition(", ")[2]


def _stuck(beside: list[Finding]) -> str:
    """Whether v follows gradients that shrink, and whether it is what the type's rounding foretells."""
    stuck = [_type(f) for f in beside if f.outcome is Outcome.FAILS]
    foreseen = stuck == [name for name in TYPES if keeps_v(name)] != []
    why = ", whose v cannot decay" if foreseen else ""
    types = "; ".join(stuck) or "no type"
    return f"With it, after gradients shrank to 1%, steps stay too small in {types}{why}."


def _swallowed(lost: list[Finding]) -> str:
    """Where parameters do not take the step at all."""
    gone = "; ".join(_type(f) for f in lost if f.outcome is Outcome.FAILS)
    if not gone:
        return f"No type loses steps of lr = {USUAL:g} on parameters of size 1."
    return f"No eps helps where a step of {USUAL:g} on a parameter of size 1 is rounded away: {gone}."


def draw_sizes(results: Results) -> Figure:
    """Largest step against the gradient's size, a panel a type, a line an eps."""
    figure, panels = figures.new_figure(rows=2, columns=3, height=6.2, width=10.8, sharey=True)
    names = [f"eps = {eps:g}" for eps in EPSILONS]
    looks = figures.lines(names)
    top = 1e12
    x = np.array([1e-31, *SIZES[1:]])  # zero is drawn one decade below the least size
    for axes, name in zip(panels, TYPES, strict=True):
        for number_, (label, eps) in enumerate(zip(names, EPSILONS, strict=True)):
            largest = np.median(results.measurement("sizes").only(type=name, eps=eps)["largest"], axis=0)
            shown = np.isfinite(largest) & (largest > 0)
            axes.plot(x, np.where(shown, largest, np.nan), **looks[label], markevery=5, label=label)
            lost = ~np.isfinite(largest)
            height = np.full(int(lost.sum()), top * 30.0 ** (-number_))
            axes.plot(x[lost], height, linestyle="", marker="x", markersize=4, color=looks[label]["color"])
        axes.axhline(GIGANTIC, color="grey", linewidth=0.8)
        figures.label(axes, x="size of the gradient", y="largest step / lr", title=name, log="xy")
        axes.set_xlim(2e-32, 5.0)
        axes.set_ylim(1e-9, 10 * top)
    figures.legend_below(figure)
    return figure


def draw_fading(results: Results) -> Figure:
    """Steps after gradients shrank to a hundredth, by type."""
    figure, (axes,) = figures.new_figure(height=4.2, width=7.2)
    looks = figures.lines(TYPES)
    for name in TYPES:
        size = np.median(results.measurement("fading").only(type=name)["size"], axis=0)
        look: dict[str, Any] = {**looks[name], "linestyle": ":" if "moments" in name else "-"}
        axes.plot(MOMENTS, size, **look, label=name)
    figures.label(axes, x="steps since gradients shrank to 1%", y="step / lr", log="xy")
    figures.legend_below(figure)
    return figure


def tables(results: Results) -> tuple[Table, ...]:
    """Share of steps that are not finite, and the largest step, by type, eps and zone."""
    rows = []
    for name in TYPES:
        for eps in EPSILONS:
            arrays = results.measurement("sizes").only(type=name, eps=eps)
            cells = []
            for zone in ZONES:
                inside = in_zone(zone)
                share = float(arrays["lost"][:, inside].mean())
                cells += [f"{share:.1%}", number(float(np.median(arrays["largest"][:, inside].max(axis=1))))]
            rows.append((name, f"{eps:g}", *cells))
    heads = [head for zone in ZONES for head in (f"{zone}: not finite", "largest step / lr")]
    return (
        Table(
            "Share of steps that are not finite, and the median over seeds of the largest step, by the size "
            "of gradients (near zero: 1e-30 to 1e-9; small: 1e-8 to 1e-3).",
            ("type", "eps", *heads),
            tuple(rows),
        ),
    )


STUDY = Study(
    id="epsilon",
    title="Epsilon",
    question="What does the small number in the denominator protect against, and which one should I take?",
    claim=(
        "eps puts a floor under the denominator. Without it, tiny gradients would make the effective rate "
        "explode into gigantic steps; with it, steps stay bounded and vanish gracefully; in low precision, "
        "where small numbers round to zero, eps alone saves the optimizer from dividing by zero."
    ),
    setup=(
        "Adam with lr = 1e-3 on gradients of keyed signs whose sizes are exactly zero, or 1e-30 to 1 by "
        "decades (a type rounds those it cannot hold to zero), in float64, float32, bfloat16 and float16 "
        "parameters; for the last two with moments in float32 (the default) and in the parameters' type; eps "
        "in {0, 1e-16, 1e-12, 1e-8, 1e-4}. Measured: share of steps not finite, largest step over lr. Beside "
        "it: whether v follows gradients that shrink to 1%, and what parameters from 1 to 2 take of steps."
    ),
    criterion=(
        "In each of six combinations of types. Needed, for gradients that are exactly zero and near zero "
        f"(1e-30 to 1e-9): with eps = 0 the largest step exceeds {GIGANTIC:g} lr (exact arithmetic allows "
        "7.3) or is not finite. Enough, for those and for small gradients (1e-8 to 1e-3): with eps = 1e-8 "
        f"every step is finite and at most {GIGANTIC:g} lr. Median over seeds with 95% interval. Supported "
        "if all hold, refuted if none does, conditional otherwise. Beside the verdict, since the claim does "
        "not speak of them: whether small gradients need eps, which the first run judged too (fresh seeds "
        "since); whether steps recover when gradients shrink; and whether a parameter of size 1 takes the "
        f"steps of lr = {USUAL:g} that it is given."
    ),
    mathematics=(
        (
            r"\Delta\theta_t = \eta\,\frac{\hat m_t}{\sqrt{\hat v_t} + \varepsilon}",
            "Kingma and Ba 2015, algorithm 1. With ε = 0 a gradient that is exactly zero gives 0 / 0.",
        ),
        (
            r"\frac{|\Delta\theta_t|}{\eta} \le \frac{1 - \beta_1}{\sqrt{(1 - \beta_2)(1 - "
            r"\beta_1^2 / \beta_2)}} \approx 7.3",
            "By Cauchy and Schwarz, in exact arithmetic, for large t and any gradients, with ε = 0: tiny "
            "gradients do not make steps explode. What breaks them is a square that rounds to zero.",
        ),
    ),
    would_change=(
        "A stream of tiny, not vanishing gradients in float64 that makes a step larger than the "
        "bound, or a type without low-precision moments in which the usual ε of 1e-8 is not enough."
    ),
    plans={
        "tiny": Plan("tiny", steps=30, tuning_seeds=0, reporting_seeds=4),
        "quick": Plan("quick", steps=300, tuning_seeds=0, reporting_seeds=20),
        "full": Plan("full", steps=3000, tuning_seeds=0, reporting_seeds=100),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "sizes",
            "Largest step over lr against the size of the gradients (median over seeds; leftmost point: "
            "exactly zero). Crosses, at heights that only keep eps apart: a step was not finite. Grey: more "
            "than exact arithmetic allows.",
            "Six panels. In float64 steps are about 1 for all sizes above eps. In float32 eps = 0 fails "
            "below 1e-21. In float16 throughout, eps up to 1e-8 fails for all gradients below about 0.005.",
            draw_sizes,
        ),
        FigureSpec(
            "fading",
            "Mean step over lr after gradients shrank to 1%, with eps = 1e-8 (median over seeds). Types "
            "whose v follows share one curve.",
            "One panel: all curves fall to 0.01 and rise again, except that of bfloat16 throughout.",
            draw_fading,
            part="regimes",
        ),
        FigureSpec(
            "lost",
            "What parameters between 1 and 2 have gone over what their steps add up to, with eps = 1e-8 and "
            "moments in float32 at least (marks: median over seeds; dotted: closed form). Zero: p + step == "
            "p. Grey: the usual rate.",
            "One panel: float64 and float32 stay at 1. bfloat16 is at 0 below 0.004 and near 1 above, "
            "float16 at 0 below 0.0005; just above its border a step is rounded up to twice its length.",
            draw_lost,
            part="controls",
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is it eps, or the type of the moments, that saves low precision?",
            "Both are varied: with moments in float32, float16 parameters are safe with eps = 1e-8; with "
            "moments in float16 the same eps is rounded to zero and saves nothing.",
        ),
        (
            "Is a larger eps the cure?",
            "The grid goes to 1e-4: finite in every type, but where v rounds to zero the step is m / eps, "
            "many times lr, and elsewhere gradients below eps hardly move.",
        ),
        (
            "Do tiny gradients explode without eps?",
            "Not in exact arithmetic, nor in float64 (before 1e-161): Adam without eps sees no scale.",
        ),
        (
            "Is a finite step enough?",
            "No: the parameter's spacing, not eps, says how small a step it can take (figure of lost "
            "steps); a copy of the parameters in float32 is the cure (Micikevicius et al. 2018).",
        ),
    ),
    source="Kingma and Ba 2015, algorithm 1; Micikevicius et al. 2018 (mixed precision).",
)
