"""What the study `limit-cycle` runs: schemes, grids, radii to start from. Plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from core.lab.study import Plan
from core.lab.variant import Variant
from core.optim.play import (
    Alternating,
    Extragradient,
    Optimistic,
    PastExtragradient,
    PlayScheme,
    Simultaneous,
)
from games.joint import Joint
from games.limit_cycle import LimitCycle, optimism_to_collapse

SIDES = {"inside": 0.5, "outside": 2.0}
"""Starting radii, in units of the one predicted."""
NO_CYCLE_START = 40.0
"""Stands for the predicted radius, in learning rates, where there is no cycle."""

STRENGTHS = {(b, f): f * optimism_to_collapse(b) for b in (0.5, 0.8) for f in (0.5, 0.8, 1.25)}
"""Of optimism, by beta1 and in units of the strength from which on the law knows no cycle."""


def strength_name(beta1: float, factor: float) -> str:
    """The name of a scheme of `STRENGTHS`."""
    return f"optimistic, strength {STRENGTHS[beta1, factor]:g}"


SCHEMES: Mapping[str, PlayScheme] = {
    "simultaneous": Simultaneous(),
    "alternating": Alternating(),
    "optimistic": Optimistic(),
    "extragradient": Extragradient(),
    "extragradient, shared state": Extragradient(shared_state=True),
    "extragradient from the past": PastExtragradient(),
    **{strength_name(b, f): Optimistic(strength=s) for (b, f), s in STRENGTHS.items()},
}

MEMORY = {"beta2": 0.995}
"""Of the comparison of parts: Adam's cycle has a radius of 183 learning rates, without momentum of 40."""
PARTS: Mapping[str, Variant] = {
    v.name: v
    for v in (
        Variant("Adam", "adam", MEMORY),
        Variant("Adam, beta1 = 0", "adam", {**MEMORY, "beta1": 0.0}, note="no momentum"),
        Variant("Adam without bias correction", "adam_uncorrected", MEMORY, note="no bias correction"),
        Variant("RMSProp", "rmsprop", {"alpha": 0.995}, note="no momentum, no bias correction"),
        Variant("AMSGrad", "amsgrad", MEMORY, note="v cannot fall"),
        Variant("AMSGrad, beta1 = 0", "amsgrad", {**MEMORY, "beta1": 0.0}, note="v cannot fall, no momentum"),
        Variant("Adam, shared v", "adam_shared_v", MEMORY, play=Joint(), note="v does not swing"),
        Variant(
            "Adam, beta1 = 0, shared v",
            "adam_shared_v",
            {**MEMORY, "beta1": 0.0},
            play=Joint(),
            note="v does not swing, no momentum",
        ),
        Variant("Sign descent", "signsgd", note="v does not lag, no momentum"),
        Variant("Normalised descent", "normalized_sgd", play=Joint(), note="v does not swing, no momentum"),
        Variant("Adam, beta1 = 0, alternating", "adam", {**MEMORY, "beta1": 0.0}, play=Alternating()),
    )
}
LAGGING = (
    "Adam",
    "Adam, beta1 = 0",
    "Adam without bias correction",
    "RMSProp",
    "Adam, beta1 = 0, alternating",
)
"""Those of the parts in which a second moment of each player swings with its gradient and lags behind it."""
TIMES: tuple[dict[str, Any], ...] = tuple(
    {"variant": name, "lr": 0.01, "starts": [0.2 * r, 0.5 * r, 2.0 * r, 4.0 * r]}
    for name, r in (
        (name, LimitCycle.of(b, MEMORY["beta2"]).radius())
        for name, b in (("Adam", 0.9), ("Adam, beta1 = 0", 0.0))
    )
)
PORTRAITS: tuple[dict[str, Any], ...] = (
    {"variant": "Adam, beta1 = 0", "lr": 0.01, "starts": [8.0, 120.0]},
    {"variant": "Adam, beta1 = 0, alternating", "lr": 0.01, "starts": [40.0, 120.0]},
    {"variant": "Adam, beta1 = 0, shared v", "lr": 0.01, "starts": [40.0, 120.0]},
)
_EXACT = {"eps": 0.0, "noise": 0.0}
_FRESH = ((0.992, 0.1), (0.997, 0.003), (0.999, 0.01), (0.9995, 0.03))
"""beta2 and learning rate. The law was found with beta1 in {0, 0.5, 0.9} and other beta2."""
_FRESH_BETA1 = [-0.5, 0.2, 0.7, 0.8, 0.95]
_TIMES_MEMORY = 22.0
"""Steps of a long run, in units of 1 / (1 - beta2): five factors of e in the distance from a cycle."""


