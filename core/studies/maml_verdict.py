"""Study `maml`: how it is judged."""

from __future__ import annotations

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.meta_sweep import MetaSweepResult
from core.lab.study import Results
from core.lab.tables import with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from core.studies.maml_settings import SHOTS, STATEFUL, STEPS, control, regime, variant

SHARE, COST = 0.1, 1.1
EXACT, SAME = 1e-7, 0.01
_FLOWS = f"leaving out what flows through the state moves the meta-gradient by a tenth ({STEPS} inner steps)"
_MATTERS = f"with the state cut out of the derivative the error after {STEPS} steps is a tenth higher"
_SECOND = f"with first-order meta-gradients the error after {STEPS} steps is a tenth higher"
_SIGN = "the full meta-gradient through one cold step is the first-order one, to a hundredth"
_COLD = "cold Adam in place of a warm v alone"
_RIGHT = "the full meta-gradient agrees with central differences to 1e-7"


def tuned(results: Results) -> MetaSweepResult:
    """The tuned comparison."""
    found = results.by_name["tuned"]
    assert isinstance(found, MetaSweepResult)
    return found


def distances(results: Results, adaptation: str, what: str) -> Array:
    """`[seeds, steps]`: of `cut` or `first order` (or their cosines) to the full meta-gradient."""
    found: Array = results.measurement("derivatives").only(adaptation=adaptation)[what]
    return found


def steps_measured(results: Results) -> list[int]:
    """The numbers of inner steps of `distances`."""
    steps: list[int] = results.measurement("derivatives").cells[0]["steps"]
    return steps


def worst_errors(results: Results, adaptation: str) -> Array:
    """`[seeds]`: the largest relative error of a derivative against central differences."""
    found = results.measurement("exactness").only(adaptation=adaptation)
    worst: Array = np.concatenate(
        [found[name] for name in ("params", "lr", "state") if name in found], axis=1
    ).max(axis=1)
    return worst


def _flows(results: Results) -> list[Finding]:
    place = steps_measured(results).index(STEPS)
    return [
        finding(
            f"meta-gradient, {name}",
            stats.interval(distances(results, name, "cut")[:, place], "median"),
            above=SHARE,
            replicas=results.plan.sizes["probes"],
            text=_FLOWS,
            unit="of its length",
        )
        for name in STATEFUL
    ]


def _against(
    results: Results, worse: str, better: str, text: str, label: str, *, decisive: bool = False
) -> list[Finding]:
    """The error of one variant over that of another, in each regime."""
    found = tuned(results)
    return [
        finding(
            f"{regime(shots)}, {label}",
            stats.ratio(found.errors(regime(shots), worse), found.errors(regime(shots), better)),
            above=COST,
            replicas=results.plan.reporting_seeds,
            text=text,
            unit="x the error",
            decisive=decisive,
        )
        for shots in SHOTS
    ]


def _beside(results: Results) -> list[Finding]:
    seeds = results.plan.reporting_seeds
    cells = results.measurement("exactness").cells
    found = [
        finding(
            f"exactness, {cell['adaptation']}",
            stats.interval(worst_errors(results, cell["adaptation"]), "median"),
            below=EXACT,
            replicas=seeds,
            text=_RIGHT,
            unit="relative error",
            decisive=False,
        )
        for cell in cells
    ]
    found.append(
        finding(
            "one step, Adam cold",
            stats.interval(distances(results, "Adam cold", "first order")[:, 0], "median"),
            below=SAME,
            replicas=results.plan.sizes["probes"],
            text=_SIGN,
            unit="of its length",
            decisive=False,
        )
    )
    for name in ("SGD", *STATEFUL):
        found += _against(
            results, variant(name, "first order"), variant(name), _SECOND, f"{name}: first order"
        )
    best = variant("Adam warm, v alone")
    for worse, text in (
        (variant("Adam cold, v alone"), "a cold v in place of a warm one (both without m)"),
        (variant("Adam warm"), "a warm m and v in place of a warm v alone"),
        (variant("Adam cold"), _COLD),
        (variant("SGD"), "SGD in place of a warm v alone"),
        (control("Adam cold", "joint"), "joint training, then cold Adam"),
        (control("SGD", "joint"), "joint training, then SGD"),
        (control("Adam cold", "random"), "the random start, then cold Adam"),
        (control("SGD", "random"), "the random start, then SGD"),
    ):
        found += _against(results, worse, best, f"{text}: the error is a tenth higher", worse)
    return found


