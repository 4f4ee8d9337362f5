"""Is Adam's first step of fixed size, whatever the gradient's, and does bias correction make it so?"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from core.lab import figures, stats
from core.lab.experiment import Array, Experiment
from core.lab.measurement import Cell, Measurement, MeasurementResult
from core.lab.random import Keys
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.tables import number
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from core.optim.rules import RULES

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
RULE_NAMES = {
    "Adam": "adam",
    "Adam, uncorrected": "adam_uncorrected",
    "RMSProp": "rmsprop",
    "Sign descent": "signsgd",
    "Gradient descent": "sgd",
}
LR = 1e-3
EPS = 1e-8
COORDINATES = 64
TOLERANCE = 0.01
ZONES = {"far below eps": (-30, -12), "near eps": (-11, -7), "ordinary": (-6, 4), "huge": (5, 30)}


def decades(dtype: torch.dtype) -> tuple[int, ...]:
    """The decades that a type holds as normal numbers, within 1e-30 to 1e30."""
    info = torch.finfo(dtype)
    return tuple(e for e in range(-30, 31) if info.smallest_normal <= 10.0**e and 9.1 * 10.0**e <= info.max)


def first_step(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:
    """One step from zero parameters on gradients of keyed signs and sizes, in every decade of the type.

    Parameters start at zero, so that the step is stored as exactly as the type allows: from 1 a step of 1e-3
    would be lost in bfloat16 for another reason.

    Returns:
        `size` `[R, decades, COORDINATES]`: abs(step) / lr, float64; `gradient` the magnitudes after rounding.
    """
    dtype = DTYPES[cell["dtype"]]
    scale = torch.tensor([10.0**e for e in decades(dtype)], dtype=torch.float64, device=device)
    unit = 1.0 + 8.0 * keys.fold("magnitude").uniform(1, COORDINATES, dtype=torch.float64)
    sign = keys.fold("sign").signs(len(scale), COORDINATES, dtype=torch.float64)
    gradient = (scale[:, None] * unit * sign).to(dtype)
    rule = RULES[RULE_NAMES[cell["rule"]]]
    params = torch.zeros_like(gradient)
    stepped, _ = rule.step(params, gradient, rule.init(params), lr=LR)
    return {"size": stepped.double().abs() / LR, "gradient": gradient.double().abs()}


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """One step for every rule and type."""
    cells = tuple({"rule": rule, "dtype": dtype} for rule in RULE_NAMES for dtype in DTYPES)
    return (Measurement("steps", "first-step", first_step, cells, plan.reporting_seeds, seeds_per_shard=100),)


def _sizes(found: MeasurementResult, rule: str, dtype: str, zone: str) -> Array | None:
    """`[seeds, decades, coordinates]`: steps over lr in a zone; None where the type does not reach it."""
    first, last = ZONES[zone]
    inside = [i for i, e in enumerate(decades(DTYPES[dtype])) if first <= e <= last]
    return found.only(rule=rule, dtype=dtype)["size"][:, inside] if inside else None


def deviation(found: MeasurementResult, rule: str, dtype: str, zone: str) -> Array | None:
    """`[seeds]`: the largest relative deviation of a coordinate's step from lr; None for an empty zone."""
    size = _sizes(found, rule, dtype, zone)
    if size is None:
        return None
    worst: Array = np.nan_to_num(np.abs(size - 1.0), nan=np.inf).max(axis=(1, 2))
    return worst


def fault(size: Array) -> str:
    """The worst that happens to steps over lr `[n]`: `is not finite`, `vanishes`, `shrinks` or `grows`."""
    if not np.isfinite(size).all():
        return "is not finite"
    if (size == 0.0).any():
        return "vanishes"
    return "shrinks" if 1.0 - size.min() >= size.max() - 1.0 else "grows"


def judge(results: Results) -> Verdict:
    """Zone by zone and type by type."""
    found = results.measurement("steps")
    findings: list[Finding] = []
    for zone in ZONES:
        for dtype in DTYPES:
            deviations = deviation(found, "Adam", dtype, zone)
            if deviations is None:
                continue
            findings.append(
                finding(
                    f"{zone}, {dtype}",
                    stats.interval(deviations, "mean"),
                    below=TOLERANCE,
                    replicas=results.plan.reporting_seeds,
                    text="Adam's first step differs from lr by less than 1%",
                    unit="largest relative deviation",
                )
            )
    plain = found.only(rule="Adam, uncorrected", dtype="float64")["size"].mean(axis=(0, 2))
    spread = np.array([x for x, e in zip(plain, decades(torch.float64), strict=True) if -5 <= e <= 4])
    findings.append(
        finding(
            "without bias correction, float64",
            (float(np.ptp(spread) / spread.mean()),) * 3,
            below=TOLERANCE,
            replicas=results.plan.reporting_seeds,
            text="without bias correction too the first step is independent of the gradient (it is "
            f"{spread.mean():.3g} lr); relative spread over decades",
            unit="relative spread",
            decisive=False,
        )
    )
    zones = ((zone, [f for f in findings if f.regime.startswith(f"{zone}, ")]) for zone in ZONES)
    counts = ", ".join(f"{zone} {tally(inside)}" for zone, inside in zones)
    short = f"Adam's first step is lr for gradients: {counts} number types."
    return verdict(findings, _sentence(found, findings), short=short)