def _steps(plan: Plan, beta2: float, memories: float = _TIMES_MEMORY) -> int:
    """The length of a run that should settle, cut in the tiny plan."""
    return min(plan.sizes["most_steps"], round(memories / (1.0 - beta2)))


BEYOND = ((0.9, 0.942), (0.95, 0.96), (0.9, 0.9), (0.95, 0.9))
"""beta1 and beta2 where the law has no cycle: k c of 1.1, 1.6, 1.9 and 3.9."""
BEYOND_STEPS = (2000, 8000)
"""What leaves has r^2 grow by a constant a step: four times the steps, twice the radius."""


def law_cells(plan: Plan) -> tuple[dict[str, Any], ...]:
    """Simultaneous Adam on a grid that was not used to find the law."""
    return tuple(
        {
            "scheme": "simultaneous",
            "beta1": _FRESH_BETA1,
            "beta2": beta2,
            "lr": lr,
            **_EXACT,
            "steps": _steps(plan, beta2),
        }
        for beta2, lr in _FRESH[: plan.sizes["memories"]]
    )


def scheme_cells(plan: Plan) -> tuple[dict[str, Any], ...]:
    """Each play scheme, on both sides of where its cycle is predicted to collapse."""
    betas = {"alternating": [-0.5, 0.1, 0.45, 0.7]}
    return tuple(
        {
            "scheme": scheme,
            "beta1": betas.get(scheme, [0.1, 0.25, 0.45, 0.7]),
            "beta2": 0.996,
            "lr": 0.01,
            **_EXACT,
            "steps": _steps(plan, 0.996),
        }
        for scheme in (
            "alternating",
            "optimistic",
            "extragradient",
            "extragradient, shared state",
            "extragradient from the past",
        )
    )


def strength_cells(plan: Plan) -> tuple[dict[str, Any], ...]:
    """Optimism below and above the strength that is predicted to take the drive away."""
    return tuple(
        {
            "scheme": strength_name(beta1, factor),
            "beta1": [beta1],
            "beta2": 0.996,
            "lr": 0.01,
            **_EXACT,
            "steps": _steps(plan, 0.996),
            "factor": factor,
        }
        for beta1, factor in STRENGTHS
    )


DISTURBED = tuple({"eps": 0.0, "noise": x} for x in (10.0, 30.0, 100.0)) + tuple(
    {"eps": x, "noise": 0.0} for x in (3.0, 10.0, 30.0)
)
"""In units of the learning rate."""


def disturbed_cells(plan: Plan) -> tuple[dict[str, Any], ...]:
    """Noise and eps (which slows the approach); noise also where optimism has taken the drive away."""
    cases = [("simultaneous", [0.0, 0.7], d) for d in DISTURBED]
    cases += [("optimistic", [0.0], d) for d in DISTURBED if d["noise"]]
    return tuple(
        {
            "scheme": scheme,
            "beta1": beta1,
            "beta2": 0.99,
            "lr": 0.01,
            **disturbance,
            "steps": _steps(plan, 0.99, 60.0 if disturbance["noise"] else 110.0),
        }
        for scheme, beta1, disturbance in cases
    )


def beyond_cells(plan: Plan) -> tuple[dict[str, Any], ...]:
    """Where the drive is stronger than any damping that the law knows, for two lengths of time."""
    return tuple(
        {
            "scheme": "simultaneous",
            "beta1": [beta1],
            "beta2": beta2,
            "lr": 0.01,
            **_EXACT,
            "steps": min(plan.sizes["most_steps"], steps),
            "length": length,
        }
        for beta1, beta2 in BEYOND
        for length, steps in zip(("short", "long"), BEYOND_STEPS, strict=True)
    )


def predicted(cell: Mapping[str, Any]) -> dict[str, list[float]]:
    """For each beta1 of a cell: `radius` (NaN where none is predicted), `drive`, `memory`, and `start`,
    the radius that inside and outside are counted from; in units of the learning rate.
    """
    cycles = [LimitCycle.of(b, cell["beta2"], SCHEMES[cell["scheme"]]) for b in cell["beta1"]]
    radii = [c.mean_radius(cell["noise"]) if cell["noise"] else c.radius(cell["eps"]) for c in cycles]
    return {
        "radius": radii,
        "drive": [c.drive for c in cycles],
        "memory": [c.memory for c in cycles],
        "start": [NO_CYCLE_START if math.isnan(r) else r for r in radii],
    }