def judge(results: Results) -> Verdict:
    """Does the meta-gradient flow through Adam's state, and does it matter?"""
    decisive = _flows(results)
    for name in STATEFUL:
        decisive += _against(
            results, variant(name, "state cut"), variant(name), _MATTERS, name, decisive=True
        )
    findings = [*decisive, *_beside(results)]
    matters = [f for f in findings if f.text == _MATTERS]
    return verdict(findings, _sentence(findings), short=_short(findings, matters), main=matters[0])


def _short(findings: list[Finding], matters: list[Finding]) -> str:
    flows = [f for f in findings if f.text == _FLOWS]
    return (
        f"Over a tenth of the meta-gradient flows through Adam's memory in {tally(flows)} cases; to cut "
        f"that part makes the learned start a tenth worse in {tally(matters)}."
    )


def _where(findings: list[Finding], text: str, outcome: Outcome) -> str:
    """The regimes in which a question has that outcome."""
    asked = [f for f in findings if f.text == text]
    held = [
        f.regime.removeprefix("meta-gradient, ").removesuffix(": first order")
        for f in asked
        if f.outcome is outcome
    ]
    return "all" if len(held) == len(asked) else "; ".join(held) or "none"


def _sentence(findings: list[Finding]) -> str:
    cold = [f for f in findings if f.text.startswith(_COLD)]
    ratios = " and ".join(with_interval((f.effect, f.low, f.high)) for f in cold)
    return (
        "Meta-gradients flow through Adam's memory (a tenth or more with: "
        f"{_where(findings, _FLOWS, Outcome.HOLDS)}), {_needed(findings)}: with the state cut "
        "the learned start is worse by a tenth with: "
        f"{_where(findings, _MATTERS, Outcome.HOLDS)}; it is not with: "
        f"{_where(findings, _MATTERS, Outcome.FAILS)}. {_one_step(findings)} First order makes the error a "
        f"tenth higher with: {_where(findings, _SECOND, Outcome.HOLDS)}; not with: "
        f"{_where(findings, _SECOND, Outcome.FAILS)}. At 5 and 10 shots cold Adam ends at {ratios} times the "
        f"error of a warm v{_why(findings)}."
    )


def _one_step(findings: list[Finding]) -> str:
    """Is a cold step a sign, through which no curvature passes?"""
    found = next(f for f in findings if f.text == _SIGN)
    share = with_interval((found.effect, found.low, found.high))
    if found.outcome is Outcome.HOLDS:
        return (
            "Adam's first step from a fresh state is a sign: one step's full meta-gradient differs from the "
            f"first-order one by {share} of its length."
        )
    return f"One cold step's full meta-gradient differs from the first-order one by {share} of its length."


def _why(findings: list[Finding]) -> str:
    """That it is the curvature which a warm v lets through, where all that speaks for it holds."""
    warm = [f for f in findings if f.text == _SECOND and f.regime.endswith("Adam warm, v alone: first order")]
    needed = [f for f in findings if f.text == _SIGN or f.text.startswith(_COLD)] + warm
    if all(f.outcome is Outcome.HOLDS for f in needed):
        return ", which lets the curvature through: taken to first order, its start is clearly worse"
    return ""


def _needed(findings: list[Finding]) -> str:
    outcomes = [f.outcome for f in findings if f.text == _MATTERS]
    if Outcome.HOLDS in outcomes:
        return "and to leave that part out can cost"
    if Outcome.FAILS in outcomes:
        return "but a good start does not need that part"
    return "and whether a good start needs that part is open"