def _listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), names[-1]])


def _sentence(found: MeasurementResult, findings: list[Finding]) -> str:
    outcomes = {f.regime: f.outcome for f in findings if f.decisive}

    def types(zone: str, outcome: Outcome) -> list[str]:
        return [d for d in DTYPES if outcomes.get(f"{zone}, {d}") is outcome]

    def kept(zone: str) -> str:
        """`huge (in float64 alone)`."""
        holds, reach = types(zone, Outcome.HOLDS), [d for d in DTYPES if f"{zone}, {d}" in outcomes]
        if len(holds) == len(reach):
            return f"{zone} ({'in every number type' if len(reach) > 1 else f'in {reach[0]}'})"
        return f"{zone} (in {_listed(holds)}{' alone' if len(holds) == 1 else ''})"

    def lost(zone: str) -> str:
        """`huge (vanishes in float32 and bfloat16)`."""
        by_fault: dict[str, list[str]] = {}
        for dtype in types(zone, Outcome.FAILS):
            size = _sizes(found, "Adam", dtype, zone)
            assert size is not None
            by_fault.setdefault(fault(size), []).append(dtype)
        parts = (f"{how} in {_listed(dtypes)}" for how, dtypes in by_fault.items())
        return f"{zone} ({'; '.join(parts)})"

    holding = ", ".join(kept(z) for z in ZONES if types(z, Outcome.HOLDS)) or "none"
    failing = ", ".join(lost(z) for z in ZONES if types(z, Outcome.FAILS)) or "none"
    also = (
        "bias correction sets the size of that step, not its independence of the gradient"
        if findings[-1].outcome is Outcome.HOLDS
        else "without bias correction it depends on the gradient"
    )
    return (
        f"Adam's first step is lr for gradients of these sizes: {holding}; and is not for these: {failing}. "
        f"And {also}."
    )


def _medians(found: MeasurementResult, rule: str, dtype: str) -> tuple[Array, Array]:
    """Gradient and step of each decade: medians over seeds and coordinates."""
    arrays = found.only(rule=rule, dtype=dtype)
    return np.median(arrays["gradient"], axis=(0, 2)), np.median(arrays["size"], axis=(0, 2))


def draw_sizes(results: Results) -> Figure:
    """Step over lr against the gradient, by rule and by type, beside the closed form."""
    found = results.measurement("steps")
    figure, (rules, types) = figures.new_figure(columns=2, height=4.4, width=10.0)
    for name in RULE_NAMES:
        gradient, size = _medians(found, name, "float64")
        rules.plot(gradient, size, **figures.line(name), markevery=6, label=name)
    grid = np.geomspace(1e-30, 1e30, 400)
    rules.plot(
        grid, grid / (grid + EPS), color="black", linewidth=0.8, linestyle=":", label="|g| / (|g| + eps)"
    )
    figures.label(rules, x="size of the gradient |g|", y="first step / lr", title="rules, float64", log="xy")
    looks = figures.lines(DTYPES)
    for dtype in DTYPES:
        gradient, size = _medians(found, "Adam", dtype)
        seen = size > 0
        types.plot(gradient[seen], size[seen], **looks[dtype], markevery=4, label=dtype)
    types.axvspan(99 * EPS, types.get_xlim()[1], color="#0072B2", alpha=0.06, linewidth=0)
    figures.label(
        types, x="size of the gradient |g|", y="first step / lr", title="Adam, number types", log="xy"
    )
    for axes in (rules, types):
        axes.set_xlim(1e-31, 1e31)
        axes.set_ylim(1e-24, 1e6)
    figures.legend_below(figure, columns=5)
    return figure


def tables(results: Results) -> tuple[Table, ...]:
    """Median first step by rule and decade, in float32."""
    found = results.measurement("steps")
    exponents = (-20, -12, -9, -8, -7, -6, -3, 0, 4, 10, 20)
    where = {e: i for i, e in enumerate(decades(torch.float32))}
    rows = [
        (rule, *(number(float(_medians(found, rule, "float32")[1][where[e]])) for e in exponents))
        for rule in RULE_NAMES
    ]
    return (
        Table(
            "First step / lr in float32 parameters, by the size of the gradient (median over seeds and "
            "coordinates).",
            ("rule", *(f"1e{e}" for e in exponents)),
            tuple(rows),
        ),
    )


STUDY = Study(
    id="first-step",
    title="The first step",
    question="How long is the first step of Adam?",
    claim=(
        "Thanks to bias correction, Adam's first step has a fixed size in every direction, the learning "
        "rate, completely independent of how large the gradient is there."
    ),
    setup=(
        f"One step from zero parameters, {COORDINATES} coordinates with keyed signs and magnitudes within a "
        "decade, for every decade from 1e-30 to 1e30 that the type can hold, in float64, float32, bfloat16 "
        "and float16 parameters (moments in float32 for the last two), eps = 1e-8. Controls: Adam without "
        "bias correction, RMSProp, sign descent (fixed by definition) and gradient descent (proportional "
        "by definition). Closed form: abs(g) / (abs(g) + eps)."
    ),
    criterion=(
        "In each zone of gradient size (far below eps: 1e-30 to 1e-12; near eps: 1e-11 to 1e-7; ordinary: "
        "1e-6 to 1e4; huge: 1e5 to 1e30) and each number type that reaches it: the largest relative "
        "deviation of a coordinate's first step from lr lies below 1%, with its whole interval over seeds. "
        "Supported if it does in all, refuted if in none, conditional otherwise. Beside the verdict: "
        "whether the step is independent of the gradient without bias correction too."
    ),
    mathematics=(
        (
            r"\frac{\Delta\theta_1}{\eta} = \frac{\hat m_1}{\sqrt{\hat v_1} + \varepsilon} = "
            r"\frac{g_1}{|g_1| + \varepsilon}",
            "After one step bias correction gives m̂ = g and v̂ = g² (Kingma and Ba 2015, section "
            "2.1): the step is η for gradients far above ε, and shrinks with g below.",
        ),
        (
            r"\text{uncorrected:}\quad \frac{\Delta\theta_1}{\eta} = \frac{(1 - \beta_1)\, "
            r"g_1}{\sqrt{1 - \beta_2}\,|g_1| + \varepsilon}",
            "Without the correction the size is another constant, about 3 η at the usual betas, and "
            "just as independent of the gradient.",
        ),
    ),
    would_change=(
        "Nothing in exact arithmetic: it is a closed form. A number type or a library whose first "
        "step leaves the closed form at ordinary gradients would show a fault in its arithmetic."
    ),
    surprise=lambda found: (
        "The first step was to have one size, whatever the gradient. It has in "
        f"{len(found.holds_in)} of {sum(f.decisive for f in found.findings)} zones of gradient size and "
        f"number type, and not in {len(found.fails_in)}."
    ),
    plans={
        "tiny": Plan("tiny", steps=1, tuning_seeds=0, reporting_seeds=10),
        "quick": Plan("quick", steps=1, tuning_seeds=0, reporting_seeds=100),
        "full": Plan("full", steps=1, tuning_seeds=0, reporting_seeds=1000),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "sizes",
            "Size of the first step over the learning rate against the size of the gradient (medians over "
            "seeds and coordinates; there is no spread to see at this scale). Right: where a curve ends, "
            "the step is exactly zero or the type cannot hold the gradient; shaded: gradients above 99 eps, "
            "where the closed form promises 1%.",
            "Two log-log panels. Left: Adam, uncorrected Adam and RMSProp are flat at 1, 3.2 and 10 down to "
            "about 1e-7 and fall below; sign descent is flat throughout; gradient descent is a diagonal. "
            "Right: Adam in four number types; float32 drops to zero for huge gradients.",
            draw_sizes,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is it bias correction that does it?",
            "Uncorrected Adam is run beside it: its first step is (1 - beta1) / sqrt(1 - beta2) = 3.16 lr, "
            "as fixed as the corrected one. Correction sets the size, not the independence.",
        ),
        (
            "Is a fixed first step special to Adam?",
            "Sign descent has it by definition; RMSProp has it at 10 lr.",
        ),
        (
            "Who meets gradients of 1e30?",
            "Nobody wants to, but float32 moments overflow from about 1.8e19 on: then the denominator is "
            "infinite and the step is zero, silently.",
        ),
    ),
    source="Kingma and Ba 2015, section 2.1 and algorithm 1.",
)
